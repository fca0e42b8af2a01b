//! One transaction over a batch of issuances and refusals: what is checked, then what is written.

use std::collections::BTreeSet;
use std::time::Instant;

use serde_json::{Value, json};

use super::StoreError;
use super::certificates::{Issuance, PROOF};
use super::checks::{self, Checks};
use super::connection::{Connection, PATIENCE, Pool, is_busy, within};
use super::idempotency;
use super::insert::{
    CertificateInsert, EventInsert, InsertError, RefusalInsert, insert_certificates, insert_events,
    insert_refusals, insert_renewals,
};
use super::names::Names;
use super::refusals::RefusalToRecord;
use super::requests;
use super::state::State;
use crate::audit::{EventKind, Origin};
use crate::time::Time;

/// Something to record.
#[derive(Debug)]
pub(super) enum Work {
    Issuance(Box<Issuance>),
    Refusal(Box<RefusalToRecord>),
}

impl Work {
    pub(super) fn at(&self) -> Time {
        match self {
            Self::Issuance(issuance) => issuance.at,
            Self::Refusal(refusal) => refusal.at,
        }
    }

    pub(super) fn issuance(&self) -> Option<&Issuance> {
        match self {
            Self::Issuance(issuance) => Some(issuance),
            Self::Refusal(_) => None,
        }
    }

    fn kind(&self) -> EventKind {
        match self {
            Self::Issuance(_) => EventKind::CertificateIssued,
            Self::Refusal(_) => EventKind::RequestRefused,
        }
    }

    fn proof(&self) -> Option<&Value> {
        match self {
            Self::Issuance(issuance) => issuance.proof.as_ref(),
            Self::Refusal(refusal) => refusal.proof.as_ref(),
        }
    }

    fn origin(&self) -> &Origin {
        match self {
            Self::Issuance(issuance) => &issuance.origin,
            Self::Refusal(refusal) => &refusal.origin,
        }
    }
}

/// What became of one piece of work.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Durable, under this number.
    Recorded(i64),
    Stale,
    ClockBehind(Time),
    ClockOff(Time),
    KeyBlocked,
    KeyOwned,
    LimitReached,
    IdempotencyKeyTaken,
    RequestMoved,
    SerialTaken,
    Failed(StoreError),
}

/// Why a transaction over a batch was rolled back.
#[derive(Debug)]
pub(super) enum BatchError {
    /// It did not begin, did not end in time, or failed to commit. Another one would fare no
    /// better, and after a commit that broke off nobody knows whether it stands: what is in it must
    /// not be written again.
    Transaction(StoreError),
    /// Something in it was not taken.
    SerialTaken,
    Store(StoreError),
}

impl From<StoreError> for BatchError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Only a transaction that took too long comes this way; another one would too.
impl From<sqlx::Error> for BatchError {
    fn from(error: sqlx::Error) -> Self {
        Self::Transaction(error.into())
    }
}

impl From<InsertError> for BatchError {
    fn from(error: InsertError) -> Self {
        match error {
            InsertError::SerialTaken => Self::SerialTaken,
            InsertError::Store(error) => Self::Store(error),
        }
    }
}

/// Records all of `works` that pass their checks, in one transaction, and returns a verdict for
/// each, in order. Every `Recorded` is durable when this returns. `names` learns what was committed.
pub(super) async fn commit(
    writer: &Pool,
    names: &mut Names,
    works: &[&Work],
) -> Result<Vec<Verdict>, BatchError> {
    let mut connection = writer.acquire().await.map_err(|error| BatchError::Transaction(error.into()))?;
    let patience = connection.engine().patience();
    let result = within(patience, attempt(&mut connection, names, works)).await;
    if result.is_ok() {
        names.committed();
    } else {
        names.rolled_back();
        // A database error may have ended the transaction behind sqlx's back. A new connection
        // is the one state that is known.
        connection.close_on_drop();
    }
    result
}

async fn attempt(
    connection: &mut Connection,
    names: &mut Names,
    works: &[&Work],
) -> Result<Vec<Verdict>, BatchError> {
    let started = Instant::now();
    let begin = connection.engine().begin_write();
    while let Err(error) = connection.begin(begin).await {
        if !is_busy(&error) || started.elapsed() >= PATIENCE {
            return Err(BatchError::Transaction(error.into()));
        }
    }
    fill(connection, names, works).await
}

async fn fill(
    connection: &mut Connection,
    names: &mut Names,
    works: &[&Work],
) -> Result<Vec<Verdict>, BatchError> {
    let mut state = State::lock(connection).await?;
    let mut checks = Checks::load(connection, names, &state, works).await?;
    let verdicts: Vec<Verdict> = works.iter().map(|work| checks.verdict(names, &mut state, work)).collect();
    let recorded: Vec<(i64, &Work)> = verdicts
        .iter()
        .zip(works)
        .filter_map(|(verdict, work)| match verdict {
            Verdict::Recorded(number) => Some((*number, *work)),
            _ => None,
        })
        .collect();
    if recorded.is_empty() {
        connection.rollback().await.map_err(StoreError::from)?;
        return Ok(verdicts);
    }
    write(connection, names, &checks, &recorded).await?;
    for (number, work) in &recorded {
        if let Some(issuance) = work.issuance() {
            requests::collect(connection, &mut state, *number, issuance).await?;
        }
    }
    state.save(connection).await?;
    connection.commit().await.map_err(|error| BatchError::Transaction(error.into()))?;
    Ok(verdicts)
}

/// Writes what passed: events first, since the others refer to them.
async fn write(
    connection: &mut Connection,
    names: &mut Names,
    checks: &Checks,
    recorded: &[(i64, &Work)],
) -> Result<(), BatchError> {
    let mut certificates = Vec::new();
    let mut refusals = Vec::new();
    for (number, work) in recorded {
        match work {
            Work::Issuance(issuance) => {
                let authority_id = checks::authority(names, issuance)?;
                let owns_key = checks.owns_key(*number, issuance);
                certificates.push(CertificateInsert::new(*number, issuance, authority_id, owns_key));
            }
            Work::Refusal(refusal) => refusals.push(RefusalInsert::new(*number, refusal)),
        }
    }
    store_names(connection, names, &certificates, &refusals).await?;
    let events = recorded
        .iter()
        .map(|(number, work)| {
            let caller_id = names.name(&work.origin().caller)?;
            let event = EventInsert::new(*number, work.at(), work.kind(), caller_id, work.origin());
            Ok(match work.proof() {
                None => event,
                Some(proof) => event.with_detail(&json!({ PROOF: proof })),
            })
        })
        .collect::<Result<Vec<_>, StoreError>>()?;
    insert_events(connection, &events).await?;
    insert_certificates(connection, &certificates, names).await?;
    insert_refusals(connection, &refusals, names).await?;
    let issued = || recorded.iter().filter_map(|(number, work)| Some((*number, work.issuance()?)));
    insert_renewals(connection, issued()).await?;
    idempotency::store(connection, names, issued()).await?;
    Ok(())
}

async fn store_names(
    connection: &mut Connection,
    names: &mut Names,
    certificates: &[CertificateInsert<'_>],
    refusals: &[RefusalInsert<'_>],
) -> Result<(), StoreError> {
    let mut words: BTreeSet<&str> = certificates.iter().flat_map(CertificateInsert::names).collect();
    words.extend(refusals.iter().flat_map(RefusalInsert::names));
    let mut lists: BTreeSet<&str> = BTreeSet::new();
    for row in certificates {
        lists.extend([row.groups.as_str(), row.policies.as_str()]);
    }
    for row in refusals {
        lists.extend([row.groups.as_str(), row.policies.as_str()]);
    }
    names.store(connection, words, lists).await
}
