//! Lists of names, and the members by which a filter finds what has such a list.

use std::collections::BTreeMap;

use crate::store::cells::Cells;
use crate::store::connection::Connection;
use crate::store::statement::{Statement, chunks};
use crate::store::{Store, StoreError};

/// A row of `name_lists`, and its rows of `name_list_members`.
#[derive(Debug)]
pub struct StoredList {
    /// Its number.
    pub id: i64,
    /// As it is stored.
    pub sha256: Vec<u8>,
    /// As it is stored: a JSON array.
    pub json: String,
    /// The names that are noted for it; none for one that is not there.
    pub members: Vec<Option<String>>,
}

impl Store {
    /// The next lists with numbers above `after`, ascending.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`.
    pub async fn inspect_lists(&self, after: i64, limit: u32) -> Result<Vec<StoredList>, StoreError> {
        // One view, so that no list comes without its members.
        self.view(move |connection| Box::pin(page(connection, after, limit))).await
    }

    /// The numbers of lists that have members and are not there.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`.
    pub async fn inspect_members_of_no_list(&self) -> Result<Vec<i64>, StoreError> {
        let select = Statement::new(
            "SELECT DISTINCT m.list_id FROM name_list_members m LEFT JOIN name_lists l ON l.id = m.list_id \
             WHERE l.id IS NULL ORDER BY m.list_id",
        );
        let rows = select.all(&self.connections().readers).await?;
        Ok(rows.iter().map(|row| row.try_get("list_id")).collect::<Result<_, _>>()?)
    }
}

async fn page(connection: &mut Connection, after: i64, limit: u32) -> Result<Vec<StoredList>, StoreError> {
    let mut select = Statement::new("SELECT l.id, l.sha256, l.names FROM name_lists l WHERE l.id > ");
    select.bind(after).push(" ORDER BY l.id LIMIT ").bind(limit);
    let mut lists = BTreeMap::new();
    for row in &select.all(&mut *connection).await? {
        let cells = Cells::new(row, "name_lists", "id");
        let id = cells.integer("id")?;
        let (sha256, json) = (cells.blob("sha256")?, cells.text("names")?);
        lists.insert(id, StoredList { id, sha256, json, members: Vec::new() });
    }
    let ids: Vec<i64> = lists.keys().copied().collect();
    for chunk in chunks(&ids) {
        let mut select = Statement::new(
            "SELECT m.list_id, n.name FROM name_list_members m LEFT JOIN names n ON n.id = m.name_id \
             WHERE m.list_id IN (",
        );
        select.list(chunk.iter().map(|id| (*id).into())).push(")");
        for row in &select.all(&mut *connection).await? {
            let cells = Cells::new(row, "name_list_members", "list_id");
            if let Some(list) = lists.get_mut(&cells.integer("list_id")?) {
                list.members.push(cells.optional_text("name")?);
            }
        }
    }
    Ok(lists.into_values().collect())
}
