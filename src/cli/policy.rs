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

use super::explain::Explain;
use super::{open, operator};

#[derive(Debug, Subcommand)]
pub(super) enum Policy {
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
    /// Say what would be decided, and why: every row that was considered; exit status 3 for a refusal
    Explain(Box<Explain>),
}

impl Policy {
    pub(super) async fn run(self, config: &Config) -> Result<()> {
        match self {
            Self::Apply { file } => {
                let store = open(config).await?;
                let (_, rules) = cluster::load_all(config.clusters.clone())?;
                print(&replace(&store, &rules, &file).await?);
                store.close().await;
            }
            Self::List => print!("{}", yaml(&current(config).await?)?),
            Self::Show { name } => {
                let mut set = current(config).await?;
                set.policies.retain(|row| row.name == name);
                if set.policies.is_empty() {
                    bail!("there is no policy `{name}`: `countersign policy list` shows them");
                }
                print!("{}", yaml(&set)?);
            }
            Self::Explain(explain) => explain.run(config).await?,
        }
        Ok(())
    }
}

/// The set that `file` holds, YAML or JSON; - for standard input.
pub(super) fn read_file(file: &Path) -> Result<PolicyFile> {
    let name = file.display().to_string();
    let text = if name == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("standard input")?;
        text
    } else {
        std::fs::read_to_string(file).with_context(|| name.clone())?
    };
    PolicyFile::read(text.as_bytes()).map_err(|reason| anyhow!("{name}: {reason}"))
}

/// Replaces the set by what `file` holds.
pub(super) async fn replace(store: &Store, rules: &Clusters, file: &Path) -> Result<PolicyChange> {
    let set = read_file(file)?;
    if let Err(errors) = PolicySet::compile(0, set.policies.clone(), rules) {
        let reasons: Vec<String> = errors.iter().map(ToString::to_string).collect();
        bail!("{}: nothing was changed: {}", file.display(), reasons.join("; "));
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

async fn current(config: &Config) -> Result<PolicyFile> {
    let store = open(config).await?;
    let (_, policies) = store.policies(None).await?.context("the ledger has no policy set")?;
    store.close().await;
    Ok(PolicyFile { revision: None, policies })
}

fn yaml(set: &PolicyFile) -> Result<String> {
    serde_saphyr::to_string(set).context("writing YAML")
}
