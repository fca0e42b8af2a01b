-- One row at least in every table that step 4 adds.
INSERT INTO events (number, at, kind, caller_id, caller_groups, request_id, client_request_id, address, detail) VALUES
    (5, 1780304400, 30, 1, NULL, unhex('05050505050505050505050505050505'), NULL, '203.0.113.7', '{}'),
    (6, 1780304400, 31, 5, NULL, unhex('06060606060606060606060606060606'), NULL, NULL, '{}');
INSERT INTO requests (number, id, state, caller_id, owner, cluster_id, authority, csr, csr_sha256, user_name, groups_id,
    on_behalf_of, reason, key_kind, spki_sha256, asked_ttl, lifetime, policies_id, reviews, policy_revision, wish,
    lapses_at, closed, certificate) VALUES
    (5, unhex('0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c'), 1, 1, 'oidc:corp:olga', 2,
     unhex('cacacacacacacacacacacacacacacacacacacacacacacacacacacacacacacaca'), unhex('3000'),
     unhex('0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d'), 'alice', 1, 'bob', 'on call', 'p-256',
     unhex('0909090909090909090909090909090909090909090909090909090909090909'), 3600, 3600, 2, '[]', 1,
     unhex('0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e0e'), 1780308000, NULL, NULL);
INSERT INTO request_approvals (number, request, token_id, owner, comment) VALUES (6, 5, NULL, NULL, 'sound');
UPDATE state SET number = 6;
