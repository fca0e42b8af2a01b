//! Whose a caller's name is: it is bound to the first subject that showed it, until an admin releases it.

use std::collections::{HashMap, HashSet};

use crate::store::connection::Connection;
use crate::store::row::Row;
use serde_json::json;

use super::cells::Cells;
use super::change::append_event;
use super::names::name_id;
use super::own::{Own, Tenure};
use super::state::State;
use super::statement::Statement;
use super::{Span, Store, StoreError};
use crate::audit::{EventKind, Origin};
use crate::time::Time;

/// A name that is or was bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityRecord {
    /// The number of the event that bound it.
    pub number: i64,
    /// As in `oidc:corp:alice`.
    pub caller: String,
    /// `iss`.
    pub issuer: String,
    /// `sub`.
    pub subject: String,
    /// When it was bound.
    pub at: Time,
    since: i64,
    released: Option<i64>,
}

/// How many names one subject can have at once: an issuer may let people choose, and nobody is to take
/// those of others.
const MOST_NAMES: usize = 8;

/// One live binding of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// Of the event that bound it: what is released is known by it.
    pub number: i64,
    /// When it was bound.
    pub at: Time,
    /// The records of this subject, under this and every former name.
    pub own: Own,
}

/// Whose a name is, for the subject that shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// Its own.
    This(Binding),
    /// Another subject's.
    Another,
    /// Nobody's.
    Nobody,
    /// Nobody's, and the subject has as many names as it can have.
    TooMany,
}

/// The one behind a token of an issuer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Subject {
    /// `iss`.
    pub issuer: String,
    /// `sub`.
    pub subject: String,
}

impl Store {
    /// Whose the name `caller` is. Nothing is written.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`.
    pub async fn holder(&self, caller: &str, subject: &Subject) -> Result<Holder, StoreError> {
        let (name, wanted) = (caller.to_owned(), subject.clone());
        self.view(move |connection| Box::pin(find(connection, name, wanted))).await
    }

    /// Whose the name `caller` is: that of `subject` from now on where it was nobody's.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`.
    pub async fn bind_identity(
        &self,
        caller: &str,
        subject: &Subject,
        now: Time,
        origin: &Origin,
    ) -> Result<Holder, StoreError> {
        match self.holder(caller, subject).await? {
            Holder::Nobody => {}
            known => return Ok(known),
        }
        let (name, wanted, origin) = (caller.to_owned(), subject.clone(), origin.clone());
        self.change(move |connection| Box::pin(bind(connection, name, wanted, now, origin))).await
    }

    /// Whether a subject has or had both names.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`.
    pub async fn had_both(&self, one: &str, other: &str) -> Result<bool, StoreError> {
        let one = one.to_owned();
        let names = self
            .view(move |connection| Box::pin(async move { names_beside(connection, &one).await }))
            .await?;
        Ok(names.iter().any(|name| name == other))
    }

    /// Live bindings, of one name or of all.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`.
    pub async fn identities(
        &self,
        caller: Option<&str>,
        span: Span,
    ) -> Result<Vec<IdentityRecord>, StoreError> {
        let mut select = Statement::new(COLUMNS);
        select.push(" WHERE i.released IS NULL AND i.number > ").bind(span.above);
        select.push(" AND i.number < ").bind(span.below);
        if let Some(caller) = caller {
            select.push(" AND i.caller_id = (SELECT id FROM names WHERE name = ").bind(caller).push(")");
        }
        select.push(" ORDER BY i.number").push(span.direction()).bind(span.limit);
        select.all(&self.connections().readers).await?.iter().map(read).collect()
    }

    /// Gives a name free, with the event `identity.released`: the next subject that shows it gets it.
    /// `None` if it is bound to nobody.
    ///
    /// # Errors
    /// `Stale` unless the token revision is `seen_tokens`, where one is given; `Unavailable`.
    pub async fn release_identity(
        &self,
        caller: &str,
        seen_tokens: Option<i64>,
        now: Time,
        origin: &Origin,
    ) -> Result<Option<IdentityRecord>, StoreError> {
        let (caller, origin) = (caller.to_owned(), origin.clone());
        self.change(move |connection| Box::pin(release(connection, caller, seen_tokens, now, origin))).await
    }
}

/// The numbers of every binding that was released.
pub(super) async fn released(connection: &mut Connection) -> Result<HashSet<i64>, StoreError> {
    let select = Statement::new("SELECT number FROM identities WHERE released IS NOT NULL");
    let rows = select.all(connection).await?;
    rows.iter().map(|row| Cells::new(row, "identities", "number").integer("number")).collect()
}

/// How the names of callers begin that belong to a subject.
const OIDC: &str = "oidc:";

/// Whether a subject can have this caller's name.
pub(super) fn may_be_bound(caller: &str) -> bool {
    caller.starts_with(OIDC)
}

/// Every name that a subject has or had which ever had this one.
pub(super) async fn names_beside(
    connection: &mut Connection,
    caller: &str,
) -> Result<Vec<String>, StoreError> {
    let mut select = Statement::new(
        "SELECT DISTINCT o.id, o.name FROM names n JOIN identities i ON i.caller_id = n.id \
         JOIN identities s ON s.subject = i.subject AND s.issuer = i.issuer \
         JOIN names o ON o.id = s.caller_id WHERE n.name = ",
    );
    select.bind(caller);
    let rows = select.all(connection).await?;
    rows.iter().map(|row| Cells::new(row, "names", "id").text("name")).collect()
}

/// Those of these names that belong to a subject, with the numbers since when.
pub(super) async fn bound(
    connection: &mut Connection,
    callers: impl Iterator<Item = &str> + Send,
) -> Result<HashMap<String, i64>, StoreError> {
    let mut since = HashMap::new();
    for caller in callers {
        let last = last(connection, caller).await?.filter(|last| last.released.is_none());
        since.extend(last.map(|last| (last.caller, last.since)));
    }
    Ok(since)
}

const COLUMNS: &str = "SELECT i.number, i.issuer, i.subject, i.since, i.released, n.name AS caller, e.at \
     FROM identities i JOIN names n ON n.id = i.caller_id JOIN events e ON e.number = i.number";

fn read(row: &Row) -> Result<IdentityRecord, StoreError> {
    let cells = Cells::new(row, "identities", "number");
    Ok(IdentityRecord {
        number: cells.integer("number")?,
        caller: cells.text("caller")?,
        issuer: cells.text("issuer")?,
        subject: cells.text("subject")?,
        at: cells.time("at")?,
        since: cells.integer("since")?,
        released: cells.optional_integer("released")?,
    })
}

async fn find(connection: &mut Connection, caller: String, wanted: Subject) -> Result<Holder, StoreError> {
    match last(connection, &caller).await?.filter(|last| last.released.is_none()) {
        None => Ok(Holder::Nobody),
        Some(bound) if !is_of(&bound, &wanted) => Ok(Holder::Another),
        Some(IdentityRecord { number, at, .. }) => {
            let own = own(connection, &wanted).await?;
            Ok(Holder::This(Binding { number, at, own }))
        }
    }
}

fn is_of(record: &IdentityRecord, subject: &Subject) -> bool {
    record.issuer == subject.issuer && record.subject == subject.subject
}

/// The latest binding of a name, released or not.
async fn last(connection: &mut Connection, caller: &str) -> Result<Option<IdentityRecord>, StoreError> {
    let mut select = Statement::new(COLUMNS);
    select.push(" WHERE i.caller_id = (SELECT id FROM names WHERE name = ").bind(caller);
    select.push(") ORDER BY i.number DESC LIMIT 1");
    select.optional(connection).await?.as_ref().map(read).transpose()
}

async fn own(connection: &mut Connection, subject: &Subject) -> Result<Own, StoreError> {
    let mut select = Statement::new(COLUMNS);
    select.push(" WHERE i.subject = ").bind(&subject.subject);
    select.push(" AND i.issuer = ").bind(&subject.issuer).push(" ORDER BY i.number");
    let records = select.all(connection).await?.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let tenure = |record: IdentityRecord| Tenure {
        caller: record.caller,
        above: record.since,
        below: record.released.unwrap_or(i64::MAX),
    };
    Ok(Own::of(records.into_iter().map(tenure).collect()))
}

async fn bind(
    connection: &mut Connection,
    caller: String,
    subject: Subject,
    now: Time,
    origin: Origin,
) -> Result<Holder, StoreError> {
    let mut state = State::lock(connection).await?;
    match find(connection, caller.clone(), subject.clone()).await? {
        Holder::Nobody => {}
        known => return Ok(known),
    }
    if own(connection, &subject).await?.live_names() >= MOST_NAMES {
        return Ok(Holder::TooMany);
    }
    let last = last(connection, &caller).await?;
    let detail = json!({ "caller": caller, "issuer": subject.issuer, "subject": subject.subject });
    let number =
        append_event(connection, &mut state, now, EventKind::IdentityBound, &origin, &detail).await?;
    // Whoever gets a name back that was nobody else's meanwhile has what it did before.
    let before = last.filter(|before| is_of(before, &subject)).map(|before| before.since);
    let caller_id = name_id(connection, &caller).await?;
    let mut insert =
        Statement::new("INSERT INTO identities (number, caller_id, issuer, subject, since) VALUES ");
    insert.tuples([[
        number.into(),
        caller_id.into(),
        (&subject.issuer).into(),
        (&subject.subject).into(),
        before.unwrap_or(number).into(),
    ]]);
    insert.execute(&mut *connection).await?;
    state.save(connection).await?;
    Ok(Holder::This(Binding { number, at: now, own: own(connection, &subject).await? }))
}

async fn release(
    connection: &mut Connection,
    caller: String,
    seen_tokens: Option<i64>,
    now: Time,
    origin: Origin,
) -> Result<Option<IdentityRecord>, StoreError> {
    let mut state = State::lock(connection).await?;
    if seen_tokens.is_some_and(|seen| seen != state.revisions.tokens) {
        return Err(StoreError::Stale);
    }
    let found = last(connection, &caller).await?.filter(|last| last.released.is_none());
    let Some(bound) = found else { return Ok(None) };
    let detail = json!({ "caller": bound.caller, "issuer": bound.issuer, "subject": bound.subject });
    // Whoever is authenticated by it at this moment is looked at again before anything is recorded.
    state.revisions.tokens = state.revisions.tokens.saturating_add(1);
    let event =
        append_event(connection, &mut state, now, EventKind::IdentityReleased, &origin, &detail).await?;
    let mut update = Statement::new("UPDATE identities SET released = ");
    update.bind(event).push(" WHERE number = ").bind(bound.number);
    update.execute(&mut *connection).await?;
    state.save(connection).await?;
    Ok(Some(bound))
}
