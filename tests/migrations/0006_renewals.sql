-- One row at least in every table that step 6 adds.
INSERT INTO renewals (number, renewed_from, first_issued) VALUES
    (2, unhex('40000000000000000000000000000002'), 1780300800);
