//! What a caller may ask for, in its own words.

use std::collections::BTreeSet;

use serde::Serialize;

use super::pattern::Pattern;
use super::refusal::shown;
use super::reserved::NameClass;
use super::rule::{Asker, Rule};
use super::set::{ClusterIndex, ClusterRules, Clusters, PolicySet};
use crate::caller::Caller;
use crate::pki::name::Name;
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
    /// Whom the caller may name as the person that it asks for, sorted.
    pub on_behalf_of: Vec<String>,
    /// The longest lifetime that any of these rows gives now.
    pub max_ttl: Lifetime,
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
        let rows = self.allow.for_caller(caller).and(&index.rows);
        let in_force = self.in_set(&rows).filter(|rule| rule.admits(caller));
        let in_force: Vec<(&Rule, Lifetime)> =
            in_force.filter_map(|rule| Some((rule, rule.open_for(now)?))).collect();
        let asker = Asker { caller, person: None };
        let ordinary = |name: &Name| index.reserved.class(name) == NameClass::Ordinary;
        let offered = |field: Field| {
            let mut offered = Offered::default();
            for (rule, _) in &in_force {
                offered.add(rule, field, asker, ordinary);
            }
            offered.except.retain(|text| !offered.texts.contains(text));
            offered
        };
        let users = offered(|rule| (Some(&rule.users), &rule.except_users));
        if users.texts.is_empty() {
            return None;
        }
        let groups = offered(|rule| (rule.groups.as_ref(), &rule.except_groups));
        let lifetimes = in_force.iter().map(|(rule, open)| rule.lifetime(rules.max_ttl, Some(*open)));
        Some(Permission {
            cluster: rules.name.to_string(),
            users: sorted(users.texts),
            groups: sorted(groups.texts),
            except_users: sorted(users.except),
            except_groups: sorted(groups.except),
            on_behalf_of: sorted(offered(|rule| (rule.people.as_ref(), &[])).texts),
            max_ttl: lifetimes.max()?,
        })
    }
}

/// The patterns of one field of a row, and those of what it leaves out.
type Field = fn(&Rule) -> (Option<&Vec<Pattern>>, &[Pattern]);

/// What rows offer in one field.
#[derive(Default)]
struct Offered {
    texts: BTreeSet<String>,
    except: BTreeSet<String>,
}

impl Offered {
    /// Names that the row leaves out are not offered; where it offers a pattern, what that leaves
    /// out is told.
    fn add(&mut self, rule: &Rule, field: Field, asker: Asker<'_>, ordinary: impl Fn(&Name) -> bool) {
        let (patterns, except) = field(rule);
        let offers =
            patterns.into_iter().flatten().flat_map(|pattern| shown(rule, pattern, asker, &ordinary));
        for offer in offers {
            if offer.open {
                self.except.extend(except.iter().map(|pattern| pattern.as_str().to_owned()));
            } else if rule.excepts(except, &offer.text, asker) {
                continue;
            }
            self.texts.insert(offer.text.into_owned());
        }
    }
}

fn sorted(texts: BTreeSet<String>) -> Vec<String> {
    texts.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
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
    fn whom_a_portal_may_name_is_shown() {
        let set = set(&json!([{"users": ["{on_behalf_of}"], "on_behalf_of": ["*"]}]));
        let permissions = set.permissions(&clusters(), &portal(), NOW);
        assert_eq!(permissions[0].users, ["{on_behalf_of}"]);
        assert_eq!(permissions[0].on_behalf_of, ["*"]);
    }
}
