//! The whole ledger, streamed: how fast, and whether memory grows with it.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use rustix::process::Pid;
use serde::Serialize;

use crate::http::Client;
use crate::machine::Memory;
use crate::statistics::rounded;

/// Where memory is looked at for the first time.
const EARLY: u64 = 100_000;

/// One export.
#[derive(Clone, Debug, Serialize)]
pub struct ExportRow {
    pub what: String,
    pub rows: u64,
    pub seconds: f64,
    pub rows_per_second: f64,
    /// Resident memory of the process that reads the ledger, in MB.
    pub early_mb: f64,
    pub end_mb: f64,
    pub peak_mb: f64,
}

/// Over HTTP; `lines` beside the rows are the head or the end.
pub fn served(client: &mut Client, server: Pid, target: &str, certificates: u64) -> Result<ExportRow> {
    let began = Instant::now();
    let (mut lines, mut early) = (0, None);
    client.stream(target, |octets| {
        lines += lines_in(octets);
        if lines >= EARLY && early.is_none() {
            early = Some(Memory::of(server)?.resident);
        }
        Ok(())
    })?;
    row(target.to_owned(), lines, certificates, began, early, Memory::of(server)?)
}

/// By the command line, which reads the database itself.
pub fn told(binary: &Path, configuration: &Path, form: &str, certificates: u64) -> Result<ExportRow> {
    let mut command = Command::new(binary);
    command.arg("--config").arg(configuration).args(["audit", "certificates", "-o", form]);
    let began = Instant::now();
    let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let pid = i32::try_from(process.id()).ok().and_then(Pid::from_raw).context("no process id")?;
    let mut output = BufReader::with_capacity(1 << 16, process.stdout.take().context("no output")?);
    let (mut lines, mut early, mut last) = (0, None, Memory::of(pid)?);
    loop {
        let octets = output.fill_buf()?;
        if octets.is_empty() {
            break;
        }
        let before = lines;
        lines += lines_in(octets);
        let length = octets.len();
        output.consume(length);
        if before / EARLY != lines / EARLY {
            last = Memory::of(pid)?;
            early = early.or(Some(last.resident));
        }
    }
    ensure!(process.wait()?.success(), "{command:?} failed");
    row(format!("countersign audit certificates -o {form}"), lines, certificates, began, early, last)
}

fn row(
    what: String,
    lines: u64,
    certificates: u64,
    began: Instant,
    early: Option<u32>,
    end: Memory,
) -> Result<ExportRow> {
    // A head, or an end, or both.
    let others = lines.saturating_sub(certificates);
    ensure!((1..=2).contains(&others), "{what}: {lines} lines for {certificates} certificates");
    let seconds = began.elapsed().as_secs_f64();
    let mb = |kib: u32| rounded(f64::from(kib) * 1_024.0 / 1e6, 1);
    let rows = f64::from(u32::try_from(certificates)?);
    Ok(ExportRow {
        what,
        rows: certificates,
        seconds: rounded(seconds, 1),
        rows_per_second: rounded(rows / seconds, 0),
        early_mb: mb(early.unwrap_or(end.resident)),
        end_mb: mb(end.resident),
        peak_mb: mb(end.peak),
    })
}

fn lines_in(octets: &[u8]) -> u64 {
    u64::try_from(memchr::memchr_iter(b'\n', octets).count()).unwrap_or(0)
}
