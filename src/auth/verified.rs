//! Tokens that were verified before: an RSA signature costs as much as a certificate.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use aws_lc_rs::digest::{SHA256, digest};

use super::issuers::Proof;
use super::oidc::Vouched;
use crate::time::Time;

/// How many are remembered.
const MOST: usize = 10_000;

/// What a token was verified to say. Whether it still holds is looked at each time.
#[derive(Debug)]
pub(super) struct Remembered {
    pub(super) vouched: Vouched,
    pub(super) proof: Proof,
}

/// By the SHA-256 of the whole token, so that no token is kept.
#[derive(Debug, Default)]
pub(super) struct Verified(RwLock<HashMap<[u8; 32], Arc<Remembered>>>);

impl Verified {
    pub(super) fn get(&self, token: &str) -> Option<Arc<Remembered>> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        known.get(&key(token)).map(Arc::clone)
    }

    /// Remembers one. Where there is no room what has expired goes, and else everything: that costs each
    /// of them one more verification.
    pub(super) fn put(&self, token: &str, remembered: Remembered, now: Time) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST {
            known.retain(|_, one| one.vouched.standing.expires_at > now);
        }
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(key(token), Arc::new(remembered));
    }
}

fn key(token: &str) -> [u8; 32] {
    digest(&SHA256, token.as_bytes()).as_ref().try_into().unwrap_or_default()
}
