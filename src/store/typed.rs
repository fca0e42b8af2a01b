//! The statement of a page as one would type it into `sqlite3` or `psql`, its values written out.
//! For the benchmark, which holds the service against the database's own client.

use super::{
    CertificateFilter, EventFilter, RefusalFilter, Span, StoreError, certificates, events, refusals,
};

impl super::Store {
    /// What [`super::Store::certificates`] asks last, and along what it reads.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`.
    pub async fn typed_certificates(
        &self,
        filter: &CertificateFilter,
        span: Span,
    ) -> Result<(String, String), StoreError> {
        let filter = filter.clone();
        self.read(move |connection| {
            Box::pin(async move {
                let search = filter.timed_search(connection).await?;
                let path = search.path(&mut *connection, span).await?;
                let text = certificates::select(&search, path, span).typed(connection.engine());
                Ok((text, search.named(path).to_owned()))
            })
        })
        .await
    }

    /// What [`super::Store::refusals`] asks last, and along what it reads.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`.
    pub async fn typed_refusals(
        &self,
        filter: &RefusalFilter,
        span: Span,
    ) -> Result<(String, String), StoreError> {
        let filter = filter.clone();
        self.read(move |connection| {
            Box::pin(async move {
                let search = filter.timed_search(connection).await?;
                let path = search.path(&mut *connection, span).await?;
                let text = refusals::select(&search, path, span).typed(connection.engine());
                Ok((text, search.named(path).to_owned()))
            })
        })
        .await
    }

    /// What [`super::Store::events`] asks last.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`.
    pub async fn typed_events(&self, filter: &EventFilter, span: Span) -> Result<String, StoreError> {
        let filter = filter.clone();
        self.read(move |connection| {
            Box::pin(async move {
                let numbers = filter.numbers(connection).await?;
                let engine = connection.engine();
                Ok(events::select(&filter, &numbers, span, engine).typed(engine))
            })
        })
        .await
    }
}
