//! The tables of a ledger, as the file's own schema has them.

use std::collections::BTreeSet;

use sqlx::{AnyConnection, AssertSqlSafe, Row};

use crate::store::StoreError;

/// A table, and what its rows are told apart by.
#[derive(Clone, Debug)]
pub(super) struct Table {
    pub(super) name: String,
    pub(super) columns: Vec<Column>,
    /// Indexes into `columns`, in the order of the key.
    pub(super) key: Vec<usize>,
    /// The tables that must be there first.
    parents: BTreeSet<String>,
}

#[derive(Clone, Debug)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Integer,
    Text,
    Blob,
}

impl Table {
    pub(super) fn named<'t>(tables: &'t [Self], name: &str) -> Result<&'t Self, StoreError> {
        let found = tables.iter().find(|table| table.name == name);
        found.ok_or_else(|| StoreError::Corrupt(format!("there is no table {name}")))
    }

    /// Whether its row is there from the start, and only ever changed.
    pub(super) fn has_one_row(&self) -> bool {
        super::ONE_ROW.contains(&self.name.as_str())
    }

    /// The column whose numbers the database gives by itself.
    pub(super) fn given_by_database(&self) -> Option<&str> {
        let [only] = self.key.as_slice() else { return None };
        let column = self.columns.get(*only)?;
        (column.name == "id" && column.kind == Kind::Integer && !self.has_one_row())
            .then_some(column.name.as_str())
    }
}

/// Every table, parents before those that refer to them.
pub(super) async fn all(source: &mut AnyConnection) -> Result<Vec<Table>, StoreError> {
    let names = sqlx::query(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' \
         AND name <> '_sqlx_migrations' ORDER BY name",
    )
    .fetch_all(&mut *source)
    .await?;
    let mut waiting = Vec::new();
    for row in names {
        waiting.push(read(source, row.try_get("name")?).await?);
    }
    let mut ordered: Vec<Table> = Vec::new();
    while !waiting.is_empty() {
        let (ready, blocked): (Vec<Table>, Vec<Table>) = waiting.into_iter().partition(|table| {
            table.parents.iter().all(|parent| ordered.iter().any(|before| before.name == *parent))
        });
        if ready.is_empty() {
            return Err(StoreError::Corrupt("the tables refer to each other in a circle".to_owned()));
        }
        ordered.extend(ready);
        waiting = blocked;
    }
    Ok(ordered)
}

async fn read(source: &mut AnyConnection, name: String) -> Result<Table, StoreError> {
    let columns = format!("SELECT name, type AS kind, pk FROM pragma_table_info('{}')", identifier(&name)?);
    let (mut found, mut key) = (Vec::new(), Vec::new());
    for row in sqlx::query(AssertSqlSafe(columns)).fetch_all(&mut *source).await? {
        let column: String = row.try_get("name")?;
        let kind = match row.try_get::<String, _>("kind")?.as_str() {
            "INTEGER" => Kind::Integer,
            "TEXT" => Kind::Text,
            "BLOB" => Kind::Blob,
            other => return Err(StoreError::Corrupt(format!("{name}.{column} is of the type {other}"))),
        };
        let place: i64 = row.try_get("pk")?;
        if place > 0 {
            key.push((place, found.len()));
        }
        found.push(Column { name: identifier(&column)?.to_owned(), kind });
    }
    key.sort_unstable();
    let parents = format!("SELECT \"table\" AS parent FROM pragma_foreign_key_list('{name}')");
    let mut names = BTreeSet::new();
    for row in sqlx::query(AssertSqlSafe(parents)).fetch_all(source).await? {
        names.insert(row.try_get("parent")?);
    }
    let key = key.into_iter().map(|(_, index)| index).collect();
    Ok(Table { name, columns: found, key, parents: names })
}

/// A name that can stand in a statement as it is.
fn identifier(name: &str) -> Result<&str, StoreError> {
    let plain = |octet: u8| octet.is_ascii_lowercase() || octet.is_ascii_digit() || octet == b'_';
    if !name.is_empty() && name.bytes().all(plain) {
        return Ok(name);
    }
    Err(StoreError::Corrupt(format!("`{}` is no table or column of a ledger", name.escape_debug())))
}
