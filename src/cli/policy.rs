//! `countersign policy`.

mod cases;
mod diff;
mod explain;
mod history;
mod lint;
mod plan;

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail};
use clap::Subcommand;

use crate::app::cluster;
use crate::clock::Clock;
use crate::config::Config;
use crate::pki::name::ShortName;
use crate::policy::file::PolicyFile;
use crate::policy::{Clusters, PolicyRow, PolicySet, RowError};
use crate::store::policies::{Expected, PolicyChange, PolicyEdit, Replacement, Seen};
use crate::store::{Store, StoreError};

use super::{open, open_existing, operator, read};

#[derive(Debug, Subcommand)]
pub(super) enum Policy {
    /// Say what would be decided, and why: every row that was considered; exit status 3 for a refusal
    Explain(Box<explain::Explain>),
    /// Replace the whole set by a file, or change nothing
    Apply {
        /// The file, YAML or JSON; - for standard input
        #[arg(short, long, value_name = "FILE")]
        file: PathBuf,
        /// Only if the set is still at this revision
        #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(i64).range(0..))]
        revision: Option<i64>,
        /// A held row that the file may leave out or change; can be given several times
        #[arg(long, value_name = "NAME", value_parser = ShortName::parse)]
        release: Vec<ShortName>,
    },
    /// Print the set, as `apply` reads it
    List {
        /// As it was at this revision
        #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(i64).range(0..))]
        revision: Option<i64>,
    },
    /// Print one row, as `apply` reads it
    Show {
        /// The row's name
        #[arg(value_parser = ShortName::parse)]
        name: ShortName,
    },
    /// Run a file of cases against a file of policies; exit status 1 if one fails. Needs no server
    /// and no database
    Test(cases::Test),
    /// Look for rows that do nothing or give more than they seem to; exit status 1 if there is a warning.
    /// Needs no server and no database
    Lint(lint::Lint),
    /// Say how a file differs from the set that holds; exit status 1 if it does
    Diff {
        /// The file, YAML or JSON; - for standard input
        #[arg(short, long, value_name = "FILE")]
        file: PathBuf,
    },
    /// Say what a file would change: rows, live certificates, and the last decisions
    Plan(plan::Plan),
    /// List the revisions: when, by whom and what changed, newest first
    History {
        /// How many revisions at most
        #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
    },
    /// Put an old revision back, as a new one, if it is still valid
    Rollback {
        /// The old revision
        #[arg(value_name = "REVISION", value_parser = clap::value_parser!(i64).range(0..))]
        revision: i64,
        /// A held row that the old revision may leave out or change; can be given several times
        #[arg(long, value_name = "NAME", value_parser = ShortName::parse)]
        release: Vec<ShortName>,
    },
}

impl Policy {
    pub(super) async fn run(self, config: &Path) -> Result<()> {
        match self {
            Self::Test(test) => return test.run(config),
            Self::Lint(lint) => return lint.run(config),
            Self::Explain(explain) => return explain.run(&read(config)?).await,
            _ => {}
        }
        let config = read(config)?;
        let store = if self.changes() { open(&config).await? } else { open_existing(&config).await? };
        let done = self.on(&config, &store).await;
        store.close().await;
        done
    }

    /// What changes the set may be the first to need a ledger.
    fn changes(&self) -> bool {
        matches!(self, Self::Apply { .. } | Self::Rollback { .. })
    }

    async fn on(self, config: &Config, store: &Store) -> Result<()> {
        match self {
            Self::Apply { file, revision, release } => {
                let (_, rules) = cluster::load_all(config.clusters.clone())?;
                let seen = revision.map_or(Seen::Nothing, Seen::Set);
                let (name, rows) = read_file(&file)?;
                let replacement = Replacement { rows, released: release, restores: None };
                print(&write(store, &rules, &name, replacement, seen).await?);
            }
            Self::List { revision } => print!("{}", yaml(&of_revision(store, revision).await?)?),
            Self::Show { name } => {
                let mut set = of_revision(store, None).await?;
                set.policies.retain(|row| row.name == name);
                if set.policies.is_empty() {
                    bail!("there is no policy `{name}`: `countersign policy list` shows them");
                }
                print!("{}", yaml(&set)?);
            }
            Self::Diff { file } => diff::run(store, &file).await?,
            Self::Plan(plan) => plan.run(config, store).await?,
            Self::History { limit } => history::run(store, limit).await?,
            Self::Rollback { revision, release } => {
                let (_, rules) = cluster::load_all(config.clusters.clone())?;
                let rows = of_revision(store, Some(revision)).await?.policies;
                let replacement = Replacement { rows, released: release, restores: Some(revision) };
                let name = format!("revision {revision}");
                print(&write(store, &rules, &name, replacement, Seen::Nothing).await?);
            }
            Self::Test(_) | Self::Lint(_) | Self::Explain(_) => {}
        }
        Ok(())
    }
}

/// Replaces the set by what `file` holds.
pub(super) async fn replace(store: &Store, rules: &Clusters, file: &Path) -> Result<PolicyChange> {
    let (name, rows) = read_file(file)?;
    let replacement = Replacement { rows, ..Replacement::default() };
    write(store, rules, &name, replacement, Seen::Nothing).await
}

/// Checks the rows as rows that somebody writes, and writes them. `name` says where they are from.
async fn write(
    store: &Store,
    rules: &Clusters,
    name: &str,
    replacement: Replacement,
    seen: Seen,
) -> Result<PolicyChange> {
    compile(replacement.rows.clone(), rules, &format!("{name}: nothing was changed"))?;
    let (now, origin) = (Clock::System.now(), operator::origin()?);
    let expected = Expected { seen, tokens: None };
    let edit = PolicyEdit::Replace(replacement);
    match store.edit_policies(edit, expected, now, &origin).await {
        Err(
            error @ (StoreError::RowsHeld(_) | StoreError::Conflict(_) | StoreError::RevisionMoved { .. }),
        ) => {
            bail!("{name}: nothing was changed: {error}")
        }
        other => Ok(other?),
    }
}

/// A set of these rows; `about` begins the error.
fn compile(rows: Vec<PolicyRow>, rules: &Clusters, about: &str) -> Result<PolicySet> {
    compiled(PolicySet::compile(0, rows, rules), about)
}

fn compiled(set: Result<PolicySet, Vec<RowError>>, about: &str) -> Result<PolicySet> {
    set.map_err(|errors| {
        let reasons: Vec<String> = errors.iter().map(ToString::to_string).collect();
        anyhow!("{about}: {}", reasons.join("; "))
    })
}

/// The rows of a file, with its name for people.
fn read_file(file: &Path) -> Result<(String, Vec<PolicyRow>)> {
    let (name, text) = read_text(file)?;
    let set = PolicyFile::read(text.as_bytes()).map_err(|reason| anyhow!("{name}: {reason}"))?;
    Ok((name, set.policies))
}

/// What a file says, or standard input where it is named `-`, with its name for people.
fn read_text(file: &Path) -> Result<(String, String)> {
    let name = file.display().to_string();
    if name != "-" {
        let text = std::fs::read_to_string(file).with_context(|| name.clone())?;
        return Ok((name, text));
    }
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).context("standard input")?;
    Ok(("standard input".to_owned(), text))
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

/// The set of an old revision, or the current one.
async fn of_revision(store: &Store, revision: Option<i64>) -> Result<PolicyFile> {
    let found = store.policies(revision).await?;
    let (_, policies) =
        found.context("there is no such revision: `countersign policy history` shows them")?;
    Ok(PolicyFile { revision: None, policies })
}

fn yaml(set: &PolicyFile) -> Result<String> {
    serde_saphyr::to_string(set).context("writing YAML")
}
