//! Credentials to a caller with roles.

pub mod token;

use std::collections::HashMap;
use std::hash::BuildHasher;

use crate::caller::Caller;
use crate::store::tokens::TokenRecord;
use crate::time::Time;

/// What a caller may do here. Nothing to do with Kubernetes groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[expect(clippy::struct_excessive_bools, reason = "a caller has any of them together")]
pub struct Roles {
    /// May ask for certificates, and read its own records.
    pub requester: bool,
    /// May read every record.
    pub auditor: bool,
    /// May change the policy table.
    pub admin: bool,
    /// May approve held requests, where a review row names it.
    pub approver: bool,
}

impl Roles {
    /// The roles of these words; none for an unknown word. No word is no role.
    pub fn parse(words: &[String]) -> Option<Self> {
        let mut roles = Self::default();
        for word in words {
            match word.as_str() {
                "requester" => roles.requester = true,
                "auditor" => roles.auditor = true,
                "admin" => roles.admin = true,
                "approver" => roles.approver = true,
                _ => return None,
            }
        }
        Some(roles)
    }

    /// The words of these roles, always in the same order.
    #[must_use]
    pub fn words(self) -> Vec<&'static str> {
        let roles = [
            ("requester", self.requester),
            ("auditor", self.auditor),
            ("admin", self.admin),
            ("approver", self.approver),
        ];
        roles.into_iter().filter_map(|(word, has)| has.then_some(word)).collect()
    }
}

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
    /// The token's id, to look it up again.
    pub token_id: String,
    /// The instant from which the credential no longer holds.
    pub expires_at: Time,
}

/// What a client is told when its token does not hold. The reasons are alike, so that nobody
/// learns which ids exist.
const NOT_VALID: &str = "this token is not valid: it is unknown, expired or revoked; ask for a new one";

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
}

impl AuthError {
    /// Stable, for clients.
    #[must_use]
    pub const fn code(self) -> &'static str {
        "unauthenticated"
    }

    /// What the client is told: how to send a token, or that this one does not hold.
    #[must_use]
    pub const fn message(self) -> &'static str {
        match self {
            Self::Missing | Self::NotBearer => "this needs an API token: send Authorization: Bearer <token>",
            Self::Several => "send one Authorization header, not several",
            Self::Malformed
            | Self::Unknown
            | Self::Wrong
            | Self::Expired
            | Self::Revoked
            | Self::RolesUnknown
            | Self::Changed => NOT_VALID,
        }
    }
}

/// The caller behind an `Authorization` header (RFC 6750 section 2.1), by the tokens that exist,
/// keyed by their id.
///
/// # Errors
/// There is no token in it, or the token does not hold at `now`.
pub fn authenticate<S: BuildHasher>(
    authorization: Option<&str>,
    tokens: &HashMap<String, TokenRecord, S>,
    now: Time,
) -> Result<Principal, AuthError> {
    let credential = bearer(authorization.ok_or(AuthError::Missing)?).ok_or(AuthError::NotBearer)?;
    let (id, hashed) = token::parse(credential).ok_or(AuthError::Malformed)?;
    let record = tokens.get(id);
    // Compared even where there is nothing to compare with, so that it takes the same time.
    let matches = hashed.matches(record.map_or(&[0; 32], |record| &record.secret_sha256));
    let record = record.ok_or(AuthError::Unknown)?;
    if matches { live(record, now) } else { Err(AuthError::Wrong) }
}

/// Whether a caller who was authenticated before still is: its token holds, with the same roles,
/// the same flag and the same owner.
///
/// # Errors
/// It does not hold any more, or something about it changed.
pub fn recheck<S: BuildHasher>(
    principal: &Principal,
    tokens: &HashMap<String, TokenRecord, S>,
    now: Time,
) -> Result<(), AuthError> {
    let record = tokens.get(&principal.token_id).ok_or(AuthError::Unknown)?;
    if live(record, now)? == *principal { Ok(()) } else { Err(AuthError::Changed) }
}

/// The token of `Bearer TOKEN`. The scheme is compared without case, RFC 9110 section 11.1.
fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, credential) = authorization.split_once(' ')?;
    let credential = credential.trim_start_matches(' ');
    (scheme.eq_ignore_ascii_case("bearer") && !credential.is_empty()).then_some(credential)
}

fn live(record: &TokenRecord, now: Time) -> Result<Principal, AuthError> {
    if record.revoked_at.is_some() {
        return Err(AuthError::Revoked);
    }
    if now >= record.expires_at {
        return Err(AuthError::Expired);
    }
    Ok(Principal {
        caller: Caller::token(&record.name),
        roles: Roles::parse(&record.roles).ok_or(AuthError::RolesUnknown)?,
        on_behalf_of: record.on_behalf_of,
        owner: record.owner.clone(),
        token_id: record.id.clone(),
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
        };
        (minted.plain.expose().to_owned(), HashMap::from([(minted.id, record)]))
    }

    fn header(text: &str) -> Result<Principal, AuthError> {
        authenticate(Some(text), &issued().1, NOW)
    }

    /// The outcome after the record was changed.
    fn with(change: impl FnOnce(&mut TokenRecord)) -> Result<Principal, AuthError> {
        let (plain, mut tokens) = issued();
        change(tokens.values_mut().next().unwrap());
        authenticate(Some(&format!("Bearer {plain}")), &tokens, NOW)
    }

    #[test]
    fn a_live_token_is_its_caller() {
        let (plain, _) = issued();
        for scheme in ["Bearer ", "bearer ", "BEARER  "] {
            let principal = header(&format!("{scheme}{plain}")).unwrap();
            assert_eq!(principal.caller.to_string(), "token:portal");
            assert_eq!(principal.roles, Roles { requester: true, ..Roles::default() });
            assert_eq!((principal.on_behalf_of, principal.owner.as_str()), (true, "web team"));
            assert_eq!(principal.expires_at, Time::from_unix(2_000));
        }
    }

    #[test]
    fn what_is_no_bearer_token_says_how_to_send_one() {
        let (plain, tokens) = issued();
        assert_eq!(authenticate(None, &tokens, NOW), Err(AuthError::Missing));
        for text in [
            "",
            "Bearer",
            "Bearer ",
            "Basic YTpi",
            &plain,
            &format!("Token {plain}"),
            &format!("Bearer\t{plain}"),
        ] {
            assert_eq!(header(text), Err(AuthError::NotBearer), "{text}");
        }
        assert!(AuthError::NotBearer.to_string().contains("Authorization: Bearer <token>"));
    }

    #[test]
    fn a_malformed_token_is_refused() {
        let (plain, _) = issued();
        let cut = &plain[..plain.len() - 1];
        for text in
            ["x", cut, &format!("{plain} "), &format!("{plain}, Bearer {plain}"), &format!("{plain}\t")]
        {
            assert_eq!(header(&format!("Bearer {text}")), Err(AuthError::Malformed), "{text}");
        }
    }

    #[test]
    fn an_unknown_id_and_a_wrong_secret_are_refused() {
        let other = token::mint(&[6; token::RANDOM_OCTETS]);
        assert_eq!(header(&format!("Bearer {}", other.plain.expose())), Err(AuthError::Unknown));
        let mut same_id = [5; token::RANDOM_OCTETS];
        same_id[39] = 6;
        let forged = token::mint(&same_id);
        assert_eq!(header(&format!("Bearer {}", forged.plain.expose())), Err(AuthError::Wrong));
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
        let principal = authenticate(Some(&format!("Bearer {plain}")), &tokens, NOW).unwrap();
        let after = |change: &dyn Fn(&mut TokenRecord)| {
            let mut tokens = tokens.clone();
            tokens.values_mut().for_each(change);
            recheck(&principal, &tokens, NOW)
        };
        assert_eq!(after(&|_| ()), Ok(()));
        assert_eq!(after(&|record| record.revoked_at = Some(NOW)), Err(AuthError::Revoked));
        assert_eq!(after(&|record| record.expires_at = NOW), Err(AuthError::Expired));
        assert_eq!(after(&|record| record.roles = words(&["requester", "admin"])), Err(AuthError::Changed));
        assert_eq!(after(&|record| record.on_behalf_of = false), Err(AuthError::Changed));
        assert_eq!(after(&|record| record.owner = "nobody".to_owned()), Err(AuthError::Changed));
        assert_eq!(recheck(&principal, &HashMap::<_, _>::new(), NOW), Err(AuthError::Unknown));
    }

    #[test]
    fn roles_are_read_as_they_are_written() {
        let all = words(&["requester", "auditor", "admin"]);
        assert_eq!(Roles::parse(&all).unwrap().words(), all);
        assert_eq!(Roles::parse(&words(&["admin", "requester"])).unwrap().words(), ["requester", "admin"]);
        assert_eq!(Roles::parse(&[]), Some(Roles::default()));
        for wrong in ["", "Admin", "admin ", "*", "requester,admin"] {
            assert_eq!(Roles::parse(&words(&[wrong])), None, "{wrong}");
        }
    }
}
