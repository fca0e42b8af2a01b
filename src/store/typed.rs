//! The statement of a page as one would type it into `sqlite3` or `psql`, its values written out.
//! For the benchmark, which holds the service against the database's own client.

use super::engine::Engine;
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
                let select = certificates::select(&search, path, span);
                Ok(Typed::of(&select, connection.engine(), search.named(path)))
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
                let select = refusals::select(&search, path, span);
                Ok(Typed::of(&select, connection.engine(), search.named(path)))
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
