//! `countersign ledger`.

use std::time::Duration;

use anyhow::Result;
use clap::Subcommand;

use crate::audit::Origin;
use crate::clock::Clock;
use crate::config::Config;
use crate::store::Store;
use crate::store::retention::Prunable;

use super::{open, operator};

/// Between two transactions, so that a server beside this command gets the ledger's lock.
const BREATH: Duration = Duration::from_millis(5);

#[derive(Debug, Subcommand)]
pub(super) enum Ledger {
    /// Delete certificates and refusals that were kept for the configured `retention`. The audit
    /// log stays, and says what was deleted. Works beside a running server.
    Prune {
        /// Only say how many there are
        #[arg(long)]
        dry_run: bool,
    },
}

impl Ledger {
    pub(super) async fn run(self, config: &Config) -> Result<()> {
        let store = open(config).await?;
        let Self::Prune { dry_run } = self;
        let origin = operator::origin()?;
        if dry_run && store.retention().await? != config.retention {
            eprintln!("the retention of the configuration is not in force yet: `serve` and `prune` set it");
        } else if !dry_run {
            store.set_retention(config.retention, Clock::System.now(), &origin).await?;
        }
        if let Some(kept) = store.retention().await? {
            let origin = (!dry_run).then_some(&origin);
            let certificates = prune(&store, Prunable::Certificates, origin).await?;
            let refusals = prune(&store, Prunable::Refusals, origin).await?;
            println!("certificates\t{certificates}\nrefusals\t{refusals}");
            let done = if dry_run { "could be deleted" } else { "were deleted" };
            eprintln!("{done}: kept for {kept} after they ended");
        } else {
            println!("certificates\t0\nrefusals\t0");
            eprintln!("records are kept for ever: set `retention` in the configuration");
        }
        store.close().await;
        Ok(())
    }
}

/// Step by step, and returns how many were deleted, or would be without an origin.
async fn prune(store: &Store, which: Prunable, origin: Option<&Origin>) -> Result<u64> {
    let (mut count, mut after) = (0_u64, 0);
    loop {
        let step = store.prune_some(which, after, Clock::System.now(), origin).await?;
        count = count.saturating_add(step.count);
        match step.reached {
            Some(reached) => after = reached,
            None => return Ok(count),
        }
        if step.count > 0 && origin.is_some() {
            tokio::time::sleep(BREATH).await;
        }
    }
}
