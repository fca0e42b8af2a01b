//! The audit log.

use serde_json::Value;
use sqlx::any::AnyRow;

use super::cells::Cells;
use super::change::append_event;
use super::state::State;
use super::statement::Statement;
use super::{Page, StoreError};
use crate::audit::{Event, EventKind, Origin, RequestId};
use crate::time::Time;

/// Which events are wanted: those that match all that is given.
#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    /// What happened.
    pub kind: Option<EventKind>,
    /// Who did it, as `token:portal`.
    pub caller: Option<String>,
    /// At this time or later.
    pub after_time: Option<Time>,
    /// Before this time, exclusive: so that two periods that meet share no event.
    pub before_time: Option<Time>,
}

impl super::Store {
    /// A page of the events that match, newest first.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`.
    pub async fn events(&self, filter: &EventFilter, page: Page) -> Result<Vec<Event>, StoreError> {
        let rows = newest_first(filter, page).all(&self.connections().readers).await?;
        rows.iter().map(read).collect()
    }

    /// Ascending, numbers above `after`: what a follower reads. Numbers are given in commit order,
    /// so one that was passed never appears later.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`.
    pub async fn events_after(
        &self,
        filter: &EventFilter,
        after: i64,
        limit: u32,
    ) -> Result<Vec<Event>, StoreError> {
        let rows = oldest_first(filter, after, limit).all(&self.connections().readers).await?;
        rows.iter().map(read).collect()
    }

    /// An operator's word that `now` is right, after a clock that stood in the future: records are
    /// taken from `now` on. Audited.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn accept_clock(&self, now: Time, origin: &Origin) -> Result<(), StoreError> {
        let origin = origin.clone();
        self.change(move |connection| {
            Box::pin(async move {
                let mut state = State::lock(connection).await?;
                let detail = serde_json::json!({ "newest_before": state.newest_at });
                state.newest_at = Some(now);
                let kind = EventKind::ClockAccepted;
                append_event(connection, &mut state, now, kind, &origin, &detail).await?;
                state.save(connection).await
            })
        })
        .await
    }
}

/// How a kind is stored. Numbers are never given anew.
pub(super) fn kind_number(kind: EventKind) -> i64 {
    match kind {
        EventKind::CertificateIssued => 1,
        EventKind::RequestRefused => 2,
        EventKind::PolicyReplaced => 3,
        EventKind::TokenCreated => 4,
        EventKind::TokenRevoked => 5,
        EventKind::KeyBlocked => 6,
        EventKind::KeyUnblocked => 7,
        EventKind::ClockAccepted => 8,
        EventKind::RetentionChanged => 9,
        EventKind::LedgerPruned => 10,
    }
}

/// Who did it, out of the columns of an event and its caller's name.
pub(super) fn origin(cells: &Cells<'_>) -> Result<Origin, StoreError> {
    let address = cells.optional_text("address")?;
    Ok(Origin {
        caller: cells.text("caller")?,
        caller_groups: cells.optional_json("caller_groups")?.unwrap_or_default(),
        request_id: RequestId(cells.octets("request_id")?),
        client_request_id: cells.optional_text("client_request_id")?,
        address: address
            .map(|address| address.parse().map_err(|_| cells.wrong("address", "is no address")))
            .transpose()?,
    })
}

pub(super) fn newest_first(filter: &EventFilter, page: Page) -> Statement<'_> {
    let mut select = Statement::new(SELECT);
    select.push("e.number < ").bind(page.bound());
    push_filter(&mut select, filter);
    select.push(" ORDER BY e.number DESC LIMIT ").bind(page.limit);
    select
}

pub(super) fn oldest_first(filter: &EventFilter, after: i64, limit: u32) -> Statement<'_> {
    let mut select = Statement::new(SELECT);
    select.push("e.number > ").bind(after);
    push_filter(&mut select, filter);
    select.push(" ORDER BY e.number LIMIT ").bind(limit);
    select
}

const SELECT: &str = "SELECT e.number, e.at, e.kind, caller.name AS caller, e.caller_groups, e.request_id, \
     e.client_request_id, e.address, e.detail \
     FROM events e LEFT JOIN names caller ON caller.id = e.caller_id WHERE ";

fn push_filter<'f>(select: &mut Statement<'f>, filter: &'f EventFilter) {
    if let Some(kind) = filter.kind {
        select.push(" AND e.kind = ").bind(kind_number(kind));
    }
    if let Some(caller) = &filter.caller {
        select.push(" AND e.caller_id = (SELECT id FROM names WHERE name = ").bind(caller).push(")");
    }
    if let Some(after) = filter.after_time {
        select.push(" AND e.at >= ").bind(after);
    }
    if let Some(before) = filter.before_time {
        select.push(" AND e.at < ").bind(before);
    }
}

fn read(row: &AnyRow) -> Result<Event, StoreError> {
    let cells = Cells::new(row, "events", "number");
    let kind = cells.integer("kind")?;
    Ok(Event {
        number: cells.integer("number")?,
        at: cells.time("at")?,
        kind: EventKind::ALL
            .into_iter()
            .find(|known| kind_number(*known) == kind)
            .ok_or_else(|| cells.wrong("kind", "is no kind of event"))?,
        origin: origin(&cells)?,
        detail: cells.optional_json("detail")?.unwrap_or(Value::Null),
    })
}
