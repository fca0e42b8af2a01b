-- One row at least in every table that step 5 adds.
INSERT INTO names (id, name) VALUES (6, 'oidc:corp:alice');
INSERT INTO events (number, at, kind, caller_id, caller_groups, request_id, client_request_id, address, detail) VALUES
    (7, 1780304400, 40, 6, NULL, unhex('07070707070707070707070707070707'), NULL, '203.0.113.7', '{}');
INSERT INTO identities (number, caller_id, issuer, subject, since, released) VALUES
    (7, 6, 'https://idp.example', '1234', 7, NULL);
UPDATE state SET number = 7;
