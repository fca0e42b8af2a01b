//! What one row offers to a caller, piece by piece, as a form needs it.

use serde::Serialize;

use super::pattern::Pattern;
use super::refusal::shown;
use super::reserved::NameClass;
use super::rule::{Asker, Rule};
use super::set::{ClusterIndex, ClusterRules, PolicySet};
use crate::pki::key::KeyKind;
use crate::pki::name::{Name, ShortName};
use crate::time::Lifetime;

/// Something to choose or to type.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Choice {
    /// This name.
    Name(String),
    /// A name that this pattern matches; `{on_behalf_of}` in it is the person that is named.
    Pattern(String),
}

/// One allow row, as far as it concerns one caller on one cluster. A user name goes with the groups of
/// every row that offers it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Choices {
    /// The row's name.
    pub policy: ShortName,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// User names, sorted.
    pub users: Vec<Choice>,
    /// Groups, sorted. Empty: the user name alone.
    pub groups: Vec<Choice>,
    /// Who has to be named; without it nobody may be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_behalf_of: Option<Vec<Choice>>,
    /// The longest lifetime.
    pub max_ttl: Lifetime,
    /// The kinds of keys that it takes.
    pub keys: Vec<&'static str>,
}

/// The kinds of keys that one of `rules` takes.
pub(super) fn keys(rules: &[&Rule]) -> Vec<&'static str> {
    let taken = |kind: &KeyKind| rules.iter().any(|rule| rule.takes_key(*kind));
    KeyKind::ALL.into_iter().filter(taken).map(KeyKind::as_str).collect()
}

impl PolicySet {
    /// What `rule` offers; none where it gives this caller no user name.
    pub(super) fn choices(
        rule: &Rule,
        cluster: &ClusterRules,
        index: &ClusterIndex,
        asker: Asker<'_>,
    ) -> Option<Choices> {
        let ordinary = |name: &Name| index.reserved.class(name) == NameClass::Ordinary;
        let listed = |patterns: &Vec<Pattern>| {
            let offers = patterns.iter().flat_map(|pattern| shown(rule, pattern, asker, ordinary));
            let choice = |text: String, open| if open { Choice::Pattern(text) } else { Choice::Name(text) };
            let mut all: Vec<Choice> =
                offers.map(|offer| choice(offer.text.into_owned(), offer.open)).collect();
            all.sort();
            all.dedup();
            all
        };
        let users = listed(&rule.users);
        (!users.is_empty()).then(|| Choices {
            policy: rule.name.clone(),
            description: rule.description.clone(),
            users,
            groups: rule.groups.as_ref().map(listed).unwrap_or_default(),
            on_behalf_of: rule.people.as_ref().map(listed),
            max_ttl: rule.lifetime(cluster.max_ttl),
            keys: keys(&[rule]),
        })
    }
}
