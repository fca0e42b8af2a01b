//! `countersign key`.

use std::collections::HashSet;

use anyhow::{Context as _, Result, bail};
use clap::Subcommand;

use crate::clock::Clock;
use crate::config::Config;
use crate::pki::fingerprint;
use crate::pki::serial::Serial;
use crate::store::Store;

use super::{open, operator};

#[derive(Debug, Subcommand)]
pub(super) enum Key {
    /// Never certify this key again
    Block {
        /// Which key: the SHA-256 of its SPKI in hex, as `spki_sha256` of a record shows it; the serial
        /// of a certificate of this ledger; or a PEM file with a CSR, a certificate or a public key
        key: String,
        /// Why, for the audit log
        #[arg(long)]
        reason: String,
    },
    /// Certify this key again
    Unblock {
        /// Which key, as for `block`
        key: String,
    },
    /// List blocked keys
    List,
}

impl Key {
    pub(super) async fn run(self, config: &Config) -> Result<()> {
        let store = open(config).await?;
        let now = Clock::System.now();
        match self {
            Self::Block { key, reason } => {
                if reason.len() > 500 {
                    bail!("--reason: at most 500 bytes");
                }
                let key = find(&store, &key).await?;
                if !store.block_key(key, &reason, now, &operator::origin()?).await? {
                    eprintln!("this key was blocked before");
                }
            }
            Self::Unblock { key } => {
                let key = find(&store, &key).await?;
                if !store.unblock_key(key, now, &operator::origin()?).await? {
                    bail!("this key is not blocked: `countersign key list` shows those that are");
                }
            }
            Self::List => {
                for key in store.blocked_keys().await? {
                    println!(
                        "{}\t{}\t{}\t{}",
                        hex::encode(key.spki_sha256),
                        key.at,
                        key.by,
                        key.reason.escape_debug()
                    );
                }
            }
        }
        store.close().await;
        Ok(())
    }
}

/// The SHA-256 of the SPKI of the key that `text` names.
async fn find(store: &Store, text: &str) -> Result<[u8; 32]> {
    if let Some(key) = fingerprint::parse(text) {
        return Ok(key);
    }
    if let Some(serial) = Serial::parse(text) {
        let found = store.certificates_by_serial(serial).await?;
        let keys: HashSet<_> = found.iter().map(|certificate| certificate.spki_sha256).collect();
        let mut keys = keys.into_iter();
        return match (keys.next(), keys.next()) {
            (Some(key), None) => Ok(key),
            (None, _) => bail!("there is no certificate {serial} in this ledger"),
            _ => bail!("several certificates have the serial {serial}: name the key by its SHA-256"),
        };
    }
    let file = std::fs::read(text).with_context(|| {
        format!(
            "`{text}` is no SHA-256 of an SPKI (64 hex digits), no serial (32) and no file that can be read"
        )
    })?;
    fingerprint::of_pem(&file).with_context(|| text.to_owned())
}
