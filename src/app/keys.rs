//! Blocking keys and letting them go.

use crate::audit::Origin;
use crate::auth::Principal;
use crate::store::StoreError;
use crate::store::keys::BlockedKey;

use super::{ATTEMPTS, App, AppError};

/// What is to happen to a key.
enum Change<'a> {
    Block(&'a str),
    Unblock,
}

impl App {
    /// Every blocked key, the latest first; for an admin or an auditor.
    ///
    /// # Errors
    /// `RoleMissing`, `LedgerUnavailable`.
    pub async fn blocked_keys(&self, principal: &Principal) -> Result<Vec<BlockedKey>, AppError> {
        if !principal.roles.admin && !principal.roles.auditor {
            return Err(AppError::RoleMissing("auditor or admin"));
        }
        Ok(self.store.blocked_keys().await?)
    }

    /// Never certifies this key again; for an admin. False if it was blocked before; the first
    /// reason then stays.
    ///
    /// # Errors
    /// `RoleMissing`, `Unauthenticated` for a token that was revoked meanwhile, `LedgerUnavailable`.
    pub async fn block_key(
        &self,
        principal: &Principal,
        origin: &Origin,
        key: [u8; 32],
        reason: &str,
    ) -> Result<bool, AppError> {
        self.change_key(principal, origin, key, Change::Block(reason)).await
    }

    /// Lets this key be certified again; for an admin.
    ///
    /// # Errors
    /// As [`App::block_key`]; `NotFound` where it is not blocked.
    pub async fn unblock_key(
        &self,
        principal: &Principal,
        origin: &Origin,
        key: [u8; 32],
    ) -> Result<(), AppError> {
        let changed = self.change_key(principal, origin, key, Change::Unblock).await?;
        let nothing = || AppError::NotFound("this key is not blocked".to_owned());
        changed.then_some(()).ok_or_else(nothing)
    }

    /// The transaction sees to it that no token was made or revoked since the caller's was looked
    /// at; where one was, it is looked at again.
    async fn change_key(
        &self,
        principal: &Principal,
        origin: &Origin,
        key: [u8; 32],
        change: Change<'_>,
    ) -> Result<bool, AppError> {
        if !principal.roles.admin {
            return Err(AppError::RoleMissing("admin"));
        }
        for _ in 0..ATTEMPTS {
            let state = self.refresh().await?;
            let now = self.clock.now();
            self.recheck(principal, &state, now)?;
            let seen = Some(state.snapshot.revisions.tokens);
            let changed = match change {
                Change::Block(reason) => self.store.block_key_if(key, reason, seen, now, origin).await,
                Change::Unblock => self.store.unblock_key_if(key, seen, now, origin).await,
            };
            match changed {
                Err(StoreError::Stale) => {}
                other => return Ok(other?),
            }
        }
        Err(AppError::PolicyChanging)
    }
}
