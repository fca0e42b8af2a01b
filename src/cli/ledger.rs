//! `countersign ledger`.

use anyhow::{Context as _, Result};
use clap::Subcommand;
use indicatif::{ProgressBar, ProgressStyle};

use crate::config::Config;
use crate::store::copy;

#[derive(Debug, Subcommand)]
pub(super) enum Ledger {
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
        let Self::Copy { to } = self;
        let target = config
            .databases
            .get(&to)
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
}

/// On standard error, and only where that is a terminal.
fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} rows, {eta} left");
    let bar = ProgressBar::new(0);
    style.map_or_else(|_| bar.clone(), |style| bar.clone().with_style(style))
}
