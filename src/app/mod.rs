//! The use cases: what the service does, without saying how it is asked.

mod callers;
pub mod check;
pub mod cluster;
pub mod command;
pub mod error;
pub mod evaluate;
pub mod exports;
pub mod failures;
pub mod identities;
pub mod issue;
pub mod keys;
mod limiter;
mod logins;
pub mod policies;
pub mod proof;
pub mod rates;
pub mod reading;
pub mod reads;
mod refusal_cap;
mod refuse;
mod renewal;
pub mod requests;
mod retry;
pub mod served;
mod signers;
mod token_uses;
pub mod tokens;
mod turns;

use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Instant;

use tokio::sync::Semaphore;

use crate::auth::{AuthError, Ways};
use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::policy::{Clusters, PolicySet};
use crate::store::{Health, Snapshot, Store, StoreError};
use crate::time::{Lifetime, Time};
pub use cluster::{Cluster, ClusterSettings};
pub use error::AppError;
pub use failures::FailureLimits;
pub use rates::{Rate, RateLimits};
pub use refusal_cap::RefusalLimits;
pub use requests::ReviewLimits;
pub use served::Served;
use signers::Signers;

/// How far this machine's clock may stand behind the newest record, in seconds.
pub const CLOCK_TOLERANCE: i64 = 60;

/// How often something is done again because a policy, a token or a blocked key changed between
/// check and record.
const ATTEMPTS: u32 = 3;

/// How many counts run at once: the ledger's other readers keep connections of their own. Not among the
/// exports, which slow clients hold up.
const COUNTS: usize = 1;

/// The policy set and the credentials that hold at one revision, compiled.
pub struct State {
    pub snapshot: Snapshot,
    pub policies: Arc<PolicySet>,
    /// Why the stored set is not `policies`, which then allows nothing.
    pub broken_policies: Option<String>,
    /// What is signed for.
    pub served: Arc<Served>,
}

impl State {
    /// What holds after `held`. Tokens and blocked keys hold at once, whatever the rows are like: a
    /// set that this version or configuration does not understand allows nothing.
    fn after(held: &Self, snapshot: Snapshot) -> Self {
        let served = Arc::clone(&held.served);
        if snapshot.revisions.policy == held.snapshot.revisions.policy {
            let policies = Arc::clone(&held.policies);
            return Self { snapshot, policies, broken_policies: held.broken_policies.clone(), served };
        }
        match compile(&snapshot, &served.rules) {
            Ok(policies) => Self { snapshot, policies: Arc::new(policies), broken_policies: None, served },
            Err(error) => {
                tracing::error!(%error, "nothing is issued under this policy set");
                let nothing = PolicySet::none(snapshot.revisions.policy, &served.rules);
                let broken_policies = Some(error.to_string());
                Self { snapshot, policies: Arc::new(nothing), broken_policies, served }
            }
        }
    }
}

/// Everything that a request needs.
pub struct App {
    pub store: Store,
    pub clock: Clock,
    pub metrics: Metrics,
    state: RwLock<Arc<State>>,
    ways: Ways,
    bindings: callers::Bindings,
    refusal_cap: limiter::Keyed<String>,
    rates: rates::Rates,
    failures: failures::Failures,
    in_flight: retry::InFlight,
    signers: Signers,
    turns: Arc<turns::Turns>,
    last_look: Mutex<Option<Instant>>,
    refreshing: tokio::sync::Mutex<()>,
    /// Each export takes one of these until its client has it all.
    pub exports: Arc<exports::Exports>,
    /// Each count takes one of these.
    pub counting: Semaphore,
    reads: reads::Reads,
    token_uses: token_uses::TokenUses,
    logins: logins::Logins,
    /// Who explains a decision takes it; there is one.
    explaining: Arc<Semaphore>,
    review_limits: ReviewLimits,
    /// Who waits for people to approve takes one of these.
    waiting: Semaphore,
}

/// Whether requests can be answered, and what stands in the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// Whether the ledger answers, the clock is right and at least one CA can sign.
    pub ready: bool,
    /// One sentence each; there may be some although the service is ready.
    pub problems: Vec<String>,
}

impl App {
    /// Loads every cluster and the state of the ledger.
    ///
    /// # Errors
    /// What is wrong, in one sentence: a cluster, a CA, the ledger, or a policy set that this
    /// version does not understand.
    pub async fn start(
        settings: Vec<ClusterSettings>,
        store: Store,
        clock: Clock,
        metrics: Metrics,
    ) -> Result<Self, StartError> {
        let served = Arc::new(Served::load(settings)?);
        served.register(&store, &metrics, clock.now()).await?;
        let snapshot = store.snapshot().await?;
        let policies = Arc::new(compile(&snapshot, &served.rules)?);
        let state = RwLock::new(Arc::new(State { snapshot, policies, broken_policies: None, served }));
        metrics.started(clock.now());
        Ok(Self {
            store,
            clock,
            metrics,
            state,
            ways: Ways::default(),
            bindings: callers::Bindings::default(),
            refusal_cap: RefusalLimits::default().cap(),
            rates: rates::Rates::new(RateLimits::default()),
            failures: failures::Failures::new(FailureLimits::default()),
            in_flight: retry::InFlight::default(),
            signers: Signers::start()?,
            turns: Arc::default(),
            last_look: Mutex::new(None),
            refreshing: tokio::sync::Mutex::new(()),
            exports: Arc::default(),
            counting: Semaphore::new(COUNTS),
            reads: reads::Reads::default(),
            token_uses: token_uses::TokenUses::default(),
            logins: logins::Logins::default(),
            explaining: Arc::new(Semaphore::new(1)),
            review_limits: ReviewLimits::default(),
            waiting: Semaphore::new(requests::WAITING),
        })
    }

    /// The same with more ways to authenticate than tokens.
    #[must_use]
    pub fn with_ways(mut self, ways: Ways) -> Self {
        self.ways = ways;
        self
    }

    /// The same with other limits for recorded refusals.
    #[must_use]
    pub fn with_refusal_limits(mut self, limits: RefusalLimits) -> Self {
        self.refusal_cap = limits.cap();
        self
    }

    /// The same with other limits for how often requests come.
    #[must_use]
    pub fn with_rate_limits(mut self, limits: RateLimits) -> Self {
        self.rates = rates::Rates::new(limits);
        self
    }

    /// The same with other limits for failed authentications.
    #[must_use]
    pub fn with_failure_limits(mut self, limits: FailureLimits) -> Self {
        self.failures = failures::Failures::new(limits);
        self
    }

    /// The same with other limits for held requests.
    #[must_use]
    pub fn with_review_limits(mut self, limits: ReviewLimits) -> Self {
        self.review_limits = limits;
        self
    }

    /// What holds now, as far as this process has seen.
    pub fn state(&self) -> Arc<State> {
        Arc::clone(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes over what another process changed: one caller at a time, and never back to older
    /// state. Cheap where nothing changed.
    ///
    /// # Errors
    /// `LedgerUnavailable`; what held before goes on for reading, and the recording transaction
    /// refuses to issue under it.
    pub async fn refresh(&self) -> Result<Arc<State>, AppError> {
        let _one_at_a_time = self.refreshing.lock().await;
        let held = self.state();
        if self.store.revisions().await? == held.snapshot.revisions {
            return Ok(held);
        }
        let snapshot = self.store.snapshot().await?;
        let fresh = tokio::task::spawn_blocking(move || State::after(&held, snapshot)).await;
        let fresh =
            Arc::new(fresh.map_err(|_| AppError::Internal("compiling the policies broke off".to_owned()))?);
        let mut place = self.state.write().unwrap_or_else(PoisonError::into_inner);
        *place = Arc::clone(&fresh);
        Ok(fresh)
    }

    /// Whether requests can be answered: the ledger, each CA, the clock. One expired CA of several
    /// is told, but does not take the others out of service.
    pub async fn readiness(&self) -> Readiness {
        let now = self.clock.now();
        let state = self.state();
        let clusters = &state.served.clusters;
        let mut problems: Vec<String> =
            clusters.values().filter_map(|cluster| ca_problem(cluster, now)).collect();
        let some_ca_signs = problems.len() < clusters.len();
        let ledger = match self.store.health().await {
            Err(_) => Some("the ledger does not answer".to_owned()),
            Ok(health) => clock_problem(&health, now),
        };
        problems.extend(self.ways.issuers.problems());
        let policies = state.broken_policies.clone();
        let ready = some_ca_signs && ledger.is_none() && policies.is_none();
        problems.extend(ledger);
        problems.extend(policies);
        Readiness { ready, problems }
    }
}

/// What is wrong with this machine's clock, or with the database's.
fn clock_problem(health: &Health, now: Time) -> Option<String> {
    if let Some(newest) = health.newest_record.filter(|newest| newest.seconds_since(now) > CLOCK_TOLERANCE) {
        return Some(format!("this machine's clock reads {now}, behind the newest record of {newest}"));
    }
    let database = health.database_time.filter(|_| health.clock_is_off(now, CLOCK_TOLERANCE))?;
    Some(format!("this machine's clock reads {now}, and the database's {database}"))
}

/// Why the CA of `cluster` cannot sign at `now`.
fn ca_problem(cluster: &Cluster, now: Time) -> Option<String> {
    let (from, until) = (cluster.authority.not_before(), cluster.authority.not_after());
    let name = &cluster.name;
    if now < from {
        return Some(format!("the CA of cluster {name} is not valid before {from}"));
    }
    (until < now.after(Lifetime::LEAST)).then(|| format!("the CA of cluster {name} ends at {until}"))
}

fn compile(snapshot: &Snapshot, rules: &Clusters) -> Result<PolicySet, StartError> {
    PolicySet::load(snapshot.revisions.policy, snapshot.rows.clone(), rules).map_err(|errors| {
        StartError::Policies(errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
    })
}

impl AppError {
    /// Why the request has no caller, where that is what it says; also where it shows too many, which is no 401
    /// and tries credentials all the same.
    #[must_use]
    pub fn authentication(&self) -> Option<AuthError> {
        match self {
            Self::Unauthenticated(error) => Some(*error),
            Self::SeveralCredentials => Some(AuthError::SeveralCredentials),
            _ => None,
        }
    }
}

impl From<AuthError> for AppError {
    fn from(error: AuthError) -> Self {
        if error == AuthError::SeveralCredentials {
            return Self::SeveralCredentials;
        }
        Self::Unauthenticated(error)
    }
}

/// Why the service does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Cluster(#[from] cluster::ClusterError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the system gives no thread to sign on: {0}")]
    Threads(#[from] std::io::Error),
    #[error("the stored policy set is not one that this version understands: {0}")]
    Policies(String),
}
