//! Callers with a JWT, and to which subject of an issuer a name belongs.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::super::{App, AppError};
use crate::audit::Origin;
use crate::auth::{AuthError, Credential, Identity, Principal};
use crate::caller::{Caller, CallerKind};
use crate::store::{Binding, Holder, Subject};
use crate::time::Time;

/// How many bindings of user names are remembered.
const REMEMBERED: usize = 10_000;
/// For how long. Another replica may have bound one more name to the same subject, whose records are
/// then its own under each.
const FRESH: Duration = Duration::from_secs(1);

/// A caller's name and the subject that shows it.
type Shower = (String, Subject);

/// Bindings that were looked up before.
#[derive(Debug, Default)]
pub(in crate::app) struct Bindings(Mutex<HashMap<Shower, Remembered>>);

#[derive(Debug)]
struct Remembered {
    binding: Arc<Binding>,
    /// A release moves it. What belongs to a subject ends with the release of any of its names.
    token_revision: i64,
    looked_up: Instant,
}

impl Bindings {
    fn get(&self, key: &Shower, token_revision: i64) -> Option<Arc<Binding>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = known.get(key)?;
        let holds = found.token_revision == token_revision && found.looked_up.elapsed() < FRESH;
        holds.then(|| Arc::clone(&found.binding))
    }

    fn put(&self, key: Shower, binding: &Arc<Binding>, token_revision: i64) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= REMEMBERED {
            known.clear();
        }
        let (binding, looked_up) = (Arc::clone(binding), Instant::now());
        known.insert(key, Remembered { binding, token_revision, looked_up });
    }
}

impl App {
    /// The caller behind a JWT. The first subject that shows a user name has it from then on.
    pub(super) async fn by_jwt(&self, text: &str, now: Time, from: &Origin) -> Result<Principal, AppError> {
        let (vouched, proof) = self.ways.issuers.verify(text, now).await.map_err(|error| {
            tracing::info!(request.id = %from.request_id, auth.error = %error, "a JWT is not accepted");
            AuthError::Jwt(error.code())
        })?;
        let (caller, ends) = (vouched.caller, vouched.standing.expires_at);
        if caller.kind != CallerKind::Oidc {
            return Ok(self.configured(caller, Credential::ServiceAccount { proof }, ends));
        }
        let subject = Subject { issuer: vouched.issuer, subject: vouched.standing.subject };
        // Who may do nothing here takes no name: an issuer may let anybody have any.
        let binds = !self.ways.roles.roles_of(&caller).words().is_empty();
        let binding = self.binding(&caller, &subject, binds, now, from).await?;
        let identity = match &binding {
            Some(binding) => Identity::bound(&subject, binding),
            None => Identity::unbound(&subject),
        };
        let credential = Credential::Oidc { proof, binding: binding.map(|bound| bound.number) };
        Ok(Principal { identity, ..self.configured(caller, credential, ends) })
    }

    /// The binding of a user name to its subject, made now where the name is nobody's and `binds`; none
    /// where it stays nobody's.
    ///
    /// # Errors
    /// `Unauthenticated` where it is another subject's.
    pub(in crate::app) async fn binding(
        &self,
        caller: &Caller,
        subject: &Subject,
        binds: bool,
        now: Time,
        from: &Origin,
    ) -> Result<Option<Arc<Binding>>, AppError> {
        let key = (caller.to_string(), subject.clone());
        let token_revision = self.state().snapshot.revisions.tokens;
        if let Some(known) = self.bindings.get(&key, token_revision) {
            return Ok(Some(known));
        }
        let holder = if binds {
            // Nobody else is known yet where the caller shows its own name.
            let who = if from.caller.is_empty() { &key.0 } else { &from.caller };
            let origin = Origin { caller: who.clone(), ..from.clone() };
            self.store.bind_identity(&key.0, subject, now, &origin).await?
        } else {
            self.store.holder(&key.0, subject).await?
        };
        let error = match holder {
            Holder::This(binding) => {
                let binding = Arc::new(binding);
                self.bindings.put(key, &binding, token_revision);
                return Ok(Some(binding));
            }
            Holder::Nobody => return Ok(None),
            Holder::Another => AuthError::NameTaken,
            Holder::TooMany => AuthError::TooManyNames,
        };
        tracing::info!(
            request.id = %from.request_id,
            caller.name = key.0,
            auth.error = error.reason(),
            "a JWT's user name is not its subject's: an admin can release it"
        );
        Err(error.into())
    }
}
