//! The benchmark: what one certificate costs, beside what its signatures alone cost on the same
//! machine in the same run. `bench/run` builds what is needed and starts this.
//!
//! - [`floor`]: the signatures alone.
//! - [`repetition`]: the service over HTTP, with [`client`] as the load and [`service`] as the thing
//!   under test.
//! - [`writer`]: recording alone.
//! - [`fairness`]: one caller at full speed, and another beside it.
//! - [`results`], [`targets`]: medians over repetitions, which alternate so that a noisy minute does
//!   not fall on one of them; [`table`], [`chart`]: how they are shown.

mod chart;
mod client;
mod database;
mod fairness;
mod floor;
mod machine;
mod material;
mod repetition;
mod results;
mod service;
mod statistics;
mod table;
mod targets;
mod writer;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::{Parser, ValueEnum};
use rustix::process::Pid;

use database::{Engine, Postgres};
use fairness::FairnessRow;
use floor::Floor;
use machine::Machine;
use material::CaKey;
use repetition::{Bench, CLIENTS, Case};
use results::{CaseRow, FloorRow, Results, SyncRow, WriterRow};

/// Where the tables go in `docs/performance.md`.
const BEGIN: &str = "<!-- bench/run --write-docs writes from here -->\n";
const END: &str = "<!-- to here -->\n";

#[derive(Parser)]
#[command(
    name = "bench/run",
    about = "Measures what a certificate costs, beside what its signatures alone cost"
)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
struct Arguments {
    /// About a minute: one second for each load, one repetition. The numbers are rough
    #[arg(long)]
    quick: bool,
    /// Where the ledger is
    #[arg(long, default_value = "both")]
    engine: Engines,
    /// Only one caller beside another
    #[arg(long)]
    fairness: bool,
    /// How long each load is measured
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Where results.json, results.md and chart.svg go
    #[arg(long, default_value = "target/bench")]
    out: PathBuf,
    /// Put the tables into docs/performance.md and the chart beside it
    #[arg(long)]
    write_docs: bool,
    /// The release binary
    #[arg(long, default_value = env!("CARGO_BIN_EXE_countersign"), hide = true)]
    binary: PathBuf,
    /// An empty folder for ledgers
    #[arg(long, hide = true)]
    scratch: Option<PathBuf>,
    /// postgres://USER@ADDRESS:PORT
    #[arg(long, requires = "postgres_pid", hide = true)]
    postgres: Option<String>,
    /// Its main process
    #[arg(long, hide = true)]
    postgres_pid: Option<i32>,
    /// Cargo says that it wants a benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Engines {
    Sqlite,
    Postgres,
    Both,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if !arguments.bench {
        println!("nothing was measured: bench/run does that");
        return Ok(());
    }
    let temporary = tempfile::tempdir()?;
    let scratch = arguments.scratch.clone().unwrap_or_else(|| temporary.path().to_owned());
    let results = measure(&arguments, &scratch)?;
    write(&arguments, &results)
}

fn measure(arguments: &Arguments, scratch: &Path) -> Result<Results> {
    let machine = Machine::look(scratch)?;
    let bench = bench(arguments, scratch, machine.cores)?;
    let cases = cases(arguments.engine, scratch)?;
    if arguments.fairness {
        let fairness = fairness(&bench, &cases)?;
        let targets = targets::all(&[], &[], &fairness);
        return Ok(Results { fairness, targets, ..Results::none(machine, &bench) });
    }
    let (repetitions, slice, records) = if arguments.quick { (1, 100, 3_000) } else { (3, 250, 8_000) };
    let (mut floors, mut runs, mut writers) =
        (Vec::new(), vec![Vec::new(); cases.len()], vec![Vec::new(); cases.len()]);
    for number in 1..=repetitions {
        say(&format!("repetition {number} of {repetitions}: the floor"));
        floors.push(bench.floor.measure(Duration::from_millis(slice))?);
        for ((case, runs), writers) in cases.iter().zip(&mut runs).zip(&mut writers) {
            let name = format!("{}-{}-{number}", case.ca.as_str(), case.engine.as_str()).to_ascii_lowercase();
            say(&format!("repetition {number} of {repetitions}: {name}"));
            runs.push(bench.repetition(case, &name)?);
            if case.ca == CaKey::P256 {
                writers.push(bench.writers(case, &format!("{name}-writer"), records)?);
            }
        }
    }
    let floor = FloorRow::all(&floors);
    let cases_rows: Vec<CaseRow> =
        cases.iter().zip(&runs).map(|(case, runs)| CaseRow::new(case, runs, &floor)).collect();
    let measured = cases.iter().zip(&writers).filter(|(_, writers)| !writers.is_empty());
    let writers: Vec<WriterRow> =
        measured.map(|(case, writers)| WriterRow::new(case.engine, writers)).collect();
    let fairness = fairness(&bench, &cases)?;
    Ok(Results {
        version: env!("CARGO_PKG_VERSION"),
        machine,
        seconds_per_load: bench.window.as_secs_f64(),
        repetitions,
        floor,
        syncs: syncs(&bench, &cases)?,
        targets: targets::all(&cases_rows, &writers, &fairness),
        cases: cases_rows,
        writers,
        fairness,
    })
}

fn fairness(bench: &Bench, cases: &[Case]) -> Result<Vec<FairnessRow>> {
    let usual = cases.iter().filter(|case| case.ca == CaKey::P256);
    let of = |case: &Case| {
        say(&format!("one caller beside another, {}", case.engine.as_str()));
        bench.fairness(case, &format!("fairness-{}", case.engine.as_str()).to_ascii_lowercase())
    };
    usual.map(of).collect()
}

fn bench(arguments: &Arguments, scratch: &Path, cores: u32) -> Result<Bench> {
    let pid = arguments.postgres_pid.and_then(Pid::from_raw);
    let postgres = arguments.postgres.clone().zip(pid).map(|(url, pid)| Postgres { url, pid });
    if arguments.engine != Engines::Sqlite {
        postgres.as_ref().context("PostgreSQL is to be measured and --postgres does not say where it is")?;
    }
    Ok(Bench {
        folder: scratch.to_owned(),
        binary: arguments.binary.canonicalize().context("there is no release binary")?,
        postgres,
        csrs: material::csrs(if arguments.quick { 8_192 } else { 32_768 })?,
        cores,
        floor: Floor::new()?,
        window: Duration::from_secs(if arguments.quick { 1 } else { arguments.seconds.max(1) }),
    })
}

fn cases(engines: Engines, scratch: &Path) -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for ca in CaKey::ALL {
        let folder = scratch.join(format!("ca-{}", ca.as_str()));
        fs::create_dir(&folder)?;
        let files = ca.make(&folder)?;
        for (engine, wanted) in
            [(Engine::Sqlite, engines != Engines::Postgres), (Engine::Postgres, engines != Engines::Sqlite)]
        {
            if wanted {
                cases.push(Case { ca, files: files.clone(), engine });
            }
        }
    }
    Ok(cases)
}

fn syncs(bench: &Bench, cases: &[Case]) -> Result<Vec<SyncRow>> {
    let mut rows = Vec::new();
    for case in cases.iter().filter(|case| case.ca == CaKey::P256) {
        say(&format!("syncs of {}", case.engine.as_str()));
        let name = format!("syncs-{}", case.engine.as_str()).to_ascii_lowercase();
        for (clients, per_certificate) in CLIENTS.into_iter().zip(bench.syncs(case, &name)?) {
            let per_certificate = statistics::rounded(per_certificate, 3);
            rows.push(SyncRow { engine: case.engine, clients, per_certificate });
        }
    }
    Ok(rows)
}

fn write(arguments: &Arguments, results: &Results) -> Result<()> {
    let (tables, chart) = (table::render(results), chart::render(results));
    println!("{tables}");
    fs::create_dir_all(&arguments.out)?;
    fs::write(arguments.out.join("results.json"), serde_json::to_string_pretty(results)? + "\n")?;
    fs::write(arguments.out.join("results.md"), &tables)?;
    fs::write(arguments.out.join("chart.svg"), &chart)?;
    say(&format!("written: {0}/results.json, {0}/results.md, {0}/chart.svg", arguments.out.display()));
    if arguments.write_docs {
        write_docs(Path::new("docs/performance.md"), &tables)?;
        fs::write("docs/performance.svg", chart)?;
        say("written: docs/performance.md, docs/performance.svg");
    }
    Ok(())
}

/// Replaces what stands between the two marks.
fn write_docs(page: &Path, tables: &str) -> Result<()> {
    let text = fs::read_to_string(page).with_context(|| page.display().to_string())?;
    let (before, rest) = text.split_once(BEGIN).context("the page has no mark to write from")?;
    let (_, after) = rest.split_once(END).context("the page has no mark to write to")?;
    Ok(fs::write(page, format!("{before}{BEGIN}\n{tables}\n{END}{after}"))?)
}

fn say(text: &str) {
    eprintln!("bench: {text}");
}
