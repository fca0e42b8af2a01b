//! The audit log, with a word on whether the record of each event is there.

use serde_json::Value;

use super::Inspected;
use crate::audit::EventKind;
use crate::store::cells::Cells;
use crate::store::events::kind_number;
use crate::store::row::Row;
use crate::store::statement::Statement;
use crate::store::{Store, StoreError};
use crate::time::Time;

/// A row of `events`.
#[derive(Clone, Debug)]
pub struct StoredEvent {
    /// When.
    pub at: Time,
    /// What happened.
    pub kind: EventKind,
    /// Whether a certificate has its number.
    pub has_certificate: bool,
    /// Whether a refusal has its number.
    pub has_refusal: bool,
    /// The revision of the policy set that has its number.
    pub policy_revision: Option<i64>,
}

const SELECT: &str = "SELECT e.number, e.at, e.kind, e.caller_groups, e.detail, caller.name AS caller, \
     c.number AS certificate, r.number AS refusal, p.revision \
     FROM events e LEFT JOIN names caller ON caller.id = e.caller_id \
     LEFT JOIN certificates c ON c.number = e.number \
     LEFT JOIN refusals r ON r.number = e.number \
     LEFT JOIN policy_revisions p ON e.kind = 3 AND p.number = e.number WHERE e.number > ";

impl Store {
    /// The next events with numbers above `after`, up to `until`, ascending.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`.
    pub async fn inspect_events(
        &self,
        after: i64,
        until: i64,
        limit: u32,
    ) -> Result<Vec<Inspected<StoredEvent>>, StoreError> {
        let mut select = Statement::new(SELECT);
        select.bind(after).push(" AND e.number <= ").bind(until);
        select.push(" ORDER BY e.number LIMIT ").bind(limit);
        let rows = select.all(&self.connections().readers).await?;
        rows.iter().map(|row| Ok(Inspected { number: row.try_get("number")?, row: read(row) })).collect()
    }

    /// The numbers of every record that a `ledger.pruned` speaks of: ascending runs, the last
    /// number included, that may overlap.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`.
    pub async fn inspect_pruned(&self) -> Result<Vec<(i64, i64)>, StoreError> {
        let mut select = Statement::new("SELECT number, detail FROM events WHERE kind = ");
        select.bind(kind_number(EventKind::LedgerPruned)).push(" ORDER BY number");
        let mut runs: Vec<(i64, i64)> = Vec::new();
        for row in select.all(&self.connections().readers).await? {
            let cells = Cells::new(&row, "events", "number");
            let mut detail: Value = cells.json("detail")?;
            let numbers = detail.get_mut("numbers").map(Value::take).unwrap_or_default();
            let numbers: Vec<(i64, i64)> =
                serde_json::from_value(numbers).map_err(|error| cells.wrong("detail", &error.to_string()))?;
            runs.extend(numbers);
        }
        runs.sort_unstable();
        Ok(runs)
    }
}

fn read(row: &Row) -> Result<StoredEvent, StoreError> {
    let cells = Cells::new(row, "events", "number");
    let kind = cells.integer("kind")?;
    cells.text("caller")?;
    cells.optional_json::<Vec<String>>("caller_groups")?;
    cells.optional_json::<Value>("detail")?;
    Ok(StoredEvent {
        at: cells.time("at")?,
        kind: EventKind::ALL
            .into_iter()
            .find(|known| kind_number(*known) == kind)
            .ok_or_else(|| cells.wrong("kind", "is no kind of event"))?,
        has_certificate: cells.optional_integer("certificate")?.is_some(),
        has_refusal: cells.optional_integer("refusal")?.is_some(),
        policy_revision: cells.optional_integer("revision")?,
    })
}
