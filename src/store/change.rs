//! Changes of policies, tokens and blocked keys: one transaction each, with its event.

use std::future::Future;
use std::pin::Pin;
use std::time::Instant;

use serde_json::Value;
use sqlx::{AnyConnection, AnyPool, Connection};

use super::StoreError;
use super::connection::{PATIENCE, is_busy, within};
use super::engine::Engine;
use super::insert::{EventInsert, insert_events};
use super::names::name_id;
use super::state::State;
use crate::audit::{EventKind, Origin};
use crate::time::Time;

/// The work inside a transaction, on its connection.
pub(super) type Work<'c, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'c>>;

impl super::Store {
    /// Runs `work` in a transaction that takes the write lock at once, and commits unless it
    /// fails. A task of its own: a caller that goes away leaves no transaction open.
    pub(super) async fn change<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut AnyConnection) -> Work<'c, T> + Send + 'static,
    {
        let writer = self.connections().writer.clone();
        finished(tokio::spawn(async move { transaction(&writer, Engine::begin_write, work).await }).await)
    }

    /// Runs `work` on one unchanging view of the database, in a task of its own.
    pub(super) async fn view<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'c> FnOnce(&'c mut AnyConnection) -> Work<'c, T> + Send + 'static,
    {
        let readers = self.connections().readers.clone();
        finished(tokio::spawn(async move { transaction(&readers, Engine::begin_view, work).await }).await)
    }
}

/// A transaction that was abandoned by a database error may have left its connection in any
/// state, so the connection is closed and the pool makes a new one.
async fn transaction<T, F>(
    pool: &AnyPool,
    begin: fn(Engine) -> &'static str,
    work: F,
) -> Result<T, StoreError>
where
    F: for<'c> FnOnce(&'c mut AnyConnection) -> Work<'c, T> + Send,
{
    let started = Instant::now();
    let mut connection = pool.acquire().await?;
    let engine = Engine::of(&connection);
    let work = attempt(&mut connection, begin(engine), started, work);
    let result = within(engine.patience(), work).await;
    if matches!(result, Err(StoreError::Unavailable(_) | StoreError::Corrupt(_))) {
        connection.close_on_drop();
    }
    result
}

async fn attempt<T, F>(
    connection: &mut AnyConnection,
    begin: &'static str,
    started: Instant,
    work: F,
) -> Result<T, StoreError>
where
    F: for<'c> FnOnce(&'c mut AnyConnection) -> Work<'c, T> + Send,
{
    loop {
        match connection.begin_with(begin).await {
            Ok(mut transaction) => {
                let outcome = work(&mut transaction).await?;
                transaction.commit().await?;
                return Ok(outcome);
            }
            Err(error) if is_busy(&error) && started.elapsed() < 2 * PATIENCE => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn finished<T>(joined: Result<Result<T, StoreError>, tokio::task::JoinError>) -> Result<T, StoreError> {
    joined.map_err(|error| StoreError::Unavailable(format!("a transaction broke off: {error}")))?
}

/// Appends the event of a change and returns its number. `state` is saved by the caller.
pub(super) async fn append_event(
    connection: &mut AnyConnection,
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
