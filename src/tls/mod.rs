//! TLS in the service: its own certificate, which is read again while it runs, and the
//! certificates that clients show.
//!
//! - `identity`: certificate and key of the service, from files.
//! - [`client`]: what a client showed, and whether an authority vouches for it.
//! - [`files`]: whether files have changed since they were read.

pub mod client;
pub mod files;
mod identity;

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::version::{TLS12, TLS13};
use serde::Deserialize;

use crate::time::Time;

pub use client::{ClientAuthorities, ClientCertificate, Unverified};
pub use identity::IdentityProblem;

use client::AnyCertificate;
use identity::Identity;

/// The `[tls]` table.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsSettings {
    /// PEM: the service's certificate, then the intermediates that lead to its root.
    pub certificate: PathBuf,
    /// PEM: its private key.
    pub key: PathBuf,
    /// PEM: clients must show a certificate of one of these authorities. It names no caller.
    pub client_ca: Option<PathBuf>,
}

impl TlsSettings {
    /// The same settings with every file name taken from `folder`.
    #[must_use]
    pub fn resolved_from(self, folder: &Path) -> Self {
        Self {
            certificate: folder.join(self.certificate),
            key: folder.join(self.key),
            client_ca: self.client_ca.map(|path| folder.join(path)),
        }
    }

    /// Every file that these settings name.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        [&self.certificate, &self.key].into_iter().chain(&self.client_ca).cloned().collect()
    }
}

/// What new connections are served with. Those that are open keep the certificate that they began with;
/// whose certificate a client must show is asked anew for each request.
pub struct Tls {
    settings: TlsSettings,
    current: RwLock<Arc<Current>>,
}

/// One reading of the files.
#[derive(Debug)]
pub struct Current {
    /// For the handshake.
    pub server: Arc<ServerConfig>,
    /// Whose certificate a client must show; none where it need not.
    pub door: Option<Arc<ClientAuthorities>>,
    /// The latest notBefore over the service's chain.
    pub not_before: Time,
    /// The earliest notAfter over the service's chain.
    pub not_after: Time,
    /// SHA-256 of the service's own certificate as DER.
    pub fingerprint: [u8; 32],
}

impl Tls {
    /// Reads and checks the files. An expired certificate loads.
    ///
    /// # Errors
    /// The file that is wrong, and how.
    pub fn load(settings: TlsSettings) -> Result<Self, TlsError> {
        let current = RwLock::new(Arc::new(Current::read(&settings)?));
        Ok(Self { settings, current })
    }

    /// What holds for a connection that begins now.
    #[must_use]
    pub fn current(&self) -> Arc<Current> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads the files again, for connections that begin from now on.
    ///
    /// # Errors
    /// The file that is wrong, and how. What held goes on.
    pub fn reload(&self) -> Result<Arc<Current>, TlsError> {
        let fresh = Arc::new(Current::read(&self.settings)?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&fresh);
        Ok(fresh)
    }

    /// Where the files are.
    #[must_use]
    pub fn settings(&self) -> &TlsSettings {
        &self.settings
    }
}

impl Current {
    fn read(settings: &TlsSettings) -> Result<Self, TlsError> {
        let provider = provider();
        let identity = Identity::read(&settings.certificate, &settings.key, &provider)?;
        let door = settings.client_ca.as_deref().map(ClientAuthorities::read).transpose();
        let door = door.map_err(|problem| TlsError::ClientCa { problem })?.map(Arc::new);
        let verifier = Arc::new(AnyCertificate::new(&provider));
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13, &TLS12])?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(identity.certified)));
        server.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            server: Arc::new(server),
            door,
            not_before: identity.not_before,
            not_after: identity.not_after,
            fingerprint: identity.fingerprint,
        })
    }
}

/// The cryptography of every connection.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The service's certificate.
    #[error("tls.certificate: {file}: {problem}")]
    Certificate {
        /// The path, on one line.
        file: String,
        /// What is wrong.
        problem: IdentityProblem,
    },
    /// The service's key.
    #[error("tls.key: {file}: {problem}")]
    Key {
        /// The path, on one line.
        file: String,
        /// What is wrong.
        problem: IdentityProblem,
    },
    /// The authorities of clients.
    #[error("tls.client_ca: {problem}")]
    ClientCa {
        /// What is wrong, with the path.
        problem: client::AuthoritiesProblem,
    },
    /// The library takes the certificate, the key, and then not both.
    #[error("tls: {0}")]
    Library(#[from] rustls::Error),
}

#[cfg(test)]
mod tests;
