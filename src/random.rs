//! The one source of random octets.

use aws_lc_rs::rand;

/// The machine gave none. Nothing can be made that must not be guessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this machine gives no random octets")]
pub struct NoRandomOctets;

/// `N` octets from the operating system's generator, by way of aws-lc.
///
/// # Errors
/// [`NoRandomOctets`].
pub fn octets<const N: usize>() -> Result<[u8; N], NoRandomOctets> {
    let mut octets = [0; N];
    rand::fill(&mut octets).map_err(|_| NoRandomOctets)?;
    Ok(octets)
}
