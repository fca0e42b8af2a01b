//! What is asked of `POST /v1/sign`, and what comes of it.

use crate::audit::Origin;
use crate::auth::Principal;
use crate::policy::Approved;
use crate::policy::explain::ClaimExplained;
use crate::store::Recorded;
use crate::time::{Lifetime, Time};

use super::evaluate::LifetimeExplained;

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
    pub reason: Option<String>,
    pub idempotency_key: Option<String>,
    pub dry_run: bool,
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
    pub warnings: Vec<String>,
    /// What set the lifetime.
    pub lifetime: Option<LifetimeExplained>,
    /// Each claim, with the rows that were considered.
    pub claims: Vec<ClaimExplained>,
}

impl Preview {
    /// The answer of a dry run that would have been signed, and why.
    pub(super) fn of(
        approved: &Approved,
        lifetime: Option<LifetimeExplained>,
        claims: Vec<ClaimExplained>,
    ) -> Self {
        Self {
            cluster: approved.cluster().to_string(),
            user: approved.user().to_string(),
            groups: approved.groups().iter().map(ToString::to_string).collect(),
            not_before: approved.not_before(),
            not_after: approved.not_after(),
            policies: approved.rows().iter().map(ToString::to_string).collect(),
            policy_revision: approved.revision(),
            warnings: approved.warnings().to_vec(),
            lifetime,
            claims,
        }
    }
}
