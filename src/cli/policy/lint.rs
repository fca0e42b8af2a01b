//! `countersign policy lint`.

use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow, bail};

use super::{compile, read_file, read_text};
use crate::app::cluster;
use crate::pki::name::ShortName;
use crate::policy::bindings;
use crate::policy::lint::{Level, lint};

/// The file that is looked at, and what is known of the clusters.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Lint {
    /// The file, YAML or JSON; - for standard input
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
    /// What `kubectl get clusterrolebindings,clusterroles -o json` printed, to find rows that reach
    /// whom RBAC makes powerful
    #[arg(long, value_name = "FILE")]
    bindings: Option<PathBuf>,
    /// The cluster that printed it; without it every cluster counts
    #[arg(long, value_name = "NAME", value_parser = ShortName::parse, requires = "bindings")]
    cluster: Option<ShortName>,
}

impl Lint {
    /// Of the files that the configuration names none is read.
    pub(super) fn run(self, config: &Path) -> Result<()> {
        let mut clusters = cluster::rules_without_ca(&crate::cli::read(config)?.clusters)?;
        let (name, rows) = read_file(&self.file)?;
        let set = compile(rows, &clusters, &name)?;
        let mut findings = lint(&set, &clusters, &[]);
        if let Some(file) = &self.bindings {
            if let Some(only) = &self.cluster {
                clusters.rules.retain(|rules| rules.name == *only);
                if clusters.rules.is_empty() {
                    bail!("there is no cluster {only} in the configuration");
                }
            }
            let (bindings, text) = read_text(file)?;
            let powerful =
                bindings::read(text.as_bytes()).map_err(|reason| anyhow!("{bindings}: {reason}"))?;
            let more = lint(&set, &clusters, &powerful);
            // Rows for other clusters only are no finding of this one.
            findings.extend(more.into_iter().filter(|finding| finding.field != "clusters"));
            findings.sort();
            findings.dedup();
        }
        for finding in &findings {
            println!("{}\t{}\t{}\t{}", finding.level, finding.row, finding.field, finding.reason);
        }
        let warnings = findings.iter().filter(|finding| finding.level == Level::Warning).count();
        if warnings > 0 {
            bail!("{name}: {warnings} warnings");
        }
        eprintln!("{name}: nothing to warn of");
        Ok(())
    }
}
