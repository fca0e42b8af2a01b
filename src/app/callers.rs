//! Who sends a request, and whether it still may.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use crate::audit::Origin;
use crate::auth::{
    self, AuthError, Credential, Identity, OwnCertificate, Presented, Principal, Roles, Shown,
};
use crate::caller::{Caller, CallerKind, Claims};
use crate::time::{Lifetime, Time};
use crate::tls::{ClientCertificate, Unverified};

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
        if let Some(principal) = self.without_authorization(&presented, now).await? {
            return Ok(principal);
        }
        match presented.one()? {
            Shown::Bearer(credential) => self.by_token(credential, now).await,
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
        let doors = &self.ways.doors;
        let proxied = doors.proxied(presented, now)?;
        let certified = presented.certificate.map(|shown| self.certified(shown, now));
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
            (None, Some(Ok(Certified::Own(shown)))) => self.by_own_certificate(shown, now).await.map(Some),
            (None, Some(Err(error))) => Err(error.into()),
        }
    }

    /// Whose certificate it is.
    fn certified<'c>(&self, shown: &'c ClientCertificate, now: Time) -> Result<Certified<'c>, AuthError> {
        let other = match self.ways.doors.certified(shown, now) {
            Ok(source) => {
                let (caller, until) = source.caller(shown)?;
                return Ok(Certified::Other(caller, until));
            }
            Err(why) => why,
        };
        match (self.state().served.vouches(shown, now), other) {
            (Ok(()), _) => Ok(Certified::Own(shown)),
            (Err(Unverified::Expired), _) | (_, Unverified::Expired) => Err(AuthError::CertificateExpired),
            (Err(Unverified::Foreign), Unverified::Foreign) => Err(AuthError::CertificateUnknown),
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

    /// The holder of a certificate that a CA of ours signed: if it is in the ledger, and as its cluster
    /// stands today. It never has a role.
    async fn by_own_certificate(&self, shown: &ClientCertificate, now: Time) -> Result<Principal, AppError> {
        let found = self.store.shown_certificate(shown.sha256()).await?;
        let (recorded, reviewed) = found.ok_or(AuthError::CertificateUnknown)?;
        let state = self.state();
        let cluster = state.served.find(&recorded.cluster).ok_or(AuthError::CertificateUnknown)?;
        if cluster.authority.spki_sha256() != recorded.authority {
            return Err(AuthError::CertificateUnknown.into());
        }
        let own = OwnCertificate {
            serial: recorded.serial,
            cluster: recorded.cluster.clone(),
            user: recorded.user.clone(),
            groups: recorded.groups.clone(),
            spki_sha256: recorded.spki_sha256,
            not_after: recorded.not_after,
            first_issued: recorded.first_issued(),
            reviewed,
        };
        let caller = Caller {
            kind: CallerKind::Certificate,
            source: Some(cluster.name.clone()),
            name: recorded.user.clone(),
            groups: Vec::new(),
            claims: Claims::new(),
        };
        let principal = Principal {
            roles: Roles::default(),
            on_behalf_of: false,
            owner: caller.to_string(),
            identity: Identity::of(&caller),
            caller,
            credential: Credential::Certificate(Box::new(own)),
            expires_at: recorded.not_after.after(Lifetime::from_seconds(1)),
        };
        self.recheck(&principal, &state, now)?;
        Ok(principal)
    }

    /// Makes sure that no way to authenticate trusts a CA of a cluster. To be asked at start.
    ///
    /// # Errors
    /// One sentence that names both.
    pub fn check_ways(&self) -> Result<(), String> {
        self.state().served.check_ways(&self.ways)
    }

    /// Whose `X-Forwarded-For` is believed.
    pub fn trusted_proxies(&self) -> &[crate::auth::Network] {
        &self.ways.trusted_proxies
    }

    /// Whether headers can name a caller.
    pub fn reads_proxy_headers(&self) -> bool {
        self.ways.doors.reads_headers()
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

/// Whose certificate a client showed.
enum Certified<'c> {
    /// One of ours.
    Own(&'c ClientCertificate),
    /// That of a caller of `[[auth.mtls]]`, and the instant from which it no longer holds.
    Other(Caller, Time),
}
