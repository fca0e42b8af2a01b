//! A row that passed every check, with its patterns read.

use std::sync::Arc;

use super::Effect;
use super::approvers::ApproverPattern;
use super::callers::CallerPattern;
use super::pattern::{Pattern, Star, Variable};
use super::windows::Windows;
use crate::caller::{Caller, CallerGroup};
use crate::pki::key::KeyKind;
use crate::pki::name::{Name, ShortName};
use crate::time::{Lifetime, Time};

/// What is known of a request beside the claims: what the variables stand for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asker<'a> {
    pub(super) caller: &'a Caller,
    pub(super) person: Option<&'a Name>,
}

/// How a list of patterns is read where there is doubt: each on the side of caution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// What gives something: a fact that the credential does not show is none, and a star runs over
    /// what is printable.
    Strict,
    /// What takes something away: a fact that the credential does not show could be any, and a star
    /// runs over everything.
    Wide,
}

impl Reading {
    /// Of the lists that say of what a row speaks.
    pub(super) fn of(effect: Effect) -> Self {
        match effect {
            Effect::Allow => Self::Strict,
            Effect::Review | Effect::Deny => Self::Wide,
        }
    }

    /// Of the lists that say of what the same row does not speak.
    pub(super) fn of_except(effect: Effect) -> Self {
        match Self::of(effect) {
            Self::Strict => Self::Wide,
            Self::Wide => Self::Strict,
        }
    }

    /// The meaning of a star in names.
    pub(super) fn star(self) -> Star {
        match self {
            Self::Strict => Star::Printable,
            Self::Wide => Star::Anything,
        }
    }

    /// The meaning of a star in `callers`.
    pub(super) fn caller_star(self) -> Star {
        match self {
            Self::Strict => Star::Segment,
            Self::Wide => Star::Anything,
        }
    }
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
    pub(super) except_users: Vec<Pattern>,
    pub(super) except_groups: Vec<Pattern>,
    pub(super) required_groups: Vec<CallerGroup>,
    pub(super) when: Option<Arc<Windows>>,
    pub(super) people: Option<Vec<Pattern>>,
    /// Whether the named person's own token must come with the request.
    pub(super) proof: bool,
    pub(super) max_ttl: Option<Lifetime>,
    pub(super) max_active: Option<u32>,
    pub(super) per_hour: Option<u32>,
    pub(super) keys: Option<Vec<KeyKind>>,
    /// Of a review row.
    pub(super) approvers: Vec<ApproverPattern>,
    /// How many of them a review row wants.
    pub(super) approvals: u32,
    pub(super) description: Option<String>,
    pub(super) explain: bool,
    pub(super) enabled: bool,
}

impl Rule {
    /// Whether `users` or `callers` has a star: such an allow row gives no reserved name.
    pub(super) fn is_starred(&self) -> bool {
        self.users.iter().chain(self.callers.iter().map(|caller| &caller.name)).any(Pattern::has_star)
    }

    /// How many patterns it has: what comparing it takes.
    pub(super) fn patterns(&self) -> usize {
        let optional = [&self.groups, &self.people].into_iter().flatten().map(Vec::len);
        let always = [self.clusters.len(), self.callers.len(), self.users.len()];
        always.into_iter().chain(optional).fold(0, usize::saturating_add)
    }

    pub(super) fn takes_key(&self, kind: KeyKind) -> bool {
        self.keys.as_ref().is_none_or(|keys| keys.contains(&kind))
    }

    pub(super) fn covers_cluster(&self, cluster: &ShortName) -> bool {
        self.clusters.iter().any(|pattern| pattern.matches(cluster.as_str(), |_, _| false))
    }

    /// Whether it speaks of the user name where no group is asked for: a row of every group does, and
    /// one of all groups but some does not.
    pub(super) fn speaks_of_bare_name(&self) -> bool {
        let every = |groups: &Vec<Pattern>| groups.iter().any(Pattern::is_any);
        self.groups.as_ref().is_none_or(|groups| every(groups) && self.except_groups.is_empty())
    }

    /// Whether more than names decides if it matches.
    pub(super) fn is_conditional(&self) -> bool {
        self.when.is_some() || self.is_limited() || !self.required_groups.is_empty() || self.proof
    }

    /// Whether it leaves something out, or speaks of some callers or of some times only.
    pub(super) fn is_narrowed(&self) -> bool {
        let excepts = !(self.except_users.is_empty() && self.except_groups.is_empty());
        excepts || self.when.is_some() || !self.required_groups.is_empty() || self.proof
    }

    /// Whether it looks at more of the credentials than the ledger keeps: claims of the caller, or what
    /// a person's own token showed.
    pub(super) fn reads_claims(&self) -> bool {
        let optional = [&self.groups, &self.people].into_iter().flatten();
        let lists = [&self.users, &self.except_users, &self.except_groups].into_iter().chain(optional);
        let unkept = |variable: &Variable| matches!(variable, Variable::Claim(_) | Variable::PersonGroups);
        self.proof || lists.flatten().any(|pattern| pattern.variable().is_some_and(unkept))
    }

    /// Whether it allows only so many certificates.
    pub(super) fn is_limited(&self) -> bool {
        self.max_active.is_some() || self.per_hour.is_some()
    }

    /// The longest lifetime that the row gives on a cluster that gives at most `cluster`, while its
    /// windows stay open for `open`, if it has any.
    pub(super) fn lifetime(&self, cluster: Lifetime, open: Option<Lifetime>) -> Lifetime {
        self.max_ttl.into_iter().chain(open).fold(cluster, Lifetime::min)
    }

    /// How long its windows stay open from `now` on; `None` where they are closed. Without windows
    /// as long as any certificate lives.
    pub(super) fn open_for(&self, now: Time) -> Option<Lifetime> {
        self.when.as_ref().map_or(Some(Lifetime::MOST), |windows| windows.open_for(now))
    }

    /// Whether one of `patterns`, which are its `except_users` or its `except_groups`, matches `text`.
    pub(super) fn excepts(&self, patterns: &[Pattern], text: &str, asker: Asker<'_>) -> bool {
        let reading = Reading::of_except(self.effect);
        let is = |variable: &Variable, text: &str| self.variable_is(variable, text, asker, reading);
        patterns.iter().any(|pattern| pattern.matches(text, is))
    }

    /// Whether the caller has what the row wants of its credentials.
    pub(super) fn admits(&self, caller: &Caller) -> bool {
        self.is_proven(caller) && self.admits_groups(caller)
    }

    /// Whether the named person's own token is there, where the row wants it.
    pub(super) fn is_proven(&self, caller: &Caller) -> bool {
        !self.proof || caller.proven.is_some()
    }

    /// Whether the caller has all of `required_groups`; where the row takes something away, whether
    /// it may have them.
    pub(super) fn admits_groups(&self, caller: &Caller) -> bool {
        let doubtful = |group: &CallerGroup| {
            Reading::of(self.effect) == Reading::Wide && !caller.shows_groups_of(&group.source)
        };
        self.required_groups.iter().all(|group| caller.groups.contains(group) || doubtful(group))
    }

    /// Whether `variable` has the value `text` for this row, whose `callers` match, in a list that
    /// is read as `reading` says.
    pub(super) fn variable_is(
        &self,
        variable: &Variable,
        text: &str,
        asker: Asker<'_>,
        reading: Reading,
    ) -> bool {
        let caller = asker.caller;
        let wide = reading == Reading::Wide;
        match variable {
            Variable::OnBehalfOf => asker.person.is_some_and(|person| person.as_str() == text),
            Variable::Caller => (wide || self.speaks_of(caller)) && caller.name == text,
            Variable::CallerGroups if wide && caller.groups.is_empty() => true,
            Variable::CallerGroups => self.groups_of(caller, reading).any(|group| group.name == text),
            Variable::PersonGroups => match (asker.person, &caller.proven) {
                (None, _) => false,
                (Some(_), None) => wide,
                (Some(_), Some(proven)) if wide && proven.groups.is_empty() => true,
                (Some(_), Some(proven)) => proven.groups.iter().any(|group| group == text),
            },
            Variable::Claim(name) => match caller.claims.get(name) {
                Some(values) => (wide || self.speaks_of(caller)) && values.iter().any(|value| value == text),
                None => wide,
            },
        }
    }

    /// The values of `variable` in a list of a row that allows.
    pub(super) fn values(&self, variable: &Variable, asker: Asker<'_>) -> Vec<String> {
        let caller = asker.caller;
        match variable {
            Variable::OnBehalfOf => asker.person.map(ToString::to_string).into_iter().collect(),
            Variable::CallerGroups => {
                self.groups_of(caller, Reading::Strict).map(|group| group.name.clone()).collect()
            }
            Variable::PersonGroups => {
                let proven = caller.proven.as_ref().filter(|_| asker.person.is_some());
                proven.map(|proven| proven.groups.clone()).unwrap_or_default()
            }
            Variable::Caller | Variable::Claim(_) if !self.speaks_of(caller) => Vec::new(),
            Variable::Caller => vec![caller.name.clone()],
            Variable::Claim(name) => caller.claims.get(name).cloned().unwrap_or_default(),
        }
    }

    /// In a list that gives something, names of another source than the row speaks of are nobody's:
    /// the same name is another person there. One that takes something away takes every name that
    /// the credential shows.
    fn groups_of<'a>(
        &'a self,
        caller: &'a Caller,
        reading: Reading,
    ) -> impl Iterator<Item = &'a CallerGroup> {
        let ours = self.speaks_of(caller);
        let foreign = reading == Reading::Wide;
        caller
            .groups
            .iter()
            .filter(move |group| foreign || (ours && caller.source.as_ref() == Some(&group.source)))
    }

    /// Whether one entry of `callers` is of the caller's own source.
    fn speaks_of(&self, caller: &Caller) -> bool {
        self.callers.iter().any(|entry| entry.source == caller.source)
    }
}
