//! Rows on standard output: as a table, as JSON, as CSV, one by one.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use anyhow::Result;
use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};

use super::source::{What, read};
use super::table::Table;
use crate::export::{Form, Lines, Wanted};
use crate::store::{CertificateFilter, EventFilter, RefusalFilter};
use crate::time::Time;

/// How rows are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Output {
    /// For a person; as wide as the terminal
    Table,
    /// One object with `items`, as the API answers
    Json,
    /// With a header, and a last record that says how many there were
    Csv,
    /// One object on each line, and a last one that says how many there were
    Ndjson,
}

/// Rows that are gathered before a part of a table is drawn.
const GATHERED: usize = 200;

/// Prints rows as they come.
pub(super) struct Printer {
    output: Output,
    lines: Lines,
    table: Table,
    progress: ProgressBar,
}

impl Printer {
    pub(super) fn new(output: Output, what: What) -> Self {
        let columns = match what {
            What::Certificates => {
                Wanted::Certificates(CertificateFilter::default(), Time::from_unix(0)).columns()
            }
            What::Refusals => Wanted::Refusals(RefusalFilter::default(), true).columns(),
            What::Events => Wanted::Events(EventFilter::default()).columns(),
        };
        let form = if output == Output::Csv { Form::Csv } else { Form::Ndjson };
        Self { output, lines: Lines::new(form, columns), table: Table::of(what), progress: progress(output) }
    }

    /// What stands before the rows.
    pub(super) fn begin(&mut self) -> Result<()> {
        match self.output {
            Output::Table => Ok(()),
            Output::Json => write(b"{\"items\":["),
            Output::Csv | Output::Ndjson => {
                let mut out = Vec::new();
                self.lines.begin(&mut out);
                write(&out)
            }
        }
    }

    /// One row, as JSON on one line.
    pub(super) fn row(&mut self, row: &str) -> Result<()> {
        self.progress.inc(1);
        match self.output {
            Output::Table => {
                self.lines.count_one();
                self.table.add(&read(row)?);
                if self.table.rows() >= GATHERED { self.flush() } else { Ok(()) }
            }
            Output::Json => {
                let comma = if self.lines.count() == 0 { "" } else { "," };
                self.lines.count_one();
                write(format!("{comma}{row}").as_bytes())
            }
            Output::Csv => {
                let mut out = Vec::new();
                self.lines.row(&read(row)?, &mut out);
                write(&out)
            }
            Output::Ndjson => {
                self.lines.count_one();
                write(format!("{row}\n").as_bytes())
            }
        }
    }

    /// Draws what was gathered.
    pub(super) fn flush(&mut self) -> Result<()> {
        if self.output == Output::Table {
            write(self.table.draw().as_bytes())?;
        }
        Ok(std::io::stdout().flush()?)
    }

    /// What shows that nothing is missing; gives back how many rows there were.
    pub(super) fn end(&mut self) -> Result<u64> {
        match self.output {
            Output::Table => self.flush()?,
            Output::Json => write(b"]}\n")?,
            Output::Csv | Output::Ndjson => {
                let mut out = Vec::new();
                self.lines.end(&mut out);
                write(&out)?;
            }
        }
        self.progress.finish_and_clear();
        std::io::stdout().flush()?;
        Ok(self.lines.count())
    }
}

/// A reader that went away, as `head` does, is no failure.
pub(super) fn write(octets: &[u8]) -> Result<()> {
    match std::io::stdout().write_all(octets) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        other => Ok(other?),
    }
}

/// Drawn on standard error, where that is a terminal and the rows go elsewhere.
fn progress(output: Output) -> ProgressBar {
    if output == Output::Table || std::io::stdout().is_terminal() || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{spinner} {human_pos} rows, {per_sec}, {elapsed}");
    let bar =
        ProgressBar::new_spinner().with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
