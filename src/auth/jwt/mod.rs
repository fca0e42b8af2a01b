//! JSON Web Tokens (RFC 7519, RFC 7515 compact), read strictly and verified against configured keys alone.
//!
//! What a token says of keys (`jku`, `jwk`, `x5u`, `x5c`) is never looked at. A library would do most of
//! this; ours has no HMAC in it that a public key could be taken for, and reads no member twice.

pub mod algorithm;
mod json;
pub mod keys;
pub mod standing;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

pub use algorithm::Algorithm;
pub use json::object;
pub use keys::{Key, KeySet};
pub use standing::Standing;

/// The longest token that is looked at, in bytes. Hosted identity providers stay below 8 KiB.
pub const LONGEST: usize = 16 * 1_024;

/// The longest `kid` that is looked for, in bytes.
const LONGEST_KID: usize = 512;

/// Why a JWT is no credential. Which one it is goes into the log, and never to the client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwtError {
    #[error("it is longer than 16 KiB")]
    TooLong,
    #[error("it is not three parts of base64url")]
    Parts,
    #[error("its header is no JSON object without repeated members")]
    Header,
    #[error("its payload is no JSON object without repeated members")]
    Payload,
    #[error("its header has crit, and nothing that is critical is understood")]
    Critical,
    #[error("its typ is not JWT or at+jwt")]
    Type,
    #[error("its alg is none that is ever accepted")]
    AlgorithmUnknown,
    #[error("its alg is not among the algorithms of its source")]
    AlgorithmNotAllowed,
    #[error("its kid is no text of at most 512 bytes")]
    KeyId,
    #[error("no source has its iss")]
    IssuerUnknown,
    #[error("no key of its source has its kid and its alg")]
    KeyUnknown,
    #[error("the key of its kid is shown by another source too, so it verifies for neither")]
    KeyShared,
    #[error("its signature does not verify")]
    Signature,
    #[error("its {0} is missing or not of the right type")]
    Claim(&'static str),
    #[error("it is for another audience")]
    Audience,
    #[error("it has expired")]
    Expired,
    #[error("it is not valid yet")]
    NotYet,
    #[error("it is older, or for longer, than max_token_age")]
    TooOld,
    #[error("its claim {0} is not what required_claims asks for")]
    Required(String),
    #[error("its claim {0} gives no user name: {1}")]
    UserName(String, String),
    #[error("its email is not verified: email_verified is not true")]
    EmailNotVerified,
    #[error("its groups are left out for being too many")]
    GroupsLeftOut,
    #[error("its claim {0} is no list of group names")]
    Groups(String),
    #[error("its sub and its claim kubernetes.io do not name one service account")]
    ServiceAccount,
}

impl JwtError {
    /// In a word, for the audit log and for counts.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLong => "jwt_too_long",
            Self::Parts | Self::Header | Self::Payload => "jwt_malformed",
            Self::Critical | Self::Type | Self::KeyId => "jwt_header",
            Self::AlgorithmUnknown | Self::AlgorithmNotAllowed => "jwt_algorithm",
            Self::IssuerUnknown => "jwt_issuer",
            Self::KeyUnknown => "jwt_key_unknown",
            Self::KeyShared => "jwt_key_shared",
            Self::Signature => "jwt_signature",
            Self::Claim(_) => "jwt_claim",
            Self::Audience => "jwt_audience",
            Self::Expired => "jwt_expired",
            Self::NotYet => "jwt_not_yet_valid",
            Self::TooOld => "jwt_too_old",
            Self::Required(_) => "jwt_required_claim",
            Self::UserName(..) | Self::EmailNotVerified => "jwt_user_name",
            Self::GroupsLeftOut | Self::Groups(_) => "jwt_groups",
            Self::ServiceAccount => "jwt_service_account",
        }
    }
}

/// The header, as far as it means anything here (RFC 7515 section 4.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// How it is signed.
    pub algorithm: Algorithm,
    /// Which key signed it, where it says so.
    pub key_id: Option<String>,
}

/// A token that was read, of which nothing is known to be true.
#[derive(Debug)]
pub struct Unverified<'t> {
    /// The header.
    pub header: Header,
    /// What is signed.
    signed: &'t str,
    signature: Vec<u8>,
    claims: Map<String, Value>,
}

/// The claims of a token whose signature verified.
pub type Claims = Map<String, Value>;

impl<'t> Unverified<'t> {
    /// Reads a compact JWS.
    ///
    /// # Errors
    /// What is wrong with its form.
    pub fn read(text: &'t str) -> Result<Self, JwtError> {
        if text.len() > LONGEST {
            return Err(JwtError::TooLong);
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(JwtError::Parts)?;
        let (header, payload) = signed.split_once('.').ok_or(JwtError::Parts)?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| JwtError::Parts);
        let header = read_header(&object(&decode(header)?).ok_or(JwtError::Header)?)?;
        let claims = object(&decode(payload)?).ok_or(JwtError::Payload)?;
        Ok(Self { header, signed, signature: decode(signature)?, claims })
    }

    /// `iss`, to find out by whose keys it is to be verified.
    ///
    /// # Errors
    /// `Claim`.
    pub fn issuer(&self) -> Result<&str, JwtError> {
        self.claims.get("iss").and_then(Value::as_str).ok_or(JwtError::Claim("iss"))
    }

    /// Whether `key` signed it.
    #[must_use]
    pub fn is_signed_by(&self, key: &Key) -> bool {
        key.verifies(self.header.algorithm, self.signed.as_bytes(), &self.signature)
    }

    /// The claims, once a key of its issuer has verified them.
    #[must_use]
    pub fn into_claims(self) -> Claims {
        self.claims
    }
}

fn read_header(header: &Map<String, Value>) -> Result<Header, JwtError> {
    if header.contains_key("crit") {
        return Err(JwtError::Critical);
    }
    match header.get("typ") {
        None => {}
        // RFC 7515 section 4.1.9: compared without case, and "application/" may be left out.
        Some(Value::String(kind)) if is_type(kind) => {}
        Some(_) => return Err(JwtError::Type),
    }
    let algorithm = header.get("alg").and_then(Value::as_str).and_then(Algorithm::parse);
    let key_id = match header.get("kid") {
        None => None,
        Some(Value::String(kid)) if kid.len() <= LONGEST_KID => Some(kid.clone()),
        Some(_) => return Err(JwtError::KeyId),
    };
    Ok(Header { algorithm: algorithm.ok_or(JwtError::AlgorithmUnknown)?, key_id })
}

/// `JWT`, or an access token of RFC 9068.
fn is_type(kind: &str) -> bool {
    let kind = kind.to_ascii_lowercase();
    matches!(kind.strip_prefix("application/").unwrap_or(&kind), "jwt" | "at+jwt")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(header: &str, payload: &str) -> String {
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        format!("{}.{}.{}", part(header), part(payload), part("signature"))
    }

    fn error(header: &str, payload: &str) -> JwtError {
        Unverified::read(&token(header, payload)).unwrap_err()
    }

    #[test]
    fn a_compact_token_is_read() {
        let text =
            token(r#"{"alg":"RS256","kid":"k","typ":"JWT","jku":"https://evil.example"}"#, r#"{"iss":"i"}"#);
        let read = Unverified::read(&text).unwrap();
        assert_eq!(read.header, Header { algorithm: Algorithm::RS256, key_id: Some("k".to_owned()) });
        assert_eq!(read.issuer(), Ok("i"));
        for kind in ["jwt", "at+jwt", "application/at+jwt", "application/JWT"] {
            let text = token(&format!(r#"{{"alg":"ES256","typ":"{kind}"}}"#), "{}");
            assert!(Unverified::read(&text).is_ok(), "{kind}");
        }
    }

    #[test]
    fn what_is_not_three_parts_of_base64url_is_refused() {
        let good = token(r#"{"alg":"RS256"}"#, "{}");
        let (head, _) = good.rsplit_once('.').unwrap();
        for text in [
            "",
            "x",
            "a.b",
            ".",
            "..",
            "a.b.c.d",
            head,
            &format!("{good}="),
            &format!("{good}."),
            &format!(" {good}"),
            &format!("{good}\n"),
            &good.replace('.', ".."),
            &format!("{head}.a+b/"),
        ] {
            assert!(Unverified::read(text).is_err(), "{text}");
        }
        assert_eq!(Unverified::read(&"a".repeat(LONGEST + 1)).unwrap_err(), JwtError::TooLong);
    }

    #[test]
    fn only_signatures_with_public_keys_are_known() {
        for alg in [
            "none", "None", "NONE", "", "HS256", "HS384", "HS512", "RS1", "rs256", "RS256 ", "A256GCM", "dir",
        ] {
            assert_eq!(error(&format!(r#"{{"alg":"{alg}"}}"#), "{}"), JwtError::AlgorithmUnknown, "{alg}");
        }
        for header in ["{}", r#"{"alg":null}"#, r#"{"alg":1}"#, r#"{"alg":["RS256"]}"#] {
            assert_eq!(error(header, "{}"), JwtError::AlgorithmUnknown, "{header}");
        }
    }

    #[test]
    fn a_header_that_means_more_than_is_understood_is_refused() {
        assert_eq!(error(r#"{"alg":"RS256","crit":["exp"],"exp":1}"#, "{}"), JwtError::Critical);
        assert_eq!(error(r#"{"alg":"RS256","crit":[]}"#, "{}"), JwtError::Critical);
        for kind in [r#""JWE""#, r#""logout+jwt""#, "1", "null", r#""""#] {
            assert_eq!(error(&format!(r#"{{"alg":"RS256","typ":{kind}}}"#), "{}"), JwtError::Type, "{kind}");
        }
        for kid in ["1", "null", r#"["k"]"#, &format!("\"{}\"", "k".repeat(513))] {
            assert_eq!(error(&format!(r#"{{"alg":"RS256","kid":{kid}}}"#), "{}"), JwtError::KeyId, "{kid}");
        }
    }

    #[test]
    fn a_repeated_member_is_refused_wherever_it_stands() {
        assert_eq!(error(r#"{"alg":"RS256","alg":"RS256"}"#, "{}"), JwtError::Header);
        for payload in [
            r#"{"sub":"a","sub":"b"}"#,
            r#"{"a":{"b":1,"b":2}}"#,
            r#"{"a":[{"b":1,"b":1}]}"#,
            r#"{"a":1,"\u0061":2}"#,
        ] {
            assert_eq!(error(r#"{"alg":"RS256"}"#, payload), JwtError::Payload, "{payload}");
        }
    }

    #[test]
    fn what_is_no_json_object_is_refused() {
        for payload in ["", "null", "[]", "1", "{} {}", "{", "{\"a\":1,}", "\u{feff}{}"] {
            assert_eq!(error(r#"{"alg":"RS256"}"#, payload), JwtError::Payload, "{payload}");
            assert_eq!(error(payload, "{}"), JwtError::Header, "{payload}");
        }
        let deep = format!("{}{}", "{\"a\":".repeat(5_000), "}".repeat(5_000));
        assert_eq!(error(r#"{"alg":"RS256"}"#, &deep[..9_000]), JwtError::Payload);
    }
}
