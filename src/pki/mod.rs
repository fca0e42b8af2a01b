//! What a CSR says: names, keys, serials. Pure: no I/O, no clock, no framework.
//!
//! The path of foreign bytes: [`pem::csr_der`] finds the one CSR in a body, and
//! [`csr::CertRequest::parse`] reads it. Both are linear in the size of their input, and nothing
//! below this module sees a byte that did not pass them.

pub mod csr;
mod der;
pub mod fingerprint;
mod fold;
pub mod key;
pub mod name;
pub mod pem;
#[cfg(test)]
mod samples;
pub mod serial;
