//! A new secret for a token that stays what it is.

use std::collections::HashMap;

use crate::store::connection::Connection;
use crate::store::row::Row;
use serde_json::json;

use super::TokenRecord;
use crate::audit::{EventKind, Origin};
use crate::pki::name::ShortName;
use crate::store::cells::Cells;
use crate::store::change::append_event;
use crate::store::policies::check_tokens;
use crate::store::state::State;
use crate::store::statement::Statement;
use crate::store::{Store, StoreError};
use crate::time::Time;

/// A new secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// Its public part.
    pub id: String,
    /// SHA-256 of the secret part.
    pub secret_sha256: [u8; 32],
    /// When it was made.
    pub at: Time,
    /// From this moment on it is worth nothing.
    pub expires_at: Time,
    /// Until when the secret before it holds, if it is not over before that. `at`: no longer.
    pub previous_until: Time,
}

/// What came of a rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotated {
    /// The token has its new secret.
    Done,
    /// There is no token of this name.
    NotFound,
    /// It is revoked, and stays so.
    Revoked,
}

impl Store {
    /// Gives a token a new secret, with the event `token.rotated` (which never holds the hash). The
    /// one before holds for as long as `rotation` says, and older ones no longer. `seen` is the
    /// revision of the tokens under which this was decided.
    ///
    /// # Errors
    /// `Stale` if a token was made, rotated or revoked since `seen`; `Conflict` if the id was ever
    /// given; `Unavailable`.
    pub async fn rotate_token(
        &self,
        name: &ShortName,
        rotation: &Rotation,
        seen: i64,
        origin: &Origin,
    ) -> Result<Rotated, StoreError> {
        let (name, rotation, origin) = (name.clone(), rotation.clone(), origin.clone());
        self.change(move |connection| Box::pin(rotate(connection, name, rotation, seen, origin))).await
    }
}

async fn rotate(
    connection: &mut Connection,
    name: ShortName,
    rotation: Rotation,
    seen: i64,
    origin: Origin,
) -> Result<Rotated, StoreError> {
    let mut state = State::lock(connection).await?;
    check_tokens(&state.revisions, Some(seen))?;
    let mut select = Statement::new("SELECT id, revoked_at FROM tokens WHERE name = ");
    select.bind(name.as_str());
    let Some(row) = select.optional(&mut *connection).await? else { return Ok(Rotated::NotFound) };
    let cells = Cells::new(&row, "tokens", "id");
    if cells.optional_integer("revoked_at")?.is_some() {
        return Ok(Rotated::Revoked);
    }
    let mut given = Statement::new("SELECT id FROM tokens WHERE id = ");
    given.bind(&rotation.id);
    if given.optional(&mut *connection).await?.is_some() || is_given(connection, &rotation.id).await? {
        return Err(StoreError::Conflict(format!("the token id {} was given before", rotation.id)));
    }
    let token_id = cells.text("id")?;
    let detail = json!({
        "id": rotation.id,
        "name": name,
        "expires_at": rotation.expires_at,
        "previous_until": rotation.previous_until,
    });
    state.revisions.tokens = state.revisions.tokens.saturating_add(1);
    let kind = EventKind::TokenRotated;
    let number = append_event(connection, &mut state, rotation.at, kind, &origin, &detail).await?;
    let mut insert = Statement::new(
        "INSERT INTO token_rotations (number, token_id, id, secret_sha256, at, expires_at, previous_until) \
         VALUES ",
    );
    insert.tuples([[
        number.into(),
        (&token_id).into(),
        (&rotation.id).into(),
        (&rotation.secret_sha256).into(),
        rotation.at.into(),
        rotation.expires_at.into(),
        rotation.previous_until.into(),
    ]]);
    insert.execute(&mut *connection).await?;
    state.save(connection).await?;
    Ok(Rotated::Done)
}

/// Whether a rotation gave this id.
pub(super) async fn is_given(connection: &mut Connection, id: &str) -> Result<bool, StoreError> {
    let mut given = Statement::new("SELECT number FROM token_rotations WHERE id = ");
    given.bind(id);
    Ok(given.optional(connection).await?.is_some())
}

/// A rotation as it was written, and when its secret was last used.
#[derive(Clone, Debug)]
pub(super) struct StoredRotation {
    rotation: Rotation,
    last_used_at: Option<Time>,
}

/// Every rotation by the id of its token's row, the oldest first.
pub(super) async fn all(
    connection: &mut Connection,
) -> Result<HashMap<String, Vec<StoredRotation>>, StoreError> {
    let select = Statement::new(
        "SELECT r.number, r.token_id, r.id, r.secret_sha256, r.at, r.expires_at, r.previous_until, \
         u.at AS last_used_at FROM token_rotations r LEFT JOIN token_uses u ON u.id = r.id ORDER BY r.number",
    );
    let mut rotations: HashMap<String, Vec<StoredRotation>> = HashMap::new();
    for row in select.all(connection).await? {
        let (token_id, rotation) = read(&row)?;
        rotations.entry(token_id).or_default().push(rotation);
    }
    Ok(rotations)
}

fn read(row: &Row) -> Result<(String, StoredRotation), StoreError> {
    let cells = Cells::new(row, "token_rotations", "number");
    let rotation = Rotation {
        id: cells.text("id")?,
        secret_sha256: cells.octets("secret_sha256")?,
        at: cells.time("at")?,
        expires_at: cells.time("expires_at")?,
        previous_until: cells.time("previous_until")?,
    };
    let last_used_at = cells.optional_time("last_used_at")?;
    Ok((cells.text("token_id")?, StoredRotation { rotation, last_used_at }))
}

/// Every secret of a token, the oldest first: at most the last two of them hold.
pub(super) fn secrets(first: TokenRecord, rotations: Vec<StoredRotation>) -> Vec<TokenRecord> {
    let mut secrets: Vec<TokenRecord> = vec![first];
    for StoredRotation { rotation, last_used_at } in rotations {
        let Some(previous) = secrets.last() else { break };
        let next = TokenRecord {
            id: rotation.id,
            secret_sha256: rotation.secret_sha256,
            created_at: rotation.at,
            expires_at: rotation.expires_at,
            replaced: false,
            last_used_at,
            ..previous.clone()
        };
        for (age, older) in secrets.iter_mut().rev().enumerate() {
            let until = if age == 0 { rotation.previous_until } else { rotation.at };
            older.expires_at = older.expires_at.min(until);
            older.replaced = true;
        }
        secrets.push(next);
    }
    secrets
}
