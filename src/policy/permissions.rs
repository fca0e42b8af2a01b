//! What a caller may ask for, in its own words.

use std::collections::BTreeSet;

use serde::Serialize;

use super::choices::{Choices, keys};
use super::pattern::Pattern;
use super::refusal::shown;
use super::reserved::NameClass;
use super::rule::{Asker, Rule};
use super::set::{ClusterIndex, ClusterRules, Clusters, PolicySet};
use crate::caller::Caller;
use crate::time::Lifetime;

/// What the allow rows of one cluster offer to a caller. Rows that deny, and the other clusters of
/// a trust group, may still refuse some of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Permission {
    /// The cluster's name.
    pub cluster: String,
    /// User names, and patterns of them, sorted.
    pub users: Vec<String>,
    /// Groups, and patterns of them, sorted.
    pub groups: Vec<String>,
    /// What a request that asks for no lifetime gets, where the rows give as much.
    pub default_ttl: Lifetime,
    /// The kinds of keys that one of the rows takes.
    pub keys: Vec<&'static str>,
    /// The same row by row, by name: which groups go with which user names, for how long.
    pub rows: Vec<Choices>,
    /// Whom the caller may name as the person that it asks for, sorted.
    pub on_behalf_of: Vec<String>,
    /// The longest lifetime that any of these rows gives.
    pub max_ttl: Lifetime,
}

impl PolicySet {
    /// What `caller` may ask for, on each cluster where there is something, sorted by cluster.
    /// Patterns stay patterns; what is known of the caller is put in.
    #[must_use]
    pub fn permissions(&self, clusters: &Clusters, caller: &Caller) -> Vec<Permission> {
        let mut permissions: Vec<Permission> = clusters
            .rules
            .iter()
            .filter_map(|rules| Some((rules, self.clusters.get(&rules.name)?)))
            .filter_map(|(rules, index)| self.permission(rules, index, caller))
            .collect();
        permissions.sort_by(|one, other| one.cluster.cmp(&other.cluster));
        permissions
    }

    fn permission(&self, rules: &ClusterRules, index: &ClusterIndex, caller: &Caller) -> Option<Permission> {
        let rows = self.allow.for_caller(caller).and(&index.rows);
        let asker = Asker { caller, person: None };
        let listed = |field: fn(&Rule) -> Option<&Vec<Pattern>>| -> Vec<String> {
            let patterns = self
                .in_set(&rows)
                .flat_map(|rule| field(rule).into_iter().flatten().map(move |pattern| (rule, pattern)));
            let ordinary = |name: &_| index.reserved.class(name) == NameClass::Ordinary;
            let offers = patterns.flat_map(|(rule, pattern)| shown(rule, pattern, asker, ordinary));
            offers.map(|offer| offer.text.into_owned()).collect::<BTreeSet<_>>().into_iter().collect()
        };
        let users = listed(|rule| Some(&rule.users));
        if users.is_empty() {
            return None;
        }
        Some(Permission {
            cluster: rules.name.to_string(),
            users,
            groups: listed(|rule| rule.groups.as_ref()),
            default_ttl: rules.default_ttl,
            keys: keys(&self.in_set(&rows).collect::<Vec<_>>()),
            rows: self
                .in_set(&rows)
                .filter_map(|rule| Self::choices(rule, rules, index, Asker { caller, person: None }))
                .collect(),
            on_behalf_of: listed(|rule| rule.people.as_ref()),
            max_ttl: self.in_set(&rows).map(|rule| rule.lifetime(rules.max_ttl)).max()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::key::KeyKind;
    use crate::policy::testing::{HOUR, clusters, oidc, portal, set};
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
        let permissions = set.permissions(&clusters(), &alice);
        assert_eq!(permissions.len(), 2);
        assert_eq!(permissions[0].cluster, "dev");
        assert_eq!(permissions[0].groups, ["corp:x", "dev-*", "ops"]);
        assert_eq!(permissions[1].users, ["alice", "ci-alice", "root"]);
        assert_eq!(permissions[1].groups, ["dev-*", "kubeadm:cluster-admins", "ops"]);
        assert_eq!(permissions[1].max_ttl, Lifetime::from_seconds(2 * HOUR));
        assert!(set.permissions(&clusters(), &portal()).is_empty());
    }

    #[test]
    fn a_form_is_told_which_groups_go_with_which_user_names() {
        let set = set(&json!([
            {"name": "own", "callers": ["oidc:corp:*"], "users": ["{caller}"], "groups": ["dev", "team-*"], "max_ttl": "2h"},
            {"name": "robot", "callers": ["oidc:corp:alice"], "users": ["robot"], "keys": ["ed25519"],
             "description": "For jobs."},
            {"name": "star", "callers": ["oidc:corp:alice"], "users": ["a*"], "on_behalf_of": ["bob", "c*"]},
        ]));
        let permissions = set.permissions(&clusters(), &oidc("corp", "a*", &[]));
        let own = json!(permissions[0].rows);
        assert_eq!(own[0]["users"], json!([{"name": "a*"}]), "a name that looks like a pattern is a name");
        assert_eq!(own[0]["groups"], json!([{"name": "dev"}, {"pattern": "team-*"}]));
        let permissions = set.permissions(&clusters(), &oidc("corp", "alice", &[]));
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
    fn whom_a_portal_may_name_is_shown() {
        let set = set(&json!([{"users": ["{on_behalf_of}"], "on_behalf_of": ["*"]}]));
        let permissions = set.permissions(&clusters(), &portal());
        assert_eq!(permissions[0].users, ["{on_behalf_of}"]);
        assert_eq!(permissions[0].on_behalf_of, ["*"]);
    }
}
