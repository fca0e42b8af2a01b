//! The service's own certificate and key.

use std::fs;
use std::path::Path;

use aws_lc_rs::digest::{SHA256, digest};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::TlsError;
use crate::ca::secret_file::{self, SecretFileProblem, shown};
use crate::time::Time;

/// The most that a file of certificates holds, in bytes.
const LARGEST: u64 = 1024 * 1024;
/// The most certificates that the service sends in each handshake.
const LONGEST: usize = 10;

/// Read and checked.
pub(super) struct Identity {
    pub certified: CertifiedKey,
    pub not_before: Time,
    pub not_after: Time,
    pub fingerprint: [u8; 32],
}

/// What is wrong with a file of certificates or a key.
#[derive(Debug, thiserror::Error)]
pub enum IdentityProblem {
    /// The operating system refused.
    #[error("it cannot be read ({0}): check the path, and that the service's user may read it")]
    Io(#[from] std::io::Error),
    /// A folder, a pipe or a device.
    #[error("it is not a regular file: name the file itself")]
    NotAFile,
    /// Over one MiB.
    #[error("it is larger than 1 MiB, which no chain is: check the path")]
    TooLarge,
    /// Too many can read or write the key.
    #[error(transparent)]
    Secret(#[from] SecretFileProblem),
    /// No certificate in it.
    #[error("it holds no certificate in PEM: write the service's certificate, then its intermediates")]
    NoCertificate,
    /// Over ten.
    #[error("it holds more than 10 certificates: keep the service's own and its intermediates")]
    TooMany,
    /// A block that is no certificate.
    #[error("certificate {0} of it cannot be read: the file is damaged")]
    Damaged(usize),
    /// A private key where only certificates belong.
    #[error("it holds a private key too: keep that in the file of tls.key, for the service's user only")]
    HoldsKey,
    /// Encrypted keys are for CAs; a service that restarts by itself would need the password beside it.
    #[error(
        "it is encrypted, which only a CA's key may be: write it out with `openssl pkey -in OLD -out NEW`, mode 0600"
    )]
    Encrypted,
    /// No private key in it.
    #[error("it holds no private key in PEM")]
    NoKey,
    /// DSA, Ed448, a curve without a TLS signature scheme...
    #[error("its kind of key is not supported: use P-256, P-384, Ed25519 or RSA of 2048 bits or more")]
    Unsupported,
    /// Two files of two services.
    #[error("it is not the key of the first certificate in tls.certificate")]
    Mismatch,
}

impl Identity {
    pub(super) fn read(certificate: &Path, key: &Path, provider: &CryptoProvider) -> Result<Self, TlsError> {
        let of_certificate = |problem| TlsError::Certificate { file: shown(certificate), problem };
        let of_key = |problem| TlsError::Key { file: shown(key), problem };
        let chain = certificates(certificate).map_err(of_certificate)?;
        let (not_before, not_after) = validity(&chain).map_err(of_certificate)?;
        let leaf = chain.first().ok_or(IdentityProblem::NoCertificate).map_err(of_certificate)?;
        let fingerprint = sha256(leaf);
        let key = private_key(key).map_err(of_key)?;
        let signing = provider.key_provider.load_private_key(key);
        let signing = signing.map_err(|_| of_key(IdentityProblem::Unsupported))?;
        let certified = CertifiedKey::new(chain, signing);
        certified.keys_match().map_err(|_| of_key(IdentityProblem::Mismatch))?;
        Ok(Self { certified, not_before, not_after, fingerprint })
    }
}

/// SHA-256 of a whole certificate.
pub(super) fn sha256(der: &[u8]) -> [u8; 32] {
    digest(&SHA256, der).as_ref().try_into().unwrap_or_default()
}

/// Every certificate of the file, at least one, and nothing secret beside them.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, IdentityProblem> {
    let metadata = path.metadata()?;
    if !metadata.is_file() {
        return Err(IdentityProblem::NotAFile);
    }
    if metadata.len() > LARGEST {
        return Err(IdentityProblem::TooLarge);
    }
    let file = fs::read(path)?;
    if PrivateKeyDer::from_pem_slice(&file).is_ok() {
        return Err(IdentityProblem::HoldsKey);
    }
    let mut chain = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(&file) {
        let number = chain.len().saturating_add(1);
        let certificate = certificate.map_err(|_| IdentityProblem::Damaged(number))?;
        X509Certificate::from_der(&certificate).map_err(|_| IdentityProblem::Damaged(number))?;
        chain.push(certificate);
    }
    match chain.len() {
        0 => Err(IdentityProblem::NoCertificate),
        1..=LONGEST => Ok(chain),
        _ => Err(IdentityProblem::TooMany),
    }
}

/// The time in which every certificate of the chain is valid.
fn validity(chain: &[CertificateDer<'_>]) -> Result<(Time, Time), IdentityProblem> {
    let (mut from, mut until) = (i64::MIN, i64::MAX);
    for (index, der) in chain.iter().enumerate() {
        let damaged = || IdentityProblem::Damaged(index.saturating_add(1));
        let (_, certificate) = X509Certificate::from_der(der).map_err(|_| damaged())?;
        from = from.max(certificate.validity().not_before.timestamp());
        until = until.min(certificate.validity().not_after.timestamp());
    }
    Ok((Time::from_unix(from), Time::from_unix(until)))
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, IdentityProblem> {
    let file = secret_file::read(path)?;
    let has = |word: &[u8]| memchr::memmem::find(&file, word).is_some();
    if has(b"ENCRYPTED PRIVATE KEY") || has(b"Proc-Type: 4,ENCRYPTED") {
        return Err(IdentityProblem::Encrypted);
    }
    PrivateKeyDer::from_pem_slice(&file).map_err(|_| IdentityProblem::NoKey)
}
