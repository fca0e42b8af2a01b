//! Reads held requests.

use super::evidence::{self, Documents};
use super::{Closed, HeldId, HeldRequest, HeldState};
use crate::store::cells::Cells;
use crate::store::certificates::proof;
use crate::store::connection::Connection;
use crate::store::row::Row;
use crate::store::statement::Statement;
use crate::store::{Own, Span, Store, StoreError, events};
use crate::time::Time;

/// Which requests are wanted: those that match all that is given.
#[derive(Clone, Debug, Default)]
pub struct RequestFilter {
    /// How they stand at this moment.
    pub state: Option<HeldState>,
    /// Whether something can still come of them at this moment.
    pub open: bool,
    /// Who asked, as `token:portal`.
    pub caller: Option<String>,
    /// Whose own they are.
    pub own: Option<Own>,
    /// The asked user name, exactly.
    pub user: Option<String>,
    /// The cluster's name.
    pub cluster: Option<String>,
}

impl Store {
    /// A page of the requests that match, as they stand at `now`.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`.
    pub async fn requests(
        &self,
        filter: &RequestFilter,
        span: Span,
        now: Time,
    ) -> Result<Vec<HeldRequest>, StoreError> {
        let filter = filter.clone();
        self.view(move |connection| Box::pin(async move { page(connection, &filter, span, now).await })).await
    }

    /// One request as it stands at `now`.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`.
    pub async fn request(&self, id: HeldId, now: Time) -> Result<Option<HeldRequest>, StoreError> {
        self.view(move |connection| Box::pin(by_id(connection, id, now))).await
    }

    /// How a request stands at `now`: cheap, for who waits.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`.
    pub async fn request_state(&self, id: HeldId, now: Time) -> Result<Option<HeldState>, StoreError> {
        let mut select =
            Statement::new("SELECT q.number, q.state, q.lapses_at FROM requests q WHERE q.id = ");
        select.bind(&id.0);
        let row = select.optional(&self.connections().readers).await?;
        row.map(|row| state(&Cells::new(&row, "requests", "number"), now)).transpose()
    }

    /// How many requests wait for people at `now`.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`.
    pub async fn pending_requests(&self, now: Time) -> Result<i64, StoreError> {
        // The first condition is that of the index.
        let mut select = Statement::new(
            "SELECT count(*) AS pending FROM requests WHERE state <= 2 AND state = 1 AND lapses_at > ",
        );
        select.bind(now);
        let row = select.optional(&self.connections().readers).await?;
        row.map_or(Ok(0), |row| Cells::new(&row, "requests", "pending").integer("pending"))
    }
}

pub(super) async fn by_id(
    connection: &mut Connection,
    id: HeldId,
    now: Time,
) -> Result<Option<HeldRequest>, StoreError> {
    let mut select = Statement::new(COLUMNS);
    select.push(" WHERE q.id = ").bind(&id.0);
    one(connection, select, now).await
}

pub(in crate::store) async fn by_number(
    connection: &mut Connection,
    number: i64,
    now: Time,
) -> Result<Option<HeldRequest>, StoreError> {
    let mut select = Statement::new(COLUMNS);
    select.push(" WHERE q.number = ").bind(number);
    one(connection, select, now).await
}

async fn one(
    connection: &mut Connection,
    select: Statement<'_>,
    now: Time,
) -> Result<Option<HeldRequest>, StoreError> {
    let Some(row) = select.optional(&mut *connection).await? else { return Ok(None) };
    let mut requests = vec![read(&row, now)?];
    complete(connection, &mut requests, now).await?;
    Ok(requests.pop())
}

async fn page(
    connection: &mut Connection,
    filter: &RequestFilter,
    span: Span,
    now: Time,
) -> Result<Vec<HeldRequest>, StoreError> {
    let mut select = Statement::new(COLUMNS);
    select.push(" WHERE q.number > ").bind(span.above).push(" AND q.number < ").bind(span.below);
    if filter.open {
        select.push(" AND q.state <= 2 AND q.lapses_at > ").bind(now);
    }
    match filter.state {
        None => {}
        Some(HeldState::Lapsed) => {
            select.push(" AND (q.state = 5 OR (q.state <= 2 AND q.lapses_at <= ").bind(now).push("))");
        }
        Some(state) => {
            select.push(" AND q.state = ").bind(state.number());
            if state.is_open() {
                select.push(" AND q.lapses_at > ").bind(now);
            }
        }
    }
    if let Some(caller) = &filter.caller {
        select.push(" AND q.caller_id = (SELECT id FROM names WHERE name = ").bind(caller).push(")");
    }
    if let Some(own) = &filter.own {
        own.push_test_of_requests(&mut select);
    }
    if let Some(cluster) = &filter.cluster {
        select.push(" AND q.cluster_id = (SELECT id FROM names WHERE name = ").bind(cluster).push(")");
    }
    if let Some(user) = &filter.user {
        select.push(" AND q.user_name = ").bind(user);
    }
    select.push(" ORDER BY q.number").push(span.direction()).bind(span.limit);
    let rows = select.all(&mut *connection).await?;
    let mut requests = rows.iter().map(|row| read(row, now)).collect::<Result<Vec<_>, _>>()?;
    complete(connection, &mut requests, now).await?;
    Ok(requests)
}

/// Adds what stands elsewhere: approvals, and what they count for.
async fn complete(
    connection: &mut Connection,
    requests: &mut [HeldRequest],
    now: Time,
) -> Result<(), StoreError> {
    evidence::load_approvals(connection, requests).await?;
    let documents = Documents::load(connection, requests).await?;
    for request in requests {
        request.standing = documents.evidence(request, now).standing();
    }
    Ok(())
}

const COLUMNS: &str = "SELECT q.number, q.id, q.state, q.owner, q.authority, q.csr, q.csr_sha256, \
     q.user_name, q.on_behalf_of, q.reason, q.key_kind, q.spki_sha256, q.asked_ttl, q.lifetime, q.reviews, \
     q.policy_revision, q.lapses_at, q.certificate, cluster.name AS cluster, g.names AS group_names, \
     p.names AS policy_names, e.at, caller.name AS caller, e.caller_groups, e.request_id, \
     e.client_request_id, e.address, e.detail AS event_detail, c.at AS closed_at, closer.name AS closed_by, c.detail AS closed_detail \
     FROM requests q \
     LEFT JOIN events e ON e.number = q.number \
     LEFT JOIN names caller ON caller.id = e.caller_id \
     LEFT JOIN names cluster ON cluster.id = q.cluster_id \
     LEFT JOIN name_lists g ON g.id = q.groups_id \
     LEFT JOIN name_lists p ON p.id = q.policies_id \
     LEFT JOIN events c ON c.number = q.closed \
     LEFT JOIN names closer ON closer.id = c.caller_id";

fn read(row: &Row, now: Time) -> Result<HeldRequest, StoreError> {
    let cells = Cells::new(row, "requests", "number");
    let lifetime = cells.optional_lifetime("lifetime")?;
    Ok(HeldRequest {
        number: cells.integer("number")?,
        id: HeldId(cells.octets("id")?),
        state: state(&cells, now)?,
        at: cells.time("at")?,
        origin: events::origin(&cells)?,
        owner: cells.text("owner")?,
        cluster: cells.text("cluster")?,
        authority: cells.octets("authority")?,
        csr: cells.optional_blob("csr")?,
        csr_sha256: cells.octets("csr_sha256")?,
        user: cells.text("user_name")?,
        groups: cells.json("group_names")?,
        on_behalf_of: cells.optional_text("on_behalf_of")?,
        proof: proof(&cells)?,
        reason: cells.optional_text("reason")?,
        key_kind: cells.text("key_kind")?,
        spki_sha256: cells.octets("spki_sha256")?,
        asked_ttl: cells.optional_lifetime("asked_ttl")?,
        lifetime: lifetime.ok_or_else(|| cells.wrong("lifetime", "is not there"))?,
        policies: cells.json("policy_names")?,
        reviews: cells.json("reviews")?,
        policy_revision: cells.integer("policy_revision")?,
        lapses_at: cells.time("lapses_at")?,
        closed: closed(&cells)?,
        certificate: cells.optional_integer("certificate")?,
        approvals: Vec::new(),
        standing: Vec::new(),
    })
}

/// As it stands at `now`: what is over is over before anybody writes it.
pub(super) fn state(cells: &Cells<'_>, now: Time) -> Result<HeldState, StoreError> {
    let number = cells.integer("state")?;
    let state = HeldState::ALL.into_iter().find(|known| known.number() == number);
    let state = state.ok_or_else(|| cells.wrong("state", "is no state of a request"))?;
    let over = state.is_open() && cells.time("lapses_at")? <= now;
    Ok(if over { HeldState::Lapsed } else { state })
}

fn closed(cells: &Cells<'_>) -> Result<Option<Closed>, StoreError> {
    let Some(at) = cells.optional_time("closed_at")? else { return Ok(None) };
    let detail: Option<serde_json::Value> = cells.optional_json("closed_detail")?;
    let said = |name: &str| Some(detail.as_ref()?.get(name)?.as_str()?.to_owned());
    Ok(Some(Closed { at, by: cells.text("closed_by")?, comment: said("comment"), serial: said("serial") }))
}
