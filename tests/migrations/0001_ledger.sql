-- One row at least in every table of step 1, in the words of both engines. The tests run every later step over it.
UPDATE state SET number = 4, policy_revision = 1, token_revision = 1, blocked_key_revision = 1,
    newest_at = 1780304400, only_authority = unhex('cacacacacacacacacacacacacacacacacacacacacacacacacacacacacacacaca');
INSERT INTO names (id, name) VALUES (1, 'token:portal'), (2, 'prod'), (3, 'dev'), (4, 'developers'), (5, 'cli:root');
INSERT INTO name_lists (id, sha256, names) VALUES
    (1, unhex('1111111111111111111111111111111111111111111111111111111111111111'), '["dev"]'),
    (2, unhex('2222222222222222222222222222222222222222222222222222222222222222'), '["developers"]');
INSERT INTO authorities (id, spki_sha256, certificate, registered_at) VALUES
    (1, unhex('cacacacacacacacacacacacacacacacacacacacacacacacacacacacacacacaca'), unhex('3000'), 1780304400);
INSERT INTO cluster_authorities (cluster_id, authority_id, registered_at) VALUES (2, 1, 1780304400);
INSERT INTO events (number, at, kind, caller_id, caller_groups, request_id, client_request_id, address, detail) VALUES
    (1, 1780304400, 3, 5, NULL, unhex('01010101010101010101010101010101'), NULL, NULL, '{"revision":1}'),
    (2, 1780304400, 1, 1, '["group:corp:sre"]', unhex('02020202020202020202020202020202'), 'trace-1', '203.0.113.7', NULL),
    (3, 1780304400, 2, 1, NULL, unhex('03030303030303030303030303030303'), NULL, '203.0.113.7', NULL),
    (4, 1780304400, 6, 5, NULL, unhex('04040404040404040404040404040404'), NULL, NULL, '{"reason":"leaked"}');
INSERT INTO certificates (number, authority_id, cluster_id, caller_id, serial, user_name, groups_id, on_behalf_of, reason,
    key_kind, spki_sha256, not_before, not_after, asked_ttl, policy_revision, policies_id, sha256, der) VALUES
    (2, 1, 2, 1, unhex('40000000000000000000000000000001'), 'alice', 1, 'bob', 'on call', 'p-256',
     unhex('0909090909090909090909090909090909090909090909090909090909090909'), 1780304100, 1780308000, 3600, 1, 2,
     unhex('0808080808080808080808080808080808080808080808080808080808080808'), unhex('3001'));
INSERT INTO certificate_groups (name_id, number) VALUES (3, 2);
INSERT INTO certificate_policies (name_id, number) VALUES (4, 2);
INSERT INTO key_owners (spki_sha256, user_name) VALUES
    (unhex('0909090909090909090909090909090909090909090909090909090909090909'), 'alice');
INSERT INTO refusals (number, caller_id, cluster_id, user_name, groups_id, on_behalf_of, reason, key_kind, spki_sha256,
    asked_ttl, code, detail, violations, policy_revision, policies_id) VALUES
    (3, 1, 2, 'mallory', 1, NULL, NULL, 'p-256', NULL, 600, 'policy_denied', 'no', '[]', 1, 2);
INSERT INTO refusal_groups (name_id, number) VALUES (3, 3);
INSERT INTO refusal_policies (name_id, number) VALUES (4, 3);
INSERT INTO policies (name, from_revision, until_revision, body) VALUES ('developers', 1, NULL,
    '{"name":"developers","effect":"allow","clusters":["prod"],"callers":["token:portal"],"users":["alice"]}');
INSERT INTO policy_revisions (revision, number) VALUES (1, 1);
INSERT INTO tokens (id, name, secret_sha256, roles, on_behalf_of, owner, created_at, expires_at, revoked_at) VALUES
    ('id-portal', 'portal', unhex('0505050505050505050505050505050505050505050505050505050505050505'), '["requester"]', 0,
     'platform team', 1780304400, 1790304400, NULL);
INSERT INTO blocked_keys (spki_sha256, reason, at, caller_id) VALUES
    (unhex('0707070707070707070707070707070707070707070707070707070707070707'), 'leaked', 1780304400, 5);
INSERT INTO idempotency_keys (caller_id, idempotency_key, fingerprint, number, at) VALUES
    (1, 'k', unhex('0606060606060606060606060606060606060606060606060606060606060606'), 2, 1780304400);
