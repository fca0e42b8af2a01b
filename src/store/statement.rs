//! A statement that is put together from fixed text and bound values.
//!
//! Takes only `&'static str` as text, so that no value can end up in it, and writes placeholders
//! as `$1`, which both engines read; sqlx's own builder writes `?` for `Any`.

use std::fmt::Write;

use sqlx::any::{AnyArguments, AnyRow};
use sqlx::query::Query;
use sqlx::{Any, AnyConnection, AnyPool, AssertSqlSafe};

use super::StoreError;
use super::connection::on_pool;
use crate::time::Time;

/// A value to bind. An absent one keeps its type, which PostgreSQL asks for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value<'v> {
    Integer(Option<i64>),
    Text(Option<&'v str>),
    Blob(Option<&'v [u8]>),
}

impl From<i64> for Value<'_> {
    fn from(value: i64) -> Self {
        Self::Integer(Some(value))
    }
}
impl From<u32> for Value<'_> {
    fn from(value: u32) -> Self {
        Self::Integer(Some(i64::from(value)))
    }
}
impl From<Option<i64>> for Value<'_> {
    fn from(value: Option<i64>) -> Self {
        Self::Integer(value)
    }
}
impl From<Time> for Value<'_> {
    fn from(value: Time) -> Self {
        Self::Integer(Some(value.unix()))
    }
}
impl<'v> From<&'v str> for Value<'v> {
    fn from(value: &'v str) -> Self {
        Self::Text(Some(value))
    }
}
impl<'v> From<&'v String> for Value<'v> {
    fn from(value: &'v String) -> Self {
        Self::Text(Some(value))
    }
}
impl<'v> From<Option<&'v str>> for Value<'v> {
    fn from(value: Option<&'v str>) -> Self {
        Self::Text(value)
    }
}
impl<'v> From<&'v [u8]> for Value<'v> {
    fn from(value: &'v [u8]) -> Self {
        Self::Blob(Some(value))
    }
}
impl<'v, const N: usize> From<&'v [u8; N]> for Value<'v> {
    fn from(value: &'v [u8; N]) -> Self {
        Self::Blob(Some(value))
    }
}
impl<'v, const N: usize> From<Option<&'v [u8; N]>> for Value<'v> {
    fn from(value: Option<&'v [u8; N]>) -> Self {
        Self::Blob(value.map(<[u8; N]>::as_slice))
    }
}

/// Where a statement runs: on any connection of a pool, or on one that is in a transaction.
#[derive(Debug)]
pub(super) enum On<'e> {
    Pool(&'e AnyPool),
    Connection(&'e mut AnyConnection),
}

impl<'e> From<&'e AnyPool> for On<'e> {
    fn from(pool: &'e AnyPool) -> Self {
        Self::Pool(pool)
    }
}
impl<'e> From<&'e mut AnyConnection> for On<'e> {
    fn from(connection: &'e mut AnyConnection) -> Self {
        Self::Connection(connection)
    }
}

/// Text and values, in step.
#[derive(Debug)]
pub(super) struct Statement<'v> {
    text: String,
    values: Vec<Value<'v>>,
}

impl<'v> Statement<'v> {
    pub(super) fn new(text: &'static str) -> Self {
        Self { text: text.to_owned(), values: Vec::new() }
    }

    pub(super) fn push(&mut self, text: &'static str) -> &mut Self {
        self.text.push_str(text);
        self
    }

    /// A placeholder for `value`.
    pub(super) fn bind(&mut self, value: impl Into<Value<'v>>) -> &mut Self {
        self.values.push(value.into());
        // Writing into a String does not fail.
        let _ = write!(self.text, "${}", self.values.len());
        self
    }

    /// `($1, $2), ($3, $4)`: one tuple for each row.
    pub(super) fn tuples<const N: usize>(
        &mut self,
        rows: impl IntoIterator<Item = [Value<'v>; N]>,
    ) -> &mut Self {
        for (index, row) in rows.into_iter().enumerate() {
            self.push(if index == 0 { "(" } else { ", (" });
            self.list(row).push(")");
        }
        self
    }

    /// `$1, $2, $3`.
    pub(super) fn list(&mut self, values: impl IntoIterator<Item = Value<'v>>) -> &mut Self {
        for (index, value) in values.into_iter().enumerate() {
            if index > 0 {
                self.push(", ");
            }
            self.bind(value);
        }
        self
    }

    /// Runs it and returns how many rows it wrote.
    pub(super) async fn execute<'e>(self, on: impl Into<On<'e>>) -> Result<u64, sqlx::Error> {
        let query = self.into_query();
        let done = match on.into() {
            On::Pool(pool) => on_pool(pool, async move |one| query.execute(one).await).await?,
            On::Connection(connection) => query.execute(connection).await?,
        };
        Ok(done.rows_affected())
    }

    pub(super) async fn all<'e>(self, on: impl Into<On<'e>>) -> Result<Vec<AnyRow>, StoreError> {
        let query = self.into_query();
        Ok(match on.into() {
            On::Pool(pool) => on_pool(pool, async move |one| query.fetch_all(one).await).await?,
            On::Connection(connection) => query.fetch_all(connection).await?,
        })
    }

    pub(super) async fn optional<'e>(self, on: impl Into<On<'e>>) -> Result<Option<AnyRow>, StoreError> {
        let query = self.into_query();
        Ok(match on.into() {
            On::Pool(pool) => on_pool(pool, async move |one| query.fetch_optional(one).await).await?,
            On::Connection(connection) => query.fetch_optional(connection).await?,
        })
    }

    fn into_query<'q>(self) -> Query<'q, Any, AnyArguments> {
        let mut query = sqlx::query(AssertSqlSafe(self.text));
        for value in self.values {
            query = match value {
                Value::Integer(value) => query.bind(value),
                Value::Text(value) => query.bind(value.map(str::to_owned)),
                Value::Blob(value) => query.bind(value.map(<[u8]>::to_vec)),
            };
        }
        query
    }

    /// What the statement says, for a look at its query plan.
    #[cfg(test)]
    pub(super) fn explained(mut self, engine: super::engine::Engine) -> Self {
        self.text.insert_str(0, engine.explain());
        self
    }
}

/// Splits rows for multi-row statements into five sizes, so that their texts stay in the
/// connection's cache of prepared statements (100 of them), with few statements for a batch. No
/// larger ones: SQLite finds the name of each placeholder by going through those before it, so
/// that a row of a long statement costs more than one of a short one.
pub(super) fn chunks<T>(mut rows: &[T]) -> Vec<&[T]> {
    let mut chunks = Vec::new();
    while let Some(size) = [16, 8, 4, 2, 1].into_iter().find(|size| *size <= rows.len()) {
        let (chunk, rest) = rows.split_at(size);
        chunks.push(chunk);
        rows = rest;
    }
    chunks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_numbered_through() {
        let mut statement = Statement::new("SELECT ");
        statement.bind(1_i64).push(", ").tuples([[2_i64.into(), "a".into()], [3_i64.into(), "b".into()]]);
        assert_eq!(statement.text, "SELECT $1, ($2, $3), ($4, $5)");
        assert_eq!(statement.values.len(), 5);
    }

    #[test]
    fn chunks_hold_every_row_once_in_order() {
        let rows: Vec<u32> = (0..47).collect();
        let sizes: Vec<usize> = chunks(&rows).into_iter().map(<[u32]>::len).collect();
        assert_eq!(sizes, [16, 16, 8, 4, 2, 1]);
        assert_eq!(chunks(&rows).concat(), rows);
    }
}
