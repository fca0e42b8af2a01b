//! Pools of connections, and a connection out of one.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::{Any, AnyConnection, AnyPool};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{block_in_place, spawn_blocking};
use tokio::time::timeout;

use super::file::{Access, File};
use super::{is_busy, within};
use crate::store::engine::Engine;

/// How long a caller waits for a connection. Below the five seconds in which every request answers.
const ACQUIRE: Duration = Duration::from_secs(4);

/// The work on a connection.
pub(in crate::store) type Work<'c, T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send + 'c>>;

/// A few connections, which are lent.
#[derive(Clone, Debug)]
pub(in crate::store) enum Pool {
    Files(Arc<Files>),
    Servers(AnyPool),
}

/// Connections to one file.
#[derive(Debug)]
pub(in crate::store) struct Files {
    path: PathBuf,
    access: Access,
    count: u32,
    /// One permit for each that may be lent.
    free: Arc<Semaphore>,
    idle: Mutex<Vec<File>>,
}

/// One connection. It goes back to its pool when it is dropped, unless nobody knows how it stands.
#[derive(Debug)]
pub(in crate::store) struct Connection {
    on: On,
    /// A transaction has begun and not ended, or something went wrong.
    unclear: bool,
}

#[derive(Debug)]
enum On {
    /// Whoever has it is on a thread that may block.
    File(Lent),
    Server(PoolConnection<Any>),
}

/// A connection to a file, and its place.
#[derive(Debug)]
struct Lent {
    file: Option<File>,
    files: Arc<Files>,
    _permit: OwnedSemaphorePermit,
}

/// Either engine's own connection.
pub(in crate::store) enum Own<'c> {
    File(&'c mut File),
    Server(&'c mut AnyConnection),
}

impl Pool {
    /// So many connections to a file, the first of which has shown that it works.
    pub(super) fn files(path: PathBuf, access: Access, count: u32) -> Result<Self, sqlx::Error> {
        let first = File::open(&path, access)?;
        let free = Arc::new(Semaphore::new(usize::try_from(count).unwrap_or(1)));
        Ok(Self::Files(Arc::new(Files { path, access, count, free, idle: Mutex::new(vec![first]) })))
    }

    /// A connection, as soon as one is free.
    ///
    /// # Errors
    /// `PoolTimedOut`, `PoolClosed`, or what is wrong with a new one.
    pub(in crate::store) async fn acquire(&self) -> Result<Connection, sqlx::Error> {
        let on = match self {
            Self::Files(files) => On::File(Files::lend(files).await?),
            Self::Servers(pool) => On::Server(pool.acquire().await?),
        };
        Ok(Connection { on, unclear: false })
    }

    /// One more connection to its file, which is none of the pool's; none to a server.
    pub(in crate::store) fn one_more_file(&self) -> Result<Option<File>, sqlx::Error> {
        match self {
            Self::Files(files) => File::open(&files.path, files.access).map(Some),
            Self::Servers(_) => Ok(None),
        }
    }

    /// Waits until every connection is back, closes them, and lends none any more.
    pub(in crate::store) async fn close(&self) {
        match self {
            Self::Files(files) => files.close().await,
            Self::Servers(pool) => pool.close().await,
        }
    }

    /// Runs `work` on one connection: on a thread that may block, where it blocks. A server that does not
    /// answer in time is given up: the connection may be half open for hours.
    ///
    /// # Errors
    /// Those of `work` and of [`Pool::acquire`]; `WorkerCrashed` where it broke off.
    pub(in crate::store) async fn with<T, E, F>(&self, work: F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<sqlx::Error> + Send + 'static,
        F: for<'c> FnOnce(&'c mut Connection) -> Work<'c, T, E> + Send + 'static,
    {
        let mut connection = self.acquire().await?;
        if connection.blocks() {
            let runtime = Handle::current();
            // On this thread, while another one takes its place among the workers: whoever asked goes through
            // the rows next, and from another processor each of them would have to be fetched.
            if runtime.runtime_flavor() == RuntimeFlavor::MultiThread {
                return block_in_place(|| runtime.block_on(work(&mut connection)));
            }
            let working = move || runtime.block_on(work(&mut connection));
            let broken_off = |_| Err(sqlx::Error::WorkerCrashed.into());
            return spawn_blocking(working).await.unwrap_or_else(broken_off);
        }
        let result = within(connection.engine().patience(), async { Ok(work(&mut connection).await) }).await;
        result.unwrap_or_else(|late: sqlx::Error| {
            connection.close_on_drop();
            Err(late.into())
        })
    }
}

impl Files {
    async fn lend(files: &Arc<Self>) -> Result<Lent, sqlx::Error> {
        let free = Arc::clone(&files.free);
        let permit = timeout(ACQUIRE, free.acquire_owned()).await.map_err(|_| sqlx::Error::PoolTimedOut)?;
        let permit = permit.map_err(|_| sqlx::Error::PoolClosed)?;
        let idle = files.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let file = idle.map_or_else(|| File::open(&files.path, files.access), Ok)?;
        Ok(Lent { file: Some(file), files: Arc::clone(files), _permit: permit })
    }

    async fn close(&self) {
        let all = self.free.acquire_many(self.count).await;
        self.free.close();
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
        drop(all);
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(file) = self.file.take() {
            self.files.idle.lock().unwrap_or_else(PoisonError::into_inner).push(file);
        }
    }
}

impl Connection {
    /// Whether what runs on it blocks the thread.
    pub(in crate::store) fn blocks(&self) -> bool {
        matches!(self.on, On::File(_))
    }

    pub(in crate::store) fn engine(&self) -> Engine {
        match self.on {
            On::File(_) => Engine::Sqlite,
            On::Server(_) => Engine::Postgres,
        }
    }

    /// The engine's own.
    ///
    /// # Errors
    /// `WorkerCrashed`: there is none any more.
    pub(in crate::store) fn own(&mut self) -> Result<Own<'_>, sqlx::Error> {
        Ok(match &mut self.on {
            On::File(lent) => Own::File(lent.file.as_mut().ok_or(sqlx::Error::WorkerCrashed)?),
            On::Server(server) => Own::Server(server),
        })
    }

    /// Begins a transaction with the words of [`Engine::begin_write`] or [`Engine::begin_view`].
    pub(in crate::store) async fn begin(&mut self, words: &'static str) -> Result<(), sqlx::Error> {
        self.unclear = true;
        let begun = self.run(words).await;
        // What was busy has begun nothing; after any other error nobody knows.
        self.unclear = !begun.as_ref().is_err_and(is_busy);
        begun
    }

    /// Ends a transaction. After an error nobody knows whether it stands.
    pub(in crate::store) async fn commit(&mut self) -> Result<(), sqlx::Error> {
        self.run("COMMIT").await?;
        self.unclear = false;
        Ok(())
    }

    /// Ends a transaction as if it had never begun.
    pub(in crate::store) async fn rollback(&mut self) -> Result<(), sqlx::Error> {
        self.run("ROLLBACK").await?;
        self.unclear = false;
        Ok(())
    }

    /// Runs words of this program's own.
    pub(in crate::store) async fn run(&mut self, words: &'static str) -> Result<(), sqlx::Error> {
        match self.own()? {
            Own::File(file) => file.run(words),
            Own::Server(server) => sqlx::raw_sql(words).execute(server).await.map(drop),
        }
    }

    /// The same for words that a test puts together.
    #[cfg(test)]
    pub(in crate::store) async fn run_text(&mut self, words: &str) -> Result<(), sqlx::Error> {
        match self.own()? {
            Own::File(file) => file.run(words),
            Own::Server(server) => {
                sqlx::raw_sql(sqlx::AssertSqlSafe(words.to_owned())).execute(server).await.map(drop)
            }
        }
    }

    /// Closes it when it is dropped: a new one is in a state that is known.
    pub(in crate::store) fn close_on_drop(&mut self) {
        self.unclear = true;
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.unclear {
            match &mut self.on {
                On::File(lent) => drop(lent.file.take()),
                On::Server(server) => server.close_on_drop(),
            }
        }
    }
}
