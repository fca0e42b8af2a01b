//! Certificates that this service issued, shown by a client: they open renewal, and nothing else.

use crate::pki::serial::Serial;
use crate::time::Time;

/// A certificate of ours as the ledger has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnCertificate {
    /// Under the CA of its cluster.
    pub serial: Serial,
    /// The cluster that it was asked for.
    pub cluster: String,
    /// The subject's CN.
    pub user: String,
    /// The subject's O values.
    pub groups: Vec<String>,
    /// SHA-256 of its key's SPKI.
    pub spki_sha256: [u8; 32],
    /// The last second in which it is valid.
    pub not_after: Time,
    /// When the first certificate of its chain of renewals was issued.
    pub first_issued: Time,
    /// Whether people reviewed it.
    pub reviewed: bool,
}
