//! A policy set, compiled once per revision.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::check::{self, Ground};
use super::index::{Index, RowSet};
use super::reserved::ReservedNames;
use super::rule::Rule;
use super::windows::Windows;
use super::{Effect, PolicyRow};
use crate::caller::Caller;
use crate::pki::key::KeyKind;
use crate::pki::name::ShortName;
use crate::time::{Lifetime, Time};

/// What deciding needs to know of a cluster.
#[derive(Clone, Debug)]
pub struct ClusterRules {
    /// As it is configured.
    pub name: ShortName,
    /// What a request that asks for no lifetime gets.
    pub default_ttl: Lifetime,
    /// The longest lifetime that is ever given.
    pub max_ttl: Lifetime,
    /// What this cluster reserves beside the built-in names. An entry that ends in `*`, in `:` or in
    /// another character that is neither letter nor digit reserves every name that begins so; any
    /// other entry reserves that one name.
    pub reserved: Vec<String>,
    /// Whether node and bootstrap identities may be issued at all.
    pub node_identities: bool,
    /// Clusters that trust one CA key name one group, and a claim must be allowed on all of them.
    pub trust_group: Option<ShortName>,
    /// The latest notBefore over the CA's chain.
    pub ca_not_before: Time,
    /// The earliest notAfter over the CA's chain, still valid itself (RFC 5280 section 4.1.2.5).
    pub ca_not_after: Time,
    /// SHA-256 of the SPKI of every certificate of the CA's chain: such keys are never certified.
    pub ca_keys: Vec<[u8; 32]>,
}

/// Every configured cluster. A claim is decided on the asked one and on every other of its trust group.
#[derive(Clone, Debug, Default)]
pub struct Clusters {
    /// In any order.
    pub rules: Vec<ClusterRules>,
}

impl Clusters {
    /// The asked cluster and the others that trust the same CA key, the asked one first. Empty if
    /// there is no such cluster.
    pub(super) fn trusting(&self, asked: &ShortName) -> Vec<&ClusterRules> {
        let Some(first) = self.rules.iter().find(|rules| rules.name == *asked) else {
            return Vec::new();
        };
        let together = |other: &&ClusterRules| {
            other.name != first.name && other.trust_group.is_some() && other.trust_group == first.trust_group
        };
        std::iter::once(first).chain(self.rules.iter().filter(together)).collect()
    }
}

/// A set of rows that passed every check, ready to decide.
#[derive(Clone, Debug)]
pub struct PolicySet {
    pub(super) revision: i64,
    rows: Vec<PolicyRow>,
    /// Sorted by name; the places in every [`RowSet`] are places here.
    pub(super) rules: Vec<Rule>,
    pub(super) allow: Index,
    pub(super) deny: Index,
    pub(super) review: Index,
    /// Allow rows without a star in `users` and `callers`: only they give reserved names.
    pub(super) spelled_out: RowSet,
    keys: HashMap<KeyKind, RowSet>,
    pub(super) clusters: HashMap<ShortName, ClusterIndex>,
    /// The allow rows by their `max_ttl`, the longest first.
    pub(super) tiers: Vec<(Option<Lifetime>, RowSet)>,
}

/// What a set knows of one cluster.
#[derive(Clone, Debug)]
pub(super) struct ClusterIndex {
    pub(super) rows: RowSet,
    pub(super) reserved: ReservedNames,
}

impl PolicySet {
    /// Checks every row against the configured clusters, rows that are not enabled too, and compiles.
    ///
    /// # Errors
    /// Everything that is wrong, each with its row and field.
    pub fn compile(revision: i64, rows: Vec<PolicyRow>, clusters: &Clusters) -> Result<Self, Vec<RowError>> {
        Self::checked(revision, rows, clusters, &Ground::new(clusters))
    }

    /// Compiles rows that were checked when they were written. They may name clusters that are not
    /// configured here, by another replica or any more; such a row matches nothing here.
    ///
    /// # Errors
    /// Everything that is wrong, each with its row and field.
    pub fn load(revision: i64, rows: Vec<PolicyRow>, clusters: &Clusters) -> Result<Self, Vec<RowError>> {
        Self::checked(revision, rows, clusters, &Ground::stored(clusters))
    }

    /// A set that allows nothing.
    #[must_use]
    pub fn none(revision: i64, clusters: &Clusters) -> Self {
        Self::index(revision, Vec::new(), Vec::new(), clusters)
    }

    fn checked(
        revision: i64,
        rows: Vec<PolicyRow>,
        clusters: &Clusters,
        ground: &Ground<'_>,
    ) -> Result<Self, Vec<RowError>> {
        let mut errors = repeated_names(&rows);
        let mut rules = Vec::with_capacity(rows.len());
        for row in &rows {
            match check::compile(row, ground) {
                Ok(rule) => rules.push(rule),
                Err(wrong) => errors.extend(wrong),
            }
        }
        if errors.is_empty() { Ok(Self::index(revision, rows, rules, clusters)) } else { Err(errors) }
    }

    /// The revision that these rows are.
    #[must_use]
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// The rows as they were given, those that are not enabled too.
    #[must_use]
    pub fn rows(&self) -> &[PolicyRow] {
        &self.rows
    }

    /// Whether it matters to one of the rows when something is asked.
    #[must_use]
    pub fn has_windows(&self) -> bool {
        self.rules.iter().any(|rule| rule.enabled && rule.when.is_some())
    }

    /// Whether a row that speaks of `caller` looks at what its credential claims.
    #[must_use]
    pub fn reads_claims_of(&self, caller: &Caller) -> bool {
        let mut rows = self.allow.for_caller(caller);
        rows.unite(&self.review.for_caller(caller));
        rows.unite(&self.deny.for_caller(caller));
        self.in_set(&rows).any(Rule::reads_claims)
    }

    fn index(revision: i64, rows: Vec<PolicyRow>, mut rules: Vec<Rule>, clusters: &Clusters) -> Self {
        let [mut allow, mut review, mut deny] = [Effect::Allow, Effect::Review, Effect::Deny].map(Index::new);
        let mut spelled_out = RowSet::default();
        rules.sort_by(|one, other| one.name.cmp(&other.name));
        share_windows(&mut rules);
        for (place, rule) in rules.iter().enumerate() {
            match rule.effect {
                _ if !rule.enabled => {}
                Effect::Allow => allow.insert(place, rule),
                Effect::Review => review.insert(place, rule),
                Effect::Deny => deny.insert(place, rule),
            }
            if !rule.is_starred() {
                spelled_out.insert(place);
            }
        }
        let keys = KeyKind::ALL
            .into_iter()
            .map(|kind| (kind, places(&rules, |rule| rule.takes_key(kind))))
            .collect();
        let clusters = clusters
            .rules
            .iter()
            .map(|cluster| {
                let rows = places(&rules, |rule| rule.covers_cluster(&cluster.name));
                let reserved = ReservedNames::new(&cluster.reserved);
                (cluster.name.clone(), ClusterIndex { rows, reserved })
            })
            .collect();
        let tiers = tiers(&rules);
        Self { revision, rows, rules, allow, deny, review, spelled_out, keys, clusters, tiers }
    }

    /// The rows of these names.
    pub(super) fn places<'n>(&self, names: impl Iterator<Item = &'n ShortName>) -> RowSet {
        let mut places = RowSet::default();
        names
            .filter_map(|name| self.rules.binary_search_by(|rule| rule.name.cmp(name)).ok())
            .for_each(|place| places.insert(place));
        places
    }

    /// The rows that take keys of this kind.
    pub(super) fn taking(&self, kind: KeyKind) -> Option<&RowSet> {
        self.keys.get(&kind)
    }

    /// The rows themselves, sorted by name.
    pub(super) fn written(&self, rows: &RowSet) -> Vec<PolicyRow> {
        let names = self.names(rows);
        let mut written: Vec<PolicyRow> =
            self.rows.iter().filter(|row| names.binary_search(&row.name).is_ok()).cloned().collect();
        written.sort_by(|one, other| one.name.cmp(&other.name));
        written
    }

    /// The names of `rows`, sorted, each once.
    pub(super) fn names(&self, rows: &RowSet) -> Vec<ShortName> {
        self.in_set(rows).map(|rule| rule.name.clone()).collect()
    }

    pub(super) fn in_set<'a, 'r>(&'a self, rows: &'r RowSet) -> impl Iterator<Item = &'a Rule> + use<'a, 'r> {
        rows.iter().filter_map(|place| self.rules.get(place))
    }
}

/// One thing wrong with one row.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("policy `{row}`, {field}: {reason}")]
pub struct RowError {
    /// The row's name.
    pub row: String,
    /// The field's name.
    pub field: String,
    /// What is wrong and what to do.
    pub reason: String,
}

fn repeated_names(rows: &[PolicyRow]) -> Vec<RowError> {
    let mut seen = HashSet::new();
    rows.iter()
        .filter(|row| !seen.insert(&row.name))
        .map(|row| RowError {
            row: row.name.to_string(),
            field: "name".to_owned(),
            reason: "another row has this name: rename one of them".to_owned(),
        })
        .collect()
}

/// Rows with the same windows share one value, so that a request looks at it once.
fn share_windows(rules: &mut [Rule]) {
    let mut known: HashMap<Vec<String>, Arc<Windows>> = HashMap::new();
    for windows in rules.iter_mut().filter_map(|rule| rule.when.as_mut()) {
        *windows = Arc::clone(known.entry(windows.texts().to_vec()).or_insert_with(|| Arc::clone(windows)));
    }
}

/// A row without a `max_ttl` gives whatever the cluster gives.
fn tiers(rules: &[Rule]) -> Vec<(Option<Lifetime>, RowSet)> {
    let mut tiers: BTreeMap<_, (Option<Lifetime>, RowSet)> = BTreeMap::new();
    for (place, rule) in rules.iter().enumerate().filter(|(_, rule)| rule.effect == Effect::Allow) {
        let longest_first = Reverse(rule.max_ttl.unwrap_or(Lifetime::from_seconds(u32::MAX)));
        let (_, rows) = tiers.entry(longest_first).or_insert_with(|| (rule.max_ttl, RowSet::default()));
        rows.insert(place);
    }
    tiers.into_values().collect()
}

fn places(rules: &[Rule], holds: impl Fn(&Rule) -> bool) -> RowSet {
    let mut found = RowSet::default();
    rules.iter().enumerate().filter(|(_, rule)| holds(rule)).for_each(|(place, _)| found.insert(place));
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::testing::{clusters, row};
    use serde_json::json;

    #[test]
    fn two_rows_of_one_name_are_an_error() {
        let rows =
            vec![row(json!({"name": "a", "effect": "allow"})), row(json!({"name": "a", "effect": "deny"}))];
        let errors = PolicySet::compile(1, rows, &clusters()).expect_err("an error");
        assert_eq!(errors.len(), 1);
        assert_eq!(errors[0].to_string(), "policy `a`, name: another row has this name: rename one of them");
    }

    #[test]
    fn the_errors_of_all_rows_are_reported() {
        let rows = vec![
            row(json!({"name": "a", "effect": "allow", "users": []})),
            row(json!({"name": "b", "effect": "allow"})),
            row(json!({"name": "c", "effect": "allow", "clusters": ["x"]})),
        ];
        let errors = PolicySet::compile(1, rows, &clusters()).expect_err("an error");
        let rows: Vec<&str> = errors.iter().map(|error| error.row.as_str()).collect();
        assert_eq!(rows, ["a", "c"]);
    }

    #[test]
    fn a_stored_row_may_name_a_cluster_that_is_not_configured_here() {
        let rows = vec![row(json!({"name": "a", "effect": "allow", "clusters": ["elsewhere"]}))];
        assert!(PolicySet::compile(1, rows.clone(), &clusters()).is_err());
        assert!(PolicySet::load(1, rows, &clusters()).is_ok());
        let broken = vec![row(json!({"name": "a", "effect": "allow", "users": []}))];
        assert!(PolicySet::load(1, broken, &clusters()).is_err());
    }

    #[test]
    fn no_rows_are_a_set_that_allows_nothing() {
        let set = PolicySet::compile(7, Vec::new(), &clusters()).expect("a set");
        assert_eq!(set.revision(), 7);
        assert!(set.rows().is_empty());
    }
}
