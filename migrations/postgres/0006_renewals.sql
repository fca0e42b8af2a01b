-- Certificates that renewed another: the same as in migrations/sqlite. The comments are there.

CREATE TABLE renewals (
    number BIGINT PRIMARY KEY REFERENCES events (number),
    renewed_from BYTEA NOT NULL CHECK (length(renewed_from) = 16),
    first_issued BIGINT NOT NULL
);

CREATE TRIGGER renewals_are_kept BEFORE UPDATE ON renewals
FOR EACH ROW EXECUTE FUNCTION refuse_change('a renewal is never changed');
CREATE TRIGGER renewals_are_not_deleted BEFORE DELETE ON renewals
FOR EACH ROW EXECUTE FUNCTION refuse_change('a renewal is never deleted');
CREATE TRIGGER renewals_are_not_emptied BEFORE TRUNCATE ON renewals
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change('a renewal is never deleted');

CREATE INDEX requests_by_certificate ON requests (certificate) WHERE certificate IS NOT NULL;
