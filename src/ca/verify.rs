//! Signatures on the certificates of a CA's chain: a table of our own of what is accepted.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA384_ASN1, ECDSA_P256_SHA512_ASN1, ECDSA_P384_SHA256_ASN1,
    ECDSA_P384_SHA384_ASN1, ECDSA_P384_SHA512_ASN1, ECDSA_P521_SHA256_ASN1, ECDSA_P521_SHA384_ASN1,
    ECDSA_P521_SHA512_ASN1, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512,
    UnparsedPublicKey, VerificationAlgorithm,
};
use der::asn1::ObjectIdentifier;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::signature_algorithm::RsaSsaPssParams;
use x509_parser::x509::{AlgorithmIdentifier, SubjectPublicKeyInfo};

/// Why a certificate's signature algorithm is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureProblem {
    /// SHA-1, MD5 or MD2, with RSA or ECDSA.
    #[error("it is signed with {0}, to which kube-apiserver answers 401; sign it anew with SHA-256")]
    WeakHash(&'static str),
    /// Anything else that is not in the table.
    #[error("it is signed with the algorithm {0}, which is not supported; sign it anew with SHA-256")]
    Unknown(String),
}

/// A kind of public key that can have signed a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// Any size; the library takes 2048 to 8192 bits.
    Rsa,
    /// secp256r1.
    P256,
    /// secp384r1.
    P384,
    /// secp521r1.
    P521,
    /// RFC 8410.
    Ed25519,
}

/// The hash that a signature is over. Ed25519 has its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Pkcs1(Hash),
    Pss(Hash),
    Ecdsa(Hash),
    Ed25519,
}

impl Key {
    /// The kind of `spki`, RFC 5480 section 2.1.1.1 for the named curves.
    pub(super) fn of(spki: &SubjectPublicKeyInfo<'_>) -> Option<Self> {
        let curve = || Some(spki.algorithm.parameters.as_ref()?.as_oid().ok()?.to_id_string());
        match spki.algorithm.algorithm.to_id_string().as_str() {
            "1.2.840.113549.1.1.1" => Some(Self::Rsa),
            "1.3.101.112" => Some(Self::Ed25519),
            "1.2.840.10045.2.1" => match curve()?.as_str() {
                "1.2.840.10045.3.1.7" => Some(Self::P256),
                "1.3.132.0.34" => Some(Self::P384),
                "1.3.132.0.35" => Some(Self::P521),
                _ => None,
            },
            _ => None,
        }
    }

    /// As it is written; none for RSA, whose name has the size in it.
    pub(super) const fn name(self) -> Option<&'static str> {
        match self {
            Self::Rsa => None,
            Self::P256 => Some("p-256"),
            Self::P384 => Some("p-384"),
            Self::P521 => Some("p-521"),
            Self::Ed25519 => Some("ed25519"),
        }
    }
}

/// Whether a certificate of a chain may be signed with `algorithm`.
///
/// # Errors
/// It may not: see [`SignatureProblem`].
pub(super) fn accepted(algorithm: &AlgorithmIdentifier<'_>) -> Result<(), SignatureProblem> {
    scheme(algorithm).map(|_| ())
}

/// Whether the authority of `issuer` signed `certificate`, both DER: in its name, byte for byte, and by its
/// key. Times and uses are not looked at.
///
/// RFC 5280 section 7.1 compares names loosely; Go, OpenSSL and webpki look issuers up by bytes.
#[must_use]
pub fn signed(issuer: &[u8], certificate: &[u8]) -> bool {
    let (Ok((_, issuer)), Ok((_, certificate))) =
        (X509Certificate::from_der(issuer), X509Certificate::from_der(certificate))
    else {
        return false;
    };
    let tbs = &certificate.tbs_certificate;
    issuer.subject().as_raw() == tbs.issuer.as_raw()
        && verify(
            issuer.public_key().raw,
            &certificate.signature_algorithm,
            tbs.as_ref(),
            &certificate.signature_value.data,
        )
}

/// Whether `signature` over `message` is of the key in `spki` (DER).
pub(super) fn verify(
    spki: &[u8],
    algorithm: &AlgorithmIdentifier<'_>,
    message: &[u8],
    signature: &[u8],
) -> bool {
    let Ok(scheme) = scheme(algorithm) else { return false };
    verify_scheme(spki, scheme, message, signature)
}

/// The same for an algorithm whose OID says everything.
pub(super) fn verify_with_oid(spki: &[u8], oid: ObjectIdentifier, message: &[u8], signature: &[u8]) -> bool {
    let Some(scheme) = plain_scheme(&oid.to_string()) else { return false };
    verify_scheme(spki, scheme, message, signature)
}

fn verify_scheme(spki: &[u8], scheme: Scheme, message: &[u8], signature: &[u8]) -> bool {
    let Ok(([], spki)) = SubjectPublicKeyInfo::from_der(spki) else { return false };
    let Some(algorithm) = Key::of(&spki).and_then(|key| verification(key, scheme)) else { return false };
    UnparsedPublicKey::new(algorithm, &spki.subject_public_key.data).verify(message, signature).is_ok()
}

/// RFC 4055 section 5, RFC 5758 section 3.2, RFC 8410 section 3.
fn plain_scheme(oid: &str) -> Option<Scheme> {
    Some(match oid {
        "1.2.840.113549.1.1.11" => Scheme::Pkcs1(Hash::Sha256),
        "1.2.840.113549.1.1.12" => Scheme::Pkcs1(Hash::Sha384),
        "1.2.840.113549.1.1.13" => Scheme::Pkcs1(Hash::Sha512),
        "1.2.840.10045.4.3.2" => Scheme::Ecdsa(Hash::Sha256),
        "1.2.840.10045.4.3.3" => Scheme::Ecdsa(Hash::Sha384),
        "1.2.840.10045.4.3.4" => Scheme::Ecdsa(Hash::Sha512),
        "1.3.101.112" => Scheme::Ed25519,
        _ => return None,
    })
}

fn scheme(algorithm: &AlgorithmIdentifier<'_>) -> Result<Scheme, SignatureProblem> {
    let oid = algorithm.algorithm.to_id_string();
    if let Some(scheme) = plain_scheme(&oid) {
        return Ok(scheme);
    }
    match oid.as_str() {
        "1.2.840.113549.1.1.10" => pss(algorithm).ok_or(SignatureProblem::Unknown(oid)),
        "1.2.840.113549.1.1.5" | "1.3.14.3.2.29" | "1.2.840.10045.4.1" => {
            Err(SignatureProblem::WeakHash("SHA-1"))
        }
        "1.2.840.113549.1.1.4" | "1.2.840.113549.1.1.2" => Err(SignatureProblem::WeakHash("MD5")),
        _ => Err(SignatureProblem::Unknown(oid)),
    }
}

/// The three parameter sets of RSA-PSS that Go reads: one hash for both uses, and a salt as long
/// as it.
fn pss(algorithm: &AlgorithmIdentifier<'_>) -> Option<Scheme> {
    let parameters = RsaSsaPssParams::try_from(algorithm.parameters.as_ref()?).ok()?;
    let (hash, salt) = match parameters.hash_algorithm_oid().to_id_string().as_str() {
        "2.16.840.1.101.3.4.2.1" => (Hash::Sha256, 32),
        "2.16.840.1.101.3.4.2.2" => (Hash::Sha384, 48),
        "2.16.840.1.101.3.4.2.3" => (Hash::Sha512, 64),
        _ => return None,
    };
    let mask = parameters.mask_gen_algorithm().ok()?;
    let same = mask.hash == *parameters.hash_algorithm_oid();
    (same && parameters.salt_length() == salt && parameters.trailer_field() == 1).then_some(Scheme::Pss(hash))
}

fn verification(key: Key, scheme: Scheme) -> Option<&'static dyn VerificationAlgorithm> {
    Some(match (key, scheme) {
        (Key::Rsa, Scheme::Pkcs1(Hash::Sha256)) => &RSA_PKCS1_2048_8192_SHA256,
        (Key::Rsa, Scheme::Pkcs1(Hash::Sha384)) => &RSA_PKCS1_2048_8192_SHA384,
        (Key::Rsa, Scheme::Pkcs1(Hash::Sha512)) => &RSA_PKCS1_2048_8192_SHA512,
        (Key::Rsa, Scheme::Pss(Hash::Sha256)) => &RSA_PSS_2048_8192_SHA256,
        (Key::Rsa, Scheme::Pss(Hash::Sha384)) => &RSA_PSS_2048_8192_SHA384,
        (Key::Rsa, Scheme::Pss(Hash::Sha512)) => &RSA_PSS_2048_8192_SHA512,
        (Key::P256, Scheme::Ecdsa(Hash::Sha256)) => &ECDSA_P256_SHA256_ASN1,
        (Key::P256, Scheme::Ecdsa(Hash::Sha384)) => &ECDSA_P256_SHA384_ASN1,
        (Key::P256, Scheme::Ecdsa(Hash::Sha512)) => &ECDSA_P256_SHA512_ASN1,
        (Key::P384, Scheme::Ecdsa(Hash::Sha256)) => &ECDSA_P384_SHA256_ASN1,
        (Key::P384, Scheme::Ecdsa(Hash::Sha384)) => &ECDSA_P384_SHA384_ASN1,
        (Key::P384, Scheme::Ecdsa(Hash::Sha512)) => &ECDSA_P384_SHA512_ASN1,
        (Key::P521, Scheme::Ecdsa(Hash::Sha256)) => &ECDSA_P521_SHA256_ASN1,
        (Key::P521, Scheme::Ecdsa(Hash::Sha384)) => &ECDSA_P521_SHA384_ASN1,
        (Key::P521, Scheme::Ecdsa(Hash::Sha512)) => &ECDSA_P521_SHA512_ASN1,
        (Key::Ed25519, Scheme::Ed25519) => &ED25519,
        _ => return None,
    })
}
