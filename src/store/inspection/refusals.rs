//! Refusals, with everything elsewhere that has to agree with them.

use super::certificates::event;
use super::{EventOfRecord, Inspected};
use crate::store::cells::Cells;
use crate::store::row::Row;
use crate::store::statement::Statement;
use crate::store::{Store, StoreError};

/// A row of `refusals`, and what stands beside it.
#[derive(Clone, Debug)]
pub struct StoredRefusal {
    /// The number of its caller's name.
    pub caller_id: i64,
    /// The error's code.
    pub code: String,
    /// The rows that decided.
    pub policies: Vec<String>,
    /// The revision that they are of.
    pub policy_revision: i64,
    /// The event of the same number.
    pub event: Option<EventOfRecord>,
    /// The asked groups.
    pub groups: Vec<String>,
    /// The number of the list of its groups.
    pub groups_id: i64,
    /// The number of the list of its policies.
    pub policies_id: i64,
}

const SELECT: &str = "SELECT r.number, r.caller_id, r.code, r.violations, r.policy_revision, \
     r.groups_id, r.policies_id, g.names AS group_names, p.names AS policy_names, \
     e.at AS event_at, e.kind AS event_kind, e.caller_id AS event_caller_id \
     FROM refusals r LEFT JOIN events e ON e.number = r.number \
     LEFT JOIN name_lists g ON g.id = r.groups_id \
     LEFT JOIN name_lists p ON p.id = r.policies_id WHERE r.number > ";

impl Store {
    /// The next refusals with numbers above `after`, up to `until`, ascending.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`.
    pub async fn inspect_refusals(
        &self,
        after: i64,
        until: i64,
        limit: u32,
    ) -> Result<Vec<Inspected<StoredRefusal>>, StoreError> {
        let mut select = Statement::new(SELECT);
        select.bind(after).push(" AND r.number <= ").bind(until);
        select.push(" ORDER BY r.number LIMIT ").bind(limit);
        let rows = select.all(&self.connections().readers).await?;
        rows.iter().map(|row| Ok(Inspected { number: row.try_get("number")?, row: read(row) })).collect()
    }
}

fn read(row: &Row) -> Result<StoredRefusal, StoreError> {
    let cells = Cells::new(row, "refusals", "number");
    cells.json::<serde_json::Value>("violations")?;
    Ok(StoredRefusal {
        caller_id: cells.integer("caller_id")?,
        code: cells.text("code")?,
        policies: cells.json("policy_names")?,
        policy_revision: cells.integer("policy_revision")?,
        event: event(&cells)?,
        groups: cells.json("group_names")?,
        groups_id: cells.integer("groups_id")?,
        policies_id: cells.integer("policies_id")?,
    })
}
