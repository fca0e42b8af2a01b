-- The owner of a key whose certificates were deleted.
INSERT INTO key_owners (spki_sha256, user_name) VALUES
    (unhex('0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a'), 'carol');
