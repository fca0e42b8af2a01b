//! The policy table: rows with the revisions between which they hold. Old revisions stay readable.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sqlx::AnyConnection;

use super::StoreError;
use super::cells::Cells;
use super::change::append_event;
use super::engine::Engine;
use super::snapshot::Revisions;
use super::state::State;
use super::statement::{Statement, chunks};
use crate::audit::{EventKind, Origin};
use crate::policy::PolicyRow;
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

impl super::Store {
    /// Replaces the whole set in one transaction, audited as `policy.replaced` with old and new
    /// rows. The same set again makes no revision: the answer then names the current one and no
    /// rows.
    ///
    /// `seen_tokens` is the token revision under which the caller was checked. It is compared under
    /// the lock, so that a token revoked since then changes nothing.
    ///
    /// # Errors
    /// `Stale` unless the token revision is `seen_tokens`, where one is given; `RevisionMoved`
    /// unless the current revision is `expected`, where one is; `Conflict` where two rows have one
    /// name; `Unavailable`, `Corrupt`.
    pub async fn replace_policies(
        &self,
        rows: &[PolicyRow],
        expected: Option<i64>,
        seen_tokens: Option<i64>,
        now: Time,
        origin: &Origin,
    ) -> Result<PolicyChange, StoreError> {
        let (rows, origin) = (by_name(rows)?, origin.clone());
        self.change(move |connection| {
            Box::pin(async move {
                let state = State::lock(connection).await?;
                check(&state.revisions, expected, seen_tokens)?;
                replace(connection, state, rows, now, origin).await
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
                let engine = Engine::of(connection);
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

/// The rows that hold at `revision`, sorted by name.
pub(super) async fn of_revision(
    connection: &mut AnyConnection,
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

/// That nothing moved which the change was decided on. Tokens first: whose token was revoked is told
/// nothing of the policy set.
fn check(current: &Revisions, expected: Option<i64>, seen_tokens: Option<i64>) -> Result<(), StoreError> {
    if seen_tokens.is_some_and(|seen| seen != current.tokens) {
        return Err(StoreError::Stale);
    }
    if expected.is_some_and(|expected| expected != current.policy) {
        return Err(StoreError::RevisionMoved { current: current.policy });
    }
    Ok(())
}

async fn replace(
    connection: &mut AnyConnection,
    mut state: State,
    new: BTreeMap<String, PolicyRow>,
    now: Time,
    origin: Origin,
) -> Result<PolicyChange, StoreError> {
    let current = state.revisions.policy;
    let old = by_name(&of_revision(connection, current).await?)?;
    let mut change = difference(&old, &new);
    if change == PolicyChange::default() {
        return Ok(PolicyChange { revision: current, ..change });
    }
    change.revision = current.saturating_add(1);
    end_rows(connection, &change).await?;
    insert_rows(connection, &change, &new).await?;
    state.revisions.policy = change.revision;
    let detail = detail(&change, &old, &new);
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

async fn end_rows(connection: &mut AnyConnection, change: &PolicyChange) -> Result<(), StoreError> {
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
    connection: &mut AnyConnection,
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
