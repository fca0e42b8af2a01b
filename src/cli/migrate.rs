//! `countersign migrate`.

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::config::Config;
use crate::store::Store;

use super::open;

#[derive(Debug, Args)]
pub(super) struct Migrate {
    /// Change nothing; exit status 1 if a step is due
    #[arg(long)]
    check: bool,
}

impl Migrate {
    pub(super) async fn run(self, config: &Config) -> Result<()> {
        let schema = Store::schema(&config.store).await.with_context(|| config.store.to_string())?;
        let (found, needed) = (schema.found, schema.needed);
        if found == needed {
            println!("the schema is at step {found}: nothing to do");
        } else if self.check {
            bail!("the schema is at step {found}, and step {needed} is due: run `countersign migrate`");
        } else {
            open(config).await?.close().await;
            println!("the schema went from step {found} to step {needed}");
        }
        Ok(())
    }
}
