//! API tokens.
//!
//! ```text
//! cs1_0123456789ab_<43 characters of secret><6 characters of checksum>
//! ```
//!
//! `cs1` says what it is and in which version. Then the id, 60 random bits in Crockford's base32 in
//! lower case, by which the token is looked up and which may be shown; then the secret, 256 random
//! bits in base62; then the first 32 bits of the SHA-256 of everything before, in base62, by which
//! a mistyped token is told apart without a look-up, and by which a scanner tells a token from
//! chance. A secret scanner finds one with
//!
//! ```text
//! \bcs1_[0-9a-hjkmnp-tv-z]{12}_[0-9A-Za-z]{49}\b
//! ```
//!
//! Only the SHA-256 of the secret is stored. The secret has 256 bits, so a slow hash, which is for
//! passwords that people think up, adds nothing.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::time::Lifetime;

/// What every token begins with.
pub const PREFIX: &str = "cs1_";
/// How many random octets [`mint`] takes.
pub const RANDOM_OCTETS: usize = 40;

/// How long tokens and their replaced secrets last.
#[derive(Clone, Copy, Debug)]
pub struct Hold;

impl Hold {
    /// Where nothing is asked: 90 days.
    pub const USUAL: Lifetime = Lifetime::from_seconds(90 * 86_400);
    /// The longest that a token lasts: one year.
    pub const LONGEST: Lifetime = Lifetime::from_seconds(365 * 86_400);
    /// How long a replaced secret goes on where nothing is asked: one hour.
    pub const USUAL_GRACE: Lifetime = Lifetime::from_seconds(3_600);
    /// The longest that it does: seven days.
    pub const LONGEST_GRACE: Lifetime = Lifetime::from_seconds(7 * 86_400);

    /// How long a token lasts that is to last for `asked`.
    ///
    /// # Errors
    /// A sentence that says between what it must be.
    pub fn lifetime(asked: Option<Lifetime>) -> Result<Lifetime, String> {
        let lifetime = asked.unwrap_or(Self::USUAL);
        if lifetime.seconds() == 0 || lifetime > Self::LONGEST {
            return Err(format!("expires {lifetime}: a token lasts between one second and 365d"));
        }
        Ok(lifetime)
    }

    /// How long a replaced secret goes on that is to go on for `asked`.
    ///
    /// # Errors
    /// A sentence that says how long at most.
    pub fn grace(asked: Option<Lifetime>) -> Result<Lifetime, String> {
        let grace = asked.unwrap_or(Self::USUAL_GRACE);
        if grace > Self::LONGEST_GRACE {
            return Err(format!("grace {grace}: a replaced secret goes on for 7d at most"));
        }
        Ok(grace)
    }
}

/// Characters of an id.
const ID_LENGTH: usize = 12;
/// Characters of a secret: 62^43 is just above 2^256.
const SECRET_LENGTH: usize = 43;
/// Characters of a checksum: 62^6 is above 2^32.
const CHECKSUM_LENGTH: usize = 6;
const BASE32: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A whole token, as its holder sends it. Its memory is wiped.
#[derive(Clone)]
pub struct TokenSecret(Zeroizing<String>);

impl TokenSecret {
    /// The text. To be shown once, where the token is made, and nowhere else.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for TokenSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenSecret")
    }
}

/// The SHA-256 of a token's secret part.
#[derive(Clone, Copy)]
pub struct HashedSecret([u8; 32]);

impl HashedSecret {
    /// What is stored.
    #[must_use]
    pub const fn octets(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether this is the hash in `stored`, in a time that does not depend on either.
    #[must_use]
    pub fn matches(&self, stored: &[u8; 32]) -> bool {
        self.0.ct_eq(stored).into()
    }

    fn of(secret: &str) -> Self {
        Self(digest(&SHA256, secret.as_bytes()).as_ref().try_into().unwrap_or_default())
    }
}

impl fmt::Debug for HashedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HashedSecret")
    }
}

/// A new token.
#[derive(Debug)]
pub struct Minted {
    /// For its holder, once.
    pub plain: TokenSecret,
    /// By which it is looked up.
    pub id: String,
    /// What is stored.
    pub hashed: HashedSecret,
}

/// A token out of random octets: the first eight become the id, the rest the secret.
#[must_use]
pub fn mint(random: &[u8; RANDOM_OCTETS]) -> Minted {
    let (id, secret) = random.split_at(8);
    let id = base32(id);
    let secret = Zeroizing::new(base62(secret, SECRET_LENGTH));
    let mut plain = Zeroizing::new(String::with_capacity(80));
    for part in [PREFIX, &id, "_", &secret] {
        plain.push_str(part);
    }
    let checksum = checksum(&plain);
    plain.push_str(&checksum);
    Minted { hashed: HashedSecret::of(&secret), plain: TokenSecret(plain), id }
}

/// The id and the hash of a token that somebody sent; none if it is not of our making or mistyped.
#[must_use]
pub fn parse(text: &str) -> Option<(&str, HashedSecret)> {
    let (id, rest) = text.strip_prefix(PREFIX)?.split_once('_')?;
    if id.len() != ID_LENGTH || !id.bytes().all(|b| BASE32.contains(&b)) {
        return None;
    }
    if rest.len() != SECRET_LENGTH + CHECKSUM_LENGTH || !rest.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return None;
    }
    let (secret, end) = rest.split_at(SECRET_LENGTH);
    let before = text.strip_suffix(end)?;
    (checksum(before) == end).then(|| (id, HashedSecret::of(secret)))
}

fn checksum(text: &str) -> String {
    let hash = digest(&SHA256, text.as_bytes());
    base62(hash.as_ref().get(..4).unwrap_or_default(), CHECKSUM_LENGTH)
}

/// Five bits of each character, of the first 60 bits.
fn base32(octets: &[u8]) -> String {
    let number = octets.iter().fold(0_u64, |number, octet| (number << 8) | u64::from(*octet));
    let digit = |place: usize| {
        let bits = number >> (64_usize.saturating_sub(place.saturating_add(1).saturating_mul(5)));
        letter(BASE32, usize::try_from(bits & 31).unwrap_or(0))
    };
    (0..ID_LENGTH).map(digit).collect()
}

/// The number that the octets spell, most significant digit first, with leading zeros.
fn base62(octets: &[u8], length: usize) -> String {
    let mut number = Zeroizing::new(octets.to_vec());
    let mut digits = Zeroizing::new(vec!['0'; length]);
    for place in digits.iter_mut().rev() {
        let mut remainder = 0_u32;
        for octet in number.iter_mut() {
            let value = (remainder << 8) | u32::from(*octet);
            *octet = u8::try_from(value / 62).unwrap_or(0);
            remainder = value % 62;
        }
        *place = letter(BASE62, usize::try_from(remainder).unwrap_or(0));
    }
    digits.iter().collect()
}

fn letter(alphabet: &[u8], digit: usize) -> char {
    alphabet.get(digit).copied().map_or('0', char::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random(seed: u8) -> [u8; RANDOM_OCTETS] {
        std::array::from_fn(|i| u8::try_from(i).unwrap().wrapping_mul(37).wrapping_add(seed))
    }

    #[test]
    fn a_token_has_the_documented_form() {
        for seed in 0..=255 {
            let minted = mint(&random(seed));
            let plain = minted.plain.expose();
            assert_eq!(plain.len(), 4 + 12 + 1 + 49, "{plain}");
            let (id, rest) = plain.strip_prefix("cs1_").unwrap().split_once('_').unwrap();
            assert!(
                id.bytes().all(|b| b.is_ascii_digit() || (b.is_ascii_lowercase() && !b"ilou".contains(&b)))
            );
            assert!(rest.bytes().all(|b| b.is_ascii_alphanumeric()));
            assert_eq!(id, minted.id);
        }
    }

    #[test]
    fn the_encodings_are_those_of_the_numbers() {
        assert_eq!(base62(&[0xff; 32], SECRET_LENGTH), "yhjskwdA6OZ1AL1YmHWZWm8LLG7HjnuCA2j5rOw8Xp1");
        assert_eq!(base62(&[0; 32], SECRET_LENGTH), "0".repeat(43));
        assert_eq!(base62(&[0, 0, 0, 62], CHECKSUM_LENGTH), "000010");
        assert_eq!(base62(&[0xff; 4], CHECKSUM_LENGTH), "4gfFC3");
        assert_eq!(base32(&[0xff; 8]), "zzzzzzzzzzzz");
        assert_eq!(base32(&[0x08, 0x42, 0x10, 0x84, 0x21, 0x08, 0x42, 0x1f]), "111111111111");
    }

    #[test]
    fn a_token_reads_back_to_its_id_and_hash() {
        let minted = mint(&random(7));
        let (id, hashed) = parse(minted.plain.expose()).unwrap();
        assert_eq!(id, minted.id);
        assert!(hashed.matches(minted.hashed.octets()));
        assert!(!hashed.matches(mint(&random(8)).hashed.octets()));
    }

    #[test]
    fn every_single_mistyped_character_is_noticed() {
        let plain = mint(&random(7)).plain.expose().to_owned();
        for place in 0..plain.len() {
            for other in ["0", "Z", "z", "_", "-", " ", "é"] {
                let mut typed = plain.clone();
                typed.replace_range(place..=place, other);
                assert!(typed == plain || parse(&typed).is_none(), "{typed}");
            }
        }
    }

    #[test]
    fn more_or_less_than_a_token_is_none() {
        let plain = mint(&random(7)).plain.expose().to_owned();
        for text in [
            String::new(),
            "cs1_".to_owned(),
            plain[..plain.len() - 1].to_owned(),
            format!("{plain}0"),
            format!(" {plain}"),
            format!("{plain}\n"),
            plain.to_uppercase(),
            plain.replace("cs1_", "cs2_"),
        ] {
            assert!(parse(&text).is_none(), "{text}");
        }
    }

    #[test]
    fn debug_output_shows_no_secret() {
        let minted = mint(&random(7));
        let text = format!("{minted:?}");
        let expected = format!("Minted {{ plain: TokenSecret, id: {:?}, hashed: HashedSecret }}", minted.id);
        assert_eq!(text, expected);
    }
}
