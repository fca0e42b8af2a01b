//! The client CA: loads and checks it, signs, and reads its own output back.

pub mod authority;
pub mod certificate;
pub mod chain;
mod encode;
pub mod key_file;
pub mod pem_file;
mod read_back;
pub mod secret_file;
mod signer;
pub mod stored;
pub mod throw_away;
pub mod verify;

#[cfg(test)]
mod openssl;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod tests;

pub use authority::{Authority, AuthorityError, AuthoritySettings, SignError, Signed};
