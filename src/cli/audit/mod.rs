//! `countersign audit`: the auditor's questions, on the database or over the API.

mod client;
mod follow;
mod output;
mod questions;
mod source;
mod stats;
pub(in crate::cli) mod table;
mod trace;

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Subcommand;

use output::Output;
use questions::{CertificateFilters, EventFilters, Listing, RefusalFilters, StatsFilters};
use source::{Source, What};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Audit {
    /// List issued certificates, newest first
    Certificates {
        #[command(flatten)]
        filters: CertificateFilters,
        /// Only live ones that today's policy would no longer give
        #[arg(long, conflicts_with = "follow")]
        drifted: bool,
        #[command(flatten)]
        listing: Listing,
        #[command(flatten)]
        from: From,
    },
    /// List refused requests, newest first
    Refusals {
        #[command(flatten)]
        filters: RefusalFilters,
        #[command(flatten)]
        listing: Listing,
        #[command(flatten)]
        from: From,
    },
    /// List the events of the audit log, newest first
    Events {
        #[command(flatten)]
        filters: EventFilters,
        #[command(flatten)]
        listing: Listing,
        #[command(flatten)]
        from: From,
    },
    /// Count certificates and refusals
    Stats {
        /// By what: day, `expiry_day`, cluster, group, caller, policy or outcome
        #[arg(long, default_value = "day")]
        by: String,
        #[command(flatten)]
        filters: StatsFilters,
        /// How it is printed
        #[arg(short, long, value_enum, default_value_t = Output::Table)]
        output: Output,
        #[command(flatten)]
        from: From,
    },
    /// Name the record behind each certificate in a kube-apiserver's audit log
    Trace {
        /// The log: one event of audit.k8s.io/v1 on each line, gzip or not; `-` is standard input
        #[arg(long = "kube-audit", required = true, num_args = 1.., value_name = "FILE")]
        logs: Vec<PathBuf>,
        /// How it is printed
        #[arg(short, long, value_enum, default_value_t = trace::TraceOutput::Table)]
        output: trace::TraceOutput,
        #[command(flatten)]
        from: From,
    },
}

/// Where the ledger is asked: the configured database, unless a server is named.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct From {
    /// Ask a running service instead of the database, as in `https://countersign.example`
    #[arg(long, value_name = "URL", requires = "token_file")]
    server: Option<String>,
    /// A file with the token for it, alone or as the header line that curl takes
    #[arg(long, value_name = "FILE", requires = "server")]
    token_file: Option<PathBuf>,
    /// A PEM file with the CAs to trust for it, instead of the public ones
    #[arg(long, value_name = "FILE", requires = "server")]
    ca_file: Option<PathBuf>,
}

impl Audit {
    pub(super) async fn run(self: Box<Self>, config: &Path) -> Result<()> {
        match *self {
            Self::Certificates { filters, drifted, listing, from } => {
                let mut texts = filters.texts();
                texts.extend(drifted.then(|| ("drifted".to_owned(), "true".to_owned())));
                listing.run(&Source::open(from, config).await?, What::Certificates, texts).await
            }
            Self::Refusals { filters, listing, from } => {
                listing.run(&Source::open(from, config).await?, What::Refusals, filters.texts()).await
            }
            Self::Events { filters, listing, from } => {
                listing.run(&Source::open(from, config).await?, What::Events, filters.texts()).await
            }
            Self::Stats { by, filters, output, from } => {
                stats::run(&Source::open(from, config).await?, &by, filters.texts(), output).await
            }
            Self::Trace { logs, output, from } => {
                trace::run(&Source::open(from, config).await?, &logs, output).await
            }
        }
    }
}
