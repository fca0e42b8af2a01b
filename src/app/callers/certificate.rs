//! Callers who show a client certificate: one of ours, or one of another authority.

use super::super::{App, AppError};
use crate::auth::{AuthError, Credential, Identity, OwnCertificate, Presented, Principal, Roles};
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

    /// Whose certificate a request shows, and what of the request is left for other ways to authenticate.
    ///
    /// A certificate of ours is not left: it is no caller of another source and no proxy's, whatever CA
    /// above ours these trust. One that a CA of ours signed elsewhere, as kubeadm does for its
    /// administrators, is nobody's: the ledger has no such certificate.
    ///
    /// # Errors
    /// `LedgerUnavailable`.
    pub(super) async fn certified<'p>(
        &self,
        presented: Presented<'p>,
        now: Time,
    ) -> Result<(Option<Result<Certified, AuthError>>, Presented<'p>), AppError> {
        let Some(shown) = presented.certificate else { return Ok((None, presented)) };
        let state = self.state();
        let left = Presented { certificate: None, ..presented };
        Ok(match state.served.vouches(shown, now) {
            Ok(()) => {
                let found = self.store.shown_certificate(shown.sha256()).await?;
                let own = found.map(|(recorded, reviewed)| Certified::Own(Box::new(recorded), reviewed));
                (Some(own.ok_or(AuthError::CertificateUnknown)), left)
            }
            // Looked at where another CA vouches for it, so that a stranger's costs nothing.
            Err(why) if self.ways.doors.trust(shown, now) && state.served.has_signed(shown) => {
                (Some(Err(refusal(why))), left)
            }
            Err(why) => (Some(self.of_a_source(shown, why, now)), presented),
        })
    }

    /// The caller that a certificate names which is not of ours, and `why` it is not.
    fn of_a_source(
        &self,
        shown: &ClientCertificate,
        why: Unverified,
        now: Time,
    ) -> Result<Certified, AuthError> {
        let source = match (self.ways.doors.certified(shown, now), why) {
            (Ok(source), _) => source,
            (Err(Unverified::Foreign), why) | (Err(why), _) => return Err(refusal(why)),
        };
        let (caller, until) = source.caller(shown)?;
        Ok(Certified::Other(caller, until))
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

fn refusal(why: Unverified) -> AuthError {
    match why {
        Unverified::Expired => AuthError::CertificateExpired,
        Unverified::Foreign => AuthError::CertificateUnknown,
    }
}
