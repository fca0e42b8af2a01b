-- One row at least in every table that step 2 adds.
UPDATE retention SET seconds = 2592000;
