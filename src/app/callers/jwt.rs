//! Callers with a JWT, and to which subject of an issuer a name belongs.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use super::super::{App, AppError};
use crate::audit::Origin;
use crate::auth::{AuthError, Credential, Identity, Principal};
use crate::caller::{Caller, CallerKind};
use crate::store::{Binding, Subject};
use crate::time::Time;

/// How many bindings of user names are remembered.
const REMEMBERED: usize = 10_000;

/// A caller's name and the subject that shows it.
type Shower = (String, Subject);

/// Bindings that were looked up before.
#[derive(Debug, Default)]
pub(in crate::app) struct Bindings(Mutex<HashMap<Shower, Arc<Binding>>>);

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
    /// The caller behind a JWT. The first subject that shows a user name has it from then on.
    pub(super) async fn by_jwt(&self, text: &str, now: Time, from: &Origin) -> Result<Principal, AppError> {
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
        Ok(Principal { identity, ..self.configured(caller, credential, vouched.standing.expires_at) })
    }

    /// The binding of a user name to its subject, remembered until it is released.
    pub(in crate::app) async fn binding(
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
}
