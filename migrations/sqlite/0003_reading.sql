-- What reading the ledger needs: every list is paged in number order along one of these.

-- From a time to a number: records are at most 60 seconds out of order. Also counts by day.
CREATE INDEX events_by_kind_and_time ON events (kind, at);

-- Nearly every event is of a certificate, so that kind needs no index of its own.
DROP INDEX events_by_kind;
CREATE INDEX events_by_kind ON events (kind) WHERE kind > 1;

-- Changes are few among records, and their times are not held against the newest record.
CREATE INDEX events_of_changes ON events ((CASE WHEN kind > 2 THEN 1 END)) WHERE kind > 2;

-- Certificates of like lifetimes together: those that are valid at a moment are at least a quarter
-- of a stretch of numbers. The text is that of `src/store/lifetimes.rs`.
CREATE INDEX certificates_by_lifetime ON certificates (
    (CASE WHEN not_after - not_before <= 4000 THEN 0 WHEN not_after - not_before <= 16000 THEN 1 WHEN not_after - not_before <= 64000 THEN 2 WHEN not_after - not_before <= 256000 THEN 3 WHEN not_after - not_before <= 1024000 THEN 4 WHEN not_after - not_before <= 4096000 THEN 5 WHEN not_after - not_before <= 16384000 THEN 6 WHEN not_after - not_before <= 65536000 THEN 7 WHEN not_after - not_before <= 262144000 THEN 8 ELSE 9 END),
    number, not_before, not_after
);
