//! `countersign ledger`.

use anyhow::Result;
use clap::Subcommand;

use crate::config::Config;

use super::copy::Copy;

#[derive(Debug, Subcommand)]
pub(super) enum Ledger {
    /// Copy the SQLite ledger to a PostgreSQL database that the configuration names in
    /// `[databases.NAME]`. Stop the service first. What was broken off goes on where it was.
    Copy(Copy),
}

impl Ledger {
    pub(super) async fn run(self, config: &Config) -> Result<()> {
        let Self::Copy(copy) = self;
        copy.run(config).await
    }
}
