//! Live certificates that today's policy set would no longer give.

use std::sync::Arc;

use super::decider::{Decider, Sets};
use super::walk::{Pages, walk};
use crate::policy::{Clusters, PolicySet};
use crate::store::{CertificateFilter, CertificateStatus, Recorded, Span, Store, StoreError};
use crate::time::Time;

/// Today's set, to look for what it would no longer give.
#[derive(Clone, Debug)]
pub struct Drift {
    sets: Sets,
}

impl Drift {
    /// The set that holds, compiled for `clusters`, at `now`.
    #[must_use]
    pub fn new(current: Arc<PolicySet>, clusters: &Clusters, now: Time) -> Self {
        Self { sets: Sets::only(current, clusters, now) }
    }

    /// A page of those that match `filter`, are live and would be refused. A certificate for a
    /// cluster that is not configured here is not among them.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`.
    pub async fn page(
        &self,
        store: &Store,
        filter: &CertificateFilter,
        span: Span,
    ) -> Result<Vec<Recorded>, StoreError> {
        let live = Some((CertificateStatus::Active, self.sets.now()));
        let filter = CertificateFilter { status: live, ..filter.clone() };
        let limit = usize::try_from(span.limit).unwrap_or(usize::MAX);
        let mut numbers: Vec<i64> = Vec::new();
        walk(store, Decider::new(self.sets.clone()), Pages::certificates(&filter, span), |page| {
            let drifted = page.into_iter().filter(|(_, fate)| fate.is_some_and(|(_, fate)| !fate.current));
            numbers.extend(drifted.map(|(decision, _)| decision.number));
            numbers.len() < limit
        })
        .await?;
        numbers.truncate(limit);
        let mut rows = Vec::with_capacity(numbers.len());
        for number in numbers {
            rows.extend(certificate(store, number).await?);
        }
        Ok(rows)
    }
}

/// The certificate of this number; none where it was pruned since.
pub(super) async fn certificate(store: &Store, number: i64) -> Result<Option<Recorded>, StoreError> {
    let found = store.certificates(&CertificateFilter::default(), only(number)).await?;
    Ok(found.into_iter().next())
}

/// Only this number.
pub(super) fn only(number: i64) -> Span {
    let all = Span::all(crate::store::Order::OldestFirst, 1);
    Span { above: number.saturating_sub(1), below: number.saturating_add(1), ..all }
}
