//! What would be decided, and why: for `POST /v1/policies/evaluate`, for a dry run and for the command
//! line alike.

use std::sync::Arc;

use serde::Serialize;

use crate::auth::Principal;
use crate::caller::{Caller, CallerGroup, CallerKind, Claims, Proven};
use crate::pki::key::KeyKind;
use crate::pki::name::{Name, ShortName};
use crate::policy::explain::{ClaimExplained, Lifespan};
use crate::policy::{
    Ask, Audience, Clusters, Explanation, Moment, PolicySet, Question, SetBy, Spent, SupposedProof, Verdict,
    Violation,
};
use crate::store::{Counted, Store, StoreError};
use crate::time::{Lifetime, Time};

use super::{App, AppError, State};

/// As in a CSR.
const MOST_GROUPS: usize = 100;
/// Of who is not here, so that they cannot be counted: of groups, and of claims with their values.
const MOST_SHOWN: usize = 1_000;

/// What is asked, as it came in.
#[derive(Clone, Debug, Default)]
pub struct EvaluateCommand {
    /// None: the one who asks.
    pub caller: Option<String>,
    /// What the credential of `caller` would show.
    pub caller_groups: Vec<String>,
    /// And what it would claim.
    pub caller_claims: Claims,
    pub user: String,
    pub groups: Vec<String>,
    /// None: the only one that there is.
    pub cluster: Option<String>,
    /// Between [`Lifetime::LEAST`] and [`Lifetime::MOST`].
    pub ttl: Option<Lifetime>,
    pub on_behalf_of: Option<String>,
    /// That the named person's own token comes with it. For an auditor or an admin: whoever else supposes
    /// it could learn what a person's groups would open.
    pub proof: Option<SupposedProof>,
    /// A kind of key; none for P-256.
    pub key: Option<String>,
}

/// A request that nobody sent: what a decision looks at, and no key.
#[derive(Clone, Debug)]
pub struct Supposed {
    pub caller: Caller,
    pub cluster: ShortName,
    pub user: Name,
    pub groups: Vec<Name>,
    pub key: KeyKind,
    pub ttl: Option<Lifetime>,
    pub on_behalf_of: Option<Name>,
    /// What was read in another way than it was written.
    pub warnings: Vec<String>,
}

impl Supposed {
    /// Reads every name. `caller` is who asks for the certificate.
    ///
    /// # Errors
    /// `ParameterInvalid`, `ClusterRequired`, `ClusterUnknown`.
    pub fn read(command: &EvaluateCommand, caller: Caller, rules: &Clusters) -> Result<Self, AppError> {
        let (groups, warnings) = groups(&command.groups)?;
        let person = command.on_behalf_of.as_deref().map(|text| name("on_behalf_of", text));
        Ok(Self {
            caller: Caller { proven: proven(command)?, ..caller },
            cluster: cluster(command.cluster.as_deref(), rules)?,
            user: name("user", &command.user)?,
            groups,
            key: command.key.as_deref().map_or(Ok(KeyKind::P256), key)?,
            ttl: command.ttl,
            on_behalf_of: person.transpose()?,
            warnings,
        })
    }

    /// What a request would be without its key.
    fn of(ask: &Ask, caller: &Caller) -> Self {
        Self {
            caller: caller.clone(),
            cluster: ask.cluster.clone(),
            user: ask.request.user().clone(),
            groups: ask.request.groups().to_vec(),
            key: ask.request.key().kind(),
            ttl: ask.ttl,
            on_behalf_of: ask.on_behalf_of.clone(),
            warnings: Vec::new(),
        }
    }

    fn question(&self) -> Question<'_> {
        Question {
            cluster: &self.cluster,
            user: &self.user,
            groups: &self.groups,
            key: self.key,
            ttl: self.ttl,
            on_behalf_of: self.on_behalf_of.as_ref(),
        }
    }
}

/// The caller `text`, with the groups that it would show and what it would claim.
///
/// # Errors
/// `ParameterInvalid`.
pub fn named_caller(text: &str, command: &EvaluateCommand) -> Result<Caller, AppError> {
    let caller = Caller::parse(text).map_err(|error| invalid("caller", &error))?;
    let (groups, claims) = (&command.caller_groups, command.caller_claims.clone());
    few("caller_groups", groups.len())?;
    few("caller_claims", claims.values().fold(claims.len(), |sum, values| sum.saturating_add(values.len())))?;
    let read = |text: &String| CallerGroup::parse(text).map_err(|reason| invalid("caller_groups", &reason));
    Ok(Caller { groups: groups.iter().map(read).collect::<Result<_, _>>()?, claims, ..caller })
}

/// The named person, where a token of that person's own is supposed.
fn proven(command: &EvaluateCommand) -> Result<Option<Proven>, AppError> {
    let Some(proof) = &command.proof else { return Ok(None) };
    few("proof.groups", proof.groups.len())?;
    let proven = proof.of(command.on_behalf_of.as_deref());
    proven.map(Some).map_err(|reason| invalid("proof", &reason))
}

fn few(field: &str, count: usize) -> Result<(), AppError> {
    if count > MOST_SHOWN {
        return Err(invalid(field, &format!("at most {MOST_SHOWN} are read")));
    }
    Ok(())
}

/// A decision with its reasons, as it goes out.
#[derive(Debug, Serialize)]
pub struct Evaluation {
    outcome: &'static str,
    /// The code of the error that `POST /v1/sign` would answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    /// And its sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    caller: String,
    caller_groups: Vec<String>,
    on_behalf_of: Option<String>,
    on_behalf_of_proof: bool,
    cluster: String,
    user: String,
    groups: Vec<String>,
    key: &'static str,
    lifetime: Option<LifetimeExplained>,
    policies: Vec<ShortName>,
    /// The review rows that would hold it.
    held_by: Vec<ShortName>,
    policy_revision: i64,
    claims: Vec<ClaimExplained>,
    violations: Vec<Violation>,
    warnings: Vec<String>,
}

/// The lifetime of a certificate, and what set it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LifetimeExplained {
    asked: Option<Lifetime>,
    given: Lifetime,
    /// `request`, `default`, `cluster`, `policies`, `window` or `ca`.
    set_by: &'static str,
    /// The rows, where it was `policies` or `window`.
    policies: Vec<ShortName>,
    not_before: Time,
    not_after: Time,
}

impl LifetimeExplained {
    fn of(lifespan: &Lifespan, asked: Option<Lifetime>, now: Time) -> Self {
        let (set_by, policies) = match &lifespan.set_by {
            SetBy::Request => ("request", Vec::new()),
            SetBy::Default => ("default", Vec::new()),
            SetBy::Cluster => ("cluster", Vec::new()),
            SetBy::Rows(rows) => ("policies", rows.clone()),
            SetBy::Window(rows) => ("window", rows.clone()),
            SetBy::Authority => ("ca", Vec::new()),
        };
        let seconds = u32::try_from(lifespan.not_after.seconds_since(now)).unwrap_or_default();
        Self {
            asked,
            given: Lifetime::from_seconds(seconds),
            set_by,
            policies,
            not_before: lifespan.not_before,
            not_after: lifespan.not_after,
        }
    }

    /// In a sentence.
    #[must_use]
    pub fn sentence(&self) -> String {
        let by = match self.set_by {
            "request" => "as asked".to_owned(),
            "default" => "the cluster's default".to_owned(),
            "cluster" => "the most that the cluster gives".to_owned(),
            "ca" => "what is left of the CA".to_owned(),
            set_by => {
                let names: Vec<&str> = self.policies.iter().map(ShortName::as_str).collect();
                let until = if set_by == "window" { ", until its window ends" } else { "" };
                format!("the most that {} gives{until}", names.join(", "))
            }
        };
        format!("{}, until {}: {by}", self.given, self.not_after)
    }
}

impl Evaluation {
    /// What `policies` say to `supposed` at this moment. This takes as long as the set is large: it has a
    /// thread of its own in the service.
    #[must_use]
    pub fn of(
        policies: &PolicySet,
        rules: &Clusters,
        supposed: &Supposed,
        moment: Moment<'_>,
        audience: Audience,
    ) -> Self {
        let (question, now) = (supposed.question(), moment.now);
        let explained = policies.explain(rules, &supposed.caller, question, moment, audience);
        let Explanation { verdict, claims, policies: deciding, lifetime } = explained;
        let cut = lifetime.as_ref().and_then(|lifespan| lifespan.warning.clone());
        let violations = verdict.violations().to_vec();
        let held_by = verdict.reviews().to_vec();
        let (outcome, code, detail) = told(verdict, &supposed.cluster);
        Self {
            outcome,
            code,
            detail,
            caller: supposed.caller.to_string(),
            caller_groups: supposed.caller.groups.iter().map(ToString::to_string).collect(),
            on_behalf_of: supposed.on_behalf_of.as_ref().map(ToString::to_string),
            on_behalf_of_proof: supposed.caller.proven.is_some(),
            cluster: supposed.cluster.to_string(),
            user: supposed.user.to_string(),
            groups: supposed.groups.iter().map(ToString::to_string).collect(),
            key: supposed.key.as_str(),
            lifetime: lifetime.map(|lifespan| LifetimeExplained::of(&lifespan, supposed.ttl, now)),
            policies: deciding,
            held_by,
            policy_revision: policies.revision(),
            claims,
            violations,
            warnings: supposed.warnings.iter().cloned().chain(cut).collect(),
        }
    }

    /// Whether a certificate would be issued, at once or when people approve it.
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        self.code.is_none()
    }

    /// `allowed`, `held`, `refused` or `unavailable`.
    #[must_use]
    pub fn outcome(&self) -> &'static str {
        self.outcome
    }

    /// Why not, in the words of the refusal.
    #[must_use]
    pub fn detail(&self) -> Option<&str> {
        self.detail.as_deref()
    }

    /// Every claim on every cluster that counts.
    #[must_use]
    pub fn claims(&self) -> &[ClaimExplained] {
        &self.claims
    }

    /// None where nothing would be issued.
    #[must_use]
    pub fn lifetime(&self) -> Option<&LifetimeExplained> {
        self.lifetime.as_ref()
    }

    /// What was cut, dropped or taken once, and what the token of the caller lacks.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

/// The outcome, and code and sentence of the error where it is one.
fn told(verdict: Verdict, cluster: &ShortName) -> (&'static str, Option<&'static str>, Option<String>) {
    match verdict {
        Verdict::Allowed { .. } => ("allowed", None, None),
        Verdict::Held { .. } => ("held", None, None),
        Verdict::Refused { refusal, rows } => {
            let error = AppError::of_refusal(refusal, rows, cluster);
            let outcome = if error.is_refusal() { "refused" } else { "unavailable" };
            (outcome, Some(error.code()), Some(error.to_string()))
        }
    }
}

impl App {
    /// What would be decided, and why. A requester asks for itself and is told what its refusals tell;
    /// an auditor or an admin asks for anyone and sees every row.
    ///
    /// # Errors
    /// `RoleMissing` where a requester names another caller or supposes a proof; `OnBehalfOfNotAllowed` where it may name
    /// nobody; `ParameterInvalid` and what [`Supposed::read`] says; `LedgerUnavailable`.
    pub async fn evaluate(
        &self,
        principal: &Principal,
        command: &EvaluateCommand,
    ) -> Result<Evaluation, AppError> {
        let state = self.refresh().await?;
        let now = self.clock.now();
        let reader = principal.roles.admin || principal.roles.auditor;
        let caller = asked_caller(principal, reader, command)?;
        if command.proof.is_some() && !reader {
            return Err(AppError::RoleMissing("auditor or admin"));
        }
        let own = caller == principal.caller;
        if own && !reader && command.on_behalf_of.is_some() && !principal.on_behalf_of {
            return Err(AppError::OnBehalfOfNotAllowed);
        }
        let mut supposed = Supposed::read(command, caller, &state.served.rules)?;
        if reader {
            supposed.warnings.extend(token_warnings(&state, &supposed, now));
        }
        let audience = if reader { Audience::Reader } else { Audience::Requester };
        let spent = used_up(&self.store, &state.policies, &state.served.rules, &supposed, now).await?;
        self.explained(&state, supposed, now, spent, audience).await
    }

    /// The reasons of a dry run that would have been signed or held, for its requester.
    pub(super) async fn explained_preview(
        &self,
        state: &State,
        caller: &Caller,
        ask: &Ask,
        now: Time,
        spent: Vec<Spent>,
    ) -> Result<(Option<LifetimeExplained>, Vec<ClaimExplained>), AppError> {
        let supposed = Supposed::of(ask, caller);
        let evaluation = self.explained(state, supposed, now, spent, Audience::Requester).await?;
        Ok((evaluation.lifetime, evaluation.claims))
    }

    /// One at a time and beside the requests that are signed: the work grows with the policy set.
    async fn explained(
        &self,
        state: &State,
        supposed: Supposed,
        now: Time,
        spent: Vec<Spent>,
        audience: Audience,
    ) -> Result<Evaluation, AppError> {
        let broken = |_| AppError::Internal("explaining broke off".to_owned());
        let turn = Arc::clone(&self.explaining).acquire_owned().await;
        let turn = turn.map_err(|_| AppError::Internal("nothing is explained any more".to_owned()))?;
        let (policies, rules) = (Arc::clone(&state.policies), Arc::clone(&state.served.rules));
        let working = tokio::task::spawn_blocking(move || {
            // Held until the work is done, also where nobody waits for it any more.
            let _turn = turn;
            Evaluation::of(&policies, &rules, &supposed, Moment { now, spent: &spent }, audience)
        });
        working.await.map_err(broken)
    }
}

/// The rows that have given to the user name what they may, as a request that is signed counts them.
///
/// # Errors
/// What reading the ledger says.
pub async fn used_up(
    store: &Store,
    policies: &PolicySet,
    rules: &Clusters,
    supposed: &Supposed,
    now: Time,
) -> Result<Vec<Spent>, StoreError> {
    let mut spent = Vec::new();
    loop {
        let moment = Moment { now, spent: &spent };
        let limits = policies.limits_on(rules, &supposed.caller, supposed.question(), moment);
        if limits.is_empty() {
            return Ok(spent);
        }
        match store.allowance(&supposed.user, &limits, now).await? {
            Counted::Left(_) => return Ok(spent),
            Counted::UsedUp(more) => spent.extend(more),
        }
    }
}

/// Who is asked about. What the one who asks shows is known.
fn asked_caller(principal: &Principal, reader: bool, command: &EvaluateCommand) -> Result<Caller, AppError> {
    let own = principal.caller.to_string();
    match command.caller.as_deref() {
        Some(text) if reader => named_caller(text, command),
        Some(text) if text != own => Err(AppError::RoleMissing("auditor or admin")),
        _ if !command.caller_groups.is_empty() => {
            Err(invalid("caller_groups", "they are for a caller that is named: yours are known"))
        }
        _ if !command.caller_claims.is_empty() => {
            Err(invalid("caller_claims", "they are for a caller that is named: yours are known"))
        }
        _ => Ok(principal.caller.clone()),
    }
}

/// What the policy does not see: whether the token would get as far.
fn token_warnings(state: &State, supposed: &Supposed, now: Time) -> Vec<String> {
    let caller = &supposed.caller;
    if caller.kind != CallerKind::Token {
        return Vec::new();
    }
    let live = state.snapshot.tokens.values().find(|token| {
        token.name.as_str() == caller.name && token.revoked_at.is_none() && now < token.expires_at
    });
    let Some(token) = live else {
        return vec![format!("no token named {} is live", caller.name)];
    };
    let mut warnings = Vec::new();
    if !token.roles.iter().any(|role| role == "requester") {
        warnings.push(format!("the token {} has not the role requester", caller.name));
    }
    if supposed.on_behalf_of.is_some() && !token.on_behalf_of {
        warnings.push(format!("the token {} may not name another person", caller.name));
    }
    warnings
}

fn name(field: &str, text: &str) -> Result<Name, AppError> {
    Name::parse(text).map_err(|error| invalid(field, &error.to_string()))
}

/// Each group once, in order, with a warning for each that was written again.
fn groups(texts: &[String]) -> Result<(Vec<Name>, Vec<String>), AppError> {
    let (mut groups, mut warnings) = (Vec::new(), Vec::new());
    for text in texts {
        let group = name("groups", text)?;
        if groups.contains(&group) {
            warnings.push(format!("group `{group}` is given more than once and taken once"));
        } else if groups.len() == MOST_GROUPS {
            return Err(invalid("groups", &format!("there are more than {MOST_GROUPS}")));
        } else {
            groups.push(group);
        }
    }
    Ok((groups, warnings))
}

fn cluster(asked: Option<&str>, rules: &Clusters) -> Result<ShortName, AppError> {
    let names: Vec<&ShortName> = rules.rules.iter().map(|rules| &rules.name).collect();
    let known = || {
        let mut known: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
        known.sort_unstable();
        known.join(", ")
    };
    match (asked, names.as_slice()) {
        (None, [only]) => Ok((*only).clone()),
        (None, _) => Err(AppError::ClusterRequired(known())),
        (Some(asked), names) => {
            let found = names.iter().find(|name| name.as_str() == asked).map(|name| (*name).clone());
            let unknown =
                || AppError::ClusterUnknown { asked: asked.chars().take(64).collect(), known: known() };
            found.ok_or_else(unknown)
        }
    }
}

fn key(text: &str) -> Result<KeyKind, AppError> {
    let kinds = || KeyKind::ALL.map(KeyKind::as_str).join(", ");
    KeyKind::parse(text).ok_or_else(|| invalid("key", &format!("it is one of {}", kinds())))
}

fn invalid(field: &str, reason: &str) -> AppError {
    AppError::ParameterInvalid(format!("{field}: {reason}"))
}
