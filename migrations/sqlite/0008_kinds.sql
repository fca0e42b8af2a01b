-- What one caller did or was refused, of one kind. Certificates are left out: nearly every event of a caller is of
-- one, so they are found along its own index.
CREATE INDEX events_by_caller_and_kind ON events (caller_id, kind) WHERE kind > 1;
