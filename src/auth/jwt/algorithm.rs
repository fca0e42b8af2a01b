//! The signature algorithms that there are (RFC 7518 section 3.1, RFC 8037): with public keys, all of them.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, ED25519,
    EcdsaVerificationAlgorithm, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512,
    RsaParameters,
};
use serde::{Deserialize, Deserializer, de::Error as _};

/// How a JWT is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    ES512,
    EdDsa,
}

/// What verifies a signature of an algorithm, for the one kind of key that it takes.
pub(super) enum Verifier {
    Rsa(&'static RsaParameters),
    Ec(&'static EcdsaVerificationAlgorithm, &'static str),
    Ed(&'static aws_lc_rs::signature::EdDSAParameters),
}

impl Algorithm {
    /// Every one, as it is written in a header.
    pub const ALL: [(&'static str, Self); 10] = [
        ("RS256", Self::RS256),
        ("RS384", Self::RS384),
        ("RS512", Self::RS512),
        ("PS256", Self::PS256),
        ("PS384", Self::PS384),
        ("PS512", Self::PS512),
        ("ES256", Self::ES256),
        ("ES384", Self::ES384),
        ("ES512", Self::ES512),
        ("EdDSA", Self::EdDsa),
    ];

    /// The algorithm that is written so; none for `none` and for what a shared secret signs.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find_map(|(name, algorithm)| (name == text).then_some(algorithm))
    }

    pub(super) fn verifier(self) -> Verifier {
        match self {
            Self::RS256 => Verifier::Rsa(&RSA_PKCS1_2048_8192_SHA256),
            Self::RS384 => Verifier::Rsa(&RSA_PKCS1_2048_8192_SHA384),
            Self::RS512 => Verifier::Rsa(&RSA_PKCS1_2048_8192_SHA512),
            Self::PS256 => Verifier::Rsa(&RSA_PSS_2048_8192_SHA256),
            Self::PS384 => Verifier::Rsa(&RSA_PSS_2048_8192_SHA384),
            Self::PS512 => Verifier::Rsa(&RSA_PSS_2048_8192_SHA512),
            Self::ES256 => Verifier::Ec(&ECDSA_P256_SHA256_FIXED, "P-256"),
            Self::ES384 => Verifier::Ec(&ECDSA_P384_SHA384_FIXED, "P-384"),
            Self::ES512 => Verifier::Ec(&ECDSA_P521_SHA512_FIXED, "P-521"),
            Self::EdDsa => Verifier::Ed(&ED25519),
        }
    }
}

impl<'de> Deserialize<'de> for Algorithm {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            let names = Self::ALL.map(|(name, _)| name).join(", ");
            D::Error::custom(format!("`{text}` is no algorithm with a public key: there are {names}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_needs_no_key_or_a_shared_one_is_no_algorithm() {
        for (name, algorithm) in Algorithm::ALL {
            assert_eq!(Algorithm::parse(name), Some(algorithm));
        }
        for text in ["none", "HS256", "HS384", "HS512", "rs256", "RS256 ", ""] {
            assert_eq!(Algorithm::parse(text), None, "{text}");
            assert!(serde_json::from_value::<Algorithm>(text.into()).is_err(), "{text}");
        }
    }
}
