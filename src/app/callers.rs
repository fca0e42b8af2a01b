//! Who sends a request, and whether it still may.

mod certificate;
mod jwt;

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use crate::audit::Origin;
use crate::auth::{self, AuthError, Credential, Identity, Presented, Principal, Shown, token};
use crate::caller::Caller;
use crate::time::{Lifetime, Time};

use super::{App, AppError, State};
use certificate::Certified;
pub(super) use jwt::Bindings;

/// The least time between two looks into the ledger for a token that is not known here.
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

impl App {
    /// The caller behind what a request shows. `from` says which request, and from where; its caller is
    /// not known yet.
    ///
    /// # Errors
    /// `Unauthenticated`, in words that tell an unknown credential from a wrong one to nobody.
    pub async fn authenticate(&self, presented: Presented<'_>, from: &Origin) -> Result<Principal, AppError> {
        let found = self.principal(presented, from).await;
        if let Err(AppError::Unauthenticated(error)) = &found {
            tracing::debug!(request.id = %from.request_id, auth.error = ?error, "a caller is not known");
        }
        if let Ok(principal) = &found {
            if let Some(id) = principal.credential.token_id() {
                self.token_uses.note(id, self.clock.now());
            }
            self.logins.note(principal, from, self.clock.now());
        }
        found
    }

    async fn principal(&self, presented: Presented<'_>, from: &Origin) -> Result<Principal, AppError> {
        let now = self.clock.now();
        if let Some(principal) = self.without_authorization(&presented, now).await? {
            return Ok(principal);
        }
        let shown = presented.one().map_err(|error| match error {
            AuthError::Missing if self.ways.doors.wrong_secret(&presented, now) => AuthError::ProxySecret,
            other => other,
        })?;
        match shown {
            // Nothing but a token begins so: base64url of a JSON object does not.
            Shown::Bearer(text) if self.ways.issuers.is_empty() || text.starts_with(token::PREFIX) => {
                self.by_token(text, now).await
            }
            Shown::Bearer(text) => self.by_jwt(text, now, from).await,
        }
    }

    /// The caller that something else than `Authorization` names; none where nothing does. Two that do
    /// are never weighed against each other.
    async fn without_authorization(
        &self,
        presented: &Presented<'_>,
        now: Time,
    ) -> Result<Option<Principal>, AppError> {
        if presented.certificate.is_none() && presented.headers.is_empty() {
            return Ok(None);
        }
        let (certified, left) = self.certified(*presented, now).await?;
        let proxied = self.ways.doors.proxied(&left, now)?;
        let claims = [
            presented.authorization.is_some(),
            proxied.is_some(),
            certified.as_ref().is_some_and(Result::is_ok),
        ];
        if claims.into_iter().filter(|claim| *claim).count() > 1 {
            return Err(AuthError::SeveralCredentials.into());
        }
        if presented.authorization.is_some() {
            return Ok(None);
        }
        match (proxied, certified) {
            (Some(caller), _) => {
                Ok(Some(self.configured(caller, Credential::Proxied, now.after(Lifetime::MOST))))
            }
            (None, None) => Ok(None),
            (None, Some(Ok(Certified::Other(caller, until)))) => {
                Ok(Some(self.configured(caller, Credential::Mtls, until)))
            }
            (None, Some(Ok(Certified::Own(recorded, reviewed)))) => {
                Ok(Some(self.by_own_certificate(&recorded, reviewed, now)?))
            }
            (None, Some(Err(error))) => Err(error.into()),
        }
    }

    /// A caller whose roles are those of the configuration.
    fn configured(&self, caller: Caller, credential: Credential, expires_at: Time) -> Principal {
        Principal {
            roles: self.ways.roles.roles_of(&caller),
            on_behalf_of: self.ways.roles.may_name_persons(&caller),
            owner: caller.to_string(),
            identity: Identity::of(&caller),
            caller,
            credential,
            expires_at,
        }
    }

    /// Whose `X-Forwarded-For` is believed.
    pub fn trusted_proxies(&self) -> &[crate::auth::Network] {
        &self.ways.trusted_proxies
    }

    /// Whether headers can name a caller.
    pub fn reads_proxy_headers(&self) -> bool {
        self.ways.doors.reads_headers()
    }

    /// How a request that came to `error` tried to show who sends it, in a word.
    #[must_use]
    pub fn method_of(&self, presented: Presented<'_>, error: AuthError) -> &'static str {
        match error {
            // They were looked at beside whatever else there is.
            AuthError::ProxyHeaders => "proxy",
            _ => presented.method(self.ways.doors.are_spoken_for(&presented)),
        }
    }

    /// Whether a caller who was authenticated before still is, under `state`.
    ///
    /// # Errors
    /// Its credential does not hold any more, or something about it changed.
    pub(super) fn recheck(&self, principal: &Principal, state: &State, now: Time) -> Result<(), AuthError> {
        auth::recheck(principal, &state.snapshot, &self.ways.issuers, now)
    }

    /// Looks for new keys of issuers, where the last look is long ago.
    pub async fn refresh_keys(&self) {
        self.ways.issuers.refresh().await;
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
