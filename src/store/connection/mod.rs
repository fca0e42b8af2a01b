//! Connections: one that writes, a few that only read. What is one engine's own (how a connection
//! is prepared, what is read back, what makes a file) is in `sqlite`, `file` and `postgres`, and in
//! `migrations`.
//!
//! Statements on a file run on the thread that asks, through rusqlite: the driver of sqlx hands each
//! of them, and each of its rows, to a thread of its own. Schema, check, copy and backup of a file, which are
//! seldom, go through sqlx, as everything does with a server.

mod file;
mod pool;
mod postgres;
mod sqlite;

use std::future::Future;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

use sqlx::AnyConnection;

use super::StoreError;
use super::engine::Engine;
use super::settings::{PostgresSettings, StoreSettings};

pub(super) use file::File;
pub(super) use pool::{Connection, Own, Pool, Work};
pub(super) use sqlite::{integrity as integrity_of_file, is_busy, options as options_of_file};

/// How long a transaction waits for SQLite's write lock, over several attempts to begin.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// How many connections read.
const READERS: u32 = 4;

/// The two pools on one database.
#[derive(Clone, Debug)]
pub(super) struct Connections {
    pub(super) engine: Engine,
    pub(super) writer: Pool,
    pub(super) readers: Pool,
}

/// A database that can be connected to.
#[derive(Clone, Debug)]
pub(super) enum Database {
    /// The file's real path.
    Sqlite(PathBuf),
    Postgres(Box<PostgresSettings>),
}

impl Database {
    /// Makes the file of SQLite where there is none. A database of PostgreSQL must be there.
    pub(super) fn prepared(settings: &StoreSettings) -> Result<Self, StoreError> {
        Ok(match settings {
            StoreSettings::Sqlite(file) => Self::Sqlite(sqlite::create(file)?),
            StoreSettings::Postgres(settings) => Self::Postgres(settings.clone()),
        })
    }

    /// One connection outside the pools, with errors that say what is wrong with the database.
    pub(super) async fn connect(&self) -> Result<AnyConnection, StoreError> {
        match self {
            Self::Sqlite(file) => sqlite::connect(file).await,
            Self::Postgres(settings) => postgres::connect(settings).await,
        }
    }

    /// What is wrong with the whole of it, as far as the engine itself can tell.
    pub(super) async fn integrity(&self, connection: &mut AnyConnection) -> Result<Vec<String>, StoreError> {
        match self {
            Self::Sqlite(_) => sqlite::integrity(connection).await,
            Self::Postgres(_) => postgres::integrity(connection).await,
        }
    }
}

impl Connections {
    /// Both pools, each with one connection that has shown that it works.
    pub(super) async fn open(database: &Database) -> Result<Self, StoreError> {
        match database {
            Database::Sqlite(file) => sqlite::open(file),
            Database::Postgres(settings) => postgres::open(settings).await,
        }
    }

    pub(super) async fn close(&self) {
        self.readers.close().await;
        // Last, so that on SQLite it is the one that folds the WAL into the file.
        self.writer.close().await;
    }
}

/// What `work` gives, unless it takes longer than `patience`.
pub(super) async fn within<T, E: From<sqlx::Error>>(
    patience: Option<Duration>,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let Some(patience) = patience else { return work.await };
    tokio::time::timeout(patience, work).await.unwrap_or_else(|_| {
        let late = std::io::Error::new(ErrorKind::TimedOut, "the database did not answer in time");
        Err(E::from(sqlx::Error::Io(late)))
    })
}
