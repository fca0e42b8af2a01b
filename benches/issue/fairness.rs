//! One caller at full speed, and another beside it: how much longer the other one waits.

use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::client::{self, Load, Requests};
use crate::database::Engine;
use crate::repetition::{Bench, Case};
use crate::service::Service;
use crate::statistics::{median, percentile, ratio, rounded};

/// How many clients the one at full speed has.
const FULL_SPEED: usize = 64;
/// How often the two are compared.
const RUNS: usize = 5;
/// The other one asks again as soon as it is answered, with so many clients.
const OTHER: Load = Load::Closed { clients: 4 };

/// What it came to on one engine: medians over the runs.
#[derive(Debug, Serialize)]
pub struct FairnessRow {
    pub engine: Engine,
    /// The 99th percentile of the other caller, by itself and beside the one at full speed.
    pub alone_p99_ms: f64,
    pub beside_p99_ms: f64,
    /// Of the two in one run.
    pub times: f64,
    /// What the one at full speed got meanwhile, certificates a second, and the other one.
    pub full_speed_per_second: f64,
    pub other_per_second: f64,
}

/// One run.
struct Compared {
    alone: f64,
    beside: f64,
    full_speed: f64,
    other: f64,
}

impl Bench {
    /// Compares on one service, in a folder of its own named `name`.
    pub fn fairness(&self, case: &Case, name: &str) -> Result<FairnessRow> {
        let mut service = self.prepare(case, name)?;
        let token = service.other_token()?;
        service.start()?;
        let half = self.csrs.len() / 2;
        let (own, others) = self.csrs.split_at_checked(half).context("CSRs")?;
        let full_speed = service.written(service.token(), own);
        let other = Requests::new(service.written(&token, others));
        let mut runs = Vec::new();
        // Warm, as it is later.
        client::run(
            Load::Closed { clients: FULL_SPEED },
            service.address(),
            &Requests::new(full_speed.clone()),
            self.window / 4,
        )?;
        for _ in 0..RUNS {
            runs.push(self.compare(&service, &full_speed, &other)?);
        }
        service.stop()?;
        service.database.remove()?;
        let middle = |field: fn(&Compared) -> f64, digits| {
            rounded(median(&runs.iter().map(field).collect::<Vec<_>>()), digits)
        };
        Ok(FairnessRow {
            engine: case.engine,
            alone_p99_ms: middle(|run| run.alone, 2),
            beside_p99_ms: middle(|run| run.beside, 2),
            times: middle(|run| ratio(run.beside, run.alone), 2),
            full_speed_per_second: middle(|run| run.full_speed, 0),
            other_per_second: middle(|run| run.other, 0),
        })
    }

    fn compare(&self, service: &Service, full_speed: &[Vec<u8>], other: &Rc<Requests>) -> Result<Compared> {
        let address = service.address();
        let alone = client::run(OTHER, address, other, self.window)?;
        let (requests, window) = (full_speed.to_vec(), self.window);
        // A little longer on both sides, so that the other one is never alone.
        let margin = window / 10;
        let beside = std::thread::spawn(move || {
            let load = Load::Closed { clients: FULL_SPEED };
            client::run(load, address, &Requests::new(requests), window + 2 * margin)
        });
        std::thread::sleep(margin);
        let with = client::run(OTHER, address, other, window)?;
        let crowd = beside.join().map_err(|_| anyhow::anyhow!("the load broke off"))??;
        Ok(Compared {
            alone: p99(alone),
            beside: p99(with.clone()),
            full_speed: per_second(crowd.len(), window + 2 * margin)?,
            other: per_second(with.len(), window)?,
        })
    }
}

/// In milliseconds.
fn p99(mut taken: Vec<Duration>) -> f64 {
    taken.sort_unstable();
    percentile(&taken, 990).as_secs_f64() * 1e3
}

fn per_second(count: usize, time: Duration) -> Result<f64> {
    Ok(crate::statistics::rate(u32::try_from(count)?, time))
}
