//! Callers who show a client certificate: one of ours, or one of another authority.

use super::super::{App, AppError};
use crate::auth::{AuthError, Credential, Identity, OwnCertificate, Presented, Principal, Roles};
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
    /// Whose certificate a request shows, and what of the request is left for other ways to authenticate.
    ///
    /// A certificate of ours is not left: it is no caller of another source and no proxy's, whatever CA
    /// above ours these trust.
    pub(super) fn certified<'p>(
        &self,
        presented: Presented<'p>,
        now: Time,
    ) -> (Option<Result<Certified<'p>, AuthError>>, Presented<'p>) {
        let Some(shown) = presented.certificate else { return (None, presented) };
        let state = self.state();
        let left = Presented { certificate: None, ..presented };
        match state.served.vouches(shown, now) {
            Ok(()) => (Some(Ok(Certified::Own(shown))), left),
            // Looked at where another CA vouches for it, so that a stranger's costs nothing.
            Err(why) if self.ways.doors.trust(shown, now) && state.served.has_signed(shown) => {
                (Some(Err(refusal(why))), left)
            }
            Err(why) => (Some(self.of_a_source(shown, why, now)), presented),
        }
    }

    /// The caller that a certificate names which is not of ours, and `why` it is not.
    fn of_a_source<'p>(
        &self,
        shown: &ClientCertificate,
        why: Unverified,
        now: Time,
    ) -> Result<Certified<'p>, AuthError> {
        let source = match (self.ways.doors.certified(shown, now), why) {
            (Ok(source), _) => source,
            (Err(Unverified::Foreign), why) | (Err(why), _) => return Err(refusal(why)),
        };
        let (caller, until) = source.caller(shown)?;
        Ok(Certified::Other(caller, until))
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

fn refusal(why: Unverified) -> AuthError {
    match why {
        Unverified::Expired => AuthError::CertificateExpired,
        Unverified::Foreign => AuthError::CertificateUnknown,
    }
}
