//! How the ledger is read: a generated one of a million certificates, the release binary on it, and
//! every filter beside the same statement in the database's own client. `bench/reading` builds what
//! is needed and starts this.
//!
//! - [`shape`], [`load`]: what the ledger looks like, and how it is filled.
//! - [`cases`], [`pages`]: what is asked, and how long it takes beside [`prompt`], the client.
//! - [`exports`], [`plans`], [`sizes`], [`report`]: whole streams, every decision taken again, octets on
//!   disk, and the tables.

#[path = "../issue/client.rs"]
#[expect(dead_code, reason = "shared with the other benchmark, which needs all of it")]
mod client;
#[path = "../issue/database.rs"]
#[expect(dead_code, reason = "shared with the other benchmark, which needs all of it")]
mod database;
#[path = "../issue/machine.rs"]
#[expect(dead_code, reason = "shared with the other benchmark, which needs all of it")]
mod machine;
#[path = "../issue/material.rs"]
#[expect(dead_code, reason = "shared with the other benchmark, which needs all of it")]
mod material;
#[path = "../issue/service.rs"]
#[expect(dead_code, reason = "shared with the other benchmark, which needs all of it")]
mod service;
#[path = "../issue/statistics.rs"]
#[expect(dead_code, reason = "shared with the other benchmark, which needs all of it")]
mod statistics;

mod cases;
mod exports;
mod http;
mod load;
mod pages;
mod plans;
mod prompt;
mod report;
mod shape;
mod sizes;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use clap::{Parser, ValueEnum};
use countersign::store::{Store, StoreSettings};
use countersign::time::Time;
use rustix::process::Pid;

use database::{Database, Engine, Postgres};
use http::{Client, target};
use machine::Machine;
use material::CaKey;
use pages::{PageRow, Pages};
use prompt::Prompt;
use report::{OtherRow, Results};
use service::Service;
use statistics::{percentile, rounded};

/// Where the tables go in `docs/performance.md`.
const BEGIN: &str = "<!-- bench/reading --write-docs writes from here -->\n";
const END: &str = "<!-- bench/reading writes to here -->\n";

/// How often all pages are measured, one after the other: on a shared machine everything can take twice as long
/// for a minute.
const ROUNDS: usize = 3;

#[derive(Parser)]
#[command(name = "bench/reading", about = "Measures how the ledger is read")]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
struct Arguments {
    /// How many certificates the ledger holds
    #[arg(long, default_value_t = 1_000_000)]
    rows: u64,
    /// Where the ledger is
    #[arg(long, default_value = "both")]
    engine: Engines,
    /// How often each page is asked for, in each of three rounds
    #[arg(long, default_value_t = 20)]
    repetitions: u32,
    /// Only the cases whose list or filters contain this
    #[arg(long)]
    only: Option<String>,
    /// No exports
    #[arg(long)]
    no_exports: bool,
    /// No plan over the whole ledger
    #[arg(long)]
    no_plan: bool,
    /// Where reading.md and reading.json go
    #[arg(long, default_value = "target/bench")]
    out: PathBuf,
    /// Put the tables into docs/performance.md
    #[arg(long)]
    write_docs: bool,
    /// The release binary
    #[arg(long, default_value = env!("CARGO_BIN_EXE_countersign"), hide = true)]
    binary: PathBuf,
    /// An empty folder for ledgers
    #[arg(long, hide = true)]
    scratch: Option<PathBuf>,
    /// postgres://USER@ADDRESS:PORT
    #[arg(long, hide = true)]
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
        println!("nothing was measured: bench/reading does that");
        return Ok(());
    }
    let temporary = tempfile::tempdir()?;
    let scratch = arguments.scratch.clone().unwrap_or_else(|| temporary.path().to_owned());
    let machine = Machine::look(&scratch)?;
    let mut tables = format!(
        "Countersign {} on {} ({} cores), Linux {}, ledgers on {}. Load average before the run: {}.\n\n",
        env!("CARGO_PKG_VERSION"),
        machine.processor,
        machine.cores,
        machine.kernel,
        machine.file_system,
        machine.load_average
    );
    let mut all = Vec::new();
    if arguments.engine != Engines::Postgres {
        all.push(measure(&arguments, &scratch.join("sqlite"), None)?);
    }
    if arguments.engine != Engines::Sqlite {
        let pid = arguments.postgres_pid.and_then(Pid::from_raw);
        let postgres = arguments.postgres.clone().zip(pid).map(|(url, pid)| Postgres { url, pid });
        let postgres = postgres.context("--postgres does not say where PostgreSQL is")?;
        all.push(measure(&arguments, &scratch.join("reading"), Some(&postgres))?);
    }
    tables.push_str(&all.iter().map(report::render).collect::<Vec<_>>().join("\n"));
    println!("{tables}");
    fs::create_dir_all(&arguments.out)?;
    fs::write(arguments.out.join("reading.json"), serde_json::to_string_pretty(&all)? + "\n")?;
    fs::write(arguments.out.join("reading.md"), &tables)?;
    if arguments.write_docs {
        write_docs(Path::new("docs/performance.md"), &tables)?;
    }
    Ok(())
}

fn measure(arguments: &Arguments, folder: &Path, postgres: Option<&Postgres>) -> Result<Results> {
    let engine = if postgres.is_some() { Engine::Postgres } else { Engine::Sqlite };
    let name = engine.as_str();
    let ca = folder.with_extension("ca");
    fs::create_dir(&ca)?;
    let binary = arguments.binary.canonicalize().context("there is no release binary")?;
    let mut service = Service::prepare(folder, &binary, &CaKey::P256.make(&ca)?, postgres)?;
    let configuration = folder.join("countersign.toml");
    let mut create = Command::new(&binary);
    create.arg("--config").arg(&configuration).args(["token", "create", "reader", "--role", "auditor"]);
    let token = database::run(&mut create)?;
    // One real certificate, so that there is its CA, and something to make others like.
    service.start()?;
    let requests = service.requests(&material::csrs(1)?);
    let load = client::Load::Closed { clients: 1 };
    client::run(load, service.address(), &requests, Duration::from_millis(1))?;
    service.stop()?;

    let now = load::now()?;
    say(&format!("{name}: filling the ledger"));
    let began = Instant::now();
    let mut prompt = Prompt::open(&service.database)?;
    let signed = load::fill(&service.database, &mut prompt, arguments.rows, now)?;
    drop(prompt);
    let load_seconds = began.elapsed().as_secs_f64();
    say(&format!("{name}: filled in {load_seconds:.0} s"));
    let mut prompt = Prompt::open(&service.database)?;
    let certificates = prompt.number("SELECT count(*) FROM certificates")?;
    let sizes = sizes::all(&mut prompt, engine, certificates)?;
    drop(prompt);

    let began = Instant::now();
    service.start()?;
    let start_ms = began.elapsed().as_secs_f64() * 1_000.0;
    let mut prompt = Prompt::open(&service.database)?;
    prompt.quoted(engine)?;
    let mut client = Client::connect(service.address(), &token)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let store = runtime.block_on(Store::open(&settings(&service.database)?))?;
    let mut measured = Pages {
        engine,
        store: &store,
        client: &mut client,
        prompt: &mut prompt,
        repetitions: arguments.repetitions,
    };
    let mut cases = cases::all(shape::records(arguments.rows), now, &signed)?;
    cases.retain(|case| arguments.only.as_ref().is_none_or(|only| case.words().contains(only)));
    let mut rounds = vec![Vec::new(); cases.len()];
    for _ in 0..ROUNDS {
        for (case, rounds) in cases.iter().zip(&mut rounds) {
            rounds.push(runtime.block_on(measured.measure(case)).with_context(|| case.words())?);
        }
    }
    let pages: Vec<PageRow> = rounds.iter().flat_map(|rounds| pages::middle(rounds)).collect();
    for row in pages.iter().filter(|row| !row.good || row.plan.is_some()) {
        say(&format!("{name}: missed: {row:?}"));
    }
    let others =
        if arguments.only.is_none() { others(&mut client, now, arguments.repetitions)? } else { Vec::new() };
    let mut exported = Vec::new();
    if !arguments.no_exports {
        for format in ["ndjson", "csv"] {
            let target = format!("/v1/certificates?format={format}");
            let pid = server(&service.database, folder, &binary)?;
            exported.push(exports::served(&mut client, pid, &target, certificates)?);
        }
        exported.push(exports::told(&binary, &configuration, "csv", certificates)?);
    }
    let mut plans = Vec::new();
    if !arguments.no_plan {
        let records = shape::records(arguments.rows);
        plans.push(plans::measure(&binary, folder, &service.database.setting(), records)?);
    }
    runtime.block_on(store.close());
    drop(prompt);
    service.stop()?;
    service.database.remove()?;
    Ok(Results {
        engine,
        certificates,
        load_seconds,
        start_ms,
        repetitions: arguments.repetitions,
        pages,
        others,
        exports: exported,
        plans,
        sizes,
    })
}

/// The process that serves: the one that listens under this configuration.
fn server(_: &Database, folder: &Path, binary: &Path) -> Result<Pid> {
    let wanted = folder.join("countersign.toml");
    for entry in fs::read_dir("/proc")? {
        let path = entry?.path();
        let Ok(line) = fs::read(path.join("cmdline")) else { continue };
        let words: Vec<&[u8]> = line.split(|octet| *octet == 0).collect();
        let is = |word: &Path| words.contains(&word.as_os_str().as_encoded_bytes());
        if is(&wanted) && is(binary) && words.contains(&b"serve".as_slice()) {
            let pid = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
            return pid.and_then(Pid::from_raw).context("no process id");
        }
    }
    anyhow::bail!("the service does not run")
}

fn settings(database: &Database) -> Result<StoreSettings> {
    StoreSettings::parse(&database.setting(), None, Path::new("/")).map_err(anyhow::Error::msg)
}

fn others(client: &mut Client, now: u64, repetitions: u32) -> Result<Vec<OtherRow>> {
    let back = |days: u64| -> Result<String> {
        Ok(Time::from_unix(i64::try_from(now.saturating_sub(days * 86_400))?).to_string())
    };
    let (after, before, busy, group) = (back(120)?, back(90)?, load::user(0), load::group(0));
    let mut asked = vec![format!("/v1/users/{busy}"), format!("/v1/users/{}", load::user(shape::RARE_USER))];
    for by in ["day", "expiry_day", "cluster", "group", "caller", "policy", "outcome"] {
        asked.push(target("/v1/stats", [("by", by)]));
    }
    asked.push(target("/v1/stats", [("by", "day"), ("user", &busy)]));
    asked.push(target("/v1/stats", [("by", "day"), ("after", &after), ("before", &before)]));
    asked.push(target(
        "/v1/stats",
        [("by", "cluster"), ("group", &group), ("after", &after), ("before", &before)],
    ));
    let mut rows = Vec::new();
    for target in asked {
        let mut times = Vec::new();
        let began = Instant::now();
        while times.len() < usize::try_from(repetitions)?
            && (times.len() < 3 || began.elapsed().as_secs() < 10)
        {
            times.push(client.get(&target)?.1);
        }
        times.sort_unstable();
        let ms = |per_mille| rounded(percentile(&times, per_mille).as_secs_f64() * 1_000.0, 1);
        rows.push(OtherRow { what: target, p50_ms: ms(500), p99_ms: ms(990) });
    }
    Ok(rows)
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
