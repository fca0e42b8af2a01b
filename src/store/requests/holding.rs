//! Holds a request, or finds the one that is held already.

use std::collections::BTreeSet;

use serde_json::json;

use super::closing::lapse_due;
use super::{HeldId, HeldRequest, reading};
use crate::audit::{EventKind, Origin};
use crate::pki::name::{Name, ShortName};
use crate::policy::Held;
use crate::store::cells::Cells;
use crate::store::certificates::Idempotency;
use crate::store::change::append_event;
use crate::store::checks::{clock_behind, clock_off};
use crate::store::connection::Connection;
use crate::store::names::{Names, list_json, sha256};
use crate::store::snapshot::Revisions;
use crate::store::state::State;
use crate::store::statement::Statement;
use crate::store::{Own, RecordError, Store, StoreError, authorities, idempotency, keys};
use crate::time::{Lifetime, Time};

/// What is to be held.
#[derive(Debug)]
pub struct RequestToHold {
    /// Its id, if it is a new one.
    pub id: HeldId,
    /// The decision.
    pub held: Held,
    /// The DER that was decided on.
    pub csr: Vec<u8>,
    /// The time of the decision.
    pub at: Time,
    /// Who asked, from where.
    pub origin: Origin,
    /// Who answers for the caller's credential.
    pub owner: String,
    /// Which requests are the caller's own.
    pub own: Own,
    /// SHA-256 of the SPKI of the CA that is to sign.
    pub authority: [u8; 32],
    /// Why, in the requester's words.
    pub reason: Option<String>,
    /// From this moment on nothing comes of it.
    pub lapses_at: Time,
    /// How many of one caller's may be pending, this one included.
    pub most_pending: u32,
    /// What the decision was made on. Compared under the lock.
    pub seen: Revisions,
    /// Whose own token showed that the named person is behind it, where one did.
    pub proof: Option<serde_json::Value>,
    /// Where the request had an `Idempotency-Key`.
    pub idempotency: Option<Idempotency>,
}

/// What came of it.
#[derive(Debug)]
pub enum Hold {
    /// It is held now.
    New(Box<HeldRequest>),
    /// An identical one was open.
    Before(Box<HeldRequest>),
    /// The caller has as many pending ones as may be.
    TooMany,
}

impl Store {
    /// Holds a request, with the event `request.held`. An identical one that is open is given back
    /// instead.
    ///
    /// # Errors
    /// As [`RecordError`] says; nothing was held.
    pub async fn hold(&self, wish: RequestToHold) -> Result<Hold, RecordError> {
        let held = self.change(move |connection| Box::pin(hold(connection, wish))).await;
        held.map_err(RecordError::Store)?
    }
}

async fn hold(
    connection: &mut Connection,
    wish: RequestToHold,
) -> Result<Result<Hold, RecordError>, StoreError> {
    let mut state = State::lock(connection).await?;
    if let Some(error) = refuse(connection, &state, &wish).await? {
        return Ok(Err(error));
    }
    lapse_due(connection, &mut state, wish.at).await?;
    let (before, number) = match open_like(connection, &wish).await? {
        Some(number) => (true, number),
        None if pending_of(connection, &wish).await? >= i64::from(wish.most_pending) => {
            state.save(connection).await?;
            return Ok(Ok(Hold::TooMany));
        }
        None => (false, insert(connection, &mut state, &wish).await?),
    };
    if let Some(idempotency) = &wish.idempotency {
        idempotency::keep_one(connection, &wish.origin.caller, idempotency, number, wish.at).await?;
    }
    state.save(connection).await?;
    let request = reading::by_number(connection, number, wish.at).await?;
    let request = request.ok_or_else(|| StoreError::Corrupt(format!("requests: {number} is not there")))?;
    let request = Box::new(request);
    Ok(Ok(if before { Hold::Before(request) } else { Hold::New(request) }))
}

/// What an issuance would be refused for.
async fn refuse(
    connection: &mut Connection,
    state: &State,
    wish: &RequestToHold,
) -> Result<Option<RecordError>, StoreError> {
    if wish.seen != state.revisions || wish.held.revision() != state.revisions.policy {
        return Ok(Some(RecordError::Stale));
    }
    if let Some(newest) = clock_behind(state, wish.at) {
        return Ok(Some(RecordError::ClockBehind { newest }));
    }
    if let Some(database) = clock_off(state, wish.at) {
        return Ok(Some(RecordError::ClockOff { database }));
    }
    if state.only_authority.is_some_and(|only| only != wish.authority) {
        return Ok(Some(RecordError::Store(authorities::bound_to_another())));
    }
    let request = &wish.held.ask().request;
    let key = request.key().spki_sha256();
    let owner = keys::owner(connection, key).await?;
    if owner.is_some_and(|owner| owner != request.user().as_str()) {
        return Ok(Some(RecordError::KeyOwned));
    }
    let Some(wanted) = &wish.idempotency else { return Ok(None) };
    let kept = idempotency::find(&mut *connection, &wish.origin.caller, &wanted.key).await?;
    let taken = kept.is_some_and(|kept| kept.at > idempotency::expires_before(wish.at));
    Ok(taken.then_some(RecordError::IdempotencyKeyTaken))
}

/// The number of an open request of the same caller that asks for the same.
async fn open_like(connection: &mut Connection, wish: &RequestToHold) -> Result<Option<i64>, StoreError> {
    let mut select = Statement::new("SELECT number FROM requests WHERE state <= 2 AND lapses_at > ");
    select.bind(wish.at).push(" AND caller_id = (SELECT id FROM names WHERE name = ");
    let digest = digest(wish)?;
    select.bind(&wish.origin.caller).push(") AND wish = ").bind(&digest);
    let row = select.optional(connection).await?;
    let number = row.map(|row| Cells::new(&row, "requests", "number").integer("number")).transpose()?;
    Ok(number.filter(|number| wish.own.holds(&wish.origin.caller, *number)))
}

/// The second bound is that of the index.
async fn pending_of(connection: &mut Connection, wish: &RequestToHold) -> Result<i64, StoreError> {
    let mut select = Statement::new(
        "SELECT count(*) AS pending FROM requests q WHERE q.state = 1 AND q.state <= 2 AND q.lapses_at > ",
    );
    select.bind(wish.at);
    wish.own.push_test_of_requests(&mut select);
    let row = select.optional(connection).await?;
    row.map_or(Ok(0), |row| Cells::new(&row, "requests", "pending").integer("pending"))
}

/// Writes the event and the row, and returns their number.
async fn insert(
    connection: &mut Connection,
    state: &mut State,
    wish: &RequestToHold,
) -> Result<i64, StoreError> {
    let (held, ask) = (&wish.held, wish.held.ask());
    let key = ask.request.key();
    let number =
        append_event(connection, state, wish.at, EventKind::RequestHeld, &wish.origin, &detail(wish)).await?;
    let groups = list_json(ask.request.groups().iter().map(Name::as_str));
    let policies = list_json(held.rows().iter().map(ShortName::as_str));
    let mut names = Names::default();
    let words = BTreeSet::from([wish.origin.caller.as_str(), ask.cluster.as_str()]);
    names.store(connection, words, BTreeSet::from([groups.as_str(), policies.as_str()])).await?;
    let (reviews, spki, csr_sha256) = (reviews(held)?, key.spki_sha256(), sha256(&wish.csr));
    let digest = digest(wish)?;
    let mut insert = Statement::new(
        "INSERT INTO requests (number, id, state, caller_id, owner, cluster_id, authority, csr, csr_sha256, \
         user_name, groups_id, on_behalf_of, reason, key_kind, spki_sha256, asked_ttl, lifetime, policies_id, \
         reviews, policy_revision, wish, lapses_at) VALUES ",
    );
    insert.tuples([[
        number.into(),
        (&wish.id.0).into(),
        1_i64.into(),
        names.name(&wish.origin.caller)?.into(),
        (&wish.owner).into(),
        names.name(ask.cluster.as_str())?.into(),
        (&wish.authority).into(),
        wish.csr.as_slice().into(),
        (&csr_sha256).into(),
        ask.request.user().as_str().into(),
        names.list(&groups)?.into(),
        ask.on_behalf_of.as_ref().map(Name::as_str).into(),
        wish.reason.as_deref().into(),
        key.kind().as_str().into(),
        (&spki).into(),
        ask.ttl.map(|ttl| i64::from(ttl.seconds())).into(),
        held.lifetime().seconds().into(),
        names.list(&policies)?.into(),
        (&reviews).into(),
        held.revision().into(),
        (&digest).into(),
        wish.lapses_at.into(),
    ]]);
    insert.execute(&mut *connection).await?;
    Ok(number)
}

fn detail(wish: &RequestToHold) -> serde_json::Value {
    let ask = wish.held.ask();
    json!({
        "id": wish.id.to_string(),
        "cluster": ask.cluster,
        "user": ask.request.user().as_str(),
        "groups": ask.request.groups().iter().map(Name::as_str).collect::<Vec<_>>(),
        "on_behalf_of": ask.on_behalf_of.as_ref().map(Name::as_str),
        "on_behalf_of_proof": wish.proof,
        "reason": wish.reason,
        "lifetime": wish.held.lifetime(),
        "spki_sha256": hex::encode(ask.request.key().spki_sha256()),
        "csr_sha256": hex::encode(sha256(&wish.csr)),
        "reviews": wish.held.reviews().iter().map(|row| row.name.as_str()).collect::<Vec<_>>(),
        "policy_revision": wish.held.revision(),
        "lapses_at": wish.lapses_at,
    })
}

fn reviews(held: &Held) -> Result<String, StoreError> {
    serde_json::to_string(held.reviews())
        .map_err(|error| StoreError::Corrupt(format!("review rows cannot be written: {error}")))
}

/// Over everything that makes two requests of one caller the same. Not the CSR's own bytes: a repeated
/// `openssl req` signs the same wish with others.
fn digest(wish: &RequestToHold) -> Result<[u8; 32], StoreError> {
    let ask = wish.held.ask();
    let text = json!([
        ask.cluster,
        wish.owner,
        wish.authority,
        ask.request.key().spki_sha256(),
        ask.request.user().as_str(),
        ask.request.groups().iter().map(Name::as_str).collect::<Vec<_>>(),
        ask.ttl.map(Lifetime::seconds),
        wish.held.lifetime().seconds(),
        ask.on_behalf_of.as_ref().map(Name::as_str),
        wish.proof,
        wish.reason,
        reviews(&wish.held)?,
    ]);
    Ok(sha256(text.to_string().as_bytes()))
}
