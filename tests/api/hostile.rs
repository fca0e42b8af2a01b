//! CSRs that no tool makes: an honest one of openssl, taken apart and put together otherwise.
//!
//! Their signatures are those of the honest one, so only what is looked at before the signature
//! can be wrong with them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer as _;

pub const UTF8: u8 = 0x0c;
pub const IA5: u8 = 0x16;
pub const CN: &[u8] = &[0x55, 4, 3];
pub const O: &[u8] = &[0x55, 4, 10];
/// pkcs-9 challengePassword.
pub const PASSWORD: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 7];
/// pkcs-9 extensionRequest.
pub const EXTENSIONS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 14];

/// The parts of a CSR, each in DER.
pub struct Parts {
    version: Vec<u8>,
    subject: Vec<u8>,
    key: Vec<u8>,
    attributes: Vec<u8>,
    signature: Vec<u8>,
}

impl Parts {
    pub fn of(pem: &str) -> Self {
        let der = der_of(pem);
        let (_, request) = X509CertificationRequest::from_der(&der).unwrap();
        let info = &request.certification_request_info;
        // What follows the info: the algorithm and the signature.
        let end = der.len() - der.windows(info.raw.len()).position(|window| window == info.raw).unwrap();
        Self {
            version: vec![2, 1, 0],
            subject: info.subject.as_raw().to_vec(),
            key: info.subject_pki.raw.to_vec(),
            attributes: vec![0xa0, 0],
            signature: der[der.len() - end + info.raw.len()..].to_vec(),
        }
    }

    pub fn version(mut self, version: u8) -> Self {
        self.version = vec![2, 1, version];
        self
    }

    /// One RDN for each attribute.
    pub fn subject(mut self, attributes: &[(&[u8], u8, &[u8])]) -> Self {
        let rdn = |(oid, kind, value): &(&[u8], u8, &[u8])| {
            tlv(0x31, &tlv(0x30, &[tlv(6, oid), tlv(*kind, value)].concat()))
        };
        self.subject = tlv(0x30, &attributes.iter().map(rdn).collect::<Vec<_>>().concat());
        self
    }

    /// With each attribute's values, in DER.
    pub fn attributes(mut self, attributes: &[(&[u8], &[&[u8]])]) -> Self {
        let one = |(oid, values): &(&[u8], &[&[u8]])| {
            tlv(0x30, &[tlv(6, oid), tlv(0x31, &values.concat())].concat())
        };
        self.attributes = tlv(0xa0, &attributes.iter().map(one).collect::<Vec<_>>().concat());
        self
    }

    /// With the last octet of the public key changed: no point of the curve.
    pub fn broken_key(mut self) -> Self {
        *self.key.last_mut().unwrap() ^= 1;
        self
    }

    /// With the last octet of the signature changed.
    pub fn broken_signature(mut self) -> Self {
        *self.signature.last_mut().unwrap() ^= 1;
        self
    }

    pub fn pem(&self) -> String {
        let info = [&self.version, &self.subject, &self.key, &self.attributes].map(Vec::as_slice).concat();
        let der = tlv(0x30, &[tlv(0x30, &info), self.signature.clone()].concat());
        let lines = STANDARD.encode(der);
        format!("-----BEGIN CERTIFICATE REQUEST-----\n{lines}\n-----END CERTIFICATE REQUEST-----\n")
    }
}

pub fn der_of(pem: &str) -> Vec<u8> {
    STANDARD.decode(pem.lines().filter(|line| !line.starts_with('-')).collect::<String>()).unwrap()
}

fn tlv(tag: u8, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len()).unwrap().to_be_bytes();
    let mut der = match value.len() {
        0..128 => vec![tag, length[1]],
        128..256 => vec![tag, 0x81, length[1]],
        _ => vec![tag, 0x82, length[0], length[1]],
    };
    der.extend(value);
    der
}
