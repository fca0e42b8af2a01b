-- How long records are kept. Until an operator says so, for ever.

-- The one row holds the operator's word. NULL: nothing is ever deleted.
CREATE TABLE retention (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    -- Counted from a certificate's not_after, and from the time of a refusal. At least 30 days.
    seconds INTEGER CHECK (seconds >= 2592000)
) STRICT;

INSERT INTO retention (id, seconds) VALUES (1, NULL);

CREATE TRIGGER retention_is_kept BEFORE DELETE ON retention
BEGIN SELECT RAISE(ABORT, 'the row of retention is never deleted: without a word of the operator, records are kept for ever'); END;

-- Members no longer refer to their record. With the reference, deleting one record would read the
-- whole table, which has no index by number, and each recorded group would cost a look-up. They are
-- written and deleted in one transaction with their record, and `countersign check` compares them.
CREATE TABLE certificate_groups_without_reference (
    name_id INTEGER NOT NULL REFERENCES names (id),
    number INTEGER NOT NULL,
    PRIMARY KEY (name_id, number)
) STRICT, WITHOUT ROWID;
INSERT INTO certificate_groups_without_reference SELECT name_id, number FROM certificate_groups;
DROP TABLE certificate_groups;
ALTER TABLE certificate_groups_without_reference RENAME TO certificate_groups;

CREATE TABLE certificate_policies_without_reference (
    name_id INTEGER NOT NULL REFERENCES names (id),
    number INTEGER NOT NULL,
    PRIMARY KEY (name_id, number)
) STRICT, WITHOUT ROWID;
INSERT INTO certificate_policies_without_reference SELECT name_id, number FROM certificate_policies;
DROP TABLE certificate_policies;
ALTER TABLE certificate_policies_without_reference RENAME TO certificate_policies;

CREATE TABLE refusal_groups_without_reference (
    name_id INTEGER NOT NULL REFERENCES names (id),
    number INTEGER NOT NULL,
    PRIMARY KEY (name_id, number)
) STRICT, WITHOUT ROWID;
INSERT INTO refusal_groups_without_reference SELECT name_id, number FROM refusal_groups;
DROP TABLE refusal_groups;
ALTER TABLE refusal_groups_without_reference RENAME TO refusal_groups;

CREATE TABLE refusal_policies_without_reference (
    name_id INTEGER NOT NULL REFERENCES names (id),
    number INTEGER NOT NULL,
    PRIMARY KEY (name_id, number)
) STRICT, WITHOUT ROWID;
INSERT INTO refusal_policies_without_reference SELECT name_id, number FROM refusal_policies;
DROP TABLE refusal_policies;
ALTER TABLE refusal_policies_without_reference RENAME TO refusal_policies;

CREATE TABLE idempotency_keys_without_reference (
    caller_id INTEGER NOT NULL REFERENCES names (id),
    idempotency_key TEXT NOT NULL,
    fingerprint BLOB NOT NULL CHECK (length(fingerprint) = 32),
    number INTEGER NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (caller_id, idempotency_key)
) STRICT, WITHOUT ROWID;
INSERT INTO idempotency_keys_without_reference
    SELECT caller_id, idempotency_key, fingerprint, number, at FROM idempotency_keys;
DROP TABLE idempotency_keys;
ALTER TABLE idempotency_keys_without_reference RENAME TO idempotency_keys;
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (at);

-- By the engine's own clock, whatever the program says.
DROP TRIGGER certificates_are_not_deleted;
CREATE TRIGGER certificates_are_not_deleted BEFORE DELETE ON certificates
WHEN NOT EXISTS (SELECT 1 FROM retention WHERE OLD.not_after + seconds < unixepoch())
BEGIN SELECT RAISE(ABORT, 'certificates are append-only: a row is deleted only once the operator''s retention has passed since its not_after'); END;

DROP TRIGGER refusals_are_not_deleted;
CREATE TRIGGER refusals_are_not_deleted BEFORE DELETE ON refusals
WHEN NOT EXISTS (
    SELECT 1 FROM retention r, events e WHERE e.number = OLD.number AND e.at + r.seconds < unixepoch()
)
BEGIN SELECT RAISE(ABORT, 'refusals are append-only: a row is deleted only once the operator''s retention has passed since its time'); END;

-- Dropped together with their tables above. The deletion of members comes before that of the record.
CREATE TRIGGER certificate_groups_are_kept BEFORE UPDATE ON certificate_groups
BEGIN SELECT RAISE(ABORT, 'certificates are append-only: their groups are never changed'); END;
CREATE TRIGGER certificate_groups_are_not_deleted BEFORE DELETE ON certificate_groups
WHEN NOT EXISTS (
    SELECT 1 FROM retention r, certificates c WHERE c.number = OLD.number AND c.not_after + r.seconds < unixepoch()
)
BEGIN SELECT RAISE(ABORT, 'certificates are append-only: their groups are deleted only once the operator''s retention has passed'); END;
CREATE TRIGGER certificate_policies_are_kept BEFORE UPDATE ON certificate_policies
BEGIN SELECT RAISE(ABORT, 'certificates are append-only: their policies are never changed'); END;
CREATE TRIGGER certificate_policies_are_not_deleted BEFORE DELETE ON certificate_policies
WHEN NOT EXISTS (
    SELECT 1 FROM retention r, certificates c WHERE c.number = OLD.number AND c.not_after + r.seconds < unixepoch()
)
BEGIN SELECT RAISE(ABORT, 'certificates are append-only: their policies are deleted only once the operator''s retention has passed'); END;
CREATE TRIGGER refusal_groups_are_kept BEFORE UPDATE ON refusal_groups
BEGIN SELECT RAISE(ABORT, 'refusals are append-only: their groups are never changed'); END;
CREATE TRIGGER refusal_groups_are_not_deleted BEFORE DELETE ON refusal_groups
WHEN NOT EXISTS (
    SELECT 1 FROM retention r, events e WHERE e.number = OLD.number AND e.at + r.seconds < unixepoch()
)
BEGIN SELECT RAISE(ABORT, 'refusals are append-only: their groups are deleted only once the operator''s retention has passed'); END;
CREATE TRIGGER refusal_policies_are_kept BEFORE UPDATE ON refusal_policies
BEGIN SELECT RAISE(ABORT, 'refusals are append-only: their policies are never changed'); END;
CREATE TRIGGER refusal_policies_are_not_deleted BEFORE DELETE ON refusal_policies
WHEN NOT EXISTS (
    SELECT 1 FROM retention r, events e WHERE e.number = OLD.number AND e.at + r.seconds < unixepoch()
)
BEGIN SELECT RAISE(ABORT, 'refusals are append-only: their policies are deleted only once the operator''s retention has passed'); END;
