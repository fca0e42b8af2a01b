//! The statement of a page as one would type it into `sqlite3` or `psql`, its values written out.
//! For the benchmark, which holds the service against the database's own client.

use std::sync::{Mutex, PoisonError};

use super::connection::Connection;
use super::engine::Engine;
use super::search::{Path, Search};
use super::statement::Statement;
use super::{
    CertificateFilter, EventFilter, RefusalFilter, Span, StoreError, certificates, events, refusals,
};

/// What the service asks its database for the rows of a page.
#[derive(Clone, Debug)]
pub struct Typed {
    /// The statement, or several one after the other where the page is read in stretches.
    pub text: String,
    /// The last of them.
    pub last: String,
    /// What prepares it on PostgreSQL for all values, as the service does, and what runs it with its own.
    pub prepared: [String; 2],
    /// Along what it reads.
    pub along: String,
}

impl Typed {
    fn of(statement: &Statement<'_>, engine: Engine, along: &str) -> Self {
        let text = statement.typed(engine);
        Self { last: text.clone(), text, prepared: statement.prepared(), along: along.to_owned() }
    }
}

impl super::Store {
    /// What [`super::Store::certificates`] asks last, and along what it reads.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`.
    pub async fn typed_certificates(
        &self,
        filter: &CertificateFilter,
        span: Span,
    ) -> Result<Typed, StoreError> {
        let filter = filter.clone();
        self.read(move |connection| {
            Box::pin(async move {
                let search = filter.timed_search(connection).await?;
                let path = search.path(&mut *connection, span).await?;
                typed(&search, connection, path, span, certificates::select).await
            })
        })
        .await
    }

    /// What [`super::Store::refusals`] asks last, and along what it reads.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`.
    pub async fn typed_refusals(&self, filter: &RefusalFilter, span: Span) -> Result<Typed, StoreError> {
        let filter = filter.clone();
        self.read(move |connection| {
            Box::pin(async move {
                let search = filter.timed_search(connection).await?;
                let path = search.path(&mut *connection, span).await?;
                typed(&search, connection, path, span, refusals::select).await
            })
        })
        .await
    }

    /// What [`super::Store::events`] asks last.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`.
    pub async fn typed_events(&self, filter: &EventFilter, span: Span) -> Result<Typed, StoreError> {
        let filter = filter.clone();
        self.read(move |connection| {
            Box::pin(async move {
                let numbers = filter.numbers(connection).await?;
                let engine = connection.engine();
                Ok(Typed::of(&events::select(&filter, &numbers, span, engine), engine, ""))
            })
        })
        .await
    }
}

/// The statements of all stretches that are read for the page.
async fn typed<'f>(
    search: &Search<'f>,
    connection: &mut Connection,
    path: Path,
    span: Span,
    select: impl Fn(&Search<'f>, Path, Span) -> Statement<'f> + Sync,
) -> Result<Typed, StoreError> {
    let engine = connection.engine();
    let asked: Mutex<Vec<Typed>> = Mutex::new(Vec::new());
    let noted = |search: &Search<'f>, path, span| {
        let statement = select(search, path, span);
        let typed = Typed::of(&statement, engine, search.named(path));
        asked.lock().unwrap_or_else(PoisonError::into_inner).push(typed);
        statement
    };
    search.rows(connection, path, span, noted).await?;
    let mut asked = asked.into_inner().unwrap_or_else(PoisonError::into_inner);
    let last =
        asked.pop().ok_or_else(|| StoreError::Corrupt("a page of no rows was asked for".to_owned()))?;
    let text: Vec<&str> = asked.iter().chain([&last]).map(|typed| typed.text.as_str()).collect();
    Ok(Typed { text: text.join(";\n"), ..last.clone() })
}
