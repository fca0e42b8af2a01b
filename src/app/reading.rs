//! What callers may read: their own records, or all of them for an auditor.

use serde_json::Value;

use crate::auth::Principal;
use crate::export::Wanted;
use crate::pki::serial::Serial;
use crate::store::Recorded;

use super::{App, AppError};

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
        let (caller, cluster) = match &mut wanted {
            Wanted::Certificates(filter, _) => (&mut filter.caller, filter.cluster.as_deref()),
            Wanted::Refusals(filter, _) => (&mut filter.caller, filter.cluster.as_deref()),
            Wanted::Events(_) if principal.roles.auditor => return Ok(Some(wanted)),
            Wanted::Events(_) => return Err(AppError::RoleMissing("auditor")),
        };
        self.check_cluster(cluster).await?;
        match Scope::of(principal, caller.take())? {
            Scope::Nothing => return Ok(None),
            Scope::Of(own) => *caller = own,
        }
        Ok(Some(wanted))
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
        let own = match Scope::of(principal, None)? {
            Scope::Of(own) => own,
            Scope::Nothing => return Err(nowhere(serial)),
        };
        let mut found = self.store.certificates_by_serial(serial).await?;
        found.retain(|one| own.as_ref().is_none_or(|own| one.origin.caller == *own));
        found.retain(|one| cluster.is_none_or(|cluster| one.cluster == cluster));
        match (found.pop(), found.is_empty()) {
            (Some(one), true) => Ok(one),
            (Some(_), false) => Err(AppError::SerialAmbiguous),
            (None, _) => Err(nowhere(serial)),
        }
    }

    /// A filter may name a cluster that is configured, or one that was once: a typo must not look
    /// like an empty ledger.
    async fn check_cluster(&self, asked: Option<&str>) -> Result<(), AppError> {
        let Some(asked) = asked else { return Ok(()) };
        let Err(unknown) = self.cluster(Some(asked)) else { return Ok(()) };
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
        let permissions = state.policies.permissions(&self.rules, &principal.caller);
        serde_json::to_value(permissions).map_err(|error| AppError::Internal(error.to_string()))
    }
}

fn nowhere(serial: Serial) -> AppError {
    AppError::NotFound(format!("there is no certificate with the serial {serial}"))
}

/// The part of the ledger that a caller may see of what it asks for.
enum Scope {
    /// The records of this caller, or of all.
    Of(Option<String>),
    /// It asks for another's.
    Nothing,
}

impl Scope {
    /// An auditor sees what it asks for, a requester its own.
    fn of(principal: &Principal, asked: Option<String>) -> Result<Self, AppError> {
        if principal.roles.auditor {
            return Ok(Self::Of(asked));
        }
        if !principal.roles.requester {
            return Err(AppError::RoleMissing("auditor"));
        }
        let own = principal.caller.to_string();
        Ok(if asked.is_none_or(|asked| asked == own) { Self::Of(Some(own)) } else { Self::Nothing })
    }
}
