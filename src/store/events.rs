//! The audit log.

use serde_json::Value;

use super::cells::Cells;
use super::certificate_filter::period;
use super::change::append_event;
use super::connection::Connection;
use super::engine::Engine;
use super::row::Row;
use super::state::State;
use super::statement::Statement;
use super::times::{Numbers, numbers};
use super::{Order, Span, StoreError};
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
    /// A page of the events that match.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`.
    pub async fn events(
        &self,
        filter: &EventFilter,
        page: impl Into<Span>,
    ) -> Result<Vec<Event>, StoreError> {
        let (filter, span) = (filter.clone(), page.into());
        self.read(move |connection| {
            Box::pin(async move {
                let numbers = filter.numbers(connection).await?;
                let select = select(&filter, &numbers, span, connection.engine());
                let rows = select.all(connection).await?;
                let mut events = rows.iter().map(read).collect::<Result<Vec<_>, _>>()?;
                span.sort(&mut events, |event| event.number);
                Ok(events)
            })
        })
        .await
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
        self.events(filter, Span::all(Order::OldestFirst, limit).behind(after)).await
    }

    /// Appends events of one kind that belong to no other change, in one transaction.
    ///
    /// # Errors
    /// `Unavailable`; none of them was written.
    pub async fn record_notes(
        &self,
        kind: EventKind,
        notes: Vec<(Origin, Value)>,
        now: Time,
    ) -> Result<(), StoreError> {
        self.change(move |connection| {
            Box::pin(async move {
                let mut state = State::lock(connection).await?;
                for (origin, detail) in &notes {
                    append_event(connection, &mut state, now, kind, origin, detail).await?;
                }
                state.save(connection).await
            })
        })
        .await
    }

    /// Says that the list of clusters is another than before, and how.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn record_clusters_reloaded(
        &self,
        detail: Value,
        now: Time,
        origin: &Origin,
    ) -> Result<(), StoreError> {
        let origin = origin.clone();
        self.change(move |connection| {
            Box::pin(async move {
                let mut state = State::lock(connection).await?;
                let kind = EventKind::ClustersReloaded;
                append_event(connection, &mut state, now, kind, &origin, &detail).await?;
                state.save(connection).await
            })
        })
        .await
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

impl EventFilter {
    /// A stretch of numbers for each of [`RECORDS`].
    pub(super) async fn numbers(&self, connection: &mut Connection) -> Result<Vec<Numbers>, StoreError> {
        let period = [period(self.after_time, self.before_time)];
        let mut found = Vec::new();
        for kind in RECORDS {
            found.extend(numbers(connection, kind, &period).await?);
        }
        Ok(found)
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
        EventKind::LedgerRead => 20,
        EventKind::RequestHeld => 30,
        EventKind::RequestApproved => 31,
        EventKind::RequestDenied => 32,
        EventKind::RequestWithdrawn => 33,
        EventKind::RequestLapsed => 34,
        EventKind::RequestCollected => 35,
        EventKind::RequestVoided => 36,
        EventKind::IdentityBound => 40,
        EventKind::IdentityReleased => 41,
        EventKind::Authenticated => 42,
        EventKind::ClustersReloaded => 50,
        EventKind::TokenRotated => 60,
        EventKind::AuthenticationFailed => 61,
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

/// The kinds whose times are held against the newest record, and which are nearly all events.
const RECORDS: [EventKind; 2] = [EventKind::CertificateIssued, EventKind::RequestRefused];

const COLUMNS: &str = "SELECT e.number, e.at, e.kind, caller.name AS caller, e.caller_groups, \
     e.request_id, e.client_request_id, e.address, e.detail FROM (";
const JOINS: &str = ") k CROSS JOIN events e LEFT JOIN names caller ON caller.id = e.caller_id \
     WHERE e.number = k.number";

/// The rows of a page's numbers, in no order. `numbers` has a stretch for each of [`RECORDS`].
///
/// A period of time narrows the numbers of records only, so what else there is comes out of an
/// index of its own.
pub(super) fn select<'f>(
    filter: &'f EventFilter,
    numbers: &[Numbers],
    span: Span,
    engine: Engine,
) -> Statement<'f> {
    let mut select = Statement::new(COLUMNS);
    let timed = filter.after_time.is_some() || filter.before_time.is_some();
    let all = Numbers { above: span.above, below: span.below };
    let narrowed = all.within(either(numbers));
    match filter.kind {
        Some(EventKind::CertificateIssued) => push_events(&mut select, "e.kind + 0 = 1", filter, narrowed),
        Some(EventKind::RequestRefused) => {
            select.push("SELECT e.number AS number FROM events e WHERE ").push(engine.kind_of_refusals());
            // The time out of the row, so that PostgreSQL does not read along the index that has it and sort.
            push_rest(&mut select, ("e.caller_id", AT_OF_ROW), filter, narrowed);
        }
        Some(kind) => {
            select.push("SELECT e.number AS number FROM events e WHERE e.kind > 1 AND e.kind = ");
            select.bind(kind_number(kind));
            push_rest(&mut select, ("e.caller_id", AT), filter, all);
        }
        None if timed => {
            span.push_part(&mut select, engine, "e.number", |select| {
                push_events(select, "e.kind + 0 <= 2", filter, narrowed);
            });
            select.push(" UNION ALL ");
            span.push_part(&mut select, engine, "e.number", |select| {
                select.push("SELECT e.number AS number FROM events e WHERE e.kind > 2");
                select.push(" AND (CASE WHEN e.kind > 2 THEN 1 END) = 1");
                push_rest(select, ("e.caller_id + 0", AT), filter, all);
            });
        }
        None => push_events(&mut select, "e.kind + 0 > 0", filter, all),
    }
    select.push(" ORDER BY number").push(span.direction()).bind(span.limit).push(JOINS);
    select
}

/// What holds the records of both kinds.
fn either(numbers: &[Numbers]) -> Numbers {
    Numbers {
        above: numbers.iter().map(|numbers| numbers.above).min().unwrap_or(0),
        below: numbers.iter().map(|numbers| numbers.below).max().unwrap_or(i64::MAX),
    }
}

/// Along the index of the kind, the caller's, that of both, or all events.
fn push_events<'f>(
    select: &mut Statement<'f>,
    kind: &'static str,
    filter: &'f EventFilter,
    numbers: Numbers,
) {
    select.push("SELECT e.number AS number FROM events e WHERE ").push(kind);
    push_rest(select, ("e.caller_id", AT), filter, numbers);
}

/// The time of an event, by no index.
const AT: &str = "e.at + 0";
const AT_OF_ROW: &str = "(SELECT t.at FROM events t WHERE t.number = e.number)";

fn push_rest<'f>(
    select: &mut Statement<'f>,
    (caller, at): (&'static str, &'static str),
    filter: &'f EventFilter,
    numbers: Numbers,
) {
    push_between(select, numbers);
    if let Some(name) = &filter.caller {
        select.push(" AND ").push(caller).push(" = (SELECT id FROM names WHERE name = ").bind(name).push(")");
    }
    if let Some(after) = filter.after_time {
        select.push(" AND ").push(at).push(" >= ").bind(after);
    }
    if let Some(before) = filter.before_time {
        select.push(" AND ").push(at).push(" < ").bind(before);
    }
}

fn push_between(select: &mut Statement<'_>, numbers: Numbers) {
    select.push(" AND e.number > ").bind(numbers.above).push(" AND e.number < ").bind(numbers.below);
}

fn read(row: &Row) -> Result<Event, StoreError> {
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
