//! `countersign audit trace`: which record stands behind each certificate that an API server saw.

mod finding;
mod log;

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::output::write;
use super::source::Source;
use super::table::Table;
use finding::{Finding, Since};
use log::Log;

/// How findings are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum TraceOutput {
    /// For a person; as wide as the terminal
    Table,
    /// One object for each certificate, and a last one that sums up
    Ndjson,
}

/// Reads the logs, then asks the ledger about each certificate.
pub(super) async fn run(source: &Source, logs: &[PathBuf], output: TraceOutput) -> Result<()> {
    let log = tokio::task::block_in_place(|| read(logs))?;
    let since = Since::load(source).await?;
    let mut used: Vec<_> = log.certificates.iter().collect();
    used.sort_unstable_by(|one, two| two.1.requests.cmp(&one.1.requests).then(one.0.cmp(two.0)));
    let mut findings = Vec::with_capacity(used.len());
    let bar = bar(u64::try_from(used.len()).unwrap_or(0), "{bar:30} {human_pos} of {human_len} certificates");
    for (id, used) in used {
        findings.push(Finding::of(source, *id, used, &since).await?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    match output {
        TraceOutput::Table => table(&log, &findings),
        TraceOutput::Ndjson => ndjson(&log, &findings),
    }
}

fn read(paths: &[PathBuf]) -> Result<Log> {
    let mut log = Log::default();
    for path in paths {
        read_one(&mut log, path).with_context(|| path.display().to_string())?;
    }
    Ok(log)
}

fn read_one(log: &mut Log, path: &Path) -> Result<()> {
    if path == Path::new("-") {
        return log.read(std::io::stdin().lock());
    }
    let file = std::fs::File::open(path)?;
    let bar = bar(
        file.metadata()?.len(),
        "{bar:30} {binary_bytes} of {binary_total_bytes}, {binary_bytes_per_sec}, {eta}",
    );
    let read = log.read(bar.wrap_read(file));
    bar.finish_and_clear();
    read
}

/// On standard error, where that is a terminal.
fn bar(length: u64, template: &str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(length).with_style(style)
}

fn table(log: &Log, findings: &[Finding]) -> Result<()> {
    let mut table = Table::with(&[
        ("USER", "user"),
        ("REQUESTS", "requests"),
        ("FIRST", "first"),
        ("LAST", "last"),
        ("SERIAL", "serial"),
        ("REQUESTED BY", "requested_by"),
        ("POLICIES", "policies"),
        ("REVISION", "policy_revision"),
        ("FLAGS", "flags"),
    ]);
    for finding in findings {
        table.add(&finding.json());
    }
    write(table.draw().as_bytes())?;
    let flagged = findings.iter().filter(|finding| !finding.flags.is_empty()).count();
    eprintln!(
        "{} certificates made {} of {} requests; {flagged} certificates have flags; {} of {} lines are no events",
        findings.len(),
        log.requests.saturating_sub(log.without_certificate),
        log.requests,
        log.unreadable,
        log.lines
    );
    Ok(())
}

fn ndjson(log: &Log, findings: &[Finding]) -> Result<()> {
    for finding in findings {
        write(format!("{}\n", serde_json::to_string(finding)?).as_bytes())?;
    }
    let end = Summary {
        end: true,
        count: findings.len(),
        flagged: findings.iter().filter(|finding| !finding.flags.is_empty()).count(),
        lines: log.lines,
        unreadable_lines: log.unreadable,
        requests: log.requests,
        requests_without_certificate: log.without_certificate,
    };
    write(format!("{}\n", serde_json::to_string(&end)?).as_bytes())
}

/// The last line: nothing is missing before it.
#[derive(Serialize)]
struct Summary {
    end: bool,
    count: usize,
    flagged: usize,
    lines: u64,
    unreadable_lines: u64,
    requests: u64,
    requests_without_certificate: u64,
}
