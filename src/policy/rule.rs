//! A row that passed every check, with its patterns read.

use super::Effect;
use super::approvers::ApproverPattern;
use super::callers::CallerPattern;
use super::pattern::{Pattern, Variable};
use crate::caller::{Caller, CallerGroup};
use crate::pki::key::KeyKind;
use crate::pki::name::{Name, ShortName};
use crate::time::Lifetime;

/// What is known of a request beside the claims: what the variables stand for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asker<'a> {
    pub(super) caller: &'a Caller,
    pub(super) person: Option<&'a Name>,
}

/// One compiled row.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    pub(super) name: ShortName,
    pub(super) effect: Effect,
    pub(super) clusters: Vec<Pattern>,
    pub(super) callers: Vec<CallerPattern>,
    pub(super) users: Vec<Pattern>,
    pub(super) groups: Option<Vec<Pattern>>,
    pub(super) people: Option<Vec<Pattern>>,
    pub(super) max_ttl: Option<Lifetime>,
    pub(super) keys: Option<Vec<KeyKind>>,
    /// Of a review row.
    pub(super) approvers: Vec<ApproverPattern>,
    pub(super) description: Option<String>,
    pub(super) explain: bool,
    pub(super) enabled: bool,
}

impl Rule {
    /// Whether `users` or `callers` has a star: such an allow row gives no reserved name.
    pub(super) fn is_starred(&self) -> bool {
        self.users.iter().chain(self.callers.iter().map(|caller| &caller.name)).any(Pattern::has_star)
    }

    pub(super) fn takes_key(&self, kind: KeyKind) -> bool {
        self.keys.as_ref().is_none_or(|keys| keys.contains(&kind))
    }

    pub(super) fn covers_cluster(&self, cluster: &ShortName) -> bool {
        self.clusters.iter().any(|pattern| pattern.matches(cluster.as_str(), |_, _| false))
    }

    /// The longest lifetime that the row gives on a cluster that gives at most `cluster`.
    pub(super) fn lifetime(&self, cluster: Lifetime) -> Lifetime {
        self.max_ttl.map_or(cluster, |own| own.min(cluster))
    }

    /// Whether `variable` has the value `text` for this row, whose `callers` match.
    pub(super) fn variable_is(&self, variable: Variable, text: &str, asker: Asker<'_>) -> bool {
        match variable {
            Variable::OnBehalfOf => asker.person.is_some_and(|person| person.as_str() == text),
            Variable::Caller => self.speaks_of(asker.caller) && asker.caller.name == text,
            Variable::CallerGroups => self.groups_of(asker.caller).any(|group| group.name == text),
        }
    }

    /// The values of `variable`, as [`Rule::variable_is`] takes them.
    pub(super) fn values(&self, variable: Variable, asker: Asker<'_>) -> Vec<String> {
        match variable {
            Variable::OnBehalfOf => asker.person.map(ToString::to_string).into_iter().collect(),
            Variable::Caller if self.speaks_of(asker.caller) => vec![asker.caller.name.clone()],
            Variable::Caller => Vec::new(),
            Variable::CallerGroups => self.groups_of(asker.caller).map(|group| group.name.clone()).collect(),
        }
    }

    /// In a row that allows, names of another source than the row speaks of are nobody's: the same
    /// name is another person there. A row that denies takes every name that the credential shows.
    fn groups_of<'a>(&'a self, caller: &'a Caller) -> impl Iterator<Item = &'a CallerGroup> {
        let ours = self.speaks_of(caller);
        let foreign = self.effect != Effect::Allow;
        caller
            .groups
            .iter()
            .filter(move |group| foreign || (ours && caller.source.as_ref() == Some(&group.source)))
    }

    fn speaks_of(&self, caller: &Caller) -> bool {
        self.effect != Effect::Allow || self.callers.iter().any(|entry| entry.source == caller.source)
    }
}
