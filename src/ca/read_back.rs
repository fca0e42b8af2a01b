//! Reads a certificate that was just made with another library than the one that made it, and
//! compares every field with what was decided. What the certificate must hold stands here a second
//! time, as bytes of the RFCs, so that one mistake in the encoder cannot go unseen.

use aws_lc_rs::digest::{SHA256, digest};
use spki::AlgorithmIdentifierRef;
use x509_parser::asn1_rs::Tag;
use x509_parser::certificate::{TbsCertificate, X509CertificateParser};
use x509_parser::nom::Parser as _;
use x509_parser::x509::{AlgorithmIdentifier, X509Name, X509Version};

use super::encode::Issuer;
use crate::pki::serial::Serial;
use crate::policy::Approved;
use crate::time::Time;

/// digitalSignature: BIT STRING with 7 unused bits, RFC 5280 section 4.2.1.3.
const DIGITAL_SIGNATURE: &[u8] = &[0x03, 0x02, 0x07, 0x80];
/// digitalSignature and keyEncipherment: BIT STRING with 5 unused bits.
const DIGITAL_SIGNATURE_AND_KEY_ENCIPHERMENT: &[u8] = &[0x03, 0x02, 0x05, 0xa0];
/// SEQUENCE of one OID, 1.3.6.1.5.5.7.3.2, RFC 5280 section 4.2.1.12.
const CLIENT_AUTH: &[u8] = &[0x30, 0x0a, 0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x02];
/// An empty SEQUENCE: CA is FALSE by default, RFC 5280 section 4.2.1.9.
const NOT_A_CA: &[u8] = &[0x30, 0x00];

/// What the certificate has to say.
pub(super) struct Expected<'a> {
    /// The decision: user, groups, key and validity.
    pub approved: &'a Approved,
    /// The serial number that it was signed under.
    pub serial: &'a Serial,
    /// What the CA puts in.
    pub issuer: &'a Issuer<'a>,
    /// The CA's signature algorithm.
    pub algorithm: AlgorithmIdentifierRef<'a>,
    /// The bytes that were signed.
    pub tbs: &'a [u8],
    /// The signature over them.
    pub signature: &'a [u8],
}

/// Compares the certificate with the decision.
///
/// # Errors
/// The name of the first field that differs.
pub(super) fn compare(der: &[u8], expected: &Expected<'_>) -> Result<(), &'static str> {
    // Every extension is compared byte for byte below, so there is nothing to learn from reading into it.
    let mut parser = X509CertificateParser::new().with_deep_parse_extensions(false);
    let Ok(([], read)) = parser.parse(der) else { return Err("encoding") };
    let tbs = &read.tbs_certificate;
    let approved = expected.approved;
    let equal = [
        ("tbsCertificate", tbs.as_ref() == expected.tbs),
        ("signature", read.signature_value.data.as_ref() == expected.signature),
        ("signatureAlgorithm", is_algorithm(&read.signature_algorithm, expected.algorithm)),
        ("version", tbs.version == X509Version::V3),
        ("serialNumber", tbs.raw_serial() == expected.serial.octets()),
        ("signature algorithm", is_algorithm(&tbs.signature, expected.algorithm)),
        ("issuer", tbs.issuer.as_raw() == expected.issuer.name),
        ("validity.notBefore", at(tbs.validity.not_before) == approved.not_before()),
        ("validity.notAfter", at(tbs.validity.not_after) == approved.not_after()),
        ("subject", is_subject(&tbs.subject, approved)),
        ("subjectPublicKeyInfo", tbs.subject_pki.raw == approved.key().spki()),
        ("uniqueID", tbs.issuer_uid.is_none() && tbs.subject_uid.is_none()),
        ("extensions", are_extensions(tbs, approved.key().kind().is_rsa(), expected.issuer.key_identifier)),
    ];
    equal.into_iter().find(|(_, equal)| !equal).map_or(Ok(()), |(field, _)| Err(field))
}

fn at(time: x509_parser::time::ASN1Time) -> Time {
    Time::from_unix(time.timestamp())
}

fn is_algorithm(read: &AlgorithmIdentifier<'_>, expected: AlgorithmIdentifierRef<'_>) -> bool {
    let parameters = match (&read.parameters, expected.parameters) {
        (None, None) => true,
        (Some(read), Some(expected)) => expected.is_null() && read.tag() == Tag::Null && read.data.is_empty(),
        _ => false,
    };
    parameters && read.algorithm.as_bytes() == expected.oid.as_bytes()
}

/// CN, then each group in an RDN of its own, all `UTF8String`.
fn is_subject(read: &X509Name<'_>, approved: &Approved) -> bool {
    let user = std::iter::once((&[0x55, 0x04, 0x03], approved.user()));
    let groups = approved.groups().iter().map(|group| (&[0x55, 0x04, 0x0a], group));
    let mut rdns = read.iter_rdn();
    let all = user.chain(groups).all(|(oid, name)| {
        let Some(rdn) = rdns.next() else { return false };
        let mut attributes = rdn.iter();
        let first = attributes.next().is_some_and(|attribute| {
            attribute.attr_type().as_bytes() == oid
                && attribute.attr_value().tag() == Tag::Utf8String
                && attribute.attr_value().data == name.as_str().as_bytes()
        });
        first && attributes.next().is_none()
    });
    all && rdns.next().is_none()
}

/// Exactly these extensions, in this order, with these bytes. `key_identifier` is the CA's.
pub(super) fn are_extensions(tbs: &TbsCertificate<'_>, is_rsa: bool, key_identifier: Option<&[u8]>) -> bool {
    let key_usage = if is_rsa { DIGITAL_SIGNATURE_AND_KEY_ENCIPHERMENT } else { DIGITAL_SIGNATURE };
    let hash = digest(&SHA256, &tbs.subject_pki.subject_public_key.data);
    let subject_key = [&[0x04, 20], hash.as_ref().get(..20).unwrap_or_default()].concat();
    let mut list = vec![
        ([0x55, 0x1d, 15], true, key_usage.to_vec()),
        ([0x55, 0x1d, 37], false, CLIENT_AUTH.to_vec()),
        ([0x55, 0x1d, 19], true, NOT_A_CA.to_vec()),
        ([0x55, 0x1d, 14], false, subject_key),
    ];
    if let Some(identifier) = key_identifier {
        let Some(value) = authority_key(identifier) else { return false };
        list.push(([0x55, 0x1d, 35], false, value));
    }
    let read = tbs.extensions();
    read.len() == list.len()
        && read.iter().zip(&list).all(|(read, (oid, critical, value))| {
            read.oid.as_bytes() == oid && read.critical == *critical && read.value == value
        })
}

/// SEQUENCE { [0] IMPLICIT OCTET STRING }, RFC 5280 section 4.2.1.1. A CA's identifier of over 125
/// octets would need long lengths; there is none.
fn authority_key(identifier: &[u8]) -> Option<Vec<u8>> {
    let inner = u8::try_from(identifier.len()).ok().filter(|length| *length <= 125)?;
    let outer = inner.checked_add(2)?;
    Some([&[0x30, outer, 0x80, inner], identifier].concat())
}

#[cfg(test)]
mod tests {
    use der::asn1::{AnyRef, ObjectIdentifier};

    use super::*;
    use crate::ca::encode;
    use crate::pki::csr::CertRequest;
    use crate::pki::key::{KeyKind, PublicKey};
    use crate::pki::name::ShortName;
    use crate::policy::Ask;

    /// An RDN sequence with one CN, `a` or `b`.
    const NAME_A: &[u8] = &[0x30, 12, 0x31, 10, 0x30, 8, 0x06, 3, 0x55, 4, 3, 0x0c, 1, b'a'];
    const NAME_B: &[u8] = &[0x30, 12, 0x31, 10, 0x30, 8, 0x06, 3, 0x55, 4, 3, 0x0c, 1, b'b'];
    const ED25519: AlgorithmIdentifierRef<'_> =
        AlgorithmIdentifierRef { oid: ObjectIdentifier::new_unwrap("1.3.101.112"), parameters: None };

    fn decision(user: &str, groups: &[&str], key: &PublicKey, from: i64, until: i64) -> Approved {
        let request = CertRequest::for_tests_with_key(user, groups, key.clone());
        let cluster = ShortName::parse("prod").unwrap();
        let ask = Ask { cluster, request, ttl: None, on_behalf_of: None };
        Approved::for_tests(ask, Time::from_unix(from), Time::from_unix(until))
    }

    fn issuer<'a>(name: &'a [u8], key_identifier: Option<&'a [u8]>) -> Issuer<'a> {
        Issuer { name, key_identifier }
    }

    /// What a comparison says of a certificate for alice in dev and ops, serial 64 times 64, by
    /// the CA `a` with the identifier `1`, where something else was expected.
    fn field_that_differs(
        approved: &Approved,
        serial: [u8; 16],
        issuer_expected: &Issuer<'_>,
        algorithm: AlgorithmIdentifierRef<'_>,
        key: &PublicKey,
    ) -> Result<(), &'static str> {
        let made = decision("alice", &["dev", "ops"], key, 100, 200);
        let by = issuer(NAME_A, Some(&[1]));
        let tbs = encode::to_be_signed(&made, &Serial::from_random([64; 16]), &by, ED25519).unwrap();
        let der = encode::certificate(&tbs, ED25519, &[7]).unwrap();
        let serial = Serial::from_random(serial);
        let expected = Expected {
            approved,
            serial: &serial,
            issuer: issuer_expected,
            algorithm,
            tbs: &tbs,
            signature: &[7],
        };
        compare(&der, &expected)
    }

    #[test]
    fn every_difference_from_the_decision_is_named() {
        let key = PublicKey::for_tests(KeyKind::P256);
        let by = issuer(NAME_A, Some(&[1]));
        let good = decision("alice", &["dev", "ops"], &key, 100, 200);
        assert_eq!(field_that_differs(&good, [64; 16], &by, ED25519, &key), Ok(()));

        let of = |approved: &Approved| field_that_differs(approved, [64; 16], &by, ED25519, &key);
        let alice = |groups: &[&str]| of(&decision("alice", groups, &key, 100, 200));
        for groups in [&["dev"][..], &["ops", "dev"], &["dev", "ops", "x"], &["dev", "opS"], &[]] {
            assert_eq!(alice(groups), Err("subject"), "{groups:?}");
        }
        assert_eq!(of(&decision("alicf", &["dev", "ops"], &key, 100, 200)), Err("subject"));
        assert_eq!(of(&decision("alice", &["dev", "ops"], &key, 101, 200)), Err("validity.notBefore"));
        assert_eq!(of(&decision("alice", &["dev", "ops"], &key, 100, 201)), Err("validity.notAfter"));
        let other = PublicKey::for_tests(KeyKind::P256);
        assert_eq!(of(&decision("alice", &["dev", "ops"], &other, 100, 200)), Err("subjectPublicKeyInfo"));
        let rsa = PublicKey::for_tests_from_spki(key.spki().to_vec(), KeyKind::Rsa2048);
        assert_eq!(of(&decision("alice", &["dev", "ops"], &rsa, 100, 200)), Err("extensions"));
    }

    #[test]
    fn every_difference_from_the_ca_is_named() {
        let key = PublicKey::for_tests(KeyKind::P256);
        let good = decision("alice", &["dev", "ops"], &key, 100, 200);
        let by = |issuer: &Issuer<'_>| field_that_differs(&good, [64; 16], issuer, ED25519, &key);
        assert_eq!(by(&issuer(NAME_B, Some(&[1]))), Err("issuer"));
        assert_eq!(by(&issuer(NAME_A, Some(&[2]))), Err("extensions"));
        assert_eq!(by(&issuer(NAME_A, None)), Err("extensions"));
        let a = issuer(NAME_A, Some(&[1]));
        assert_eq!(field_that_differs(&good, [65; 16], &a, ED25519, &key), Err("serialNumber"));
        let null = AlgorithmIdentifierRef { parameters: Some(AnyRef::NULL), ..ED25519 };
        assert_eq!(field_that_differs(&good, [64; 16], &a, null, &key), Err("signatureAlgorithm"));
        let other = ObjectIdentifier::new_unwrap("1.3.101.113");
        let other = AlgorithmIdentifierRef { oid: other, parameters: None };
        assert_eq!(field_that_differs(&good, [64; 16], &a, other, &key), Err("signatureAlgorithm"));
    }

    #[test]
    fn other_bytes_than_were_signed_are_noticed() {
        let key = PublicKey::for_tests(KeyKind::P256);
        let approved = decision("alice", &[], &key, 100, 200);
        let (issuer, serial) = (issuer(NAME_A, None), Serial::from_random([64; 16]));
        let tbs = encode::to_be_signed(&approved, &serial, &issuer, ED25519).unwrap();
        let der = encode::certificate(&tbs, ED25519, &[7]).unwrap();
        let expected = |tbs, signature| Expected {
            approved: &approved,
            serial: &serial,
            issuer: &issuer,
            algorithm: ED25519,
            tbs,
            signature,
        };
        assert_eq!(compare(&der, &expected(&tbs, &[7])), Ok(()));
        assert_eq!(compare(&der, &expected(&tbs, &[8])), Err("signature"));
        assert_eq!(compare(&der, &expected(&tbs[1..], &[7])), Err("tbsCertificate"));
        assert_eq!(compare(&[&der[..], &[0]].concat(), &expected(&tbs, &[7])), Err("encoding"));
    }
}
