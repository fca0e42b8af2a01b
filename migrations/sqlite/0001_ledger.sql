-- The ledger. Only INTEGER (64 bit), TEXT and BLOB, so that PostgreSQL can hold the same tables
-- (BIGINT, TEXT, BYTEA) under the same statements. Times are seconds since 1970 in UTC.

-- What a recording transaction compares and moves. Its first statement writes this one row, and so
-- takes the lock that puts numbers in commit order on every engine.
CREATE TABLE state (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    -- The last number given to a certificate, a refusal or an event.
    number INTEGER NOT NULL,
    policy_revision INTEGER NOT NULL,
    token_revision INTEGER NOT NULL,
    blocked_key_revision INTEGER NOT NULL,
    -- The latest time of a certificate or refusal; a clock far behind it is not believed.
    newest_at INTEGER,
    -- SHA-256 of the SPKI of the only CA that may sign into this database, where there is such a rule.
    only_authority BLOB CHECK (length(only_authority) = 32)
) STRICT;

INSERT INTO state (id, number, policy_revision, token_revision, blocked_key_revision) VALUES (1, 0, 0, 0, 0);

CREATE TRIGGER state_is_kept BEFORE DELETE ON state
BEGIN SELECT RAISE(ABORT, 'the row of state is never deleted'); END;

CREATE TRIGGER state_moves_forward BEFORE UPDATE ON state
WHEN NEW.number < OLD.number OR NEW.policy_revision < OLD.policy_revision
    OR NEW.token_revision < OLD.token_revision OR NEW.blocked_key_revision < OLD.blocked_key_revision
BEGIN SELECT RAISE(ABORT, 'numbers and revisions never go back'); END;

-- Every caller, cluster, group and policy name that a record speaks of, once.
CREATE TABLE names (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
) STRICT;

-- Every list of groups or policies that a record speaks of, once, as a JSON array in its own order.
-- Found by its hash: a long list is too long for an index of PostgreSQL.
CREATE TABLE name_lists (
    id INTEGER PRIMARY KEY,
    sha256 BLOB NOT NULL UNIQUE CHECK (length(sha256) = 32),
    names TEXT NOT NULL
) STRICT;

CREATE TRIGGER names_are_kept BEFORE UPDATE ON names
BEGIN SELECT RAISE(ABORT, 'names are never changed: records speak of them'); END;
CREATE TRIGGER names_are_not_deleted BEFORE DELETE ON names
BEGIN SELECT RAISE(ABORT, 'names are never deleted: records speak of them'); END;
CREATE TRIGGER name_lists_are_kept BEFORE UPDATE ON name_lists
BEGIN SELECT RAISE(ABORT, 'name lists are never changed: records speak of them'); END;
CREATE TRIGGER name_lists_are_not_deleted BEFORE DELETE ON name_lists
BEGIN SELECT RAISE(ABORT, 'name lists are never deleted: records speak of them'); END;

CREATE TABLE authorities (
    id INTEGER PRIMARY KEY,
    spki_sha256 BLOB NOT NULL UNIQUE CHECK (length(spki_sha256) = 32),
    certificate BLOB NOT NULL,
    registered_at INTEGER NOT NULL
) STRICT;

-- Which CA signed for a cluster, since when.
CREATE TABLE cluster_authorities (
    cluster_id INTEGER NOT NULL REFERENCES names (id),
    authority_id INTEGER NOT NULL REFERENCES authorities (id),
    registered_at INTEGER NOT NULL,
    PRIMARY KEY (cluster_id, authority_id)
) STRICT, WITHOUT ROWID;

-- The audit log. A certificate or refusal has the number of its event; both rows are the record.
CREATE TABLE events (
    number INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    -- 1 certificate.issued, 2 request.refused, 3 policy.replaced, 4 token.created, 5 token.revoked,
    -- 6 key.blocked, 7 key.unblocked, 8 clock.accepted
    kind INTEGER NOT NULL,
    caller_id INTEGER NOT NULL REFERENCES names (id),
    caller_groups TEXT,
    request_id BLOB NOT NULL CHECK (length(request_id) = 16),
    client_request_id TEXT,
    address TEXT,
    detail TEXT
) STRICT;

CREATE INDEX events_by_kind ON events (kind);
CREATE INDEX events_by_caller ON events (caller_id);

CREATE TRIGGER events_are_appended BEFORE INSERT ON events
WHEN NEW.number <= (SELECT max(number) FROM events)
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only: an event gets the next number'); END;
CREATE TRIGGER events_are_kept BEFORE UPDATE ON events
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only: an event is never changed'); END;
CREATE TRIGGER events_are_not_deleted BEFORE DELETE ON events
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only: an event is never deleted'); END;

CREATE TABLE certificates (
    number INTEGER PRIMARY KEY REFERENCES events (number),
    authority_id INTEGER NOT NULL REFERENCES authorities (id),
    cluster_id INTEGER NOT NULL REFERENCES names (id),
    caller_id INTEGER NOT NULL REFERENCES names (id),
    serial BLOB NOT NULL CHECK (length(serial) = 16),
    user_name TEXT NOT NULL,
    groups_id INTEGER NOT NULL REFERENCES name_lists (id),
    on_behalf_of TEXT,
    reason TEXT,
    key_kind TEXT NOT NULL,
    spki_sha256 BLOB NOT NULL CHECK (length(spki_sha256) = 32),
    not_before INTEGER NOT NULL,
    not_after INTEGER NOT NULL,
    -- Seconds.
    asked_ttl INTEGER,
    policy_revision INTEGER NOT NULL,
    policies_id INTEGER NOT NULL REFERENCES name_lists (id),
    -- Of the whole DER: the credential id.
    sha256 BLOB NOT NULL CHECK (length(sha256) = 32),
    der BLOB NOT NULL,
    -- The serial first, so that the same index finds it with no CA given.
    UNIQUE (serial, authority_id)
) STRICT;

CREATE INDEX certificates_by_user ON certificates (user_name);
CREATE INDEX certificates_by_cluster ON certificates (cluster_id);
CREATE INDEX certificates_by_caller ON certificates (caller_id);
CREATE INDEX certificates_by_on_behalf_of ON certificates (on_behalf_of) WHERE on_behalf_of IS NOT NULL;
-- Eight octets are enough to find it; the statement compares all of them.
CREATE INDEX certificates_by_sha256 ON certificates (substr(sha256, 1, 8));

CREATE TABLE certificate_groups (
    name_id INTEGER NOT NULL REFERENCES names (id),
    number INTEGER NOT NULL REFERENCES certificates (number),
    PRIMARY KEY (name_id, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE certificate_policies (
    name_id INTEGER NOT NULL REFERENCES names (id),
    number INTEGER NOT NULL REFERENCES certificates (number),
    PRIMARY KEY (name_id, number)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER certificates_are_appended BEFORE INSERT ON certificates
WHEN NEW.number <= (SELECT max(number) FROM certificates)
BEGIN SELECT RAISE(ABORT, 'certificates are append-only: a certificate gets the next number'); END;
CREATE TRIGGER certificates_are_kept BEFORE UPDATE ON certificates
BEGIN SELECT RAISE(ABORT, 'certificates are append-only: a row is never changed'); END;
CREATE TRIGGER certificates_are_not_deleted BEFORE DELETE ON certificates
BEGIN SELECT RAISE(ABORT, 'certificates are append-only: a row is never deleted'); END;
CREATE TRIGGER certificate_groups_are_kept BEFORE UPDATE ON certificate_groups
BEGIN SELECT RAISE(ABORT, 'certificates are append-only: their groups are never changed'); END;
CREATE TRIGGER certificate_groups_are_not_deleted BEFORE DELETE ON certificate_groups
BEGIN SELECT RAISE(ABORT, 'certificates are append-only: their groups are never deleted'); END;
CREATE TRIGGER certificate_policies_are_kept BEFORE UPDATE ON certificate_policies
BEGIN SELECT RAISE(ABORT, 'certificates are append-only: their policies are never changed'); END;
CREATE TRIGGER certificate_policies_are_not_deleted BEFORE DELETE ON certificate_policies
BEGIN SELECT RAISE(ABORT, 'certificates are append-only: their policies are never deleted'); END;

-- Which user a key is certified for: one key, one user.
CREATE TABLE key_owners (
    spki_sha256 BLOB PRIMARY KEY CHECK (length(spki_sha256) = 32),
    user_name TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TRIGGER key_owners_are_kept BEFORE UPDATE ON key_owners
BEGIN SELECT RAISE(ABORT, 'a key belongs to the first user that it was certified for'); END;
CREATE TRIGGER key_owners_are_not_deleted BEFORE DELETE ON key_owners
BEGIN SELECT RAISE(ABORT, 'a key belongs to the first user that it was certified for'); END;

CREATE TABLE refusals (
    number INTEGER PRIMARY KEY REFERENCES events (number),
    caller_id INTEGER NOT NULL REFERENCES names (id),
    cluster_id INTEGER REFERENCES names (id),
    user_name TEXT,
    groups_id INTEGER NOT NULL REFERENCES name_lists (id),
    on_behalf_of TEXT,
    reason TEXT,
    key_kind TEXT,
    spki_sha256 BLOB CHECK (length(spki_sha256) = 32),
    -- Seconds.
    asked_ttl INTEGER,
    code TEXT NOT NULL,
    detail TEXT NOT NULL,
    violations TEXT NOT NULL,
    policy_revision INTEGER NOT NULL,
    policies_id INTEGER NOT NULL REFERENCES name_lists (id)
) STRICT;

CREATE INDEX refusals_by_user ON refusals (user_name) WHERE user_name IS NOT NULL;
CREATE INDEX refusals_by_cluster ON refusals (cluster_id) WHERE cluster_id IS NOT NULL;
CREATE INDEX refusals_by_caller ON refusals (caller_id);
CREATE INDEX refusals_by_on_behalf_of ON refusals (on_behalf_of) WHERE on_behalf_of IS NOT NULL;
CREATE INDEX refusals_by_code ON refusals (code);

CREATE TABLE refusal_groups (
    name_id INTEGER NOT NULL REFERENCES names (id),
    number INTEGER NOT NULL REFERENCES refusals (number),
    PRIMARY KEY (name_id, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE refusal_policies (
    name_id INTEGER NOT NULL REFERENCES names (id),
    number INTEGER NOT NULL REFERENCES refusals (number),
    PRIMARY KEY (name_id, number)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER refusals_are_appended BEFORE INSERT ON refusals
WHEN NEW.number <= (SELECT max(number) FROM refusals)
BEGIN SELECT RAISE(ABORT, 'refusals are append-only: a refusal gets the next number'); END;
CREATE TRIGGER refusals_are_kept BEFORE UPDATE ON refusals
BEGIN SELECT RAISE(ABORT, 'refusals are append-only: a row is never changed'); END;
CREATE TRIGGER refusals_are_not_deleted BEFORE DELETE ON refusals
BEGIN SELECT RAISE(ABORT, 'refusals are append-only: a row is never deleted'); END;
CREATE TRIGGER refusal_groups_are_kept BEFORE UPDATE ON refusal_groups
BEGIN SELECT RAISE(ABORT, 'refusals are append-only: their groups are never changed'); END;
CREATE TRIGGER refusal_groups_are_not_deleted BEFORE DELETE ON refusal_groups
BEGIN SELECT RAISE(ABORT, 'refusals are append-only: their groups are never deleted'); END;
CREATE TRIGGER refusal_policies_are_kept BEFORE UPDATE ON refusal_policies
BEGIN SELECT RAISE(ABORT, 'refusals are append-only: their policies are never changed'); END;
CREATE TRIGGER refusal_policies_are_not_deleted BEFORE DELETE ON refusal_policies
BEGIN SELECT RAISE(ABORT, 'refusals are append-only: their policies are never deleted'); END;

-- A row holds from one revision until another, exclusive. The set of revision N is what holds then.
CREATE TABLE policies (
    name TEXT NOT NULL,
    from_revision INTEGER NOT NULL,
    until_revision INTEGER CHECK (until_revision > from_revision),
    body TEXT NOT NULL,
    PRIMARY KEY (name, from_revision)
) STRICT;

CREATE UNIQUE INDEX policies_in_force ON policies (name) WHERE until_revision IS NULL;

-- The event of each revision says when and by whom.
CREATE TABLE policy_revisions (
    revision INTEGER PRIMARY KEY,
    number INTEGER NOT NULL REFERENCES events (number)
) STRICT;

CREATE TRIGGER policies_only_end BEFORE UPDATE ON policies
WHEN NEW.name <> OLD.name OR NEW.from_revision <> OLD.from_revision OR NEW.body <> OLD.body
    OR OLD.until_revision IS NOT NULL OR NEW.until_revision IS NULL
BEGIN SELECT RAISE(ABORT, 'old policy revisions stay readable: a row can only be ended, once'); END;
CREATE TRIGGER policies_are_not_deleted BEFORE DELETE ON policies
BEGIN SELECT RAISE(ABORT, 'old policy revisions stay readable: a row is never deleted'); END;
CREATE TRIGGER policy_revisions_are_kept BEFORE UPDATE ON policy_revisions
BEGIN SELECT RAISE(ABORT, 'old policy revisions stay readable: a revision is never changed'); END;
CREATE TRIGGER policy_revisions_are_not_deleted BEFORE DELETE ON policy_revisions
BEGIN SELECT RAISE(ABORT, 'old policy revisions stay readable: a revision is never deleted'); END;

-- The secret itself is never stored. A name is never given twice, so rows stay after revocation.
CREATE TABLE tokens (
    id TEXT PRIMARY KEY NOT NULL,
    name TEXT NOT NULL UNIQUE,
    secret_sha256 BLOB NOT NULL CHECK (length(secret_sha256) = 32),
    roles TEXT NOT NULL,
    on_behalf_of INTEGER NOT NULL CHECK (on_behalf_of IN (0, 1)),
    owner TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    revoked_at INTEGER
) STRICT;

CREATE TRIGGER tokens_are_only_revoked BEFORE UPDATE ON tokens
WHEN NEW.id <> OLD.id OR NEW.name <> OLD.name OR NEW.secret_sha256 <> OLD.secret_sha256
    OR NEW.roles <> OLD.roles OR NEW.on_behalf_of <> OLD.on_behalf_of OR NEW.owner <> OLD.owner
    OR NEW.created_at <> OLD.created_at OR NEW.expires_at <> OLD.expires_at
    OR OLD.revoked_at IS NOT NULL OR NEW.revoked_at IS NULL
BEGIN SELECT RAISE(ABORT, 'a token can only be revoked, once'); END;
CREATE TRIGGER tokens_are_not_deleted BEFORE DELETE ON tokens
BEGIN SELECT RAISE(ABORT, 'a token is never deleted: its name is never given again'); END;

-- Keys that are never certified again.
CREATE TABLE blocked_keys (
    spki_sha256 BLOB PRIMARY KEY CHECK (length(spki_sha256) = 32),
    reason TEXT NOT NULL,
    at INTEGER NOT NULL,
    caller_id INTEGER NOT NULL REFERENCES names (id)
) STRICT, WITHOUT ROWID;

-- What a caller got under an Idempotency-Key. Rows older than a day are replaced and removed.
CREATE TABLE idempotency_keys (
    caller_id INTEGER NOT NULL REFERENCES names (id),
    idempotency_key TEXT NOT NULL,
    fingerprint BLOB NOT NULL CHECK (length(fingerprint) = 32),
    number INTEGER NOT NULL REFERENCES certificates (number),
    at INTEGER NOT NULL,
    PRIMARY KEY (caller_id, idempotency_key)
) STRICT, WITHOUT ROWID;

CREATE INDEX idempotency_keys_by_age ON idempotency_keys (at);
