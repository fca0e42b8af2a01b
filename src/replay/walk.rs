//! Reads decisions page by page. The next page is read while the last one is decided.

use super::decider::{Decider, Fate, Matter};
use crate::store::decisions::Decision;
use crate::store::{CertificateFilter, Order, Span, Store, StoreError};

/// How many decisions are read at a time.
const PAGE: u32 = 4_000;

/// A decision, and what the sets say to it where they have anything to say.
pub(super) type Decided = (Decision, Option<(Matter, Fate)>);

/// What is read.
pub(super) enum Pages<'f> {
    /// The certificates that match, in the order of the span, which shrinks as they are read.
    Certificates(&'f CertificateFilter, Option<Span>),
    /// So many certificates and refusals together, from the number on downwards.
    Latest {
        /// Numbers below this one are still to be read.
        below: i64,
        /// How many decisions are still wanted.
        left: u64,
    },
}

impl<'f> Pages<'f> {
    /// The certificates of `span` that match.
    pub(super) fn certificates(filter: &'f CertificateFilter, span: Span) -> Self {
        Self::Certificates(filter, Some(Span { limit: PAGE, ..span }))
    }

    /// The last `count` decisions.
    pub(super) async fn latest(store: &Store, count: u64) -> Result<Self, StoreError> {
        Ok(Self::Latest { below: store.newest_number().await?.saturating_add(1), left: count })
    }

    /// The next page; none at the end.
    async fn next(&mut self, store: &Store) -> Result<Option<Vec<Decision>>, StoreError> {
        match self {
            Self::Certificates(filter, span) => next_certificates(store, filter, span).await,
            Self::Latest { below, left } => next_latest(store, below, left).await,
        }
    }
}

/// Decides every page and hands it to `take`, until that says that it has enough.
pub(super) async fn walk(
    store: &Store,
    mut decider: Decider,
    mut pages: Pages<'_>,
    mut take: impl FnMut(Vec<Decided>) -> bool,
) -> Result<Decider, StoreError> {
    let mut page = pages.next(store).await?;
    while let Some(decisions) = page {
        decider.learn(store, &decisions).await?;
        let work = tokio::task::spawn_blocking(move || decide(decider, decisions));
        page = pages.next(store).await?;
        let broken = |error| StoreError::Unavailable(format!("deciding broke off: {error}"));
        let (back, fates) = work.await.map_err(broken)?;
        decider = back;
        if !take(fates) {
            break;
        }
    }
    Ok(decider)
}

fn decide(mut decider: Decider, decisions: Vec<Decision>) -> (Decider, Vec<Decided>) {
    let with_fate = decisions.into_iter().map(|decision| {
        let fate = decider.fate(&decision);
        (decision, fate)
    });
    let page = with_fate.collect();
    (decider, page)
}

async fn next_certificates(
    store: &Store,
    filter: &CertificateFilter,
    rest: &mut Option<Span>,
) -> Result<Option<Vec<Decision>>, StoreError> {
    let Some(span) = *rest else { return Ok(None) };
    let page = store.issued_decisions(filter, span).await?;
    let is_full = u32::try_from(page.len()).is_ok_and(|length| length == span.limit);
    *rest = page.last().filter(|_| is_full).map(|last| span.behind(last.number));
    Ok(Some(page).filter(|page| !page.is_empty()))
}

/// Stretches of numbers, since certificates and refusals share them with other events.
async fn next_latest(
    store: &Store,
    below: &mut i64,
    left: &mut u64,
) -> Result<Option<Vec<Decision>>, StoreError> {
    let everything = CertificateFilter::default();
    while *left > 0 && *below > 1 {
        let above = below.saturating_sub(i64::from(PAGE)).saturating_sub(1).max(0);
        let span = Span { above, below: *below, ..Span::all(Order::NewestFirst, PAGE) };
        let mut page = store.issued_decisions(&everything, span).await?;
        page.extend(store.refused_decisions(span).await?);
        page.sort_unstable_by_key(|decision| std::cmp::Reverse(decision.number));
        page.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
        *below = above.saturating_add(1);
        *left = left.saturating_sub(u64::try_from(page.len()).unwrap_or(u64::MAX));
        if !page.is_empty() {
            return Ok(Some(page));
        }
    }
    Ok(None)
}
