//! A loaded CA: its key, its chain, and the only function that signs.

use std::fmt;
use std::path::{Path, PathBuf};

use aws_lc_rs::rand;
use spki::AlgorithmIdentifierRef;

use super::certificate::sha256;
use super::chain::{Chain, ChainProblem};
use super::encode::{self, Issuer};
use super::key_file::{self, KeyFileProblem, PasswordFileProblem};
use super::read_back::{self, Expected};
use super::secret_file::shown;
use super::signer::Signer;
use super::verify;
use crate::pki::serial::Serial;
use crate::policy::Approved;
use crate::time::Time;

/// Where a CA's files are.
#[derive(Clone, Debug)]
pub struct AuthoritySettings {
    /// PEM: the CA's certificate, then each one that signed the one before.
    pub certificate: PathBuf,
    /// PEM: the CA's private key.
    pub key: PathBuf,
    /// The password of an encrypted key.
    pub key_password_file: Option<PathBuf>,
}

/// A client CA that passed every check and can sign.
pub struct Authority {
    signer: Signer,
    chain: Chain,
    spki_sha256: [u8; 32],
    chain_pem: String,
    intermediates_pem: String,
}

impl Authority {
    /// Reads and checks the files, and signs once, which proves that key and certificate belong
    /// together and takes the first, slow random byte before a client waits for it. An expired CA
    /// loads.
    ///
    /// # Errors
    /// See [`AuthorityError`].
    pub fn load(settings: &AuthoritySettings) -> Result<Self, AuthorityError> {
        let chain = Chain::read(&settings.certificate).map_err(|problem| AuthorityError::Certificate {
            file: shown(&settings.certificate),
            problem: Box::new(problem),
        })?;
        let signer = read_key(settings)?;
        let authority = Self {
            spki_sha256: chain.first.spki_sha256(),
            chain_pem: chain.pem(),
            intermediates_pem: chain.intermediates_pem(),
            signer,
            chain,
        };
        if authority.key_matches()? { Ok(authority) } else { Err(AuthorityError::mismatch(settings)) }
    }

    /// SHA-256 of the `SubjectPublicKeyInfo`, by which a CA is known.
    #[must_use]
    pub fn spki_sha256(&self) -> [u8; 32] {
        self.spki_sha256
    }

    /// SHA-256 of the `SubjectPublicKeyInfo` of every certificate of the chain, the CA's own first.
    #[must_use]
    pub fn chain_keys(&self) -> Vec<[u8; 32]> {
        self.chain.certificates().map(super::certificate::CaCertificate::spki_sha256).collect()
    }

    /// DER of every certificate of the chain, the CA's own first.
    pub fn chain_certificates(&self) -> impl Iterator<Item = &[u8]> {
        self.chain.certificates().map(|one| one.der.as_slice())
    }

    /// Whether this CA signed `certificate`, which is DER. Times and uses are not looked at.
    #[must_use]
    pub fn has_signed(&self, certificate: &[u8]) -> bool {
        verify::signed(self.certificate_der(), certificate)
    }

    /// DER of the CA's certificate.
    #[must_use]
    pub fn certificate_der(&self) -> &[u8] {
        &self.chain.first.der
    }

    /// All certificates of the file, the CA's own first, as PEM.
    #[must_use]
    pub fn chain_pem(&self) -> &str {
        &self.chain_pem
    }

    /// What a client sends after its leaf: every certificate of the file that is not self-signed.
    /// Empty for a root.
    #[must_use]
    pub fn intermediates_pem(&self) -> &str {
        &self.intermediates_pem
    }

    /// The latest notBefore over the chain.
    #[must_use]
    pub fn not_before(&self) -> Time {
        self.chain.not_before()
    }

    /// The earliest notAfter over the chain.
    #[must_use]
    pub fn not_after(&self) -> Time {
        self.chain.not_after()
    }

    /// `rsa-2048`, `p-256`... An RSA key of an unusual size is `rsa`.
    #[must_use]
    pub fn key_kind(&self) -> &'static str {
        self.chain.first.key_kind
    }

    /// Whether a signature takes about as long as handing it to another thread: P-256 and Ed25519.
    #[must_use]
    pub fn is_quick(&self) -> bool {
        self.signer.is_quick()
    }

    /// RFC 4514 text of the subject, for people.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.chain.first.subject_text
    }

    /// Signs what was decided. The only function that signs; it reads its own output back with
    /// another library and compares every field.
    ///
    /// # Errors
    /// The library failed, or the certificate does not say what was decided. Nothing is released.
    pub fn sign(&self, approved: Approved, serial: Serial) -> Result<Signed, SignError> {
        let issuer = self.issuer();
        let algorithm = self.signer.algorithm();
        let tbs = encode::to_be_signed(&approved, &serial, &issuer, algorithm)?;
        // aws-lc checks each RSA signature with the public key before it gives it out: one that is
        // faulty would give the private key away (rsa_impl.c, `rsa_default_private_transform`).
        let signature = self.signer.sign(&tbs).map_err(|_| SignError::Signing)?;
        let der = encode::certificate(&tbs, algorithm, &signature)?;
        let expected = Expected {
            approved: &approved,
            serial: &serial,
            issuer: &issuer,
            algorithm,
            tbs: &tbs,
            signature: &signature,
        };
        read_back::compare(&der, &expected).map_err(SignError::Differs)?;
        let sha256 = sha256(&der);
        Ok(Signed { approved, serial, der, authority: self.spki_sha256, sha256 })
    }

    fn issuer(&self) -> Issuer<'_> {
        Issuer { name: &self.chain.first.subject, key_identifier: self.chain.first.key_identifier.as_deref() }
    }

    /// The message is none that could be taken for a certificate. Not every kind of signature
    /// takes random bytes, so a few are taken here.
    fn key_matches(&self) -> Result<bool, AuthorityError> {
        let mut nonce = [0; 16];
        rand::fill(&mut nonce).map_err(|_| AuthorityError::Signing)?;
        let message =
            [b"countersign: do this key and this certificate belong together? ", &nonce[..]].concat();
        let signature = self.signer.sign(&message).map_err(|_| AuthorityError::Signing)?;
        Ok(self.verifies(&message, &signature))
    }

    fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let AlgorithmIdentifierRef { oid, .. } = self.signer.algorithm();
        verify::verify_with_oid(&self.chain.first.spki, oid, message, signature)
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("subject", &self.subject()).finish_non_exhaustive()
    }
}

fn read_key(settings: &AuthoritySettings) -> Result<Signer, AuthorityError> {
    let password = settings.key_password_file.as_deref().map(read_password).transpose()?;
    key_file::read(&settings.key, password.as_ref().map(|password| password.as_slice()))
        .map_err(|problem| AuthorityError::Key { file: shown(&settings.key), problem: Box::new(problem) })
}

fn read_password(path: &Path) -> Result<zeroize::Zeroizing<Vec<u8>>, AuthorityError> {
    key_file::read_password(path)
        .map_err(|problem| AuthorityError::Password { file: shown(path), problem: Box::new(problem) })
}

/// A certificate that nobody has seen yet. Goes into the store and nowhere else.
#[derive(Debug)]
pub struct Signed {
    approved: Approved,
    serial: Serial,
    der: Vec<u8>,
    authority: [u8; 32],
    sha256: [u8; 32],
}

impl Signed {
    /// `der` need not be a certificate.
    #[cfg(test)]
    pub(crate) fn for_tests(approved: Approved, serial: Serial, der: Vec<u8>, authority: [u8; 32]) -> Self {
        let sha256 = sha256(&der);
        Self { approved, serial, der, authority, sha256 }
    }

    /// The decision that it says.
    pub(crate) fn approved(&self) -> &Approved {
        &self.approved
    }

    /// Its serial number.
    pub(crate) fn serial(&self) -> Serial {
        self.serial
    }

    /// The whole certificate.
    pub(crate) fn der(&self) -> &[u8] {
        &self.der
    }

    /// SHA-256 of the `SubjectPublicKeyInfo` of the CA that signed.
    pub(crate) fn authority(&self) -> [u8; 32] {
        self.authority
    }

    /// SHA-256 of the whole DER: the credential id.
    pub(crate) fn sha256(&self) -> [u8; 32] {
        self.sha256
    }
}

/// Why a CA does not load. Each is one sentence with the file's path and what to do.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The certificate file.
    #[error("the CA certificate file {file}: {problem}")]
    Certificate {
        /// The path, on one line.
        file: String,
        /// What is wrong.
        problem: Box<ChainProblem>,
    },
    /// The key file.
    #[error("the CA key file {file}: {problem}")]
    Key {
        /// The path, on one line.
        file: String,
        /// What is wrong.
        problem: Box<KeyFileProblem>,
    },
    /// The password file.
    #[error("the CA key's password file {file}: {problem}")]
    Password {
        /// The path, on one line.
        file: String,
        /// What is wrong.
        problem: Box<PasswordFileProblem>,
    },
    /// Two files of two CAs.
    #[error(
        "the CA key file {key} is not the key of the first certificate in {certificate}: \
         name the files of one CA, its own certificate first"
    )]
    Mismatch {
        /// The path, on one line.
        key: String,
        /// The path, on one line.
        certificate: String,
    },
    /// The library failed at the trial signature.
    #[error("the CA's key cannot sign: the cryptographic library failed, try again")]
    Signing,
}

impl AuthorityError {
    fn mismatch(settings: &AuthoritySettings) -> Self {
        Self::Mismatch { key: shown(&settings.key), certificate: shown(&settings.certificate) }
    }
}

/// Why a certificate was not made. The client is told nothing but that it was not.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// A value that does not fit into a certificate.
    #[error("the certificate cannot be encoded: {0}")]
    Encoding(#[from] der::Error),
    /// The library failed.
    #[error("the cryptographic library could not sign")]
    Signing,
    /// Read back, it says something else than was decided.
    #[error("the certificate's field {0} is not what was decided: nothing was released, report this")]
    Differs(&'static str),
}
