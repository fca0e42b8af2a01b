//! What the machine and the processes on it spend, from `/proc` and the CPU clocks.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::process::Pid;
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

use crate::statistics::{rounded, share};

/// What Linux counts CPU time of processes in; fixed for programs whatever the kernel's own is.
const TICK: Duration = Duration::from_millis(10);

/// What it was measured on.
#[derive(Debug, Serialize)]
pub struct Machine {
    pub processor: String,
    pub cores: u32,
    pub kernel: String,
    /// The file system that the ledgers are on.
    pub file_system: String,
    /// Load average of one, five and fifteen minutes when it began.
    pub load_average: String,
    /// How busy each core was in the second before, in percent. Not idle: others share the machine.
    pub cores_busy_percent: Vec<f64>,
}

impl Machine {
    /// Looks for a second. `folder` is where the ledgers will be.
    pub fn look(folder: &std::path::Path) -> Result<Self> {
        let before = cores_busy()?;
        let second = Duration::from_secs(1);
        std::thread::sleep(second);
        let percent = |(after, before): (Duration, Duration)| {
            rounded(100.0 * share(after.saturating_sub(before), second, 1), 0)
        };
        let after = cores_busy()?;
        let cores_busy_percent: Vec<f64> = after.into_iter().zip(before).map(percent).collect();
        Ok(Self {
            processor: processor()?,
            cores: u32::try_from(cores_busy_percent.len())?,
            kernel: version(&read("/proc/sys/kernel/osrelease")?).to_owned(),
            file_system: file_system(folder)?,
            load_average: read("/proc/loadavg")?.split(' ').take(3).collect::<Vec<_>>().join(" "),
            cores_busy_percent,
        })
    }
}

/// `6.1.0` of `6.1.0-50-amd64`.
fn version(release: &str) -> &str {
    release.trim().split('-').next().unwrap_or_default()
}

/// CPU time of this thread so far, to the nanosecond.
pub fn thread_cpu() -> Duration {
    clock(ClockId::ThreadCPUTime)
}

/// CPU time of all threads of this process so far.
pub fn own_cpu() -> Duration {
    clock(ClockId::ProcessCPUTime)
}

/// CPU time of another process so far, all threads, user and system, to ten milliseconds.
pub fn cpu(pid: Pid) -> Result<Duration> {
    Stat::read(pid.as_raw_nonzero().get())?.context("the process has ended").map(|stat| stat.cpu)
}

/// The same for a process and its children, those included that have ended.
pub fn family_cpu(parent: Pid) -> Result<Duration> {
    let parent = parent.as_raw_nonzero().get();
    let own = Stat::read(parent)?.context("the process has ended")?;
    let mut total = own.cpu.saturating_add(own.ended_children);
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        if let Some(stat) = Stat::read(pid)?.filter(|stat| stat.parent == parent) {
            total = total.saturating_add(stat.cpu);
        }
    }
    Ok(total)
}

/// CPU time that anybody spent on any core so far, time taken by other guests of the host included.
pub fn everybodys_cpu() -> Result<Duration> {
    Ok(cores_busy()?.into_iter().sum())
}

/// Resident memory of a process.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// Now, in KiB.
    pub resident: u32,
    /// The most so far, in KiB.
    pub peak: u32,
}

impl Memory {
    /// Of one process.
    pub fn of(pid: Pid) -> Result<Self> {
        let status = read(&format!("/proc/{}/status", pid.as_raw_nonzero()))?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
            number.with_context(|| format!("no {name} of process {pid}"))
        };
        Ok(Self { resident: field("VmRSS:")?, peak: field("VmHWM:")? })
    }
}

/// Some of `/proc/PID/stat`; see `man 5 proc_pid_stat`.
struct Stat {
    parent: i32,
    cpu: Duration,
    ended_children: Duration,
}

impl Stat {
    /// None for a process that is not there (any more).
    fn read(pid: i32) -> Result<Option<Self>> {
        let Ok(text) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return Ok(None) };
        // The name before the last bracket may hold anything.
        let (_, rest) = text.rsplit_once(") ").context("/proc/PID/stat has no name")?;
        let fields: Vec<&str> = rest.split(' ').collect();
        let field = |index: usize| fields.get(index).copied().context("/proc/PID/stat is too short");
        let ticks = |index: usize| anyhow::Ok(TICK.saturating_mul(field(index)?.parse()?));
        Ok(Some(Self {
            parent: field(1)?.parse()?,
            cpu: ticks(11)?.saturating_add(ticks(12)?),
            ended_children: ticks(13)?.saturating_add(ticks(14)?),
        }))
    }
}

/// How long each core was not idle so far; see `man 5 proc_stat`.
fn cores_busy() -> Result<Vec<Duration>> {
    let busy = |line: &str| {
        let fields = line.split_whitespace().skip(1).enumerate();
        // Without idle and waiting for disks; guests are in the first two already.
        let counted = fields.filter(|(index, _)| *index < 8 && !matches!(index, 3 | 4));
        let ticks: u32 = counted.filter_map(|(_, ticks)| ticks.parse::<u32>().ok()).sum();
        TICK.saturating_mul(ticks)
    };
    let text = read("/proc/stat")?;
    Ok(text.lines().filter(|line| line.starts_with("cpu") && !line.starts_with("cpu ")).map(busy).collect())
}

fn processor() -> Result<String> {
    let text = read("/proc/cpuinfo")?;
    let line = text.lines().find(|line| line.starts_with("model name"));
    Ok(line.and_then(|line| line.split_once(": ")).map_or("unknown", |(_, name)| name).to_owned())
}

fn file_system(folder: &std::path::Path) -> Result<String> {
    let output = std::process::Command::new("stat").args(["-f", "-c", "%T"]).arg(folder).output()?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn clock(id: ClockId) -> Duration {
    Duration::try_from(clock_gettime(id)).unwrap_or_default()
}

fn read(path: &str) -> Result<String> {
    fs::read_to_string(path).with_context(|| path.to_owned())
}
