//! The statement of a page as one would type it into `sqlite3` or `psql`, its values written out.
//! For the benchmark, which holds the service against the database's own client.

use super::connection::Connection;
use super::engine::Engine;
use super::search::{Path, Search};
use super::statement::Statement;
use super::{
    CertificateFilter, EventFilter, RefusalFilter, Span, StoreError, certificates, events, refusals,
};

/// What the service asks its database last for a page.
#[derive(Clone, Debug)]
pub struct Typed {
    /// The whole statement.
    pub text: String,
    /// What prepares it on PostgreSQL for all values, as the service does, and what runs it with its own.
    pub prepared: [String; 2],
    /// Along what it reads.
    pub along: String,
}

impl Typed {
    fn of(statement: &Statement<'_>, engine: Engine, along: &str) -> Self {
        Self { text: statement.typed(engine), prepared: statement.prepared(), along: along.to_owned() }
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

/// The statement of the last stretch that is read for the page.
async fn typed<'f>(
    search: &Search<'f>,
    connection: &mut Connection,
    path: Path,
    span: Span,
    select: impl Fn(&Search<'f>, Path, Span) -> Statement<'f>,
) -> Result<Typed, StoreError> {
    let engine = connection.engine();
    let mut last = Typed::of(&select(search, path, span), engine, search.named(path));
    let mut found: usize = 0;
    for stretch in search.stretches(path, span) {
        let statement = select(search, path, stretch);
        last = Typed::of(&statement, engine, search.named(path));
        found = found.saturating_add(statement.all(&mut *connection).await?.len());
        if u32::try_from(found).is_ok_and(|found| found >= span.limit) {
            break;
        }
    }
    Ok(last)
}
