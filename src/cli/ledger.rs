//! `countersign ledger`.

use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Subcommand;
use indicatif::{ProgressBar, ProgressStyle};

use crate::audit::Origin;
use crate::clock::Clock;
use crate::config::Config;
use crate::store::retention::Prunable;
use crate::store::{Store, copy};

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
    /// Copy the SQLite ledger to a PostgreSQL database that the configuration names in
    /// `[databases.NAME]`. Stop the service first. What was broken off goes on where it was.
    Copy {
        /// The name of the database
        #[arg(long, value_name = "NAME")]
        to: String,
    },
}

impl Ledger {
    pub(super) async fn run(self, config: &Config) -> Result<()> {
        match self {
            Self::Prune { dry_run } => run_prune(config, dry_run).await,
            Self::Copy { to } => run_copy(config, &to).await,
        }
    }
}

async fn run_prune(config: &Config, dry_run: bool) -> Result<()> {
    let store = open(config).await?;
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

async fn run_copy(config: &Config, to: &str) -> Result<()> {
    let target = config
        .databases
        .get(to)
        .with_context(|| format!("the configuration has no [databases.{to}]: add it, with its url"))?;
    let bar = bar();
    let copied = copy::copy(&config.store, target, |progress| {
        bar.set_length(progress.total);
        bar.set_position(progress.done);
    })
    .await;
    bar.finish_and_clear();
    let copied = copied?;
    if copied.resumed > 0 {
        eprintln!("{} rows were there from an earlier attempt", copied.resumed);
    }
    println!("copied and compared {} rows: {} -> {target}", copied.rows, config.store);
    eprintln!("set database to the new one, and keep the file as it is");
    Ok(())
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

/// On standard error, and only where that is a terminal.
fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} rows, {eta} left");
    let bar = ProgressBar::new(0);
    style.map_or_else(|_| bar.clone(), |style| bar.clone().with_style(style))
}
