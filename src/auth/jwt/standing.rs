//! The registered claims of a token (RFC 7519 section 4.1): for whom, from when and until when.

use serde_json::Value;

use super::{Claims, JwtError};
use crate::time::{Lifetime, Time};

/// How far an issuer's clock may be ahead, in seconds. An end is an end: `exp` has no leeway.
const LEEWAY: i64 = 60;

/// The last second of the year 9999, the last that is written.
const LATEST: i64 = 253_402_300_799;

/// The longest `sub`, in bytes (OpenID Connect Core section 2).
const LONGEST_SUBJECT: usize = 255;

/// When a token holds, once it is known to be meant for this service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// `sub`: whom it speaks of, for its issuer.
    pub subject: String,
    not_before: Time,
    /// From then on it does not hold: its `exp`, or the end of its greatest age.
    pub expires_at: Time,
}

impl Standing {
    /// Reads what every token must say.
    ///
    /// # Errors
    /// A claim is missing, of another type, for somebody else, or a time that is too far off.
    pub fn read(claims: &Claims, audience: &str, most: Lifetime) -> Result<Self, JwtError> {
        check_audience(claims.get("aud"), audience)?;
        let subject = claims.get("sub").and_then(Value::as_str).filter(|sub| is_subject(sub));
        let subject = subject.ok_or(JwtError::Claim("sub"))?.to_owned();
        let expires = time(claims.get("exp")).ok_or(JwtError::Claim("exp"))?;
        let issued = time(claims.get("iat")).ok_or(JwtError::Claim("iat"))?;
        let not_before = match claims.get("nbf") {
            None => issued,
            some => time(some).ok_or(JwtError::Claim("nbf"))?,
        };
        let age = expires.seconds_since(issued);
        if age > i64::from(most.seconds()) {
            return Err(JwtError::TooOld);
        }
        if age <= 0 {
            return Err(JwtError::Claim("exp"));
        }
        Ok(Self { subject, not_before: not_before.max(issued), expires_at: expires.min(issued.after(most)) })
    }

    /// Whether it holds at `now`.
    ///
    /// # Errors
    /// `Expired`, `NotYet`.
    pub fn check(&self, now: Time) -> Result<(), JwtError> {
        if now >= self.expires_at {
            return Err(JwtError::Expired);
        }
        if self.not_before.seconds_since(now) > LEEWAY {
            return Err(JwtError::NotYet);
        }
        Ok(())
    }
}

/// A text or a list of texts, one of which is this service.
fn check_audience(aud: Option<&Value>, audience: &str) -> Result<(), JwtError> {
    let meant = match aud {
        Some(Value::String(one)) => one == audience,
        Some(Value::Array(list)) if !list.is_empty() && list.iter().all(Value::is_string) => {
            list.iter().any(|one| one.as_str() == Some(audience))
        }
        _ => return Err(JwtError::Claim("aud")),
    };
    if meant { Ok(()) } else { Err(JwtError::Audience) }
}

fn is_subject(text: &str) -> bool {
    (1..=LONGEST_SUBJECT).contains(&text.len()) && !text.contains(char::is_control)
}

/// A `NumericDate`: a number of seconds, perhaps with a fraction, which is dropped.
fn time(value: Option<&Value>) -> Option<Time> {
    let number = value?.as_number()?;
    let whole = match number.as_i64() {
        Some(whole) => whole,
        None => number.to_string().split_once('.').filter(|(_, rest)| is_digits(rest))?.0.parse().ok()?,
    };
    (0..=LATEST).contains(&whole).then(|| Time::from_unix(whole))
}

fn is_digits(text: &str) -> bool {
    text.bytes().all(|octet| octet.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const HOUR: Lifetime = Lifetime::from_seconds(3_600);

    fn read(claims: Value) -> Result<Standing, JwtError> {
        let Value::Object(claims) = claims else { panic!("an object") };
        Standing::read(&claims, "countersign", HOUR)
    }

    fn with(name: &str, value: Value) -> Result<Standing, JwtError> {
        let mut claims = json!({ "aud": "countersign", "sub": "s", "iat": 1_000, "exp": 2_000 });
        claims[name] = value;
        read(claims)
    }

    #[test]
    fn a_sound_token_holds_until_its_end() {
        let standing = with("aud", json!(["other", "countersign"])).unwrap();
        assert_eq!((standing.subject.as_str(), standing.expires_at), ("s", Time::from_unix(2_000)));
        let at = |seconds| standing.check(Time::from_unix(seconds));
        assert_eq!((at(1_999), at(2_000)), (Ok(()), Err(JwtError::Expired)));
        assert_eq!((at(940), at(939)), (Ok(()), Err(JwtError::NotYet)));
        assert_eq!(with("exp", json!(1_999.9)).unwrap().expires_at, Time::from_unix(1_999));
    }

    #[test]
    fn not_before_counts_with_a_minute_of_leeway() {
        let standing = with("nbf", json!(1_500)).unwrap();
        assert_eq!(standing.check(Time::from_unix(1_440)), Ok(()));
        assert_eq!(standing.check(Time::from_unix(1_439)), Err(JwtError::NotYet));
    }

    #[test]
    fn neither_life_nor_age_may_exceed_the_greatest() {
        assert!(with("exp", json!(4_600)).is_ok());
        assert_eq!(with("exp", json!(4_601)), Err(JwtError::TooOld));
        assert_eq!(with("exp", json!(1_000)), Err(JwtError::Claim("exp")));
        assert_eq!(with("exp", json!(10)), Err(JwtError::Claim("exp")));
    }

    #[test]
    fn a_claim_of_another_type_is_no_claim() {
        let wrong = [
            json!(null),
            json!(true),
            json!({}),
            json!("2000"),
            json!([2_000]),
            json!(-1),
            json!(1e30),
            json!(1e300),
        ];
        for value in wrong {
            for name in ["exp", "iat", "nbf"] {
                let error = with(name, value.clone()).unwrap_err();
                assert_eq!(
                    error,
                    JwtError::Claim(if name == "exp" {
                        "exp"
                    } else if name == "iat" {
                        "iat"
                    } else {
                        "nbf"
                    }),
                    "{value}"
                );
            }
        }
        for value in [json!(null), json!(1), json!(""), json!("a\nb"), json!(["s"]), json!("s".repeat(256))] {
            assert_eq!(with("sub", value.clone()), Err(JwtError::Claim("sub")), "{value}");
        }
        for value in
            [json!(null), json!(1), json!({}), json!([]), json!(["countersign", 1]), json!([["countersign"]])]
        {
            assert_eq!(with("aud", value.clone()), Err(JwtError::Claim("aud")), "{value}");
        }
        for value in
            [json!("other"), json!("Countersign"), json!("countersign "), json!(["other"]), json!("")]
        {
            assert_eq!(with("aud", value.clone()), Err(JwtError::Audience), "{value}");
        }
    }

    #[test]
    fn a_claim_that_is_missing_is_missed() {
        let whole = json!({ "aud": "countersign", "sub": "s", "iat": 1_000, "exp": 2_000 });
        for name in ["aud", "sub", "iat", "exp"] {
            let mut claims = whole.clone();
            claims.as_object_mut().unwrap().remove(name);
            assert!(matches!(read(claims), Err(JwtError::Claim(missed)) if missed == name), "{name}");
        }
    }
}
