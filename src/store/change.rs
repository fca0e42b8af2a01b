//! Changes of policies, tokens and blocked keys: one transaction each, with its event.

use std::time::Instant;

use serde_json::Value;

use super::StoreError;
use super::connection::{self, Connection, PATIENCE, Pool, is_busy};
use super::engine::Engine;
use super::insert::{EventInsert, insert_events};
use super::names::name_id;
use super::state::State;
use crate::audit::{EventKind, Origin};
use crate::time::Time;

/// The work inside a transaction, on its connection.
pub(super) type Work<'c, T> = connection::Work<'c, T, StoreError>;

impl super::Store {
    /// Runs `work` in a transaction that takes the write lock at once, and commits unless it
    /// fails. A task of its own: a caller that goes away leaves no transaction open.
    pub(super) async fn change<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut Connection) -> Work<'c, T> + Send + 'static,
    {
        self.transaction(self.connections().writer.clone(), Engine::begin_write, work).await
    }

    /// Runs `work` on one unchanging view of the database, in a task of its own.
    pub(super) async fn view<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut Connection) -> Work<'c, T> + Send + 'static,
    {
        self.transaction(self.connections().readers.clone(), Engine::begin_view, work).await
    }

    /// The same for work that may have to go over all of it, as counting does.
    pub(super) async fn survey<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut Connection) -> Work<'c, T> + Send + 'static,
    {
        self.transaction(self.connections().readers.clone(), Engine::begin_survey, work).await
    }

    /// Runs `work` on one connection that only reads; each statement sees what was committed until then.
    pub(super) async fn read<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut Connection) -> Work<'c, T> + Send + 'static,
    {
        self.connections().readers.with(work).await
    }

    async fn transaction<T, F>(
        &self,
        pool: Pool,
        begin: fn(Engine) -> &'static str,
        work: F,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut Connection) -> Work<'c, T> + Send + 'static,
    {
        let running =
            async move { pool.with(move |connection| Box::pin(attempt(connection, begin, work))).await };
        finished(tokio::spawn(running).await)
    }
}

/// A transaction that was abandoned by a database error may have left its connection in any
/// state, so it is left open: the connection is closed and the pool makes a new one.
async fn attempt<T, F>(
    connection: &mut Connection,
    begin: fn(Engine) -> &'static str,
    work: F,
) -> Result<T, StoreError>
where
    F: for<'c> FnOnce(&'c mut Connection) -> Work<'c, T> + Send,
{
    let (started, begin) = (Instant::now(), begin(connection.engine()));
    while let Err(error) = connection.begin(begin).await {
        if !is_busy(&error) || started.elapsed() >= 2 * PATIENCE {
            return Err(error.into());
        }
    }
    match work(connection).await {
        Ok(outcome) => {
            connection.commit().await?;
            Ok(outcome)
        }
        Err(error @ (StoreError::Unavailable(_) | StoreError::Corrupt(_))) => Err(error),
        Err(error) => {
            connection.rollback().await?;
            Err(error)
        }
    }
}

fn finished<T>(joined: Result<Result<T, StoreError>, tokio::task::JoinError>) -> Result<T, StoreError> {
    joined.map_err(|error| StoreError::Unavailable(format!("a transaction broke off: {error}")))?
}

/// Appends the event of a change and returns its number. `state` is saved by the caller.
pub(super) async fn append_event(
    connection: &mut Connection,
    state: &mut State,
    at: Time,
    kind: EventKind,
    origin: &Origin,
    detail: &Value,
) -> Result<i64, StoreError> {
    let caller_id = name_id(connection, &origin.caller).await?;
    let number = state.next_number();
    let event = EventInsert::new(number, at, kind, caller_id, origin).with_detail(detail);
    insert_events(connection, &[event]).await?;
    Ok(number)
}
