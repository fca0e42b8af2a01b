//! Who sends a request, and whether it still may.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use crate::audit::Origin;
use crate::auth::{self, AuthError, Presented, Principal, Shown};
use crate::time::Time;

use super::{App, AppError, State};

/// The least time between two looks into the ledger for a token that is not known here.
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

impl App {
    /// The caller behind what a request shows. `from` says which request, and from where; its caller is
    /// not known yet.
    ///
    /// # Errors
    /// `Unauthenticated`, in words that tell an unknown credential from a wrong one to nobody.
    pub async fn authenticate(&self, presented: Presented<'_>, from: &Origin) -> Result<Principal, AppError> {
        let found = self.principal(presented).await;
        if let Ok(Some(id)) = found.as_ref().map(|principal| principal.credential.token_id()) {
            self.token_uses.note(id, self.clock.now());
        }
        if let Err(AppError::Unauthenticated(error)) = &found {
            tracing::debug!(request.id = %from.request_id, auth.error = ?error, "a caller is not known");
        }
        found
    }

    async fn principal(&self, presented: Presented<'_>) -> Result<Principal, AppError> {
        let now = self.clock.now();
        match presented.one()? {
            Shown::Bearer(credential) => self.by_token(credential, now).await,
        }
    }

    /// Whether a caller who was authenticated before still is, under `state`.
    ///
    /// # Errors
    /// Its credential does not hold any more, or something about it changed.
    pub(super) fn recheck(&self, principal: &Principal, state: &State, now: Time) -> Result<(), AuthError> {
        auth::recheck(principal, &state.snapshot, now)
    }

    async fn by_token(&self, credential: &str, now: Time) -> Result<Principal, AppError> {
        let found = auth::by_token(credential, &self.state().snapshot.tokens, now);
        if found != Err(AuthError::Unknown) || !self.may_look_for_token() {
            return Ok(found?);
        }
        let fresh = self.refresh().await?;
        Ok(auth::by_token(credential, &fresh.snapshot.tokens, now)?)
    }

    /// Whether an unknown token is worth a look into the ledger: it may have just been made by
    /// another process. Seldom, so that guessing does not become a load.
    fn may_look_for_token(&self) -> bool {
        let mut last = self.last_look.lock().unwrap_or_else(PoisonError::into_inner);
        let due = last.is_none_or(|last| last.elapsed() >= BETWEEN_LOOKS);
        if due {
            *last = Some(Instant::now());
        }
        due
    }
}
