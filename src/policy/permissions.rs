//! What a caller may ask for, in its own words.

use serde::Serialize;

use super::choices::{Choices, Field, GROUPS, Offered, PEOPLE, USERS, choices, keys};
use super::index::RowSet;
use super::rule::{Asker, Rule};
use super::set::{ClusterIndex, ClusterRules, Clusters, PolicySet};
use crate::caller::Caller;
use crate::time::{Lifetime, Time};

/// What the allow rows of one cluster that are in force offer to a caller. Rows that deny, limits that
/// are used up, and the other clusters of a trust group, may still refuse some of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Permission {
    /// The cluster's name.
    pub cluster: String,
    /// User names, and patterns of them, sorted.
    pub users: Vec<String>,
    /// Groups, and patterns of them, sorted.
    pub groups: Vec<String>,
    /// What the patterns in `users` leave out, sorted.
    pub except_users: Vec<String>,
    /// What the patterns in `groups` leave out, sorted.
    pub except_groups: Vec<String>,
    /// What a request that asks for no lifetime gets, where the rows give as much.
    pub default_ttl: Lifetime,
    /// The kinds of keys that one of the rows takes.
    pub keys: Vec<&'static str>,
    /// The same row by row, by name: which groups go with which user names, for how long.
    pub rows: Vec<Choices>,
    /// Whom the caller may name as the person that it asks for, sorted.
    pub on_behalf_of: Vec<String>,
    /// The longest lifetime that any of these rows gives now.
    pub max_ttl: Lifetime,
    /// What of it waits for people, by row.
    pub reviews: Vec<ReviewNeeded>,
}

/// What a review row of one cluster holds of a caller's requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReviewNeeded {
    /// The row's name.
    pub policy: String,
    /// User names, and patterns of them, sorted.
    pub users: Vec<String>,
    /// What the patterns in `users` leave out, sorted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub except_users: Vec<String>,
    /// Groups, and patterns of them, sorted. None where the user name alone is held.
    pub groups: Vec<String>,
    /// What the patterns in `groups` leave out, sorted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub except_groups: Vec<String>,
    /// For whom, sorted. None where it does not matter.
    pub on_behalf_of: Vec<String>,
    /// How many approvals it wants.
    pub approvals: u32,
}

impl PolicySet {
    /// What `caller` may ask for at `now`, on each cluster where there is something, sorted by cluster.
    /// Patterns stay patterns; what is known of the caller is put in.
    #[must_use]
    pub fn permissions(&self, clusters: &Clusters, caller: &Caller, now: Time) -> Vec<Permission> {
        let mut permissions: Vec<Permission> = clusters
            .rules
            .iter()
            .filter_map(|rules| Some((rules, self.clusters.get(&rules.name)?)))
            .filter_map(|(rules, index)| self.permission(rules, index, caller, now))
            .collect();
        permissions.sort_by(|one, other| one.cluster.cmp(&other.cluster));
        permissions
    }

    fn permission(
        &self,
        rules: &ClusterRules,
        index: &ClusterIndex,
        caller: &Caller,
        now: Time,
    ) -> Option<Permission> {
        let in_force = self.in_force(&self.allow.for_caller(caller).and(&index.rows), caller, now);
        let asker = Asker { caller, person: None };
        let offered = |field: Field| Offered::of(in_force.iter().map(|(rule, _)| *rule), field, asker, index);
        let users = offered(USERS);
        if users.choices.is_empty() {
            return None;
        }
        let groups = offered(GROUPS);
        let lifetimes = in_force.iter().map(|(rule, open)| rule.lifetime(rules.max_ttl, Some(*open)));
        let choices = in_force.iter().filter_map(|(rule, open)| choices(rule, *open, rules, asker, index));
        Some(Permission {
            cluster: rules.name.to_string(),
            users: users.texts(),
            groups: groups.texts(),
            except_users: users.except,
            except_groups: groups.except,
            default_ttl: rules.default_ttl,
            keys: keys(&in_force.iter().map(|(rule, _)| *rule)),
            rows: choices.collect(),
            on_behalf_of: offered(PEOPLE).texts(),
            max_ttl: lifetimes.max()?,
            reviews: self.reviews(index, asker, now),
        })
    }

    /// Those of `rows` that are in force for the caller, and for how long yet.
    fn in_force(&self, rows: &RowSet, caller: &Caller, now: Time) -> Vec<(&Rule, Lifetime)> {
        let admitting = self.in_set(rows).filter(|rule| rule.admits_groups(caller));
        admitting.filter_map(|rule| Some((rule, rule.open_for(now)?))).collect()
    }

    fn reviews(&self, index: &ClusterIndex, asker: Asker<'_>, now: Time) -> Vec<ReviewNeeded> {
        let rows = self.review.for_caller(asker.caller).and(&index.rows);
        let needed = |(rule, _): &(&Rule, Lifetime)| {
            let offered = |field: Field| Offered::of(std::iter::once(*rule), field, asker, index);
            let (users, groups) = (offered(USERS), offered(GROUPS));
            ReviewNeeded {
                policy: rule.name.to_string(),
                users: users.texts(),
                except_users: users.except,
                groups: groups.texts(),
                except_groups: groups.except,
                on_behalf_of: offered(PEOPLE).texts(),
                approvals: rule.approvals,
            }
        };
        self.in_force(&rows, asker.caller, now).iter().map(needed).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::key::KeyKind;
    use crate::policy::testing::{HOUR, NOW, clusters, oidc, portal, set};
    use serde_json::json;

    #[test]
    fn a_caller_sees_what_its_rows_offer_with_its_own_name_put_in() {
        let set = set(&json!([
            {"callers": ["oidc:corp:*"], "users": ["{caller}", "ci-{caller}"], "groups": ["{caller.groups}", "dev-*"],
             "max_ttl": "2h", "clusters": ["*"]},
            {"callers": ["oidc:corp:alice"], "users": ["root"], "groups": ["kubeadm:cluster-admins"], "max_ttl": "1h"},
            {"callers": ["oidc:corp:bob"], "users": ["bob"]},
            {"callers": ["oidc:other:*"], "users": ["*"]},
            {"effect": "deny", "callers": ["oidc:corp:*"], "users": ["nobody"]},
        ]));
        let alice = oidc("corp", "alice", &["ops", "system:masters", "corp:x"]);
        let permissions = set.permissions(&clusters(), &alice, NOW);
        assert_eq!(permissions.len(), 2);
        assert_eq!(permissions[0].cluster, "dev");
        assert_eq!(permissions[0].groups, ["corp:x", "dev-*", "ops"]);
        assert_eq!(permissions[1].users, ["alice", "ci-alice", "root"]);
        assert_eq!(permissions[1].groups, ["dev-*", "kubeadm:cluster-admins", "ops"]);
        assert_eq!(permissions[1].max_ttl, Lifetime::from_seconds(2 * HOUR));
        assert!(set.permissions(&clusters(), &portal(), NOW).is_empty());
    }

    #[test]
    fn a_form_is_told_which_groups_go_with_which_user_names() {
        let set = set(&json!([
            {"name": "own", "callers": ["oidc:corp:*"], "users": ["{caller}"], "groups": ["dev", "team-*"], "max_ttl": "2h"},
            {"name": "robot", "callers": ["oidc:corp:alice"], "users": ["robot"], "keys": ["ed25519"],
             "description": "For jobs."},
            {"name": "star", "callers": ["oidc:corp:alice"], "users": ["a*"], "on_behalf_of": ["bob", "c*"]},
        ]));
        let permissions = set.permissions(&clusters(), &oidc("corp", "a*", &[]), NOW);
        let own = json!(permissions[0].rows);
        assert_eq!(own[0]["users"], json!([{"name": "a*"}]), "a name that looks like a pattern is a name");
        assert_eq!(own[0]["groups"], json!([{"name": "dev"}, {"pattern": "team-*"}]));
        let permissions = set.permissions(&clusters(), &oidc("corp", "alice", &[]), NOW);
        let prod = json!(permissions[0]);
        assert_eq!(prod["default_ttl"], "8h");
        assert_eq!(prod["keys"].as_array().map(Vec::len), Some(KeyKind::ALL.len()));
        let rows = &prod["rows"];
        assert_eq!(rows[0]["max_ttl"], "2h");
        assert_eq!(rows[0].get("on_behalf_of"), None);
        assert_eq!(
            rows[1],
            json!({"policy": "robot", "description": "For jobs.", "users": [{"name": "robot"}], "groups": [],
                "max_ttl": "1d", "keys": ["ed25519"]})
        );
        assert_eq!(rows[2]["users"], json!([{"pattern": "a*"}]));
        assert_eq!(rows[2]["on_behalf_of"], json!([{"name": "bob"}, {"pattern": "c*"}]));
    }

    #[test]
    fn a_form_is_told_what_each_row_leaves_out_and_when_it_gives() {
        let set = set(&json!([
            {"name": "day", "users": ["a*", "bob"], "except_users": ["al*", "bob"], "groups": ["dev-*", "ops"],
             "except_groups": ["ops", "dev-1"], "when": ["mon-fri 08:00-18:00 Europe/Berlin"], "max_active": 3},
            {"name": "night", "users": ["a*"], "when": ["sat-sun 00:00-24:00 Europe/Berlin"]},
            {"name": "other", "users": ["alice"], "required_groups": ["group:corp:dev"]},
        ]));
        let prod = json!(set.permissions(&clusters(), &portal(), NOW)[0]);
        assert_eq!(prod["rows"].as_array().map(Vec::len), Some(1), "only what is in force");
        let day = &prod["rows"][0];
        assert_eq!(day["users"], json!([{"pattern": "a*"}]));
        assert_eq!(day["except_users"], json!(["al*", "bob"]));
        assert_eq!(day["groups"], json!([{"pattern": "dev-*"}]));
        assert_eq!(day["except_groups"], json!(["dev-1", "ops"]));
        assert_eq!(day["when"], json!(["mon-fri 08:00-18:00 Europe/Berlin"]));
        assert_eq!((&day["max_active"], day.get("per_hour")), (&json!(3), None));
        assert_eq!((&day["max_ttl"], &prod["max_ttl"]), (&json!("9h"), &json!("9h")));
    }

    #[test]
    fn what_waits_for_people_is_shown_with_the_row_that_holds_it() {
        let set = set(&json!([
            {"users": ["{caller}"], "groups": ["ops"], "callers": ["oidc:corp:*"]},
            {"name": "ops", "effect": "review", "callers": ["oidc:corp:*"], "users": ["{caller}"], "groups": ["ops"],
             "approvers": ["token:a", "token:b"], "approvals": 2},
            {"name": "other", "effect": "review", "callers": ["oidc:other:*"], "users": ["*"], "approvers": ["token:a"]},
        ]));
        let permissions = set.permissions(&clusters(), &oidc("corp", "alice", &[]), NOW);
        let ops = ReviewNeeded {
            policy: "ops".to_owned(),
            users: vec!["alice".to_owned()],
            except_users: Vec::new(),
            groups: vec!["ops".to_owned()],
            except_groups: Vec::new(),
            on_behalf_of: Vec::new(),
            approvals: 2,
        };
        assert_eq!(permissions[0].reviews, [ops]);
    }

    #[test]
    fn whom_a_portal_may_name_is_shown() {
        let set = set(&json!([{"users": ["{on_behalf_of}"], "on_behalf_of": ["*"]}]));
        let permissions = set.permissions(&clusters(), &portal(), NOW);
        assert_eq!(permissions[0].users, ["{on_behalf_of}"]);
        assert_eq!(permissions[0].on_behalf_of, ["*"]);
    }
}
