-- Which list has which name, for filters by group and by policy. Lists are few where records are many, so a name is noted
-- once for each list and no longer once for each record.

CREATE TABLE name_list_members (
    name_id INTEGER NOT NULL REFERENCES names (id),
    list_id INTEGER NOT NULL REFERENCES name_lists (id),
    PRIMARY KEY (name_id, list_id)
) STRICT, WITHOUT ROWID;

-- Requests that were never decided on have names in their lists that no record had.
INSERT OR IGNORE INTO names (name) SELECT DISTINCT member.value FROM name_lists list, json_each(list.names) member
    WHERE json_valid(list.names);
INSERT INTO name_list_members (name_id, list_id)
    SELECT DISTINCT name.id, list.id FROM name_lists list, json_each(list.names) member, names name
    WHERE json_valid(list.names) AND name.name = member.value;

CREATE INDEX name_list_members_by_list ON name_list_members (list_id);

CREATE TRIGGER name_list_members_are_kept BEFORE UPDATE ON name_list_members
BEGIN SELECT RAISE(ABORT, 'name lists are never changed: records speak of them'); END;
CREATE TRIGGER name_list_members_are_not_deleted BEFORE DELETE ON name_list_members
BEGIN SELECT RAISE(ABORT, 'name lists are never deleted: records speak of them'); END;

DROP TABLE certificate_groups;
DROP TABLE certificate_policies;
DROP TABLE refusal_groups;
DROP TABLE refusal_policies;

CREATE INDEX certificates_by_groups ON certificates (groups_id);
CREATE INDEX certificates_by_policies ON certificates (policies_id);
CREATE INDEX refusals_by_groups ON refusals (groups_id);
CREATE INDEX refusals_by_policies ON refusals (policies_id);
