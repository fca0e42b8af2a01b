-- Certificates take less room. Whose a key is says the first certificate of the key, and no longer a row beside it; of the
-- SHA-256 of the certificate, which is computed from it when it is read, the row keeps what it is found by.

CREATE TABLE smaller_certificates (
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
    -- 1 on the first certificate of its key: the key belongs to its user from then on.
    owns_key INTEGER NOT NULL CHECK (owns_key IN (0, 1)),
    not_before INTEGER NOT NULL,
    not_after INTEGER NOT NULL,
    -- Seconds.
    asked_ttl INTEGER,
    policy_revision INTEGER NOT NULL,
    policies_id INTEGER NOT NULL REFERENCES name_lists (id),
    -- The first eight octets of the SHA-256 of the whole DER, the credential id, as a number.
    sha256_head INTEGER NOT NULL,
    der BLOB NOT NULL,
    -- The serial first, so that the same index finds it with no CA given.
    UNIQUE (serial, authority_id)
) STRICT;

-- SQLite does not read hexadecimal digits. Each has a place among the sixteen, and four bits.
WITH RECURSIVE places (place) AS (VALUES (1) UNION ALL SELECT place + 1 FROM places WHERE place < 16)
INSERT INTO smaller_certificates (number, authority_id, cluster_id, caller_id, serial, user_name, groups_id, on_behalf_of,
    reason, key_kind, spki_sha256, owns_key, not_before, not_after, asked_ttl, policy_revision, policies_id, sha256_head, der)
SELECT c.number, c.authority_id, c.cluster_id, c.caller_id, c.serial, c.user_name, c.groups_id, c.on_behalf_of,
    c.reason, c.key_kind, c.spki_sha256, first.number IS NOT NULL, c.not_before, c.not_after, c.asked_ttl,
    c.policy_revision, c.policies_id,
    (SELECT sum((instr('0123456789ABCDEF', substr(hex(c.sha256), place, 1)) - 1) << (4 * (16 - place))) FROM places),
    c.der
FROM certificates c LEFT JOIN (SELECT min(number) AS number FROM certificates GROUP BY spki_sha256) first
    ON first.number = c.number
ORDER BY c.number;

DROP TABLE certificates;
ALTER TABLE smaller_certificates RENAME TO certificates;

CREATE INDEX certificates_by_user ON certificates (user_name);
CREATE INDEX certificates_by_cluster ON certificates (cluster_id);
CREATE INDEX certificates_by_caller ON certificates (caller_id);
CREATE INDEX certificates_by_on_behalf_of ON certificates (on_behalf_of) WHERE on_behalf_of IS NOT NULL;
CREATE INDEX certificates_by_groups ON certificates (groups_id);
CREATE INDEX certificates_by_policies ON certificates (policies_id);
CREATE INDEX certificates_by_sha256 ON certificates (sha256_head);
CREATE INDEX certificates_by_lifetime ON certificates (
    (CASE WHEN not_after - not_before <= 4000 THEN 0 WHEN not_after - not_before <= 16000 THEN 1 WHEN not_after - not_before <= 64000 THEN 2 WHEN not_after - not_before <= 256000 THEN 3 WHEN not_after - not_before <= 1024000 THEN 4 WHEN not_after - not_before <= 4096000 THEN 5 WHEN not_after - not_before <= 16384000 THEN 6 WHEN not_after - not_before <= 65536000 THEN 7 WHEN not_after - not_before <= 262144000 THEN 8 ELSE 9 END),
    number, not_before, not_after
);
-- One key, one user.
CREATE UNIQUE INDEX certificates_by_key ON certificates (spki_sha256) WHERE owns_key = 1;

CREATE TRIGGER certificates_are_appended BEFORE INSERT ON certificates
WHEN NEW.number <= (SELECT max(number) FROM certificates)
BEGIN SELECT RAISE(ABORT, 'certificates are append-only: a certificate gets the next number'); END;
CREATE TRIGGER certificates_are_kept BEFORE UPDATE ON certificates
BEGIN SELECT RAISE(ABORT, 'certificates are append-only: a row is never changed'); END;
CREATE TRIGGER certificates_are_not_deleted BEFORE DELETE ON certificates
WHEN NOT EXISTS (SELECT 1 FROM retention WHERE OLD.not_after + seconds < unixepoch())
BEGIN SELECT RAISE(ABORT, 'certificates are append-only: a row is deleted only once the operator''s retention has passed since its not_after'); END;

-- From now on the owners of keys whose first certificate was deleted: it is noted here before.
DROP TRIGGER key_owners_are_not_deleted;
DELETE FROM key_owners WHERE EXISTS (
    SELECT 1 FROM certificates c WHERE c.owns_key = 1 AND c.spki_sha256 = key_owners.spki_sha256 AND c.user_name = key_owners.user_name
);
CREATE TRIGGER key_owners_are_not_deleted BEFORE DELETE ON key_owners
BEGIN SELECT RAISE(ABORT, 'a key belongs to the first user that it was certified for'); END;
CREATE TRIGGER certificates_keep_their_key BEFORE DELETE ON certificates
WHEN OLD.owns_key = 1 AND EXISTS (SELECT 1 FROM retention WHERE OLD.not_after + seconds < unixepoch()) AND NOT EXISTS (
    SELECT 1 FROM key_owners k WHERE k.spki_sha256 = OLD.spki_sha256 AND k.user_name = OLD.user_name
)
BEGIN SELECT RAISE(ABORT, 'certificates are append-only: whose a key is must be noted before its first certificate is deleted'); END;
CREATE TRIGGER key_owners_are_those_of_certificates BEFORE INSERT ON key_owners
WHEN EXISTS (
    SELECT 1 FROM certificates c WHERE c.owns_key = 1 AND c.spki_sha256 = NEW.spki_sha256 AND c.user_name <> NEW.user_name
)
BEGIN SELECT RAISE(ABORT, 'a key belongs to the first user that it was certified for'); END;
