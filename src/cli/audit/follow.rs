//! `--follow`: the last rows, then every new one.

use std::io::Write as _;
use std::time::Duration;

use anyhow::Result;

use super::output::Printer;
use super::source::{Given, Source, Stretch, What, read};

/// How often new rows are looked for.
const PAUSE: Duration = Duration::from_secs(1);
/// How many rows are shown before the new ones, as `tail` does.
const LAST: u64 = 10;

/// Runs until it is stopped, or its reader goes away.
pub(super) async fn run(
    source: &Source,
    what: What,
    texts: &Given,
    stretch: Stretch,
    printer: &mut Printer,
) -> Result<()> {
    tokio::spawn(stop());
    printer.begin()?;
    let mut after = match stretch.after_number {
        Some(number) => number,
        None => last(source, what, texts, stretch.limit.unwrap_or(LAST), printer).await?,
    };
    loop {
        let stretch = Stretch { after_number: Some(after), ascending: true, limit: None };
        let mut take = |row: &str| {
            after = number(row)?;
            printer.row(row)
        };
        source.rows(what, texts, stretch, &mut take).await?;
        printer.flush()?;
        tokio::time::sleep(PAUSE).await;
    }
}

/// Ends the program well when it is interrupted: behind a whole line, wherever a request stands.
async fn stop() {
    if tokio::signal::ctrl_c().await.is_ok() {
        let mut out = std::io::stdout().lock();
        // Nobody is left to be told.
        let _ = out.flush();
        std::process::exit(0);
    }
}

/// Prints the last rows, the oldest first, and gives back the number to go on from.
async fn last(source: &Source, what: What, texts: &Given, count: u64, printer: &mut Printer) -> Result<i64> {
    let mut rows: Vec<String> = Vec::new();
    let stretch = Stretch { after_number: None, ascending: false, limit: Some(count) };
    let mut take = |row: &str| {
        rows.push(row.to_owned());
        Ok(())
    };
    source.rows(what, texts, stretch, &mut take).await?;
    let newest = rows.first().map(|row| number(row)).transpose()?;
    rows.iter().rev().try_for_each(|row| printer.row(row))?;
    printer.flush()?;
    Ok(newest.unwrap_or(0))
}

fn number(row: &str) -> Result<i64> {
    let row = read(row)?;
    row.get("number")
        .and_then(serde_json::Value::as_i64)
        .ok_or_else(|| anyhow::anyhow!("a row has no number"))
}
