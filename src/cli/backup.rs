//! `countersign backup`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::config::Config;

use super::open_existing;

#[derive(Debug, Args)]
pub(super) struct Backup {
    /// The file to make; one that exists is never overwritten
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

impl Backup {
    pub(super) async fn run(self, config: &Config) -> Result<()> {
        let store = open_existing(config).await?;
        let octets = store.backup(&self.file).await?;
        store.close().await;
        eprintln!("{}: {octets} bytes, checked", self.file.display());
        Ok(())
    }
}
