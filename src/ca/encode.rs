//! The only file that builds a certificate: the profile of RFC 5280 section 4 that every issued
//! one has, from the decision's values alone.
//!
//! The issuer and the subject's key are put in as raw bytes. Decoding a name and encoding it again
//! can re-order it, and a chain whose names differ by one byte is no chain (RFC 5280 section 7.1).

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use der::asn1::{Any, AnyRef, BitStringRef, ObjectIdentifier, OctetString, UintRef};
use der::oid::AssociatedOid;
use der::{DateTime, Decode, Encode, Sequence, Tag};
use spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef};
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::certificate::Version;
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::{
    AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, KeyUsages, SubjectKeyIdentifier,
};
use x509_cert::name::{RdnSequence, RelativeDistinguishedName};
use x509_cert::time::{Time as X509Time, Validity};

use crate::pki::key::PublicKey;
use crate::pki::name::Name;
use crate::pki::serial::Serial;
use crate::policy::Approved;
use crate::time::Time;

/// id-at-commonName, RFC 5280 appendix A.1.
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
/// id-at-organizationName, RFC 5280 appendix A.1.
const ORGANIZATION: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.10");
/// id-kp-clientAuth, RFC 5280 section 4.2.1.12.
const CLIENT_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.2");

/// What the CA's own certificate puts into every one that it signs.
pub(super) struct Issuer<'a> {
    /// DER of the CA's subject, verbatim.
    pub name: &'a [u8],
    /// The CA's subject key identifier; none where its certificate has none.
    pub key_identifier: Option<&'a [u8]>,
}

/// `TBSCertificate` of RFC 5280 section 4.1, with names and keys as they are.
#[derive(Sequence)]
struct TbsCertificate<'a> {
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    version: Version,
    serial: UintRef<'a>,
    signature: AlgorithmIdentifierRef<'a>,
    issuer: AnyRef<'a>,
    validity: Validity,
    subject: RdnSequence,
    subject_public_key: AnyRef<'a>,
    #[asn1(context_specific = "3", tag_mode = "EXPLICIT")]
    extensions: Vec<Extension>,
}

/// `Certificate` of RFC 5280 section 4.1.
#[derive(Sequence)]
struct Certificate<'a> {
    tbs: AnyRef<'a>,
    algorithm: AlgorithmIdentifierRef<'a>,
    signature: BitStringRef<'a>,
}

/// DER of what is signed.
///
/// # Errors
/// A time outside of the years 1970 to 9999, or raw bytes that are not DER.
pub(super) fn to_be_signed(
    approved: &Approved,
    serial: &Serial,
    issuer: &Issuer<'_>,
    algorithm: AlgorithmIdentifierRef<'_>,
) -> der::Result<Vec<u8>> {
    let key = approved.key();
    TbsCertificate {
        version: Version::V3,
        serial: UintRef::new(serial.octets())?,
        signature: algorithm,
        issuer: AnyRef::from_der(issuer.name)?,
        validity: Validity::new(time(approved.not_before())?, time(approved.not_after())?),
        subject: subject(approved.user(), approved.groups())?,
        subject_public_key: AnyRef::from_der(key.spki())?,
        extensions: extensions(key, issuer.key_identifier)?,
    }
    .to_der()
}

/// DER of the certificate.
///
/// # Errors
/// `tbs` is not DER.
pub(super) fn certificate(
    tbs: &[u8],
    algorithm: AlgorithmIdentifierRef<'_>,
    signature: &[u8],
) -> der::Result<Vec<u8>> {
    Certificate { tbs: AnyRef::from_der(tbs)?, algorithm, signature: BitStringRef::from_bytes(signature)? }
        .to_der()
}

/// `UTCTime` through 2049 and `GeneralizedTime` from 2050, RFC 5280 section 4.1.2.5.
fn time(at: Time) -> der::Result<X509Time> {
    let seconds = u64::try_from(at.unix()).map_err(|_| der::ErrorKind::DateTime)?;
    DateTime::from_unix_duration(Duration::from_secs(seconds)).map(X509Time::from)
}

/// The user, then one RDN for each group: kube-apiserver reads every O, but other readers take one
/// value of an RDN.
fn subject(user: &Name, groups: &[Name]) -> der::Result<RdnSequence> {
    let mut names = Vec::with_capacity(groups.len().saturating_add(1));
    names.push(attribute(COMMON_NAME, user)?);
    for group in groups {
        names.push(attribute(ORGANIZATION, group)?);
    }
    Ok(RdnSequence::from(names))
}

fn attribute(oid: ObjectIdentifier, name: &Name) -> der::Result<RelativeDistinguishedName> {
    let value = Any::new(Tag::Utf8String, name.as_str().as_bytes())?;
    RelativeDistinguishedName::try_from(vec![AttributeTypeAndValue { oid, value }])
}

/// The whole list. Nothing is ever added from a request.
fn extensions(key: &PublicKey, ca_key_identifier: Option<&[u8]>) -> der::Result<Vec<Extension>> {
    let mut list = Vec::with_capacity(5);
    list.push(extension(true, &key_usage(key))?);
    list.push(extension(false, &ExtendedKeyUsage(vec![CLIENT_AUTH]))?);
    list.push(extension(true, &BasicConstraints { ca: false, path_len_constraint: None })?);
    list.push(extension(false, &SubjectKeyIdentifier(key_identifier(key)?))?);
    if let Some(identifier) = ca_key_identifier {
        let authority = AuthorityKeyIdentifier {
            key_identifier: Some(OctetString::new(identifier)?),
            authority_cert_issuer: None,
            authority_cert_serial_number: None,
        };
        list.push(extension(false, &authority)?);
    }
    Ok(list)
}

fn extension<T: Encode + AssociatedOid>(critical: bool, value: &T) -> der::Result<Extension> {
    Ok(Extension { extn_id: T::OID, critical, extn_value: OctetString::new(value.to_der()?)? })
}

/// Key encipherment has a meaning for RSA keys only, RFC 5480 section 3 and RFC 8410 section 5.
fn key_usage(key: &PublicKey) -> KeyUsage {
    if key.kind().is_rsa() {
        KeyUsage(KeyUsages::DigitalSignature | KeyUsages::KeyEncipherment)
    } else {
        KeyUsage(KeyUsages::DigitalSignature.into())
    }
}

/// RFC 7093 section 2, method 1: the first 160 bits of the SHA-256 of the public key's bits.
fn key_identifier(key: &PublicKey) -> der::Result<OctetString> {
    let info = SubjectPublicKeyInfoRef::from_der(key.spki())?;
    let hash = digest(&SHA256, info.subject_public_key.raw_bytes());
    OctetString::new(hash.as_ref().get(..20).unwrap_or_default())
}
