//! Ends a request: its CSR is erased, and the event says who ended it.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::{HeldId, HeldRequest, HeldState, reading};
use crate::audit::{Origin, RequestId};
use crate::store::cells::Cells;
use crate::store::certificates::{Collects, Issuance};
use crate::store::change::append_event;
use crate::store::connection::Connection;
use crate::store::snapshot::Revisions;
use crate::store::state::State;
use crate::store::statement::{Statement, chunks};
use crate::store::{Own, Store, StoreError};
use crate::time::Time;

/// Who does what nobody asked for.
const SERVICE: &str = "service:countersign";

/// How many requests lapse in one transaction.
const LAPSES: u32 = 200;

/// The end of a request.
pub(super) struct Closing<'o> {
    pub(super) number: i64,
    pub(super) id: HeldId,
    pub(super) to: HeldState,
    pub(super) detail: Value,
    pub(super) at: Time,
    pub(super) origin: &'o Origin,
    /// The number of the certificate, where there is one.
    pub(super) certificate: Option<i64>,
}

impl<'o> Closing<'o> {
    pub(super) fn voided(request: &HeldRequest, why: &str, at: Time, origin: &'o Origin) -> Self {
        let detail = json!({ "id": request.id.to_string(), "why": why });
        let (number, id) = (request.number, request.id);
        Self { number, id, to: HeldState::Voided, detail, at, origin, certificate: None }
    }
}

impl Store {
    /// Takes an open request back, with the event `request.withdrawn`. `None` if there is no such
    /// request among `own`; else how it stood before.
    ///
    /// # Errors
    /// `Stale` unless the token revision is `seen_tokens`; `Unavailable`, `Corrupt`.
    pub async fn withdraw_request(
        &self,
        id: HeldId,
        own: &Own,
        seen_tokens: i64,
        now: Time,
        origin: &Origin,
    ) -> Result<Option<HeldState>, StoreError> {
        let (own, origin) = (own.clone(), origin.clone());
        self.change(move |connection| Box::pin(withdraw(connection, id, own, seen_tokens, now, origin))).await
    }

    /// Voids an open request, with the event `request.voided`. False if it is not open.
    ///
    /// # Errors
    /// `Stale` unless everything is at the revisions `seen`, where some are given; `Unavailable`,
    /// `Corrupt`.
    pub async fn void_request(
        &self,
        id: HeldId,
        why: &'static str,
        seen: Option<Revisions>,
        now: Time,
        origin: &Origin,
    ) -> Result<bool, StoreError> {
        let origin = origin.clone();
        self.change(move |connection| Box::pin(void(connection, id, why, seen, now, origin))).await
    }

    /// Ends requests whose time is over, with an event `request.lapsed` for each, and returns how
    /// many. To be called until there are none.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`.
    pub async fn lapse_requests(&self, now: Time) -> Result<usize, StoreError> {
        let mut due =
            Statement::new("SELECT count(*) AS due FROM requests WHERE state <= 2 AND lapses_at <= ");
        due.bind(now);
        let row = due.optional(&self.connections().readers).await?;
        let due = row.map_or(Ok(0), |row| Cells::new(&row, "requests", "due").integer("due"))?;
        if due == 0 {
            return Ok(0);
        }
        self.change(move |connection| {
            Box::pin(async move {
                let mut state = State::lock(connection).await?;
                let lapsed = lapse_due(connection, &mut state, now).await?;
                state.save(connection).await?;
                Ok(lapsed)
            })
        })
        .await
    }
}

/// Ends what is over. `state` is saved by the caller.
pub(super) async fn lapse_due(
    connection: &mut Connection,
    state: &mut State,
    now: Time,
) -> Result<usize, StoreError> {
    let mut select =
        Statement::new("SELECT number, id, lapses_at FROM requests WHERE state <= 2 AND lapses_at <= ");
    select.bind(now).push(" ORDER BY lapses_at LIMIT ").bind(LAPSES);
    let rows = select.all(&mut *connection).await?;
    for row in &rows {
        let cells = Cells::new(row, "requests", "number");
        let id = HeldId(cells.octets("id")?);
        let origin = of_service(id);
        let closing = Closing {
            number: cells.integer("number")?,
            id,
            to: HeldState::Lapsed,
            detail: json!({ "id": id.to_string(), "lapses_at": cells.time("lapses_at")? }),
            at: now,
            origin: &origin,
            certificate: None,
        };
        close(connection, state, closing).await?;
    }
    Ok(rows.len())
}

/// Nobody asked for it over HTTP, so the id of the request stands for that of the exchange.
fn of_service(id: HeldId) -> Origin {
    Origin {
        caller: SERVICE.to_owned(),
        caller_groups: Vec::new(),
        request_id: RequestId(id.0),
        client_request_id: None,
        address: None,
    }
}

/// Ends one that is open. `state` is saved by the caller.
pub(super) async fn close(
    connection: &mut Connection,
    state: &mut State,
    closing: Closing<'_>,
) -> Result<(), StoreError> {
    let (at, kind) = (closing.at, closing.to.event());
    let event = append_event(connection, state, at, kind, closing.origin, &closing.detail).await?;
    let mut update = Statement::new("UPDATE requests SET csr = NULL, state = ");
    update.bind(closing.to.number()).push(", closed = ").bind(event);
    update.push(", certificate = ").bind(closing.certificate);
    update.push(" WHERE state <= 2 AND number = ").bind(closing.number);
    if update.execute(connection).await? != 1 {
        return Err(StoreError::Corrupt(format!("requests, {}: it was open and is not", closing.id)));
    }
    Ok(())
}

async fn withdraw(
    connection: &mut Connection,
    id: HeldId,
    own: Own,
    seen_tokens: i64,
    now: Time,
    origin: Origin,
) -> Result<Option<HeldState>, StoreError> {
    let mut state = State::lock(connection).await?;
    if seen_tokens != state.revisions.tokens {
        return Err(StoreError::Stale);
    }
    let found = reading::by_id(connection, id, now).await?;
    let Some(request) = found.filter(|request| own.holds(&request.origin.caller, request.number)) else {
        return Ok(None);
    };
    if request.state.is_open() {
        let closing = Closing {
            number: request.number,
            id,
            to: HeldState::Withdrawn,
            detail: json!({ "id": id.to_string() }),
            at: now,
            origin: &origin,
            certificate: None,
        };
        close(connection, &mut state, closing).await?;
    }
    state.save(connection).await?;
    Ok(Some(request.state))
}

async fn void(
    connection: &mut Connection,
    id: HeldId,
    why: &'static str,
    seen: Option<Revisions>,
    now: Time,
    origin: Origin,
) -> Result<bool, StoreError> {
    let mut state = State::lock(connection).await?;
    if seen.is_some_and(|seen| seen != state.revisions) {
        return Err(StoreError::Stale);
    }
    let found = reading::by_id(connection, id, now).await?;
    let Some(request) = found.filter(|request| request.state.is_open()) else { return Ok(false) };
    close(connection, &mut state, Closing::voided(&request, why, now, &origin)).await?;
    state.save(connection).await?;
    Ok(true)
}

/// The approved requests that a batch of issuances collects, read under the lock.
#[derive(Debug, Default)]
pub(in crate::store) struct Collectable {
    /// By id.
    approved: HashMap<[u8; 16], Collecting>,
}

#[derive(Debug)]
struct Collecting {
    number: i64,
    caller: String,
    lapses_at: Time,
}

impl Collectable {
    pub(in crate::store) async fn load(
        connection: &mut Connection,
        issuances: &[&Issuance],
    ) -> Result<Self, StoreError> {
        let ids: Vec<HeldId> =
            issuances.iter().filter_map(|issuance| Some(issuance.collects.as_ref()?.id)).collect();
        let mut found = Self::default();
        for chunk in chunks(&ids) {
            let mut select = Statement::new(
                "SELECT q.id, q.number, q.lapses_at, n.name AS caller FROM requests q \
                 JOIN names n ON n.id = q.caller_id WHERE q.state = 2 AND q.id IN (",
            );
            select.list(chunk.iter().map(|id| (&id.0).into())).push(")");
            for row in select.all(&mut *connection).await? {
                let cells = Cells::new(&row, "requests", "number");
                let (number, lapses_at) = (cells.integer("number")?, cells.time("lapses_at")?);
                let approved = Collecting { number, caller: cells.text("caller")?, lapses_at };
                found.approved.insert(cells.octets("id")?, approved);
            }
        }
        Ok(found)
    }

    /// Whether `issuance` collects what cannot be collected: not approved, another's, or over.
    pub(in crate::store) fn refuses(&self, issuance: &Issuance) -> bool {
        let Some(Collects { id, own }) = &issuance.collects else { return false };
        self.approved.get(&id.0).is_none_or(|approved| {
            !own.holds(&approved.caller, approved.number) || approved.lapses_at <= issuance.at
        })
    }

    /// A request is collected once, also within a batch.
    pub(in crate::store) fn take(&mut self, issuance: &Issuance) {
        if let Some(Collects { id, .. }) = &issuance.collects {
            self.approved.remove(&id.0);
        }
    }
}

/// Ends the request of a certificate that was just written under `number`. `state` is saved by the
/// caller.
pub(in crate::store) async fn collect(
    connection: &mut Connection,
    state: &mut State,
    number: i64,
    issuance: &Issuance,
) -> Result<(), StoreError> {
    let Some(id) = issuance.collects.as_ref().map(|collects| collects.id) else { return Ok(()) };
    let mut select = Statement::new("SELECT number FROM requests WHERE id = ");
    select.bind(&id.0);
    let row = select.optional(&mut *connection).await?;
    let row = row.ok_or_else(|| StoreError::Corrupt(format!("requests, {id}: it is not there")))?;
    let closing = Closing {
        number: Cells::new(&row, "requests", "number").integer("number")?,
        id,
        to: HeldState::Collected,
        detail: json!({ "id": id.to_string(), "serial": issuance.signed.serial().to_string() }),
        at: issuance.at,
        origin: &issuance.origin,
        certificate: Some(number),
    };
    close(connection, state, closing).await
}
