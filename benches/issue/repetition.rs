//! One service from its start to its end: every load, memory, bytes on disk, and the count of what
//! it recorded.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::client::{self, Load, Requests};
use crate::database::{Engine, Postgres};
use crate::floor::Floor;
use crate::machine;
use crate::material::{CaFiles, CaKey};
use crate::service::Service;
use crate::statistics::{micros_each, percentile, rate, ratio, share};

/// How many clients a closed loop has, one after the other.
pub const CLIENTS: [usize; 3] = [1, 16, 64];

/// How long each operation of the floor is timed beside each load.
const FLOOR: Duration = Duration::from_millis(100);

/// How many certificates at the least say what one takes on disk, if they come in time: of fewer,
/// pages that are not full yet weigh too much.
const FILL: usize = 3_000;

/// How many times half a window may be spent on it.
const FILLINGS: usize = 20;

/// What every repetition needs.
pub struct Bench {
    /// Where services get their folders.
    pub folder: PathBuf,
    /// The release binary.
    pub binary: PathBuf,
    pub postgres: Option<Postgres>,
    /// CSRs with keys of their own.
    pub csrs: Vec<Vec<u8>>,
    pub cores: u32,
    pub floor: Floor,
    /// How long each load is measured.
    pub window: Duration,
}

/// One combination that is measured.
#[derive(Clone, Debug)]
pub struct Case {
    pub ca: CaKey,
    pub files: CaFiles,
    pub engine: Engine,
}

/// What one load came to.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// Certificates a second.
    pub rate: f64,
    /// Latencies in milliseconds.
    pub p50: f64,
    pub p99: f64,
    pub p999: f64,
    /// CPU microseconds of the service for each certificate.
    pub cpu: f64,
    /// That over the floor just before and just after: other load on the machine changes both.
    pub times_floor: f64,
    /// The same of the database's own processes.
    pub database_cpu: f64,
    /// The part of all cores that the load client took, that the service and the database took, and
    /// that everything else on the machine took.
    pub client_share: f64,
    pub service_share: f64,
    pub others_share: f64,
}

/// What one repetition came to.
#[derive(Clone, Debug)]
pub struct Repetition {
    /// In the order of [`CLIENTS`].
    pub closed: Vec<Measured>,
    /// At half of the highest rate of `closed`.
    pub open: Measured,
    /// Resident memory before the first request, in KiB.
    pub idle_memory: u32,
    /// The most until the end, in KiB.
    pub peak_memory: u32,
    /// What the ledger grew by for each certificate.
    pub bytes: f64,
}

impl Bench {
    /// Runs `case` once, in a folder of its own named `name`.
    pub fn repetition(&self, case: &Case, name: &str) -> Result<Repetition> {
        let mut service = self.prepare(case, name)?;
        let requests = service.requests(&self.csrs);
        let (bytes, mut issued) = self.fill(&mut service, &requests)?;
        service.start()?;
        let idle_memory = service.memory()?.resident;
        let warm_up =
            client::run(Load::Closed { clients: 16 }, service.address(), &requests, self.window / 4)?;
        issued = issued.saturating_add(u32::try_from(warm_up.len())?);
        let mut closed = Vec::new();
        for clients in CLIENTS {
            let (measured, count) = self.measure(case, &service, &requests, Load::Closed { clients })?;
            closed.push(measured);
            issued = issued.saturating_add(count);
        }
        let most = closed.iter().map(|measured| measured.rate).fold(0.0, f64::max);
        let (open, count) = self.measure(case, &service, &requests, Load::Open { per_second: most / 2.0 })?;
        issued = issued.saturating_add(count);
        let peak_memory = service.memory()?.peak;
        service.stop()?;
        finish(&service, issued)?;
        Ok(Repetition { closed, open, idle_memory, peak_memory, bytes })
    }

    /// How often the ledger syncs for each certificate, by the number of clients. Apart from all
    /// other runs: watching costs.
    pub fn syncs(&self, case: &Case, name: &str) -> Result<Vec<f64>> {
        let count = |clients| self.syncs_with(case, clients, &format!("{name}-{clients}"));
        CLIENTS.into_iter().map(count).collect()
    }

    fn syncs_with(&self, case: &Case, clients: usize, name: &str) -> Result<f64> {
        let mut service = self.prepare(case, name)?;
        let trace = self.folder.join(format!("{name}.trace"));
        match case.engine {
            Engine::Sqlite => service.start_traced(&trace)?,
            Engine::Postgres => service.start()?,
        }
        let count = |service: &Service| match service.database.log_syncs()? {
            Some(count) => Ok(count),
            None => traced(&trace),
        };
        let before = count(&service)?;
        let requests = service.requests(&self.csrs);
        let time = self.window.min(Duration::from_secs(2));
        let issued = client::run(Load::Closed { clients }, service.address(), &requests, time)?.len();
        // SQLite syncs once more when it folds up its log; PostgreSQL tells only afterwards.
        let after = if case.engine == Engine::Sqlite { Some(count(&service)?) } else { None };
        service.stop()?;
        let syncs = after.map_or_else(|| count(&service), Ok)?.saturating_sub(before);
        let issued = u32::try_from(issued)?;
        finish(&service, issued)?;
        Ok(f64::from(u32::try_from(syncs)?) / f64::from(issued))
    }

    /// The first certificates of the ledger: what it grew by for each, and how many.
    fn fill(&self, service: &mut Service, requests: &Rc<Requests>) -> Result<(f64, u32)> {
        let before = service.database.bytes()?;
        service.start()?;
        let load = Load::Closed { clients: 64 };
        let mut issued = 0_usize;
        for _ in 0..FILLINGS {
            let taken = client::run(load, service.address(), requests, self.window / 2)?;
            issued = issued.saturating_add(taken.len());
            if issued >= FILL {
                break;
            }
        }
        // A key that comes again takes less.
        ensure!(issued <= requests.count(), "more keys are needed: --seconds is too much for this machine");
        // SQLite folds its log into the file only now.
        service.stop()?;
        let (grown, issued) = (service.database.bytes()?.saturating_sub(before), u32::try_from(issued)?);
        Ok((f64::from(u32::try_from(grown)?) / f64::from(issued), issued))
    }

    /// A service that is not started, in a folder of its own.
    pub fn prepare(&self, case: &Case, name: &str) -> Result<Service> {
        let postgres = self.postgres.as_ref().filter(|_| case.engine == Engine::Postgres);
        Service::prepare(&self.folder.join(name), &self.binary, &case.files, postgres)
    }

    fn measure(
        &self,
        case: &Case,
        service: &Service,
        requests: &Rc<Requests>,
        load: Load,
    ) -> Result<(Measured, u32)> {
        let spent = || {
            let others = machine::everybodys_cpu()?;
            anyhow::Ok([service.cpu()?, service.database.cpu()?, machine::own_cpu(), others])
        };
        let floor_before = self.floor.now(case.ca.floor(), FLOOR)?;
        let (before, began) = (spent()?, Instant::now());
        let mut taken = client::run(load, service.address(), requests, self.window)?;
        let (wall, after) = (began.elapsed(), spent()?);
        let floor = f64::midpoint(floor_before, self.floor.now(case.ca.floor(), FLOOR)?);
        let [cpu, database, client, everybody] = {
            let mut each = after.into_iter().zip(before).map(|(after, before)| after.saturating_sub(before));
            std::array::from_fn(|_| each.next().unwrap_or_default())
        };
        taken.sort_unstable();
        let count = u32::try_from(taken.len())?;
        let millis = |per_mille| percentile(&taken, per_mille).as_secs_f64() * 1e3;
        let ours = cpu.saturating_add(database).saturating_add(client);
        let part = |time| share(time, wall, self.cores);
        let measured = Measured {
            rate: rate(count, wall),
            p50: millis(500),
            p99: millis(990),
            p999: millis(999),
            cpu: micros_each(cpu, count),
            times_floor: ratio(micros_each(cpu, count), floor),
            database_cpu: micros_each(database, count),
            client_share: part(client),
            service_share: part(cpu.saturating_add(database)),
            others_share: part(everybody.saturating_sub(ours)),
        };
        Ok((measured, count))
    }
}

/// Every answer has its row, and there is no row without an answer.
fn finish(service: &Service, issued: u32) -> Result<()> {
    let recorded = service.database.certificates()?;
    ensure!(
        recorded == u64::from(issued),
        "{issued} certificates were received and {recorded} are in the ledger"
    );
    service.database.remove()
}

/// How many system calls that sync a file stand in a trace of strace.
fn traced(trace: &Path) -> Result<u64> {
    let text = std::fs::read_to_string(trace)?;
    // One that was interrupted by another thread's has a second line, without the bracket.
    let calls = text.lines().filter(|line| line.contains("sync(") || line.contains("sync_file_range("));
    Ok(u64::try_from(calls.count())?)
}
