//! What a certificate says that was issued once, for a checker that compares it with its record.
//! Nothing here is shared with what encodes certificates.

use x509_parser::asn1_rs::Tag;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::x509::X509Version;

use super::certificate::{CaCertificate, CertificateProblem, key_kind, sha256};
use super::{read_back, verify};
use crate::time::Time;

/// id-at-commonName and id-at-organizationName, RFC 5280 appendix A.1.
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
const ORGANIZATION: &[u8] = &[0x55, 0x04, 0x0a];

/// A CA whose certificates are looked at.
pub struct KnownCa {
    certificate: CaCertificate,
}

impl KnownCa {
    /// Reads a CA's certificate, DER.
    ///
    /// # Errors
    /// It is none, or not one that may sign here.
    pub fn read(der: &[u8]) -> Result<Self, CertificateProblem> {
        CaCertificate::parse(der).map(|certificate| Self { certificate })
    }

    /// SHA-256 of the `SubjectPublicKeyInfo`, by which a CA is known.
    #[must_use]
    pub fn spki_sha256(&self) -> [u8; 32] {
        self.certificate.spki_sha256()
    }

    /// RFC 4514 text of the subject, for people.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.certificate.subject_text
    }

    /// The first instant of its validity.
    #[must_use]
    pub fn not_before(&self) -> Time {
        self.certificate.not_before
    }

    /// The last instant of its validity.
    #[must_use]
    pub fn not_after(&self) -> Time {
        self.certificate.not_after
    }
}

/// A certificate that was read anew.
pub struct StoredCertificate<'d> {
    der: &'d [u8],
    read: X509Certificate<'d>,
}

impl<'d> StoredCertificate<'d> {
    /// Reads `der`; none if it is no certificate, or more than one.
    #[must_use]
    pub fn read(der: &'d [u8]) -> Option<Self> {
        match X509Certificate::from_der(der) {
            Ok(([], read)) => Some(Self { der, read }),
            _ => None,
        }
    }

    /// The serial number's octets.
    #[must_use]
    pub fn serial(&self) -> &[u8] {
        self.read.tbs_certificate.raw_serial()
    }

    /// The first instant of its validity.
    #[must_use]
    pub fn not_before(&self) -> Time {
        Time::from_unix(self.read.tbs_certificate.validity.not_before.timestamp())
    }

    /// The last instant of its validity.
    #[must_use]
    pub fn not_after(&self) -> Time {
        Time::from_unix(self.read.tbs_certificate.validity.not_after.timestamp())
    }

    /// SHA-256 of the `SubjectPublicKeyInfo`.
    #[must_use]
    pub fn spki_sha256(&self) -> [u8; 32] {
        sha256(self.read.tbs_certificate.subject_pki.raw)
    }

    /// The word for the kind of its key; none for a kind that is never certified.
    #[must_use]
    pub fn key_kind(&self) -> Option<&'static str> {
        key_kind(&self.read.tbs_certificate).ok()
    }

    /// SHA-256 of the whole DER: the credential id.
    #[must_use]
    pub fn sha256(&self) -> [u8; 32] {
        sha256(self.der)
    }

    /// User and groups; none if the subject is anything but one CN and then O values, each an
    /// `UTF8String` in an RDN of its own.
    #[must_use]
    pub fn names(&self) -> Option<(String, Vec<String>)> {
        let mut names = Vec::new();
        for rdn in self.read.tbs_certificate.subject.iter_rdn() {
            let mut attributes = rdn.iter();
            let attribute = attributes.next()?;
            let oid = if names.is_empty() { COMMON_NAME } else { ORGANIZATION };
            let plain = attribute.attr_value().tag() == Tag::Utf8String
                && attribute.attr_type().as_bytes() == oid
                && attributes.next().is_none();
            let text = std::str::from_utf8(attribute.attr_value().data).ok().filter(|_| plain)?;
            names.push(text.to_owned());
        }
        let mut names = names.into_iter();
        Some((names.next()?, names.collect()))
    }

    /// Whether the key of `ca` signed it.
    #[must_use]
    pub fn is_signed_by(&self, ca: &KnownCa) -> bool {
        verify::verify(
            &ca.certificate.spki,
            &self.read.signature_algorithm,
            self.read.tbs_certificate.as_ref(),
            &self.read.signature_value.data,
        )
    }

    /// The first thing that is otherwise than in every certificate that `ca` issues here.
    #[must_use]
    pub fn flaw_under(&self, ca: &KnownCa) -> Option<&'static str> {
        let tbs = &self.read.tbs_certificate;
        let is_rsa = self.key_kind().is_some_and(|kind| kind.starts_with("rsa"));
        let identifier = ca.certificate.key_identifier.as_deref();
        let checks = [
            ("its version is not 3", tbs.version == X509Version::V3),
            ("it names two signature algorithms", self.read.signature_algorithm == tbs.signature),
            ("its issuer is not the CA's subject", tbs.issuer.as_raw() == ca.certificate.subject),
            ("it has a unique identifier", tbs.issuer_uid.is_none() && tbs.subject_uid.is_none()),
            ("it outlives its CA", self.not_after() <= ca.not_after()),
            (
                "its extensions are not exactly those of the profile",
                read_back::are_extensions(tbs, is_rsa, identifier),
            ),
        ];
        checks.into_iter().find(|(_, holds)| !holds).map(|(flaw, _)| flaw)
    }
}
