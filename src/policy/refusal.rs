//! Why a request is refused: every refused claim, and the nearest that the caller may have.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::Effect;
use super::claims::{Case, Condition, Fault, Ruling, Scope, Wish, rule};
use super::decision::{Claim, Refusal, Violation};
use super::explain::{Near, Nearby};
use super::index::RowSet;
use super::limits::{LimitKind, Spent};
use super::nearest::{Offer, Offers};
use super::pattern::{Pattern, Variable};
use super::question::Question;
use super::rule::{Asker, Rule};
use crate::pki::key::KeyKind;
use crate::pki::name::{Name, ShortName};

/// How many refused claims are told what comes nearest to them; it bounds the work for a request of
/// a hundred groups.
const HELPED: usize = 10;
/// How many patterns of the caller's rows are looked at for that.
const PATTERNS: usize = 10_000;
/// How many names are made of variables for that.
const FILLED: usize = 256;

/// One wish with what the policy says of it.
pub(super) type Ruled<'w, 'a> = (Wish<'w>, Ruling<'a>);

/// The refusal of a request with at least one refused claim.
pub(super) fn refusal(case: &Case<'_>, ruled: &[Ruled<'_, '_>]) -> Refusal {
    let told = Told::new(case);
    let refused = || ruled.iter().filter(|(_, ruling)| !ruling.allows());
    let mut violations: Vec<Violation> =
        refused().map(|(wish, ruling)| told.violation(*wish, ruling)).collect();
    let nearby: Vec<Nearby<'_>> = case.trusting().filter_map(|cluster| Nearby::new(case, cluster)).collect();
    for ((wish, ruling), violation) in refused().zip(&mut violations).take(HELPED) {
        violation.allowed = told.allowed(*wish);
        violation.considered = considered(&nearby, *wish, ruling);
    }
    violations.extend(told.key(refused()));
    violations.extend(told.person(refused()));
    let looks = |(_, ruling): &Ruled<'_, '_>| matches!(ruling.outcome, Err((Fault::LooksReserved, _)));
    if ruled.iter().any(looks) { Refusal::LooksReserved(violations) } else { Refusal::Policy(violations) }
}

/// The refusal of a request for a cluster that the policy does not know.
pub(super) fn of_unknown_cluster(question: Question<'_>) -> Refusal {
    let reason = format!("there is no cluster {}", question.cluster);
    let value = question.user.to_string();
    Refusal::Policy(vec![Violation::bare(Claim::User, value, None, reason)])
}

/// Every deny row that refused something, for the record.
pub(super) fn deny_rows(case: &Case<'_>, ruled: &[Ruled<'_, '_>]) -> Vec<ShortName> {
    let mut rows = RowSet::default();
    for (_, ruling) in ruled {
        rows.unite(&ruling.denied_by);
    }
    case.set.names(&rows)
}

/// The rows that come nearest to a claim that none gives. Of one that is denied, or that no row may
/// give, they would explain nothing.
fn considered(nearby: &[Nearby<'_>], wish: Wish<'_>, ruling: &Ruling<'_>) -> Vec<Near> {
    let Err((Fault::NoRow | Fault::Reserved | Fault::OtherKey, cluster)) = ruling.outcome else {
        return Vec::new();
    };
    if !ruling.denied_by.is_empty() {
        return Vec::new();
    }
    let group = match wish {
        Wish::User => None,
        Wish::Group(group) => Some(group),
    };
    let there = nearby.iter().find(|nearby| nearby.is_on(cluster));
    there.map(|nearby| nearby.nearest(group)).unwrap_or_default()
}

/// What may be told to the one who asks.
struct Told<'c, 'a> {
    case: &'c Case<'a>,
    question: Question<'a>,
    scopes: Vec<Scope<'a>>,
    /// The same where conditions of allow rows are taken as met, up to each one.
    lifted: Vec<(Condition, Vec<Scope<'a>>)>,
    /// Whether some row gives the user name, whatever the key.
    user_stands: bool,
    /// The groups of the rows that give the user name, or of all rows of this caller.
    groups: Offers<'a>,
}

impl<'c, 'a> Told<'c, 'a> {
    fn new(case: &'c Case<'a>) -> Self {
        let question = case.question;
        let scopes = case.for_user(question.user);
        let for_user = scopes.first().map(|scope| scope.unkeyed.clone()).unwrap_or_default();
        let user_stands = !for_user.is_empty();
        let rows = if user_stands { for_user } else { case.rows() };
        let groups = offers(case, &rows, |rule| rule.groups.as_ref());
        let conditions = if case.has_conditions() { &Condition::ALL[..] } else { &[] };
        let lifted = conditions.iter().map(|condition| {
            let case = case.but_for(*condition);
            (*condition, case.for_user(question.user))
        });
        Self { case, question, scopes, lifted: lifted.collect(), user_stands, groups }
    }

    /// Without the nearest that is allowed.
    fn violation(&self, wish: Wish<'_>, ruling: &Ruling<'_>) -> Violation {
        let (claim, name) = match wish {
            Wish::User => (Claim::User, self.question.user),
            Wish::Group(group) => (Claim::Group, group),
        };
        let (rule, reason) = self.reason(claim, name, wish, ruling);
        Violation::bare(claim, name.to_string(), rule, reason)
    }

    /// The rule where it may be known, and the sentence.
    fn reason(
        &self,
        claim: Claim,
        name: &Name,
        wish: Wish<'_>,
        ruling: &Ruling<'_>,
    ) -> (Option<String>, String) {
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
            Some((fault, cluster)) => {
                self.unmet(wish, name).unwrap_or_else(|| self.ungiven(claim, name, fault, cluster))
            }
            None => (None, "denied by policy".to_owned()),
        }
    }

    /// Where no row that the caller may know of gives it, whatever its conditions.
    fn ungiven(
        &self,
        claim: Claim,
        name: &Name,
        fault: Fault,
        cluster: &ShortName,
    ) -> (Option<String>, String) {
        match fault {
            Fault::Reserved => {
                let why =
                    format!("is reserved on cluster {cluster}: only a policy that spells it out gives it");
                built_in("reserved", name, &why)
            }
            Fault::OtherKey => {
                let kind = self.question.key.as_str();
                let with = format!("on cluster {cluster} with a key of kind {kind}");
                (None, format!("no policy gives this caller `{name}` {with}"))
            }
            _ if claim == Claim::Group && !self.user_stands => {
                let user = self.question.user;
                let with = format!("together with the user name `{user}` on cluster {cluster}");
                (None, format!("no policy gives this caller `{name}` {with}"))
            }
            _ => (None, format!("no policy gives this caller `{name}` on cluster {cluster}")),
        }
    }

    /// The row that would give it under another condition, and that condition: of several the one
    /// that passes soonest.
    fn unmet(&self, wish: Wish<'_>, name: &Name) -> Option<(Option<String>, String)> {
        let allowing = |(condition, scopes): &(Condition, Vec<Scope<'a>>)| {
            let ruling = rule(scopes, wish);
            if ruling.allows() { Some((*condition, ruling)) } else { None }
        };
        let (condition, ruling) = self.lifted.iter().find_map(allowing)?;
        let mut rows = RowSet::default();
        ruling.outcome.iter().flatten().for_each(|grant| rows.unite(&grant.rows));
        let told = rows.iter().find_map(|place| {
            let rule = self.case.set.rules.get(place)?;
            Some((rule, self.condition(condition, place, rule, wish, name)?))
        });
        told.map(|(rule, reason)| (Some(rule.name.to_string()), format!("policy `{}` {reason}", rule.name)))
    }

    /// How the row does not meet the condition, unless it does.
    fn condition(
        &self,
        condition: Condition,
        place: usize,
        rule: &Rule,
        wish: Wish<'_>,
        name: &Name,
    ) -> Option<String> {
        let caller = self.case.asker.caller;
        match condition {
            Condition::Limit if !self.case.is_spent(place) => None,
            Condition::Limit => self
                .case
                .moment
                .spent
                .iter()
                .find(|spent| spent.row == rule.name)
                .map(|spent| self.limit(spent)),
            Condition::Window => {
                let windows = rule.when.as_ref()?;
                let opens = windows.opens_at(self.case.moment.now)?;
                Some(format!("gives `{name}` only {}: try again at {opens}", windows.texts().join(", ")))
            }
            Condition::RequiredGroups if rule.admits(caller) => None,
            Condition::RequiredGroups if !rule.is_proven(caller) => {
                Some(format!("gives `{name}` only with a token of the named person in On-Behalf-Of-Token"))
            }
            Condition::RequiredGroups => {
                let missing = rule.required_groups.iter().filter(|group| !caller.groups.contains(group));
                let missing: Vec<String> = missing.map(ToString::to_string).collect();
                let missing = missing.join(", ");
                Some(format!(
                    "gives `{name}` only with {missing}, which this caller's credential does not show"
                ))
            }
            Condition::Except => {
                let user = self.question.user;
                let excepts = |patterns, name: &Name| rule.excepts(patterns, name.as_str(), self.case.asker);
                match wish {
                    _ if excepts(&rule.except_users, user) => {
                        Some(format!("leaves out the user name `{user}`"))
                    }
                    Wish::Group(group) if excepts(&rule.except_groups, group) => {
                        Some(format!("leaves out the group `{group}`"))
                    }
                    Wish::User | Wish::Group(_) => None,
                }
            }
        }
    }

    fn limit(&self, spent: &Spent) -> String {
        let (user, until) = (self.question.user, spent.until);
        match spent.limit {
            LimitKind::Active(most) => {
                format!(
                    "gives `{user}` at most {}: try again at {until}, when one has ended",
                    certificates(most, "at a time")
                )
            }
            LimitKind::PerHour(most) => {
                format!("gives `{user}` at most {}: try again at {until}", certificates(most, "an hour"))
            }
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

    fn allowed(&self, wish: Wish<'_>) -> Vec<String> {
        match wish {
            Wish::User => {
                let offers = offers(self.case, &self.case.rows(), |rule| Some(&rule.users));
                offers.nearest(self.question.user.as_str(), |text| self.gives_user(text))
            }
            Wish::Group(group) => {
                let stands = |text: &str| !self.user_stands || self.gives_group(text);
                self.groups.nearest(group.as_str(), stands)
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
        let asked = self.question.key;
        let kinds = KeyKind::ALL.into_iter().filter(|kind| *kind != asked && takes(kind));
        let reason = format!("no policy gives all of this for a key of kind {}", asked.as_str());
        let allowed = kinds.take(5).map(|kind| kind.as_str().to_owned()).collect();
        Some(Violation { allowed, ..Violation::bare(Claim::Key, asked.as_str().to_owned(), None, reason) })
    }

    /// Where a claim fails only by whom the request names, or by its naming nobody.
    fn person<'r>(&self, refused: impl Iterator<Item = &'r Ruled<'r, 'r>>) -> Option<Violation> {
        let anybody = self.case.for_anybody()?.for_user(self.question.user);
        let mut rows = RowSet::default();
        for (wish, ruling) in refused {
            if !matches!(ruling.outcome, Err((Fault::NoRow | Fault::Reserved, _))) {
                continue;
            }
            let elsewhere = rule(&anybody, *wish);
            if elsewhere.allows() {
                elsewhere.outcome.iter().flatten().for_each(|grant| rows.unite(&grant.rows));
            }
        }
        if rows.is_empty() {
            return None;
        }
        let person = self.question.on_behalf_of.map(ToString::to_string).unwrap_or_default();
        let offers = offers(self.case, &rows, |rule| rule.people.as_ref());
        let reason = if person.is_empty() {
            "the policy wants to know for whom: send on_behalf_of".to_owned()
        } else {
            format!("no policy gives all of this on behalf of `{person}`")
        };
        let allowed = offers.nearest(&person, |_| true);
        Some(Violation { allowed, ..Violation::bare(Claim::OnBehalfOf, person, None, reason) })
    }
}

/// What the rows offer in one field: of the first patterns in the order of the rows' names, so that
/// neither the order of the rows nor the rows of other callers matter.
fn offers<'a>(
    case: &Case<'a>,
    rows: &RowSet,
    field: impl Fn(&'a Rule) -> Option<&'a Vec<Pattern>>,
) -> Offers<'a> {
    let rules = case.set.in_set(rows);
    let patterns =
        rules.flat_map(|rule| field(rule).into_iter().flatten().map(move |pattern| (rule, pattern)));
    let (mut offers, mut variables) = (Vec::new(), Vec::new());
    for (rule, pattern) in patterns.take(PATTERNS) {
        match as_written(pattern, case.asker) {
            Some(offer) => offers.push(offer),
            None => variables.push((rule, pattern)),
        }
    }
    let texts = variables.into_iter().flat_map(|(rule, pattern)| filled(rule, pattern, case.asker));
    let texts: BTreeSet<String> = texts.take(FILLED).collect();
    offers.extend(texts.into_iter().filter_map(|text| name_offer(text, |name| case.is_ordinary(name))));
    offers.into_iter().collect()
}

/// A pattern as the caller may see it, with what is known of the caller put in. `ordinary` tells
/// whether a variable may come out as this name.
pub(super) fn shown<'a>(
    rule: &Rule,
    pattern: &'a Pattern,
    asker: Asker<'_>,
    ordinary: impl Fn(&Name) -> bool,
) -> Vec<Offer<'a>> {
    debug_assert_ne!(rule.effect, Effect::Deny, "of rows that deny nobody is told");
    if let Some(offer) = as_written(pattern, asker) {
        return vec![offer];
    }
    filled(rule, pattern, asker).filter_map(|text| name_offer(text, &ordinary)).collect()
}

/// A pattern into which nothing is put.
fn as_written<'a>(pattern: &'a Pattern, asker: Asker<'_>) -> Option<Offer<'a>> {
    let open = match pattern.variable() {
        None => pattern.has_star(),
        Some(&(Variable::OnBehalfOf | Variable::PersonGroups)) if asker.person.is_none() => true,
        Some(&Variable::PersonGroups) if asker.caller.proven.is_none() => true,
        Some(_) => return None,
    };
    Some(Offer { text: Cow::Borrowed(pattern.as_str()), open })
}

/// What a pattern with a variable comes out as.
fn filled<'p>(rule: &Rule, pattern: &'p Pattern, asker: Asker<'_>) -> impl Iterator<Item = String> + use<'p> {
    let values = pattern.variable().map(|variable| rule.values(variable, asker)).unwrap_or_default();
    values.into_iter().map(|value| pattern.filled(&value))
}

fn name_offer(text: String, ordinary: impl Fn(&Name) -> bool) -> Option<Offer<'static>> {
    let told = Name::parse(&text).is_ok_and(|name| ordinary(&name));
    told.then_some(Offer { text: Cow::Owned(text), open: false })
}

fn certificates(most: u32, how: &str) -> String {
    let plural = if most == 1 { "" } else { "s" };
    format!("{most} certificate{plural} {how}")
}

fn built_in(rule: &str, name: &Name, why: &str) -> (Option<String>, String) {
    (Some(rule.to_owned()), format!("`{name}` {why}"))
}
