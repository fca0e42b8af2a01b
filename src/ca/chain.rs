//! The certificates of a CA: the one that signs here, then each one that signed the one before.

use std::path::Path;

use super::certificate::{CaCertificate, CertificateProblem};
use super::pem_file::{self, PemProblem};
use crate::pki::pem;
use crate::time::Time;

/// The most certificates that a chain has.
const LONGEST: usize = 10;
/// The most that a certificate file holds, in bytes: ten certificates with room for openssl's text.
const LARGEST: u64 = 1024 * 1024;

/// Why a certificate file gives no chain.
#[derive(Debug, thiserror::Error)]
pub enum ChainProblem {
    /// The operating system refused.
    #[error("it cannot be read ({0}): check the path")]
    Io(#[from] std::io::Error),
    /// A folder, a pipe or a device.
    #[error("it is not a regular file: name the file itself")]
    NotAFile,
    /// Over one MiB.
    #[error("it is larger than 1 MiB, which no CA's chain is: check the path")]
    TooLarge,
    /// Not PEM.
    #[error(transparent)]
    Pem(#[from] PemProblem),
    /// A block that is no certificate.
    #[error(
        "it holds a block `{}`: keep only the CA's certificates in it, keys belong into a file of their own",
        .0.escape_debug()
    )]
    OtherBlock(String),
    /// Over ten.
    #[error("it holds {0} certificates, more than 10: keep only the CA's own chain")]
    TooMany(usize),
    /// One of the certificates is not fit.
    #[error("certificate {number} of it is refused: {problem}")]
    Certificate {
        /// From 1.
        number: usize,
        /// What is wrong with it.
        problem: CertificateProblem,
    },
    /// A certificate did not sign the one before it.
    #[error(
        "certificate {number} of it ({subject}) did not sign the one before: \
         keep the signing CA first and each issuer after it, and no second CA"
    )]
    NotTheIssuer {
        /// From 1.
        number: usize,
        /// Of the certificate that did not sign.
        subject: String,
    },
    /// Something after a root.
    #[error("certificate {0} of it is self-signed, yet another follows: end the file with the root")]
    AfterRoot(usize),
    /// RFC 5280 section 4.2.1.9: pathLenConstraint.
    #[error(
        "certificate {number} of it allows {allowed} CAs below it (pathlen), but {below} are: make it anew with a larger pathlen"
    )]
    PathTooLong {
        /// From 1.
        number: usize,
        /// Its pathLenConstraint.
        allowed: u32,
        /// How many CAs are before it in the file.
        below: usize,
    },
}

/// At least one certificate; each one after the first signed the one before.
pub(super) struct Chain {
    /// The CA that signs here.
    pub first: CaCertificate,
    upper: Vec<CaCertificate>,
}

impl Chain {
    /// Reads and checks the file at `path`.
    ///
    /// # Errors
    /// See [`ChainProblem`].
    pub(super) fn read(path: &Path) -> Result<Self, ChainProblem> {
        let metadata = path.metadata()?;
        if !metadata.is_file() {
            return Err(ChainProblem::NotAFile);
        }
        if metadata.len() > LARGEST {
            return Err(ChainProblem::TooLarge);
        }
        Self::parse(&std::fs::read(path)?)
    }

    fn parse(file: &[u8]) -> Result<Self, ChainProblem> {
        let blocks = pem_file::blocks(file)?;
        if let Some(other) = blocks.iter().find(|block| !is_certificate(&block.label)) {
            return Err(ChainProblem::OtherBlock(other.label.clone()));
        }
        if blocks.len() > LONGEST {
            return Err(ChainProblem::TooMany(blocks.len()));
        }
        let mut certificates = Vec::with_capacity(blocks.len());
        for (index, block) in blocks.iter().enumerate() {
            let number = index.saturating_add(1);
            let read = CaCertificate::parse(&block.der);
            certificates.push(read.map_err(|problem| ChainProblem::Certificate { number, problem })?);
        }
        let mut upper = certificates.into_iter();
        let first = upper.next().ok_or(PemProblem::NoBlock)?;
        let chain = Self { first, upper: upper.collect() };
        chain.check()?;
        Ok(chain)
    }

    /// The signing CA first.
    pub(super) fn certificates(&self) -> impl Iterator<Item = &CaCertificate> {
        std::iter::once(&self.first).chain(&self.upper)
    }

    /// The latest notBefore: nothing that is signed is valid earlier.
    pub(super) fn not_before(&self) -> Time {
        self.certificates().map(|one| one.not_before).max().unwrap_or(self.first.not_before)
    }

    /// The earliest notAfter: nothing that is signed is valid later.
    pub(super) fn not_after(&self) -> Time {
        self.certificates().map(|one| one.not_after).min().unwrap_or(self.first.not_after)
    }

    /// Every certificate as PEM.
    pub(super) fn pem(&self) -> String {
        self.certificates().map(|one| pem::encode("CERTIFICATE", &one.der)).collect()
    }

    /// Every certificate that is no root as PEM: what a client has to send, as the server has the
    /// root (RFC 8446 section 4.4.2).
    pub(super) fn intermediates_pem(&self) -> String {
        let below = self.certificates().filter(|one| !one.is_self_signed());
        below.map(|one| pem::encode("CERTIFICATE", &one.der)).collect()
    }

    fn check(&self) -> Result<(), ChainProblem> {
        for (below, (lower, upper)) in self.certificates().zip(&self.upper).enumerate() {
            let below = below.saturating_add(1);
            let number = below.saturating_add(1);
            if lower.is_self_signed() {
                return Err(ChainProblem::AfterRoot(below));
            }
            if !upper.signed(lower) {
                return Err(ChainProblem::NotTheIssuer { number, subject: upper.subject_text.clone() });
            }
            // Go counts every CA below, self-issued ones too, where RFC 5280 leaves those out.
            if let Some(allowed) = upper.path_length
                && usize::try_from(allowed).is_ok_and(|allowed| allowed < below)
            {
                return Err(ChainProblem::PathTooLong { number, allowed, below });
            }
        }
        Ok(())
    }
}

/// The labels that openssl has written over the years.
fn is_certificate(label: &str) -> bool {
    matches!(label, "CERTIFICATE" | "X509 CERTIFICATE")
}
