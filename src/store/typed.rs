//! The statement of a page as one would type it into `sqlite3` or `psql`, its values written out.
//! For the benchmark, which holds the service against the database's own client.

use super::certificate_filter::period;
use super::search::Search;
use super::{
    CertificateFilter, EventFilter, RefusalFilter, Span, StoreError, certificates, events, refusals,
};
use crate::audit::EventKind;

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
        let search = self.certificate_search(filter).await?;
        let path = search.path(&self.connections().readers, span).await?;
        let text = certificates::select(&search, path, span).typed(self.connections().engine);
        Ok((text, search.named(path).to_owned()))
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
        let search = self.refusal_search(filter).await?;
        let path = search.path(&self.connections().readers, span).await?;
        let text = refusals::select(&search, path, span).typed(self.connections().engine);
        Ok((text, search.named(path).to_owned()))
    }

    /// What [`super::Store::events`] asks last.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`.
    pub async fn typed_events(&self, filter: &EventFilter, span: Span) -> Result<String, StoreError> {
        let period = [period(filter.after_time, filter.before_time)];
        let mut numbers = Vec::new();
        for kind in [EventKind::CertificateIssued, EventKind::RequestRefused] {
            numbers.extend(self.numbers(kind, &period).await?);
        }
        Ok(events::select(filter, &numbers, span).typed(self.connections().engine))
    }

    async fn refusal_search<'f>(&self, filter: &'f RefusalFilter) -> Result<Search<'f>, StoreError> {
        let mut search = filter.search();
        let period = [period(filter.after, filter.before)];
        if let Some(numbers) = self.numbers(EventKind::RequestRefused, &period).await?.first() {
            search.numbers = *numbers;
        }
        Ok(search)
    }
}
