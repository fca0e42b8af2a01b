-- The later secrets of tokens: the same as in migrations/sqlite. The comments are there.

CREATE TABLE token_rotations (
    number BIGINT PRIMARY KEY REFERENCES events (number),
    token_id TEXT NOT NULL REFERENCES tokens (id),
    id TEXT NOT NULL UNIQUE,
    secret_sha256 BYTEA NOT NULL CHECK (length(secret_sha256) = 32),
    at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    previous_until BIGINT NOT NULL CHECK (previous_until >= at)
);

CREATE INDEX token_rotations_by_token ON token_rotations (token_id);

CREATE TRIGGER token_rotations_are_kept BEFORE UPDATE ON token_rotations
FOR EACH ROW EXECUTE FUNCTION refuse_change('a rotation is never changed');
CREATE TRIGGER token_rotations_are_not_deleted BEFORE DELETE ON token_rotations
FOR EACH ROW EXECUTE FUNCTION refuse_change('a rotation is never deleted');
CREATE TRIGGER token_rotations_are_not_emptied BEFORE TRUNCATE ON token_rotations
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change('a rotation is never deleted');

CREATE TABLE token_uses (
    id TEXT PRIMARY KEY NOT NULL,
    at BIGINT NOT NULL
);
