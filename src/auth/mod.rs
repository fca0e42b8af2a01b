//! Credentials to a caller with roles. What a request shows is [`Presented`]; the one credential of it that
//! counts is [`Shown`], and what comes of that is a [`Principal`].

mod doors;
mod fetch;
pub mod issuers;
pub mod jwt;
pub mod kubernetes;
pub mod mtls;
pub mod network;
pub mod oidc;
mod own;
pub mod presented;
pub mod proxy;
pub mod roles;
pub mod sources;
pub mod token;
mod url;
mod verified;
pub mod ways;

use std::collections::HashMap;
use std::hash::BuildHasher;

use aws_lc_rs::digest::{SHA256, digest};

use crate::caller::Caller;
use crate::store::tokens::TokenRecord;
use crate::store::{Binding, Own, Snapshot, Subject};
use crate::time::Time;
pub use doors::Doors;
pub use issuers::{Issuers, Proof};
pub use jwt::JwtError;
pub use network::{Network, client_behind};
pub use oidc::Vouched;
pub use own::OwnCertificate;
pub use presented::{Presented, Shown};
pub use roles::{RoleBinding, RoleBindings, Roles};
pub use ways::{AuthSettings, Ways};

/// An authenticated caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// Who it is.
    pub caller: Caller,
    /// What it may do.
    pub roles: Roles,
    /// Whether it may name another person in `on_behalf_of`.
    pub on_behalf_of: bool,
    /// Who answers for it.
    pub owner: String,
    /// By what it was authenticated, to look at it again.
    pub credential: Credential,
    /// Whose own records, idempotency keys and held requests are the caller's.
    pub identity: Identity,
    /// The instant from which the credential no longer holds.
    pub expires_at: Time,
}

/// By what a caller was authenticated, with what it takes to look whether it still holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// An API token.
    Token {
        /// Its public part.
        id: String,
    },
    /// A JWT of an OpenID Connect issuer.
    Oidc {
        /// What verified it.
        proof: Proof,
        /// The binding of its user name to its subject; none where the name is nobody's yet.
        binding: Option<i64>,
    },
    /// A JWT of a cluster's service account.
    ServiceAccount {
        /// What verified it.
        proof: Proof,
    },
    /// A certificate of ours, for its renewal.
    Certificate(Box<OwnCertificate>),
    /// A client certificate of another authority.
    Mtls,
    /// The word of a proxy that is trusted.
    Proxied,
}

impl Credential {
    /// The id of an API token; none of what is no token.
    #[must_use]
    pub fn token_id(&self) -> Option<&str> {
        match self {
            Self::Token { id } => Some(id),
            Self::Oidc { .. }
            | Self::ServiceAccount { .. }
            | Self::Certificate(_)
            | Self::Mtls
            | Self::Proxied => None,
        }
    }

    /// Whether a browser adds it to a request by itself, whatever page made that: a client certificate, or
    /// the session of a proxy in front.
    #[must_use]
    pub const fn is_ambient(&self) -> bool {
        match self {
            Self::Certificate(_) | Self::Mtls | Self::Proxied => true,
            Self::Token { .. } | Self::Oidc { .. } | Self::ServiceAccount { .. } => false,
        }
    }

    /// In a word, for the audit log.
    #[must_use]
    pub const fn method(&self) -> &'static str {
        match self {
            Self::Token { .. } => "token",
            Self::Oidc { .. } => "oidc",
            Self::ServiceAccount { .. } => "service_account",
            Self::Certificate(_) => "certificate",
            Self::Mtls => "mtls",
            Self::Proxied => "proxy",
        }
    }
}

/// The one behind a caller's name. A token's name is never given twice, so it is its own identity; a
/// name that an issuer gives is its subject's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// What tells its idempotency keys from those of others that had the same name.
    subject: Option<String>,
    /// Since when the name is this subject's; none where it is never another's.
    pub bound_at: Option<Time>,
    /// Which records and held requests are its own.
    pub own: Own,
}

impl Identity {
    /// Of a caller whose name is never another's.
    #[must_use]
    pub fn of(caller: &Caller) -> Self {
        Self { subject: None, bound_at: None, own: Own::always(caller.to_string()) }
    }

    /// Of a caller whose name is bound to `subject`.
    #[must_use]
    pub fn bound(subject: &Subject, binding: &Binding) -> Self {
        Self { bound_at: Some(binding.at), own: binding.own.clone(), ..Self::unbound(subject) }
    }

    /// Of `subject` under a name that is nobody's yet. Nothing is its own.
    #[must_use]
    pub fn unbound(subject: &Subject) -> Self {
        let text = serde_json::json!([subject.issuer, subject.subject]).to_string();
        let subject = hex::encode(digest(&SHA256, text.as_bytes()));
        Self { subject: Some(subject), bound_at: None, own: Own::of(Vec::new()) }
    }

    /// The key under which the ledger keeps an `Idempotency-Key` of this caller.
    #[must_use]
    pub fn idempotency_key(&self, key: String) -> String {
        match &self.subject {
            None => key,
            Some(subject) => format!("{key} {subject}"),
        }
    }
}

/// What a client is told when its token does not hold. The reasons are alike, so that nobody
/// learns which ids exist.
const NOT_VALID: &str = "this token is not valid: it is unknown, expired or revoked; ask for a new one";

/// What a client is told when its JWT does not count. Why stands in the log, under the request's id.
const NOT_ACCEPTED: &str = "this token is not accepted: get a new one, or ask the operator, whose log has the reason under this request_id";

/// Why a request has no caller. Which variant it is may be logged, and is never sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// No `Authorization` header.
    #[error("{}", self.message())]
    Missing,
    /// An `Authorization` header of another scheme, or without a token.
    #[error("{}", self.message())]
    NotBearer,
    /// More than one `Authorization` header: a proxy in front could read another one.
    #[error("{}", self.message())]
    Several,
    /// Not a token of ours, or one with a wrong checksum.
    #[error("{}", self.message())]
    Malformed,
    /// An id that was never given.
    #[error("{}", self.message())]
    Unknown,
    /// The right id with a wrong secret.
    #[error("{}", self.message())]
    Wrong,
    /// Past its time.
    #[error("{}", self.message())]
    Expired,
    /// Taken back.
    #[error("{}", self.message())]
    Revoked,
    /// The stored record holds a role that this program does not know.
    #[error("{}", self.message())]
    RolesUnknown,
    /// Its roles, its flag or its owner changed during the request.
    #[error("{}", self.message())]
    Changed,
    /// A JWT that is no credential here, and why in a word: see [`JwtError::code`].
    #[error("{}", self.message())]
    Jwt(&'static str),
    /// A JWT whose user name belongs to another subject of its issuer.
    #[error("{}", self.message())]
    NameTaken,
    /// A JWT whose subject shows one more name than it can have.
    #[error("{}", self.message())]
    TooManyNames,
    /// A client certificate of an authority that counts for nothing here, or one that is not in the
    /// ledger.
    #[error("{}", self.message())]
    CertificateUnknown,
    /// A client certificate past its time, or before it.
    #[error("{}", self.message())]
    CertificateExpired,
    /// A certificate of ours whose key was blocked.
    #[error("{}", self.message())]
    CertificateBlocked,
    /// A client certificate that names nobody, or two.
    #[error("{}", self.message())]
    CertificateNameless,
    /// The listener wants a client certificate that was not shown.
    #[error("{}", self.message())]
    CertificateWanted,
    /// A trusted proxy let a header through twice, or one that is no name.
    #[error("{}", self.message())]
    ProxyHeaders,
    /// A proxy's secret that is another, or that comes from elsewhere.
    #[error("{}", self.message())]
    ProxySecret,
    /// Two things in the request name a caller. The one that is no 401: it is sent as it is.
    #[error("{}", self.message())]
    SeveralCredentials,
}

impl AuthError {
    /// Stable, for clients.
    #[must_use]
    pub const fn code(self) -> &'static str {
        "unauthenticated"
    }

    /// Why, in one of few words, for the audit log and for metrics.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::NotBearer => "not_bearer",
            Self::Several => "several",
            Self::Malformed => "malformed",
            Self::Unknown => "unknown",
            Self::Wrong => "wrong",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::RolesUnknown => "roles_unknown",
            Self::Changed => "changed",
            Self::CertificateUnknown => "certificate_unknown",
            Self::CertificateExpired => "certificate_expired",
            Self::CertificateBlocked => "certificate_blocked",
            Self::CertificateNameless => "certificate_nameless",
            Self::CertificateWanted => "certificate_wanted",
            Self::ProxyHeaders => "proxy_headers",
            Self::ProxySecret => "proxy_secret",
            Self::SeveralCredentials => "several_credentials",
            Self::Jwt(code) => code,
            Self::NameTaken => "name_taken",
            Self::TooManyNames => "too_many_names",
        }
    }

    /// What the client is told: how to send a token, or that this one does not hold.
    #[must_use]
    pub const fn message(self) -> &'static str {
        match self {
            // Who is no proxy here is told what everybody is told.
            Self::Missing | Self::NotBearer | Self::ProxySecret => {
                "this needs an API token: send Authorization: Bearer <token>"
            }
            Self::Several => "send one Authorization header, not several",
            Self::Malformed
            | Self::Unknown
            | Self::Wrong
            | Self::Expired
            | Self::Revoked
            | Self::RolesUnknown
            | Self::Changed => NOT_VALID,
            Self::Jwt(_) | Self::NameTaken | Self::TooManyNames => NOT_ACCEPTED,
            Self::CertificateUnknown | Self::CertificateBlocked => {
                "this client certificate opens nothing here: it is unknown, blocked or of an authority that does not count"
            }
            Self::CertificateExpired => {
                "this client certificate has expired, or is not valid yet: get a new one"
            }
            Self::CertificateNameless => {
                "this client certificate does not name one caller: it needs exactly one name of the kind that is configured"
            }
            Self::CertificateWanted => {
                "this service wants a client certificate of its own authority: see tls.client_ca"
            }
            Self::ProxyHeaders => {
                "the proxy's headers do not name one caller: each may stand there once, with names that are valid"
            }
            Self::SeveralCredentials => {
                "this request shows several credentials: send one, in Authorization or as a client certificate"
            }
        }
    }
}

/// The caller behind an API token, by the tokens that exist, keyed by their id.
///
/// # Errors
/// The token does not hold at `now`.
pub fn by_token<S: BuildHasher>(
    credential: &str,
    tokens: &HashMap<String, TokenRecord, S>,
    now: Time,
) -> Result<Principal, AuthError> {
    let (id, hashed) = token::parse(credential).ok_or(AuthError::Malformed)?;
    let record = tokens.get(id);
    // Compared even where there is nothing to compare with, so that it takes the same time.
    let matches = hashed.matches(record.map_or(&[0; 32], |record| &record.secret_sha256));
    let record = record.ok_or(AuthError::Unknown)?;
    if matches { live(record, now) } else { Err(AuthError::Wrong) }
}

/// Whether a caller who was authenticated before still is, under `snapshot`: a token holds, with the
/// same roles, the same flag and the same owner; a JWT has not expired, its issuer still has the key that
/// signed it, and its user name is still its subject's.
///
/// # Errors
/// It does not hold any more, or something about it changed.
pub fn recheck(
    principal: &Principal,
    snapshot: &Snapshot,
    issuers: &Issuers,
    now: Time,
) -> Result<(), AuthError> {
    let Credential::Token { id } = &principal.credential else {
        return still_holds(&principal.credential, principal.expires_at, snapshot, issuers, now);
    };
    let record = snapshot.tokens.get(id).ok_or(AuthError::Unknown)?;
    // A rotation brings the end of the secret nearer, which takes nothing from it until then.
    let now_is = Principal { expires_at: principal.expires_at, ..live(record, now)? };
    if now_is == *principal { Ok(()) } else { Err(AuthError::Changed) }
}

/// Whether a credential that is no API token, and was verified before, still counts.
///
/// # Errors
/// It does not.
pub fn still_holds(
    credential: &Credential,
    expires_at: Time,
    snapshot: &Snapshot,
    issuers: &Issuers,
    now: Time,
) -> Result<(), AuthError> {
    let verified = |proof| {
        if now >= expires_at {
            return Err(AuthError::Jwt(JwtError::Expired.code()));
        }
        if issuers.holds(proof) { Ok(()) } else { Err(AuthError::Jwt(JwtError::KeyUnknown.code())) }
    };
    match credential {
        // Looked at as a whole, by `recheck`.
        Credential::Token { .. } => Err(AuthError::Changed),
        Credential::Oidc { binding: Some(bound), .. } if snapshot.released.contains(bound) => {
            Err(AuthError::NameTaken)
        }
        Credential::Oidc { proof, .. } | Credential::ServiceAccount { proof } => verified(proof),
        Credential::Certificate(own) if now > own.not_after => Err(AuthError::CertificateExpired),
        Credential::Certificate(own) if snapshot.blocked_keys.contains(&own.spki_sha256) => {
            Err(AuthError::CertificateBlocked)
        }
        Credential::Mtls if now >= expires_at => Err(AuthError::CertificateExpired),
        Credential::Certificate(_) | Credential::Mtls | Credential::Proxied => Ok(()),
    }
}

fn live(record: &TokenRecord, now: Time) -> Result<Principal, AuthError> {
    if record.revoked_at.is_some() {
        return Err(AuthError::Revoked);
    }
    if now >= record.expires_at {
        return Err(AuthError::Expired);
    }
    let caller = Caller::token(&record.name);
    Ok(Principal {
        identity: Identity::of(&caller),
        caller,
        roles: Roles::parse(&record.roles).ok_or(AuthError::RolesUnknown)?,
        on_behalf_of: record.on_behalf_of,
        owner: record.owner.clone(),
        credential: Credential::Token { id: record.id.clone() },
        expires_at: record.expires_at,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::name::ShortName;

    const NOW: Time = Time::from_unix(1_000);

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(ToString::to_string).collect()
    }

    /// A token, and the table that it is in.
    fn issued() -> (String, HashMap<String, TokenRecord>) {
        let minted = token::mint(&[5; token::RANDOM_OCTETS]);
        let record = TokenRecord {
            id: minted.id.clone(),
            name: ShortName::parse("portal").unwrap(),
            secret_sha256: *minted.hashed.octets(),
            roles: words(&["requester"]),
            on_behalf_of: true,
            owner: "web team".to_owned(),
            created_at: Time::from_unix(0),
            expires_at: Time::from_unix(2_000),
            revoked_at: None,
            replaced: false,
            last_used_at: None,
        };
        (minted.plain.expose().to_owned(), HashMap::from([(minted.id, record)]))
    }

    fn shown(text: &str) -> Result<Principal, AuthError> {
        by_token(text, &issued().1, NOW)
    }

    /// The outcome after the record was changed.
    fn with(change: impl FnOnce(&mut TokenRecord)) -> Result<Principal, AuthError> {
        let (plain, mut tokens) = issued();
        change(tokens.values_mut().next().unwrap());
        by_token(&plain, &tokens, NOW)
    }

    #[test]
    fn a_live_token_is_its_caller() {
        let (plain, _) = issued();
        let principal = shown(&plain).unwrap();
        assert_eq!(principal.caller.to_string(), "token:portal");
        assert_eq!(principal.roles, Roles { requester: true, ..Roles::default() });
        assert_eq!((principal.on_behalf_of, principal.owner.as_str()), (true, "web team"));
        assert_eq!(principal.expires_at, Time::from_unix(2_000));
        assert!(principal.identity.own.holds("token:portal", 1));
        assert_eq!(principal.identity.idempotency_key("k".to_owned()), "k");
    }

    #[test]
    fn a_malformed_token_is_refused() {
        let (plain, _) = issued();
        let cut = &plain[..plain.len() - 1];
        for text in
            ["x", cut, &format!("{plain} "), &format!("{plain}, Bearer {plain}"), &format!("{plain}\t")]
        {
            assert_eq!(shown(text), Err(AuthError::Malformed), "{text}");
        }
    }

    #[test]
    fn an_unknown_id_and_a_wrong_secret_are_refused() {
        let other = token::mint(&[6; token::RANDOM_OCTETS]);
        assert_eq!(shown(other.plain.expose()), Err(AuthError::Unknown));
        let mut same_id = [5; token::RANDOM_OCTETS];
        same_id[39] = 6;
        let forged = token::mint(&same_id);
        assert_eq!(shown(forged.plain.expose()), Err(AuthError::Wrong));
    }

    #[test]
    fn a_record_without_a_hash_opens_to_nobody() {
        assert_eq!(with(|record| record.secret_sha256 = [0; 32]), Err(AuthError::Wrong));
    }

    #[test]
    fn an_expired_or_revoked_token_is_refused() {
        assert_eq!(with(|record| record.expires_at = NOW), Err(AuthError::Expired));
        assert!(with(|record| record.expires_at = Time::from_unix(1_001)).is_ok());
        assert_eq!(with(|record| record.revoked_at = Some(NOW)), Err(AuthError::Revoked));
        assert_eq!(with(|record| record.revoked_at = Some(Time::from_unix(9_000))), Err(AuthError::Revoked));
    }

    #[test]
    fn a_stored_role_that_is_unknown_opens_nothing() {
        assert_eq!(with(|record| record.roles = words(&["admin", "root"])), Err(AuthError::RolesUnknown));
    }

    #[test]
    fn every_token_that_does_not_hold_gets_the_same_sentence() {
        use AuthError::{Changed, Expired, Malformed, Revoked, RolesUnknown, Unknown, Wrong};
        for error in [Malformed, Unknown, Wrong, Expired, Revoked, RolesUnknown, Changed] {
            assert_eq!(error.to_string(), NOT_VALID);
            assert_eq!(error.code(), "unauthenticated");
        }
    }

    #[test]
    fn a_recheck_sees_every_change_of_the_token() {
        let (plain, tokens) = issued();
        let principal = by_token(&plain, &tokens, NOW).unwrap();
        let after = |change: &dyn Fn(&mut TokenRecord)| {
            let mut tokens = tokens.clone();
            tokens.values_mut().for_each(change);
            recheck(&principal, &Snapshot { tokens, ..Snapshot::default() }, &Issuers::default(), NOW)
        };
        assert_eq!(after(&|_| ()), Ok(()));
        assert_eq!(after(&|record| record.revoked_at = Some(NOW)), Err(AuthError::Revoked));
        assert_eq!(after(&|record| record.expires_at = NOW), Err(AuthError::Expired));
        assert_eq!(after(&|record| record.expires_at = Time::from_unix(1_001)), Ok(()), "rotated");
        assert_eq!(after(&|record| record.roles = words(&["requester", "admin"])), Err(AuthError::Changed));
        assert_eq!(after(&|record| record.on_behalf_of = false), Err(AuthError::Changed));
        assert_eq!(after(&|record| record.owner = "nobody".to_owned()), Err(AuthError::Changed));
        assert_eq!(
            recheck(&principal, &Snapshot::default(), &Issuers::default(), NOW),
            Err(AuthError::Unknown)
        );
    }
}
