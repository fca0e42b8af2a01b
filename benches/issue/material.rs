//! What is made before anything is measured: CAs, and CSRs with keys of their own.

use std::path::{Path, PathBuf};
use std::str::FromStr as _;

use anyhow::{Result, anyhow};
use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use countersign::clock::Clock;
use der::asn1::{BitString, ObjectIdentifier};
use der::{Decode as _, Encode as _};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, RsaKeySize,
};
use serde::Serialize;
use spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};
use x509_cert::name::Name;
use x509_cert::request::{CertReq, CertReqInfo, Version};
use x509_parser::time::ASN1Time;

/// How many people ask.
const USERS: usize = 256;

/// ecdsa-with-SHA256, RFC 5758 section 3.2.
const ECDSA_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");

/// The key of the CA that signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum CaKey {
    #[serde(rename = "p-256")]
    P256,
    /// What kubeadm makes.
    #[serde(rename = "rsa-2048")]
    Rsa2048,
}

impl CaKey {
    pub const ALL: [Self; 2] = [Self::P256, Self::Rsa2048];

    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::P256 => "p-256",
            Self::Rsa2048 => "rsa-2048",
        }
    }

    /// What one issue costs at the least: the check of a P-256 CSR and this CA's signature.
    pub const fn floor(self) -> [&'static str; 2] {
        match self {
            Self::P256 => ["verify p-256", "sign p-256"],
            Self::Rsa2048 => ["verify p-256", "sign rsa-2048"],
        }
    }

    /// Writes `ca.crt` and `ca.key` into `folder`.
    pub fn make(self, folder: &Path) -> Result<CaFiles> {
        let key = match self {
            Self::P256 => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?,
            Self::Rsa2048 => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)?,
        };
        let files = CaFiles { certificate: folder.join("ca.crt"), key: folder.join("ca.key") };
        std::fs::write(&files.certificate, parameters()?.self_signed(&key)?.pem())?;
        write_secret(&files.key, &key.serialize_pem())?;
        Ok(files)
    }
}

/// A CA on disk.
#[derive(Clone, Debug)]
pub struct CaFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// Readable by its owner only.
pub fn write_secret(path: &Path, text: &str) -> Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    Ok(file.write_all(text.as_bytes())?)
}

/// DER of so many CSRs, each with a key of its own: of the users `u0` and so on in turn, in the
/// groups `dev` and `viewers`.
pub fn csrs(count: usize) -> Result<Vec<Vec<u8>>> {
    (0..count).map(|number| csr(&format!("O=viewers,O=dev,CN=u{}", number % USERS))).collect()
}

/// The PEM of a CSR, as openssl writes it.
pub fn pem(der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).filter_map(|line| str::from_utf8(line).ok()).collect();
    format!("-----BEGIN CERTIFICATE REQUEST-----\n{}\n-----END CERTIFICATE REQUEST-----\n", lines.join("\n"))
}

/// A PKCS #10 request (RFC 2986) without attributes, as `openssl req -new` makes it, under a fresh
/// P-256 key. `subject` is written as in RFC 4514, the last part first.
fn csr(subject: &str) -> Result<Vec<u8>> {
    let failed = |_| anyhow!("the cryptographic library failed");
    let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).map_err(failed)?;
    let spki: PublicKeyX509Der<'_> = key.public_key().as_der().map_err(failed)?;
    let info = CertReqInfo {
        version: Version::V1,
        subject: Name::from_str(subject)?,
        public_key: SubjectPublicKeyInfoOwned::from_der(spki.as_ref())?,
        attributes: der::asn1::SetOfVec::new(),
    };
    let signature = key.sign(&SystemRandom::new(), &info.to_der()?).map_err(failed)?;
    let algorithm = AlgorithmIdentifierOwned { oid: ECDSA_SHA256, parameters: None };
    let signature = BitString::from_bytes(signature.as_ref())?;
    Ok(CertReq { info, algorithm, signature }.to_der()?)
}

fn parameters() -> Result<CertificateParams> {
    let now = Clock::System.now().unix();
    let time =
        |seconds: i64| anyhow::Ok(ASN1Time::from_timestamp(now.saturating_add(seconds))?.to_datetime());
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, "benchmark");
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    (parameters.not_before, parameters.not_after) = (time(-3_600)?, time(30 * 86_400)?);
    Ok(parameters)
}
