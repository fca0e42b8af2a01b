//! `POST /v1/sign`: the whole path on one page.

use std::sync::Arc;

use crate::ca::Signed;
use crate::caller::Caller;
use crate::pki::csr::{self, CertRequest};
use crate::pki::name::{Name, ShortName};
use crate::pki::serial::Serial;
use crate::policy::{Approved, Ask, Decision, Evidence, Moment, Spent};
use crate::random;
use crate::store::{Allowance, Collects, Counted, Issuance, RecordError, Recorded, RefusalError};
use crate::time::Time;

use super::command::{Preview, SignCommand, SignOutcome};
use super::proof::PersonProof;
use super::refuse::Wish;
use super::retry::{self, Claimed};
use super::{ATTEMPTS, App, AppError, CLOCK_TOLERANCE, State, renewal};

/// Why an attempt gave no certificate.
pub(super) enum Stopped {
    /// What it was decided on has changed since: decide again.
    Changed,
    /// For good.
    By(AppError),
}

/// A decision within the limits of its rows.
struct Limited {
    decision: Decision,
    /// What is left of them.
    allowance: Allowance,
    /// The rows that it was decided without.
    spent: Vec<Spent>,
}

/// For which cluster, and for which person, something is asked.
#[derive(Clone, Debug)]
pub(super) struct Addressed {
    /// The one that was named, or the only one.
    pub(super) cluster: ShortName,
    /// Whom a portal names.
    pub(super) on_behalf_of: Option<Name>,
}

impl<E: Into<AppError>> From<E> for Stopped {
    fn from(error: E) -> Self {
        Self::By(error.into())
    }
}

impl App {
    /// Decides on a CSR, signs and records it; or records why not. What is seldom waited for is boxed here and
    /// below, so that every other request does not carry the room for it.
    ///
    /// # Errors
    /// Every refusal and failure of [`AppError`]. Nothing that was signed has left when it is one.
    pub async fn sign(&self, command: &mut SignCommand) -> Result<SignOutcome, AppError> {
        let proven = self.prove(command).await;
        let command = &*command;
        let addressed = self.addressed(command)?;
        let _turn = self.turns.take(&command.origin.caller).await;
        let read = match proven {
            Ok(()) => self.read_ask(command, &addressed).await,
            Err(error) => Err(error),
        };
        let ask = match read {
            Ok(ask) => ask,
            Err(error) => {
                let wish = Wish::unread(command, addressed);
                return Err(Box::pin(self.refuse(&command.origin, &wish, error)).await);
            }
        };
        // What a dry run says, and what voids an approval, is not caught by the recording transaction.
        let fresh = command.dry_run || command.collects.is_some();
        let mut state = if fresh { Box::pin(self.refresh()).await? } else { self.state() };
        for _ in 0..ATTEMPTS {
            let stopped = match self.attempt(command, ask.clone(), &state).await {
                Ok(outcome) => return Ok(outcome),
                Err(Stopped::By(error)) => Box::pin(self.settle(command, &ask, &state, error)).await,
                Err(Stopped::Changed) => Stopped::Changed,
            };
            match stopped {
                Stopped::By(error) => return Err(error),
                Stopped::Changed => state = Box::pin(self.refresh()).await?,
            }
        }
        Err(AppError::PolicyChanging)
    }

    /// The cluster and the person that are named: what is wrong with them is a 400, whatever the CSR is like.
    pub(super) fn addressed(&self, command: &SignCommand) -> Result<Addressed, AppError> {
        let renewed = renewal::shown(&command.principal).map(|own| own.cluster.as_str());
        if let (Some(own), Some(asked)) = (renewed, command.cluster.as_deref())
            && own != asked
        {
            let text = format!("cluster: this certificate is for {own}, and is renewed there");
            return Err(AppError::ParameterInvalid(text));
        }
        let asked = renewed.or(command.cluster.as_deref());
        let cluster = self.state().served.cluster(asked)?.name.clone();
        let on_behalf_of = command.on_behalf_of.as_deref().map(Name::parse).transpose();
        let on_behalf_of =
            on_behalf_of.map_err(|error| AppError::ParameterInvalid(format!("on_behalf_of: {error}")))?;
        Ok(Addressed { cluster, on_behalf_of })
    }

    /// From foreign bytes to what is decided on.
    async fn read_ask(&self, command: &SignCommand, addressed: &Addressed) -> Result<Ask, AppError> {
        if !command.principal.roles.requester && renewal::shown(&command.principal).is_none() {
            return Err(AppError::RoleMissing("requester"));
        }
        let Addressed { cluster, on_behalf_of } = addressed.clone();
        // Handing a quick one to another thread would cost as much as checking it.
        let request = if csr::is_quick_to_check(&command.csr) {
            CertRequest::parse(&command.csr)?
        } else {
            let csr = command.csr.clone();
            self.signers.run(move || CertRequest::parse(&csr)).await??
        };
        renewal::check_names(&command.principal, &request)?;
        Ok(Ask { cluster, request, ttl: command.ttl, on_behalf_of })
    }

    /// The one way to a certificate: decide, sign, record.
    async fn attempt(&self, command: &SignCommand, ask: Ask, state: &State) -> Result<SignOutcome, Stopped> {
        let now = self.clock.now();
        let idempotency = retry::idempotency(command, &ask);
        let _in_flight = match self.claim(command, idempotency.as_ref(), now).await? {
            Claimed::Before(certificate) => {
                let cut = cut_warning(&certificate);
                let warnings = ask.request.warnings().iter().cloned().chain(cut).collect();
                return Ok(SignOutcome::Replayed { certificate, warnings });
            }
            Claimed::Held(request) => {
                let warnings = ask.request.warnings().to_vec();
                return Ok(SignOutcome::Held { request, replayed: true, warnings });
            }
            Claimed::Now(in_flight) => in_flight,
        };
        let evidence = self.evidence(command, now).await?;
        let limited = self.decide_within_limits(state, command, ask, now, evidence.as_ref()).await?;
        if command.dry_run {
            return Box::pin(self.preview(state, &command.caller(), limited, now)).await;
        }
        let approved = match limited.decision {
            Decision::Approved(approved) => approved,
            Decision::Held(held) => {
                return Box::pin(self.hold(command, held, state, idempotency, now)).await;
            }
        };
        let warnings = approved.warnings().to_vec();
        let issuance = Issuance {
            signed: self.signed(state, approved).await?,
            at: now,
            origin: command.origin.clone(),
            reason: command.reason.clone(),
            allowance: limited.allowance,
            seen: state.snapshot.revisions,
            idempotency,
            renews: renewal::renews(&command.principal),
            collects: command.collects.map(|id| Collects { id, own: command.principal.identity.own.clone() }),
            proof: command.proof.as_ref().map(PersonProof::record),
        };
        match self.store.record(issuance).await {
            Ok(recorded) => {
                self.metrics.issued(&recorded.cluster);
                Ok(SignOutcome::Issued { certificate: Box::new(recorded), warnings })
            }
            // Whoever took the key, the last that a limit left, or the request, has its certificate by now,
            // and the next attempt finds it.
            Err(
                RecordError::Stale
                | RecordError::IdempotencyKeyTaken
                | RecordError::LimitReached
                | RecordError::RequestMoved,
            ) => Err(Stopped::Changed),
            Err(error) => Err(error.into()),
        }
    }

    /// What would be issued. What the recording transaction enforces, the clock and the key's owner,
    /// is looked up here.
    async fn preview(
        &self,
        state: &State,
        caller: &Caller,
        limited: Limited,
        now: Time,
    ) -> Result<SignOutcome, Stopped> {
        let Limited { decision, spent, .. } = limited;
        let health = self.store.health().await?;
        if health.newest_record.is_some_and(|newest| newest.seconds_since(now) > CLOCK_TOLERANCE) {
            return Err(AppError::ClockBehind.into());
        }
        if health.clock_is_off(now, CLOCK_TOLERANCE) {
            return Err(AppError::ClockOff.into());
        }
        let request = &decision.ask().request;
        let owner = self.store.key_owner(request.key().spki_sha256()).await?;
        if owner.is_some_and(|owner| owner != request.user().as_str()) {
            return Err(AppError::KeyOwned.into());
        }
        let explained = self.explained_preview(state, caller, decision.ask(), now, spent).await?;
        Ok(SignOutcome::Previewed(Box::new(Preview::of(&decision, explained))))
    }

    /// Decides; where a limit of a deciding row is used up, once more without that row. Each time there
    /// is a row less, so it ends.
    async fn decide_within_limits(
        &self,
        state: &State,
        command: &SignCommand,
        ask: Ask,
        now: Time,
        evidence: Option<&Evidence>,
    ) -> Result<Limited, Stopped> {
        let mut spent = Vec::new();
        let mut decision = self.decide(state, command, ask, now.into(), evidence)?;
        while !decision.limits().is_empty() {
            let user = decision.ask().request.user();
            match Box::pin(self.store.allowance(user, decision.limits(), now)).await? {
                Counted::Left(allowance) => return Ok(Limited { decision, allowance, spent }),
                Counted::UsedUp(more) => spent.extend(more),
            }
            let moment = Moment { now, spent: &spent };
            decision = self.decide(state, command, decision.ask().clone(), moment, evidence)?;
        }
        Ok(Limited { decision, allowance: Allowance::default(), spent })
    }

    /// The caller, the key and the policy, as they stand in `state`; with what was approved, where a
    /// held request is collected.
    fn decide(
        &self,
        state: &State,
        command: &SignCommand,
        ask: Ask,
        moment: Moment<'_>,
        evidence: Option<&Evidence>,
    ) -> Result<Decision, AppError> {
        if ask.on_behalf_of.is_some() && !command.principal.on_behalf_of {
            return Err(AppError::OnBehalfOfNotAllowed);
        }
        self.recheck(&command.principal, state, moment.now)?;
        state.served.cluster(Some(ask.cluster.as_str()))?;
        self.recheck_proof(command, state, moment.now)?;
        if state.snapshot.blocked_keys.contains(&ask.request.key().spki_sha256()) {
            return Err(AppError::KeyBlocked);
        }
        let (policies, caller) = (&state.policies, command.caller());
        let decision = match evidence {
            None => policies.decide_without(&state.served.rules, &caller, ask, moment.now, moment.spent),
            Some(evidence) => policies.decide_reviewed(&state.served.rules, &caller, ask, moment, evidence),
        };
        let decision = decision.map_err(|refused| AppError::from(*refused))?;
        renewal::limited(&command.principal, state, decision, moment.now)
    }

    /// Records a refusal under the state that it was decided on; other failures pass.
    async fn settle(&self, command: &SignCommand, ask: &Ask, state: &State, error: AppError) -> Stopped {
        if command.dry_run || !error.is_refusal() {
            return Stopped::By(error);
        }
        if let Err(error) = self.count_refusal(&command.origin) {
            return Stopped::By(error);
        }
        let wish = Wish::read(command, ask);
        match self.record_refusal(&command.origin, &wish, state, &error).await {
            Ok(()) => Stopped::By(error),
            Err(RefusalError::Stale) => Stopped::Changed,
            Err(failure) => Stopped::By(failure.into()),
        }
    }

    /// Signs, on a thread of its own where it takes long: an RSA signature would hold up every
    /// other request.
    async fn signed(&self, state: &State, approved: Approved) -> Result<Signed, AppError> {
        let cluster = state.served.cluster(Some(approved.cluster().as_str()))?;
        let serial = Serial::from_random(random::octets()?);
        if cluster.authority.is_quick() {
            return Ok(cluster.authority.sign(approved, serial)?);
        }
        let authority = Arc::clone(&cluster.authority);
        Ok(self.signers.run(move || authority.sign(approved, serial)).await??)
    }
}

/// The ledger keeps no warnings, but both lifetimes.
fn cut_warning(certificate: &Recorded) -> Option<String> {
    let asked = certificate.asked_ttl?;
    let cut = certificate.issued_at.after(asked) > certificate.not_after;
    cut.then(|| {
        format!("the lifetime was cut from {asked}: the certificate ends at {}", certificate.not_after)
    })
}
