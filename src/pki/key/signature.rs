//! The signature algorithms that are accepted, in a table of our own.
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA384_ASN1, ECDSA_P256_SHA512_ASN1, ECDSA_P384_SHA256_ASN1,
    ECDSA_P384_SHA384_ASN1, ECDSA_P384_SHA512_ASN1, ECDSA_P521_SHA256_ASN1, ECDSA_P521_SHA384_ASN1,
    ECDSA_P521_SHA512_ASN1, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512,
    UnparsedPublicKey, VerificationAlgorithm,
};

use super::KeyKind;
use crate::pki::der::{self, NotDer, Reader};

/// A hash that a signature may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hash {
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

/// How a request was signed, from its `AlgorithmIdentifier`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureAlgorithm {
    /// RSASSA-PKCS1-v1_5 (RFC 8017 section 8.2).
    RsaPkcs1(Hash),
    /// RSASSA-PSS with MGF1 over the same hash and a salt of the hash's length (RFC 8017 section 8.1).
    RsaPss(Hash),
    /// ECDSA with a DER signature (RFC 5758 section 3.2).
    Ecdsa(Hash),
    /// Ed25519 (RFC 8410).
    Ed25519,
}

/// Why a signature is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// SHA-1, MD5 or any algorithm that is not in the table.
    #[error(
        "a CSR signed with {0} is not accepted: sign it with SHA-256, as with `openssl req -new -sha256`"
    )]
    NotAccepted(String),
    /// An accepted OID with parameters that its standard does not allow.
    #[error(
        "the parameters of the CSR's signature algorithm {0} are not the standard ones: make the CSR with `openssl req -new -sha256`"
    )]
    Parameters(&'static str),
    /// An algorithm for another kind of key.
    #[error(
        "the CSR is signed with an algorithm for another kind of key than its own: make it again with `openssl req -new -key FILE`"
    )]
    OtherKeyKind,
    /// It does not verify.
    #[error(
        "the CSR's signature does not verify: it was changed, or not made with the key it names; make it again with `openssl req -new -key FILE`"
    )]
    Invalid,
}

impl SignatureError {
    /// A stable word for programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotAccepted(_) | Self::Parameters(_) => "signature_algorithm_not_accepted",
            Self::OtherKeyKind | Self::Invalid => "signature_invalid",
        }
    }
}

const SHA256_OID: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1];
const SHA384_OID: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 2];
const SHA512_OID: &[u8] = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 3];
const MGF1_OID: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 8];
const NULL: &[u8] = &[5, 0];

impl SignatureAlgorithm {
    /// From the DER of an `AlgorithmIdentifier`. The OID and its parameters are compared as bytes.
    ///
    /// # Errors
    /// [`SignatureError::NotAccepted`] for any other algorithm, [`SignatureError::Parameters`]
    /// for one with other parameters.
    pub fn from_der(identifier: &[u8]) -> Result<Self, SignatureError> {
        let content = der::only(identifier, der::SEQUENCE).map_err(|NotDer| unreadable())?.value;
        let (oid, parameters) = super::algorithm_identifier(content).map_err(|NotDer| unreadable())?;
        match oid {
            [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, last @ 0x0b..=0x0d] => {
                // RFC 4055 section 5: absent parameters are accepted, as pkijs writes them.
                let hash =
                    [Hash::Sha256, Hash::Sha384, Hash::Sha512].into_iter().nth(usize::from(last - 0x0b));
                if !parameters.is_empty() {
                    exactly(parameters, NULL, "RSA")?;
                }
                hash.map(Self::RsaPkcs1).ok_or_else(unreadable)
            }
            [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 0x0a] => {
                pss_hash(parameters).map(Self::RsaPss).map_err(|NotDer| SignatureError::Parameters("RSA-PSS"))
            }
            [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, last @ 2..=4] => {
                let hash = [Hash::Sha256, Hash::Sha384, Hash::Sha512].into_iter().nth(usize::from(last - 2));
                exactly(parameters, &[], "ECDSA")?;
                hash.map(Self::Ecdsa).ok_or_else(unreadable)
            }
            [0x2b, 0x65, 0x70] => exactly(parameters, &[], "Ed25519").map(|()| Self::Ed25519),
            other => Err(SignatureError::NotAccepted(name(other))),
        }
    }
}

/// Verifies with the raw key of a `SubjectPublicKeyInfo`.
pub(super) fn verify(
    algorithm: SignatureAlgorithm,
    kind: KeyKind,
    key: &[u8],
    message: &[u8],
    signature: &[u8],
) -> Result<(), SignatureError> {
    let verifier = verifier(algorithm, kind).ok_or(SignatureError::OtherKeyKind)?;
    UnparsedPublicKey::new(verifier, key).verify(message, signature).map_err(|_| SignatureError::Invalid)
}

fn verifier(algorithm: SignatureAlgorithm, kind: KeyKind) -> Option<&'static dyn VerificationAlgorithm> {
    use Hash::{Sha256, Sha384, Sha512};
    use SignatureAlgorithm::{Ecdsa, Ed25519, RsaPkcs1, RsaPss};
    Some(match (algorithm, kind) {
        (RsaPkcs1(Sha256), kind) if kind.is_rsa() => &RSA_PKCS1_2048_8192_SHA256,
        (RsaPkcs1(Sha384), kind) if kind.is_rsa() => &RSA_PKCS1_2048_8192_SHA384,
        (RsaPkcs1(Sha512), kind) if kind.is_rsa() => &RSA_PKCS1_2048_8192_SHA512,
        (RsaPss(Sha256), kind) if kind.is_rsa() => &RSA_PSS_2048_8192_SHA256,
        (RsaPss(Sha384), kind) if kind.is_rsa() => &RSA_PSS_2048_8192_SHA384,
        (RsaPss(Sha512), kind) if kind.is_rsa() => &RSA_PSS_2048_8192_SHA512,
        (Ecdsa(Sha256), KeyKind::P256) => &ECDSA_P256_SHA256_ASN1,
        (Ecdsa(Sha384), KeyKind::P256) => &ECDSA_P256_SHA384_ASN1,
        (Ecdsa(Sha512), KeyKind::P256) => &ECDSA_P256_SHA512_ASN1,
        (Ecdsa(Sha256), KeyKind::P384) => &ECDSA_P384_SHA256_ASN1,
        (Ecdsa(Sha384), KeyKind::P384) => &ECDSA_P384_SHA384_ASN1,
        (Ecdsa(Sha512), KeyKind::P384) => &ECDSA_P384_SHA512_ASN1,
        (Ecdsa(Sha256), KeyKind::P521) => &ECDSA_P521_SHA256_ASN1,
        (Ecdsa(Sha384), KeyKind::P521) => &ECDSA_P521_SHA384_ASN1,
        (Ecdsa(Sha512), KeyKind::P521) => &ECDSA_P521_SHA512_ASN1,
        (Ed25519, KeyKind::Ed25519) => &ED25519,
        _ => return None,
    })
}

fn exactly(parameters: &[u8], wanted: &[u8], name: &'static str) -> Result<(), SignatureError> {
    if parameters == wanted { Ok(()) } else { Err(SignatureError::Parameters(name)) }
}

/// The one hash of strict RSASSA-PSS-params (RFC 4055 section 3.1): the same in both places, a
/// salt of its length, and the default trailer left out.
fn pss_hash(parameters: &[u8]) -> Result<Hash, NotDer> {
    let mut fields = der::only(parameters, der::SEQUENCE)?.open();
    let digest = fields.expect(der::CONTEXT_0)?;
    let mask = fields.expect(der::CONTEXT_1)?;
    let salt = fields.expect(der::CONTEXT_2)?;
    fields.finish()?;
    let (hash, salt_bytes) = hash_of(der::only(digest.value, der::SEQUENCE)?.value)?;
    let mut mask = Reader::new(der::only(mask.value, der::SEQUENCE)?.value);
    let generator = mask.expect(der::OID)?.value;
    let (mask_hash, _) = hash_of(mask.expect(der::SEQUENCE)?.value)?;
    mask.finish()?;
    let mut salt = salt.open();
    let salt_length = salt.unsigned()?;
    salt.finish()?;
    let agrees = generator == MGF1_OID && mask_hash == hash && salt_length == [salt_bytes];
    if agrees { Ok(hash) } else { Err(NotDer) }
}

/// A hash's `AlgorithmIdentifier` and its length in octets; NULL and absent parameters are both in
/// use (RFC 4055 section 2.1).
fn hash_of(content: &[u8]) -> Result<(Hash, u8), NotDer> {
    match super::algorithm_identifier(content)? {
        (SHA256_OID, [] | [5, 0]) => Ok((Hash::Sha256, 32)),
        (SHA384_OID, [] | [5, 0]) => Ok((Hash::Sha384, 48)),
        (SHA512_OID, [] | [5, 0]) => Ok((Hash::Sha512, 64)),
        _ => Err(NotDer),
    }
}

fn unreadable() -> SignatureError {
    SignatureError::NotAccepted("an unreadable algorithm".to_owned())
}

fn name(oid: &[u8]) -> String {
    let name = match oid {
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, last] => match last {
            2 => "MD2",
            4 => "MD5",
            5 => "SHA-1",
            0x0e => "SHA-224",
            _ => return der::dotted(oid),
        },
        [0x2b, 0x0e, 3, 2, 0x1d] | [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1] => "SHA-1",
        [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 1] => "SHA-224",
        [0x2b, 0x65, 0x71] => "Ed448",
        other => return der::dotted(other),
    };
    name.to_owned()
}
