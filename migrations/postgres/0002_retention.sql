-- How long records are kept: the same as in migrations/sqlite. The comments are there.

CREATE TABLE retention (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    seconds BIGINT CHECK (seconds >= 2592000)
);

INSERT INTO retention (id, seconds) VALUES (1, NULL);

CREATE TRIGGER retention_is_kept BEFORE DELETE ON retention
FOR EACH ROW EXECUTE FUNCTION refuse_change('the row of retention is never deleted: without a word of the operator, records are kept for ever');

ALTER TABLE certificate_groups DROP CONSTRAINT certificate_groups_number_fkey;
ALTER TABLE certificate_policies DROP CONSTRAINT certificate_policies_number_fkey;
ALTER TABLE refusal_groups DROP CONSTRAINT refusal_groups_number_fkey;
ALTER TABLE refusal_policies DROP CONSTRAINT refusal_policies_number_fkey;
ALTER TABLE idempotency_keys DROP CONSTRAINT idempotency_keys_number_fkey;

-- Whether a certificate, or a refusal, was kept for long enough, by the database's own clock.
CREATE FUNCTION refuse_early_deletion() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    ended BIGINT;
BEGIN
    IF TG_ARGV[0] = 'certificates' THEN
        SELECT not_after INTO ended FROM certificates WHERE number = OLD.number;
    ELSE
        SELECT at INTO ended FROM events WHERE number = OLD.number;
    END IF;
    IF NOT EXISTS (SELECT 1 FROM retention WHERE ended + seconds < ledger_time()) THEN
        RAISE EXCEPTION '% are append-only: a row is deleted only once the operator''s retention has passed', TG_ARGV[0]
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN OLD;
END $$;

DROP TRIGGER certificates_are_not_deleted ON certificates;
CREATE TRIGGER certificates_are_not_deleted BEFORE DELETE ON certificates
FOR EACH ROW EXECUTE FUNCTION refuse_early_deletion('certificates');
DROP TRIGGER certificate_groups_are_not_deleted ON certificate_groups;
CREATE TRIGGER certificate_groups_are_not_deleted BEFORE DELETE ON certificate_groups
FOR EACH ROW EXECUTE FUNCTION refuse_early_deletion('certificates');
DROP TRIGGER certificate_policies_are_not_deleted ON certificate_policies;
CREATE TRIGGER certificate_policies_are_not_deleted BEFORE DELETE ON certificate_policies
FOR EACH ROW EXECUTE FUNCTION refuse_early_deletion('certificates');
DROP TRIGGER refusals_are_not_deleted ON refusals;
CREATE TRIGGER refusals_are_not_deleted BEFORE DELETE ON refusals
FOR EACH ROW EXECUTE FUNCTION refuse_early_deletion('refusals');
DROP TRIGGER refusal_groups_are_not_deleted ON refusal_groups;
CREATE TRIGGER refusal_groups_are_not_deleted BEFORE DELETE ON refusal_groups
FOR EACH ROW EXECUTE FUNCTION refuse_early_deletion('refusals');
DROP TRIGGER refusal_policies_are_not_deleted ON refusal_policies;
CREATE TRIGGER refusal_policies_are_not_deleted BEFORE DELETE ON refusal_policies
FOR EACH ROW EXECUTE FUNCTION refuse_early_deletion('refusals');

CREATE TRIGGER retention_is_not_emptied BEFORE TRUNCATE ON retention
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change('the row of retention is never deleted: without a word of the operator, records are kept for ever');
