//! `countersign clock`.

use anyhow::Result;
use clap::Subcommand;

use crate::clock::Clock;
use crate::config::Config;

use super::{open, operator};

#[derive(Debug, Subcommand)]
pub(super) enum ClockCommand {
    /// Go on from this machine's clock, although a newer record exists: for after a clock that
    /// stood in the future. Audited.
    Accept,
}

impl ClockCommand {
    pub(super) async fn run(self, config: &Config) -> Result<()> {
        let store = open(config).await?;
        let Self::Accept = self;
        let now = Clock::System.now();
        store.accept_clock(now, &operator::origin()?).await?;
        eprintln!("records go on from {now}");
        store.close().await;
        Ok(())
    }
}
