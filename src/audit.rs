//! What an event is. Every change and every decision leaves one, in the transaction that made it.

use std::fmt;
use std::net::IpAddr;

use serde_json::Value;

use crate::time::Time;

/// Ours, never the client's: 16 random octets, written as 32 lower-case hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestId(pub [u8; 16]);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = [0; 32];
        hex::encode_to_slice(self.0, &mut digits).map_err(|_| fmt::Error)?;
        f.write_str(std::str::from_utf8(&digits).map_err(|_| fmt::Error)?)
    }
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// A certificate was issued; its row has the same number.
    CertificateIssued,
    /// A request was refused; its row has the same number.
    RequestRefused,
    /// The policy set was replaced.
    PolicyReplaced,
    /// An API token was made.
    TokenCreated,
    /// An API token was revoked.
    TokenRevoked,
    /// An API token has a new secret.
    TokenRotated,
    /// A key is never certified again.
    KeyBlocked,
    /// A blocked key may be certified again.
    KeyUnblocked,
    /// An operator vouched for the clock.
    ClockAccepted,
    /// How long records are kept was changed.
    RetentionChanged,
    /// Records that were kept for long enough were deleted.
    LedgerPruned,
    /// A caller's name was shown for the first time, and is its subject's from now on.
    IdentityBound,
    /// Such a name was given free.
    IdentityReleased,
    /// A caller was authenticated; those of one credential and address within an hour are one event.
    Authenticated,
    /// An auditor read records of others; reads of a minute are one event.
    LedgerRead,
    /// A request that is allowed waits for people.
    RequestHeld,
    /// An approver approved one.
    RequestApproved,
    /// An approver denied one.
    RequestDenied,
    /// The requester took one back.
    RequestWithdrawn,
    /// The time of one was over.
    RequestLapsed,
    /// The certificate of one was issued, in the same transaction.
    RequestCollected,
    /// What was approved was no longer what would be signed.
    RequestVoided,
    /// The list of clusters was read again, and is another.
    ClustersReloaded,
    /// Somebody showed no credential, or none that holds; those of a minute and an address are one event.
    AuthenticationFailed,
}

impl EventKind {
    /// Every kind, for readers of the log.
    pub const ALL: [Self; 24] = [
        Self::CertificateIssued,
        Self::RequestRefused,
        Self::PolicyReplaced,
        Self::TokenCreated,
        Self::TokenRevoked,
        Self::TokenRotated,
        Self::KeyBlocked,
        Self::KeyUnblocked,
        Self::ClockAccepted,
        Self::RetentionChanged,
        Self::LedgerPruned,
        Self::IdentityBound,
        Self::IdentityReleased,
        Self::Authenticated,
        Self::LedgerRead,
        Self::RequestHeld,
        Self::RequestApproved,
        Self::RequestDenied,
        Self::RequestWithdrawn,
        Self::RequestLapsed,
        Self::RequestCollected,
        Self::RequestVoided,
        Self::ClustersReloaded,
        Self::AuthenticationFailed,
    ];

    /// As it is written in the log and in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CertificateIssued => "certificate.issued",
            Self::RequestRefused => "request.refused",
            Self::PolicyReplaced => "policy.replaced",
            Self::TokenCreated => "token.created",
            Self::TokenRevoked => "token.revoked",
            Self::TokenRotated => "token.rotated",
            Self::KeyBlocked => "key.blocked",
            Self::KeyUnblocked => "key.unblocked",
            Self::ClockAccepted => "clock.accepted",
            Self::RetentionChanged => "retention.changed",
            Self::LedgerPruned => "ledger.pruned",
            Self::IdentityBound => "identity.bound",
            Self::IdentityReleased => "identity.released",
            Self::Authenticated => "authentication.succeeded",
            Self::LedgerRead => "ledger.read",
            Self::RequestHeld => "request.held",
            Self::RequestApproved => "request.approved",
            Self::RequestDenied => "request.denied",
            Self::RequestWithdrawn => "request.withdrawn",
            Self::RequestLapsed => "request.lapsed",
            Self::RequestCollected => "request.collected",
            Self::RequestVoided => "request.voided",
            Self::ClustersReloaded => "clusters.reloaded",
            Self::AuthenticationFailed => "authentication.failed",
        }
    }

    /// The kind that is written so.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// Who did it and from where: the part of an event that is known before its outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// `token:portal`, or `cli:root` for the command line beside the server.
    pub caller: String,
    /// `group:SOURCE:NAME`, as the credential showed them.
    pub caller_groups: Vec<String>,
    /// Our id of the request.
    pub request_id: RequestId,
    /// The client's `X-Request-Id`, where it sent a usable one.
    pub client_request_id: Option<String>,
    /// The peer's address; none on the command line.
    pub address: Option<IpAddr>,
}

/// One line of the audit log, as it is read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its place in commit order, the same number as the certificate or refusal that it tells of.
    pub number: i64,
    /// When it happened.
    pub at: Time,
    /// What happened.
    pub kind: EventKind,
    /// Who did it, from where.
    pub origin: Origin,
    /// What changed, for events that have no row of their own (policy, tokens, keys).
    pub detail: Value,
}
