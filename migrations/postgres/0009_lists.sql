-- Which list has which name: the same as in migrations/sqlite. The comments are there, except for this one.

CREATE TABLE name_list_members (
    name_id BIGINT NOT NULL REFERENCES names (id),
    list_id BIGINT NOT NULL REFERENCES name_lists (id),
    PRIMARY KEY (name_id, list_id)
);

INSERT INTO names (name)
    SELECT DISTINCT member.name FROM name_lists list, json_array_elements_text(list.names::json) member (name)
    ON CONFLICT (name) DO NOTHING;
INSERT INTO name_list_members (name_id, list_id)
    SELECT DISTINCT name.id, list.id FROM name_lists list, json_array_elements_text(list.names::json) member (name), names name
    WHERE name.name = member.name;

CREATE INDEX name_list_members_by_list ON name_list_members (list_id);

-- Whoever may do something to lists may do it to this.
DO $$ DECLARE
    held RECORD;
BEGIN
    FOR held IN
        SELECT a.privilege_type AS right_, CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END AS role_
        FROM pg_class c, aclexplode(c.relacl) a WHERE c.oid = 'name_lists'::regclass AND a.grantee <> c.relowner
    LOOP
        EXECUTE format('GRANT %s ON name_list_members TO %s', held.right_, held.role_);
    END LOOP;
END $$;

CREATE TRIGGER name_list_members_are_kept BEFORE UPDATE ON name_list_members
FOR EACH ROW EXECUTE FUNCTION refuse_change('name lists are never changed: records speak of them');
CREATE TRIGGER name_list_members_are_not_deleted BEFORE DELETE ON name_list_members
FOR EACH ROW EXECUTE FUNCTION refuse_change('name lists are never deleted: records speak of them');
CREATE TRIGGER name_list_members_are_not_emptied BEFORE TRUNCATE ON name_list_members
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change('name lists are never deleted: records speak of them');

DROP TABLE certificate_groups;
DROP TABLE certificate_policies;
DROP TABLE refusal_groups;
DROP TABLE refusal_policies;

-- Entries that are equal are kept as one, with a list of rows. By the whole number none are; by the number without its last
-- six bits up to sixty-four are, and such an index takes half the room.
CREATE INDEX certificates_by_groups ON certificates (groups_id, (number >> 6));
CREATE INDEX certificates_by_policies ON certificates (policies_id, (number >> 6));
CREATE INDEX refusals_by_groups ON refusals (groups_id, (number >> 6));
CREATE INDEX refusals_by_policies ON refusals (policies_id, (number >> 6));

-- Any record of a second will do, so that those of one second share an entry.
DROP INDEX events_by_kind_and_time;
CREATE INDEX events_by_kind_and_time ON events (kind, at);
