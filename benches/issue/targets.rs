//! What is to be reached, and whether it was.

use serde::Serialize;

use crate::database::Engine;
use crate::fairness::FairnessRow;
use crate::material::CaKey;
use crate::results::{CaseRow, WriterRow};

/// One of them.
#[derive(Debug, Serialize)]
pub struct Target {
    pub what: String,
    pub wanted: String,
    pub measured: String,
    pub met: bool,
}

/// All that were measured.
pub fn all(cases: &[CaseRow], writers: &[WriterRow], fairness: &[FairnessRow]) -> Vec<Target> {
    let mut targets: Vec<Target> = cases.iter().filter_map(cpu).collect();
    targets.extend(writers.iter().map(writer));
    let usual = cases.iter().filter(|case| case.ca == CaKey::P256);
    targets.extend(usual.clone().filter(|case| case.engine == Engine::Sqlite).filter_map(latency));
    targets.extend(most("resident memory when idle", cases, |case| case.idle_mb, 30.0));
    targets.extend(most("resident memory under load", cases, |case| case.peak_mb, 100.0));
    targets.extend(usual.map(bytes));
    targets.extend(fairness.iter().map(beside));
    targets
}

fn cpu(case: &CaseRow) -> Option<Target> {
    let measured = case.closed(64)?.server_cpu_times_floor;
    let (most, aim) = match case.ca {
        CaKey::P256 => (2.5, 1.5),
        CaKey::Rsa2048 => (1.5, 1.2),
    };
    Some(Target {
        what: format!("server CPU for a certificate, 64 clients, {}", case.name()),
        wanted: format!("at most {most} times the floor, aiming at {aim}"),
        measured: format!("{measured:.2} times"),
        met: measured <= most,
    })
}

fn writer(row: &WriterRow) -> Target {
    let least = match row.engine {
        Engine::Sqlite => 4.0,
        Engine::Postgres => 3.0,
    };
    Target {
        what: format!("the writer alone, {}", row.engine.as_str()),
        wanted: format!("at least {least} times one row in a transaction"),
        measured: format!("{:.1} times", row.times),
        met: row.times >= least,
    }
}

fn latency(case: &CaseRow) -> Option<Target> {
    let measured = case.closed(64)?.p99_ms;
    Some(Target {
        what: format!("p99 with 64 clients, {}", case.name()),
        wanted: "at most 25 ms".to_owned(),
        measured: format!("{measured:.1} ms"),
        met: measured <= 25.0,
    })
}

fn beside(row: &FairnessRow) -> Target {
    Target {
        what: format!("p99 of one caller beside another at full speed, {}", row.engine.as_str()),
        wanted: "at most twice its own".to_owned(),
        measured: format!("{:.2} times", row.times),
        met: row.times <= 2.0,
    }
}

fn bytes(case: &CaseRow) -> Target {
    Target {
        what: format!("on disk for a certificate, {}", case.name()),
        wanted: "at most 1,200 bytes".to_owned(),
        measured: format!("{:.0} bytes", case.bytes_per_certificate),
        met: case.bytes_per_certificate <= 1_200.0,
    }
}

/// The worst of all cases must be below `limit` millions of bytes.
fn most(what: &str, cases: &[CaseRow], field: fn(&CaseRow) -> f64, limit: f64) -> Option<Target> {
    let measured = cases.iter().map(field).reduce(f64::max)?;
    Some(Target {
        what: format!("{what}, the most of all cases"),
        wanted: format!("under {limit} MB"),
        measured: format!("{measured:.1} MB"),
        met: measured < limit,
    })
}
