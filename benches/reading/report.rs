//! The tables of `docs/performance.md`.

use std::fmt::Write as _;

use serde::Serialize;

use crate::database::Engine;
use crate::exports::ExportRow;
use crate::pages::PageRow;
use crate::plans::PlanRow;
use crate::sizes::SizeRow;

/// What was measured on one engine.
#[derive(Debug, Serialize)]
pub struct Results {
    pub engine: Engine,
    pub certificates: u64,
    pub load_seconds: f64,
    pub start_ms: f64,
    pub repetitions: u32,
    pub pages: Vec<PageRow>,
    pub others: Vec<OtherRow>,
    pub exports: Vec<ExportRow>,
    pub plans: Vec<PlanRow>,
    pub sizes: Vec<SizeRow>,
}

/// A request that is no list.
#[derive(Clone, Debug, Serialize)]
pub struct OtherRow {
    pub what: String,
    pub p50_ms: f64,
    pub p99_ms: f64,
}

/// All tables of one engine.
pub fn render(results: &Results) -> String {
    let mut text = String::new();
    let name = results.engine.as_str();
    let misses = results.pages.iter().filter(|page| !page.good).count();
    let scanning = results.pages.iter().filter(|page| page.plan.is_some()).count();
    let _ = writeln!(
        text,
        "### {name}, {} certificates\n\nFilled in {:.0} s. From the start to `/readyz` {:.0} ms. {} pages, each \
         asked for {} times: {misses} missed a target, {scanning} have a plan that scans or sorts.",
        results.certificates,
        results.load_seconds,
        results.start_ms,
        results.pages.len(),
        results.repetitions,
    );
    section(
        &mut text,
        &["list", "filters", "along", "first", "deep", "first, asc", "deep, asc", "worst p99", "within"],
        &pages(results),
    );
    section(&mut text, &["request", "p50 ms", "p99 ms"], &others(results));
    section(
        &mut text,
        &["export", "rows", "s", "rows/s", "MB at 100,000", "MB at the end", "peak MB"],
        &exports(results),
    );
    section(
        &mut text,
        &["decisions taken again", "distinct", "otherwise", "live", "lost", "s", "decisions/s", "peak MB"],
        &plans(results),
    );
    section(&mut text, &["table or index", "MB", "bytes for a certificate"], &sizes(results));
    text
}

/// One row for each case: `p50 ms (times the client's)` of each page.
fn pages(results: &Results) -> Vec<Vec<String>> {
    let mut rows: Vec<Vec<String>> = Vec::new();
    for cases in results.pages.chunk_by(|one, other| one.list == other.list && one.filters == other.filters) {
        let Some(first) = cases.first() else { continue };
        let cell = |page: &str| {
            let page = cases.iter().find(|row| row.page == page);
            page.map_or("-".to_owned(), |row| format!("{:.2} ({:.1})", row.p50_ms, row.times))
        };
        let worst = cases.iter().map(|row| row.p99_ms).fold(0.0, f64::max);
        let good = cases.iter().all(|row| row.good && row.plan.is_none());
        rows.push(vec![
            first.list.trim_start_matches("/v1/").to_owned(),
            first.filters.clone(),
            first.along.clone(),
            cell("first"),
            cell("deep"),
            cell("first, asc"),
            cell("deep, asc"),
            format!("{worst:.1}"),
            if good { "yes" } else { "no" }.to_owned(),
        ]);
    }
    rows
}

fn others(results: &Results) -> Vec<Vec<String>> {
    let row =
        |row: &OtherRow| vec![row.what.clone(), format!("{:.1}", row.p50_ms), format!("{:.1}", row.p99_ms)];
    results.others.iter().map(row).collect()
}

fn exports(results: &Results) -> Vec<Vec<String>> {
    let row = |row: &ExportRow| {
        vec![
            row.what.clone(),
            row.rows.to_string(),
            format!("{:.1}", row.seconds),
            format!("{:.0}", row.rows_per_second),
            format!("{:.1}", row.early_mb),
            format!("{:.1}", row.end_mb),
            format!("{:.1}", row.peak_mb),
        ]
    };
    results.exports.iter().map(row).collect()
}

fn plans(results: &Results) -> Vec<Vec<String>> {
    let row = |row: &PlanRow| {
        vec![
            row.decisions.to_string(),
            row.distinct.to_string(),
            row.flips.to_string(),
            row.live.to_string(),
            row.lost.to_string(),
            format!("{:.1}", row.seconds),
            format!("{:.0}", row.decisions_per_second),
            format!("{:.1}", row.peak_mb),
        ]
    };
    results.plans.iter().map(row).collect()
}

fn sizes(results: &Results) -> Vec<Vec<String>> {
    let mb = |row: &SizeRow| format!("{}.{}", row.bytes / 1_000_000, row.bytes / 100_000 % 10);
    let row = |row: &SizeRow| vec![row.name.clone(), mb(row), format!("{:.1}", row.per_certificate)];
    let mut rows: Vec<_> = results.sizes.iter().map(row).collect();
    let all: f64 = results.sizes.iter().map(|row| row.per_certificate).sum();
    rows.push(vec!["all".to_owned(), String::new(), format!("{all:.0}")]);
    rows
}

fn section(text: &mut String, heads: &[&str], rows: &[Vec<String>]) {
    if rows.is_empty() {
        return;
    }
    let heads: Vec<String> = heads.iter().map(ToString::to_string).collect();
    let all: Vec<&Vec<String>> = std::iter::once(&heads).chain(rows).collect();
    let width = |column: usize| {
        all.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..heads.len()).map(width).collect();
    let _ = writeln!(text);
    for (number, row) in all.iter().enumerate() {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}", width = *width)).collect();
        let _ = writeln!(text, "| {} |", cells.join(" | "));
        if number == 0 {
            let rule: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
            let _ = writeln!(text, "| {} |", rule.join(" | "));
        }
    }
}
