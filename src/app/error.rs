//! One closed list of what can go wrong. `http::error` gives each a status, exhaustively.

use crate::auth::AuthError;
use crate::ca::SignError;
use crate::pki::csr::CsrError;
use crate::pki::name::ShortName;
use crate::pki::pem::BodyError;
use crate::policy::{Objection, Refusal, Refused, Violation};
use crate::random::NoRandomOctets;
use crate::store::{HeldState, RecordError, RefusalError, StoreError};
use crate::time::Time;

/// What went wrong. The text is for the client, except for `Internal`, whose text is for the log.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    #[error(transparent)]
    Unauthenticated(AuthError),
    #[error("this request shows several credentials: send one, in Authorization or as a client certificate")]
    SeveralCredentials,
    #[error(
        "a certificate of this service opens POST /v1/renew and nothing else: send a token, or use another way in"
    )]
    RenewalOnly,
    #[error(
        "a renewal needs the certificate that is renewed: show it in the TLS handshake, as curl does with --cert and --key"
    )]
    CertificateRequired,
    #[error("this certificate is not renewed: {0}")]
    NotRenewable(String),
    #[error(
        "a page of another site made this request, and the browser added the credential by itself: use a page of this \
         service's own address, a program that is no browser, or a token"
    )]
    CrossSite,
    #[error("this needs the role {0}: ask an administrator for a token that has it")]
    RoleMissing(&'static str),
    #[error(
        "this caller may not name another person: leave on_behalf_of out, or use a token made with --on-behalf-of"
    )]
    OnBehalfOfNotAllowed,
    #[error("the token in On-Behalf-Of-Token is not accepted: {0}")]
    ProofNotAccepted(&'static str),
    #[error("say which cluster: add cluster=NAME, one of {0}")]
    ClusterRequired(String),
    #[error("there is no cluster `{}`: it is one of {known}", asked.escape_debug())]
    ClusterUnknown { asked: String, known: String },
    #[error("{0}")]
    ParameterInvalid(String),
    #[error(transparent)]
    Body(#[from] BodyError),
    #[error(transparent)]
    Csr(#[from] CsrError),
    #[error("{}", summary(violations))]
    PolicyDenied { violations: Vec<Violation>, rows: Vec<ShortName> },
    #[error("{}", summary(.0))]
    NameLooksReserved(Vec<Violation>),
    #[error("this key is a certificate authority's own: make a new key for this certificate")]
    KeyIsCa,
    #[error("this key is blocked and will not be certified again: make a new key")]
    KeyBlocked,
    #[error("this key is certified for another user: make a new key")]
    KeyOwned,
    #[error("the client CA of cluster {0} has expired: its administrator must replace it")]
    CaExpired(String),
    #[error("the client CA of cluster {0} is not valid yet: is this machine's clock right?")]
    CaNotYetValid(String),
    #[error("the client CA of cluster {0} has less than ten minutes left: its administrator must replace it")]
    CaExpiring(String),
    #[error("this Idempotency-Key was used for another request: use a new one")]
    IdempotencyKeyReused,
    #[error("a request with this Idempotency-Key is under way: try again in a moment")]
    IdempotencyInFlight,
    #[error("the certificate that this Idempotency-Key gave has expired: use a new one")]
    IdempotencyExpired,
    #[error("this request is not approved yet: GET it to see what it wants, or wait with Prefer: wait=60")]
    RequestNotApproved,
    #[error("this request is {}: it is closed, so ask for a certificate again", .0.as_str())]
    RequestClosed(HeldState),
    #[error(
        "what was approved is not what would be signed today, so every approval of this request is void: ask for a \
         certificate again"
    )]
    RequestVoided,
    #[error("{}", objected(*.0))]
    ApprovalNotAllowed(Objection),
    #[error("this request has your approval already, or needs no more: one person counts once")]
    AlreadyApproved,
    #[error(
        "this caller has {most} requests that wait for people: withdraw some with DELETE /v1/requests/{{id}}, or wait"
    )]
    TooManyPending { most: u32 },
    #[error("{0}")]
    NotFound(String),
    #[error("several certificates have this serial, one of each CA: add cluster=NAME")]
    SerialAmbiguous,
    #[error(
        "the policy set is at revision {current}, not the one in If-Match: read it again, then change it"
    )]
    RevisionMismatch { current: i64 },
    #[error(
        "send If-Match with the ETag that GET gave, so that nobody's change is overwritten unseen; for a new row \
         If-None-Match: *"
    )]
    IfMatchRequired,
    #[error("{0}")]
    PolicyMoved(String),
    #[error("{0}")]
    PolicyExists(String),
    #[error("{0}")]
    PolicyHeld(String),
    #[error("{}", .0.join("; "))]
    PolicyInvalid(Vec<String>),
    #[error(
        "too many requests of this caller were refused: this one would be too, and is neither recorded nor explained; \
         correct what is asked for, and try again in {retry_after} s"
    )]
    TooManyRefusals { retry_after: u32 },
    #[error(
        "{} more requests in a second than may come: try again in {retry_after} s",
        if *of_all { "all callers together make" } else { "this caller makes" }
    )]
    RateLimited { of_all: bool, retry_after: u32 },
    #[error(
        "too many requests without a credential that holds came from this address: try again in {retry_after} s; one \
         with a good credential is let in at once"
    )]
    TooManyFailures { retry_after: u32 },
    #[error("{0}")]
    TokenNotAllowed(String),
    #[error("{0}")]
    TokenExists(String),
    #[error("this token is revoked, and stays so: make another, under another name")]
    TokenRevoked,
    #[error("the ledger does not answer, so no certificate was sent: try again in a moment")]
    LedgerUnavailable,
    #[error("too many requests wait for the ledger, so no certificate was sent: try again in a moment")]
    LedgerBusy,
    #[error("too many requests wait to be signed, so no certificate was sent: try again in a moment")]
    SigningBusy,
    #[error(
        "the policy, this caller's token or what a limit leaves changed during each of three attempts: try again"
    )]
    PolicyChanging,
    #[error("this service's clock stands behind its newest record, so nothing is signed until it is right")]
    ClockBehind,
    #[error(
        "this service's clock is over a minute from its database's, so nothing is signed until both are right"
    )]
    ClockOff,
    #[error("internal error")]
    Internal(String),
}

impl AppError {
    /// The stable code, listed in openapi.yaml.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unauthenticated(_) => "unauthenticated",
            Self::SeveralCredentials => "several_credentials",
            Self::RenewalOnly => "renewal_only",
            Self::CertificateRequired => "certificate_required",
            Self::NotRenewable(_) => "not_renewable",
            Self::CrossSite => "cross_site",
            Self::RoleMissing(_) => "role_missing",
            Self::OnBehalfOfNotAllowed => "on_behalf_of_not_allowed",
            Self::ProofNotAccepted(_) => "proof_not_accepted",
            Self::ClusterRequired(_) => "cluster_required",
            Self::ClusterUnknown { .. } => "cluster_unknown",
            Self::ParameterInvalid(_) => "parameter_invalid",
            Self::Body(error) => error.code(),
            Self::Csr(error) => error.code(),
            Self::PolicyDenied { .. } => "policy_denied",
            Self::NameLooksReserved(_) => "name_looks_reserved",
            Self::KeyIsCa => "key_is_a_ca_key",
            Self::KeyBlocked => "key_blocked",
            Self::KeyOwned => "key_owned",
            Self::CaExpired(_) => "ca_expired",
            Self::CaNotYetValid(_) => "ca_not_yet_valid",
            Self::CaExpiring(_) => "ca_expiring",
            Self::IdempotencyKeyReused => "idempotency_key_reused",
            Self::IdempotencyInFlight => "idempotency_in_flight",
            Self::IdempotencyExpired => "idempotency_expired",
            Self::RequestNotApproved => "request_not_approved",
            Self::RequestClosed(_) => "request_closed",
            Self::RequestVoided => "request_voided",
            Self::ApprovalNotAllowed(_) => "approval_not_allowed",
            Self::AlreadyApproved => "already_approved",
            Self::TooManyPending { .. } => "too_many_pending",
            Self::NotFound(_) => "not_found",
            Self::SerialAmbiguous => "serial_ambiguous",
            Self::RevisionMismatch { .. } | Self::PolicyMoved(_) => "revision_mismatch",
            Self::PolicyExists(_) => "policy_exists",
            Self::PolicyHeld(_) => "policy_held",
            Self::IfMatchRequired => "if_match_required",
            Self::PolicyInvalid(_) => "policy_invalid",
            Self::TooManyRefusals { .. } => "too_many_refusals",
            Self::RateLimited { .. } => "rate_limited",
            Self::TooManyFailures { .. } => "too_many_failed_authentications",
            Self::TokenNotAllowed(_) => "token_not_allowed",
            Self::TokenExists(_) => "token_exists",
            Self::TokenRevoked => "token_revoked",
            Self::LedgerUnavailable => "ledger_unavailable",
            Self::LedgerBusy => "ledger_busy",
            Self::SigningBusy => "signing_busy",
            Self::PolicyChanging => "policy_changing",
            Self::ClockBehind => "clock_behind",
            Self::ClockOff => "clock_off",
            Self::Internal(_) => "internal",
        }
    }

    /// Whether this is a 403 or a 422, which are recorded.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::RoleMissing(_)
            | Self::CrossSite
            | Self::RenewalOnly
            | Self::CertificateRequired
            | Self::NotRenewable(_)
            | Self::OnBehalfOfNotAllowed
            | Self::ProofNotAccepted(_)
            | Self::Csr(_)
            | Self::PolicyDenied { .. }
            | Self::NameLooksReserved(_)
            | Self::KeyIsCa
            | Self::KeyBlocked
            | Self::KeyOwned
            | Self::IdempotencyKeyReused
            | Self::ApprovalNotAllowed(_)
            | Self::TokenNotAllowed(_)
            | Self::PolicyInvalid(_) => true,
            Self::Body(error) => error.is_about_the_csr(),
            _ => false,
        }
    }

    /// Every claim that was refused, where this is about claims.
    pub fn violations(&self) -> &[Violation] {
        match self {
            Self::PolicyDenied { violations, .. } | Self::NameLooksReserved(violations) => violations,
            _ => &[],
        }
    }

    /// The rows that decided, for the record only.
    pub(super) fn deciding_rows(&self) -> &[ShortName] {
        match self {
            Self::PolicyDenied { rows, .. } => rows,
            _ => &[],
        }
    }
}

fn objected(objection: Objection) -> &'static str {
    match objection {
        Objection::NotNamed => "no review row of this request names this approver",
        Objection::OwnRequest => {
            "nobody approves for himself: this approver is, by name or by the owner of its token, the caller, the person \
             that the request names or the user of the certificate"
        }
        Objection::OwnRow => {
            "nobody approves under a row that he wrote himself: this approver, or the owner of its token, is the author \
             of the row that names it"
        }
        Objection::Already => "one person counts once",
    }
}

fn summary(violations: &[Violation]) -> String {
    let one = |violation: &Violation| {
        let value: String = violation.value.escape_debug().collect();
        format!("{} `{value}`: {}", violation.claim, violation.reason)
    };
    violations.iter().map(one).collect::<Vec<_>>().join("; ")
}

impl From<Refused> for AppError {
    fn from(refused: Refused) -> Self {
        Self::of_refusal(refused.refusal, refused.rows, &refused.ask.cluster)
    }
}

impl AppError {
    /// What a refusal by policy is answered with; `rows` are those that denied.
    pub(super) fn of_refusal(refusal: Refusal, rows: Vec<ShortName>, cluster: &ShortName) -> Self {
        match refusal {
            Refusal::Policy(violations) => Self::PolicyDenied { violations, rows },
            Refusal::LooksReserved(violations) => Self::NameLooksReserved(violations),
            Refusal::KeyIsCa => Self::KeyIsCa,
            Refusal::CaExpired => Self::CaExpired(cluster.to_string()),
            Refusal::CaNotYetValid => Self::CaNotYetValid(cluster.to_string()),
            Refusal::CaExpiring => Self::CaExpiring(cluster.to_string()),
        }
    }
}

impl From<NoRandomOctets> for AppError {
    fn from(error: NoRandomOctets) -> Self {
        Self::Internal(error.to_string())
    }
}

impl From<SignError> for AppError {
    fn from(error: SignError) -> Self {
        Self::Internal(format!("signing: {error}"))
    }
}

impl From<StoreError> for AppError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(reason) => {
                tracing::error!(error = %reason, "the ledger does not answer");
                Self::LedgerUnavailable
            }
            StoreError::Busy => Self::LedgerBusy,
            StoreError::Stale => Self::PolicyChanging,
            StoreError::RevisionMoved { current } => Self::RevisionMismatch { current },
            StoreError::RowMoved { .. } => Self::PolicyMoved(error.to_string()),
            StoreError::RowExists(_) => Self::PolicyExists(error.to_string()),
            StoreError::RowsHeld(_) => Self::PolicyHeld(error.to_string()),
            other => Self::Internal(other.to_string()),
        }
    }
}

impl From<RefusalError> for AppError {
    fn from(error: RefusalError) -> Self {
        match error {
            RefusalError::Stale => Self::PolicyChanging,
            RefusalError::ClockBehind { newest } => clock_behind(newest),
            RefusalError::ClockOff { database } => clock_off(database),
            RefusalError::Store(error) => error.into(),
        }
    }
}

fn clock_behind(newest: Time) -> AppError {
    tracing::error!(%newest, "this machine's clock stands behind the newest record");
    AppError::ClockBehind
}

fn clock_off(database: Time) -> AppError {
    tracing::error!(%database, "this machine's clock is over a minute from the database's");
    AppError::ClockOff
}

impl From<RecordError> for AppError {
    fn from(error: RecordError) -> Self {
        match error {
            RecordError::Stale
            | RecordError::IdempotencyKeyTaken
            | RecordError::LimitReached
            | RecordError::RequestMoved => Self::PolicyChanging,
            RecordError::SerialTaken => Self::Internal("a random serial number came up twice".to_owned()),
            RecordError::KeyOwned => Self::KeyOwned,
            RecordError::KeyBlocked => Self::KeyBlocked,
            RecordError::ClockBehind { newest } => clock_behind(newest),
            RecordError::ClockOff { database } => clock_off(database),
            RecordError::Store(error) => error.into(),
        }
    }
}
