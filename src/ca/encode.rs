//! The only file that builds a certificate: the profile of RFC 5280 section 4 that every issued
//! one has, from the decision's values alone.
//!
//! The issuer and the subject's key are put in as raw bytes. Decoding a name and encoding it again
//! can re-order it, and a chain whose names differ by one byte is no chain (RFC 5280 section 7.1).

use std::sync::LazyLock;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use der::asn1::{
    AnyRef, BitStringRef, ObjectIdentifier, OctetString, OctetStringRef, UintRef, Utf8StringRef,
};
use der::oid::AssociatedOid;
use der::{DateTime, Decode, Encode, EncodeValue, FixedTag, Length, Tag, Writer};
use spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef};
use x509_cert::certificate::Version;
use x509_cert::ext::pkix::{
    AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, KeyUsages, SubjectKeyIdentifier,
};
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

/// `TBSCertificate` of RFC 5280 section 4.1, with names and keys as they are. Borrows what it says, as everything
/// below it does: of each certificate that is made, this is the most that is not cryptography.
#[derive(EncodeValue)]
struct TbsCertificate<'a> {
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    version: Version,
    serial: UintRef<'a>,
    signature: AlgorithmIdentifierRef<'a>,
    issuer: AnyRef<'a>,
    validity: Validity,
    subject: Vec<Rdn<'a>>,
    subject_public_key: AnyRef<'a>,
    #[asn1(context_specific = "3", tag_mode = "EXPLICIT")]
    extensions: Vec<Extension<'a>>,
}

/// `RelativeDistinguishedName` of RFC 5280 section 4.1.2.4 with one attribute: a set that needs no order.
struct Rdn<'a>(Attribute<'a>);

/// `AttributeTypeAndValue` of RFC 5280 section 4.1.2.4.
#[derive(EncodeValue)]
struct Attribute<'a> {
    oid: ObjectIdentifier,
    value: Utf8StringRef<'a>,
}

/// `Extension` of RFC 5280 section 4.1.
#[derive(EncodeValue)]
struct Extension<'a> {
    oid: ObjectIdentifier,
    #[asn1(default = "Default::default")]
    critical: bool,
    value: &'a OctetStringRef,
}

/// `Certificate` of RFC 5280 section 4.1.
#[derive(EncodeValue)]
struct Certificate<'a> {
    tbs: AnyRef<'a>,
    algorithm: AlgorithmIdentifierRef<'a>,
    signature: BitStringRef<'a>,
}

impl FixedTag for TbsCertificate<'_> {
    const TAG: Tag = Tag::Sequence;
}
impl FixedTag for Attribute<'_> {
    const TAG: Tag = Tag::Sequence;
}
impl FixedTag for Extension<'_> {
    const TAG: Tag = Tag::Sequence;
}
impl FixedTag for Certificate<'_> {
    const TAG: Tag = Tag::Sequence;
}
impl FixedTag for Rdn<'_> {
    const TAG: Tag = Tag::Set;
}

impl EncodeValue for Rdn<'_> {
    fn value_len(&self) -> der::Result<Length> {
        self.0.encoded_len()
    }

    fn encode_value(&self, writer: &mut impl Writer) -> der::Result<()> {
        self.0.encode(writer)
    }
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
    let of_key = KeyExtensions::of(key, issuer.key_identifier)?;
    TbsCertificate {
        version: Version::V3,
        serial: UintRef::new(serial.octets())?,
        signature: algorithm,
        issuer: AnyRef::from_der(issuer.name)?,
        validity: Validity::new(time(approved.not_before())?, time(approved.not_after())?),
        subject: subject(approved.user(), approved.groups())?,
        subject_public_key: AnyRef::from_der(key.spki())?,
        extensions: extensions(key, &of_key)?,
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
fn subject<'a>(user: &'a Name, groups: &'a [Name]) -> der::Result<Vec<Rdn<'a>>> {
    let mut names = Vec::with_capacity(groups.len().saturating_add(1));
    names.push(rdn(COMMON_NAME, user)?);
    for group in groups {
        names.push(rdn(ORGANIZATION, group)?);
    }
    Ok(names)
}

fn rdn(oid: ObjectIdentifier, name: &Name) -> der::Result<Rdn<'_>> {
    Ok(Rdn(Attribute { oid, value: Utf8StringRef::new(name.as_str())? }))
}

/// The whole list. Nothing is ever added from a request.
fn extensions<'a>(key: &PublicKey, of_key: &'a KeyExtensions) -> der::Result<Vec<Extension<'a>>> {
    let same = SAME.as_ref().map_err(|error| *error)?;
    let usage = if key.kind().is_rsa() { &same.rsa_key_usage } else { &same.key_usage };
    let mut list = Vec::with_capacity(5);
    list.push(extension::<KeyUsage>(true, usage)?);
    list.push(extension::<ExtendedKeyUsage>(false, &same.extended_key_usage)?);
    list.push(extension::<BasicConstraints>(true, &same.basic_constraints)?);
    list.push(extension::<SubjectKeyIdentifier>(false, &of_key.subject)?);
    if let Some(authority) = &of_key.authority {
        list.push(extension::<AuthorityKeyIdentifier>(false, authority)?);
    }
    Ok(list)
}

fn extension<T: AssociatedOid>(critical: bool, der: &[u8]) -> der::Result<Extension<'_>> {
    Ok(Extension { oid: T::OID, critical, value: OctetStringRef::new(der)? })
}

/// DER of the extensions that are the same in every certificate.
struct SameExtensions {
    key_usage: Vec<u8>,
    rsa_key_usage: Vec<u8>,
    extended_key_usage: Vec<u8>,
    basic_constraints: Vec<u8>,
}

static SAME: LazyLock<der::Result<SameExtensions>> = LazyLock::new(|| {
    Ok(SameExtensions {
        key_usage: KeyUsage(KeyUsages::DigitalSignature.into()).to_der()?,
        // Key encipherment has a meaning for RSA keys only, RFC 5480 section 3 and RFC 8410 section 5.
        rsa_key_usage: KeyUsage(KeyUsages::DigitalSignature | KeyUsages::KeyEncipherment).to_der()?,
        extended_key_usage: ExtendedKeyUsage(vec![CLIENT_AUTH]).to_der()?,
        basic_constraints: BasicConstraints { ca: false, path_len_constraint: None }.to_der()?,
    })
});

/// DER of the extensions that say whose keys these are.
struct KeyExtensions {
    subject: Vec<u8>,
    authority: Option<Vec<u8>>,
}

impl KeyExtensions {
    fn of(key: &PublicKey, ca_key_identifier: Option<&[u8]>) -> der::Result<Self> {
        let authority = |identifier| {
            AuthorityKeyIdentifier {
                key_identifier: Some(OctetString::new(identifier)?),
                authority_cert_issuer: None,
                authority_cert_serial_number: None,
            }
            .to_der()
        };
        Ok(Self {
            subject: SubjectKeyIdentifier(key_identifier(key)?).to_der()?,
            authority: ca_key_identifier.map(authority).transpose()?,
        })
    }
}

/// RFC 7093 section 2, method 1: the first 160 bits of the SHA-256 of the public key's bits.
fn key_identifier(key: &PublicKey) -> der::Result<OctetString> {
    let info = SubjectPublicKeyInfoRef::from_der(key.spki())?;
    let hash = digest(&SHA256, info.subject_public_key.raw_bytes());
    OctetString::new(hash.as_ref().get(..20).unwrap_or_default())
}
