//! Callers who show a client certificate: one of ours, or one of another authority.

use super::super::{App, AppError};
use crate::auth::{AuthError, Credential, Identity, OwnCertificate, Principal, Roles};
use crate::caller::{Caller, CallerKind, Claims};
use crate::store::Recorded;
use crate::time::{Lifetime, Time};
use crate::tls::{ClientCertificate, Unverified};

/// Whose certificate a client showed.
pub(super) enum Certified {
    /// One of ours, as the ledger has it, and whether people reviewed it.
    Own(Box<Recorded>, bool),
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

    /// Whose certificate it is. One that a CA of ours signed elsewhere, as kubeadm does for its
    /// administrators, is nobody's: the ledger has no such certificate.
    ///
    /// # Errors
    /// `Unauthenticated` where it is nobody's, `LedgerUnavailable`.
    pub(super) async fn certified(
        &self,
        shown: &ClientCertificate,
        now: Time,
    ) -> Result<Certified, AppError> {
        let other = match self.ways.doors.certified(shown, now) {
            Ok(source) => {
                let (caller, until) = source.caller(shown)?;
                return Ok(Certified::Other(caller, until));
            }
            Err(why) => why,
        };
        match (self.state().served.vouches(shown, now), other) {
            (Ok(()), _) => {
                let found = self.store.shown_certificate(shown.sha256()).await?;
                let (recorded, reviewed) = found.ok_or(AuthError::CertificateUnknown)?;
                Ok(Certified::Own(Box::new(recorded), reviewed))
            }
            (Err(Unverified::Expired), _) | (_, Unverified::Expired) => {
                Err(AuthError::CertificateExpired.into())
            }
            (Err(Unverified::Foreign), Unverified::Foreign) => Err(AuthError::CertificateUnknown.into()),
        }
    }

    /// The holder of a certificate of ours, if it holds as its cluster stands today. It never has a role.
    ///
    /// # Errors
    /// Why it does not.
    pub(super) fn by_own_certificate(
        &self,
        recorded: &Recorded,
        reviewed: bool,
        now: Time,
    ) -> Result<Principal, AuthError> {
        let state = self.state();
        let cluster = state.served.find(&recorded.cluster).ok_or(AuthError::CertificateUnknown)?;
        if cluster.authority.spki_sha256() != recorded.authority {
            return Err(AuthError::CertificateUnknown);
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
