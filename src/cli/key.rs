//! `countersign key`.

use anyhow::{Context as _, Result, bail};
use clap::Subcommand;

use crate::clock::Clock;
use crate::config::Config;

use super::{open, operator};

#[derive(Debug, Subcommand)]
pub(super) enum Key {
    /// Never certify this key again
    Block {
        /// SHA-256 of its SPKI in hex, as `spki_sha256` of a record shows it
        spki_sha256: String,
        /// Why, for the audit log
        #[arg(long)]
        reason: String,
    },
    /// Certify this key again
    Unblock {
        /// SHA-256 of its SPKI in hex
        spki_sha256: String,
    },
    /// List blocked keys
    List,
}

impl Key {
    pub(super) async fn run(self, config: &Config) -> Result<()> {
        let store = open(config).await?;
        let now = Clock::System.now();
        match self {
            Self::Block { spki_sha256, reason } => {
                if reason.len() > 500 {
                    bail!("--reason: at most 500 bytes");
                }
                let key = digest(&spki_sha256)?;
                if !store.block_key(key, &reason, now, &operator::origin()?).await? {
                    eprintln!("this key was blocked before");
                }
            }
            Self::Unblock { spki_sha256 } => {
                if !store.unblock_key(digest(&spki_sha256)?, now, &operator::origin()?).await? {
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

/// Reads 64 hex digits, in either case, with or without colons.
fn digest(text: &str) -> Result<[u8; 32]> {
    let mut digest = [0; 32];
    hex::decode_to_slice(text.replace(':', ""), &mut digest)
        .context("a key is named by the SHA-256 of its SPKI: 64 hex digits")?;
    Ok(digest)
}
