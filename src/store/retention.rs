//! How long records are kept, and the deletion of those that were kept for long enough.
//!
//! Certificates and refusals go; their events stay, and so do the owners of keys. The database
//! itself refuses to delete anything earlier, by its own clock.

use std::collections::BTreeSet;

use serde_json::json;

use super::StoreError;
use super::cells::Cells;
use super::change::append_event;
use super::connection::Connection;
use super::state::State;
use super::statement::{Statement, chunks};
use crate::audit::{EventKind, Origin};
use crate::time::{Lifetime, Time};

/// The shortest retention: thirty days. What a stolen certificate was used for is often asked for
/// weeks later.
pub const LEAST_RETENTION: Lifetime = Lifetime::from_seconds(30 * 86_400);

/// How many records are looked at together, and deleted in one transaction at most.
const BATCH: u32 = 256;

/// How much longer records are kept than they must be, in seconds: this machine's clock and the
/// engine's may differ by that.
const CLOCK_SLACK: i64 = 60;

/// Which records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prunable {
    /// Once the retention has passed since their notAfter.
    Certificates,
    /// Once it has passed since their time.
    Refusals,
}

/// What one step found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// How many records were deleted, or would have been.
    pub count: u64,
    /// The last number that was looked at; none where there is nothing more to look at.
    pub reached: Option<i64>,
}

impl super::Store {
    /// How long records are kept. None: for ever.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`.
    pub async fn retention(&self) -> Result<Option<Lifetime>, StoreError> {
        self.view(|connection| Box::pin(load(connection))).await
    }

    /// Sets how long records are kept, with the event `retention.changed`. False where it was so.
    ///
    /// # Errors
    /// `Conflict` for less than [`LEAST_RETENTION`]; `Unavailable`, `Corrupt`.
    pub async fn set_retention(
        &self,
        keep: Option<Lifetime>,
        now: Time,
        origin: &Origin,
    ) -> Result<bool, StoreError> {
        if keep.is_some_and(|keep| keep < LEAST_RETENTION) {
            return Err(StoreError::Conflict(format!("records are kept for {LEAST_RETENTION} at least")));
        }
        if self.retention().await? == keep {
            return Ok(false);
        }
        let origin = origin.clone();
        self.change(move |connection| Box::pin(set(connection, keep, now, origin))).await
    }

    /// Looks at the next few records with numbers above `after` and deletes those that were kept
    /// for long enough, in one transaction with the event `ledger.pruned`, which names their
    /// numbers. Only counts where `origin` is none.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`; nothing of this step was deleted.
    pub async fn prune_some(
        &self,
        which: Prunable,
        after: i64,
        now: Time,
        origin: Option<&Origin>,
    ) -> Result<Pruned, StoreError> {
        let Some(keep) = self.retention().await? else { return Ok(Pruned::default()) };
        let horizon = now.before(i64::from(keep.seconds()).saturating_add(CLOCK_SLACK));
        let found = self.view(move |connection| Box::pin(due(connection, which, after, horizon)));
        let (due, reached) = found.await?;
        let count = match origin.cloned() {
            Some(origin) if !due.is_empty() => {
                self.change(move |connection| {
                    Box::pin(async move { delete(connection, which, due, keep, now, origin).await })
                })
                .await?
            }
            _ => u64::try_from(due.len()).unwrap_or(u64::MAX),
        };
        Ok(Pruned { count, reached })
    }
}

async fn load(connection: &mut Connection) -> Result<Option<Lifetime>, StoreError> {
    let row = Statement::new("SELECT id, seconds FROM retention").optional(connection).await?;
    row.map_or(Ok(None), |row| Cells::new(&row, "retention", "id").optional_lifetime("seconds"))
}

async fn set(
    connection: &mut Connection,
    keep: Option<Lifetime>,
    now: Time,
    origin: Origin,
) -> Result<bool, StoreError> {
    let mut state = State::lock(connection).await?;
    let before = load(connection).await?;
    if before == keep {
        return Ok(false);
    }
    let mut update = Statement::new("UPDATE retention SET seconds = ");
    update.bind(keep.map(|keep| i64::from(keep.seconds()))).push(" WHERE id = 1");
    if update.execute(&mut *connection).await? != 1 {
        return Err(StoreError::Corrupt("retention: its row is not there".to_owned()));
    }
    let detail = json!({ "before": before, "after": keep });
    append_event(connection, &mut state, now, EventKind::RetentionChanged, &origin, &detail).await?;
    state.save(connection).await?;
    Ok(true)
}

/// The numbers of those of the next records that are due, and how far was looked.
async fn due(
    connection: &mut Connection,
    which: Prunable,
    after: i64,
    horizon: Time,
) -> Result<(Vec<i64>, Option<i64>), StoreError> {
    let (table, text) = match which {
        Prunable::Certificates => ("certificates", CERTIFICATES),
        Prunable::Refusals => ("refusals", REFUSALS),
    };
    let mut select = Statement::new(text);
    select.bind(after).push(" ORDER BY r.number LIMIT ").bind(BATCH);
    let rows = select.all(connection).await?;
    let (mut due, mut reached) = (Vec::new(), None);
    for row in &rows {
        let cells = Cells::new(row, table, "number");
        let number = cells.integer("number")?;
        if cells.time("until")? < horizon {
            due.push(number);
        }
        reached = Some(number);
    }
    Ok((due, reached))
}

const CERTIFICATES: &str = "SELECT r.number, r.not_after AS until FROM certificates r WHERE r.number > ";

const REFUSALS: &str = "SELECT r.number, e.at AS until FROM refusals r \
     LEFT JOIN events e ON e.number = r.number WHERE r.number > ";

async fn delete(
    connection: &mut Connection,
    which: Prunable,
    due: Vec<i64>,
    keep: Lifetime,
    now: Time,
    origin: Origin,
) -> Result<u64, StoreError> {
    let mut state = State::lock(connection).await?;
    if load(connection).await? != Some(keep) {
        return Err(StoreError::Stale);
    }
    if which == Prunable::Certificates {
        delete_numbers(connection, "DELETE FROM idempotency_keys WHERE number IN (", &due).await?;
        keep_owners(connection, &due).await?;
    }
    let deleted = delete_numbers(connection, which.deletion(), &due).await?;
    if deleted.is_empty() {
        return Ok(0);
    }
    let count = deleted.len();
    let detail =
        json!({ "records": which.word(), "count": count, "numbers": ranges(deleted), "retention": keep });
    append_event(connection, &mut state, now, EventKind::LedgerPruned, &origin, &detail).await?;
    state.save(connection).await?;
    Ok(u64::try_from(count).unwrap_or(u64::MAX))
}

impl Prunable {
    fn word(self) -> &'static str {
        match self {
            Self::Certificates => "certificates",
            Self::Refusals => "refusals",
        }
    }

    fn deletion(self) -> &'static str {
        match self {
            Self::Certificates => "DELETE FROM certificates WHERE number IN (",
            Self::Refusals => "DELETE FROM refusals WHERE number IN (",
        }
    }
}

/// Notes whose the keys are of which these are the first certificates: they stay theirs.
async fn keep_owners(connection: &mut Connection, due: &[i64]) -> Result<(), StoreError> {
    for chunk in chunks(due) {
        let mut insert = Statement::new(
            "INSERT INTO key_owners (spki_sha256, user_name) SELECT spki_sha256, user_name FROM certificates \
             WHERE owns_key = 1 AND number IN (",
        );
        insert
            .list(chunk.iter().map(|number| (*number).into()))
            .push(") ON CONFLICT (spki_sha256) DO NOTHING");
        insert.execute(&mut *connection).await?;
    }
    Ok(())
}

/// Deletes the rows of these numbers and returns the numbers that were there.
async fn delete_numbers(
    connection: &mut Connection,
    text: &'static str,
    due: &[i64],
) -> Result<BTreeSet<i64>, StoreError> {
    let mut deleted = BTreeSet::new();
    for chunk in chunks(due) {
        let mut delete = Statement::new(text);
        delete.list(chunk.iter().map(|number| (*number).into())).push(") RETURNING number");
        for row in delete.all(&mut *connection).await? {
            deleted.insert(row.try_get("number")?);
        }
    }
    Ok(deleted)
}

/// `[[1, 4], [7, 7]]`: runs of numbers, the last one included.
fn ranges(numbers: BTreeSet<i64>) -> Vec<(i64, i64)> {
    let mut ranges: Vec<(i64, i64)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if last.saturating_add(1) == number => *last = number,
            _ => ranges.push((number, number)),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_told_in_runs() {
        assert_eq!(ranges(BTreeSet::from([1, 2, 3, 7, 9, 10])), [(1, 3), (7, 7), (9, 10)]);
        assert_eq!(ranges(BTreeSet::new()), []);
    }
}
