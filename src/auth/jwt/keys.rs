//! The public keys of one issuer (RFC 7517), each usable in one way only.

use std::collections::BTreeSet;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{RsaPublicKeyComponents, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::algorithm::{Algorithm, Verifier};

/// The most keys that a set may hold.
const MOST_KEYS: usize = 64;
/// The octets of the least modulus: 2048 bits. A shorter one verifies nothing.
const LEAST_MODULUS: usize = 256;
/// The octets of the largest modulus, so that a hostile set costs nothing much.
const LARGEST_MODULUS: usize = 1_024;

/// One key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// `kid`, where it has one.
    pub id: Option<String>,
    /// `alg`, where it is bound to one.
    algorithm: Option<Algorithm>,
    material: Material,
    /// SHA-256 over its kind and its numbers: the same key has the same, whatever it is called.
    pub fingerprint: [u8; 32],
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Material {
    Rsa { modulus: Vec<u8>, exponent: Vec<u8> },
    Ec { curve: &'static str, point: Vec<u8> },
    Ed(Vec<u8>),
}

impl Key {
    /// Reads one JWK. `Ok(None)`: a key for something else, which verifies nothing here.
    ///
    /// # Errors
    /// What is wrong with a key for signatures.
    fn read(jwk: &Map<String, Value>) -> Result<Option<Self>, String> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        if jwk.get("use").is_some_and(|usage| usage.as_str() != Some("sig"))
            || !may_verify(jwk.get("key_ops"))
        {
            return Ok(None);
        }
        let algorithm = match jwk.get("alg") {
            None => None,
            Some(alg) => match alg.as_str().and_then(Algorithm::parse) {
                Some(algorithm) => Some(algorithm),
                None => return Ok(None),
            },
        };
        let octets = |name: &str| {
            let value = text(name).and_then(|value| URL_SAFE_NO_PAD.decode(value).ok());
            value.ok_or_else(|| format!("its `{name}` is no base64url"))
        };
        let material = match text("kty") {
            Some("RSA") => rsa(&octets("n")?, &octets("e")?)?,
            Some("EC") => match curve(text("crv")) {
                Some((curve, length)) => ec(curve, length, &octets("x")?, &octets("y")?)?,
                None => return Ok(None),
            },
            Some("OKP") if text("crv") == Some("Ed25519") => ed(octets("x")?)?,
            _ => return Ok(None),
        };
        if jwk.contains_key("d") {
            return Err("it has the private half too, so it is no longer a secret: replace it".to_owned());
        }
        let id = text("kid").map(str::to_owned);
        let fingerprint = material.fingerprint();
        Ok(Some(Self { id, algorithm, material, fingerprint }))
    }

    /// Whether this key may verify, and does verify, `signature` under `algorithm`.
    #[must_use]
    pub fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        if !self.is_for(algorithm) {
            return false;
        }
        match (algorithm.verifier(), &self.material) {
            (Verifier::Rsa(parameters), Material::Rsa { modulus, exponent }) => {
                RsaPublicKeyComponents { n: modulus, e: exponent }
                    .verify(parameters, message, signature)
                    .is_ok()
            }
            (Verifier::Ec(verifying, _), Material::Ec { point, .. }) => {
                UnparsedPublicKey::new(verifying, point).verify(message, signature).is_ok()
            }
            (Verifier::Ed(verifying), Material::Ed(point)) => {
                UnparsedPublicKey::new(verifying, point).verify(message, signature).is_ok()
            }
            _ => false,
        }
    }

    /// Whether this is a key of the kind, the curve and, where it is bound to one, the algorithm.
    #[must_use]
    pub fn is_for(&self, algorithm: Algorithm) -> bool {
        let kind = match (algorithm.verifier(), &self.material) {
            (Verifier::Rsa(_), Material::Rsa { .. }) | (Verifier::Ed(_), Material::Ed(_)) => true,
            (Verifier::Ec(_, wanted), Material::Ec { curve, .. }) => wanted == *curve,
            _ => false,
        };
        kind && self.algorithm.is_none_or(|own| own == algorithm)
    }
}

/// `key_ops` (RFC 7517 section 4.3): verifying is among them, or they are not told.
fn may_verify(operations: Option<&Value>) -> bool {
    let Some(operations) = operations else { return true };
    operations.as_array().is_some_and(|list| list.iter().any(|one| one.as_str() == Some("verify")))
}

fn curve(name: Option<&str>) -> Option<(&'static str, usize)> {
    [("P-256", 32), ("P-384", 48), ("P-521", 66)].into_iter().find(|(known, _)| Some(*known) == name)
}

fn rsa(modulus: &[u8], exponent: &[u8]) -> Result<Material, String> {
    let stripped =
        |number: &[u8]| number.iter().copied().skip_while(|octet| *octet == 0).collect::<Vec<u8>>();
    let (modulus, exponent) = (stripped(modulus), stripped(exponent));
    let full = modulus.len() > LEAST_MODULUS || modulus.first().is_some_and(|first| *first >= 0x80);
    if modulus.len() < LEAST_MODULUS || !full {
        return Err("its modulus has under 2048 bits".to_owned());
    }
    if modulus.len() > LARGEST_MODULUS {
        return Err("its modulus has over 8192 bits".to_owned());
    }
    let odd = exponent.last().is_some_and(|last| last & 1 == 1);
    if !odd || exponent.as_slice() == [1] || exponent.len() > 4 {
        return Err("its exponent is not an odd number from 3 to 2^32".to_owned());
    }
    Ok(Material::Rsa { modulus, exponent })
}

fn ec(curve: &'static str, length: usize, x: &[u8], y: &[u8]) -> Result<Material, String> {
    if x.len() != length || y.len() != length {
        return Err("its coordinates are not as long as its curve wants".to_owned());
    }
    Ok(Material::Ec { curve, point: [&[4], x, y].concat() })
}

fn ed(point: Vec<u8>) -> Result<Material, String> {
    if point.len() == 32 { Ok(Material::Ed(point)) } else { Err("its x has not 32 octets".to_owned()) }
}

impl Material {
    fn fingerprint(&self) -> [u8; 32] {
        let parts: [&[u8]; 3] = match self {
            Self::Rsa { modulus, exponent } => [b"RSA", modulus, exponent],
            Self::Ec { curve, point } => [b"EC", curve.as_bytes(), point],
            Self::Ed(point) => [b"OKP", b"Ed25519", point],
        };
        let text = serde_json::json!(parts).to_string();
        digest(&SHA256, text.as_bytes()).as_ref().try_into().unwrap_or_default()
    }
}

/// The keys of one issuer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeySet {
    keys: Vec<Key>,
    /// One sentence for each key that was left out.
    pub left_out: Vec<String>,
}

impl KeySet {
    /// Reads a JWK set. Keys for other uses, and bad ones, are left out.
    ///
    /// # Errors
    /// It is no JWK set, it holds a private or far too many keys, or no key that verifies anything.
    pub fn read(octets: &[u8]) -> Result<Self, String> {
        let set = super::object(octets).ok_or("it is no JSON object without repeated members")?;
        let list = set.get("keys").and_then(Value::as_array).ok_or("it has no list `keys`")?;
        if list.len() > MOST_KEYS {
            return Err(format!("it has more than {MOST_KEYS} keys"));
        }
        let mut read = Self::default();
        for (place, jwk) in list.iter().enumerate() {
            let jwk = jwk.as_object().ok_or_else(|| format!("keys[{place}] is no JSON object"))?;
            match Key::read(jwk) {
                Ok(key) => read.keys.extend(key),
                Err(reason) => read.left_out.push(format!("keys[{place}]: {reason}")),
            }
        }
        if read.keys.is_empty() {
            let why = read.left_out.first().map_or("it has none for signatures", String::as_str);
            return Err(format!("it holds no key that can be used: {why}"));
        }
        Ok(read)
    }

    /// The keys that may have signed what has this `kid` and `alg`. A token without a `kid` may be signed
    /// by any of them.
    pub fn candidates<'k>(
        &'k self,
        id: Option<&'k str>,
        algorithm: Algorithm,
    ) -> impl Iterator<Item = &'k Key> {
        let named = move |key: &&Key| id.is_none_or(|id| key.id.as_deref() == Some(id));
        self.keys.iter().filter(named).filter(move |key| key.is_for(algorithm))
    }

    /// Whether it holds this very key.
    #[must_use]
    pub fn holds(&self, fingerprint: &[u8; 32]) -> bool {
        self.keys.iter().any(|key| key.fingerprint == *fingerprint)
    }

    /// Whether it holds no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether a key is in both.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.keys.iter().any(|key| other.holds(&key.fingerprint))
    }

    /// The keys of it that are in none of `others`.
    #[must_use]
    pub fn without<'k>(&self, others: impl Iterator<Item = &'k Self>) -> Self {
        let taken: BTreeSet<_> = others.flat_map(|set| set.keys.iter().map(|key| key.fingerprint)).collect();
        let own = self.keys.iter().filter(|key| !taken.contains(&key.fingerprint));
        Self { keys: own.cloned().collect(), left_out: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
    use serde_json::json;

    fn encode(octets: &[u8]) -> String {
        URL_SAFE_NO_PAD.encode(octets)
    }

    fn ec_pair() -> (EcdsaKeyPair, Value) {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let point = pair.public_key().as_ref().to_vec();
        let jwk = json!({ "kty": "EC", "crv": "P-256", "kid": "one", "use": "sig", "x": encode(&point[1..33]), "y": encode(&point[33..]) });
        (pair, jwk)
    }

    fn with(mut jwk: Value, name: &str, value: Value) -> Value {
        jwk[name] = value;
        jwk
    }

    fn set(keys: &[Value]) -> Result<KeySet, String> {
        KeySet::read(json!({ "keys": keys }).to_string().as_bytes())
    }

    fn rsa_jwk(bits: usize) -> Value {
        let mut modulus = vec![0xa5; bits / 8];
        modulus[bits / 8 - 1] = 1;
        json!({ "kty": "RSA", "n": encode(&modulus), "e": "AQAB" })
    }

    #[test]
    fn a_signature_verifies_under_its_own_key_and_algorithm_only() {
        let (pair, jwk) = ec_pair();
        let signature = pair.sign(&SystemRandom::new(), b"message").unwrap();
        let key = &set(std::slice::from_ref(&jwk)).unwrap().keys[0];
        assert!(key.verifies(Algorithm::ES256, b"message", signature.as_ref()));
        assert!(!key.verifies(Algorithm::ES256, b"another", signature.as_ref()));
        assert!(!key.verifies(Algorithm::ES256, b"message", &[0; 64]));
        assert!(!key.verifies(Algorithm::ES256, b"message", &[]));
        for (_, other) in Algorithm::ALL.into_iter().filter(|(name, _)| *name != "ES256") {
            assert!(!key.verifies(other, b"message", signature.as_ref()), "{other:?}");
        }
        let other = &set(&[ec_pair().1]).unwrap().keys[0];
        assert!(!other.verifies(Algorithm::ES256, b"message", signature.as_ref()));
    }

    #[test]
    fn an_ed25519_key_verifies() {
        let pair = Ed25519KeyPair::generate().unwrap();
        let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": encode(pair.public_key().as_ref()) });
        let key = &set(&[jwk]).unwrap().keys[0];
        assert!(key.verifies(Algorithm::EdDsa, b"m", pair.sign(b"m").as_ref()));
        assert!(!key.is_for(Algorithm::ES256));
    }

    #[test]
    fn a_key_for_something_else_is_no_key() {
        let (_, jwk) = ec_pair();
        for other in [
            with(jwk.clone(), "use", json!("enc")),
            with(jwk.clone(), "use", json!(1)),
            with(jwk.clone(), "key_ops", json!(["sign"])),
            with(jwk.clone(), "alg", json!("HS256")),
            with(jwk.clone(), "alg", json!("none")),
            with(jwk.clone(), "alg", json!("ECDH-ES")),
            with(jwk.clone(), "kty", json!("oct")),
            with(jwk.clone(), "crv", json!("secp256k1")),
            json!({ "kty": "oct", "k": "c2VjcmV0", "kid": "one" }),
        ] {
            assert!(set(std::slice::from_ref(&other)).is_err(), "{other}");
            let both = set(&[other, with(jwk.clone(), "kid", json!("two"))]).unwrap();
            assert_eq!((both.keys.len(), both.left_out.len()), (1, 0));
        }
        let bound = set(&[with(jwk, "alg", json!("ES384"))]).unwrap();
        assert_eq!(bound.candidates(Some("one"), Algorithm::ES256).count(), 0);
    }

    #[test]
    fn a_weak_or_broken_key_is_left_out_with_a_reason() {
        let (_, jwk) = ec_pair();
        for (bad, says) in [
            (rsa_jwk(1_024), "2048"),
            (rsa_jwk(2_040), "2048"),
            (rsa_jwk(16_384), "8192"),
            (with(rsa_jwk(2_048), "e", json!("AQ")), "exponent"),
            (with(rsa_jwk(2_048), "e", json!("Ag")), "exponent"),
            (with(rsa_jwk(2_048), "n", json!("a+b")), "base64url"),
            (with(rsa_jwk(2_048), "d", json!("AQAB")), "private"),
            (with(jwk.clone(), "x", json!("AQ")), "coordinates"),
            (json!({ "kty": "OKP", "crv": "Ed25519", "x": "AQ" }), "32"),
        ] {
            let read = set(&[bad.clone(), jwk.clone()]).unwrap();
            assert_eq!(read.keys.len(), 1, "{bad}");
            assert!(read.left_out[0].contains(says), "{:?}", read.left_out);
            assert!(set(&[bad]).unwrap_err().contains(says));
        }
        assert!(set(&[rsa_jwk(2_048)]).is_ok());
    }

    #[test]
    fn what_is_no_key_set_is_an_error() {
        for text in [
            "",
            "[]",
            "{}",
            r#"{"keys":{}}"#,
            r#"{"keys":[1]}"#,
            r#"{"keys":[]}"#,
            r#"{"keys":[],"keys":[]}"#,
        ] {
            assert!(KeySet::read(text.as_bytes()).is_err(), "{text}");
        }
        let (_, jwk) = ec_pair();
        assert!(set(&vec![jwk; MOST_KEYS + 1]).is_err());
    }

    #[test]
    fn a_key_is_the_same_whatever_it_is_called() {
        let (_, jwk) = ec_pair();
        let [one, two] = [jwk.clone(), with(jwk, "kid", json!("two"))].map(|jwk| set(&[jwk]).unwrap());
        assert!(one.holds(&two.keys[0].fingerprint) && one.overlaps(&two));
        assert!(one.without(std::iter::once(&two)).is_empty());
        let other = set(&[ec_pair().1]).unwrap();
        assert!(!one.overlaps(&other));
        assert_eq!(one.without(std::iter::once(&other)), one);
    }
}
