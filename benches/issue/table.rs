//! The results as text: Markdown, which a terminal shows just as well.

use std::fmt::Write as _;

use crate::material::CaKey;
use crate::results::{LoadRow, Results};

/// All tables.
pub fn render(results: &Results) -> String {
    let mut text = machine(results);
    section(&mut text, "The floor, CPU µs", &["operation", "both cores busy", "alone"], floor(results));
    let heads = [
        "CA, engine",
        "load",
        "certificates/s",
        "p50 ms",
        "p99 ms",
        "p99.9 ms",
        "server CPU µs each",
        "times the floor",
        "database CPU µs each",
        "client",
        "service and database",
        "others",
    ];
    section(&mut text, "End to end over HTTP", &heads, loads(results));
    let heads = ["CA, engine", "floor µs", "idle MB", "peak MB", "bytes on disk each"];
    section(&mut text, "Memory and disk", &heads, sizes(results));
    section(&mut text, "Syncs for a certificate", &["engine", "clients", "syncs each"], syncs(results));
    let heads = ["engine", "one row in a transaction, records/s", "group commit, records/s", "times"];
    section(&mut text, "The writer alone, 64 tasks", &heads, writers(results));
    let heads = ["engine", "alone, p99 ms", "beside, p99 ms", "times", "at full speed /s", "the other /s"];
    section(&mut text, "One caller beside another at full speed", &heads, fairness(results));
    let heads = [
        "CA, engine",
        "floor",
        "sign: CSR, decision, certificate",
        "record",
        "all, 64 clients",
        "HTTP and the rest",
    ];
    section(&mut text, "Where the CPU goes, µs for a certificate", &heads, parts(results));
    section(&mut text, "Targets", &["what", "target", "measured", "met"], targets(results));
    text
}

fn machine(results: &Results) -> String {
    let machine = &results.machine;
    let busy: Vec<String> =
        machine.cores_busy_percent.iter().map(|percent| format!("{percent:.0} %")).collect();
    format!(
        "Countersign {} on {} ({} cores), Linux {}, ledgers on {}. Before the run: load average {}, cores busy {}. \
         Each load {} s, medians of {}.\n",
        results.version,
        machine.processor,
        machine.cores,
        machine.kernel,
        machine.file_system,
        machine.load_average,
        busy.join(" and "),
        results.seconds_per_load,
        results.repetitions,
    )
}

fn floor(results: &Results) -> Vec<Vec<String>> {
    let row = |row: &crate::results::FloorRow| {
        vec![row.operation.to_owned(), one_digit(row.both_cores_busy_us), one_digit(row.alone_us)]
    };
    results.floor.iter().map(row).collect()
}

fn loads(results: &Results) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    for case in &results.cases {
        rows.extend(case.loads.iter().map(|load| load_row(case.name(), load)));
    }
    rows
}

fn load_row(name: String, load: &LoadRow) -> Vec<String> {
    let percent = |value: f64| format!("{value:.0} %");
    vec![
        name,
        load.load.clone(),
        format!("{:.0}", load.certificates_per_second),
        format!("{:.2}", load.p50_ms),
        format!("{:.2}", load.p99_ms),
        format!("{:.2}", load.p999_ms),
        format!("{:.0}", load.server_cpu_us),
        format!("{:.2}", load.server_cpu_times_floor),
        format!("{:.0}", load.database_cpu_us),
        percent(load.client_percent),
        percent(load.service_percent),
        percent(load.others_percent),
    ]
}

fn sizes(results: &Results) -> Vec<Vec<String>> {
    let row = |case: &crate::results::CaseRow| {
        vec![
            case.name(),
            one_digit(case.floor_verify_us + case.floor_sign_us),
            one_digit(case.idle_mb),
            one_digit(case.peak_mb),
            format!("{:.0}", case.bytes_per_certificate),
        ]
    };
    results.cases.iter().map(row).collect()
}

fn syncs(results: &Results) -> Vec<Vec<String>> {
    let row = |row: &crate::results::SyncRow| {
        vec![row.engine.as_str().to_owned(), row.clients.to_string(), format!("{:.3}", row.per_certificate)]
    };
    results.syncs.iter().map(row).collect()
}

fn writers(results: &Results) -> Vec<Vec<String>> {
    let row = |row: &crate::results::WriterRow| {
        vec![
            row.engine.as_str().to_owned(),
            format!("{:.0}", row.one_row_per_second),
            format!("{:.0}", row.group_per_second),
            one_digit(row.times),
        ]
    };
    results.writers.iter().map(row).collect()
}

fn fairness(results: &Results) -> Vec<Vec<String>> {
    let row = |row: &crate::fairness::FairnessRow| {
        vec![
            row.engine.as_str().to_owned(),
            format!("{:.2}", row.alone_p99_ms),
            format!("{:.2}", row.beside_p99_ms),
            format!("{:.2}", row.times),
            format!("{:.0}", row.full_speed_per_second),
            format!("{:.0}", row.other_per_second),
        ]
    };
    results.fairness.iter().map(row).collect()
}

/// What the parts cost by themselves; the rest is what is left of the whole.
fn parts(results: &Results) -> Vec<Vec<String>> {
    let row = |writer: &crate::results::WriterRow| {
        let case =
            results.cases.iter().find(|case| case.ca == CaKey::P256 && case.engine == writer.engine)?;
        let whole = case.closed(64)?.server_cpu_us;
        let rest = whole - writer.sign_cpu_us - writer.record_cpu_us;
        let floor = case.floor_verify_us + case.floor_sign_us;
        let numbers = [floor, writer.sign_cpu_us, writer.record_cpu_us, whole, rest];
        Some([case.name()].into_iter().chain(numbers.map(|number| format!("{number:.0}"))).collect())
    };
    results.writers.iter().filter_map(row).collect()
}

fn targets(results: &Results) -> Vec<Vec<String>> {
    let row = |target: &crate::targets::Target| {
        let met = if target.met { "yes" } else { "no" }.to_owned();
        vec![target.what.clone(), target.wanted.clone(), target.measured.clone(), met]
    };
    results.targets.iter().map(row).collect()
}

fn one_digit(value: f64) -> String {
    format!("{value:.1}")
}

/// A heading and a table whose columns are as wide as their widest cell. Nothing without rows.
fn section(text: &mut String, title: &str, heads: &[&str], rows: Vec<Vec<String>>) {
    if rows.is_empty() {
        return;
    }
    let mut all = vec![heads.iter().map(ToString::to_string).collect::<Vec<_>>()];
    all.extend(rows);
    let width = |column: usize| {
        all.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..heads.len()).map(width).collect();
    let _ = writeln!(text, "\n### {title}\n");
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
