-- The later secrets of tokens, and when secrets were last used.

-- One row for each rotation. The row of `tokens` keeps the first secret, and what every secret of it has
-- in common.
CREATE TABLE token_rotations (
    -- Of the event.
    number INTEGER PRIMARY KEY REFERENCES events (number),
    token_id TEXT NOT NULL REFERENCES tokens (id),
    -- The public part of the new secret.
    id TEXT NOT NULL UNIQUE,
    secret_sha256 BLOB NOT NULL CHECK (length(secret_sha256) = 32),
    at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    -- How long the secret before it goes on.
    previous_until INTEGER NOT NULL CHECK (previous_until >= at)
) STRICT;

CREATE INDEX token_rotations_by_token ON token_rotations (token_id);

CREATE TRIGGER token_rotations_are_kept BEFORE UPDATE ON token_rotations
BEGIN SELECT RAISE(ABORT, 'a rotation is never changed'); END;
CREATE TRIGGER token_rotations_are_not_deleted BEFORE DELETE ON token_rotations
BEGIN SELECT RAISE(ABORT, 'a rotation is never deleted'); END;

-- By the id of the secret. No record: only the last use is kept, to about a minute.
CREATE TABLE token_uses (
    id TEXT PRIMARY KEY NOT NULL,
    at INTEGER NOT NULL
) STRICT;
