//! Requests that wait for people, and what was approved.
//!
//! A row never changes but in its state, so an approval binds what stands in it. Everything that
//! happens to a request is one transaction with its event; collecting it is part of the transaction
//! that records its certificate.

mod closing;
mod evidence;
mod holding;
mod people;
mod reading;
mod word;

pub(super) use closing::{Collectable, collect};
pub use holding::{Hold, RequestToHold};
pub use reading::RequestFilter;
pub(super) use reading::by_number;
pub use word::{Said, Word};

use std::fmt;

use crate::audit::{EventKind, Origin};
use crate::policy::{PolicyRow, Standing};
use crate::time::{Lifetime, Time};

/// The public name of a held request: 16 random octets, written as 32 lower-case hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HeldId(pub [u8; 16]);

impl HeldId {
    /// Reads what [`fmt::Display`] writes; upper case too.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut octets = [0; 16];
        hex::decode_to_slice(text, &mut octets).ok()?;
        Some(Self(octets))
    }
}

impl fmt::Display for HeldId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// How a request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeldState {
    /// It waits for approvals.
    Pending,
    /// Its certificate can be collected.
    Approved,
    /// An approver said no.
    Denied,
    /// The requester took it back.
    Withdrawn,
    /// Its time is over.
    Lapsed,
    /// Its certificate was issued.
    Collected,
    /// What was approved is no longer what would be signed.
    Voided,
}

impl HeldState {
    /// Every state.
    pub const ALL: [Self; 7] = [
        Self::Pending,
        Self::Approved,
        Self::Denied,
        Self::Withdrawn,
        Self::Lapsed,
        Self::Collected,
        Self::Voided,
    ];

    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Denied => "denied",
            Self::Withdrawn => "withdrawn",
            Self::Lapsed => "lapsed",
            Self::Collected => "collected",
            Self::Voided => "voided",
        }
    }

    /// The state that is written so.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// Whether something can still come of it.
    #[must_use]
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Pending | Self::Approved)
    }

    /// The event that brings a request there.
    const fn event(self) -> EventKind {
        match self {
            Self::Pending => EventKind::RequestHeld,
            Self::Approved => EventKind::RequestApproved,
            Self::Denied => EventKind::RequestDenied,
            Self::Withdrawn => EventKind::RequestWithdrawn,
            Self::Lapsed => EventKind::RequestLapsed,
            Self::Collected => EventKind::RequestCollected,
            Self::Voided => EventKind::RequestVoided,
        }
    }

    /// How it is stored. Numbers are never given anew.
    const fn number(self) -> i64 {
        match self {
            Self::Pending => 1,
            Self::Approved => 2,
            Self::Denied => 3,
            Self::Withdrawn => 4,
            Self::Lapsed => 5,
            Self::Collected => 6,
            Self::Voided => 7,
        }
    }
}

/// A request as it was held, and what came of it.
#[derive(Clone, Debug)]
pub struct HeldRequest {
    /// Its place in commit order, the number of its event.
    pub number: i64,
    /// By which it is asked for.
    pub id: HeldId,
    /// How it stands. One whose time is over is lapsed, even if that was not written yet.
    pub state: HeldState,
    /// When it was held.
    pub at: Time,
    /// Who asked, from where.
    pub origin: Origin,
    /// Who answers for the caller's credential.
    pub owner: String,
    /// The cluster that it was asked for.
    pub cluster: String,
    /// SHA-256 of the SPKI of the CA that is to sign.
    pub authority: [u8; 32],
    /// DER; none once the request is closed.
    pub csr: Option<Vec<u8>>,
    /// SHA-256 of the CSR.
    pub csr_sha256: [u8; 32],
    /// The asked user name.
    pub user: String,
    /// The asked groups.
    pub groups: Vec<String>,
    /// The person that a portal named.
    pub on_behalf_of: Option<String>,
    /// Whose own token showed that this person is behind it, as the event says it.
    pub proof: Option<serde_json::Value>,
    /// Why, in the requester's words.
    pub reason: Option<String>,
    /// As in [`crate::pki::key::KeyKind::as_str`].
    pub key_kind: String,
    /// SHA-256 of the key's SPKI.
    pub spki_sha256: [u8; 32],
    /// The lifetime that was asked for, if one was.
    pub asked_ttl: Option<Lifetime>,
    /// The lifetime that approvers are shown: the certificate lives no longer.
    pub lifetime: Lifetime,
    /// The rows that allow it, by name.
    pub policies: Vec<String>,
    /// The review rows, in full.
    pub reviews: Vec<PolicyRow>,
    /// The revision of the policy set that held it.
    pub policy_revision: i64,
    /// From this moment on nothing comes of it.
    pub lapses_at: Time,
    /// Who closed it, if it is closed.
    pub closed: Option<Closed>,
    /// The number of its certificate.
    pub certificate: Option<i64>,
    /// Every approval, the oldest first.
    pub approvals: Vec<RecordedApproval>,
    /// How far each review row is.
    pub standing: Vec<Standing>,
}

/// How a request was closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// When.
    pub at: Time,
    /// By whom.
    pub by: String,
    /// What was said with it.
    pub comment: Option<String>,
    /// The serial of its certificate, where one was collected.
    pub serial: Option<String>,
}

/// An approval as it was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedApproval {
    /// Of its event.
    pub number: i64,
    /// When.
    pub at: Time,
    /// As he came in: `token:alice`, `cli:root`.
    pub approver: String,
    /// What his credential showed.
    pub groups: Vec<String>,
    /// Who answers for his credential; none on the command line.
    pub owner: Option<String>,
    /// His token; none on the command line.
    pub token_id: Option<String>,
    /// What he said.
    pub comment: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_is_written() {
        let id = HeldId([0xa7; 16]);
        assert_eq!(HeldId::parse(&id.to_string()), Some(id));
        assert_eq!(HeldId::parse(&id.to_string().to_uppercase()), Some(id));
        for wrong in ["", "a7", &"a7".repeat(17), &"g7".repeat(16)] {
            assert_eq!(HeldId::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn every_state_has_a_word_and_a_number_of_its_own() {
        for (number, state) in (1..).zip(HeldState::ALL) {
            assert_eq!(state.number(), number);
            assert_eq!(HeldState::parse(state.as_str()), Some(state));
        }
        assert_eq!(HeldState::ALL.iter().filter(|state| state.is_open()).count(), 2);
    }
}
