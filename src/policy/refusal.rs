//! Why a request is refused: every refused claim, and the nearest that the caller may have.

use std::collections::BTreeSet;

use super::Effect;
use super::claims::{Case, Fault, Ruling, Scope, Wish, rule};
use super::decision::{Ask, Claim, Refusal, Violation};
use super::index::RowSet;
use super::nearest::{Offer, nearest};
use super::pattern::{Pattern, Variable};
use super::rule::{Asker, Rule};
use crate::pki::key::KeyKind;
use crate::pki::name::{Name, ShortName};

/// One wish with what the policy says of it.
pub(super) type Ruled<'w, 'a> = (Wish<'w>, Ruling<'a>);

/// The refusal of a request with at least one refused claim.
pub(super) fn refusal(case: &Case<'_>, ask: &Ask, ruled: &[Ruled<'_, '_>]) -> Refusal {
    let told = Told::new(case, ask);
    let refused = || ruled.iter().filter(|(_, ruling)| !ruling.allows());
    let mut violations: Vec<Violation> =
        refused().map(|(wish, ruling)| told.violation(*wish, ruling)).collect();
    violations.extend(told.key(refused()));
    violations.extend(told.person(refused()));
    let looks = |(_, ruling): &Ruled<'_, '_>| matches!(ruling.outcome, Err((Fault::LooksReserved, _)));
    if ruled.iter().any(looks) { Refusal::LooksReserved(violations) } else { Refusal::Policy(violations) }
}

/// The refusal of a request for a cluster that the policy does not know.
pub(super) fn of_unknown_cluster(ask: &Ask) -> Refusal {
    let reason = format!("there is no cluster {}", ask.cluster);
    let value = ask.request.user().to_string();
    Refusal::Policy(vec![Violation { claim: Claim::User, value, rule: None, reason, allowed: Vec::new() }])
}

/// Every deny row that refused something, for the record.
pub(super) fn deny_rows(case: &Case<'_>, ruled: &[Ruled<'_, '_>]) -> Vec<ShortName> {
    let mut rows = RowSet::default();
    for (_, ruling) in ruled {
        rows.unite(&ruling.denied_by);
    }
    case.set.names(&rows)
}

/// What may be told to the one who asks.
struct Told<'c, 'a> {
    case: &'c Case<'a>,
    ask: &'c Ask,
    scopes: Vec<Scope<'a>>,
    /// Whether some row gives the user name, whatever the key.
    user_stands: bool,
    /// The groups of the rows that give the user name, or of all rows of this caller.
    groups: BTreeSet<Offer>,
}

impl<'c, 'a> Told<'c, 'a> {
    fn new(case: &'c Case<'a>, ask: &'c Ask) -> Self {
        let scopes = case.for_user(ask.request.user());
        let for_user = scopes.first().map(|scope| scope.unkeyed.clone()).unwrap_or_default();
        let user_stands = !for_user.is_empty();
        let rows = if user_stands { for_user } else { case.rows() };
        let groups = offers(case, &rows, |rule| rule.groups.as_ref());
        Self { case, ask, scopes, user_stands, groups }
    }

    fn violation(&self, wish: Wish<'_>, ruling: &Ruling<'_>) -> Violation {
        let (claim, name) = match wish {
            Wish::User => (Claim::User, self.ask.request.user()),
            Wish::Group(group) => (Claim::Group, group),
        };
        let (rule, reason) = self.reason(claim, name, ruling);
        Violation { claim, value: name.to_string(), rule, reason, allowed: self.allowed(wish, name) }
    }

    /// The rule where it may be known, and the sentence.
    fn reason(&self, claim: Claim, name: &Name, ruling: &Ruling<'_>) -> (Option<String>, String) {
        let fault = ruling.outcome.as_ref().err().copied();
        match fault {
            Some((Fault::LooksReserved, _)) => {
                built_in("looks_reserved", name, "looks like a reserved name: choose another")
            }
            Some((Fault::NeverIssued, _)) => {
                built_in("never_issued", name, "is never issued, whatever the policy says")
            }
            Some((Fault::NodeIdentity, cluster)) => {
                let why = format!("is a node or bootstrap identity, and cluster {cluster} takes none");
                built_in("node_identities", name, &why)
            }
            _ if !ruling.denied_by.is_empty() => self.denied(&ruling.denied_by),
            Some((Fault::Reserved, cluster)) => {
                let why =
                    format!("is reserved on cluster {cluster}: only a policy that spells it out gives it");
                built_in("reserved", name, &why)
            }
            Some((Fault::OtherKey, cluster)) => {
                let kind = self.ask.request.key().kind().as_str();
                (
                    None,
                    format!(
                        "no policy gives this caller `{name}` on cluster {cluster} with a key of kind {kind}"
                    ),
                )
            }
            Some((Fault::NoRow, cluster)) if claim == Claim::Group && !self.user_stands => {
                let user = self.ask.request.user();
                let with = format!("together with the user name `{user}` on cluster {cluster}");
                (None, format!("no policy gives this caller `{name}` {with}"))
            }
            Some((Fault::NoRow, cluster)) => {
                (None, format!("no policy gives this caller `{name}` on cluster {cluster}"))
            }
            None => (None, "denied by policy".to_owned()),
        }
    }

    /// A deny row is not told of unless it says so itself.
    fn denied(&self, rows: &RowSet) -> (Option<String>, String) {
        let explained = self.case.set.in_set(rows).filter(|rule| rule.explain).min_by_key(|rule| &rule.name);
        let Some(rule) = explained else {
            return (None, "denied by policy".to_owned());
        };
        let reason = match &rule.description {
            Some(description) => format!("denied by policy `{}`: {description}", rule.name),
            None => format!("denied by policy `{}`", rule.name),
        };
        (Some(rule.name.to_string()), reason)
    }

    fn allowed(&self, wish: Wish<'_>, name: &Name) -> Vec<String> {
        match wish {
            Wish::User => {
                let offers = offers(self.case, &self.case.rows(), |rule| Some(&rule.users));
                nearest(name.as_str(), &offers, |text| self.gives_user(text))
            }
            Wish::Group(_) => {
                nearest(name.as_str(), &self.groups, |text| !self.user_stands || self.gives_group(text))
            }
        }
    }

    fn rows_for_user(&self) -> RowSet {
        self.scopes.first().map(|scope| scope.unkeyed.clone()).unwrap_or_default()
    }

    fn gives_user(&self, text: &str) -> bool {
        Name::parse(text).is_ok_and(|user| rule(&self.case.for_user(&user), Wish::User).allows())
    }

    fn gives_group(&self, text: &str) -> bool {
        Name::parse(text).is_ok_and(|group| rule(&self.scopes, Wish::Group(&group)).allows())
    }

    /// Where claims fail only by the kind of the key: the kinds that would do for one of them.
    fn key<'r>(&self, refused: impl Iterator<Item = &'r Ruled<'r, 'r>>) -> Option<Violation> {
        let by_key = |(_, ruling): &&Ruled<'_, '_>| {
            ruling.denied_by.is_empty() && matches!(ruling.outcome, Err((Fault::OtherKey, _)))
        };
        refused.filter(by_key).last()?;
        let rows = self.rows_for_user();
        let takes = |kind: &KeyKind| self.case.set.in_set(&rows).any(|rule| rule.takes_key(*kind));
        let asked = self.ask.request.key().kind();
        let kinds = KeyKind::ALL.into_iter().filter(|kind| *kind != asked && takes(kind));
        Some(Violation {
            claim: Claim::Key,
            value: asked.as_str().to_owned(),
            rule: None,
            reason: format!("no policy gives all of this for a key of kind {}", asked.as_str()),
            allowed: kinds.take(5).map(|kind| kind.as_str().to_owned()).collect(),
        })
    }

    /// Where a claim fails only by whom the request names, or by its naming nobody.
    fn person<'r>(&self, refused: impl Iterator<Item = &'r Ruled<'r, 'r>>) -> Option<Violation> {
        let anybody = self.case.for_anybody().for_user(self.ask.request.user());
        let mut rows = RowSet::default();
        for (wish, ruling) in refused {
            let elsewhere = rule(&anybody, *wish);
            if matches!(ruling.outcome, Err((Fault::NoRow | Fault::Reserved, _))) && elsewhere.allows() {
                elsewhere.outcome.iter().flatten().for_each(|grant| rows.unite(&grant.rows));
            }
        }
        if rows.is_empty() {
            return None;
        }
        let person = self.ask.on_behalf_of.as_ref().map(ToString::to_string).unwrap_or_default();
        let offers = offers(self.case, &rows, |rule| rule.people.as_ref());
        let reason = if person.is_empty() {
            "the policy wants to know for whom: send on_behalf_of".to_owned()
        } else {
            format!("no policy gives all of this on behalf of `{person}`")
        };
        let allowed = nearest(&person, &offers, |_| true);
        Some(Violation { claim: Claim::OnBehalfOf, value: person, rule: None, reason, allowed })
    }
}

fn offers(case: &Case<'_>, rows: &RowSet, field: impl Fn(&Rule) -> Option<&Vec<Pattern>>) -> BTreeSet<Offer> {
    let mut offers = BTreeSet::new();
    for rule in case.set.in_set(rows) {
        for pattern in field(rule).into_iter().flatten() {
            offers.extend(shown(rule, pattern, case.asker, |name| case.is_ordinary(name)));
        }
    }
    offers
}

/// A pattern as the caller may see it, with what is known of the caller put in. `ordinary` tells
/// whether a variable may come out as this name.
pub(super) fn shown(
    rule: &Rule,
    pattern: &Pattern,
    asker: Asker<'_>,
    ordinary: impl Fn(&Name) -> bool,
) -> Vec<Offer> {
    debug_assert_eq!(rule.effect, Effect::Allow, "only rows that allow are told of");
    let Some(variable) = pattern.variable() else {
        return vec![Offer { text: pattern.as_str().to_owned(), open: pattern.has_star() }];
    };
    if variable == Variable::OnBehalfOf && asker.person.is_none() {
        return vec![Offer { text: pattern.as_str().to_owned(), open: true }];
    }
    rule.values(variable, asker)
        .iter()
        .map(|value| pattern.filled(value))
        .filter(|text| Name::parse(text).is_ok_and(|name| ordinary(&name)))
        .map(|text| Offer { text, open: false })
        .collect()
}

fn built_in(rule: &str, name: &Name, why: &str) -> (Option<String>, String) {
    (Some(rule.to_owned()), format!("`{name}` {why}"))
}
