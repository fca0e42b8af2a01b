//! What deciding costs, by how many rows there are and by what they look like: `bench/deciding`.

mod report;
mod shapes;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use countersign::caller::Caller;
use countersign::pki::key::KeyKind;
use countersign::pki::name::{Name, ShortName};
use countersign::policy::{ClusterRules, Clusters, PolicyRow, PolicySet, Question};
use countersign::time::{Lifetime, Time};
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

use shapes::{EVERYTHING, SHAPES, Shape};

/// How many groups a request asks for.
pub const GROUPS: usize = 40;
/// How many rows there are.
const SIZES: [usize; 3] = [10, 1_000, 100_000];
/// What a decision among a thousand rows takes at most, in microseconds.
pub const TARGET: f64 = 20.0;
const TARGET_ROWS: usize = 1_000;
/// How many batches are measured; the median of them is told.
const BATCHES: usize = 15;
const NOW: Time = Time::from_unix(1_800_000_000);

const BEGIN: &str = "<!-- bench/deciding --write-docs writes from here -->\n";
const END: &str = "<!-- bench/deciding writes to here -->\n";

/// Measures what deciding costs.
#[derive(Debug, Parser)]
struct Arguments {
    /// Only shapes whose name contains this
    #[arg(long, default_value = "")]
    only: String,
    /// How long each batch takes, in milliseconds
    #[arg(long, default_value_t = 20)]
    batch: u64,
    /// Where deciding.json and deciding.md go
    #[arg(long, default_value = "target/bench")]
    out: PathBuf,
    /// Also write docs/performance.md
    #[arg(long)]
    write_docs: bool,
    /// Given by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

/// One shape at one size.
#[derive(Debug, Serialize)]
pub struct Measured {
    pub shape: &'static str,
    pub rows: usize,
    pub compile_ms: f64,
    /// CPU of one decision that allows all of it, in microseconds.
    pub allowed_us: f64,
    /// The same with one group that nothing gives, or that is denied.
    pub refused_us: f64,
    /// And with the words of the refusal: every claim, and what comes nearest.
    pub told_us: f64,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if cfg!(debug_assertions) {
        eprintln!("bench: this is no release build");
    }
    let mut all = Vec::new();
    for shape in SHAPES.iter().filter(|shape| shape.name.contains(&arguments.only)) {
        for rows in SIZES {
            let measured = measure(shape, rows, Duration::from_millis(arguments.batch))?;
            eprintln!("{}, {rows} rows: {:.1} µs", shape.name, measured.allowed_us);
            all.push(measured);
        }
    }
    let text = report::render(&all);
    println!("{text}");
    std::fs::create_dir_all(&arguments.out)?;
    std::fs::write(arguments.out.join("deciding.md"), &text)?;
    std::fs::write(arguments.out.join("deciding.json"), serde_json::to_vec_pretty(&all)?)?;
    if arguments.write_docs {
        write_docs(&text)?;
    }
    let held = all.iter().filter(|one| one.rows == TARGET_ROWS && one.shape != EVERYTHING);
    let slow: Vec<&str> =
        held.filter(|one| one.allowed_us.max(one.refused_us) > TARGET).map(|one| one.shape).collect();
    ensure!(slow.is_empty(), "more than {TARGET} µs with {TARGET_ROWS} rows: {}", slow.join("; "));
    Ok(())
}

fn measure(shape: &Shape, size: usize, batch: Duration) -> Result<Measured> {
    let clusters = Clusters { rules: vec![prod()?] };
    let rows: Vec<PolicyRow> = (0..size)
        .map(|place| Ok(serde_json::from_value((shape.row)(place, size))?))
        .collect::<Result<_>>()?;
    let start = Instant::now();
    let set = PolicySet::compile(1, rows, &clusters).map_err(|errors| anyhow::anyhow!("{errors:?}"))?;
    let compile_ms = start.elapsed().as_secs_f64() * 1_000.0;
    let caller = Caller::token(&ShortName::parse("portal")?);
    let (cluster, user) = (ShortName::parse("prod")?, Name::parse("portal")?);
    let names = |texts: Vec<String>| -> Result<Vec<Name>> {
        texts.iter().map(|text| Name::parse(text).context("a name")).collect()
    };
    let given = names((0..GROUPS).map(|place| shapes::group(place, size)).collect())?;
    let mut refused = given.clone();
    refused.pop();
    refused.push(Name::parse(shape.refused)?);
    let question = |groups| Question {
        cluster: &cluster,
        user: &user,
        groups,
        key: KeyKind::P256,
        ttl: Some(Lifetime::from_seconds(3_600)),
        on_behalf_of: None,
    };
    let (allowed, refused) = (question(given.as_slice()), question(refused.as_slice()));
    let allows = |question| set.allows(&clusters, &caller, question, NOW);
    ensure!(allows(allowed) && !allows(refused), "{}: the requests are not what they are for", shape.name);
    Ok(Measured {
        shape: shape.name,
        rows: size,
        compile_ms,
        allowed_us: micros(batch, || allows(allowed)),
        refused_us: micros(batch, || allows(refused)),
        told_us: micros(batch, || set.would(&clusters, &caller, refused, NOW)),
    })
}

/// CPU of this thread for one run, in microseconds: the median over batches.
fn micros<T>(batch: Duration, run: impl Fn() -> T) -> f64 {
    let mut each: Vec<f64> = (0..BATCHES).map(|_| one_batch(batch, &run)).collect();
    each.sort_by(f64::total_cmp);
    each.get(BATCHES / 2).copied().unwrap_or_default()
}

fn one_batch<T>(batch: Duration, run: &impl Fn() -> T) -> f64 {
    let (start, mut runs) = (thread_cpu(), 0_u32);
    loop {
        std::hint::black_box(run());
        runs = runs.saturating_add(1);
        let taken = thread_cpu().saturating_sub(start);
        if runs.is_multiple_of(8) && taken >= batch {
            return taken.as_secs_f64() * 1e6 / f64::from(runs);
        }
    }
}

fn thread_cpu() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

fn prod() -> Result<ClusterRules> {
    Ok(ClusterRules {
        name: ShortName::parse("prod")?,
        default_ttl: Lifetime::from_seconds(8 * 3_600),
        max_ttl: Lifetime::from_seconds(24 * 3_600),
        reserved: vec!["corp:".to_owned(), "root".to_owned()],
        node_identities: false,
        trust_group: None,
        ca_not_before: NOW.before(1_000),
        ca_not_after: NOW.after(Lifetime::MOST),
        ca_keys: Vec::new(),
    })
}

fn write_docs(text: &str) -> Result<()> {
    let path = "docs/performance.md";
    let page = std::fs::read_to_string(path).context(path)?;
    let (before, rest) = page.split_once(BEGIN).context("the page has no place for these tables")?;
    let (_, after) = rest.split_once(END).context("the place for these tables has no end")?;
    std::fs::write(path, format!("{before}{BEGIN}\n{text}\n{END}{after}")).context(path)
}
