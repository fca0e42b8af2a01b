//! Connections: one that writes, a few that only read. What is one engine's own (how a connection
//! is prepared, what is read back, what makes a file) is in `sqlite` and `postgres`, and in
//! `migrations`.

mod postgres;
mod sqlite;

use std::future::Future;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::Duration;

use sqlx::{AnyConnection, AnyPool};

use super::StoreError;
use super::engine::Engine;
use super::settings::{PostgresSettings, StoreSettings};

pub(super) use sqlite::is_busy;

/// How long a transaction waits for SQLite's write lock, over several attempts to begin.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// How many connections read.
const READERS: u32 = 4;

/// The two pools on one database.
#[derive(Clone, Debug)]
pub(super) struct Connections {
    pub(super) engine: Engine,
    pub(super) writer: AnyPool,
    pub(super) readers: AnyPool,
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
    pub(super) async fn integrity(&self, readers: &AnyPool) -> Result<Vec<String>, StoreError> {
        match self {
            Self::Sqlite(_) => sqlite::integrity(readers).await,
            Self::Postgres(_) => postgres::integrity(readers).await,
        }
    }
}

impl Connections {
    /// Both pools, each with one connection that has shown that it works.
    pub(super) async fn open(database: &Database) -> Result<Self, StoreError> {
        match database {
            Database::Sqlite(file) => sqlite::open(file).await,
            Database::Postgres(settings) => postgres::open(settings).await,
        }
    }

    pub(super) async fn close(&self) {
        self.readers.close().await;
        // Last, so that on SQLite it is the one that folds the WAL into the file.
        self.writer.close().await;
    }
}

/// Runs `work` on a connection of `pool`. One that does not answer in time is closed: it may be
/// half open for hours.
pub(super) async fn on_pool<T>(
    pool: &AnyPool,
    work: impl AsyncFnOnce(&mut AnyConnection) -> Result<T, sqlx::Error>,
) -> Result<T, sqlx::Error> {
    let mut connection = pool.acquire().await?;
    let patience = Engine::of(&connection).patience();
    let result = within(patience, work(&mut connection)).await;
    if matches!(&result, Err(error) if is_late(error)) {
        connection.close_on_drop();
    }
    result
}

/// What `work` gives, unless it takes longer than `patience`.
pub(super) async fn within<T, E: From<sqlx::Error>>(
    patience: Option<Duration>,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let Some(patience) = patience else { return work.await };
    match tokio::time::timeout(patience, work).await {
        Ok(result) => result,
        Err(_) => {
            let late = std::io::Error::new(ErrorKind::TimedOut, "the database did not answer in time");
            Err(E::from(sqlx::Error::Io(late)))
        }
    }
}

fn is_late(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Io(error) if error.kind() == ErrorKind::TimedOut)
}
