//! Connections to a file of SQLite: its pragmas, and how the file is made.

use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, Instant};

use sqlx::any::AnyConnectOptions;
use sqlx::sqlite::SqliteError;
use sqlx::{AnyConnection, ConnectOptions, Connection, Row};

use super::file::{Access, FileError};
use super::{Connections, Pool, READERS};
use crate::store::StoreError;
use crate::store::engine::Engine;

/// How long the first connection may wait for another program.
const CONNECT: Duration = Duration::from_secs(4);

/// What is set on every connection, how it is read back, and what must come back.
pub(super) const PRAGMAS: [(&str, &str, &str); 10] = [
    // First: the others may have to wait for a lock. Short, because SQLite asks ever more rarely
    // while it waits, and beside a busy writer hardly ever at the right moment; see `PATIENCE`.
    ("PRAGMA busy_timeout = 50", "PRAGMA busy_timeout", "50"),
    ("PRAGMA journal_mode = WAL", "PRAGMA journal_mode", "wal"),
    // With WAL only FULL syncs each commit before it returns.
    ("PRAGMA synchronous = FULL", "PRAGMA synchronous", "2"),
    ("PRAGMA foreign_keys = ON", "PRAGMA foreign_keys", "1"),
    // A schema that somebody tampered with must not call functions.
    ("PRAGMA trusted_schema = OFF", "PRAGMA trusted_schema", "0"),
    // Without it INSERT OR REPLACE deletes without the triggers that forbid it.
    ("PRAGMA recursive_triggers = ON", "PRAGMA recursive_triggers", "1"),
    // The service must run where the ledger's folder is the only one that it can write.
    ("PRAGMA temp_store = MEMORY", "PRAGMA temp_store", "2"),
    // 8 MB for each connection that reads: the system has the file in its own cache as well.
    ("PRAGMA cache_size = -8000", "PRAGMA cache_size", "-8000"),
    // 16 MiB between checkpoints where there is no thread for them; a WAL that a long read made larger is cut to 64 MiB afterwards.
    ("PRAGMA wal_autocheckpoint = 4000", "PRAGMA wal_autocheckpoint", "4000"),
    ("PRAGMA journal_size_limit = 67108864", "PRAGMA journal_size_limit", "67108864"),
];

/// What the connection that writes has instead.
pub(super) const OF_WRITER: [(&str, &str, &str); 2] = [
    // 16 MB. Every certificate goes to a few random pages of indexes.
    ("PRAGMA cache_size = -16000", "PRAGMA cache_size", "-16000"),
    // 32 MiB: long before, another thread has written the log back (`checkpoints`).
    ("PRAGMA wal_autocheckpoint = 8000", "PRAGMA wal_autocheckpoint", "8000"),
];

/// Both pools, each with one connection that has shown that it works.
pub(super) fn open(file: &Path) -> Result<Connections, StoreError> {
    let writer = Pool::files(file.to_owned(), Access::ReadWrite, 1)?;
    let readers = Pool::files(file.to_owned(), Access::ReadOnly, READERS)?;
    Ok(Connections { engine: Engine::Sqlite, writer, readers })
}

/// Creates the file where there is none, readable by its owner only, and returns its real path.
pub(super) fn create(file: &Path) -> Result<PathBuf, StoreError> {
    let unavailable = |error: std::io::Error| StoreError::Unavailable(format!("{}: {error}", file.display()));
    // Never opens a file that exists: closing it would drop the locks that SQLite holds on it.
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(file) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        Err(error) => return Err(unavailable(error)),
    }
    std::fs::canonicalize(file).map_err(unavailable)
}

/// One connection outside the pools, with errors that say what is wrong with the file.
pub(super) async fn connect(file: &Path) -> Result<AnyConnection, StoreError> {
    let options = options(file, "rw")?;
    let started = Instant::now();
    loop {
        match prepared(&options).await {
            // Another process is turning WAL on, which no busy timeout waits for.
            Err(error) if is_busy(&error) && started.elapsed() < CONNECT => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("26") => {
                return Err(StoreError::Corrupt(format!("{} is no SQLite database", file.display())));
            }
            Err(error) => return Err(StoreError::Unavailable(format!("{}: {error}", file.display()))),
            Ok(connection) => return Ok(connection),
        }
    }
}

/// SQLite's own full check of the file, and of what refers to what.
pub(in crate::store) async fn integrity(connection: &mut AnyConnection) -> Result<Vec<String>, StoreError> {
    let mut problems = Vec::new();
    for row in sqlx::query("PRAGMA integrity_check").fetch_all(&mut *connection).await? {
        let text: String = row.try_get(0)?;
        if text != "ok" {
            problems.push(text);
        }
    }
    for row in sqlx::query("PRAGMA foreign_key_check").fetch_all(&mut *connection).await? {
        let (from, to): (String, String) = (row.try_get("table")?, row.try_get("parent")?);
        problems.push(format!("a row of {from} refers to a row of {to} that is not there"));
    }
    Ok(problems)
}

async fn prepared(options: &AnyConnectOptions) -> Result<AnyConnection, sqlx::Error> {
    let mut connection = AnyConnection::connect_with(options).await?;
    prepare(&mut connection).await?;
    Ok(connection)
}

/// Sets every pragma and reads it back: SQLite ignores what it does not know or cannot do.
async fn prepare(connection: &mut AnyConnection) -> Result<(), sqlx::Error> {
    for (set, read, expected) in PRAGMAS {
        sqlx::raw_sql(set).execute(&mut *connection).await?;
        let row = sqlx::query(read).fetch_one(&mut *connection).await?;
        let value = row.try_get::<i64, _>(0).map(|number| number.to_string());
        let value = value.or_else(|_| row.try_get::<String, _>(0))?;
        if value != expected {
            return Err(sqlx::Error::Protocol(format!("{set} was not taken: it stands at {value}")));
        }
    }
    Ok(())
}

/// What opens `file`, with nothing set on the connection.
pub(in crate::store) fn options(file: &Path, mode: &str) -> Result<AnyConnectOptions, StoreError> {
    sqlx::any::install_default_drivers();
    let options = AnyConnectOptions::from_str(&url(file, mode)?)?;
    Ok(options.disable_statement_logging())
}

/// Everything but plain characters is escaped, so that no `?` or `%` of a path changes its meaning.
fn url(file: &Path, mode: &str) -> Result<String, StoreError> {
    let path = file
        .to_str()
        .ok_or_else(|| StoreError::Unavailable(format!("{}: the path is not UTF-8", file.display())))?;
    let escaped: String = path
        .bytes()
        .map(|octet| match octet {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' => {
                char::from(octet).to_string()
            }
            _ => format!("%{octet:02X}"),
        })
        .collect();
    Ok(format!("sqlite://{escaped}?mode={mode}"))
}

/// `SQLITE_BUSY` in any of its extended forms.
pub(in crate::store) fn is_busy(error: &sqlx::Error) -> bool {
    let Some(error) = error.as_database_error() else { return false };
    if let Some(error) = error.try_downcast_ref::<FileError>() {
        return error.is_busy();
    }
    let error = error.try_downcast_ref::<SqliteError>();
    let code = error.and_then(sqlx::error::DatabaseError::code);
    code.and_then(|code| code.parse::<u32>().ok()).is_some_and(|code| code & 0xff == 5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_character_of_a_path_changes_the_url() {
        let url = url(Path::new("/a b/c?mode=rwc#d%20é.db"), "rw").unwrap();
        assert_eq!(url, "sqlite:///a%20b/c%3Fmode%3Drwc%23d%2520%C3%A9.db?mode=rw");
    }
}
