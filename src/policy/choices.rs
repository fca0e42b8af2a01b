//! What one row offers to a caller, piece by piece, as a form needs it.

use std::collections::BTreeSet;

use serde::Serialize;

use super::pattern::Pattern;
use super::refusal::shown;
use super::reserved::NameClass;
use super::rule::{Asker, Rule};
use super::set::{ClusterIndex, ClusterRules};
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

impl Choice {
    fn text(&self) -> &str {
        match self {
            Self::Name(text) | Self::Pattern(text) => text,
        }
    }
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
    /// What the patterns in `users` leave out, sorted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub except_users: Vec<String>,
    /// Groups, sorted. Empty: the user name alone.
    pub groups: Vec<Choice>,
    /// What the patterns in `groups` leave out, sorted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub except_groups: Vec<String>,
    /// Who has to be named; without it nobody may be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_behalf_of: Option<Vec<Choice>>,
    /// Whether that person's own token must come with the request.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub proof: bool,
    /// The longest lifetime that it gives now.
    pub max_ttl: Lifetime,
    /// The kinds of keys that it takes.
    pub keys: Vec<&'static str>,
    /// Where it gives at some times only: when. It does now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when: Option<Vec<String>>,
    /// How many certificates of one user name it lets live at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_active: Option<u32>,
    /// How many it gives to one user name in an hour.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_hour: Option<u32>,
}

/// The patterns of one field of a row, and those of what it leaves out.
pub(super) type Field = fn(&Rule) -> (Option<&Vec<Pattern>>, &[Pattern]);

pub(super) const USERS: Field = |rule| (Some(&rule.users), &rule.except_users);
pub(super) const GROUPS: Field = |rule| (rule.groups.as_ref(), &rule.except_groups);
pub(super) const PEOPLE: Field = |rule| (rule.people.as_ref(), &[]);

/// What rows offer in one field.
#[derive(Debug)]
pub(super) struct Offered {
    pub(super) choices: BTreeSet<Choice>,
    /// What the patterns among them leave out, sorted.
    pub(super) except: Vec<String>,
}

impl Offered {
    /// Names that a row leaves out are not offered by it; where it offers a pattern, what that leaves
    /// out is told, unless another row offers it.
    pub(super) fn of<'r>(
        rules: impl Iterator<Item = &'r Rule>,
        field: Field,
        asker: Asker<'_>,
        index: &ClusterIndex,
    ) -> Self {
        let ordinary = |name: &Name| index.reserved.class(name) == NameClass::Ordinary;
        let (mut choices, mut excepted) = (BTreeSet::new(), BTreeSet::new());
        for rule in rules {
            let (patterns, except) = field(rule);
            let patterns = patterns.into_iter().flatten();
            for offer in patterns.flat_map(|pattern| shown(rule, pattern, asker, ordinary)) {
                let text = offer.text.into_owned();
                if offer.open {
                    excepted.extend(except.iter().map(|pattern| pattern.as_str().to_owned()));
                    choices.insert(Choice::Pattern(text));
                } else if !rule.excepts(except, &text, asker) {
                    choices.insert(Choice::Name(text));
                }
            }
        }
        let offered: BTreeSet<&str> = choices.iter().map(Choice::text).collect();
        let except = excepted.into_iter().filter(|text: &String| !offered.contains(text.as_str())).collect();
        Self { choices, except }
    }

    /// Names and patterns alike, sorted, each once.
    pub(super) fn texts(&self) -> Vec<String> {
        let texts: BTreeSet<&str> = self.choices.iter().map(Choice::text).collect();
        texts.into_iter().map(ToOwned::to_owned).collect()
    }

    fn list(self) -> Vec<Choice> {
        self.choices.into_iter().collect()
    }
}

/// The kinds of keys that one of `rules` takes.
pub(super) fn keys<'r>(rules: &(impl Iterator<Item = &'r Rule> + Clone)) -> Vec<&'static str> {
    let taken = |kind: &KeyKind| rules.clone().any(|rule| rule.takes_key(*kind));
    KeyKind::ALL.into_iter().filter(taken).map(KeyKind::as_str).collect()
}

/// What `rule`, whose windows stay open for `open`, offers; none where it gives this caller no user
/// name.
pub(super) fn choices(
    rule: &Rule,
    open: Lifetime,
    cluster: &ClusterRules,
    asker: Asker<'_>,
    index: &ClusterIndex,
) -> Option<Choices> {
    let offered = |field: Field| Offered::of(std::iter::once(rule), field, asker, index);
    let (users, groups) = (offered(USERS), offered(GROUPS));
    (!users.choices.is_empty()).then(|| Choices {
        policy: rule.name.clone(),
        description: rule.description.clone(),
        except_users: users.except.clone(),
        users: users.list(),
        except_groups: groups.except.clone(),
        groups: groups.list(),
        on_behalf_of: rule.people.as_ref().map(|_| offered(PEOPLE).list()),
        proof: rule.proof,
        max_ttl: rule.lifetime(cluster.max_ttl, Some(open)),
        keys: keys(&std::iter::once(rule)),
        when: rule.when.as_ref().map(|windows| windows.texts().to_vec()),
        max_active: rule.max_active,
        per_hour: rule.per_hour,
    })
}
