//! `countersign identity`.

use anyhow::{Result, bail};
use clap::Subcommand;

use crate::clock::Clock;
use crate::config::Config;
use crate::store::{Order, Span};

use super::{open, operator};

/// How many are read at once.
const PAGE: u32 = 1_000;

#[derive(Debug, Subcommand)]
pub(super) enum Identity {
    /// List the user names of issuers, and the subject that each belongs to
    List {
        /// Only this one, as in `oidc:corp:alice`
        caller: Option<String>,
    },
    /// Give a name free: the next subject of its issuer that shows it gets it
    Release {
        /// As in `oidc:corp:alice`
        caller: String,
    },
}

impl Identity {
    pub(super) async fn run(self, config: &Config) -> Result<()> {
        let store = open(config).await?;
        match self {
            Self::List { caller } => {
                let mut span = Span::all(Order::OldestFirst, PAGE);
                loop {
                    let rows = store.identities(caller.as_deref(), span).await?;
                    for row in &rows {
                        let [caller, issuer, subject] =
                            [&row.caller, &row.issuer, &row.subject].map(|text| text.escape_debug());
                        println!("{caller}\t{issuer}\t{subject}\t{}", row.at);
                    }
                    let Some(last) = rows.last() else { break };
                    span = span.behind(last.number);
                }
            }
            Self::Release { caller } => {
                let (now, origin) = (Clock::System.now(), operator::origin()?);
                if store.release_identity(&caller, None, now, &origin).await?.is_none() {
                    bail!(
                        "`{caller}` belongs to nobody: `countersign identity list` shows the names that do"
                    );
                }
            }
        }
        store.close().await;
        Ok(())
    }
}
