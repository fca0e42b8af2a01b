//! A company with a certificate authority of its own, which has nothing to do with any cluster.

use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use countersign::auth::mtls::{MtlsSettings, NameFrom};
use countersign::auth::proxy::ProxySettings;
use countersign::pki::name::ShortName;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType, SigningKey as _,
};
use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::time::ASN1Time;

use crate::app::NOON;

/// What a proxy that shows no certificate shows.
pub const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// What a CA of this name says of itself; valid around the time of the tests.
pub fn authority(name: &str) -> CertificateParams {
    let mut parameters = named(name);
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    parameters
}

fn named(name: &str) -> CertificateParams {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = DistinguishedName::new();
    if !name.is_empty() {
        parameters.distinguished_name.push(DnType::CommonName, name);
    }
    let at = |seconds: i64| ASN1Time::from_timestamp(NOON.unix() + seconds).unwrap().to_datetime();
    parameters.not_before = at(-3_600);
    parameters.not_after = at(3_600);
    parameters
}

/// A client's certificate as PEM.
pub fn client(name: &str, names: Vec<SanType>, issuer: &Issuer<'_, KeyPair>) -> String {
    signed(named(name), names, issuer)
}

fn signed(mut parameters: CertificateParams, names: Vec<SanType>, issuer: &Issuer<'_, KeyPair>) -> String {
    parameters.subject_alt_names = names;
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    parameters.signed_by(&KeyPair::generate().unwrap(), issuer).unwrap().pem()
}

/// `AlgorithmIdentifier` (RFC 5758 section 3.2).
const ECDSA_WITH_SHA256: [u8; 12] = [0x30, 10, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];

fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    let head = match length {
        [0, short] if short < 0x80 => vec![tag, short],
        [0, byte] => vec![tag, 0x81, byte],
        [high, low] => vec![tag, 0x82, high, low],
    };
    [head, content.to_vec()].concat()
}

/// A CA on disk that has nothing to do with any cluster.
pub struct Company {
    folder: tempfile::TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Company {
    pub fn new(name: &str) -> Self {
        let (parameters, key) = (authority(name), KeyPair::generate().unwrap());
        let root = parameters.self_signed(&key).unwrap().pem();
        Self::on_disk(&root, Issuer::new(parameters, key))
    }

    /// One whose certificate this one signed.
    pub fn below(&self, name: &str) -> Self {
        let (parameters, key) = (authority(name), KeyPair::generate().unwrap());
        let certificate = parameters.signed_by(&key, &self.issuer).unwrap().pem();
        Self::on_disk(&certificate, Issuer::new(parameters, key))
    }

    /// Another certificate for the key of `other`, which is called `name`.
    pub fn certificate_of(&self, other: &Self, name: &str) -> String {
        authority(name).signed_by(other.issuer.key(), &self.issuer).unwrap().pem()
    }

    /// One whose certificate has a unique identifier (RFC 5280 section 4.1.2.8), which webpki does not read.
    pub fn with_unique_identifier(name: &str) -> Self {
        let (parameters, key) = (authority(name), KeyPair::generate().unwrap());
        let certificate = parameters.self_signed(&key).unwrap();
        let (_, read) = X509Certificate::from_der(certificate.der()).unwrap();
        let (tbs, spki) = (read.tbs_certificate.as_ref(), read.public_key().raw);
        // Behind the tag and a length in its long form.
        let begin = 2 + usize::from(tbs[1] & 0x7f);
        let end = tbs.windows(spki.len()).position(|part| part == spki).unwrap() + spki.len();
        // subjectUniqueID [2] IMPLICIT BIT STRING.
        let tbs = der(0x30, &[&tbs[begin..end], &[0x82, 2, 0, 1], &tbs[end..]].concat());
        let signature = [vec![0], key.sign(&tbs).unwrap()].concat();
        let whole = der(0x30, &[tbs, ECDSA_WITH_SHA256.to_vec(), der(0x03, &signature)].concat());
        let pem = countersign::pki::pem::encode("CERTIFICATE", &whole);
        Self::on_disk(&pem, Issuer::new(parameters, key))
    }

    fn on_disk(certificate: &str, issuer: Issuer<'static, KeyPair>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), certificate).unwrap();
        let mut options = std::fs::OpenOptions::new();
        let secret = options.write(true).create_new(true).mode(0o600).open(folder.path().join("secret"));
        std::io::Write::write_all(&mut secret.unwrap(), format!("{SECRET}\n").as_bytes()).unwrap();
        Self { folder, issuer }
    }

    /// The CA's certificate, as PEM.
    pub fn certificate(&self) -> String {
        std::fs::read_to_string(self.file("ca.pem")).unwrap()
    }

    /// Its key, as PEM.
    pub fn key(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn client(&self, name: &str, names: Vec<SanType>) -> String {
        client(name, names, &self.issuer)
    }

    /// One that ended a second before the tests begin.
    pub fn expired_client(&self, name: &str) -> String {
        let mut parameters = named(name);
        parameters.not_after = ASN1Time::from_timestamp(NOON.unix() - 1).unwrap().to_datetime();
        signed(parameters, vec![], &self.issuer)
    }

    pub fn mtls(&self, name: &str, name_from: NameFrom) -> MtlsSettings {
        MtlsSettings { name: ShortName::parse(name).unwrap(), ca: self.file("ca.pem"), name_from }
    }

    pub fn proxy(&self, name: &str) -> ProxySettings {
        let ca = self.file("ca.pem");
        let settings =
            format!("name = \"{name}\"\nca = \"{}\"\nclient_names = [\"proxy.example\"]", ca.display());
        toml::from_str(&settings).unwrap()
    }

    pub fn proxy_with_secret(&self, name: &str) -> ProxySettings {
        let settings = format!(
            "name = \"{name}\"\naddresses = [\"10.0.0.0/24\"]\nsecret_header = \"X-Proxy-Secret\"\nsecret_file = \"{}\"",
            self.file("secret").display()
        );
        toml::from_str(&settings).unwrap()
    }
}
