//! The only parser of foreign bytes: a CSR in, a public key and the asked names out.
mod attributes;
mod error;
mod subject;

#[cfg(test)]
mod sample;

pub use error::CsrError;

use super::der::{self, Element};
use super::key::{self, KeyDescription, PublicKey, SignatureAlgorithm};
use super::name::Name;

/// The longest CSR that is read, in bytes.
const MAX_BYTES: usize = 64 * 1024;
/// The longest CSR whose names and attributes are read in a few microseconds, in bytes.
const MAX_QUICK_BYTES: usize = 4 * 1024;
/// PKCS #10 knows one version, written 0 (RFC 2986 section 4.1).
const VERSION: [u8; 3] = [der::INTEGER, 1, 0];

/// What a CSR asks for, after every check that needs no policy. Owns only the key and the names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertRequest {
    user: Name,
    groups: Vec<Name>,
    key: PublicKey,
    warnings: Vec<String>,
}

/// What a request asks for as far as it can be read, whatever is wrong with it: for the record of
/// a refusal, never for a certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// The user and the groups, where the subject is sound.
    pub names: Option<(Name, Vec<Name>)>,
    /// The key, sound or not, where the request has one.
    pub key: Option<KeyDescription>,
}

impl Asked {
    /// Reads what can be read of a request in DER; nothing of one over 64 KiB.
    #[must_use]
    pub fn read(der: &[u8]) -> Self {
        let der = Some(der).filter(|der| der.len() <= MAX_BYTES);
        let outer = der.and_then(|der| Outer::read(der).ok());
        let Some(info) = outer.and_then(|outer| Info::read(outer.info).ok()) else { return Self::default() };
        let subject = subject::read(info.subject).ok();
        Self {
            names: subject.map(|subject| (subject.user, subject.groups)),
            key: Some(KeyDescription::of(info.key)),
        }
    }
}

/// Whether [`CertRequest::parse`] takes about as long as handing the work to another thread. So it
/// does for what is no request: that is found out quickly too.
#[must_use]
pub fn is_quick_to_check(der: &[u8]) -> bool {
    if der.len() > MAX_QUICK_BYTES {
        return false;
    }
    let info = Outer::read(der).and_then(|outer| Info::read(outer.info));
    info.map_or(true, |info| key::is_quick(info.key))
}

impl CertRequest {
    /// Reads a PKCS #10 request (RFC 2986) in strict DER and checks all of it, the cheap first:
    /// structure, names, attributes, key, and last the request's own signature.
    ///
    /// # Errors
    /// A [`CsrError`] with the first rule that the request breaks.
    pub fn parse(der: &[u8]) -> Result<Self, CsrError> {
        if der.len() > MAX_BYTES {
            return Err(CsrError::TooLong { bytes: der.len() });
        }
        let outer = Outer::read(der)?;
        let info = Info::read(outer.info)?;
        let subject = subject::read(info.subject)?;
        let mut warnings = subject.warnings;
        warnings.extend(attributes::read(info.attributes)?);
        let algorithm = SignatureAlgorithm::from_der(outer.algorithm)?;
        let key = PublicKey::from_spki(info.key)?;
        if let Err(unverified) = key.verify(algorithm, outer.info.raw, outer.signature) {
            key.check_point()?;
            return Err(unverified.into());
        }
        key.check_not_prime()?;
        Ok(Self { user: subject.user, groups: subject.groups, key, warnings })
    }

    /// The asked user name: the one CN.
    #[must_use]
    pub fn user(&self) -> &Name {
        &self.user
    }

    /// The asked groups: each O in encoded order, repeated ones once. At most 100.
    #[must_use]
    pub fn groups(&self) -> &[Name] {
        &self.groups
    }

    /// The key that the request was signed with.
    #[must_use]
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// What was dropped or taken once, a sentence each, for the answer's `warnings`.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

/// `CertificationRequest` (RFC 2986 section 4.2).
struct Outer<'a> {
    info: Element<'a>,
    algorithm: &'a [u8],
    signature: &'a [u8],
}

impl<'a> Outer<'a> {
    fn read(der: &'a [u8]) -> Result<Self, CsrError> {
        let malformed = |_| CsrError::Malformed("it is not one CertificationRequest and nothing else");
        let mut request = der::only(der, der::SEQUENCE).map_err(malformed)?.open();
        let info = request.expect(der::SEQUENCE).map_err(malformed)?;
        let algorithm = request.expect(der::SEQUENCE).map_err(malformed)?.raw;
        let signature = request.octet_aligned_bits().map_err(malformed)?;
        request.finish().map_err(malformed)?;
        Ok(Self { info, algorithm, signature })
    }
}

/// `CertificationRequestInfo` (RFC 2986 section 4.1).
struct Info<'a> {
    subject: Element<'a>,
    key: &'a [u8],
    attributes: Element<'a>,
}

impl<'a> Info<'a> {
    fn read(info: Element<'a>) -> Result<Self, CsrError> {
        let malformed =
            |_| CsrError::Malformed("its CertificationRequestInfo has other fields than RFC 2986 says");
        let mut fields = info.open();
        let version = fields.expect(der::INTEGER).map_err(malformed)?;
        if version.raw != VERSION {
            return Err(CsrError::Version);
        }
        let subject = fields.expect(der::SEQUENCE).map_err(malformed)?;
        let key = fields.expect(der::SEQUENCE).map_err(malformed)?.raw;
        let attributes = fields.expect(der::CONTEXT_0).map_err(malformed)?;
        fields.finish().map_err(malformed)?;
        Ok(Self { subject, key, attributes })
    }
}

#[cfg(test)]
mod tests;
