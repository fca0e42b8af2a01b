-- Requests that wait for people: the same as in migrations/sqlite. The comments are there.

CREATE TABLE requests (
    number BIGINT PRIMARY KEY REFERENCES events (number),
    id BYTEA NOT NULL UNIQUE CHECK (length(id) = 16),
    state BIGINT NOT NULL CHECK (state BETWEEN 1 AND 7),
    caller_id BIGINT NOT NULL REFERENCES names (id),
    owner TEXT NOT NULL,
    cluster_id BIGINT NOT NULL REFERENCES names (id),
    authority BYTEA NOT NULL CHECK (length(authority) = 32),
    csr BYTEA,
    csr_sha256 BYTEA NOT NULL CHECK (length(csr_sha256) = 32),
    user_name TEXT NOT NULL,
    groups_id BIGINT NOT NULL REFERENCES name_lists (id),
    on_behalf_of TEXT,
    reason TEXT,
    key_kind TEXT NOT NULL,
    spki_sha256 BYTEA NOT NULL CHECK (length(spki_sha256) = 32),
    asked_ttl BIGINT,
    lifetime BIGINT NOT NULL,
    policies_id BIGINT NOT NULL REFERENCES name_lists (id),
    reviews TEXT NOT NULL,
    policy_revision BIGINT NOT NULL,
    wish BYTEA NOT NULL CHECK (length(wish) = 32),
    lapses_at BIGINT NOT NULL,
    closed BIGINT REFERENCES events (number),
    certificate BIGINT,
    CHECK ((csr IS NULL) = (state > 2)),
    CHECK ((closed IS NULL) = (state <= 2)),
    CHECK ((certificate IS NULL) = (state <> 6))
);

CREATE INDEX requests_by_caller ON requests (caller_id, number);
CREATE INDEX requests_open ON requests (lapses_at) WHERE state <= 2;

CREATE TRIGGER requests_only_move_on BEFORE UPDATE ON requests FOR EACH ROW
WHEN (OLD.state > 2 OR NEW.state < OLD.state OR (NEW.csr IS DISTINCT FROM OLD.csr AND NEW.csr IS NOT NULL)
    OR NEW.number <> OLD.number OR NEW.id <> OLD.id OR NEW.caller_id <> OLD.caller_id OR NEW.owner <> OLD.owner
    OR NEW.cluster_id <> OLD.cluster_id OR NEW.authority <> OLD.authority OR NEW.csr_sha256 <> OLD.csr_sha256
    OR NEW.user_name <> OLD.user_name OR NEW.groups_id <> OLD.groups_id
    OR NEW.on_behalf_of IS DISTINCT FROM OLD.on_behalf_of OR NEW.reason IS DISTINCT FROM OLD.reason
    OR NEW.key_kind <> OLD.key_kind OR NEW.spki_sha256 <> OLD.spki_sha256
    OR NEW.asked_ttl IS DISTINCT FROM OLD.asked_ttl
    OR NEW.lifetime <> OLD.lifetime OR NEW.policies_id <> OLD.policies_id OR NEW.reviews <> OLD.reviews
    OR NEW.policy_revision <> OLD.policy_revision OR NEW.wish <> OLD.wish OR NEW.lapses_at <> OLD.lapses_at)
EXECUTE FUNCTION refuse_change('what was held is what is approved: only its state moves on, and a closed request stays closed');
CREATE TRIGGER requests_are_not_deleted BEFORE DELETE ON requests
FOR EACH ROW EXECUTE FUNCTION refuse_change('requests are never deleted: the audit log speaks of them');
CREATE TRIGGER requests_are_not_emptied BEFORE TRUNCATE ON requests
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change('requests are never deleted: the audit log speaks of them');

CREATE TABLE request_approvals (
    number BIGINT PRIMARY KEY REFERENCES events (number),
    request BIGINT NOT NULL REFERENCES requests (number),
    token_id TEXT,
    owner TEXT,
    comment TEXT
);

CREATE INDEX request_approvals_by_request ON request_approvals (request);

CREATE TRIGGER request_approvals_are_kept BEFORE UPDATE ON request_approvals
FOR EACH ROW EXECUTE FUNCTION refuse_change('an approval is never changed');
CREATE TRIGGER request_approvals_are_not_deleted BEFORE DELETE ON request_approvals
FOR EACH ROW EXECUTE FUNCTION refuse_change('an approval is never deleted');
CREATE TRIGGER request_approvals_are_not_emptied BEFORE TRUNCATE ON request_approvals
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change('an approval is never deleted');
