//! A statement that is put together from fixed text and bound values.
//!
//! Takes only `&'static str` as text, so that no value can end up in it. Placeholders are written
//! when the engine is known: `$1` for PostgreSQL, and `?` for SQLite, which reads `$1` as well but
//! then finds the name of each placeholder by going through all those before it.

use std::fmt::Write;

use sqlx::any::AnyArguments;
use sqlx::query::Query;
use sqlx::{Any, AssertSqlSafe};

use super::StoreError;
use super::connection::{Connection, Own, Pool};
use super::engine::Engine;
use super::row::Row;
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
    Pool(&'e Pool),
    Connection(&'e mut Connection),
}

impl<'e> From<&'e Pool> for On<'e> {
    fn from(pool: &'e Pool) -> Self {
        Self::Pool(pool)
    }
}
impl<'e> From<&'e mut Connection> for On<'e> {
    fn from(connection: &'e mut Connection) -> Self {
        Self::Connection(connection)
    }
}

/// Stands in the text for a value, until the engine is known.
const PLACE: char = '\0';
/// The same as it is encoded.
const PLACE_BYTE: u8 = 0;

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
        self.text.push(PLACE);
        self
    }

    /// `(?, ?), (?, ?)`: one tuple for each row.
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

    /// `?, ?, ?`.
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
        match on.into() {
            On::Connection(one) => self.execute_on(one).await,
            On::Pool(pool) => {
                let owned = Owned::of(self);
                pool.with(move |one| Box::pin(async move { owned.borrowed().execute_on(one).await })).await
            }
        }
    }

    pub(super) async fn all<'e>(self, on: impl Into<On<'e>>) -> Result<Vec<Row>, StoreError> {
        Ok(self.rows(on.into(), usize::MAX).await?)
    }

    pub(super) async fn optional<'e>(self, on: impl Into<On<'e>>) -> Result<Option<Row>, StoreError> {
        Ok(self.rows(on.into(), 1).await?.pop())
    }

    async fn rows(self, on: On<'_>, most: usize) -> Result<Vec<Row>, sqlx::Error> {
        match on {
            On::Connection(one) => self.rows_on(one, most).await,
            On::Pool(pool) => {
                let owned = Owned::of(self);
                pool.with(move |one| Box::pin(async move { owned.borrowed().rows_on(one, most).await })).await
            }
        }
    }

    async fn execute_on(mut self, connection: &mut Connection) -> Result<u64, sqlx::Error> {
        let text = self.text_for(connection.engine());
        match connection.own()? {
            Own::File(file) => file.execute(&text, &self.values),
            Own::Server(server) => Ok(self.query(text).execute(server).await?.rows_affected()),
        }
    }

    async fn rows_on(mut self, connection: &mut Connection, most: usize) -> Result<Vec<Row>, sqlx::Error> {
        let text = self.text_for(connection.engine());
        Ok(match connection.own()? {
            Own::File(file) => file.rows(&text, &self.values, most)?.into_iter().map(Row::File).collect(),
            Own::Server(server) if most == 1 => {
                self.query(text).fetch_optional(server).await?.into_iter().map(Row::Server).collect()
            }
            Own::Server(server) => {
                self.query(text).fetch_all(server).await?.into_iter().map(Row::Server).collect()
            }
        })
    }

    /// Takes the text, with the engine's own placeholders.
    fn text_for(&mut self, engine: Engine) -> String {
        #[cfg(test)]
        super::tests::statements::note(&self.text);
        with_placeholders(std::mem::take(&mut self.text), engine)
    }

    fn query<'q>(&self, text: String) -> Query<'q, Any, AnyArguments> {
        let mut query = sqlx::query(AssertSqlSafe(text));
        for value in &self.values {
            query = match *value {
                Value::Integer(value) => query.bind(value),
                Value::Text(value) => query.bind(value.map(str::to_owned)),
                Value::Blob(value) => query.bind(value.map(<[u8]>::to_vec)),
            };
        }
        query
    }

    /// The whole text, its values written as literals.
    pub(super) fn typed(&self, engine: Engine) -> String {
        let mut values = self.values.iter();
        let mut written = String::new();
        for (index, piece) in self.text.split(PLACE).enumerate() {
            if index > 0 {
                push_literal(&mut written, values.next().copied(), engine);
            }
            written.push_str(piece);
        }
        written
    }

    /// The same for a session of PostgreSQL with one plan for all values: what prepares it, and what runs it.
    pub(super) fn prepared(&self) -> [String; 2] {
        let mut execute = "EXECUTE page (".to_owned();
        for (index, value) in self.values.iter().enumerate() {
            execute.push_str(if index == 0 { "" } else { ", " });
            push_literal(&mut execute, Some(*value), Engine::Postgres);
        }
        execute.push(')');
        [format!("PREPARE page AS {}", numbered(&self.text)), execute]
    }

    /// Asks a file for the plan of the statement.
    #[cfg(test)]
    pub(super) fn explained(mut self) -> Self {
        self.text.insert_str(0, "EXPLAIN QUERY PLAN ");
        self
    }

    /// Text that a test puts together.
    #[cfg(test)]
    pub(super) fn text(mut self, text: &str) -> Self {
        self.text.push_str(text);
        self
    }
}

/// A statement that borrows nothing, for another thread.
struct Owned {
    text: String,
    values: Vec<OwnedValue>,
}

enum OwnedValue {
    Integer(Option<i64>),
    Text(Option<String>),
    Blob(Option<Vec<u8>>),
}

impl Owned {
    fn of(statement: Statement<'_>) -> Self {
        let own = |value: Value<'_>| match value {
            Value::Integer(value) => OwnedValue::Integer(value),
            Value::Text(value) => OwnedValue::Text(value.map(str::to_owned)),
            Value::Blob(value) => OwnedValue::Blob(value.map(<[u8]>::to_vec)),
        };
        Self { text: statement.text, values: statement.values.into_iter().map(own).collect() }
    }

    fn borrowed(&self) -> Statement<'_> {
        let values = self.values.iter().map(OwnedValue::borrowed).collect();
        Statement { text: self.text.clone(), values }
    }
}

impl OwnedValue {
    fn borrowed(&self) -> Value<'_> {
        match self {
            Self::Integer(value) => Value::Integer(*value),
            Self::Text(value) => Value::Text(value.as_deref()),
            Self::Blob(value) => Value::Blob(value.as_deref()),
        }
    }
}

fn with_placeholders(text: String, engine: Engine) -> String {
    match engine {
        Engine::Sqlite => marked(text),
        Engine::Postgres => numbered(&text),
    }
}

/// In place, because both are one byte: most of a long statement are placeholders.
fn marked(text: String) -> String {
    let mut bytes = text.into_bytes();
    for byte in bytes.iter_mut().filter(|byte| **byte == PLACE_BYTE) {
        *byte = b'?';
    }
    // One ASCII character for another leaves UTF-8 what it is.
    String::from_utf8(bytes).unwrap_or_default()
}

fn numbered(text: &str) -> String {
    let mut written = String::with_capacity(text.len().saturating_mul(2));
    for (index, piece) in text.split(PLACE).enumerate() {
        if index > 0 {
            // Writing into a String does not fail.
            let _ = write!(written, "${index}");
        }
        written.push_str(piece);
    }
    written
}

fn push_literal(written: &mut String, value: Option<Value<'_>>, engine: Engine) {
    // Writing into a String does not fail.
    _ = match value {
        Some(Value::Integer(Some(number))) => write!(written, "{number}"),
        Some(Value::Text(Some(text))) => write!(written, "'{}'", text.replace('\'', "''")),
        Some(Value::Blob(Some(octets))) => match engine {
            Engine::Sqlite => write!(written, "x'{}'", hex::encode(octets)),
            Engine::Postgres => write!(written, "'\\x{}'::bytea", hex::encode(octets)),
        },
        None | Some(Value::Integer(None) | Value::Text(None) | Value::Blob(None)) => {
            write!(written, "NULL")
        }
    };
}

/// The most rows of one statement.
const MOST_ROWS: usize = 64;
/// Longer statements are for a multiple of so many rows.
const ROWS_STEP: usize = 8;

/// Splits rows for multi-row statements. Few sizes, so that their texts stay in the connection's cache
/// of 100 prepared statements, below the limit of bound values (65,535 on PostgreSQL, 32,766 on
/// SQLite); and two statements for up to 71 rows, because each is a way to another thread and back.
pub(super) fn chunks<T>(mut rows: &[T]) -> Vec<&[T]> {
    let mut chunks = Vec::new();
    while !rows.is_empty() {
        let most = rows.len().min(MOST_ROWS);
        let size = if most < ROWS_STEP { most } else { most.saturating_sub(most % ROWS_STEP) };
        let (chunk, rest) = rows.split_at_checked(size).unwrap_or((rows, &[]));
        chunks.push(chunk);
        rows = rest;
    }
    chunks
}

/// The same for values to look for: the last one is repeated until the size is a usual one, so that
/// they are looked for with one statement.
pub(super) fn repeated<T: Clone>(values: &[T]) -> Vec<Vec<T>> {
    let fill = |values: &[T]| {
        let size = if values.len() == 1 { 1 } else { values.len().next_multiple_of(ROWS_STEP) };
        let last = values.last().into_iter().cycle().cloned();
        values.iter().cloned().chain(last).take(size).collect()
    };
    values.chunks(MOST_ROWS).map(fill).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_numbered_for_postgresql_only() {
        let mut statement = Statement::new("SELECT ");
        statement.bind(1_i64).push(", ").tuples([[2_i64.into(), "a".into()], [3_i64.into(), "b".into()]]);
        let text = |engine| with_placeholders(statement.text.clone(), engine);
        assert_eq!(text(Engine::Postgres), "SELECT $1, ($2, $3), ($4, $5)");
        assert_eq!(text(Engine::Sqlite), "SELECT ?, (?, ?), (?, ?)");
        assert_eq!(statement.values.len(), 5);
    }

    #[test]
    fn a_typed_statement_holds_its_values() {
        let mut statement = Statement::new("SELECT ");
        statement.bind(-1_i64).push(", ").list(["it's".into(), (&[0xab, 0x01]).into()]).push(" x");
        assert_eq!(statement.typed(Engine::Sqlite), "SELECT -1, 'it''s', x'ab01' x");
        assert_eq!(statement.typed(Engine::Postgres), "SELECT -1, 'it''s', '\\xab01'::bytea x");
        let [prepare, execute] = statement.prepared();
        assert_eq!(prepare, "PREPARE page AS SELECT $1, $2, $3 x");
        assert_eq!(execute, "EXECUTE page (-1, 'it''s', '\\xab01'::bytea)");
    }

    #[test]
    fn chunks_hold_every_row_once_in_order() {
        let rows: Vec<u32> = (0..191).collect();
        let sizes: Vec<usize> = chunks(&rows).into_iter().map(<[u32]>::len).collect();
        assert_eq!(sizes, [64, 64, 56, 7]);
        assert_eq!(chunks(&rows).concat(), rows);
        assert!((1..72).all(|length| chunks(&rows[..length]).len() <= 2));
        assert!(chunks::<u32>(&[]).is_empty());
    }

    #[test]
    fn values_are_repeated_up_to_a_usual_size() {
        let sizes = |length: u32| -> Vec<usize> {
            let values: Vec<u32> = (0..length).collect();
            let repeated = repeated(&values);
            let found: std::collections::BTreeSet<u32> = repeated.concat().into_iter().collect();
            assert!(found.into_iter().eq(values));
            repeated.iter().map(Vec::len).collect()
        };
        assert_eq!(
            [sizes(0), sizes(1), sizes(2), sizes(8), sizes(9)],
            [vec![], vec![1], vec![8], vec![8], vec![16]]
        );
        assert_eq!(sizes(130), [64, 64, 8]);
    }
}
