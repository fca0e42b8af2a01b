//! `countersign config`.

use anyhow::Result;
use clap::Subcommand;

use crate::app::Served;
use crate::config::Config;
use crate::tls::Tls;

#[derive(Debug, Subcommand)]
pub(super) enum Configuration {
    /// Read the configuration and every file that it names, and say what is wrong
    Check,
}

impl Configuration {
    pub(super) fn run(self, config: &Config) -> Result<()> {
        let Self::Check = self;
        for (key, store) in std::iter::once(("database", &config.store))
            .chain(config.databases.iter().map(|(name, store)| (name.as_str(), store)))
        {
            store.check().map_err(|error| anyhow::anyhow!("{key}: {error}"))?;
        }
        let served = Served::load(config.clusters.clone())?;
        served.open_ways(&config.auth).map_err(anyhow::Error::msg)?;
        for cluster in served.clusters.values() {
            let authority = &cluster.authority;
            println!(
                "{}\t{}\t{}\tuntil {}",
                cluster.name,
                authority.key_kind(),
                authority.subject(),
                authority.not_after()
            );
            if cluster.shares_server_ca {
                eprintln!(
                    "warning: cluster {}: the client CA is also the server CA: whoever holds its key can also be the API server",
                    cluster.name
                );
            }
        }
        if let Some(settings) = &config.tls {
            let current = Tls::load(settings.clone())?.current();
            println!("tls\t{}\tuntil {}", settings.certificate.display(), current.not_after);
        }
        Ok(())
    }
}
