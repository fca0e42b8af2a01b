//! The decision: each claim on its own, deny before allow before review, in no order.

use serde::Serialize;

use super::claims::{Case, Grant, Wish, rule};
use super::explain::Near;
use super::index::RowSet;
use super::lifetime::{Terms, terms};
use super::limits::{Limit, Spent};
use super::question::{Moment, Question};
use super::refusal::{self, Ruled};
use super::review::Evidence;
use super::row::PolicyRow;
use super::set::{Clusters, PolicySet};
use crate::caller::Caller;
use crate::pki::csr::CertRequest;
use crate::pki::key::PublicKey;
use crate::pki::name::{Name, ShortName};
use crate::time::{Lifetime, Time};

/// What is decided on. Consumed by [`PolicySet::decide`]; an [`Approved`] and a [`Refused`] hold it.
#[derive(Clone, Debug)]
pub struct Ask {
    /// The cluster whose CA is to sign.
    pub cluster: ShortName,
    /// The names and the key.
    pub request: CertRequest,
    /// The asked lifetime; none for the cluster's default.
    pub ttl: Option<Lifetime>,
    /// The person that a portal asks for.
    pub on_behalf_of: Option<Name>,
}

/// What comes of a request that is not refused.
#[derive(Debug)]
pub enum Decision {
    /// It may be signed.
    Approved(Approved),
    /// It waits for people.
    Held(Held),
}

impl Decision {
    /// What was asked.
    #[must_use]
    pub fn ask(&self) -> &Ask {
        match self {
            Self::Approved(approved) => approved.ask(),
            Self::Held(held) => held.ask(),
        }
    }

    /// The same, ending at `end` at the latest. Only ever shortens.
    #[must_use]
    pub fn ending_by(mut self, end: Time, why: &str) -> Self {
        let (not_after, warnings) = match &mut self {
            Self::Approved(approved) => (&mut approved.not_after, &mut approved.warnings),
            Self::Held(held) => (&mut held.not_after, &mut held.warnings),
        };
        if end < *not_after {
            *not_after = end;
            warnings.push(format!("the lifetime was cut: {why}"));
        }
        self
    }

    /// The limits of the rows that allow it.
    #[must_use]
    pub fn limits(&self) -> &[Limit] {
        match self {
            Self::Approved(approved) => approved.limits(),
            Self::Held(held) => held.limits(),
        }
    }
}

/// What may be signed. Sealed: made only by [`PolicySet::decide`] and [`PolicySet::decide_reviewed`].
#[derive(Debug)]
pub struct Approved {
    ask: Ask,
    not_before: Time,
    not_after: Time,
    revision: i64,
    rows: Vec<ShortName>,
    limits: Vec<Limit>,
    warnings: Vec<String>,
}

impl Approved {
    /// A decision that nobody took.
    #[cfg(test)]
    pub(crate) fn for_tests(ask: Ask, not_before: Time, not_after: Time) -> Self {
        let (rows, limits, warnings) = (Vec::new(), Vec::new(), Vec::new());
        Self { ask, not_before, not_after, revision: 1, rows, limits, warnings }
    }

    /// The same decision as one of these rows, at this revision.
    #[cfg(test)]
    pub(crate) fn decided_by(self, revision: i64, rows: &[&str]) -> Self {
        let rows = rows.iter().map(|row| ShortName::parse(row).unwrap()).collect();
        Self { revision, rows, ..self }
    }

    /// The cluster whose CA is to sign.
    #[must_use]
    pub fn cluster(&self) -> &ShortName {
        &self.ask.cluster
    }

    /// The user name, for the CN.
    #[must_use]
    pub fn user(&self) -> &Name {
        self.ask.request.user()
    }

    /// The groups, for one O each, in this order.
    #[must_use]
    pub fn groups(&self) -> &[Name] {
        self.ask.request.groups()
    }

    /// The public key.
    #[must_use]
    pub fn key(&self) -> &PublicKey {
        self.ask.request.key()
    }

    /// What was asked.
    #[must_use]
    pub fn ask(&self) -> &Ask {
        &self.ask
    }

    /// The first second in which the certificate is valid.
    #[must_use]
    pub fn not_before(&self) -> Time {
        self.not_before
    }

    /// The last second in which the certificate is valid (RFC 5280 section 4.1.2.5).
    #[must_use]
    pub fn not_after(&self) -> Time {
        self.not_after
    }

    /// The revision of the policy set that allowed it.
    #[must_use]
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// The deciding rows, sorted by name, each once: of every claim, all the matching allow rows
    /// that give it the longest lifetime. For the user name only where none of those that decide
    /// on a group gives it for as long.
    #[must_use]
    pub fn rows(&self) -> &[ShortName] {
        &self.rows
    }

    /// The limits of the deciding rows: the decision stands where none is used up.
    #[must_use]
    pub fn limits(&self) -> &[Limit] {
        &self.limits
    }

    /// The request's warnings, and a cut lifetime.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

/// What is allowed and waits for people. Sealed as an [`Approved`] is, and there is no way from here
/// to one but to decide again, with what was approved.
#[derive(Debug)]
pub struct Held {
    ask: Ask,
    not_before: Time,
    not_after: Time,
    lifetime: Lifetime,
    revision: i64,
    rows: Vec<ShortName>,
    reviews: Vec<PolicyRow>,
    limits: Vec<Limit>,
    warnings: Vec<String>,
}

impl Held {
    /// A decision that nobody took, at this revision.
    #[cfg(test)]
    pub(crate) fn for_tests(ask: Ask, lifetime: Lifetime, revision: i64, reviews: Vec<PolicyRow>) -> Self {
        let (not_before, not_after) = (Time::from_unix(0), Time::from_unix(0).after(lifetime));
        let (rows, limits, warnings) = (Vec::new(), Vec::new(), Vec::new());
        Self { ask, not_before, not_after, lifetime, revision, rows, reviews, limits, warnings }
    }

    /// What was asked.
    #[must_use]
    pub fn ask(&self) -> &Ask {
        &self.ask
    }

    /// The first second in which the certificate would be valid, if it were signed now.
    #[must_use]
    pub fn not_before(&self) -> Time {
        self.not_before
    }

    /// The last second in which it would be valid, if it were signed now.
    #[must_use]
    pub fn not_after(&self) -> Time {
        self.not_after
    }

    /// How long the certificate would live, counted from the decision.
    #[must_use]
    pub fn lifetime(&self) -> Lifetime {
        self.lifetime
    }

    /// The revision of the policy set that holds it.
    #[must_use]
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// The rows that allow it, as those of an [`Approved`].
    #[must_use]
    pub fn rows(&self) -> &[ShortName] {
        &self.rows
    }

    /// The review rows that match, sorted by name. None where it was reviewed under rows that no
    /// longer match.
    #[must_use]
    pub fn reviews(&self) -> &[PolicyRow] {
        &self.reviews
    }

    /// The limits of the rows that allow it: it is held where none is used up.
    #[must_use]
    pub fn limits(&self) -> &[Limit] {
        &self.limits
    }

    /// The request's warnings, and a cut lifetime.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

/// What a violation speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Claim {
    /// The user name.
    User,
    /// One group.
    Group,
    /// The kind of key.
    Key,
    /// The lifetime.
    Lifetime,
    /// The person that the request names.
    OnBehalfOf,
}

impl std::fmt::Display for Claim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::User => "user",
            Self::Group => "group",
            Self::Key => "key",
            Self::Lifetime => "lifetime",
            Self::OnBehalfOf => "on_behalf_of",
        })
    }
}

/// One refused claim, as it goes out in `violations[]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// What it speaks of.
    pub claim: Claim,
    /// The name, kind or lifetime that was asked; empty where nobody was named.
    pub value: String,
    /// The deny row, where the requester may know it; the allow row that would give it under another
    /// condition; or a built-in rule: `looks_reserved`, `never_issued`, `node_identities` or `reserved`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// One sentence.
    pub reason: String,
    /// The nearest that this caller may have, at most five. Of the refused names only the first ten
    /// have any: the list is empty for the others.
    pub allowed: Vec<String>,
    /// Of a name that no row gives: the caller's own rows that come nearest, at most five, with the
    /// fields on which they fail. Of the first ten refused names only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub considered: Vec<Near>,
}

impl Violation {
    /// One that says nothing of what is allowed.
    #[must_use]
    pub fn bare(claim: Claim, value: String, rule: Option<String>, reason: String) -> Self {
        Self { claim, value, rule, reason, allowed: Vec::new(), considered: Vec::new() }
    }
}

/// Why nothing is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// 403 `policy_denied`: every claim that was refused.
    Policy(Vec<Violation>),
    /// 422 `name_looks_reserved`: a name folds to a reserved one without being it. Claims that are
    /// refused for other reasons are named too.
    LooksReserved(Vec<Violation>),
    /// 422 `key_is_a_ca_key`: the key is one of a configured CA's chain.
    KeyIsCa,
    /// 503 `ca_expired`.
    CaExpired,
    /// 503 `ca_not_yet_valid`: the CA's chain begins later than now.
    CaNotYetValid,
    /// 503 `ca_expiring`: less than ten minutes of the CA are left.
    CaExpiring,
}

/// A request that is not signed.
#[derive(Debug)]
pub struct Refused {
    /// What was asked.
    pub ask: Ask,
    /// Why it is not signed.
    pub refusal: Refusal,
    /// The revision of the policy set that refused it.
    pub revision: i64,
    /// The deny rows that matched, sorted: for the record, not for the requester.
    pub rows: Vec<ShortName>,
}

/// What a request is given.
pub(super) struct Given {
    pub(super) terms: Terms,
    pub(super) rows: Vec<ShortName>,
    pub(super) limits: Vec<Limit>,
    pub(super) reviews: Vec<PolicyRow>,
}

/// Why it is given nothing.
pub(super) enum Stopped<'a> {
    /// Some of its claims are refused.
    Claims(Box<Case<'a>>, Vec<Ruled<'a, 'a>>),
    /// Another reason.
    By(Refusal),
}

impl Stopped<'_> {
    /// The refusal, and the deny rows that matched. This takes longer than deciding: it looks for
    /// what comes nearest.
    pub(super) fn explained(self) -> (Refusal, Vec<ShortName>) {
        match self {
            Self::Claims(case, ruled) => (refusal::refusal(&case, &ruled), refusal::deny_rows(&case, &ruled)),
            Self::By(refusal) => (refusal, Vec::new()),
        }
    }
}

impl Ask {
    /// What a decision looks at.
    #[must_use]
    pub fn question(&self) -> Question<'_> {
        Question {
            cluster: &self.cluster,
            user: self.request.user(),
            groups: self.request.groups(),
            key: self.request.key().kind(),
            ttl: self.ttl,
            on_behalf_of: self.on_behalf_of.as_ref(),
        }
    }
}

impl PolicySet {
    /// Decides every claim. `now` is the one reading of the clock for this request. `clusters` are
    /// those that the set was compiled for.
    ///
    /// # Errors
    /// The request back, with every refused claim.
    pub fn decide(
        &self,
        clusters: &Clusters,
        caller: &Caller,
        ask: Ask,
        now: Time,
    ) -> Result<Decision, Box<Refused>> {
        self.decide_without(clusters, caller, ask, now, &[])
    }

    /// The same, where the rows in `spent` allow nothing.
    ///
    /// # Errors
    /// As [`PolicySet::decide`].
    pub fn decide_without(
        &self,
        clusters: &Clusters,
        caller: &Caller,
        ask: Ask,
        now: Time,
        spent: &[Spent],
    ) -> Result<Decision, Box<Refused>> {
        match self.judge_ask(clusters, caller, &ask, Moment { now, spent }) {
            Ok(given) if given.reviews.is_empty() => Ok(Decision::Approved(self.approved(ask, given))),
            Ok(given) => Ok(Decision::Held(self.held(ask, given, now))),
            Err((refusal, rows)) => Err(Box::new(Refused { ask, refusal, revision: self.revision, rows })),
        }
    }

    /// Decides a request again that was held, with what was approved since. It is approved if the
    /// review rows are those that the approvers saw and each has its approvals, and then lives no
    /// longer than they were shown. If not, it is held, also where nothing would hold it today: what
    /// was approved is not what would be signed.
    ///
    /// # Errors
    /// As for [`PolicySet::decide`].
    pub fn decide_reviewed(
        &self,
        clusters: &Clusters,
        caller: &Caller,
        ask: Ask,
        moment: Moment<'_>,
        evidence: &Evidence,
    ) -> Result<Decision, Box<Refused>> {
        let now = moment.now;
        match self.judge_ask(clusters, caller, &ask, moment) {
            Ok(mut given) if evidence.is_of(&given.reviews) && evidence.is_enough() => {
                given.terms.shorten(evidence.lifetime(), now);
                given.rows.extend(given.reviews.iter().map(|row| row.name.clone()));
                given.rows.sort();
                Ok(Decision::Approved(self.approved(ask, given)))
            }
            Ok(given) => Ok(Decision::Held(self.held(ask, given, now))),
            Err((refusal, rows)) => Err(Box::new(Refused { ask, refusal, revision: self.revision, rows })),
        }
    }

    fn approved(&self, ask: Ask, given: Given) -> Approved {
        let Given { terms, rows, limits, .. } = given;
        let warnings = ask.request.warnings().iter().cloned().chain(terms.warning).collect();
        let (not_before, not_after) = (terms.not_before, terms.not_after);
        Approved { ask, not_before, not_after, revision: self.revision, rows, limits, warnings }
    }

    fn held(&self, ask: Ask, given: Given, now: Time) -> Held {
        let Given { terms, rows, limits, reviews } = given;
        let lifetime = terms.lifetime(now);
        let warnings = ask.request.warnings().iter().cloned().chain(terms.warning).collect();
        let (not_before, not_after) = (terms.not_before, terms.not_after);
        Held {
            ask,
            not_before,
            not_after,
            lifetime,
            revision: self.revision,
            rows,
            reviews,
            limits,
            warnings,
        }
    }

    /// [`PolicySet::judge`] of a request with a key.
    fn judge_ask(
        &self,
        clusters: &Clusters,
        caller: &Caller,
        ask: &Ask,
        moment: Moment<'_>,
    ) -> Result<Given, (Refusal, Vec<ShortName>)> {
        let key = ask.request.key().spki_sha256();
        if clusters.rules.iter().any(|rules| rules.ca_keys.contains(&key)) {
            return Err((Refusal::KeyIsCa, Vec::new()));
        }
        let judged = self.judge(clusters, caller, ask.question(), moment);
        judged.map_err(Stopped::explained)
    }

    /// What every decision comes from, whether it is to be signed or only told.
    pub(super) fn judge<'a>(
        &'a self,
        clusters: &'a Clusters,
        caller: &'a Caller,
        question: Question<'a>,
        moment: Moment<'a>,
    ) -> Result<Given, Stopped<'a>> {
        let unknown = || Stopped::By(refusal::of_unknown_cluster(question));
        let case = Case::new(self, clusters, caller, question, moment).ok_or_else(unknown)?;
        let cluster = case.asked_cluster().ok_or_else(unknown)?;
        let scopes = case.for_user(question.user);
        let wishes = std::iter::once(Wish::User).chain(question.groups.iter().map(Wish::Group));
        let ruled: Vec<Ruled<'_, '_>> = wishes.map(|wish| (wish, rule(&scopes, wish))).collect();
        let Some(grants) = granted(&ruled) else {
            return Err(Stopped::Claims(Box::new(case), ruled));
        };
        let mut reviews = RowSet::default();
        for (_, ruling) in &ruled {
            reviews.unite(&ruling.held_by);
        }
        let terms = terms(self, cluster, &grants, &reviews, question.ttl, moment.now).map_err(Stopped::By)?;
        let reviews = if reviews.is_empty() { Vec::new() } else { self.written(&reviews) };
        let rows = deciding(&ruled);
        Ok(Given { terms, rows: self.names(&rows), limits: self.limits(&rows), reviews })
    }

    fn limits(&self, rows: &RowSet) -> Vec<Limit> {
        let limited = self.in_set(rows).filter(|rule| rule.is_limited());
        limited
            .map(|rule| Limit {
                row: rule.name.clone(),
                max_active: rule.max_active,
                per_hour: rule.per_hour,
            })
            .collect()
    }
}

/// The user name, which is ruled first, adds no row where one that decides on a group gives it
/// for as long.
fn deciding(ruled: &[Ruled<'_, '_>]) -> RowSet {
    let mut by_groups = RowSet::default();
    for (_, ruling) in ruled.iter().skip(1) {
        ruling.outcome.iter().flatten().for_each(|grant| by_groups.unite(&grant.rows));
    }
    let mut rows = by_groups.clone();
    let user = ruled.iter().take(1).flat_map(|(_, ruling)| ruling.outcome.iter().flatten());
    for grant in user.filter(|grant| !grant.rows.meets(&by_groups)) {
        rows.unite(&grant.rows);
    }
    rows
}

/// Every grant, if every claim is allowed and none denied.
fn granted<'r, 'a>(ruled: &'r [Ruled<'_, 'a>]) -> Option<Vec<&'r Grant<'a>>> {
    let mut grants = Vec::with_capacity(ruled.len());
    for (_, ruling) in ruled {
        if !ruling.denied_by.is_empty() {
            return None;
        }
        grants.extend(ruling.outcome.as_ref().ok()?);
    }
    Some(grants)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::key::KeyKind;
    use crate::policy::person::Person;
    use crate::policy::review::{Approval, ReviewRow, Version};
    use crate::policy::testing::{
        HOUR, NOW, ask, cluster, clusters, name, oidc, portal, row, set, set_on, short,
    };
    use crate::policy::{Approver, testing::unheld};
    use serde_json::{Value, json};

    fn decide(rows: &Value, caller: &Caller, ask: Ask) -> Result<Approved, Box<Refused>> {
        unheld(set(rows).decide(&clusters(), caller, ask, NOW))
    }

    fn allows(rows: &Value, caller: &Caller, user: &str, groups: &[&str]) -> bool {
        decide(rows, caller, ask(user, groups)).is_ok()
    }

    /// The claim and value of every violation.
    fn refused(rows: &Value, caller: &Caller, ask: Ask) -> Vec<(Claim, String)> {
        violations(rows, caller, ask)
            .into_iter()
            .map(|violation| (violation.claim, violation.value))
            .collect()
    }

    fn violations(rows: &Value, caller: &Caller, ask: Ask) -> Vec<Violation> {
        match decide(rows, caller, ask).expect_err("a refusal").refusal {
            Refusal::Policy(violations) | Refusal::LooksReserved(violations) => violations,
            other => panic!("{other:?}"),
        }
    }

    fn for_person(user: &str, person: &str) -> Ask {
        Ask { on_behalf_of: Some(name(person)), ..ask(user, &[]) }
    }

    fn user(text: &str) -> (Claim, String) {
        (Claim::User, text.to_owned())
    }

    fn group(text: &str) -> (Claim, String) {
        (Claim::Group, text.to_owned())
    }

    #[test]
    fn no_row_is_a_refusal() {
        assert_eq!(refused(&json!([]), &portal(), ask("alice", &["dev"])), [user("alice"), group("dev")]);
    }

    #[test]
    fn an_allow_row_without_groups_speaks_of_the_user_name_alone() {
        let rows = json!([{}]);
        assert!(allows(&rows, &portal(), "alice", &[]));
        assert_eq!(refused(&rows, &portal(), ask("alice", &["dev"])), [group("dev")]);
    }

    #[test]
    fn an_allow_row_with_groups_allows_the_bare_name_too() {
        assert!(allows(&json!([{"groups": ["dev"]}]), &portal(), "alice", &[]));
    }

    #[test]
    fn two_rows_that_each_allow_one_group_together_allow_both() {
        let rows = json!([{"name": "b", "groups": ["dev"]}, {"name": "a", "groups": ["ops"]}]);
        let approved = decide(&rows, &portal(), ask("alice", &["ops", "dev"])).expect("approved");
        assert_eq!(approved.rows(), [short("a"), short("b")]);
        assert_eq!(approved.groups(), [name("ops"), name("dev")]);
        assert_eq!(approved.revision(), 3);
    }

    #[test]
    fn a_row_speaks_only_for_its_callers_clusters_and_users() {
        let rows = json!([{"groups": ["dev"]}]);
        assert!(!allows(&rows, &Caller::token(&short("portal2")), "alice", &["dev"]));
        assert!(!allows(&rows, &oidc("corp", "portal", &[]), "alice", &["dev"]));
        assert!(!allows(&rows, &portal(), "alice2", &["dev"]));
        let elsewhere = Ask { cluster: short("dev"), ..ask("alice", &["dev"]) };
        assert!(decide(&rows, &portal(), elsewhere).is_err());
        let nowhere = Ask { cluster: short("nowhere"), ..ask("alice", &[]) };
        assert_eq!(refused(&json!([{"clusters": ["*"]}]), &portal(), nowhere), [user("alice")]);
    }

    #[test]
    fn a_caller_of_one_kind_or_source_never_matches_rows_for_another() {
        let rows = json!([{"callers": ["oidc:corp:alice", "group:corp:admins"]}]);
        assert!(allows(&rows, &oidc("corp", "alice", &[]), "alice", &[]));
        assert!(allows(&rows, &oidc("corp", "bob", &["admins"]), "alice", &[]));
        assert!(!allows(&rows, &oidc("other", "alice", &["admins"]), "alice", &[]));
        assert!(!allows(&rows, &oidc("corp", "admins", &["alice"]), "alice", &[]));
        let proxy = Caller { kind: crate::caller::CallerKind::Proxy, ..oidc("corp", "alice", &[]) };
        assert!(!allows(&rows, &proxy, "alice", &[]));
    }

    #[test]
    fn a_star_in_a_callers_name_is_a_literal_star() {
        let rows =
            json!([{"callers": ["oidc:corp:*"], "users": ["{caller}"], "groups": ["{caller.groups}"]}]);
        let star = oidc("corp", "a*", &["g*"]);
        assert!(allows(&rows, &star, "a*", &["g*"]));
        assert!(!allows(&rows, &star, "ab", &[]));
        assert!(!allows(&rows, &star, "a*", &["gh"]));
    }

    #[test]
    fn a_disabled_row_decides_nothing() {
        assert!(!allows(&json!([{"enabled": false}]), &portal(), "alice", &[]));
        assert!(allows(&json!([{}, {"effect": "deny", "enabled": false}]), &portal(), "alice", &[]));
    }

    #[test]
    fn deny_comes_first() {
        let rows = json!([{"groups": ["*"]}, {"effect": "deny", "groups": ["root"], "name": "no-root"}]);
        assert!(allows(&rows, &portal(), "alice", &["dev"]));
        let refused = decide(&rows, &portal(), ask("alice", &["dev", "root"])).expect_err("a refusal");
        assert_eq!(refused.rows, [short("no-root")]);
        assert_eq!(refused.revision, 3);
    }

    #[test]
    fn a_deny_row_without_groups_or_with_a_star_speaks_of_the_name_too() {
        for groups in [Value::Null, json!(["*"]), json!(["x", "**"])] {
            let mut deny = json!({"effect": "deny"});
            if !groups.is_null() {
                deny["groups"] = groups;
            }
            let rows = json!([{"groups": ["*"]}, deny]);
            assert!(!allows(&rows, &portal(), "alice", &[]), "{rows}");
            assert!(!allows(&rows, &portal(), "alice", &["dev"]), "{rows}");
        }
        let rows = json!([{"groups": ["*"]}, {"effect": "deny", "groups": ["d*"]}]);
        assert!(allows(&rows, &portal(), "alice", &[]));
    }

    #[test]
    fn a_deny_row_sees_every_shape_of_a_name() {
        let allow = json!({"users": ["zoé"], "groups": ["équipe"], "callers": ["oidc:corp:a:é"]});
        let caller = oidc("corp", "a:é", &[]);
        assert!(allows(&json!([allow]), &caller, "zoé", &["équipe"]));
        for deny in [
            json!({"effect": "deny", "users": ["*"], "callers": ["oidc:corp:*"]}),
            json!({"effect": "deny", "users": ["z*"], "groups": ["*"], "callers": ["oidc:corp:a:*"]}),
            json!({"effect": "deny", "users": ["zoé"], "groups": ["*quipe"], "callers": ["oidc:corp:*"]}),
        ] {
            assert!(!allows(&json!([allow, deny]), &caller, "zoé", &["équipe"]), "{deny}");
        }
    }

    #[test]
    fn wildcards_and_variables_of_deny_rows_see_reserved_names() {
        let allow = json!({"groups": ["kubeadm:cluster-admins"], "callers": ["oidc:corp:a"]});
        let caller = oidc("corp", "a", &["kubeadm:cluster-admins"]);
        assert!(allows(&json!([allow]), &caller, "alice", &["kubeadm:cluster-admins"]));
        for groups in ["*", "kubeadm:*", "{caller.groups}"] {
            let deny = json!({"effect": "deny", "groups": [groups], "callers": ["oidc:corp:*"]});
            assert!(
                !allows(&json!([allow, deny]), &caller, "alice", &["kubeadm:cluster-admins"]),
                "{groups}"
            );
        }
    }

    #[test]
    fn an_allow_row_without_on_behalf_of_never_matches_a_request_that_names_somebody() {
        let rows = json!([{"users": ["*"]}]);
        assert_eq!(
            refused(&rows, &portal(), for_person("alice", "alice")),
            [user("alice"), (Claim::OnBehalfOf, "alice".to_owned())]
        );
    }

    #[test]
    fn an_allow_row_with_on_behalf_of_wants_a_person_that_it_matches() {
        let rows = json!([{"users": ["{on_behalf_of}"], "on_behalf_of": ["a*", "bob"]}]);
        assert!(decide(&rows, &portal(), for_person("alice", "alice")).is_ok());
        assert!(decide(&rows, &portal(), for_person("alice", "bob")).is_err());
        assert!(decide(&rows, &portal(), for_person("carol", "carol")).is_err());
        assert!(!allows(&rows, &portal(), "alice", &[]), "nobody is named");
    }

    #[test]
    fn a_deny_row_without_on_behalf_of_matches_whoever_is_named() {
        let rows = json!([{"on_behalf_of": ["*"]}, {"effect": "deny"}]);
        assert!(decide(&rows, &portal(), for_person("alice", "bob")).is_err());
        let rows = json!([{"on_behalf_of": ["*"]}, {"effect": "deny", "on_behalf_of": ["bob"]}]);
        assert!(decide(&rows, &portal(), for_person("alice", "bob")).is_err());
        assert!(decide(&rows, &portal(), for_person("alice", "carol")).is_ok());
    }

    #[test]
    fn a_portal_never_gains_the_rows_of_the_person_that_it_names() {
        let rows = json!([{"callers": ["oidc:corp:alice", "token:alice"], "on_behalf_of": ["*"]}, {"callers": ["oidc:corp:alice"]}]);
        assert!(decide(&rows, &portal(), for_person("alice", "alice")).is_err());
    }

    #[test]
    fn a_reserved_name_is_given_only_by_a_pattern_that_spells_it_out() {
        let caller = oidc("corp", "kubeadm:x", &["kubeadm:cluster-admins", "corp:root", "dev"]);
        let rows = json!([{"callers": ["oidc:corp:kubeadm:*"], "users": ["{caller}", "*", "alice"],
            "groups": ["{caller.groups}", "*", "kubeadm:*", "corp:*"]}]);
        assert!(allows(&rows, &caller, "alice", &["dev"]));
        assert_eq!(refused(&rows, &caller, ask("kubeadm:x", &[])), [user("kubeadm:x")]);
        let groups = ["kubeadm:cluster-admins", "corp:root"];
        assert_eq!(refused(&rows, &caller, ask("alice", &groups)), groups.map(group));
        let spelled = json!([{"groups": ["kubeadm:cluster-admins"]}]);
        assert!(allows(&spelled, &portal(), "alice", &["kubeadm:cluster-admins"]));
    }

    #[test]
    fn a_name_that_one_cluster_reserves_is_ordinary_on_another() {
        let rows = json!([{"clusters": ["dev"], "groups": ["*"]}]);
        assert!(decide(&rows, &portal(), Ask { cluster: short("dev"), ..ask("alice", &["corp:x"]) }).is_ok());
    }

    #[test]
    fn node_identities_need_the_clusters_consent_too() {
        let rows = json!([{"users": ["system:node:a"], "groups": ["system:nodes"]}]);
        let wish = || ask("system:node:a", &["system:nodes"]);
        let told = violations(&rows, &portal(), wish());
        assert!(
            told.iter().all(|violation| violation.rule.as_deref() == Some("node_identities")),
            "{told:?}"
        );
        assert_eq!(told.len(), 2);
        let mut willing = clusters();
        willing.rules[0].node_identities = true;
        assert!(set_on(&rows, &willing).decide(&willing, &portal(), wish(), NOW).is_ok());
    }

    #[test]
    fn a_never_issued_name_is_a_policy_refusal_with_its_own_rule() {
        let rows = json!([{"users": ["*"], "groups": ["*"]}]);
        for name in ["system:masters", "system:serviceaccount:a:b"] {
            let told = violations(&rows, &portal(), ask(name, &["dev", name]));
            let rules: Vec<_> = told.iter().map(|violation| violation.rule.as_deref()).collect();
            assert_eq!(rules, [Some("never_issued"), None, Some("never_issued")]);
            let denied = decide(&rows, &portal(), ask("alice", &[name])).expect_err("a refusal").refusal;
            assert!(matches!(denied, Refusal::Policy(_)));
        }
    }

    #[test]
    fn a_name_that_looks_reserved_is_refused_as_such() {
        let rows = json!([{"users": ["*"], "groups": ["*", "ѕystem:masters"], "callers": ["token:portal"]}]);
        let parsed = rows.as_array().expect("rows").iter().map(|json| {
            let mut json = json.clone();
            json["name"] = json!("a");
            json["effect"] = json!("allow");
            row(json)
        });
        assert!(PolicySet::compile(1, parsed.collect(), &clusters()).is_err(), "the row is not even taken");
        let rows = json!([{"users": ["*"], "groups": ["*"]}]);
        for name in ["System:masters", "ѕystem:masters", "systern:x", "Root"] {
            let denied = decide(&rows, &portal(), ask("alice", &[name])).expect_err("a refusal").refusal;
            assert!(matches!(denied, Refusal::LooksReserved(_)), "{name}");
        }
        let told = violations(&rows, &portal(), ask("alice", &["é", "Root", "system:masters"]));
        assert_eq!(told.len(), 3, "the others are named too: {told:?}");
    }

    #[test]
    fn a_row_with_keys_takes_only_those_kinds() {
        let rows = json!([{"groups": ["dev"], "keys": ["rsa-2048", "ed25519"]}, {"groups": ["ops"]}]);
        let told = violations(&rows, &portal(), ask("alice", &["dev", "ops"]));
        assert_eq!(told.len(), 2, "{told:?}");
        assert_eq!((told[0].claim, told[0].value.as_str()), (Claim::Group, "dev"));
        assert_eq!((told[1].claim, told[1].value.as_str()), (Claim::Key, "p-256"));
        assert!(
            told[1].allowed.contains(&"rsa-2048".to_owned())
                && !told[1].allowed.contains(&"p-256".to_owned())
        );
        let rsa = Ask {
            request: CertRequest::for_tests("alice", &["dev", "ops"], KeyKind::Rsa2048),
            ..ask("a", &[])
        };
        assert!(decide(&rows, &portal(), rsa).is_ok());
    }

    #[test]
    fn a_key_of_any_configured_ca_is_refused() {
        let mut clusters = clusters();
        let ask = ask("alice", &[]);
        clusters.rules[1].ca_keys = vec![[0; 32], ask.request.key().spki_sha256()];
        let refused = set(&json!([{}])).decide(&clusters, &portal(), ask, NOW).expect_err("a refusal");
        assert_eq!(refused.refusal, Refusal::KeyIsCa);
    }

    fn lifetime(rows: &Value, ttl: Option<u32>, groups: &[&str]) -> (i64, Vec<String>) {
        let wish = Ask { ttl: ttl.map(Lifetime::from_seconds), ..ask("alice", groups) };
        let approved = decide(rows, &portal(), wish).expect("approved");
        (approved.not_after().seconds_since(NOW), approved.warnings().to_vec())
    }

    #[test]
    fn the_lifetime_is_the_least_over_the_claims_of_the_most_that_a_row_gives() {
        let rows = json!([
            {"name": "short", "groups": ["dev", "ops"], "max_ttl": "1h"},
            {"name": "long", "groups": ["dev"], "max_ttl": "4h"},
            {"name": "as-long", "groups": ["d*"], "max_ttl": "4h"},
        ]);
        assert_eq!(lifetime(&rows, Some(2 * HOUR), &["dev"]), (7_200, vec![]));
        let warning = "the lifetime was cut from 2h to 1h: policy `short` gives at most 1h";
        assert_eq!(lifetime(&rows, Some(2 * HOUR), &["dev", "ops"]), (3_600, vec![warning.to_owned()]));
        let warning = "the default lifetime was cut from 8h to 4h: policy `as-long`, `long` gives at most 4h";
        assert_eq!(lifetime(&rows, None, &["dev"]), (14_400, vec![warning.to_owned()]));
        let approved = decide(&rows, &portal(), ask("alice", &["dev"])).expect("approved");
        assert_eq!(approved.rows(), [short("as-long"), short("long")]);
    }

    #[test]
    fn the_lifetime_is_the_clusters_where_nobody_says_less() {
        let rows = json!([{"max_ttl": "30d"}, {}]);
        assert_eq!(lifetime(&rows, None, &[]), (28_800, vec![]));
        let (seconds, warnings) = lifetime(&rows, Some(25 * HOUR), &[]);
        assert_eq!(seconds, 86_400);
        assert_eq!(warnings, ["the lifetime was cut from 1d1h to 1d: cluster prod gives at most 1d"]);
        assert_eq!(lifetime(&rows, Some(u32::MAX), &[]).0, 86_400);
        assert_eq!(lifetime(&rows, Some(600), &[]), (600, vec![]));
    }

    fn with_ca(before: Time, after: Time, ttl: u32) -> Result<Approved, Box<Refused>> {
        let mut clusters = clusters();
        clusters.rules[0].ca_not_before = before;
        clusters.rules[0].ca_not_after = after;
        let wish = Ask { ttl: Some(Lifetime::from_seconds(ttl)), ..ask("alice", &[]) };
        unheld(set(&json!([{}])).decide(&clusters, &portal(), wish, NOW))
    }

    #[test]
    fn no_certificate_outlives_the_ca_or_begins_before_it() {
        let in_an_hour = NOW.after(Lifetime::from_seconds(HOUR));
        let approved = with_ca(NOW.before(10), in_an_hour, 2 * HOUR).expect("approved");
        assert_eq!((approved.not_before(), approved.not_after()), (NOW.before(10), in_an_hour));
        let end = format!("the lifetime was cut from 2h to 1h: the CA of cluster prod ends at {in_an_hour}");
        assert_eq!(approved.warnings(), [end]);
        let approved = with_ca(NOW.before(301), in_an_hour, HOUR).expect("approved");
        assert_eq!((approved.not_before(), approved.not_after()), (NOW.before(300), in_an_hour));
        assert!(approved.warnings().is_empty());
    }

    #[test]
    fn a_ca_at_its_ends_signs_nothing() {
        let after = |seconds| NOW.after(Lifetime::from_seconds(seconds));
        let why = |before, end| with_ca(before, end, 600).map(|_| ()).map_err(|refused| refused.refusal);
        assert_eq!(why(NOW, after(600)), Ok(()));
        assert_eq!(why(NOW, after(599)), Err(Refusal::CaExpiring));
        assert_eq!(why(NOW.before(9), NOW), Err(Refusal::CaExpiring));
        assert_eq!(why(NOW.before(9), NOW.before(1)), Err(Refusal::CaExpired));
        assert_eq!(why(after(1), after(HOUR)), Err(Refusal::CaNotYetValid));
    }

    #[test]
    fn a_cap_under_ten_minutes_is_a_violation_of_the_lifetime() {
        let mut clusters = clusters();
        clusters.rules[0].max_ttl = Lifetime::from_seconds(599);
        let refused =
            set(&json!([{}])).decide(&clusters, &portal(), ask("alice", &[]), NOW).expect_err("a refusal");
        let Refusal::Policy(told) = refused.refusal else { panic!("no policy refusal") };
        assert_eq!(told[0].claim, Claim::Lifetime);
        let wish = Ask { ttl: Some(Lifetime::from_seconds(599)), ..ask("alice", &[]) };
        assert_eq!(violations(&json!([{}]), &portal(), wish)[0].claim, Claim::Lifetime);
    }

    fn trust_group() -> Clusters {
        let mut both = Clusters { rules: vec![cluster("prod"), cluster("dev"), cluster("other")] };
        both.rules[0].trust_group = Some(short("fleet"));
        both.rules[1].trust_group = Some(short("fleet"));
        both
    }

    fn on_trust_group(rows: &Value, groups: &[&str]) -> Result<Approved, Box<Refused>> {
        let clusters = trust_group();
        unheld(set_on(rows, &clusters).decide(&clusters, &portal(), ask("alice", groups), NOW))
    }

    #[test]
    fn a_claim_must_be_allowed_on_every_cluster_of_the_trust_group() {
        let both = json!({"clusters": ["prod", "dev"], "groups": ["dev"]});
        assert!(on_trust_group(&json!([both]), &["dev"]).is_ok());
        assert!(on_trust_group(&json!([{"groups": ["dev"]}]), &["dev"]).is_err());
        let rows = json!([{"clusters": ["prod", "dev"], "groups": ["dev"]}, {"groups": ["ops"]}]);
        let refused = on_trust_group(&rows, &["dev", "ops"]).expect_err("a refusal");
        let Refusal::Policy(told) = refused.refusal else { panic!("no policy refusal") };
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].value, "ops");
        assert!(told[0].reason.contains("cluster dev"), "{}", told[0].reason);
    }

    #[test]
    fn a_deny_on_any_cluster_of_the_trust_group_counts() {
        let both = json!({"clusters": ["*"], "groups": ["dev"]});
        assert!(on_trust_group(&json!([both, {"effect": "deny", "clusters": ["dev"]}]), &["dev"]).is_err());
        assert!(on_trust_group(&json!([both, {"effect": "deny", "clusters": ["other"]}]), &["dev"]).is_ok());
    }

    #[test]
    fn the_lifetime_is_the_least_of_the_trust_group() {
        let rows = json!([{"clusters": ["prod"]}, {"clusters": ["dev"], "max_ttl": "1h"}]);
        let approved = on_trust_group(&rows, &[]).expect("approved");
        assert_eq!(approved.not_after().seconds_since(NOW), 3_600);
    }

    #[test]
    fn a_refusal_names_every_claim_and_the_nearest_that_the_caller_may_have() {
        let rows = json!([
            {"users": ["alice", "bob"], "groups": ["dev", "devs", "ops", "qa", "team-*", "x1", "x2"]},
            {"callers": ["token:other"], "groups": ["deva"]},
            {"effect": "deny", "groups": ["devs"], "name": "secret"},
        ]);
        let told = violations(&rows, &portal(), ask("alice", &["de", "ops", "devs"]));
        assert_eq!(told.len(), 2, "{told:?}");
        assert_eq!(told[0].allowed.len(), 5);
        assert_eq!(told[0].allowed[0], "dev");
        assert!(
            told.iter()
                .all(|violation| !violation.allowed.iter().any(|text| text == "deva" || text == "devs"))
        );
        assert_eq!((told[1].rule.as_deref(), told[1].reason.as_str()), (None, "denied by policy"));
        let told = violations(&rows, &portal(), ask("alicf", &["dev"]));
        assert_eq!(told[0].allowed, ["alice", "bob"]);
        assert_eq!((told[1].claim, told[1].value.as_str()), (Claim::Group, "dev"));
    }

    #[test]
    fn a_deny_row_is_told_of_only_where_it_says_so() {
        let deny =
            json!({"effect": "deny", "name": "no-root", "explain": true, "description": "Ask security."});
        let told = violations(&json!([{}, deny]), &portal(), ask("alice", &[]));
        assert_eq!(told[0].rule.as_deref(), Some("no-root"));
        assert_eq!(told[0].reason, "denied by policy `no-root`: Ask security.");
    }

    #[test]
    fn what_is_told_has_the_callers_own_name_put_in_and_no_reserved_name() {
        let rows =
            json!([{"callers": ["oidc:corp:*"], "users": ["{caller}"], "groups": ["{caller.groups}"]}]);
        let told =
            violations(&rows, &oidc("corp", "alice", &["ops", "system:masters"]), ask("alicia", &["op"]));
        assert_eq!(told[0].allowed, ["alice"]);
        assert_eq!(told[1].allowed, ["ops"]);
    }

    #[test]
    fn whom_the_request_names_is_told_where_that_is_what_fails() {
        let rows = json!([{"users": ["{on_behalf_of}"], "on_behalf_of": ["dev-*"]}]);
        let told = violations(&rows, &portal(), for_person("alice", "alice"));
        assert_eq!(told[1].claim, Claim::OnBehalfOf);
        assert_eq!(told[1].allowed, ["dev-*"]);
    }

    /// What holds the request, by name; empty where it is approved.
    fn held_by(rows: &Value, caller: &Caller, ask: Ask) -> Vec<String> {
        match set(rows).decide(&clusters(), caller, ask, NOW).expect("no refusal") {
            Decision::Approved(_) => Vec::new(),
            Decision::Held(held) => held.reviews().iter().map(|row| row.name.to_string()).collect(),
        }
    }

    fn review(mut row: Value) -> Value {
        row["effect"] = json!("review");
        row["approvers"] = json!(["token:carol"]);
        row
    }

    #[test]
    fn a_review_row_holds_what_is_allowed_and_it_speaks_of() {
        let rows = json!([
            {"groups": ["dev", "ops"], "users": ["alice", "bob"]},
            review(json!({"name": "ops", "users": ["alice"], "groups": ["ops"]})),
            review(json!({"name": "off", "users": ["*"], "enabled": false})),
            review(json!({"name": "other", "users": ["*"], "callers": ["token:other"]})),
        ]);
        assert_eq!(held_by(&rows, &portal(), ask("alice", &["dev", "ops"])), ["ops"]);
        assert!(held_by(&rows, &portal(), ask("alice", &["dev"])).is_empty());
        assert!(held_by(&rows, &portal(), ask("alice", &[])).is_empty());
        assert!(held_by(&rows, &portal(), ask("bob", &["ops"])).is_empty());
    }

    #[test]
    fn a_review_row_only_holds_and_neither_allows_nor_saves_from_a_denial() {
        let rows = json!([
            {"groups": ["dev", "ops"]},
            review(json!({"groups": ["ops", "admins"]})),
            {"effect": "deny", "groups": ["ops"]},
        ]);
        assert!(!allows(&rows, &portal(), "alice", &["admins"]));
        assert!(!allows(&rows, &portal(), "alice", &["ops"]));
    }

    #[test]
    fn a_review_row_without_groups_or_with_a_star_speaks_of_the_name_too() {
        for groups in [json!({}), json!({"groups": ["*"]})] {
            let rows = json!([{"groups": ["dev"]}, review(groups.clone())]);
            assert_eq!(held_by(&rows, &portal(), ask("alice", &[])).len(), 1, "{groups}");
            assert_eq!(held_by(&rows, &portal(), ask("alice", &["dev"])).len(), 1, "{groups}");
        }
    }

    #[test]
    fn a_star_or_variable_of_a_review_row_sees_reserved_names() {
        let allow = json!({"users": ["root"], "groups": ["kubeadm:cluster-admins"]});
        for holding in [
            json!({"users": ["*"]}),
            json!({"users": ["r*"]}),
            json!({"users": ["root"], "groups": ["kubeadm:*"]}),
            json!({"users": ["*"], "groups": ["*admins"]}),
        ] {
            let rows = json!([allow, review(holding.clone())]);
            let held = held_by(&rows, &portal(), ask("root", &["kubeadm:cluster-admins"]));
            assert_eq!(held.len(), 1, "{holding}");
        }
        let rows = json!([
            {"callers": ["oidc:corp:root"], "users": ["root"]},
            review(json!({"callers": ["oidc:corp:*"], "users": ["{caller}"]})),
        ]);
        assert_eq!(held_by(&rows, &oidc("corp", "root", &[]), ask("root", &[])).len(), 1);
    }

    #[test]
    fn a_review_row_applies_whoever_is_named() {
        let rows = json!([
            {"on_behalf_of": ["*"], "users": ["*"]},
            review(json!({"name": "any", "users": ["*"]})),
            review(json!({"name": "bob", "users": ["*"], "on_behalf_of": ["bob"]})),
        ]);
        let on_behalf_of = |person: &str| Ask { on_behalf_of: Some(name(person)), ..ask("alice", &[]) };
        assert_eq!(held_by(&rows, &portal(), on_behalf_of("bob")), ["any", "bob"]);
        assert_eq!(held_by(&rows, &portal(), on_behalf_of("carol")), ["any"]);
    }

    #[test]
    fn a_review_row_with_keys_holds_those_kinds_only() {
        let rows = json!([{}, review(json!({"name": "rsa", "keys": ["rsa-2048"]}))]);
        assert!(held_by(&rows, &portal(), ask("alice", &[])).is_empty());
        let rsa =
            Ask { request: CertRequest::for_tests("alice", &[], KeyKind::Rsa2048), ..ask("alice", &[]) };
        assert_eq!(held_by(&rows, &portal(), rsa), ["rsa"]);
    }

    #[test]
    fn a_review_row_of_any_cluster_of_the_trust_group_holds() {
        let mut together = clusters();
        for cluster in &mut together.rules {
            cluster.trust_group = Some(short("group"));
        }
        let rows = json!([{"clusters": ["*"]}, review(json!({"name": "dev", "clusters": ["dev"]}))]);
        let decide = |clusters: &Clusters| {
            set_on(&rows, clusters).decide(clusters, &portal(), ask("alice", &[]), NOW).expect("no refusal")
        };
        assert!(matches!(decide(&together), Decision::Held(_)));
        assert!(matches!(decide(&clusters()), Decision::Approved(_)));
    }

    #[test]
    fn the_max_ttl_of_a_review_row_cuts() {
        let rows = json!([{"max_ttl": "4h"}, review(json!({"name": "short", "max_ttl": "1h"}))]);
        let decided = set(&rows).decide(&clusters(), &portal(), ask("alice", &[]), NOW).expect("no refusal");
        let Decision::Held(held) = decided else { panic!("{decided:?}") };
        assert_eq!(held.lifetime(), Lifetime::from_seconds(HOUR));
        assert_eq!(held.not_after(), NOW.after(Lifetime::from_seconds(HOUR)));
        assert!(held.warnings()[0].contains("policy `short` gives at most 1h"), "{:?}", held.warnings());
    }

    /// One row `ops` that `carol` approves, as the root of the machine wrote it; and her approval.
    fn reviewed(rows: &Value, lifetime: u32, approved: bool) -> (PolicySet, Evidence) {
        let set = set(rows);
        let row = set.rows().iter().find(|row| row.name.as_str() == "ops").expect("a row").clone();
        let author = Person::behind("cli:root");
        let versions = vec![Version { from: 3, until: None, row: row.clone(), author }];
        let carol = Approval {
            approver: Approver::Caller(Caller::token(&short("carol"))),
            person: Person::behind("token:carol"),
        };
        let approvals = if approved { vec![carol] } else { Vec::new() };
        let parties = Person::behind("token:portal").or(Person::named("alice"));
        let rows = vec![ReviewRow { row, versions }];
        (set, Evidence::recorded(rows, Lifetime::from_seconds(lifetime), parties, approvals))
    }

    #[test]
    fn what_was_approved_is_signed_and_lives_no_longer_than_was_shown() {
        let rows = json!([{"max_ttl": "4h"}, review(json!({"name": "ops"}))]);
        for (shown, given) in [(HOUR, HOUR), (8 * HOUR, 4 * HOUR)] {
            let (set, evidence) = reviewed(&rows, shown, true);
            let again = set.decide_reviewed(&clusters(), &portal(), ask("alice", &[]), NOW.into(), &evidence);
            let approved = unheld(again).expect("no refusal");
            assert_eq!(approved.not_after(), NOW.after(Lifetime::from_seconds(given)));
            assert_eq!(approved.rows(), [short("ops"), short("row-0")]);
        }
    }

    #[test]
    fn what_was_not_approved_or_is_held_by_other_rows_is_held() {
        let rows = json!([{"max_ttl": "4h"}, review(json!({"name": "ops"}))]);
        let held = |set: &PolicySet, evidence: &Evidence| {
            let again = set.decide_reviewed(&clusters(), &portal(), ask("alice", &[]), NOW.into(), evidence);
            matches!(again, Ok(Decision::Held(_)))
        };
        let (same, unapproved) = reviewed(&rows, HOUR, false);
        assert!(held(&same, &unapproved));
        let (_, evidence) = reviewed(&rows, HOUR, true);
        assert!(!held(&same, &evidence));
        for today in [
            json!([{}]),
            json!([{}, review(json!({"name": "ops", "description": "other"}))]),
            json!([{}, review(json!({"name": "ops"})), review(json!({"name": "more"}))]),
            json!([{}, review(json!({"name": "spo"}))]),
        ] {
            assert!(held(&set(&today), &evidence), "{today}");
        }
        let (without_rows, _) = reviewed(&rows, HOUR, true);
        let nothing = Evidence::recorded(Vec::new(), Lifetime::MOST, Person::default(), Vec::new());
        assert!(held(&without_rows, &nothing));
    }

    #[test]
    fn what_is_denied_today_is_refused_whatever_was_approved() {
        let rows = json!([{}, review(json!({"name": "ops"}))]);
        let (_, evidence) = reviewed(&rows, HOUR, true);
        let today = json!([{}, review(json!({"name": "ops"})), {"name": "no", "effect": "deny"}]);
        let again =
            set(&today).decide_reviewed(&clusters(), &portal(), ask("alice", &[]), NOW.into(), &evidence);
        assert!(again.is_err());
    }
}
