-- A list that no record has yet.
INSERT INTO names (id, name) VALUES (901, 'ops');
INSERT INTO name_lists (id, sha256, names) VALUES
    (901, unhex('9111111111111111111111111111111111111111111111111111111111111119'), '["ops"]');
INSERT INTO name_list_members (name_id, list_id) VALUES (901, 901);
