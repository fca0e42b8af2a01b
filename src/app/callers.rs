//! Who sends a request, and whether it still may.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::audit::Origin;
use crate::auth::{self, AuthError, Credential, Identity, Presented, Principal, Shown, token};
use crate::caller::{Caller, CallerKind};
use crate::store::{Binding, Subject};
use crate::time::Time;

use super::{App, AppError, State};

/// The least time between two looks into the ledger for a token that is not known here.
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// How many bindings of user names are remembered.
const REMEMBERED: usize = 10_000;

/// A caller's name and the subject that shows it.
type Shower = (String, Subject);

/// Bindings that were looked up before.
#[derive(Debug, Default)]
pub(super) struct Bindings(Mutex<HashMap<Shower, Arc<Binding>>>);

impl Bindings {
    fn get(&self, key: &Shower, released: &HashSet<i64>) -> Option<Arc<Binding>> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = known.get(key)?;
        if released.contains(&found.number) {
            known.remove(key);
            return None;
        }
        Some(Arc::clone(found))
    }

    fn put(&self, key: Shower, binding: &Arc<Binding>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(key, Arc::clone(binding));
    }
}

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
            self.logins.note(principal, from, self.clock.now());
        }
        found
    }

    async fn principal(&self, presented: Presented<'_>, from: &Origin) -> Result<Principal, AppError> {
        let now = self.clock.now();
        match presented.one()? {
            // Nothing but a token begins so: base64url of a JSON object does not.
            Shown::Bearer(text) if self.ways.issuers.is_empty() || text.starts_with(token::PREFIX) => {
                self.by_token(text, now).await
            }
            Shown::Bearer(text) => self.by_jwt(text, now, from).await,
        }
    }

    /// The caller behind a JWT. The first subject that shows a user name has it from then on.
    async fn by_jwt(&self, text: &str, now: Time, from: &Origin) -> Result<Principal, AppError> {
        let (vouched, proof) = self.ways.issuers.verify(text, now).await.map_err(|error| {
            tracing::info!(request.id = %from.request_id, auth.error = %error, "a JWT is not accepted");
            AuthError::Jwt(error.code())
        })?;
        let caller = vouched.caller;
        let (credential, identity) = if caller.kind == CallerKind::Oidc {
            let subject = Subject { issuer: vouched.issuer, subject: vouched.standing.subject };
            let binding = self.binding(&caller, &subject, now, from).await?;
            let identity = Identity::bound(&subject, binding.own.clone());
            (Credential::Oidc { proof, binding: binding.number }, identity)
        } else {
            (Credential::ServiceAccount { proof }, Identity::of(&caller))
        };
        Ok(Principal {
            roles: self.ways.roles.roles_of(&caller),
            on_behalf_of: self.ways.roles.may_name_persons(&caller),
            owner: caller.to_string(),
            credential,
            identity,
            caller,
            expires_at: vouched.standing.expires_at,
        })
    }

    /// The binding of a user name to its subject, remembered until it is released.
    pub(super) async fn binding(
        &self,
        caller: &Caller,
        subject: &Subject,
        now: Time,
        from: &Origin,
    ) -> Result<Arc<Binding>, AppError> {
        let key = (caller.to_string(), subject.clone());
        if let Some(known) = self.bindings.get(&key, &self.state().snapshot.released) {
            return Ok(known);
        }
        let origin = Origin { caller: key.0.clone(), ..from.clone() };
        let bound = self.store.bind_identity(&key.0, subject, now, &origin).await?;
        let bound = Arc::new(bound.ok_or(AuthError::NameTaken)?);
        self.bindings.put(key, &bound);
        Ok(bound)
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
