//! Callers who show a client certificate: one of ours, or one of another authority.

use super::super::{App, AppError};
use crate::auth::{AuthError, Credential, Identity, OwnCertificate, Principal, Roles};
use crate::caller::{Caller, CallerKind, Claims};
use crate::time::{Lifetime, Time};
use crate::tls::{ClientCertificate, Unverified};

/// Whose certificate a client showed.
pub(super) enum Certified<'c> {
    /// One of ours.
    Own(&'c ClientCertificate),
    /// That of a caller of `[[auth.mtls]]`, and the instant from which it no longer holds.
    Other(Caller, Time),
}

impl App {
    /// Whether `certificate` is of a CA that signs here, and valid now.
    ///
    /// # Errors
    /// See [`Unverified`].
    pub fn vouches(&self, certificate: &ClientCertificate) -> Result<(), Unverified> {
        self.state().served.vouches(certificate, self.clock.now())
    }

    /// Whose certificate it is.
    pub(super) fn certified<'c>(
        &self,
        shown: &'c ClientCertificate,
        now: Time,
    ) -> Result<Certified<'c>, AuthError> {
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

    /// The holder of a certificate that a CA of ours signed: if it is in the ledger, and as its cluster
    /// stands today. It never has a role.
    pub(super) async fn by_own_certificate(
        &self,
        shown: &ClientCertificate,
        now: Time,
    ) -> Result<Principal, AppError> {
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
            proven: None,
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
}
