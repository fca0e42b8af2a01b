//! Refusals, with everything elsewhere that has to agree with them.

use super::certificates::event;
use super::{EventOfRecord, Inspected, missing_members};
use crate::store::cells::Cells;
use crate::store::connection::Connection;
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
    /// Groups of the list by which no filter finds it.
    pub groups_not_indexed: Vec<String>,
    /// Policies of the list by which no filter finds it.
    pub policies_not_indexed: Vec<String>,
}

const SELECT: &str = "SELECT r.number, r.caller_id, r.code, r.violations, r.policy_revision, \
     g.names AS group_names, p.names AS policy_names, \
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
        // One view, so that pruning never comes between a row and its members.
        self.view(move |connection| Box::pin(page(connection, after, until, limit))).await
    }
}

async fn page(
    connection: &mut Connection,
    after: i64,
    until: i64,
    limit: u32,
) -> Result<Vec<Inspected<StoredRefusal>>, StoreError> {
    let mut select = Statement::new(SELECT);
    select.bind(after).push(" AND r.number <= ").bind(until);
    select.push(" ORDER BY r.number LIMIT ").bind(limit);
    let rows = select.all(&mut *connection).await?;
    let mut page = Vec::with_capacity(rows.len());
    for row in &rows {
        page.push(Inspected { number: row.try_get("number")?, row: read(row) });
    }
    let lists = |of: fn(&StoredRefusal) -> &Vec<String>| -> Vec<(i64, Vec<String>)> {
        let sound = page.iter().filter_map(|one| Some((one.number, one.row.as_ref().ok()?)));
        sound.map(|(number, row)| (number, of(row).clone())).collect()
    };
    let (groups, policies) = (lists(|row| &row.groups), lists(|row| &row.policies));
    let mut groups = missing_members(&mut *connection, FIND_GROUPS, &groups).await?;
    let mut policies = missing_members(&mut *connection, FIND_POLICIES, &policies).await?;
    for one in &mut page {
        if let Ok(row) = &mut one.row {
            row.groups_not_indexed = groups.remove(&one.number).unwrap_or_default();
            row.policies_not_indexed = policies.remove(&one.number).unwrap_or_default();
        }
    }
    Ok(page)
}

const FIND_GROUPS: &str = "SELECT name_id, number FROM refusal_groups WHERE (name_id, number) IN (VALUES ";
const FIND_POLICIES: &str =
    "SELECT name_id, number FROM refusal_policies WHERE (name_id, number) IN (VALUES ";

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
        groups_not_indexed: Vec::new(),
        policies_not_indexed: Vec::new(),
    })
}
