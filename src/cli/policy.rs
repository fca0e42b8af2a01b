//! `countersign policy`.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail};
use clap::Subcommand;

use crate::app::cluster;
use crate::clock::Clock;
use crate::config::Config;
use crate::pki::name::ShortName;
use crate::policy::file::PolicyFile;
use crate::policy::{Clusters, PolicySet};
use crate::store::Store;
use crate::store::policies::PolicyChange;

use super::{open, operator};

#[derive(Debug, Subcommand)]
pub(super) enum Policy {
    /// Say what would be decided, and why: every row that was considered; exit status 3 for a refusal
    Explain(Box<super::explain::Explain>),
    /// Replace the whole set by a file, or change nothing
    Apply {
        /// The file, YAML or JSON; - for standard input
        #[arg(short, long, value_name = "FILE")]
        file: PathBuf,
    },
    /// Print the set, as `apply` reads it
    List,
    /// Print one row, as `apply` reads it
    Show {
        /// The row's name
        #[arg(value_parser = ShortName::parse)]
        name: ShortName,
    },
}

impl Policy {
    pub(super) async fn run(self, config: &Config) -> Result<()> {
        if let Self::Explain(explain) = self {
            return explain.run(config).await;
        }
        let store = open(config).await?;
        match self {
            Self::Explain(_) => {}
            Self::Apply { file } => {
                let (_, rules) = cluster::load_all(config.clusters.clone())?;
                print(&replace(&store, &rules, &file).await?);
            }
            Self::List => print!("{}", yaml(&current(&store).await?)?),
            Self::Show { name } => {
                let mut set = current(&store).await?;
                set.policies.retain(|row| row.name == name);
                if set.policies.is_empty() {
                    bail!("there is no policy `{name}`: `countersign policy list` shows them");
                }
                print!("{}", yaml(&set)?);
            }
        }
        store.close().await;
        Ok(())
    }
}

/// Replaces the set by what `file` holds.
pub(super) async fn replace(store: &Store, rules: &Clusters, file: &Path) -> Result<PolicyChange> {
    let name = file.display().to_string();
    let text = if name == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("standard input")?;
        text
    } else {
        std::fs::read_to_string(file).with_context(|| name.clone())?
    };
    let set = PolicyFile::read(text.as_bytes()).map_err(|reason| anyhow!("{name}: {reason}"))?;
    if let Err(errors) = PolicySet::compile(0, set.policies.clone(), rules) {
        let reasons: Vec<String> = errors.iter().map(ToString::to_string).collect();
        bail!("{name}: nothing was changed: {}", reasons.join("; "));
    }
    Ok(store.replace_policies(&set.policies, None, None, Clock::System.now(), &operator::origin()?).await?)
}

fn print(change: &PolicyChange) {
    for (sign, names) in
        [("added", &change.added), ("changed", &change.changed), ("removed", &change.removed)]
    {
        for name in names {
            println!("{sign}\t{name}");
        }
    }
    eprintln!("revision {}", change.revision);
}

async fn current(store: &Store) -> Result<PolicyFile> {
    let (_, policies) = store.policies(None).await?.context("the ledger has no policy set")?;
    Ok(PolicyFile { revision: None, policies })
}

fn yaml(set: &PolicyFile) -> Result<String> {
    serde_saphyr::to_string(set).context("writing YAML")
}
