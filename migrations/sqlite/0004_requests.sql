-- Requests that wait for people. What an approval binds stands in the row and never changes; only
-- its state does, until it is closed.

CREATE TABLE requests (
    -- Of the event that it was held.
    number INTEGER PRIMARY KEY REFERENCES events (number),
    id BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    -- 1 pending, 2 approved, 3 denied, 4 withdrawn, 5 lapsed, 6 collected, 7 voided. From 3 on it is closed.
    state INTEGER NOT NULL CHECK (state BETWEEN 1 AND 7),
    caller_id INTEGER NOT NULL REFERENCES names (id),
    -- Who answers for the caller's credential.
    owner TEXT NOT NULL,
    cluster_id INTEGER NOT NULL REFERENCES names (id),
    -- SHA-256 of the SPKI of the CA that is to sign.
    authority BLOB NOT NULL CHECK (length(authority) = 32),
    -- DER; erased when the request is closed.
    csr BLOB,
    csr_sha256 BLOB NOT NULL CHECK (length(csr_sha256) = 32),
    user_name TEXT NOT NULL,
    groups_id INTEGER NOT NULL REFERENCES name_lists (id),
    on_behalf_of TEXT,
    reason TEXT,
    key_kind TEXT NOT NULL,
    spki_sha256 BLOB NOT NULL CHECK (length(spki_sha256) = 32),
    -- Seconds, as is the lifetime that approvers were shown.
    asked_ttl INTEGER,
    lifetime INTEGER NOT NULL,
    -- The rows that allow it, and the review rows in full, as JSON.
    policies_id INTEGER NOT NULL REFERENCES name_lists (id),
    reviews TEXT NOT NULL,
    policy_revision INTEGER NOT NULL,
    -- SHA-256 over everything that makes two requests the same.
    wish BLOB NOT NULL CHECK (length(wish) = 32),
    lapses_at INTEGER NOT NULL,
    -- The event that closed it, and the certificate that came of it.
    closed INTEGER REFERENCES events (number),
    certificate INTEGER,
    CHECK ((csr IS NULL) = (state > 2)),
    CHECK ((closed IS NULL) = (state <= 2)),
    CHECK ((certificate IS NULL) = (state <> 6))
) STRICT;

CREATE INDEX requests_by_caller ON requests (caller_id, number);
CREATE INDEX requests_open ON requests (lapses_at) WHERE state <= 2;

CREATE TRIGGER requests_only_move_on BEFORE UPDATE ON requests
WHEN OLD.state > 2 OR NEW.state < OLD.state OR (NEW.csr IS NOT OLD.csr AND NEW.csr IS NOT NULL)
    OR NEW.number <> OLD.number OR NEW.id <> OLD.id OR NEW.caller_id <> OLD.caller_id OR NEW.owner <> OLD.owner
    OR NEW.cluster_id <> OLD.cluster_id OR NEW.authority <> OLD.authority OR NEW.csr_sha256 <> OLD.csr_sha256
    OR NEW.user_name <> OLD.user_name OR NEW.groups_id <> OLD.groups_id
    OR NEW.on_behalf_of IS NOT OLD.on_behalf_of OR NEW.reason IS NOT OLD.reason
    OR NEW.key_kind <> OLD.key_kind OR NEW.spki_sha256 <> OLD.spki_sha256 OR NEW.asked_ttl IS NOT OLD.asked_ttl
    OR NEW.lifetime <> OLD.lifetime OR NEW.policies_id <> OLD.policies_id OR NEW.reviews <> OLD.reviews
    OR NEW.policy_revision <> OLD.policy_revision OR NEW.wish <> OLD.wish OR NEW.lapses_at <> OLD.lapses_at
BEGIN SELECT RAISE(ABORT, 'what was held is what is approved: only its state moves on, and a closed request stays closed'); END;
CREATE TRIGGER requests_are_not_deleted BEFORE DELETE ON requests
BEGIN SELECT RAISE(ABORT, 'requests are never deleted: the audit log speaks of them'); END;

CREATE TABLE request_approvals (
    -- Of the event.
    number INTEGER PRIMARY KEY REFERENCES events (number),
    request INTEGER NOT NULL REFERENCES requests (number),
    -- The token and who answers for it; on the command line there is none.
    token_id TEXT,
    owner TEXT,
    comment TEXT
) STRICT;

CREATE INDEX request_approvals_by_request ON request_approvals (request);

CREATE TRIGGER request_approvals_are_kept BEFORE UPDATE ON request_approvals
BEGIN SELECT RAISE(ABORT, 'an approval is never changed'); END;
CREATE TRIGGER request_approvals_are_not_deleted BEFORE DELETE ON request_approvals
BEGIN SELECT RAISE(ABORT, 'an approval is never deleted'); END;
