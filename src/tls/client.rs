//! What a client shows in the handshake, and whether an authority vouches for it.
//!
//! The handshake takes any certificate whose key the client holds. Whether it means anything is for
//! whoever asks for a caller, by the authorities of each way to authenticate: so a certificate that
//! means nothing is a 401 that says so, and not a broken connection; and no authority ever counts
//! for another way than its own.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::identity::{self, IdentityProblem};
use crate::ca::secret_file::shown;
use crate::ca::verify;
use crate::time::Time;

/// How many certificates of what a client sends are kept: its own, and three between that and an
/// authority.
///
/// Whoever has no certificate that counts can send any, and a path is looked for among them in every
/// order: among sixty of one name that takes a fifth of a second for each request. What stands further
/// behind is passed over, as if the authority that it leads to were none of ours. Nothing of a cluster
/// needs it, whose own CA vouches for its certificates, however long the chain that a kubeconfig has.
const LONGEST: usize = 4;
/// The most that these have together, in bytes. Certificates have one or two thousand.
const LARGEST: usize = 32 * 1_024;

/// The certificate of the other end, whose key it proved to hold, with what it sent behind it.
#[derive(Clone, Debug)]
pub struct ClientCertificate(Arc<Sent>);

/// What a client sent in one handshake, and what was said of it since.
struct Sent {
    chain: Vec<CertificateDer<'static>>,
    verdicts: Mutex<Vec<Verdict>>,
}

/// What some authorities said. Times are whole seconds, so in the same one they say the same.
struct Verdict {
    of: Arc<dyn ClientCertVerifier>,
    at: Time,
    said: Result<(), Unverified>,
}

impl ClientCertificate {
    /// None of an empty chain, or where the client's own is larger than any is.
    #[must_use]
    pub fn new(chain: &[CertificateDer<'static>]) -> Option<Self> {
        let mut room = LARGEST;
        let fits = |one: &&CertificateDer<'static>| {
            let left = room.checked_sub(one.len());
            room = left.unwrap_or(0);
            left.is_some()
        };
        let chain: Vec<_> = chain.iter().take(LONGEST).take_while(fits).cloned().collect();
        (!chain.is_empty()).then(|| Self(Arc::new(Sent { chain, verdicts: Mutex::default() })))
    }

    /// The client's own, as DER.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        self.0.chain.first().map_or(&[], |leaf| leaf)
    }

    /// SHA-256 of it.
    #[must_use]
    pub fn sha256(&self) -> [u8; 32] {
        identity::sha256(self.der())
    }
}

impl Sent {
    /// What `of` said at this second, or says now. A connection that carries many requests is verified once a
    /// second, not for each.
    fn verdict(
        &self,
        of: &Arc<dyn ClientCertVerifier>,
        at: Time,
        ask: impl FnOnce() -> Result<(), Unverified>,
    ) -> Result<(), Unverified> {
        let mut verdicts = self.verdicts.lock().unwrap_or_else(PoisonError::into_inner);
        verdicts.retain(|one| one.at == at);
        if let Some(known) = verdicts.iter().find(|one| Arc::ptr_eq(&one.of, of)) {
            return known.said;
        }
        let said = ask();
        verdicts.push(Verdict { of: Arc::clone(of), at, said });
        said
    }
}

impl fmt::Debug for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sent").field("count", &self.chain.len()).finish_non_exhaustive()
    }
}

/// Some authorities that sign certificates of clients.
#[derive(Clone)]
pub struct ClientAuthorities {
    verifier: Arc<dyn ClientCertVerifier>,
    certificates: Vec<CertificateDer<'static>>,
}

/// Why a certificate counts for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unverified {
    /// Of another authority, or not for clients.
    Foreign,
    /// Past its time, or before it.
    Expired,
}

impl ClientAuthorities {
    /// Those of a PEM file.
    ///
    /// # Errors
    /// It cannot be read, holds no certificate, or one that is no authority.
    pub fn read(path: &Path) -> Result<Self, AuthoritiesProblem> {
        let problem = |problem| AuthoritiesProblem::File { file: shown(path), problem };
        let certificates = identity::certificates(path).map_err(problem)?;
        Self::of(&certificates)
            .map_err(|number| AuthoritiesProblem::NoAuthority { file: shown(path), number })
    }

    /// These, as DER.
    ///
    /// # Errors
    /// The number, from 1, of the first that is no authority.
    pub fn of(certificates: &[CertificateDer<'static>]) -> Result<Self, usize> {
        let mut roots = RootCertStore::empty();
        for (index, der) in certificates.iter().enumerate() {
            let number = index.saturating_add(1);
            let (_, certificate) = X509Certificate::from_der(der).map_err(|_| number)?;
            if !certificate.is_ca() {
                return Err(number);
            }
            roots.add(der.clone()).map_err(|_| number)?;
        }
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), super::provider());
        let verifier = builder.build().map_err(|_| certificates.len())?;
        Ok(Self { verifier, certificates: certificates.to_vec() })
    }

    /// Whether one of them vouches for `certificate` at `now`, for use by a client.
    ///
    /// # Errors
    /// See [`Unverified`].
    pub fn verify(&self, certificate: &ClientCertificate, now: Time) -> Result<(), Unverified> {
        certificate.0.verdict(&self.verifier, now, || self.ask(&certificate.0.chain, now))
    }

    fn ask(&self, chain: &[CertificateDer<'static>], now: Time) -> Result<(), Unverified> {
        let (leaf, intermediates) = chain.split_first().ok_or(Unverified::Foreign)?;
        let now = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(now.unix()).unwrap_or(0)));
        let verified = self.verifier.verify_client_cert(leaf, intermediates, now);
        verified.map(|_| ()).map_err(|error| match error {
            rustls::Error::InvalidCertificate(
                CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. },
            ) => Unverified::Expired,
            _ => Unverified::Foreign,
        })
    }

    /// Whether the certificates of the authority of `certificate`, which is DER, would be of these too: it
    /// has the key of one of them, or one of them signed it.
    #[must_use]
    pub fn cover(&self, certificate: &[u8]) -> bool {
        let key = key_of(certificate);
        self.certificates
            .iter()
            .any(|own| key.is_some() && key == key_of(own) || verify::signed(own, certificate))
    }

    /// Whether a certificate may be of both.
    #[must_use]
    pub fn overlap(&self, other: &Self) -> bool {
        other.certificates.iter().any(|theirs| self.cover(theirs))
            || self.certificates.iter().any(|own| other.cover(own))
    }
}

impl fmt::Debug for ClientAuthorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientAuthorities").field("count", &self.certificates.len()).finish_non_exhaustive()
    }
}

/// SHA-256 of the `SubjectPublicKeyInfo`.
fn key_of(certificate: &[u8]) -> Option<[u8; 32]> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    Some(identity::sha256(certificate.public_key().raw))
}

/// Why a file gives no authorities.
#[derive(Debug, thiserror::Error)]
pub enum AuthoritiesProblem {
    /// The file.
    #[error("{file}: {problem}")]
    File {
        /// The path, on one line.
        file: String,
        /// What is wrong.
        problem: IdentityProblem,
    },
    /// A certificate of something else than an authority.
    #[error("{file}: certificate {number} of it is no certificate authority's")]
    NoAuthority {
        /// The path, on one line.
        file: String,
        /// From 1.
        number: usize,
    },
}

/// Takes every certificate whose key the client proves to hold; see the head of this file.
#[derive(Debug)]
pub(super) struct AnyCertificate {
    algorithms: WebPkiSupportedAlgorithms,
}

impl AnyCertificate {
    pub(super) fn new(provider: &CryptoProvider) -> Self {
        Self { algorithms: provider.signature_verification_algorithms }
    }
}

impl ClientCertVerifier for AnyCertificate {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    /// None: a client picks its certificate by itself, and some send none that no hint names.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests;
