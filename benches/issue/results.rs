//! What a whole run came to: medians over its repetitions, rounded, as they go into the JSON file.

use serde::Serialize;

use crate::database::Engine;
use crate::fairness::FairnessRow;
use crate::floor::Cost;
use crate::machine::Machine;
use crate::material::CaKey;
use crate::repetition::{Bench, CLIENTS, Case, Measured, Repetition};
use crate::statistics::{median, ratio, rounded};
use crate::targets::Target;
use crate::writer::Writers;

/// Everything.
#[derive(Debug, Serialize)]
pub struct Results {
    pub version: &'static str,
    pub machine: Machine,
    pub seconds_per_load: f64,
    pub repetitions: usize,
    pub floor: Vec<FloorRow>,
    pub cases: Vec<CaseRow>,
    pub syncs: Vec<SyncRow>,
    pub writers: Vec<WriterRow>,
    pub fairness: Vec<FairnessRow>,
    pub targets: Vec<Target>,
}

/// CPU microseconds of one operation.
#[derive(Debug, Serialize)]
pub struct FloorRow {
    pub operation: &'static str,
    pub both_cores_busy_us: f64,
    pub alone_us: f64,
}

/// One CA on one engine.
#[derive(Debug, Serialize)]
pub struct CaseRow {
    pub ca: CaKey,
    pub engine: Engine,
    /// The check of the CSR and the signature of the CA.
    pub floor_verify_us: f64,
    pub floor_sign_us: f64,
    pub loads: Vec<LoadRow>,
    /// In millions of bytes.
    pub idle_mb: f64,
    pub peak_mb: f64,
    pub bytes_per_certificate: f64,
}

/// One load on it.
#[derive(Debug, Serialize)]
pub struct LoadRow {
    pub load: String,
    /// Of a closed loop.
    pub clients: Option<usize>,
    pub certificates_per_second: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub p999_ms: f64,
    pub server_cpu_us: f64,
    pub server_cpu_times_floor: f64,
    pub database_cpu_us: f64,
    /// Of all cores.
    pub client_percent: f64,
    pub service_percent: f64,
    pub others_percent: f64,
}

/// How often the ledger syncs.
#[derive(Debug, Serialize)]
pub struct SyncRow {
    pub engine: Engine,
    pub clients: usize,
    pub per_certificate: f64,
}

/// The writer alone, in records a second.
#[derive(Debug, Serialize)]
pub struct WriterRow {
    pub engine: Engine,
    pub one_row_per_second: f64,
    pub group_per_second: f64,
    /// Of the two in one repetition, one after the other.
    pub times: f64,
    /// CPU microseconds of reading a CSR, deciding, signing and reading back, without HTTP or ledger.
    pub sign_cpu_us: f64,
    /// CPU microseconds of recording in a group, without the database's own processes.
    pub record_cpu_us: f64,
}

impl Results {
    /// Of nothing yet.
    pub fn none(machine: Machine, bench: &Bench) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION"),
            machine,
            seconds_per_load: bench.window.as_secs_f64(),
            repetitions: 0,
            floor: Vec::new(),
            cases: Vec::new(),
            syncs: Vec::new(),
            writers: Vec::new(),
            fairness: Vec::new(),
            targets: Vec::new(),
        }
    }
}

impl FloorRow {
    /// Medians, operation by operation. Every repetition has all of them, in one order.
    pub fn all(repetitions: &[Vec<Cost>]) -> Vec<Self> {
        let operations = repetitions.iter().take(1).flatten();
        operations.map(|cost| Self::of(cost.operation, repetitions)).collect()
    }

    fn of(operation: &'static str, repetitions: &[Vec<Cost>]) -> Self {
        let costs = || repetitions.iter().flatten().filter(|cost| cost.operation == operation);
        Self {
            operation,
            both_cores_busy_us: middle(costs().map(|cost| cost.both_busy), 1),
            alone_us: middle(costs().map(|cost| cost.alone), 1),
        }
    }
}

impl CaseRow {
    /// Medians over `repetitions` of `case`.
    pub fn new(case: &Case, repetitions: &[Repetition], floor: &[FloorRow]) -> Self {
        let cost = |operation: &str| {
            let row = floor.iter().find(|row| row.operation == operation);
            row.map_or(0.0, |row| row.both_cores_busy_us)
        };
        let [verify, sign] = case.ca.floor().map(cost);
        let of = |number: usize| repetitions.iter().filter_map(move |one| one.closed.get(number));
        let mut loads: Vec<LoadRow> = Vec::new();
        for (number, clients) in CLIENTS.into_iter().enumerate() {
            let load = if clients == 1 { "1 client".to_owned() } else { format!("{clients} clients") };
            loads.push(LoadRow::new(load, Some(clients), &of(number).collect::<Vec<_>>()));
        }
        let open: Vec<&Measured> = repetitions.iter().map(|one| &one.open).collect();
        loads.push(LoadRow::new("open, half".to_owned(), None, &open));
        let mb = |kib: u32| f64::from(kib) * 1_024.0 / 1e6;
        Self {
            ca: case.ca,
            engine: case.engine,
            floor_verify_us: verify,
            floor_sign_us: sign,
            loads,
            idle_mb: middle(repetitions.iter().map(|one| mb(one.idle_memory)), 1),
            peak_mb: middle(repetitions.iter().map(|one| mb(one.peak_memory)), 1),
            bytes_per_certificate: middle(repetitions.iter().map(|one| one.bytes), 0),
        }
    }

    /// The closed loop with so many clients.
    pub fn closed(&self, clients: usize) -> Option<&LoadRow> {
        self.loads.iter().find(|load| load.clients == Some(clients))
    }

    /// As it is written.
    pub fn name(&self) -> String {
        format!("{} CA, {}", self.ca.as_str(), self.engine.as_str())
    }
}

impl LoadRow {
    fn new(load: String, clients: Option<usize>, all: &[&Measured]) -> Self {
        let middle = |field: fn(&Measured) -> f64, digits| middle(all.iter().map(|one| field(one)), digits);
        Self {
            load,
            clients,
            certificates_per_second: middle(|one| one.rate, 0),
            p50_ms: middle(|one| one.p50, 2),
            p99_ms: middle(|one| one.p99, 2),
            p999_ms: middle(|one| one.p999, 2),
            server_cpu_us: middle(|one| one.cpu, 1),
            server_cpu_times_floor: middle(|one| one.times_floor, 2),
            database_cpu_us: middle(|one| one.database_cpu, 1),
            client_percent: middle(|one| 100.0 * one.client_share, 0),
            service_percent: middle(|one| 100.0 * one.service_share, 0),
            others_percent: middle(|one| 100.0 * one.others_share, 0),
        }
    }
}

impl WriterRow {
    /// Medians over the repetitions on one engine.
    pub fn new(engine: Engine, repetitions: &[Writers]) -> Self {
        Self {
            engine,
            one_row_per_second: middle(repetitions.iter().map(|one| one.one_row.rate), 0),
            group_per_second: middle(repetitions.iter().map(|one| one.group.rate), 0),
            times: middle(repetitions.iter().map(|one| ratio(one.group.rate, one.one_row.rate)), 1),
            sign_cpu_us: middle(repetitions.iter().map(|one| one.group.sign_cpu), 1),
            record_cpu_us: middle(repetitions.iter().map(|one| one.group.record_cpu), 1),
        }
    }
}

fn middle(values: impl Iterator<Item = f64>, digits: i32) -> f64 {
    rounded(median(&values.collect::<Vec<_>>()), digits)
}
