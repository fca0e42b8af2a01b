//! The ledger as it lies there, for a checker that trusts nothing: plain cells, page by page, up to
//! the last number of the moment at which the check began. A row that cannot be read says why and
//! does not stop the others.

mod certificates;
mod events;
mod members;
mod overview;
mod refusals;

pub use certificates::StoredCertificate;
pub use events::StoredEvent;
pub use members::{MemberTable, StoredMember};
pub use overview::{Overview, StoredAuthority, StoredPolicy};
pub use refusals::StoredRefusal;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::StoreError;
use super::statement::{Statement, chunks};
use crate::store::connection::Connection;
use crate::time::Time;

/// A row of a page.
#[derive(Debug)]
pub struct Inspected<T> {
    /// Its place in commit order.
    pub number: i64,
    /// What it holds, or the cell that cannot be read.
    pub row: Result<T, StoreError>,
}

/// The event that stands under the number of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventOfRecord {
    /// Its time.
    pub at: Time,
    /// As in `crate::audit::EventKind`, by its number.
    pub kind: i64,
    /// The number of the caller's name.
    pub caller_id: i64,
}

/// Names that a record lists, and that are not among the members by which a filter finds it.
pub(super) type Missing = HashMap<i64, Vec<String>>;

/// Which names of these lists have no row in the member table. `find` ends in `IN (VALUES `.
async fn missing_members(
    connection: &mut Connection,
    find: &'static str,
    lists: &[(i64, Vec<String>)],
) -> Result<Missing, StoreError> {
    let ids = name_ids(connection, lists).await?;
    let mut expected: BTreeMap<(i64, i64), &str> = BTreeMap::new();
    let mut missing = Missing::new();
    for (number, names) in lists {
        for name in names {
            match ids.get(name) {
                Some(id) => drop(expected.insert((*id, *number), name)),
                None => missing.entry(*number).or_default().push(name.clone()),
            }
        }
    }
    let pairs: Vec<(i64, i64)> = expected.keys().copied().collect();
    for chunk in chunks(&pairs) {
        let mut select = Statement::new(find);
        select.tuples(chunk.iter().map(|(name, number)| [(*name).into(), (*number).into()])).push(")");
        for row in select.all(&mut *connection).await? {
            expected.remove(&(row.try_get("name_id")?, row.try_get("number")?));
        }
    }
    for ((_, number), name) in expected {
        missing.entry(number).or_default().push(name.to_owned());
    }
    Ok(missing)
}

async fn name_ids(
    connection: &mut Connection,
    lists: &[(i64, Vec<String>)],
) -> Result<HashMap<String, i64>, StoreError> {
    let names: BTreeSet<&str> = lists.iter().flat_map(|(_, names)| names).map(String::as_str).collect();
    let names: Vec<&str> = names.into_iter().collect();
    let mut ids = HashMap::new();
    for chunk in chunks(&names) {
        let mut select = Statement::new("SELECT id, name FROM names WHERE name IN (");
        select.list(chunk.iter().map(|name| (*name).into())).push(")");
        for row in select.all(&mut *connection).await? {
            ids.insert(row.try_get("name")?, row.try_get("id")?);
        }
    }
    Ok(ids)
}
