//! What there is once: the counters, the CAs, the policy table.

use std::collections::{BTreeMap, BTreeSet};

use crate::audit::EventKind;
use crate::policy::PolicyRow;
use crate::store::cells::Cells;
use crate::store::connection::Connection;
use crate::store::events::kind_number;
use crate::store::snapshot::Revisions;
use crate::store::state::State;
use crate::store::statement::Statement;
use crate::store::{Store, StoreError};
use crate::time::Time;

/// What there is once, as it stood at one moment.
#[derive(Debug)]
pub struct Overview {
    /// The last number that was given.
    pub number: i64,
    /// Of the policy set, the tokens and the blocked keys.
    pub revisions: Revisions,
    /// The latest time of a record.
    pub newest_at: Option<Time>,
    /// The only CA that may sign here, where there is such a rule.
    pub only_authority: Option<[u8; 32]>,
    /// Every CA, by its number.
    pub authorities: BTreeMap<i64, StoredAuthority>,
    /// Which cluster, by the number of its name, has which CA.
    pub cluster_authorities: BTreeSet<(i64, i64)>,
    /// Every row that the policy table ever had.
    pub policies: Vec<StoredPolicy>,
    /// How many times the policy set, the tokens and the blocked keys were changed, by the audit log.
    pub changes: Revisions,
    /// Which revisions have an event, ascending.
    pub policy_revisions: Vec<i64>,
    /// Numbers under which an idempotency key was kept, and which no certificate or held request of its
    /// caller has.
    pub lost_idempotency: Vec<i64>,
}

/// A row of `authorities`.
#[derive(Clone, Debug)]
pub struct StoredAuthority {
    /// What it is known by.
    pub spki_sha256: Vec<u8>,
    /// Its certificate.
    pub der: Vec<u8>,
    /// The clusters that it signs, or signed, for.
    pub clusters: Vec<String>,
}

/// A row of `policies`.
#[derive(Clone, Debug)]
pub struct StoredPolicy {
    /// Its name.
    pub name: String,
    /// The first revision in which it holds.
    pub from: i64,
    /// The first revision in which it no longer holds.
    pub until: Option<i64>,
    /// What is wrong with its body, if anything is.
    pub flaw: Option<String>,
}

impl Store {
    /// What there is once. The check of everything else goes up to its `number`.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`.
    pub async fn inspect_overview(&self) -> Result<Overview, StoreError> {
        self.view(|connection| Box::pin(overview(connection))).await
    }
}

async fn overview(connection: &mut Connection) -> Result<Overview, StoreError> {
    let state = State::load(connection.engine(), &mut *connection).await?;
    Ok(Overview {
        number: state.number,
        revisions: state.revisions,
        newest_at: state.newest_at,
        only_authority: state.only_authority,
        authorities: authorities(connection).await?,
        cluster_authorities: cluster_authorities(connection).await?,
        policies: policies(connection).await?,
        changes: changes(connection).await?,
        policy_revisions: policy_revisions(connection).await?,
        lost_idempotency: lost_idempotency(connection).await?,
    })
}

async fn authorities(connection: &mut Connection) -> Result<BTreeMap<i64, StoredAuthority>, StoreError> {
    let rows = Statement::new("SELECT id, spki_sha256, certificate FROM authorities").all(&mut *connection);
    let mut authorities = BTreeMap::new();
    for row in rows.await? {
        let cells = Cells::new(&row, "authorities", "id");
        let (spki_sha256, der) = (cells.blob("spki_sha256")?, cells.blob("certificate")?);
        authorities.insert(cells.integer("id")?, StoredAuthority { spki_sha256, der, clusters: Vec::new() });
    }
    let clusters = "SELECT a.authority_id, n.name FROM cluster_authorities a \
                    JOIN names n ON n.id = a.cluster_id ORDER BY n.name";
    for row in Statement::new(clusters).all(connection).await? {
        let cells = Cells::new(&row, "cluster_authorities", "authority_id");
        if let Some(authority) = authorities.get_mut(&cells.integer("authority_id")?) {
            authority.clusters.push(cells.text("name")?);
        }
    }
    Ok(authorities)
}

async fn cluster_authorities(connection: &mut Connection) -> Result<BTreeSet<(i64, i64)>, StoreError> {
    let rows = Statement::new("SELECT cluster_id, authority_id FROM cluster_authorities").all(connection);
    let read = |row| {
        let cells = Cells::new(row, "cluster_authorities", "cluster_id");
        Ok((cells.integer("cluster_id")?, cells.integer("authority_id")?))
    };
    rows.await?.iter().map(read).collect()
}

async fn policies(connection: &mut Connection) -> Result<Vec<StoredPolicy>, StoreError> {
    let rows = "SELECT name, from_revision, until_revision, body FROM policies ORDER BY from_revision";
    let read = |row| {
        let cells = Cells::new(row, "policies", "name");
        let name = cells.text("name")?;
        let flaw = match cells.json::<PolicyRow>("body") {
            Ok(row) if row.name.as_str() == name => None,
            Ok(row) => Some(format!("its body is that of `{}`", row.name)),
            Err(error) => Some(error.to_string()),
        };
        let (from, until) = (cells.integer("from_revision")?, cells.optional_integer("until_revision")?);
        Ok(StoredPolicy { name, from, until, flaw })
    };
    Statement::new(rows).all(connection).await?.iter().map(read).collect()
}

async fn changes(connection: &mut Connection) -> Result<Revisions, StoreError> {
    let mut changes = Revisions::default();
    let rows = "SELECT kind, count(*) AS times FROM events WHERE kind NOT IN (1, 2) GROUP BY kind";
    for row in Statement::new(rows).all(connection).await? {
        let cells = Cells::new(&row, "events", "kind");
        let (kind, times) = (cells.integer("kind")?, cells.integer("times")?);
        let counts = match EventKind::ALL.into_iter().find(|known| kind_number(*known) == kind) {
            Some(EventKind::PolicyReplaced) => &mut changes.policy,
            Some(EventKind::TokenCreated | EventKind::TokenRevoked | EventKind::TokenRotated) => {
                &mut changes.tokens
            }
            Some(EventKind::KeyBlocked | EventKind::KeyUnblocked) => &mut changes.blocked_keys,
            _ => continue,
        };
        *counts = counts.saturating_add(times);
    }
    Ok(changes)
}

async fn policy_revisions(connection: &mut Connection) -> Result<Vec<i64>, StoreError> {
    let rows = "SELECT r.revision FROM policy_revisions r JOIN events e ON e.number = r.number \
                WHERE e.kind = 3 ORDER BY r.revision";
    let read = |row| Cells::new(row, "policy_revisions", "revision").integer("revision");
    Statement::new(rows).all(connection).await?.iter().map(read).collect()
}

async fn lost_idempotency(connection: &mut Connection) -> Result<Vec<i64>, StoreError> {
    let rows = "SELECT i.number FROM idempotency_keys i LEFT JOIN certificates c ON c.number = i.number \
                AND c.caller_id = i.caller_id LEFT JOIN requests q ON q.number = i.number \
                AND q.caller_id = i.caller_id WHERE c.number IS NULL AND q.number IS NULL ORDER BY i.number";
    let read = |row| Cells::new(row, "idempotency_keys", "number").integer("number");
    Statement::new(rows).all(connection).await?.iter().map(read).collect()
}
