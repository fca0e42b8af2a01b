//! Held requests: holding, reading, approving, denying, withdrawing, collecting.

use std::time::{Duration, Instant};

use crate::audit::Origin;
use crate::auth::Principal;
use crate::policy::{Approver, Evidence, Held, Objection, review};
use crate::random;
use crate::store::requests::{Hold, RequestToHold, Said, Word};
use crate::store::{
    HeldId, HeldRequest, HeldState, Idempotency, RecordError, RequestFilter, Span, StoreError,
};
use crate::time::{Lifetime, Time};

use super::command::{SignCommand, SignOutcome};
use super::issue::Stopped;
use super::proof::{PersonProof, PersonToken};
use super::refuse::Wish;
use super::{ATTEMPTS, App, AppError, State};

/// How many may wait at once for people to approve. Further ones are answered at once.
pub(super) const WAITING: usize = 256;

/// How often one who waits looks. Approvals come by other processes too.
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);

/// How many rows are read at a time where not all of them may be shown, and how often.
const PAGE: u32 = 200;
const PAGES: usize = 10;

/// What held requests may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReviewLimits {
    /// How long a request can be approved and its certificate collected.
    pub lapse: Lifetime,
    /// How many of one caller's may be pending.
    pub pending_per_caller: u32,
}

impl Default for ReviewLimits {
    fn default() -> Self {
        Self { lapse: Lifetime::from_seconds(3_600), pending_per_caller: 20 }
    }
}

/// What an approver says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Approve,
    Deny,
}

/// Some requests, and where the next ones begin.
#[derive(Debug)]
pub struct RequestPage {
    pub requests: Vec<HeldRequest>,
    /// The number behind which there may be more.
    pub next: Option<i64>,
}

impl App {
    /// What was approved of the request that `command` collects; none where it collects nothing.
    pub(super) async fn evidence(
        &self,
        command: &SignCommand,
        now: Time,
    ) -> Result<Option<Evidence>, AppError> {
        let Some(id) = command.collects else { return Ok(None) };
        let found = Box::pin(self.store.request_with_evidence(id, now)).await?;
        let (request, evidence) = found.ok_or_else(nowhere)?;
        if !command.principal.identity.own.holds(&request.origin.caller, request.number) {
            return Err(nowhere());
        }
        match request.state {
            HeldState::Approved => {}
            HeldState::Pending => return Err(AppError::RequestNotApproved),
            closed => return Err(AppError::RequestClosed(closed)),
        }
        if self.state().served.cluster(Some(&request.cluster))?.authority.spki_sha256() != request.authority {
            let why = "another CA signs for this cluster now";
            Box::pin(self.store.void_request(id, why, None, now, &command.origin)).await?;
            return Err(AppError::RequestVoided);
        }
        Ok(Some(evidence))
    }

    /// Holds what was decided; voids it where it was approved and is to be held again.
    pub(super) async fn hold(
        &self,
        command: &SignCommand,
        held: Held,
        state: &State,
        idempotency: Option<Idempotency>,
        now: Time,
    ) -> Result<SignOutcome, Stopped> {
        if let Some(id) = command.collects {
            let why = "deciding again gave something else than was approved";
            let seen = Some(state.snapshot.revisions);
            return match self.store.void_request(id, why, seen, now, &command.origin).await {
                Err(StoreError::Stale) => Err(Stopped::Changed),
                Err(error) => Err(error.into()),
                Ok(_) => Err(AppError::RequestVoided.into()),
            };
        }
        let warnings = held.warnings().to_vec();
        let most = self.review_limits.pending_per_caller;
        let wish = RequestToHold {
            id: HeldId(random::octets()?),
            authority: state.served.cluster(Some(held.ask().cluster.as_str()))?.authority.spki_sha256(),
            held,
            csr: command.csr.clone(),
            at: now,
            origin: command.origin.clone(),
            owner: command.principal.owner.clone(),
            own: command.principal.identity.own.clone(),
            reason: command.reason.clone(),
            lapses_at: now.after(self.review_limits.lapse),
            most_pending: most,
            seen: state.snapshot.revisions,
            proof: command.proof.as_ref().map(PersonProof::record),
            idempotency,
        };
        match self.store.hold(wish).await {
            Ok(Hold::New(request) | Hold::Before(request)) => {
                Ok(SignOutcome::Held { request, replayed: false, warnings })
            }
            Ok(Hold::TooMany) => Err(AppError::TooManyPending { most }.into()),
            Err(RecordError::Stale | RecordError::IdempotencyKeyTaken) => Err(Stopped::Changed),
            Err(error) => Err(error.into()),
        }
    }

    /// Issues the certificate of an approved request, decided again; or gives it back, where it was
    /// collected before. What was refused today is void, but for the person's token.
    ///
    /// # Errors
    /// `NotFound`, `RequestNotApproved`, `RequestClosed`, `RequestVoided`; else as for [`App::sign`].
    pub async fn collect(
        &self,
        principal: &Principal,
        origin: &Origin,
        id: HeldId,
        person_token: Option<PersonToken>,
    ) -> Result<SignOutcome, AppError> {
        let now = self.clock.now();
        let own =
            |request: &HeldRequest| principal.identity.own.holds(&request.origin.caller, request.number);
        let request = self.store.request(id, now).await?.filter(own).ok_or_else(nowhere)?;
        let csr = match (request.state, request.csr) {
            (HeldState::Collected, _) => return self.collected(request.certificate, now).await,
            (HeldState::Pending, _) => return Err(AppError::RequestNotApproved),
            (HeldState::Approved, Some(csr)) => csr,
            (closed, _) => return Err(AppError::RequestClosed(closed)),
        };
        let mut command = SignCommand {
            cluster: Some(request.cluster),
            ttl: request.asked_ttl,
            on_behalf_of: request.on_behalf_of,
            person_token,
            reason: request.reason,
            collects: Some(id),
            held_proof: request.proof,
            ..SignCommand::of(principal.clone(), origin.clone(), csr)
        };
        let outcome = self.sign(&mut command).await;
        match &outcome {
            // Another request of the same caller came first.
            Err(AppError::RequestClosed(HeldState::Collected)) => {
                let request = self.store.request(id, now).await?.ok_or_else(nowhere)?;
                self.collected(request.certificate, now).await
            }
            // Another token may be a better one.
            Err(AppError::ProofNotAccepted(_)) => outcome,
            Err(error) if error.is_refusal() => {
                self.store.void_request(id, "it is refused today", None, now, origin).await?;
                outcome
            }
            _ => outcome,
        }
    }

    /// A request that this caller may see, as it stands.
    ///
    /// # Errors
    /// `NotFound`, also for what belongs to another caller.
    pub async fn request(&self, principal: &Principal, id: HeldId) -> Result<HeldRequest, AppError> {
        let found = self.store.request(id, self.clock.now()).await?;
        found.filter(|request| may_see(principal, request)).ok_or_else(nowhere)
    }

    /// Requests that this caller may see: its own, those that it may be asked to approve, or all for an
    /// auditor.
    ///
    /// # Errors
    /// `ClusterUnknown`, `LedgerUnavailable`.
    pub async fn requests(
        &self,
        principal: &Principal,
        mut filter: RequestFilter,
        span: Span,
    ) -> Result<RequestPage, AppError> {
        self.check_cluster(filter.cluster.as_deref()).await?;
        let roles = principal.roles;
        if !roles.auditor && !roles.approver {
            let own = principal.identity.own.clone();
            filter.own = match filter.caller.take() {
                None => Some(own),
                Some(asked) => own.under(&asked),
            };
            if filter.own.is_none() {
                return Ok(RequestPage { requests: Vec::new(), next: None });
            }
        }
        let wanted = usize::try_from(span.limit).unwrap_or(usize::MAX);
        let mut page = RequestPage { requests: Vec::new(), next: None };
        let mut rest = Span { limit: PAGE, ..span };
        for _ in 0..PAGES {
            let rows = self.store.requests(&filter, rest, self.clock.now()).await?;
            let is_last = rows.len() < usize::try_from(PAGE).unwrap_or(usize::MAX);
            for request in rows {
                if page.requests.len() >= wanted {
                    return Ok(page);
                }
                page.next = Some(request.number);
                rest = rest.behind(request.number);
                if may_see(principal, &request) {
                    page.requests.push(request);
                }
            }
            if is_last {
                return Ok(RequestPage { next: None, ..page });
            }
        }
        Ok(page)
    }

    /// Takes an approver's word.
    ///
    /// # Errors
    /// `RoleMissing`; `NotFound` where no review row names the approver; `RequestClosed`,
    /// `RequestVoided`, `AlreadyApproved`; `ApprovalNotAllowed`, which is recorded.
    pub async fn answer_request(
        &self,
        principal: &Principal,
        origin: &Origin,
        id: HeldId,
        comment: Option<String>,
        answer: Answer,
    ) -> Result<HeldRequest, AppError> {
        if !principal.roles.approver {
            return Err(AppError::RoleMissing("approver"));
        }
        for _ in 0..ATTEMPTS {
            let state = self.refresh().await?;
            let now = self.clock.now();
            self.recheck(principal, &state, now)?;
            let word = Word {
                id,
                approver: Approver::Caller(principal.caller.clone()),
                credential: principal
                    .credential
                    .token_id()
                    .map(|id| (id.to_owned(), principal.owner.clone())),
                seen_tokens: Some(state.snapshot.revisions.tokens),
                comment: comment.clone(),
                at: now,
                origin: origin.clone(),
            };
            let said = match answer {
                Answer::Approve => self.store.approve_request(word).await,
                Answer::Deny => self.store.deny_request(word).await,
            };
            match said {
                Err(StoreError::Stale) => {}
                Err(error) => return Err(error.into()),
                Ok(said) => return self.told(said, origin).await,
            }
        }
        Err(AppError::PolicyChanging)
    }

    /// Takes a request of this caller back.
    ///
    /// # Errors
    /// `NotFound`, also for another caller's; `RequestClosed`.
    pub async fn withdraw_request(
        &self,
        principal: &Principal,
        origin: &Origin,
        id: HeldId,
    ) -> Result<(), AppError> {
        let found = self.store.request(id, self.clock.now()).await?;
        let own = |request: HeldRequest| principal.identity.own.holds(&request.origin.caller, request.number);
        if !found.is_some_and(own) {
            return Err(nowhere());
        }
        for _ in 0..ATTEMPTS {
            let state = self.refresh().await?;
            let now = self.clock.now();
            self.recheck(principal, &state, now)?;
            let seen = state.snapshot.revisions.tokens;
            match self.store.withdraw_request(id, &principal.identity.own, seen, now, origin).await {
                Err(StoreError::Stale) => {}
                Err(error) => return Err(error.into()),
                Ok(None) => return Err(nowhere()),
                Ok(Some(before)) if before.is_open() => return Ok(()),
                Ok(Some(closed)) => return Err(AppError::RequestClosed(closed)),
            }
        }
        Err(AppError::PolicyChanging)
    }

    /// Waits until the request is no longer pending, for as long as `longest`. Holds nothing of the
    /// ledger meanwhile.
    ///
    /// # Errors
    /// `LedgerUnavailable`.
    pub async fn wait_for_request(&self, id: HeldId, longest: Duration) -> Result<(), AppError> {
        let Ok(_one_of_few) = self.waiting.try_acquire() else { return Ok(()) };
        let started = Instant::now();
        while self.store.request_state(id, self.clock.now()).await? == Some(HeldState::Pending) {
            let left = longest.saturating_sub(started.elapsed());
            if left.is_zero() {
                break;
            }
            tokio::time::sleep(left.min(BETWEEN_LOOKS)).await;
        }
        Ok(())
    }

    /// Ends every request whose time is over, so that its CSR is erased, and counts those that wait. To be
    /// called every half minute.
    pub async fn lapse_requests(&self) {
        let lapsed = async {
            while self.store.lapse_requests(self.clock.now()).await? > 0 {}
            self.store.pending_requests(self.clock.now()).await
        };
        match lapsed.await {
            Ok(pending) => self.metrics.pending_requests(pending),
            Err(error) => tracing::error!(%error, "requests whose time is over could not be ended"),
        }
    }

    async fn told(&self, said: Said, origin: &Origin) -> Result<HeldRequest, AppError> {
        match said {
            Said::Taken(request) => Ok(*request),
            Said::NotFound => Err(nowhere()),
            Said::NotPending(HeldState::Approved) | Said::Objection(_, Objection::Already) => {
                Err(AppError::AlreadyApproved)
            }
            Said::NotPending(state) => Err(AppError::RequestClosed(state)),
            Said::Voided => Err(AppError::RequestVoided),
            Said::Objection(request, objection) => {
                let error = AppError::ApprovalNotAllowed(objection);
                Err(self.refuse(origin, &Wish::held(&request), error).await)
            }
        }
    }

    /// The certificate that was collected before.
    async fn collected(&self, number: Option<i64>, now: Time) -> Result<SignOutcome, AppError> {
        let closed = || AppError::RequestClosed(HeldState::Collected);
        let certificate = self.store.certificate(number.ok_or_else(closed)?).await?;
        let live = certificate.filter(|certificate| certificate.not_after >= now).ok_or_else(closed)?;
        Ok(SignOutcome::Replayed { certificate: Box::new(live), warnings: Vec::new() })
    }
}

fn may_see(principal: &Principal, request: &HeldRequest) -> bool {
    let roles = principal.roles;
    let own = roles.requester && principal.identity.own.holds(&request.origin.caller, request.number);
    let asked = || review::concerns(request.reviews.iter(), &Approver::Caller(principal.caller.clone()));
    roles.auditor || own || (roles.approver && asked())
}

fn nowhere() -> AppError {
    AppError::NotFound("there is no such request".to_owned())
}
