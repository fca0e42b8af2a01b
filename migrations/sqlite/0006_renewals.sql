-- Certificates that renewed another. One that nobody renewed begins its chain and has no row here.

CREATE TABLE renewals (
    -- Of the new certificate. Kept when that is pruned, as its event is.
    number INTEGER PRIMARY KEY REFERENCES events (number),
    -- The serial of the one that was shown, which is of the same CA.
    renewed_from BLOB NOT NULL CHECK (length(renewed_from) = 16),
    -- When the first certificate of the chain was issued.
    first_issued INTEGER NOT NULL
) STRICT;

CREATE TRIGGER renewals_are_kept BEFORE UPDATE ON renewals
BEGIN SELECT RAISE(ABORT, 'a renewal is never changed'); END;
CREATE TRIGGER renewals_are_not_deleted BEFORE DELETE ON renewals
BEGIN SELECT RAISE(ABORT, 'a renewal is never deleted'); END;

-- Whether people reviewed a certificate.
CREATE INDEX requests_by_certificate ON requests (certificate) WHERE certificate IS NOT NULL;
