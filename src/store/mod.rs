//! The ledger. The only place that names sqlx and rusqlite, and the only one that makes a [`Recorded`].
//!
//! Certificates, refusals and events share one sequence of numbers in commit order. A certificate
//! and its event have the same number and are written in one transaction, before anybody sees the
//! certificate. `writer` commits what has queued together; everything else that writes goes
//! through `change`. Every transaction that writes takes the one row of `state` first.
//!
//! Statements keep to what SQLite and PostgreSQL both have; what is one engine's own is in
//! `engine`, `connection` and `migrations`.

mod authorities;
mod backup;
mod batch;
mod cells;
pub mod certificate_filter;
pub mod certificates;
mod change;
mod checkpoints;
mod checks;
mod connection;
pub mod copy;
pub mod decisions;
mod engine;
mod error;
pub mod events;
mod idempotency;
pub mod identities;
mod insert;
pub mod inspection;
mod integrity;
pub mod keys;
mod lifetimes;
pub mod limits;
mod migrations;
mod names;
pub mod own;
pub mod page;
pub mod policies;
pub mod refusals;
pub mod requests;
pub mod retention;
mod row;
mod search;
pub mod settings;
pub mod snapshot;
mod state;
mod statement;
pub mod stats;
mod times;
pub mod tokens;
mod typed;
pub mod users;
mod writer;

#[cfg(test)]
mod tests;

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use sqlx::Connection;

pub use certificate_filter::{CertificateFilter, CertificateStatus};
pub use certificates::{Collects, Idempotency, Issuance, Kept, Recorded, Renews};
pub use error::{RecordError, RefusalError, StoreError};
pub use events::EventFilter;
pub use identities::{Binding, Holder, IdentityRecord, Subject};
pub use limits::{Allowance, Counted};
pub use migrations::Schema;
pub use own::{Own, Tenure};
pub use page::{Order, Page, Span};
pub use refusals::{Refusal, RefusalFilter, RefusalToRecord};
pub use requests::{HeldId, HeldRequest, HeldState, RequestFilter};
pub use settings::{PostgresSettings, StoreSettings};
pub use snapshot::{Revisions, Snapshot};
pub use typed::Typed;

use crate::time::Time;
use connection::{Connections, Database};
use state::State;
use writer::Queue;

/// The open ledger. Clones share it.
#[derive(Clone, Debug)]
pub struct Store {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    database: Database,
    connections: Connections,
    queue: Queue,
    /// Held for as long as this process serves.
    serving: Mutex<Option<File>>,
}

/// How the ledger stands.
#[derive(Clone, Copy, Debug)]
pub struct Health {
    /// The latest time of a certificate or refusal, or what an operator set it to.
    pub newest_record: Option<Time>,
    /// The database's own clock, where it has one.
    pub database_time: Option<Time>,
    /// How many records wait to be written.
    pub queue_length: usize,
    /// How many may wait before [`StoreError::Busy`].
    pub queue_limit: usize,
}

impl Health {
    /// Whether `now` is further than `tolerance` seconds from the database's clock.
    #[must_use]
    pub fn clock_is_off(&self, now: Time, tolerance: i64) -> bool {
        self.database_time.is_some_and(|database| database.seconds_since(now).saturating_abs() > tolerance)
    }
}

impl Store {
    /// Opens the ledger, making or updating its schema, and starts its writer. Needs a tokio
    /// runtime. What makes a commit durable is set or checked, and read back.
    ///
    /// # Errors
    /// `Unavailable` where the database cannot be opened or written or does not take a setting,
    /// `NewerSchema` and `Corrupt` where it holds what this program does not know.
    pub async fn open(settings: &StoreSettings) -> Result<Self, StoreError> {
        Self::open_with_batch(settings, writer::BATCH).await
    }

    /// The same, with at most `batch` records in one transaction. For the benchmark, which compares.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub async fn open_with_batch(settings: &StoreSettings, batch: usize) -> Result<Self, StoreError> {
        let database = Database::prepared(settings)?;
        let mut first = database.connect().await?;
        migrations::run(&mut first).await?;
        copy::refuse_unfinished(&mut first).await?;
        let connections = Connections::open(&database).await?;
        // Only now, so that a file was never without a connection: the last one to go folds up the
        // WAL, which a reader that comes then cannot make anew.
        let _ = first.close().await;
        let queue = Queue::start(connections.engine, connections.writer.clone(), batch)?;
        let shared = Shared { database, connections, queue, serving: Mutex::new(None) };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// How the schema stands, without changing it or making a file.
    ///
    /// # Errors
    /// As for [`Store::open`].
    pub async fn schema(settings: &StoreSettings) -> Result<Schema, StoreError> {
        if matches!(settings, StoreSettings::Sqlite(file) if !file.exists()) {
            return Ok(migrations::schema_of_nothing());
        }
        let mut connection = Database::prepared(settings)?.connect().await?;
        let schema = migrations::schema(&mut connection).await;
        let _ = connection.close().await;
        schema
    }

    /// Takes the right to serve from this file, until the last clone of this store is gone.
    /// Commands that work beside a server do not take it, and any number of replicas serve from one
    /// database of PostgreSQL.
    ///
    /// # Errors
    /// `Conflict` where another process, or another store of this one, holds it, or where the file
    /// has another hard link.
    pub fn lock_for_serving(&self) -> Result<(), StoreError> {
        let Database::Sqlite(file) = &self.shared.database else { return Ok(()) };
        let mut serving = self.shared.serving.lock().unwrap_or_else(PoisonError::into_inner);
        if serving.is_none() {
            *serving = Some(serving_lock(file)?);
        }
        Ok(())
    }

    /// Cheap proof that reading works, with the newest record's time.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn health(&self) -> Result<Health, StoreError> {
        let state = self.state().await?;
        Ok(Health {
            newest_record: state.newest_at,
            database_time: state.database_time,
            queue_length: self.queue_length(),
            queue_limit: self.shared.queue.limit(),
        })
    }

    /// The last number that was given. What is committed later has a higher one.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn newest_number(&self) -> Result<i64, StoreError> {
        Ok(self.state().await?.number)
    }

    /// How many records wait to be written. Does not touch the database.
    #[must_use]
    pub fn queue_length(&self) -> usize {
        self.shared.queue.length()
    }

    /// Commits what is queued and closes. Whatever comes later is `Unavailable`.
    pub async fn close(&self) {
        self.shared.queue.close().await;
        self.connections().close().await;
    }

    /// `state` as it stands.
    async fn state(&self) -> Result<State, StoreError> {
        State::load(self.connections().engine, &self.connections().readers).await
    }

    fn connections(&self) -> &Connections {
        &self.shared.connections
    }

    fn queue(&self) -> &Queue {
        &self.shared.queue
    }
}

/// Refuses a file with a second hard link. Under that name SQLite would keep another log, and two
/// programs that see each other's changes in part destroy the file.
fn refuse_other_names(database: &Path) -> Result<(), StoreError> {
    let found = std::fs::metadata(database);
    let found = found.map_err(|error| StoreError::Unavailable(format!("{}: {error}", database.display())))?;
    if found.nlink() > 1 {
        return Err(StoreError::Conflict(format!(
            "{} has a second name (a hard link), under which another program may write: remove it, and              copy a ledger with `countersign backup`",
            database.display()
        )));
    }
    Ok(())
}

/// A lock on a file beside the database; the system lets go of it when the process ends. Not on
/// the database itself, whose locks are SQLite's.
fn serving_lock(database: &Path) -> Result<File, StoreError> {
    let mut path = database.as_os_str().to_owned();
    path.push(".lock");
    let path = PathBuf::from(path);
    let unavailable = |error: std::io::Error| StoreError::Unavailable(format!("{}: {error}", path.display()));
    refuse_other_names(database)?;
    let file = File::options().create(true).append(true).open(&path).map_err(unavailable)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(StoreError::Conflict(format!(
            "{} is served by another process: stop it, or give this one its own database",
            database.display()
        ))),
        Err(std::fs::TryLockError::Error(error)) => Err(unavailable(error)),
    }
}
