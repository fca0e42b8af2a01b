//! An issuer of JWTs under test: it signs what it is told to, with keys that it makes.

use std::sync::LazyLock;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PSS_SHA256,
    RsaEncoding, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::app::NOON;

/// `iss` of every token, unless a test says otherwise.
pub const ISSUER: &str = "https://idp.example";

/// Two keys: `ec`, for ES256, and `rsa`, for RS256.
pub struct Issuer {
    ec: EcdsaKeyPair,
    rsa: RsaKeyPair,
}

/// The one that the service under test trusts.
pub static IDP: LazyLock<Issuer> = LazyLock::new(Issuer::new);
/// Another, which nobody trusts, or which is a cluster.
pub static OTHER: LazyLock<Issuer> = LazyLock::new(Issuer::new);

pub fn encode(octets: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(octets)
}

impl Issuer {
    fn new() -> Self {
        Self {
            ec: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
            rsa: RsaKeyPair::generate(KeySize::Rsa2048).unwrap(),
        }
    }

    /// The public halves, as an issuer publishes them.
    pub fn jwks(&self) -> Value {
        json!({ "keys": [self.ec_jwk(), self.rsa_jwk()] })
    }

    pub fn ec_jwk(&self) -> Value {
        let point = self.ec.public_key().as_ref();
        json!({ "kty": "EC", "crv": "P-256", "use": "sig", "kid": "ec", "x": encode(&point[1..33]), "y": encode(&point[33..]) })
    }

    pub fn rsa_jwk(&self) -> Value {
        json!({ "kty": "RSA", "use": "sig", "alg": "RS256", "kid": "rsa", "n": encode(self.modulus()), "e": "AQAB" })
    }

    /// Of 2048 bits, behind the heads of a SEQUENCE and an INTEGER, and a zero.
    pub fn modulus(&self) -> Vec<u8> {
        let der = self.rsa_der();
        assert_eq!(der.len(), 9 + 256 + 5);
        der[9..265].to_vec()
    }

    /// The DER of the RSA public key.
    pub fn rsa_der(&self) -> Vec<u8> {
        self.rsa.public_key().as_ref().to_vec()
    }

    /// A token under the header `ES256`.
    pub fn token(&self, claims: &Value) -> String {
        self.es256(&json!({ "alg": "ES256", "kid": "ec", "typ": "JWT" }), claims)
    }

    /// Whatever the header says, signed with the elliptic key.
    pub fn es256(&self, header: &Value, claims: &Value) -> String {
        self.es256_text(&header.to_string(), &claims.to_string())
    }

    /// The same of texts that need not be JSON.
    pub fn es256_text(&self, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", encode(header), encode(claims));
        let signature = self.ec.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", encode(signature))
    }

    /// Signed with the RSA key (RFC 8017 section 8.2).
    pub fn rs256(&self, header: &Value, claims: &Value) -> String {
        self.rsa_signed(&RSA_PKCS1_SHA256, header, claims)
    }

    /// Signed with the RSA key (RFC 8017 section 8.1).
    pub fn ps256(&self, header: &Value, claims: &Value) -> String {
        self.rsa_signed(&RSA_PSS_SHA256, header, claims)
    }

    fn rsa_signed(&self, encoding: &'static dyn RsaEncoding, header: &Value, claims: &Value) -> String {
        let signed = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
        let mut signature = vec![0; self.rsa.public_modulus_len()];
        self.rsa.sign(encoding, &SystemRandom::new(), signed.as_bytes(), &mut signature).unwrap();
        format!("{signed}.{}", encode(signature))
    }
}

/// What a sound token for `alice` says.
pub fn alice() -> Value {
    claims("alice", "1234")
}

/// What a sound token says of who is called `name` and is the subject `sub`.
pub fn claims(name: &str, sub: &str) -> Value {
    json!({
        "iss": ISSUER,
        "sub": sub,
        "aud": "countersign",
        "iat": NOON.unix() - 10,
        "exp": NOON.unix() + 600,
        "preferred_username": name,
        "groups": ["dev"],
        "hd": "corp.example",
        "team": "web",
    })
}

/// `claims` with one of them changed.
pub fn with(claims: &Value, name: &str, value: impl Into<Value>) -> Value {
    let mut claims = claims.clone();
    claims[name] = value.into();
    claims
}

/// `claims` without one of them.
pub fn without(claims: &Value, name: &str) -> Value {
    let mut claims = claims.clone();
    claims.as_object_mut().unwrap().remove(name);
    claims
}
