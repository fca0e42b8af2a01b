//! What a caller may ask for, in its own words.

use std::collections::BTreeSet;

use serde::Serialize;

use super::pattern::Pattern;
use super::refusal::shown;
use super::reserved::NameClass;
use super::row::PolicyRow;
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
    /// Whom the caller may name as the person that it asks for, sorted.
    pub on_behalf_of: Vec<String>,
    /// The longest lifetime that any of these rows gives.
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
    /// Groups, and patterns of them, sorted. None where the user name alone is held.
    pub groups: Vec<String>,
    /// For whom, sorted. None where it does not matter.
    pub on_behalf_of: Vec<String>,
    /// How many approvals it wants.
    pub approvals: u32,
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
        let listed = |field| listed(self.in_set(&rows), field, index, caller);
        let users = listed(|rule| Some(&rule.users));
        if users.is_empty() {
            return None;
        }
        Some(Permission {
            cluster: rules.name.to_string(),
            users,
            groups: listed(|rule| rule.groups.as_ref()),
            on_behalf_of: listed(|rule| rule.people.as_ref()),
            max_ttl: self.in_set(&rows).map(|rule| rule.lifetime(rules.max_ttl)).max()?,
            reviews: self.reviews(index, caller),
        })
    }

    fn reviews(&self, index: &ClusterIndex, caller: &Caller) -> Vec<ReviewNeeded> {
        let rows = self.review.for_caller(caller).and(&index.rows);
        let written = self.written(&rows);
        let needed = |(rule, row): (&Rule, &PolicyRow)| {
            let listed = |field| listed(std::iter::once(rule), field, index, caller);
            ReviewNeeded {
                policy: rule.name.to_string(),
                users: listed(|rule| Some(&rule.users)),
                groups: listed(|rule| rule.groups.as_ref()),
                on_behalf_of: listed(|rule| rule.people.as_ref()),
                approvals: row.approvals.unwrap_or(1),
            }
        };
        // Both are sorted by name.
        self.in_set(&rows).zip(&written).map(needed).collect()
    }
}

/// What rows say in one field, with what is known of the caller put in.
fn listed<'r>(
    rules: impl Iterator<Item = &'r Rule>,
    field: fn(&Rule) -> Option<&Vec<Pattern>>,
    index: &ClusterIndex,
    caller: &Caller,
) -> Vec<String> {
    let asker = Asker { caller, person: None };
    let patterns =
        rules.flat_map(|rule| field(rule).into_iter().flatten().map(move |pattern| (rule, pattern)));
    let ordinary = |name: &_| index.reserved.class(name) == NameClass::Ordinary;
    let offers = patterns.flat_map(|(rule, pattern)| shown(rule, pattern, asker, ordinary));
    offers.map(|offer| offer.text.into_owned()).collect::<BTreeSet<_>>().into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
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
    fn what_waits_for_people_is_shown_with_the_row_that_holds_it() {
        let set = set(&json!([
            {"users": ["{caller}"], "groups": ["ops"], "callers": ["oidc:corp:*"]},
            {"name": "ops", "effect": "review", "callers": ["oidc:corp:*"], "users": ["{caller}"], "groups": ["ops"],
             "approvers": ["token:a", "token:b"], "approvals": 2},
            {"name": "other", "effect": "review", "callers": ["oidc:other:*"], "users": ["*"], "approvers": ["token:a"]},
        ]));
        let permissions = set.permissions(&clusters(), &oidc("corp", "alice", &[]));
        let ops = ReviewNeeded {
            policy: "ops".to_owned(),
            users: vec!["alice".to_owned()],
            groups: vec!["ops".to_owned()],
            on_behalf_of: Vec::new(),
            approvals: 2,
        };
        assert_eq!(permissions[0].reviews, [ops]);
    }

    #[test]
    fn whom_a_portal_may_name_is_shown() {
        let set = set(&json!([{"users": ["{on_behalf_of}"], "on_behalf_of": ["*"]}]));
        let permissions = set.permissions(&clusters(), &portal());
        assert_eq!(permissions[0].users, ["{on_behalf_of}"]);
        assert_eq!(permissions[0].on_behalf_of, ["*"]);
    }
}
