-- Which subject of which issuer a caller's name belongs to: the first that showed it, until an admin
-- releases the name.

CREATE TABLE identities (
    -- Of the event that it was bound.
    number INTEGER PRIMARY KEY REFERENCES events (number),
    caller_id INTEGER NOT NULL REFERENCES names (id),
    issuer TEXT NOT NULL,
    subject TEXT NOT NULL,
    -- What the name did after this number is this subject's.
    since INTEGER NOT NULL,
    -- The event that released it.
    released INTEGER REFERENCES events (number)
) STRICT;

CREATE UNIQUE INDEX identities_bound ON identities (caller_id) WHERE released IS NULL;
CREATE INDEX identities_by_caller ON identities (caller_id, number);
CREATE INDEX identities_by_subject ON identities (subject, issuer);

CREATE TRIGGER identities_are_only_released BEFORE UPDATE ON identities
WHEN OLD.released IS NOT NULL OR NEW.released IS NULL OR NEW.number <> OLD.number OR NEW.caller_id <> OLD.caller_id
    OR NEW.issuer <> OLD.issuer OR NEW.subject <> OLD.subject OR NEW.since <> OLD.since
BEGIN SELECT RAISE(ABORT, 'whose a name was is never changed: it is only released'); END;
CREATE TRIGGER identities_are_not_deleted BEFORE DELETE ON identities
BEGIN SELECT RAISE(ABORT, 'whose a name was is never deleted: records speak of it'); END;
