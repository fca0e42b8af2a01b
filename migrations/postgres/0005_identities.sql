-- Which subject a caller's name belongs to: the same as in migrations/sqlite. The comments are there.

CREATE TABLE identities (
    number BIGINT PRIMARY KEY REFERENCES events (number),
    caller_id BIGINT NOT NULL REFERENCES names (id),
    issuer TEXT NOT NULL,
    subject TEXT NOT NULL,
    since BIGINT NOT NULL,
    released BIGINT REFERENCES events (number)
);

CREATE UNIQUE INDEX identities_bound ON identities (caller_id) WHERE released IS NULL;
CREATE INDEX identities_by_caller ON identities (caller_id, number);
CREATE INDEX identities_by_subject ON identities (subject, issuer);

CREATE TRIGGER identities_are_only_released BEFORE UPDATE ON identities FOR EACH ROW
WHEN (OLD.released IS NOT NULL OR NEW.released IS NULL OR NEW.number <> OLD.number OR NEW.caller_id <> OLD.caller_id
    OR NEW.issuer <> OLD.issuer OR NEW.subject <> OLD.subject OR NEW.since <> OLD.since)
EXECUTE FUNCTION refuse_change('whose a name was is never changed: it is only released');
CREATE TRIGGER identities_are_not_deleted BEFORE DELETE ON identities
FOR EACH ROW EXECUTE FUNCTION refuse_change('whose a name was is never deleted: records speak of it');
CREATE TRIGGER identities_are_not_emptied BEFORE TRUNCATE ON identities
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change('whose a name was is never deleted: records speak of it');
