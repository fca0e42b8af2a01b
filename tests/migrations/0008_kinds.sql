-- Step 8 adds an index and no table. An event of a kind that is in it.
INSERT INTO events (number, at, kind, caller_id, caller_groups, request_id, client_request_id, address, detail) VALUES
    (9, 1780304400, 41, 5, NULL, unhex('09090909090909090909090909090909'), NULL, NULL, '{}');
UPDATE state SET number = 9;
