//! What callers may read: their own records, or all of them for an auditor.

use serde_json::Value;

use crate::auth::Principal;
use crate::export::Wanted;
use crate::filters::Both;
use crate::pki::serial::Serial;
use crate::store::stats::{By, Counts};
use crate::store::users::UserSummary;
use crate::store::{
    CertificateFilter, CertificateStatus, Order, Own, Recorded, Refusal, RefusalFilter, Span,
};
use crate::time::Time;

use super::{App, AppError};

/// How many live certificates of a user are shown at most.
const SHOWN: u32 = 100;

/// How many refusals of a user are shown at most.
const LATEST: u32 = 20;

/// Everything about one user.
#[derive(Debug)]
pub struct User {
    /// Its groups and its callers over time.
    pub summary: UserSummary,
    /// What is valid now, newest first.
    pub live: Vec<Recorded>,
    /// Whether `live` is all of it.
    pub live_is_complete: bool,
    /// The latest refusals, newest first.
    pub refusals: Vec<Refusal>,
}

impl App {
    /// What of `wanted` this caller may see: all of it for an auditor, its own for a requester. None:
    /// nothing, because it asks for another's.
    ///
    /// # Errors
    /// `RoleMissing` for a caller that is neither requester nor auditor, or that asks for events and
    /// is no auditor; `ClusterUnknown`; `LedgerUnavailable`.
    pub async fn scoped(
        &self,
        principal: &Principal,
        mut wanted: Wanted,
    ) -> Result<Option<Wanted>, AppError> {
        let (caller, own, cluster) = match &mut wanted {
            Wanted::Certificates(filter, _) | Wanted::Drifted(filter, ..) => {
                (&mut filter.caller, &mut filter.own, filter.cluster.as_deref())
            }
            Wanted::Refusals(filter, _) => (&mut filter.caller, &mut filter.own, filter.cluster.as_deref()),
            Wanted::Events(_) if principal.roles.auditor => return Ok(Some(wanted)),
            Wanted::Events(_) => return Err(AppError::RoleMissing("auditor")),
        };
        self.check_cluster(cluster).await?;
        match Scope::of(principal, caller.as_deref())? {
            Scope::Nothing => return Ok(None),
            Scope::All => {}
            Scope::Own(theirs) => (*caller, *own) = (None, Some(theirs)),
        }
        Ok(Some(wanted))
    }

    /// Certificates and refusals counted: of a requester its own, of an auditor all.
    ///
    /// # Errors
    /// As for [`App::scoped`].
    pub async fn counts(
        &self,
        principal: &Principal,
        wanted: Both,
        by: By,
    ) -> Result<(Counts, Counts), AppError> {
        let (mut certificates, mut refusals) = (Counts::new(), Counts::new());
        if let Some(filter) = wanted.certificates {
            let wanted = Wanted::Certificates(filter, self.clock.now());
            if let Some(Wanted::Certificates(filter, _)) = self.scoped(principal, wanted).await? {
                certificates = self.store.count_certificates(&filter, by).await?;
            }
        }
        if let Some(filter) = wanted.refusals {
            let wanted = Wanted::Refusals(filter, false);
            if let Some(Wanted::Refusals(filter, _)) = self.scoped(principal, wanted).await? {
                refusals = self.store.count_refusals(&filter, by).await?;
            }
        }
        Ok((certificates, refusals))
    }

    /// Everything about one user that this caller may see.
    ///
    /// # Errors
    /// `NotFound` where there is nothing; `RoleMissing`; `LedgerUnavailable`.
    pub async fn user(&self, principal: &Principal, user: &str, now: Time) -> Result<User, AppError> {
        let own = Scope::of(principal, None)?.own();
        let summary = self.store.user_summary(user, own.as_ref()).await?;
        if summary.certificates == 0 && summary.refusals == 0 {
            return Err(AppError::NotFound("there is no record of this user".to_owned()));
        }
        let live = CertificateFilter {
            user: Some(user.to_owned()),
            own: own.clone(),
            status: Some((CertificateStatus::Active, now)),
            ..CertificateFilter::default()
        };
        let span = Span::all(Order::NewestFirst, SHOWN.saturating_add(1));
        let mut live = self.store.certificates(&live, span).await?;
        let live_is_complete = live.len() <= usize::try_from(SHOWN).unwrap_or(usize::MAX);
        live.truncate(usize::try_from(SHOWN).unwrap_or(usize::MAX));
        let refused = RefusalFilter { user: Some(user.to_owned()), own, ..RefusalFilter::default() };
        let refusals = self.store.refusals(&refused, Span { limit: LATEST, ..span }).await?;
        Ok(User { summary, live, live_is_complete, refusals })
    }

    /// One certificate.
    ///
    /// # Errors
    /// `NotFound`, also for what belongs to another caller; `SerialAmbiguous` where two CAs gave
    /// the same serial and no cluster is named.
    pub async fn certificate(
        &self,
        principal: &Principal,
        serial: Serial,
        cluster: Option<&str>,
    ) -> Result<Recorded, AppError> {
        self.check_cluster(cluster).await?;
        let own = Scope::of(principal, None)?.own();
        let mut found = self.store.certificates_by_serial(serial).await?;
        found.retain(|one| own.as_ref().is_none_or(|own| own.holds(&one.origin.caller, one.number)));
        found.retain(|one| cluster.is_none_or(|cluster| one.cluster == cluster));
        match (found.pop(), found.is_empty()) {
            (Some(one), true) => Ok(one),
            (Some(_), false) => Err(AppError::SerialAmbiguous),
            (None, _) => Err(nowhere(serial)),
        }
    }

    /// A filter may name a cluster that is configured, or one that was once: a typo must not look
    /// like an empty ledger.
    pub(super) async fn check_cluster(&self, asked: Option<&str>) -> Result<(), AppError> {
        let Some(asked) = asked else { return Ok(()) };
        let state = self.state();
        let Err(unknown) = state.served.cluster(Some(asked)) else { return Ok(()) };
        if self.store.knows_cluster(asked).await? { Ok(()) } else { Err(unknown) }
    }

    /// What this caller may ask for, for each cluster.
    ///
    /// # Errors
    /// `LedgerUnavailable`; `Internal` if it cannot be written as JSON.
    pub async fn permissions(&self, principal: &Principal) -> Result<Value, AppError> {
        if !principal.roles.requester {
            return Ok(Value::Array(Vec::new()));
        }
        let state = self.refresh().await?;
        let permissions =
            state.policies.permissions(&state.served.rules, &principal.caller, self.clock.now());
        serde_json::to_value(permissions).map_err(|error| AppError::Internal(error.to_string()))
    }
}

fn nowhere(serial: Serial) -> AppError {
    AppError::NotFound(format!("there is no certificate with the serial {serial}"))
}

/// The part of the ledger that a caller may see of what it asks for.
enum Scope {
    /// What it asks for.
    All,
    /// Its own records.
    Own(Own),
    /// It asks for another's.
    Nothing,
}

impl Scope {
    /// An auditor sees what it asks for, a requester its own.
    fn of(principal: &Principal, asked: Option<&str>) -> Result<Self, AppError> {
        if principal.roles.auditor {
            return Ok(Self::All);
        }
        if !principal.roles.requester {
            return Err(AppError::RoleMissing("auditor"));
        }
        let own = principal.identity.own.clone();
        Ok(match asked {
            None => Self::Own(own),
            Some(asked) => own.under(asked).map_or(Self::Nothing, Self::Own),
        })
    }

    fn own(self) -> Option<Own> {
        match self {
            Self::Own(own) => Some(own),
            Self::All | Self::Nothing => None,
        }
    }
}
