//! The policy table: rows with the revisions between which they hold. Old revisions stay readable.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::StoreError;
use super::cells::Cells;
use super::change::append_event;
use super::connection::Connection;
use super::snapshot::Revisions;
use super::state::State;
use super::statement::{Statement, chunks};
use crate::audit::{EventKind, Origin};
use crate::pki::name::ShortName;
use crate::policy::{Difference, PolicyRow};
use crate::time::Time;

/// What a change did, by row name, for the answer and the audit log.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct PolicyChange {
    /// The revision that holds now.
    pub revision: i64,
    /// Rows that were not there before.
    pub added: Vec<String>,
    /// Rows that say something else than before.
    pub changed: Vec<String>,
    /// Rows that are gone.
    pub removed: Vec<String>,
}

/// One change of the set.
#[derive(Clone, Debug)]
pub enum PolicyEdit {
    /// Another set instead of the one that holds.
    Replace(Replacement),
    /// One row, new or instead of the one of its name. A held row too: it is named.
    Put(Box<PolicyRow>),
    /// No row of this name any more. A held row too: it is named.
    Remove(ShortName),
}

/// A whole set to hold from now on.
#[derive(Clone, Debug, Default)]
pub struct Replacement {
    /// Its rows, in any order.
    pub rows: Vec<PolicyRow>,
    /// Held rows of the set that holds, which this one may leave out or change.
    pub released: Vec<ShortName>,
    /// The old revision that is put back, for the audit log.
    pub restores: Option<i64>,
}

/// What of the policies the caller has seen. It is compared under the lock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Seen {
    /// Nothing: the change is made whatever holds.
    #[default]
    Nothing,
    /// The whole set, at this revision.
    Set(i64),
    /// The row that is edited, at this revision. It must say the same still.
    Row(i64),
    /// The row that is edited is there, whatever it says.
    Present,
    /// There is no row of that name.
    Absent,
}

/// What must hold for a change of the set.
#[derive(Clone, Copy, Debug, Default)]
pub struct Expected {
    /// What the change was decided on.
    pub seen: Seen,
    /// The token revision under which the caller was checked, so that a token that was revoked
    /// since then changes nothing.
    pub tokens: Option<i64>,
}

impl super::Store {
    /// Replaces the whole set by `rows` and releases no held row. Where `expected` is given, the
    /// set must be at that revision; where `seen_tokens` is, the tokens must be at that one.
    ///
    /// # Errors
    /// As [`super::Store::edit_policies`].
    pub async fn replace_policies(
        &self,
        rows: &[PolicyRow],
        expected: Option<i64>,
        seen_tokens: Option<i64>,
        now: Time,
        origin: &Origin,
    ) -> Result<PolicyChange, StoreError> {
        let edit = PolicyEdit::Replace(Replacement { rows: rows.to_vec(), ..Replacement::default() });
        let seen = expected.map_or(Seen::Nothing, Seen::Set);
        self.edit_policies(edit, Expected { seen, tokens: seen_tokens }, now, origin).await
    }

    /// Makes one change in one transaction, audited as `policy.replaced` with old and new rows. A
    /// change that changes nothing makes no revision: the answer then names the current one and no
    /// rows.
    ///
    /// # Errors
    /// `Stale` unless the token revision is the expected one; `RevisionMoved`, `RowMoved` or
    /// `RowExists` where something else holds than was seen; `RowMoved` also where there is no row
    /// to remove; `RowsHeld` where a whole set leaves out or changes a held row that it does not
    /// release; `Conflict` where two rows have one name, or where a row is released that is not
    /// held; `Unavailable`, `Corrupt`.
    pub async fn edit_policies(
        &self,
        edit: PolicyEdit,
        expected: Expected,
        now: Time,
        origin: &Origin,
    ) -> Result<PolicyChange, StoreError> {
        let origin = origin.clone();
        self.change(move |connection| {
            Box::pin(async move {
                let state = State::lock(connection).await?;
                check_tokens(&state.revisions, expected.tokens)?;
                check_seen(connection, &state.revisions, &edit, expected.seen).await?;
                let old = by_name(&of_revision(connection, state.revisions.policy).await?)?;
                let new = edited(&old, &edit)?;
                write(connection, state, (old, new), restores(&edit), now, origin).await
            })
        })
        .await
    }

    /// One row of the current set, with the revision since when it says what it says, and the
    /// current revision.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`.
    pub async fn policy(&self, name: &ShortName) -> Result<Option<HeldSince>, StoreError> {
        let name = name.clone();
        self.view(move |connection| {
            Box::pin(async move {
                let engine = connection.engine();
                let current = State::load(engine, &mut *connection).await?.revisions.policy;
                let found = in_force(connection, &name).await?;
                Ok(found.map(|(since, row)| HeldSince { row, since, current }))
            })
        })
        .await
    }

    /// The current rows (`None`) or those of an old revision, sorted by name, with the revision.
    /// Revision 0 is the empty set of a new ledger. `None` if there was no such revision.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`.
    pub async fn policies(&self, revision: Option<i64>) -> Result<Option<(i64, Vec<PolicyRow>)>, StoreError> {
        self.view(move |connection| {
            Box::pin(async move {
                let engine = connection.engine();
                let current = State::load(engine, &mut *connection).await?.revisions.policy;
                let revision = revision.unwrap_or(current);
                if !(0..=current).contains(&revision) {
                    return Ok(None);
                }
                Ok(Some((revision, of_revision(connection, revision).await?)))
            })
        })
        .await
    }
}

/// A row of the current set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldSince {
    /// What it says.
    pub row: PolicyRow,
    /// The revision since when it says so.
    pub since: i64,
    /// The revision that holds.
    pub current: i64,
}

/// The rows that hold at `revision`, sorted by name.
pub(super) async fn of_revision(
    connection: &mut Connection,
    revision: i64,
) -> Result<Vec<PolicyRow>, StoreError> {
    let mut select = Statement::new("SELECT name, body FROM policies WHERE from_revision <= ");
    select.bind(revision).push(" AND (until_revision IS NULL OR until_revision > ").bind(revision);
    select.push(")");
    let rows = select.all(connection).await?;
    let mut rows = rows
        .iter()
        .map(|row| Cells::new(row, "policies", "name").json("body"))
        .collect::<Result<Vec<PolicyRow>, _>>()?;
    // Sorted here: engines differ in the order of text.
    rows.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(rows)
}

/// The row of this name that holds, and since when.
async fn in_force(
    connection: &mut Connection,
    name: &ShortName,
) -> Result<Option<(i64, PolicyRow)>, StoreError> {
    let mut select =
        Statement::new("SELECT name, from_revision, body FROM policies WHERE until_revision IS NULL");
    select.push(" AND name = ").bind(name.as_str());
    let Some(row) = select.optional(connection).await? else { return Ok(None) };
    let cells = Cells::new(&row, "policies", "name");
    Ok(Some((cells.integer("from_revision")?, cells.json("body")?)))
}

/// Before anything else: whose token was revoked is told nothing of the policy set.
pub(super) fn check_tokens(current: &Revisions, seen: Option<i64>) -> Result<(), StoreError> {
    if seen.is_some_and(|seen| seen != current.tokens) { Err(StoreError::Stale) } else { Ok(()) }
}

/// That nothing moved which the change was decided on.
async fn check_seen(
    connection: &mut Connection,
    current: &Revisions,
    edit: &PolicyEdit,
    seen: Seen,
) -> Result<(), StoreError> {
    let current = current.policy;
    if matches!(seen, Seen::Set(revision) if revision != current) {
        return Err(StoreError::RevisionMoved { current });
    }
    let name = match edit {
        PolicyEdit::Replace(_) => return Ok(()),
        PolicyEdit::Put(row) => &row.name,
        PolicyEdit::Remove(name) => name,
    };
    let since = in_force(connection, name).await?.map(|(since, _)| since);
    let moved = || StoreError::RowMoved { name: name.to_string(), since };
    let is_removed = matches!(edit, PolicyEdit::Remove(_));
    match (seen, since) {
        (Seen::Row(_) | Seen::Present, None) => Err(moved()),
        (_, None) if is_removed => Err(moved()),
        (Seen::Row(seen), Some(since)) if !(since..=current).contains(&seen) => Err(moved()),
        (Seen::Absent, Some(_)) => Err(StoreError::RowExists(name.to_string())),
        _ => Ok(()),
    }
}

/// The set after the change.
fn edited(
    old: &BTreeMap<String, PolicyRow>,
    edit: &PolicyEdit,
) -> Result<BTreeMap<String, PolicyRow>, StoreError> {
    let mut new = old.clone();
    match edit {
        PolicyEdit::Replace(replacement) => {
            new = by_name(&replacement.rows)?;
            check_held(old, &new, &replacement.released)?;
        }
        PolicyEdit::Put(row) => drop(new.insert(row.name.to_string(), PolicyRow::clone(row))),
        PolicyEdit::Remove(name) => drop(new.remove(name.as_str())),
    }
    Ok(new)
}

/// That no held row goes with the whole set, and that no name is released in vain: it may be a typo.
fn check_held(
    old: &BTreeMap<String, PolicyRow>,
    new: &BTreeMap<String, PolicyRow>,
    released: &[ShortName],
) -> Result<(), StoreError> {
    if let Some(name) = released.iter().find(|name| old.get(name.as_str()).is_none_or(|row| !row.hold)) {
        return Err(StoreError::Conflict(format!("there is no held policy `{name}` to release")));
    }
    let rows = |set: &BTreeMap<String, PolicyRow>| set.values().cloned().collect::<Vec<_>>();
    let mut held = Difference::between(&rows(old), &rows(new)).held();
    held.retain(|name| !released.contains(name));
    if held.is_empty() {
        return Ok(());
    }
    Err(StoreError::RowsHeld(held.iter().map(ToString::to_string).collect()))
}

fn restores(edit: &PolicyEdit) -> Option<i64> {
    match edit {
        PolicyEdit::Replace(replacement) => replacement.restores,
        PolicyEdit::Put(_) | PolicyEdit::Remove(_) => None,
    }
}

async fn write(
    connection: &mut Connection,
    mut state: State,
    (old, new): (BTreeMap<String, PolicyRow>, BTreeMap<String, PolicyRow>),
    restores: Option<i64>,
    now: Time,
    origin: Origin,
) -> Result<PolicyChange, StoreError> {
    let current = state.revisions.policy;
    let mut change = difference(&old, &new);
    if change == PolicyChange::default() {
        return Ok(PolicyChange { revision: current, ..change });
    }
    change.revision = current.saturating_add(1);
    end_rows(connection, &change).await?;
    insert_rows(connection, &change, &new).await?;
    state.revisions.policy = change.revision;
    let mut detail = detail(&change, &old, &new);
    if let (Some(revision), Some(detail)) = (restores, detail.as_object_mut()) {
        detail.insert("restores".to_owned(), revision.into());
    }
    let kind = EventKind::PolicyReplaced;
    let number = append_event(connection, &mut state, now, kind, &origin, &detail).await?;
    let mut insert = Statement::new("INSERT INTO policy_revisions (revision, number) VALUES ");
    insert.tuples([[change.revision.into(), number.into()]]);
    insert.execute(&mut *connection).await?;
    state.save(connection).await?;
    Ok(change)
}

fn difference(old: &BTreeMap<String, PolicyRow>, new: &BTreeMap<String, PolicyRow>) -> PolicyChange {
    let names = |rows: &BTreeMap<String, PolicyRow>, keep: &dyn Fn(&String, &PolicyRow) -> bool| {
        rows.iter().filter(|(name, row)| keep(name, row)).map(|(name, _)| name.clone()).collect()
    };
    PolicyChange {
        revision: 0,
        added: names(new, &|name, _| !old.contains_key(name)),
        changed: names(new, &|name, row| old.get(name).is_some_and(|before| before != row)),
        removed: names(old, &|name, _| !new.contains_key(name)),
    }
}

async fn end_rows(connection: &mut Connection, change: &PolicyChange) -> Result<(), StoreError> {
    let ended: Vec<&String> = change.changed.iter().chain(&change.removed).collect();
    for chunk in chunks(&ended) {
        let mut update = Statement::new("UPDATE policies SET until_revision = ");
        update.bind(change.revision).push(" WHERE until_revision IS NULL AND name IN (");
        update.list(chunk.iter().map(|name| (*name).into())).push(")");
        update.execute(&mut *connection).await?;
    }
    Ok(())
}

async fn insert_rows(
    connection: &mut Connection,
    change: &PolicyChange,
    rows: &BTreeMap<String, PolicyRow>,
) -> Result<(), StoreError> {
    let mut begun: Vec<(&str, String)> = Vec::new();
    for name in change.added.iter().chain(&change.changed) {
        if let Some(row) = rows.get(name) {
            begun.push((name, body(row)?.to_string()));
        }
    }
    for chunk in chunks(&begun) {
        let mut insert = Statement::new("INSERT INTO policies (name, from_revision, body) VALUES ");
        insert.tuples(chunk.iter().map(|(name, body)| [(*name).into(), change.revision.into(), body.into()]));
        insert.execute(&mut *connection).await?;
    }
    Ok(())
}

/// Old and new rows of everything that changed.
fn detail(
    change: &PolicyChange,
    old: &BTreeMap<String, PolicyRow>,
    new: &BTreeMap<String, PolicyRow>,
) -> Value {
    let rows = |names: &[String], of: &BTreeMap<String, PolicyRow>| -> Vec<PolicyRow> {
        names.iter().filter_map(|name| of.get(name).cloned()).collect()
    };
    let pairs = change.changed.iter().map(|name| json!({ "old": old.get(name), "new": new.get(name) }));
    json!({
        "revision": change.revision,
        "added": rows(&change.added, new),
        "changed": pairs.collect::<Vec<_>>(),
        "removed": rows(&change.removed, old),
    })
}

fn by_name(rows: &[PolicyRow]) -> Result<BTreeMap<String, PolicyRow>, StoreError> {
    let mut named = BTreeMap::new();
    for row in rows {
        if named.insert(row.name.to_string(), row.clone()).is_some() {
            return Err(StoreError::Conflict(format!("two policies are named `{}`: rename one", row.name)));
        }
    }
    Ok(named)
}

fn body(row: &PolicyRow) -> Result<Value, StoreError> {
    serde_json::to_value(row)
        .map_err(|error| StoreError::Corrupt(format!("policy `{}` cannot be written: {error}", row.name)))
}
