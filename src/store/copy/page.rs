//! Pages of rows of any table: read in the order of the key, written, and digested.

use std::fmt::Write as _;

use aws_lc_rs::digest::{Context, Digest, SHA256};
use serde::{Deserialize, Serialize};
use sqlx::any::{AnyArguments, AnyRow};
use sqlx::query::Query;
use sqlx::{Any, AnyConnection, AssertSqlSafe, Row as _};

use super::table::{Kind, Table};
use crate::store::StoreError;
use crate::store::engine::Engine;

/// How many rows go over at once: below the limit of bound values with 19 columns.
const ROWS: usize = 500;

/// One cell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Cell {
    Integer(Option<i64>),
    Text(Option<String>),
    Blob(Option<Vec<u8>>),
}

pub(super) type Row = Vec<Cell>;

/// Which row of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Key(Vec<Cell>);

impl Key {
    pub(super) fn of(table: &Table, row: &[Cell]) -> Self {
        Self(table.key.iter().filter_map(|index| row.get(*index).cloned()).collect())
    }

    pub(super) fn read(text: &str) -> Result<Self, StoreError> {
        serde_json::from_str(text).map_err(|error| StoreError::Corrupt(format!("ledger_copy: {error}")))
    }

    pub(super) fn written(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// The rows that follow `after`, in the order of the key, which is that of octets on both engines.
pub(super) async fn page_after(
    connection: &mut AnyConnection,
    table: &Table,
    after: Option<&Key>,
) -> Result<Vec<Row>, StoreError> {
    let by_octets = if Engine::of(connection) == Engine::Sqlite { "" } else { " COLLATE \"C\"" };
    let key: Vec<String> = table
        .key
        .iter()
        .filter_map(|index| table.columns.get(*index))
        .map(|column| format!("{}{}", column.name, if column.kind == Kind::Text { by_octets } else { "" }))
        .collect();
    let key = key.join(", ");
    let mut text = format!("SELECT {} FROM {}", columns(table), table.name);
    if let Some(after) = after {
        // Writing into a String does not fail.
        let _ = write!(text, " WHERE ({key}) > ({})", placeholders(1, after.0.len()));
    }
    let _ = write!(text, " ORDER BY {key} LIMIT {ROWS}");
    let mut query = sqlx::query(AssertSqlSafe(text));
    for cell in after.map(|after| after.0.as_slice()).unwrap_or_default() {
        query = bind(query, cell);
    }
    query.fetch_all(connection).await?.iter().map(|row| read(table, row)).collect()
}

pub(super) async fn insert(
    connection: &mut AnyConnection,
    table: &Table,
    rows: &[Row],
) -> Result<(), StoreError> {
    let width = table.columns.len();
    let tuples: Vec<String> = (0..rows.len())
        .map(|index| format!("({})", placeholders(index.saturating_mul(width).saturating_add(1), width)))
        .collect();
    let text = format!("INSERT INTO {} ({}) VALUES {}", table.name, columns(table), tuples.join(", "));
    let mut query = sqlx::query(AssertSqlSafe(text));
    for cell in rows.iter().flatten() {
        query = bind(query, cell);
    }
    query.execute(connection).await?;
    Ok(())
}

/// Writes the one row of a table over what is there.
pub(super) async fn update(
    connection: &mut AnyConnection,
    table: &Table,
    rows: &[Row],
) -> Result<(), StoreError> {
    let [row] = rows else {
        return Err(StoreError::Corrupt(format!("{} has {} rows and not one", table.name, rows.len())));
    };
    let set: Vec<String> = (1..)
        .zip(&table.columns)
        .map(|(number, column): (usize, _)| format!("{} = ${number}", column.name))
        .collect();
    let mut query = sqlx::query(AssertSqlSafe(format!("UPDATE {} SET {}", table.name, set.join(", "))));
    for cell in row {
        query = bind(query, cell);
    }
    query.execute(connection).await?;
    Ok(())
}

/// SHA-256 over every cell of every row, in the order of the key; `report` is told of each page.
pub(super) async fn digest_of(
    connection: &mut AnyConnection,
    table: &Table,
    report: &mut impl FnMut(u64),
) -> Result<Vec<u8>, StoreError> {
    let mut digest = Context::new(&SHA256);
    let mut after = None;
    loop {
        let rows = page_after(connection, table, after.as_ref()).await?;
        let Some(last) = rows.last() else { return Ok(Digest::as_ref(&digest.finish()).to_vec()) };
        after = Some(Key::of(table, last));
        for cell in rows.iter().flatten() {
            add(&mut digest, cell);
        }
        report(u64::try_from(rows.len()).unwrap_or(u64::MAX));
    }
}

/// Kind, length and octets: no two rows look alike that are not.
fn add(digest: &mut Context, cell: &Cell) {
    let (kind, octets): (u8, Option<Vec<u8>>) = match cell {
        Cell::Integer(value) => (1, value.map(|value| value.to_be_bytes().to_vec())),
        Cell::Text(value) => (2, value.as_ref().map(|value| value.as_bytes().to_vec())),
        Cell::Blob(value) => (3, value.clone()),
    };
    let length = octets.as_ref().map_or(u64::MAX, |octets| u64::try_from(octets.len()).unwrap_or(u64::MAX));
    digest.update(&[kind]);
    digest.update(&length.to_be_bytes());
    digest.update(&octets.unwrap_or_default());
}

fn read(table: &Table, row: &AnyRow) -> Result<Row, StoreError> {
    let cell = |(index, kind): (usize, Kind)| {
        Ok(match kind {
            Kind::Integer => Cell::Integer(row.try_get(index)?),
            Kind::Text => Cell::Text(row.try_get(index)?),
            Kind::Blob => Cell::Blob(row.try_get(index)?),
        })
    };
    table.columns.iter().map(|column| column.kind).enumerate().map(cell).collect()
}

fn bind<'q>(query: Query<'q, Any, AnyArguments>, cell: &Cell) -> Query<'q, Any, AnyArguments> {
    match cell {
        Cell::Integer(value) => query.bind(*value),
        Cell::Text(value) => query.bind(value.clone()),
        Cell::Blob(value) => query.bind(value.clone()),
    }
}

fn columns(table: &Table) -> String {
    table.columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>().join(", ")
}

fn placeholders(first: usize, count: usize) -> String {
    let end = first.saturating_add(count);
    (first..end).map(|number| format!("${number}")).collect::<Vec<_>>().join(", ")
}
