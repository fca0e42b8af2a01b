//! Keys for the tests of other modules.

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rsa::{self, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P521_SHA512_ASN1_SIGNING,
    EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _,
};

use super::{KeyKind, PublicKey, sha256};

impl PublicKey {
    /// A new key of this kind; its private half is dropped.
    pub(crate) fn for_tests(kind: KeyKind) -> Self {
        let rsa =
            |size| rsa::KeyPair::generate(size).unwrap().public_key().as_der().unwrap().as_ref().to_vec();
        let ec = |curve: &'static EcdsaSigningAlgorithm| {
            EcdsaKeyPair::generate(curve).unwrap().public_key().as_der().unwrap().as_ref().to_vec()
        };
        let spki = match kind {
            KeyKind::Rsa2048 => rsa(KeySize::Rsa2048),
            KeyKind::Rsa3072 => rsa(KeySize::Rsa3072),
            KeyKind::Rsa4096 => rsa(KeySize::Rsa4096),
            KeyKind::P256 => ec(&ECDSA_P256_SHA256_ASN1_SIGNING),
            KeyKind::P384 => ec(&ECDSA_P384_SHA384_ASN1_SIGNING),
            KeyKind::P521 => ec(&ECDSA_P521_SHA512_ASN1_SIGNING),
            KeyKind::Ed25519 => {
                Ed25519KeyPair::generate().unwrap().public_key().as_der().unwrap().as_ref().to_vec()
            }
        };
        Self::for_tests_from_spki(spki, kind)
    }

    /// A key that is taken as it is.
    pub(crate) fn for_tests_from_spki(spki: Vec<u8>, kind: KeyKind) -> Self {
        let sha256 = sha256(&spki);
        Self { kind, spki, sha256 }
    }
}
