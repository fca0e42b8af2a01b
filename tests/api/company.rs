//! A company with a certificate authority of its own, which has nothing to do with any cluster.

use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use countersign::auth::mtls::{MtlsSettings, NameFrom};
use countersign::auth::proxy::ProxySettings;
use countersign::pki::name::ShortName;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType,
};
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

/// A CA on disk that has nothing to do with any cluster.
pub struct Company {
    folder: tempfile::TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Company {
    pub fn new(name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (parameters, key) = (authority(name), KeyPair::generate().unwrap());
        let root = parameters.self_signed(&key).unwrap().pem();
        std::fs::write(folder.path().join("ca.pem"), root).unwrap();
        let mut options = std::fs::OpenOptions::new();
        let secret = options.write(true).create_new(true).mode(0o600).open(folder.path().join("secret"));
        std::io::Write::write_all(&mut secret.unwrap(), format!("{SECRET}\n").as_bytes()).unwrap();
        Self { folder, issuer: Issuer::new(parameters, key) }
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
