//! `countersign policy plan` over the whole ledger: every decision taken again.

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rustix::process::Pid;
use serde::Serialize;
use serde_json::Value;

use crate::load::cluster;
use crate::machine::Memory;
use crate::shape::CLUSTERS;
use crate::statistics::rounded;

/// How often memory is looked at.
const BETWEEN: Duration = Duration::from_millis(20);

/// Rows beside those that decide, which a decision has to tell apart.
const OTHER_ROWS: u32 = 1_000;

/// One plan.
#[derive(Clone, Debug, Serialize)]
pub struct PlanRow {
    pub decisions: u64,
    pub distinct: u64,
    pub flips: u64,
    pub live: u64,
    pub lost: u64,
    pub seconds: f64,
    pub decisions_per_second: f64,
    pub peak_mb: f64,
}

/// Replays `records` decisions under a set of a thousand rows that takes one team away from people.
/// `setting` names the database; no file of the configuration is read but that.
pub fn measure(binary: &Path, folder: &Path, setting: &str, records: u64) -> Result<PlanRow> {
    let configuration = folder.join("plan.toml");
    fs::write(&configuration, every_cluster(setting))?;
    let policies = folder.join("plan.yaml");
    fs::write(&policies, set())?;
    let mut command = Command::new(binary);
    command.arg("--config").arg(&configuration).args(["policy", "plan", "-o", "json", "-f"]).arg(&policies);
    command.args(["--replay", &records.to_string()]).stdin(Stdio::null()).stdout(Stdio::piped());
    let began = Instant::now();
    let mut process = command.spawn()?;
    let pid = i32::try_from(process.id()).ok().and_then(Pid::from_raw).context("no process id")?;
    let mut output = process.stdout.take().context("no output")?;
    let reading = std::thread::spawn(move || {
        let mut text = String::new();
        output.read_to_string(&mut text).map(|_| text)
    });
    let mut peak = 0;
    while process.try_wait()?.is_none() {
        peak = Memory::of(pid).map_or(peak, |memory| memory.peak.max(peak));
        std::thread::sleep(BETWEEN);
    }
    let seconds = began.elapsed().as_secs_f64();
    ensure!(process.wait()?.success(), "{command:?} failed");
    let text = reading.join().ok().context("the output was not read")??;
    let plan: Value = serde_json::from_str(&text)?;
    let number = |path: &str| plan.pointer(path).and_then(Value::as_u64).with_context(|| path.to_owned());
    let decisions = number("/replay/decisions")?;
    Ok(PlanRow {
        decisions,
        distinct: number("/replay/distinct")?,
        flips: number("/replay/flips")?,
        live: number("/certificates/live")?,
        lost: number("/certificates/no_longer_allowed")?,
        seconds: rounded(seconds, 1),
        decisions_per_second: rounded(f64::from(u32::try_from(decisions)?) / seconds, 0),
        peak_mb: rounded(f64::from(peak) * 1_024.0 / 1_000_000.0, 1),
    })
}

/// The generated ledger's clusters, on the same database.
fn every_cluster(setting: &str) -> String {
    let one = |number| {
        format!(
            "\n[[clusters]]\nname = \"{}\"\nserver = \"https://bench.example:6443\"\nserver_ca = \"none\"\n\
             client_ca = \"none\"\nclient_ca_key = \"none\"\nmax_ttl = \"365d\"\n",
            cluster(number)
        )
    };
    format!("database = \"{setting}\"\n{}", (0..CLUSTERS).map(one).collect::<String>())
}

fn set() -> String {
    let allow = "effect: allow, clusters: [\"*\"], users: [\"user-*\"], groups: [\"team-*\"]";
    let mut rows = vec![
        format!("{{ name: portals, {allow}, callers: [\"token:portal-*\"], on_behalf_of: [\"*\"] }}"),
        format!("{{ name: unnamed, {allow}, callers: [\"token:portal-*\"] }}"),
        format!("{{ name: people, {allow}, callers: [\"oidc:corp:*\"] }}"),
        "{ name: no-team-07, effect: deny, clusters: [\"*\"], callers: [\"oidc:corp:*\"], users: [\"*\"], groups: [team-07] }"
            .to_owned(),
    ];
    rows.extend((0..OTHER_ROWS).map(|number| {
        let callers = format!("callers: [\"oidc:corp:person-{:03}\"]", number % 300);
        let names = format!("users: [\"robot-{number}\"], groups: [\"robots-{number}\"]");
        format!("{{ name: robot-{number}, effect: allow, clusters: [\"*\"], {callers}, {names} }}")
    }));
    format!("policies:\n  - {}\n", rows.join("\n  - "))
}
