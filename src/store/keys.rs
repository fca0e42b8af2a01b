//! Keys that are never certified, by the SHA-256 of their SPKI.

use std::collections::HashMap;

use serde_json::json;

use super::StoreError;
use super::cells::Cells;
use super::change::append_event;
use super::connection::Connection;
use super::names::name_id;
use super::state::State;
use super::statement::Statement;
use crate::audit::{EventKind, Origin};
use crate::time::Time;

/// A blocked key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockedKey {
    /// SHA-256 of its SPKI.
    pub spki_sha256: [u8; 32],
    /// Why.
    pub reason: String,
    /// Since when.
    pub at: Time,
    /// Who blocked it, as `cli:root`.
    pub by: String,
}

impl super::Store {
    /// Blocks a key, with the event `key.blocked`. False if it is blocked already; the first
    /// reason then stays.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn block_key(
        &self,
        key: [u8; 32],
        reason: &str,
        now: Time,
        origin: &Origin,
    ) -> Result<bool, StoreError> {
        self.block_key_if(key, reason, None, now, origin).await
    }

    /// The same, if no token was made or revoked since the revision `seen_tokens`, where one is given.
    ///
    /// # Errors
    /// `Stale`, `Unavailable`.
    pub async fn block_key_if(
        &self,
        key: [u8; 32],
        reason: &str,
        seen_tokens: Option<i64>,
        now: Time,
        origin: &Origin,
    ) -> Result<bool, StoreError> {
        let blocked =
            BlockedKey { spki_sha256: key, reason: reason.to_owned(), at: now, by: origin.caller.clone() };
        let origin = origin.clone();
        self.change(move |connection| Box::pin(block(connection, blocked, seen_tokens, origin))).await
    }

    /// Unblocks a key, with the event `key.unblocked`. False if it is not blocked.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn unblock_key(&self, key: [u8; 32], now: Time, origin: &Origin) -> Result<bool, StoreError> {
        self.unblock_key_if(key, None, now, origin).await
    }

    /// The same, if no token was made or revoked since the revision `seen_tokens`, where one is given.
    ///
    /// # Errors
    /// `Stale`, `Unavailable`.
    pub async fn unblock_key_if(
        &self,
        key: [u8; 32],
        seen_tokens: Option<i64>,
        now: Time,
        origin: &Origin,
    ) -> Result<bool, StoreError> {
        let origin = origin.clone();
        self.change(move |connection| Box::pin(unblock(connection, key, seen_tokens, now, origin))).await
    }

    /// The user that a key is certified for, if any. Only the recording transaction can rely on it.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`.
    pub async fn key_owner(&self, key: [u8; 32]) -> Result<Option<String>, StoreError> {
        self.read(move |connection| Box::pin(async move { owner(connection, key).await })).await
    }

    /// Every blocked key, the latest first.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`.
    pub async fn blocked_keys(&self) -> Result<Vec<BlockedKey>, StoreError> {
        self.view(|connection| Box::pin(all(connection))).await
    }
}

/// The user that a key is certified for, if any.
pub(super) async fn owner(connection: &mut Connection, key: [u8; 32]) -> Result<Option<String>, StoreError> {
    Ok(owners(connection, &[key]).await?.remove(&key))
}

/// The users that these keys are certified for, of those that are for any: as the first certificate of the key says,
/// or where that was deleted, what was noted then.
pub(super) async fn owners(
    connection: &mut Connection,
    keys: &[[u8; 32]],
) -> Result<HashMap<[u8; 32], String>, StoreError> {
    let mut select = Statement::new(
        "SELECT spki_sha256, user_name FROM certificates WHERE owns_key = 1 AND spki_sha256 IN (",
    );
    select.list(keys.iter().map(Into::into));
    select.push(") UNION ALL SELECT spki_sha256, user_name FROM key_owners WHERE spki_sha256 IN (");
    select.list(keys.iter().map(Into::into)).push(")");
    let mut owners: HashMap<[u8; 32], String> = HashMap::new();
    for row in select.all(connection).await? {
        let cells = Cells::new(&row, "key_owners", "spki_sha256");
        let (key, user) = (cells.octets("spki_sha256")?, cells.text("user_name")?);
        if owners.get(&key).is_some_and(|owner| *owner != user) {
            return Err(cells.wrong("user_name", "is not the user of the first certificate of the key"));
        }
        owners.insert(key, user);
    }
    Ok(owners)
}

/// Every blocked key, the latest first.
pub(super) async fn all(connection: &mut Connection) -> Result<Vec<BlockedKey>, StoreError> {
    let select = Statement::new(
        "SELECT k.spki_sha256, k.reason, k.at, caller.name AS caller \
         FROM blocked_keys k LEFT JOIN names caller ON caller.id = k.caller_id \
         ORDER BY k.at DESC, k.spki_sha256",
    );
    let rows = select.all(connection).await?;
    rows.iter()
        .map(|row| {
            let cells = Cells::new(row, "blocked_keys", "spki_sha256");
            Ok(BlockedKey {
                spki_sha256: cells.octets("spki_sha256")?,
                reason: cells.text("reason")?,
                at: cells.time("at")?,
                by: cells.text("caller")?,
            })
        })
        .collect()
}

async fn locked(connection: &mut Connection, seen_tokens: Option<i64>) -> Result<State, StoreError> {
    let state = State::lock(connection).await?;
    if seen_tokens.is_some_and(|seen| seen != state.revisions.tokens) {
        return Err(StoreError::Stale);
    }
    Ok(state)
}

async fn block(
    connection: &mut Connection,
    blocked: BlockedKey,
    seen_tokens: Option<i64>,
    origin: Origin,
) -> Result<bool, StoreError> {
    let mut state = locked(connection, seen_tokens).await?;
    let caller_id = name_id(connection, &blocked.by).await?;
    let mut insert = Statement::new("INSERT INTO blocked_keys (spki_sha256, reason, at, caller_id) VALUES ");
    insert.tuples([[
        (&blocked.spki_sha256).into(),
        (&blocked.reason).into(),
        blocked.at.into(),
        caller_id.into(),
    ]]);
    insert.push(" ON CONFLICT (spki_sha256) DO NOTHING");
    if insert.execute(&mut *connection).await? == 0 {
        return Ok(false);
    }
    state.revisions.blocked_keys = state.revisions.blocked_keys.saturating_add(1);
    let detail = json!({ "spki_sha256": hex::encode(blocked.spki_sha256), "reason": blocked.reason });
    append_event(connection, &mut state, blocked.at, EventKind::KeyBlocked, &origin, &detail).await?;
    state.save(connection).await?;
    Ok(true)
}

async fn unblock(
    connection: &mut Connection,
    key: [u8; 32],
    seen_tokens: Option<i64>,
    now: Time,
    origin: Origin,
) -> Result<bool, StoreError> {
    let mut state = locked(connection, seen_tokens).await?;
    let mut delete = Statement::new("DELETE FROM blocked_keys WHERE spki_sha256 = ");
    delete.bind(&key).push(" RETURNING reason, at");
    let Some(row) = delete.optional(&mut *connection).await? else { return Ok(false) };
    let reason = Cells::new(&row, "blocked_keys", "at").text("reason")?;
    state.revisions.blocked_keys = state.revisions.blocked_keys.saturating_add(1);
    let detail = json!({ "spki_sha256": hex::encode(key), "reason": reason });
    append_event(connection, &mut state, now, EventKind::KeyUnblocked, &origin, &detail).await?;
    state.save(connection).await?;
    Ok(true)
}
