//! `countersign policy test`.

use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow, bail};

use super::{compile, read_file, read_text};
use crate::app::cluster;
use crate::policy::cases::{CaseFile, CaseResult};

/// The file of cases, and what it is run against.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Test {
    /// The file of cases, YAML or JSON; - for standard input
    #[arg(short, long, value_name = "FILE")]
    file: PathBuf,
    /// The file of policies, instead of the one that the cases name
    #[arg(short, long, value_name = "FILE")]
    policies: Option<PathBuf>,
    /// Print only what fails
    #[arg(short, long)]
    quiet: bool,
}

impl Test {
    /// The configuration is read only where the cases describe no clusters; of the files that it
    /// names none is.
    pub(super) fn run(self, config: &Path) -> Result<()> {
        let (name, text) = read_text(&self.file)?;
        let cases = CaseFile::read(text.as_bytes()).map_err(|reason| anyhow!("{name}: {reason}"))?;
        let clusters = match cases.clusters() {
            Some(clusters) => clusters,
            None => cluster::rules_without_ca(&crate::cli::read(config)?.clusters)?,
        };
        let folder = self.file.parent().unwrap_or_else(|| Path::new(""));
        let named = cases.policies.as_ref().map(|file| folder.join(file));
        let Some(policies) = self.policies.or(named) else {
            bail!(
                "{name}: say which policies are meant: with --policies FILE, or `policies: FILE` beside `cases`"
            );
        };
        let (policies, rows) = read_file(&policies)?;
        let set = compile(rows, &clusters, &policies)?;
        let results = cases.run(&set, &clusters).map_err(|reason| anyhow!("{name}: {reason}"))?;
        for result in &results {
            print(result, self.quiet);
        }
        let failed = results.iter().filter(|result| result.failure.is_some()).count();
        if failed > 0 {
            bail!("{name}: {failed} of {} cases failed", results.len());
        }
        eprintln!("{name}: {} cases passed", results.len());
        Ok(())
    }
}

fn print(result: &CaseResult, quiet: bool) {
    let Some(failure) = &result.failure else {
        if !quiet {
            println!("ok\t{}", result.title);
        }
        return;
    };
    println!("FAIL\t{}", result.title);
    println!("\t- {}", failure.expected);
    println!("\t+ {}", failure.got);
    for reason in &failure.because {
        println!("\t  {reason}");
    }
}
