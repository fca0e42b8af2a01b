//! What one set has that another has not, row by row.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;

use super::PolicyRow;
use crate::pki::name::ShortName;

/// What has to be done to one set to make it another; each list is sorted by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Rows that only the new set has.
    pub added: Vec<PolicyRow>,
    /// Rows that say something else in the new set.
    pub changed: Vec<Changed>,
    /// Rows that only the old set has.
    pub removed: Vec<PolicyRow>,
}

/// A row before and after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Changed {
    /// What the row says in the old set.
    pub old: PolicyRow,
    /// What it says in the new one.
    pub new: PolicyRow,
}

impl Difference {
    /// Between two sets of which no name stands twice in one.
    #[must_use]
    pub fn between(old: &[PolicyRow], new: &[PolicyRow]) -> Self {
        let (old, new) = (by_name(old), by_name(new));
        let only = |here: &BTreeMap<_, &PolicyRow>, there: &BTreeMap<&ShortName, &PolicyRow>| {
            let rows = here.iter().filter(|(name, _)| !there.contains_key(*name));
            rows.map(|(_, row)| (*row).clone()).collect()
        };
        let both = old.iter().filter_map(|(name, row)| Some((*row, *new.get(name)?)));
        Self {
            added: only(&new, &old),
            changed: both
                .filter(|(before, after)| before != after)
                .map(|(before, after)| Changed { old: before.clone(), new: after.clone() })
                .collect(),
            removed: only(&old, &new),
        }
    }

    /// Whether the two sets are the same.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.changed.is_empty() && self.removed.is_empty()
    }

    /// The held rows of the old set that the new one leaves out or changes: they go by name only.
    #[must_use]
    pub fn held(&self) -> Vec<ShortName> {
        let rows = self.removed.iter().chain(self.changed.iter().map(|changed| &changed.old));
        let names: BTreeSet<&ShortName> = rows.filter(|row| row.hold).map(|row| &row.name).collect();
        names.into_iter().cloned().collect()
    }
}

impl Changed {
    /// The fields that differ, with what each says before and after; `null` where it is left out.
    #[must_use]
    pub fn fields(&self) -> Vec<(String, Value, Value)> {
        let (old, new) = (fields(&self.old), fields(&self.new));
        let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        let value = |of: &serde_json::Map<String, Value>, name: &String| of.get(name).cloned();
        let pairs = names.into_iter().map(|name| (name, value(&old, name), value(&new, name)));
        pairs
            .filter(|(_, before, after)| before != after)
            .map(|(name, before, after)| {
                (name.clone(), before.unwrap_or_default(), after.unwrap_or_default())
            })
            .collect()
    }
}

fn by_name(rows: &[PolicyRow]) -> BTreeMap<&ShortName, &PolicyRow> {
    rows.iter().map(|row| (&row.name, row)).collect()
}

fn fields(row: &PolicyRow) -> serde_json::Map<String, Value> {
    match serde_json::to_value(row) {
        Ok(Value::Object(fields)) => fields,
        _ => serde_json::Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::testing::{row, short};
    use serde_json::json;

    fn rows(rows: &Value) -> Vec<PolicyRow> {
        let with_effect = |mut json: Value| {
            if json.get("effect").is_none() {
                json["effect"] = json!("allow");
            }
            row(json)
        };
        rows.as_array().unwrap().iter().cloned().map(with_effect).collect()
    }

    #[test]
    fn every_row_is_in_one_list_at_most() {
        let old = rows(&json!([{"name": "b"}, {"name": "a"}, {"name": "c", "max_ttl": "1h"}]));
        let new = rows(&json!([{"name": "d"}, {"name": "c", "groups": ["dev"]}, {"name": "a"}]));
        let difference = Difference::between(&old, &new);
        let names = |rows: &[PolicyRow]| rows.iter().map(|row| row.name.to_string()).collect::<Vec<_>>();
        assert_eq!(names(&difference.added), ["d"]);
        assert_eq!(names(&difference.removed), ["b"]);
        assert_eq!(
            difference.changed[0].fields(),
            [("groups".into(), Value::Null, json!(["dev"])), ("max_ttl".into(), json!("1h"), Value::Null)]
        );
        assert!(Difference::between(&old, &old).is_empty());
        assert!(
            Difference::between(
                &old,
                &rows(&json!([{"name": "c", "max_ttl": "1h"}, {"name": "a"}, {"name": "b"}]))
            )
            .is_empty()
        );
    }

    #[test]
    fn a_held_row_that_stays_as_it_is_stands_in_nobody_s_way() {
        let held = json!({"name": "stop", "effect": "deny", "hold": true});
        let old = rows(&json!([held, {"name": "a"}]));
        assert!(Difference::between(&old, &rows(&json!([held]))).held().is_empty());
        assert_eq!(Difference::between(&old, &rows(&json!([{"name": "a"}]))).held(), [short("stop")]);
        for change in [json!({"hold": false}), json!({"users": ["bob"]}), json!({"enabled": false})] {
            let mut other = held.clone();
            other.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
            let new = rows(&json!([other]));
            assert_eq!(Difference::between(&old, &new).held(), [short("stop")], "{change}");
        }
        assert!(Difference::between(&[], &old).held().is_empty(), "a held row may be added");
    }
}
