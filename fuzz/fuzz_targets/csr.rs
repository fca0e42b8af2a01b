//! The DER of a CSR: as it is, and as the subject and attributes of one that is well signed.
#![no_main]

use std::sync::LazyLock;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use countersign::pki::csr::{Asked, CertRequest};
use countersign_fuzz::in_time;
use libfuzzer_sys::fuzz_target;
use x509_cert::der::{Decode as _, Encode as _, ErrorKind};
use x509_cert::request::CertReq;
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::X509Name;

static KEY: LazyLock<Ed25519KeyPair> =
    LazyLock::new(|| Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("a key"));

fuzz_target!(|input: &[u8]| {
    check(input);
    if let Some((length, parts)) = input.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes(*length)).min(parts.len());
        let (subject, attributes) = parts.split_at(length);
        check(&signed(subject, attributes));
    }
});

fn check(der: &[u8]) {
    let asked = in_time(|| Asked::read(der));
    let request = match in_time(|| CertRequest::parse(der)) {
        Ok(request) => request,
        Err(error) => {
            assert!(!error.code().is_empty() && !error.to_string().contains('\n'));
            return;
        }
    };
    let other = match CertReq::from_der(der) {
        Err(error) if is_beyond_x509_cert(error.kind()) => return,
        other => other.expect("x509-cert reads it"),
    };
    assert_eq!(in_any_order(&other.to_der().expect("DER")), in_any_order(der), "what is read is strict DER");
    // x509-parser's reader of whole requests looks into the requested extensions, which are of no interest.
    let subject = other.info.subject.to_der().expect("DER");
    let key = other.info.public_key.to_der().expect("DER");
    let named = [&subject[..], &key].concat();
    assert!(der.windows(named.len()).any(|part| part == named), "names and key are written as they were");
    let names = (request.user().clone(), request.groups().to_vec());
    assert_eq!(asked.names, Some(names), "the record of a refusal would name the same");
    assert_eq!(asked.key.map(|key| key.spki_sha256), Some(request.key().spki_sha256()));
    compare(&request, &subject);
}

/// x509-cert sorts attributes and their values, as DER does. They are ignored, and not all tools sort them.
fn in_any_order(der: &[u8]) -> Vec<u8> {
    let mut octets = der.to_vec();
    octets.sort_unstable();
    octets
}

/// x509-cert has limits on object identifiers, and knows the universal tags only; both may stand in attributes
/// that are ignored.
fn is_beyond_x509_cert(error: ErrorKind) -> bool {
    matches!(error, ErrorKind::OidMalformed | ErrorKind::TagUnknown { .. })
}

/// x509-parser sees one CN and the same groups.
fn compare(request: &CertRequest, subject: &[u8]) {
    let (rest, subject) = X509Name::from_der(subject).expect("x509-parser reads it");
    assert!(rest.is_empty());
    let users: Vec<&str> = subject.iter_common_name().map(|cn| cn.as_str().expect("text")).collect();
    assert_eq!(users, [request.user().as_str()]);
    let mut groups: Vec<&str> = Vec::new();
    for group in subject.iter_organization().map(|o| o.as_str().expect("text")) {
        if !groups.contains(&group) {
            groups.push(group);
        }
    }
    let ours: Vec<&str> = request.groups().iter().map(countersign::pki::name::Name::as_str).collect();
    assert_eq!(groups, ours);
}

/// A request of these parts, under a key of ours.
fn signed(subject: &[u8], attributes: &[u8]) -> Vec<u8> {
    const ED25519: [u8; 7] = [0x30, 5, 6, 3, 0x2b, 0x65, 0x70];
    let spki = tlv(0x30, &[&ED25519[..], &bits(KEY.public_key().as_ref())].concat());
    let version = [2, 1, 0];
    let info = tlv(0x30, &[&version[..], subject, &spki, attributes].concat());
    let signature = bits(KEY.sign(&info).as_ref());
    tlv(0x30, &[&info[..], &ED25519, &signature].concat())
}

fn bits(octets: &[u8]) -> Vec<u8> {
    tlv(3, &[&[0], octets].concat())
}

fn tlv(tag: u8, value: &[u8]) -> Vec<u8> {
    let length = u32::try_from(value.len()).expect("a length");
    let mut out = vec![tag];
    match length.to_be_bytes() {
        [0, 0, 0, short @ ..=0x7f] => out.push(short),
        [0, 0, 0, one] => out.extend([0x81, one]),
        [0, 0, high, low] => out.extend([0x82, high, low]),
        [_, high, middle, low] => out.extend([0x83, high, middle, low]),
    }
    out.extend(value);
    out
}
