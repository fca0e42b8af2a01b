//! The writer alone: certificates that were signed ahead go into the ledger, from 64 tasks, with one
//! row in a transaction and with as many as have queued.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use countersign::app::cluster::{Cluster, load_all};
use countersign::audit::{Origin, RequestId};
use countersign::caller::Caller;
use countersign::clock::Clock;
use countersign::config::Config;
use countersign::pki::csr::CertRequest;
use countersign::pki::name::ShortName;
use countersign::pki::serial::Serial;
use countersign::policy::{Ask, Clusters, Decision, PolicyFile, PolicySet};
use countersign::random;
use countersign::store::{Allowance, Issuance, Revisions, Store};

use crate::database::Database;
use crate::database::Engine;
use crate::machine::own_cpu;
use crate::repetition::{Bench, Case};
use crate::service::{POLICIES, configuration};
use crate::statistics::{micros_each, rate};

/// How many tasks record at the same time.
const TASKS: usize = 64;

/// How many records go into one transaction at most, as in the service.
const GROUP: usize = 256;

/// Both ways to record, each on an empty ledger.
#[derive(Clone, Copy, Debug)]
pub struct Writers {
    pub one_row: Writer,
    pub group: Writer,
}

/// One way to record.
#[derive(Clone, Copy, Debug)]
pub struct Writer {
    /// Records a second.
    pub rate: f64,
    /// CPU microseconds of recording one, without the database's own processes.
    pub record_cpu: f64,
    /// CPU microseconds of what came before: reading the CSR, deciding, signing, reading back.
    pub sign_cpu: f64,
}

impl Bench {
    /// Measures both, the slow one with a quarter of `count` records. `name` is for the folders.
    pub fn writers(&self, case: &Case, name: &str, count: usize) -> Result<Writers> {
        let one_row = self.writer(case, &format!("{name}-one"), count / 4, 1)?;
        let group = self.writer(case, &format!("{name}-group"), count, GROUP)?;
        Ok(Writers { one_row, group })
    }

    fn writer(&self, case: &Case, name: &str, count: usize, batch: usize) -> Result<Writer> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let folder = self.folder.join(name);
        std::fs::create_dir(&folder)?;
        let postgres = self.postgres.as_ref().filter(|_| case.engine == Engine::Postgres);
        let database = Database::make(postgres, &folder)?;
        let text = configuration(([127, 0, 0, 1], 0).into(), &database, &case.files);
        let signer = Signer::load(&text, &folder)?;
        let before = own_cpu();
        let records = signer.sign(&self.csrs, count)?;
        let sign_cpu = micros_each(own_cpu().saturating_sub(before), u32::try_from(count)?);
        let (rate, record_cpu) = runtime.block_on(async {
            let store = signer.open(batch).await?;
            let before = own_cpu();
            let rate = record(&store, records).await?;
            let record_cpu = micros_each(own_cpu().saturating_sub(before), u32::try_from(count)?);
            store.close().await;
            anyhow::Ok((rate, record_cpu))
        })?;
        ensure!(database.certificates()? == u64::try_from(count)?, "records are missing in {name}");
        database.remove()?;
        Ok(Writer { rate, record_cpu, sign_cpu })
    }
}

/// Decides and signs as the service does.
struct Signer {
    config: Config,
    cluster: Cluster,
    rules: Clusters,
    policies: PolicySet,
    caller: Caller,
}

impl Signer {
    fn load(configuration: &str, folder: &Path) -> Result<Self> {
        let config = Config::parse(configuration, [], folder).map_err(|error| anyhow!(error))?;
        let (clusters, rules) = load_all(config.clusters.clone())?;
        let (_, cluster) = clusters.into_iter().next().context("there is no cluster")?;
        let rows = PolicyFile::read(POLICIES.as_bytes()).map_err(|error| anyhow!(error))?.policies;
        let policies = PolicySet::compile(0, rows, &rules).map_err(|errors| anyhow!("{errors:?}"))?;
        let caller = Caller::token(&ShortName::parse("load")?);
        Ok(Self { config, cluster, rules, policies, caller })
    }

    /// An empty ledger that knows the CA.
    async fn open(&self, batch: usize) -> Result<Store> {
        let store = Store::open_with_batch(&self.config.store, batch).await?;
        let authority = &self.cluster.authority;
        let (key, certificate) = (authority.spki_sha256(), authority.certificate_der());
        store.register_authority(self.cluster.name.as_str(), key, certificate, Clock::System.now()).await?;
        Ok(store)
    }

    fn sign(&self, csrs: &[Vec<u8>], count: usize) -> Result<Vec<Issuance>> {
        csrs.iter().cycle().take(count).map(|csr| self.issuance(CertRequest::parse(csr)?)).collect()
    }

    fn issuance(&self, request: CertRequest) -> Result<Issuance> {
        let now = Clock::System.now();
        let ask = Ask { cluster: self.cluster.name.clone(), request, ttl: None, on_behalf_of: None };
        let decision = self.policies.decide(&self.rules, &self.caller, ask, now);
        let decision = decision.map_err(|refused| anyhow!("{:?}", refused.refusal))?;
        let Decision::Approved(approved) = decision else { bail!("it is held") };
        let signed = self.cluster.authority.sign(approved, Serial::from_random(random::octets()?))?;
        let origin = Origin {
            caller: self.caller.to_string(),
            caller_groups: Vec::new(),
            request_id: RequestId(random::octets()?),
            client_request_id: None,
            address: Some([127, 0, 0, 1].into()),
        };
        let seen = Revisions::default();
        Ok(Issuance {
            signed,
            at: now,
            origin,
            reason: None,
            allowance: Allowance::default(),
            seen,
            idempotency: None,
            renews: None,
            collects: None,
            proof: None,
        })
    }
}

/// Records all of `records`; how many a second.
async fn record(store: &Store, records: Vec<Issuance>) -> Result<f64> {
    let count = u32::try_from(records.len())?;
    let records = Arc::new(Mutex::new(records));
    let began = Instant::now();
    let mut tasks = Vec::new();
    for _ in 0..TASKS {
        let (store, records) = (store.clone(), Arc::clone(&records));
        tasks.push(tokio::spawn(async move {
            loop {
                let next = records.lock().unwrap_or_else(PoisonError::into_inner).pop();
                let Some(issuance) = next else { return anyhow::Ok(()) };
                let recorded = store.record(issuance).await;
                recorded.map_err(|error| anyhow!("{error:?}: is the machine too busy to measure?"))?;
            }
        }));
    }
    for task in tasks {
        task.await??;
    }
    Ok(rate(count, began.elapsed()))
}
