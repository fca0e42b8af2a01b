//! A connection to a file of SQLite. What runs on it runs on the thread that asks, and blocks it.

use std::borrow::Cow;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rusqlite::types::ValueRef;
use rusqlite::{CachedStatement, OpenFlags, ffi};
use sqlx::error::{DatabaseError, ErrorKind};

use super::sqlite::{OF_WRITER, PRAGMAS};
use crate::store::row::{Cell, FileRow};
use crate::store::statement::Value;

/// How many prepared statements are kept.
const PREPARED: usize = 128;

/// A connection with every pragma set.
#[derive(Debug)]
pub(in crate::store) struct File {
    connection: rusqlite::Connection,
}

/// May it write?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum Access {
    ReadOnly,
    ReadWrite,
}

impl File {
    /// Opens a file that exists, sets every pragma and reads it back: SQLite ignores what it does not
    /// know or cannot do.
    pub(super) fn open(path: &Path, access: Access) -> Result<Self, sqlx::Error> {
        let mode = match access {
            Access::ReadOnly => OpenFlags::SQLITE_OPEN_READ_ONLY,
            Access::ReadWrite => OpenFlags::SQLITE_OPEN_READ_WRITE,
        };
        // One thread at a time has it. Without URIs, no character of a path changes its meaning.
        let flags = mode | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = rusqlite::Connection::open_with_flags(path, flags).map_err(error)?;
        connection.set_prepared_statement_cache_capacity(PREPARED);
        let of_writer = (access == Access::ReadWrite).then_some(OF_WRITER);
        for (set, read, expected) in PRAGMAS.into_iter().chain(of_writer.into_iter().flatten()) {
            connection.execute_batch(set).map_err(error)?;
            let value = connection.query_row(read, [], |row| Ok(text(row.get_ref(0)?))).map_err(error)?;
            if value != expected {
                return Err(sqlx::Error::Protocol(format!("{set} was not taken: it stands at {value}")));
            }
        }
        Ok(Self { connection })
    }

    /// Runs a statement that gives no rows, and returns how many it wrote.
    pub(in crate::store) fn execute(&self, text: &str, values: &[Value<'_>]) -> Result<u64, sqlx::Error> {
        let mut statement = self.bound(text, values)?;
        let count = statement.raw_execute().map_err(error)?;
        Ok(u64::try_from(count).unwrap_or(u64::MAX))
    }

    /// Runs a statement and returns its first rows, at most so many.
    pub(in crate::store) fn rows(
        &self,
        text: &str,
        values: &[Value<'_>],
        most: usize,
    ) -> Result<Vec<FileRow>, sqlx::Error> {
        let mut statement = self.bound(text, values)?;
        let columns: Arc<[Box<str>]> = statement.column_names().into_iter().map(Into::into).collect();
        let mut found = Vec::new();
        let mut rows = statement.raw_query();
        while found.len() < most
            && let Some(row) = rows.next().map_err(error)?
        {
            let mut copy = FileRow::new(Arc::clone(&columns));
            for place in 0..columns.len() {
                copy.push(cell(row.get_ref(place).map_err(error)?)?);
            }
            found.push(copy);
        }
        Ok(found)
    }

    /// Runs statements whose words are this program's own and whose rows nobody wants.
    pub(in crate::store) fn run(&self, text: &str) -> Result<(), sqlx::Error> {
        self.connection.execute_batch(text).map_err(error)
    }

    fn bound(&self, text: &str, values: &[Value<'_>]) -> Result<CachedStatement<'_>, sqlx::Error> {
        let mut statement = self.connection.prepare_cached(text).map_err(error)?;
        for (place, value) in (1_usize..).zip(values) {
            match *value {
                Value::Integer(value) => statement.raw_bind_parameter(place, value),
                Value::Text(value) => statement.raw_bind_parameter(place, value),
                Value::Blob(value) => statement.raw_bind_parameter(place, value),
            }
            .map_err(error)?;
        }
        Ok(statement)
    }
}

fn cell(value: ValueRef<'_>) -> Result<Cell<'_>, sqlx::Error> {
    Ok(match value {
        ValueRef::Null => Cell::Null,
        ValueRef::Integer(number) => Cell::Integer(number),
        ValueRef::Text(text) => {
            Cell::Text(str::from_utf8(text).map_err(|error| sqlx::Error::Decode(error.into()))?)
        }
        ValueRef::Blob(octets) => Cell::Blob(octets),
        ValueRef::Real(_) => return Err(sqlx::Error::Decode("a cell is a floating-point number".into())),
    })
}

/// What a pragma answers.
fn text(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Integer(number) => number.to_string(),
        other => other.as_str().unwrap_or_default().to_owned(),
    }
}

/// An error of SQLite, in the form in which those of servers come.
#[derive(Debug)]
pub(super) struct FileError {
    /// Extended.
    code: i32,
    message: String,
}

impl FileError {
    /// `SQLITE_BUSY` in any of its extended forms.
    pub(super) fn is_busy(&self) -> bool {
        self.code & 0xff == ffi::SQLITE_BUSY
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "(code: {}) {}", self.code, self.message)
    }
}

impl std::error::Error for FileError {}

impl DatabaseError for FileError {
    fn message(&self) -> &str {
        &self.message
    }

    fn code(&self) -> Option<Cow<'_, str>> {
        Some(self.code.to_string().into())
    }

    fn as_error(&self) -> &(dyn std::error::Error + Send + Sync + 'static) {
        self
    }

    fn as_error_mut(&mut self) -> &mut (dyn std::error::Error + Send + Sync + 'static) {
        self
    }

    fn into_error(self: Box<Self>) -> Box<dyn std::error::Error + Send + Sync + 'static> {
        self
    }

    fn kind(&self) -> ErrorKind {
        match self.code {
            ffi::SQLITE_CONSTRAINT_UNIQUE | ffi::SQLITE_CONSTRAINT_PRIMARYKEY => ErrorKind::UniqueViolation,
            _ => ErrorKind::Other,
        }
    }
}

fn error(error: rusqlite::Error) -> sqlx::Error {
    let shown = error.to_string();
    match error {
        rusqlite::Error::SqliteFailure(failure, message) => {
            let message = message.unwrap_or(shown);
            sqlx::Error::Database(Box::new(FileError { code: failure.extended_code, message }))
        }
        _ => sqlx::Error::Protocol(shown),
    }
}
