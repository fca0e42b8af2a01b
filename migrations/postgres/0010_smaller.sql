-- Certificates take less room: the same as in migrations/sqlite. The comments are there, except for these. Numbers of names,
-- lists, CAs and revisions have four octets, and columns of eight come first, so that none is padded. What is only ever
-- appended to is packed to the end.

-- No replica of an older program adds one meanwhile.
LOCK TABLE state, events, certificates, key_owners IN SHARE ROW EXCLUSIVE MODE;

CREATE TABLE smaller_certificates (
    number BIGINT NOT NULL,
    not_before BIGINT NOT NULL,
    not_after BIGINT NOT NULL,
    sha256_head BIGINT NOT NULL,
    authority_id INTEGER NOT NULL,
    cluster_id INTEGER NOT NULL,
    caller_id INTEGER NOT NULL,
    groups_id INTEGER NOT NULL,
    policies_id INTEGER NOT NULL,
    policy_revision INTEGER NOT NULL,
    asked_ttl INTEGER,
    owns_key SMALLINT NOT NULL CHECK (owns_key IN (0, 1)),
    serial BYTEA NOT NULL CHECK (length(serial) = 16),
    spki_sha256 BYTEA NOT NULL CHECK (length(spki_sha256) = 32),
    key_kind TEXT NOT NULL,
    user_name TEXT NOT NULL,
    on_behalf_of TEXT,
    reason TEXT,
    der BYTEA NOT NULL
);

INSERT INTO smaller_certificates (number, authority_id, cluster_id, caller_id, serial, user_name, groups_id, on_behalf_of,
    reason, key_kind, spki_sha256, owns_key, not_before, not_after, asked_ttl, policy_revision, policies_id, sha256_head, der)
SELECT c.number, c.authority_id, c.cluster_id, c.caller_id, c.serial, c.user_name, c.groups_id, c.on_behalf_of,
    c.reason, c.key_kind, c.spki_sha256, CASE WHEN first.number IS NULL THEN 0 ELSE 1 END, c.not_before, c.not_after,
    c.asked_ttl, c.policy_revision, c.policies_id,
    ('x' || encode(substr(c.sha256, 1, 8), 'hex'))::BIT(64)::BIGINT, c.der
FROM certificates c LEFT JOIN (SELECT min(number) AS number FROM certificates GROUP BY spki_sha256) first
    ON first.number = c.number
ORDER BY c.number;

-- Whoever may do something to certificates may do it on.
DO $$ DECLARE
    held RECORD;
BEGIN
    FOR held IN
        SELECT a.privilege_type AS right_, CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END AS role_
        FROM pg_class c, aclexplode(c.relacl) a WHERE c.oid = 'certificates'::regclass AND a.grantee <> c.relowner
    LOOP
        EXECUTE format('GRANT %s ON smaller_certificates TO %s', held.right_, held.role_);
    END LOOP;
END $$;

DROP TABLE certificates;
ALTER TABLE smaller_certificates RENAME TO certificates;
ALTER TABLE certificates
    ADD CONSTRAINT certificates_pkey PRIMARY KEY (number) WITH (fillfactor = 100),
    ADD CONSTRAINT certificates_serial_authority_id_key UNIQUE (serial, authority_id),
    ADD FOREIGN KEY (number) REFERENCES events (number),
    ADD FOREIGN KEY (authority_id) REFERENCES authorities (id),
    ADD FOREIGN KEY (cluster_id) REFERENCES names (id),
    ADD FOREIGN KEY (caller_id) REFERENCES names (id),
    ADD FOREIGN KEY (groups_id) REFERENCES name_lists (id),
    ADD FOREIGN KEY (policies_id) REFERENCES name_lists (id);
ALTER INDEX events_pkey SET (fillfactor = 100);
ALTER INDEX events_by_caller SET (fillfactor = 100);
ALTER INDEX events_by_kind_and_time SET (fillfactor = 100);
ALTER TABLE events ALTER COLUMN kind TYPE SMALLINT, ALTER COLUMN caller_id TYPE INTEGER;

CREATE INDEX certificates_by_user ON certificates (user_name, number);
CREATE INDEX certificates_by_cluster ON certificates (cluster_id, number) WITH (fillfactor = 100);
CREATE INDEX certificates_by_caller ON certificates (caller_id, number) WITH (fillfactor = 100);
CREATE INDEX certificates_by_on_behalf_of ON certificates (on_behalf_of, number) WHERE on_behalf_of IS NOT NULL;
CREATE INDEX certificates_by_groups ON certificates (groups_id, (number >> 6));
CREATE INDEX certificates_by_policies ON certificates (policies_id, (number >> 6));
CREATE INDEX certificates_by_sha256 ON certificates (sha256_head);
CREATE INDEX certificates_by_lifetime ON certificates (
    (CASE WHEN not_after - not_before <= 4000 THEN 0 WHEN not_after - not_before <= 16000 THEN 1 WHEN not_after - not_before <= 64000 THEN 2 WHEN not_after - not_before <= 256000 THEN 3 WHEN not_after - not_before <= 1024000 THEN 4 WHEN not_after - not_before <= 4096000 THEN 5 WHEN not_after - not_before <= 16384000 THEN 6 WHEN not_after - not_before <= 65536000 THEN 7 WHEN not_after - not_before <= 262144000 THEN 8 ELSE 9 END),
    number, not_before, not_after
) WITH (fillfactor = 100);
CREATE UNIQUE INDEX certificates_by_key ON certificates (spki_sha256) WHERE owns_key = 1;

CREATE TRIGGER certificates_are_appended BEFORE INSERT ON certificates
FOR EACH ROW EXECUTE FUNCTION refuse_old_certificate();
CREATE TRIGGER certificates_are_kept BEFORE UPDATE ON certificates
FOR EACH ROW EXECUTE FUNCTION refuse_change('certificates are append-only: a row is never changed');
CREATE TRIGGER certificates_are_not_deleted BEFORE DELETE ON certificates
FOR EACH ROW EXECUTE FUNCTION refuse_early_deletion('certificates');
CREATE TRIGGER certificates_are_not_emptied BEFORE TRUNCATE ON certificates
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change('certificates are append-only: a row is never deleted');

DROP TRIGGER key_owners_are_not_deleted ON key_owners;
DELETE FROM key_owners WHERE EXISTS (
    SELECT 1 FROM certificates c WHERE c.owns_key = 1 AND c.spki_sha256 = key_owners.spki_sha256 AND c.user_name = key_owners.user_name
);
CREATE TRIGGER key_owners_are_not_deleted BEFORE DELETE ON key_owners
FOR EACH ROW EXECUTE FUNCTION refuse_change('a key belongs to the first user that it was certified for');

CREATE FUNCTION refuse_to_lose_a_key() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF NOT EXISTS (SELECT 1 FROM key_owners k WHERE k.spki_sha256 = OLD.spki_sha256 AND k.user_name = OLD.user_name) THEN
        RAISE EXCEPTION 'certificates are append-only: whose a key is must be noted before its first certificate is deleted'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN OLD;
END $$;
CREATE TRIGGER certificates_keep_their_key BEFORE DELETE ON certificates FOR EACH ROW
WHEN (OLD.owns_key = 1) EXECUTE FUNCTION refuse_to_lose_a_key();

CREATE FUNCTION refuse_second_owner() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF EXISTS (
        SELECT 1 FROM certificates c WHERE c.owns_key = 1 AND c.spki_sha256 = NEW.spki_sha256 AND c.user_name <> NEW.user_name
    ) THEN
        RAISE EXCEPTION 'a key belongs to the first user that it was certified for'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER key_owners_are_those_of_certificates BEFORE INSERT ON key_owners
FOR EACH ROW EXECUTE FUNCTION refuse_second_owner();
