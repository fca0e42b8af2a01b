//! What is asked of `POST /v1/sign`, and what comes of it.

use std::borrow::Cow;

use crate::audit::Origin;
use crate::auth::Principal;
use crate::caller::Caller;
use crate::pki::name::{Name, ShortName};
use crate::policy::explain::ClaimExplained;
use crate::policy::{Ask, Decision};
use crate::store::{HeldId, HeldRequest, Recorded};
use crate::time::{Lifetime, Time};

use super::evaluate::LifetimeExplained;
use super::proof::{PersonProof, PersonToken};

/// A wish to sign, as it came in.
#[derive(Clone, Debug)]
pub struct SignCommand {
    pub principal: Principal,
    pub origin: Origin,
    /// DER of one CSR, not yet looked at.
    pub csr: Vec<u8>,
    pub cluster: Option<String>,
    /// Between [`Lifetime::LEAST`] and [`Lifetime::MOST`].
    pub ttl: Option<Lifetime>,
    pub on_behalf_of: Option<String>,
    /// The token of the person whom it names, or who is named by it alone. Taken when it is read.
    pub person_token: Option<PersonToken>,
    /// What came of it.
    pub proof: Option<PersonProof>,
    pub reason: Option<String>,
    pub idempotency_key: Option<String>,
    pub dry_run: bool,
    /// The held request whose certificate is collected.
    pub collects: Option<HeldId>,
    /// Whose token that one came with: the same person's is wanted again.
    pub held_proof: Option<serde_json::Value>,
}

impl SignCommand {
    /// A wish of `principal` for this CSR; nothing else is asked.
    #[must_use]
    pub fn of(principal: Principal, origin: Origin, csr: Vec<u8>) -> Self {
        Self {
            principal,
            origin,
            csr,
            cluster: None,
            ttl: None,
            on_behalf_of: None,
            person_token: None,
            proof: None,
            reason: None,
            idempotency_key: None,
            dry_run: false,
            collects: None,
            held_proof: None,
        }
    }

    /// The caller, with the person who stands behind the request.
    pub(super) fn caller(&self) -> Cow<'_, Caller> {
        let own = &self.principal.caller;
        match &self.proof {
            None => Cow::Borrowed(own),
            Some(proof) => Cow::Owned(Caller { proven: Some(proof.proven.clone()), ..own.clone() }),
        }
    }
}

/// What came of it. The warnings are for the requester; the ledger does not keep them.
#[derive(Debug)]
pub enum SignOutcome {
    Issued {
        certificate: Box<Recorded>,
        warnings: Vec<String>,
    },
    /// The same wish under the same `Idempotency-Key` as before.
    Replayed {
        certificate: Box<Recorded>,
        warnings: Vec<String>,
    },
    /// It waits for people.
    Held {
        request: Box<HeldRequest>,
        /// Whether the same `Idempotency-Key` gave it before.
        replayed: bool,
        warnings: Vec<String>,
    },
    Previewed(Box<Preview>),
}

/// What a dry run says would be issued.
#[derive(Clone, Debug)]
pub struct Preview {
    pub cluster: String,
    pub user: String,
    pub groups: Vec<String>,
    pub not_before: Time,
    pub not_after: Time,
    pub policies: Vec<String>,
    pub policy_revision: i64,
    /// The review rows that would hold it.
    pub held_by: Vec<String>,
    pub warnings: Vec<String>,
    /// What set the lifetime.
    pub lifetime: Option<LifetimeExplained>,
    /// Each claim, with the rows that were considered.
    pub claims: Vec<ClaimExplained>,
}

impl Preview {
    /// The answer of a dry run that would have been signed or held, and why.
    pub(super) fn of(
        decision: &Decision,
        (lifetime, claims): (Option<LifetimeExplained>, Vec<ClaimExplained>),
    ) -> Self {
        let plain = match decision {
            Decision::Approved(approved) => Self {
                policy_revision: approved.revision(),
                warnings: approved.warnings().to_vec(),
                ..Self::of_ask(approved.ask(), approved.rows(), approved.not_before(), approved.not_after())
            },
            Decision::Held(held) => Self {
                policy_revision: held.revision(),
                held_by: held.reviews().iter().map(|row| row.name.to_string()).collect(),
                warnings: held.warnings().to_vec(),
                ..Self::of_ask(held.ask(), held.rows(), held.not_before(), held.not_after())
            },
        };
        Self { lifetime, claims, ..plain }
    }

    fn of_ask(ask: &Ask, rows: &[ShortName], not_before: Time, not_after: Time) -> Self {
        Self {
            cluster: ask.cluster.to_string(),
            user: ask.request.user().to_string(),
            groups: ask.request.groups().iter().map(Name::to_string).collect(),
            not_before,
            not_after,
            policies: rows.iter().map(ShortName::to_string).collect(),
            policy_revision: 0,
            held_by: Vec::new(),
            warnings: Vec::new(),
            lifetime: None,
            claims: Vec::new(),
        }
    }
}
