-- One row at least in every table that step 7 adds.
INSERT INTO events (number, at, kind, caller_id, caller_groups, request_id, client_request_id, address, detail) VALUES
    (8, 1780304400, 60, 5, NULL, unhex('08080808080808080808080808080808'), NULL, NULL, '{}');
INSERT INTO token_rotations (number, token_id, id, secret_sha256, at, expires_at, previous_until) VALUES
    (8, 'id-portal', 'id-portal-2', unhex('0404040404040404040404040404040404040404040404040404040404040404'), 1780304400,
     1790304400, 1780308000);
INSERT INTO token_uses (id, at) VALUES ('id-portal', 1780304400);
UPDATE state SET number = 8, token_revision = 2;
