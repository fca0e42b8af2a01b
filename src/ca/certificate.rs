//! One certificate of a CA's chain, and what makes it fit to stand in one.

use aws_lc_rs::digest::{SHA256, digest};
use der::Decode;
use der::asn1::AnyRef;
use x509_cert::name::RdnSequence;
use x509_parser::certificate::{TbsCertificate, X509Certificate};
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;

use super::verify::{self, SignatureProblem};
use crate::time::Time;

/// A CA certificate that passed every check that can be made on it alone.
pub(super) struct CaCertificate {
    /// The whole certificate.
    pub der: Vec<u8>,
    /// DER of the subject, verbatim.
    pub subject: Vec<u8>,
    /// DER of the issuer, verbatim.
    pub issuer: Vec<u8>,
    /// RFC 4514 text of the subject, without control characters.
    pub subject_text: String,
    /// DER of the `SubjectPublicKeyInfo`, verbatim.
    pub spki: Vec<u8>,
    /// Of the subject key identifier extension, if there is one.
    pub key_identifier: Option<Vec<u8>>,
    /// The first instant of its validity.
    pub not_before: Time,
    /// The last instant of its validity.
    pub not_after: Time,
    /// How many CAs may stand between this one and a leaf; none: any number.
    pub path_length: Option<u32>,
    /// `rsa-2048`, `p-256`...
    pub key_kind: &'static str,
}

/// Why a certificate cannot stand in a CA's chain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateProblem {
    /// Not a certificate, or something after it.
    #[error("it is not a DER certificate: the file is damaged")]
    Damaged,
    /// An extension whose content is none.
    #[error("its extension {0} cannot be read or stands there twice: make the CA's certificate anew")]
    ExtensionDamaged(String),
    /// RFC 5280 section 4.2.1.9.
    #[error(
        "it is not a CA's: basicConstraints is missing; make one with `-addext basicConstraints=critical,CA:TRUE`"
    )]
    NoBasicConstraints,
    /// RFC 5280 section 4.2.1.9.
    #[error("it is not a CA's: basicConstraints says CA:FALSE; name the CA's own certificate")]
    NotACa,
    /// RFC 5280 section 4.2.1.3.
    #[error("its keyUsage lacks keyCertSign, so no one accepts what it signs; make one that has it")]
    NoCertSign,
    /// Go reads extended key usages along the whole chain.
    #[error(
        "its extendedKeyUsage lacks clientAuth, so kube-apiserver answers 401 to what it signs; leave the extension out"
    )]
    NoClientAuth,
    /// RFC 5280 section 4.2.1.10. Critical ones fail in kube-apiserver.
    #[error("it has critical name constraints, to which kube-apiserver answers 401; make one without them")]
    NameConstraints,
    /// Go refuses a chain with a critical extension that it does not know.
    #[error(
        "its critical extension {0} is unknown to kube-apiserver, which answers 401; make one without it"
    )]
    CriticalExtension(String),
    /// Under 2048 bits.
    #[error("its RSA key has {0} bits; make a new CA with 2048 or more")]
    RsaTooSmall(usize),
    /// Over 8192 bits.
    #[error("its RSA key has {0} bits, more than 8192, which no TLS library takes; make a smaller one")]
    RsaTooLarge(usize),
    /// DSA, Ed448, brainpool...
    #[error("its kind of key is not supported; make a CA with RSA, P-256, P-384, P-521 or Ed25519")]
    KeyUnsupported,
    /// Signed with a hash that can be forged, or an unknown algorithm.
    #[error("{0}")]
    Signature(#[from] SignatureProblem),
}

impl CaCertificate {
    /// Reads and checks one certificate.
    ///
    /// # Errors
    /// See [`CertificateProblem`].
    pub(super) fn parse(der: &[u8]) -> Result<Self, CertificateProblem> {
        let Ok(([], certificate)) = X509Certificate::from_der(der) else {
            return Err(CertificateProblem::Damaged);
        };
        let tbs = &certificate.tbs_certificate;
        if certificate.signature_algorithm != tbs.signature {
            return Err(CertificateProblem::Damaged);
        }
        verify::accepted(&certificate.signature_algorithm)?;
        let found = extensions(tbs)?;
        let key_kind = key_kind(tbs)?;
        Ok(Self {
            der: der.to_vec(),
            subject: raw_name(tbs.subject.as_raw())?,
            issuer: raw_name(tbs.issuer.as_raw())?,
            subject_text: text(tbs),
            spki: tbs.subject_pki.raw.to_vec(),
            key_identifier: found.key_identifier,
            not_before: Time::from_unix(tbs.validity.not_before.timestamp()),
            not_after: Time::from_unix(tbs.validity.not_after.timestamp()),
            path_length: found.path_length,
            key_kind,
        })
    }

    /// SHA-256 of the `SubjectPublicKeyInfo`, by which a CA is known.
    pub(super) fn spki_sha256(&self) -> [u8; 32] {
        sha256(&self.spki)
    }

    /// Whether this certificate's key signed `other`, whose issuer then is this one's subject byte
    /// for byte (RFC 5280 section 7.1 compares loosely; Go and OpenSSL look up by bytes).
    pub(super) fn signed(&self, other: &Self) -> bool {
        self.subject == other.issuer && verify::signed(&self.der, &other.der)
    }

    /// Whether it is a root: its own key signed it.
    pub(super) fn is_self_signed(&self) -> bool {
        self.signed(self)
    }
}

/// SHA-256 of `bytes`.
pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    digest(&SHA256, bytes).as_ref().try_into().unwrap_or_default()
}

struct Extensions {
    key_identifier: Option<Vec<u8>>,
    path_length: Option<u32>,
}

fn extensions(tbs: &TbsCertificate<'_>) -> Result<Extensions, CertificateProblem> {
    let mut seen = Vec::new();
    let mut found = Extensions { key_identifier: None, path_length: None };
    let mut is_ca = None;
    for extension in tbs.extensions() {
        let oid = extension.oid.to_id_string();
        if seen.contains(&oid) {
            return Err(CertificateProblem::ExtensionDamaged(oid));
        }
        match extension.parsed_extension() {
            ParsedExtension::ParseError { .. } => return Err(CertificateProblem::ExtensionDamaged(oid)),
            ParsedExtension::BasicConstraints(constraints) => {
                is_ca = Some(constraints.ca);
                found.path_length = constraints.path_len_constraint;
            }
            // RFC 5280 and RFC 7093 make 20 octets; a certificate of ours would repeat any number.
            ParsedExtension::SubjectKeyIdentifier(identifier) if !(1..=64).contains(&identifier.0.len()) => {
                return Err(CertificateProblem::ExtensionDamaged(oid));
            }
            ParsedExtension::SubjectKeyIdentifier(identifier) if !extension.critical => {
                found.key_identifier = Some(identifier.0.to_vec());
            }
            parsed => accept(parsed, extension.critical, &oid)?,
        }
        seen.push(oid);
    }
    match is_ca {
        Some(true) => Ok(found),
        Some(false) => Err(CertificateProblem::NotACa),
        None => Err(CertificateProblem::NoBasicConstraints),
    }
}

/// Go's `crypto/x509` fails on a critical extension that it does not handle, and on a few that must
/// not be critical.
fn accept(extension: &ParsedExtension<'_>, critical: bool, oid: &str) -> Result<(), CertificateProblem> {
    match extension {
        ParsedExtension::KeyUsage(usage) if !usage.key_cert_sign() => Err(CertificateProblem::NoCertSign),
        ParsedExtension::ExtendedKeyUsage(usage) if !usage.any && !usage.client_auth => {
            Err(CertificateProblem::NoClientAuth)
        }
        ParsedExtension::NameConstraints(_) if critical => Err(CertificateProblem::NameConstraints),
        ParsedExtension::KeyUsage(_)
        | ParsedExtension::ExtendedKeyUsage(_)
        | ParsedExtension::SubjectAlternativeName(_)
        | ParsedExtension::CertificatePolicies(_)
        | ParsedExtension::CRLDistributionPoints(_) => Ok(()),
        _ if critical => Err(CertificateProblem::CriticalExtension(oid.to_owned())),
        _ => Ok(()),
    }
}

/// `rsa-2048`, `p-256`... An RSA key of an unusual size is `rsa`.
pub(super) fn key_kind(tbs: &TbsCertificate<'_>) -> Result<&'static str, CertificateProblem> {
    let unsupported = CertificateProblem::KeyUnsupported;
    if let Ok(PublicKey::RSA(key)) = tbs.subject_pki.parsed() {
        // Not key_size(): that counts whole octets.
        let zeros = key.modulus.iter().take_while(|octet| **octet == 0).count();
        let significant = key.modulus.get(zeros..).unwrap_or_default();
        let top = significant.first().map_or(0, |octet| octet.leading_zeros());
        let bits = significant.len().saturating_mul(8).saturating_sub(usize::try_from(top).unwrap_or(0));
        return rsa_kind(bits);
    }
    verify::Key::of(&tbs.subject_pki).and_then(verify::Key::name).ok_or(unsupported)
}

fn rsa_kind(bits: usize) -> Result<&'static str, CertificateProblem> {
    match bits {
        0..=2047 => Err(CertificateProblem::RsaTooSmall(bits)),
        2048 => Ok("rsa-2048"),
        3072 => Ok("rsa-3072"),
        4096 => Ok("rsa-4096"),
        8192 => Ok("rsa-8192"),
        2049..=8191 => Ok("rsa"),
        _ => Err(CertificateProblem::RsaTooLarge(bits)),
    }
}

/// A name that goes verbatim into certificates must itself be DER.
fn raw_name(der: &[u8]) -> Result<Vec<u8>, CertificateProblem> {
    AnyRef::from_der(der).map(|_| der.to_vec()).map_err(|_| CertificateProblem::Damaged)
}

fn text(tbs: &TbsCertificate<'_>) -> String {
    let text = RdnSequence::from_der(tbs.subject.as_raw())
        .map_or_else(|_| tbs.subject.to_string(), |subject| subject.to_string());
    text.chars().flat_map(|c| if c.is_control() { c.escape_debug().collect() } else { vec![c] }).collect()
}
