//! The ledger. The only place that names sqlx, and the only one that makes a [`Recorded`].
//!
//! Certificates, refusals and events share one sequence of numbers in commit order. A certificate
//! and its event have the same number and are written in one transaction, before anybody sees the
//! certificate. `writer` commits what has queued together; everything else that writes goes
//! through `change`. Every transaction that writes takes the one row of `state` first.
//!
//! Statements keep to what SQLite and PostgreSQL both have; what is SQLite's own is in
//! `connection` and `migrations`.

mod authorities;
mod batch;
mod cells;
pub mod certificate_filter;
pub mod certificates;
mod change;
mod checks;
mod connection;
mod error;
pub mod events;
mod idempotency;
mod insert;
pub mod keys;
mod lifetimes;
mod migrations;
mod names;
pub mod page;
pub mod policies;
pub mod refusals;
mod search;
pub mod snapshot;
mod state;
mod statement;
pub mod stats;
mod times;
pub mod tokens;
pub mod users;
mod writer;

#[cfg(test)]
mod tests;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use sqlx::{Connection, Row};

pub use certificate_filter::{CertificateFilter, CertificateStatus};
pub use certificates::{Idempotency, Issuance, Recorded};
pub use error::{RecordError, RefusalError, StoreError};
pub use events::EventFilter;
pub use page::{Order, Page, Span};
pub use refusals::{Refusal, RefusalFilter, RefusalToRecord};
pub use snapshot::{Revisions, Snapshot};

use crate::time::Time;
use connection::Connections;
use state::State;
use writer::Queue;

/// Where the ledger is.
#[derive(Clone, Debug)]
pub struct StoreSettings {
    /// The SQLite file; made if it is not there. A relative path is one of the process's own
    /// folder: the configuration resolves its own before it gets here.
    pub sqlite_file: PathBuf,
}

/// The open ledger. Clones share it.
#[derive(Clone, Debug)]
pub struct Store {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    file: PathBuf,
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
    /// How many records wait to be written.
    pub queue_length: usize,
    /// How many may wait before [`StoreError::Busy`].
    pub queue_limit: usize,
}

impl Store {
    /// Opens the ledger, making or updating its schema, and starts its writer. Needs a tokio
    /// runtime. WAL and synchronous commits are set and read back.
    ///
    /// # Errors
    /// `Unavailable` where the file cannot be opened or written or does not take a setting,
    /// `NewerSchema` and `Corrupt` where it holds what this program does not know.
    pub async fn open(settings: &StoreSettings) -> Result<Self, StoreError> {
        let file = connection::create(&settings.sqlite_file)?;
        let mut first = connection::connect(&file).await?;
        migrations::run(&mut first).await?;
        let connections = Connections::open(&file).await?;
        // Only now, so that the file was never without a connection: the last one to go folds up
        // the WAL, which a reader that comes then cannot make anew.
        let _ = first.close().await;
        let queue = Queue::start(connections.writer.clone());
        let shared = Shared { file, connections, queue, serving: Mutex::new(None) };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Takes the right to serve from this file, until the last clone of this store is gone.
    /// Commands that work beside a server do not take it.
    ///
    /// # Errors
    /// `Conflict` where another process, or another store of this one, holds it.
    pub fn lock_for_serving(&self) -> Result<(), StoreError> {
        let mut serving = self.shared.serving.lock().unwrap_or_else(PoisonError::into_inner);
        if serving.is_none() {
            *serving = Some(serving_lock(&self.shared.file)?);
        }
        Ok(())
    }

    /// Cheap proof that reading works, with the newest record's time.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn health(&self) -> Result<Health, StoreError> {
        let state = State::load(&self.connections().readers).await?;
        Ok(Health {
            newest_record: state.newest_at,
            queue_length: self.queue_length(),
            queue_limit: self.shared.queue.limit(),
        })
    }

    /// The last number that was given. What is committed later has a higher one.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn newest_number(&self) -> Result<i64, StoreError> {
        Ok(State::load(&self.connections().readers).await?.number)
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

    /// SQLite's own full check of the file, and of what refers to what. Reads all of it. Empty:
    /// nothing is wrong.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`.
    pub async fn integrity(&self) -> Result<Vec<String>, StoreError> {
        let readers = &self.connections().readers;
        let mut problems = Vec::new();
        for row in sqlx::query("PRAGMA integrity_check").fetch_all(readers).await? {
            let text: String = row.try_get(0)?;
            if text != "ok" {
                problems.push(text);
            }
        }
        for row in sqlx::query("PRAGMA foreign_key_check").fetch_all(readers).await? {
            let (from, to): (String, String) = (row.try_get("table")?, row.try_get("parent")?);
            problems.push(format!("a row of {from} refers to a row of {to} that is not there"));
        }
        Ok(problems)
    }

    fn connections(&self) -> &Connections {
        &self.shared.connections
    }

    fn queue(&self) -> &Queue {
        &self.shared.queue
    }
}

/// A lock on a file beside the database; the system lets go of it when the process ends. Not on
/// the database itself, whose locks are SQLite's.
fn serving_lock(database: &Path) -> Result<File, StoreError> {
    let mut path = database.as_os_str().to_owned();
    path.push(".lock");
    let path = PathBuf::from(path);
    let unavailable = |error: std::io::Error| StoreError::Unavailable(format!("{}: {error}", path.display()));
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
