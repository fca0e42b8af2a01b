//! Whose a caller's name is, and giving it free.

use crate::audit::Origin;
use crate::auth::Principal;
use crate::store::{IdentityRecord, Span, StoreError};

use super::{ATTEMPTS, App, AppError};

impl App {
    /// Names that belong to a subject, for an admin or an auditor.
    ///
    /// # Errors
    /// `RoleMissing`, `LedgerUnavailable`.
    pub async fn identities(
        &self,
        principal: &Principal,
        caller: Option<&str>,
        span: Span,
    ) -> Result<Vec<IdentityRecord>, AppError> {
        if !principal.roles.admin && !principal.roles.auditor {
            return Err(AppError::RoleMissing("auditor or admin"));
        }
        Ok(self.store.identities(caller, span).await?)
    }

    /// Gives a name free, for an admin: the next subject that shows it gets it, and sees nothing of what
    /// was done under it before.
    ///
    /// # Errors
    /// `RoleMissing`; `NotFound` where it belongs to nobody; `Unauthenticated` for a caller who no longer
    /// is; `LedgerUnavailable`.
    pub async fn release_identity(
        &self,
        principal: &Principal,
        origin: &Origin,
        caller: &str,
    ) -> Result<(), AppError> {
        if !principal.roles.admin {
            return Err(AppError::RoleMissing("admin"));
        }
        for _ in 0..ATTEMPTS {
            let state = self.refresh().await?;
            let now = self.clock.now();
            self.recheck(principal, &state, now)?;
            let seen = Some(state.snapshot.revisions.tokens);
            match self.store.release_identity(caller, seen, now, origin).await {
                Err(StoreError::Stale) => {}
                Err(error) => return Err(error.into()),
                Ok(None) => return Err(AppError::NotFound("this name belongs to nobody".to_owned())),
                Ok(Some(_)) => {
                    if let Err(error) = self.refresh().await {
                        tracing::warn!(%error, "a name that was given free is not yet taken over here");
                    }
                    return Ok(());
                }
            }
        }
        Err(AppError::PolicyChanging)
    }
}
