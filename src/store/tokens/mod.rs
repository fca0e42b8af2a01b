//! API tokens: id, name, SHA-256 of the secret, roles.
//!
//! What a token is stands in one row that is never changed but by its revocation. Each rotation adds
//! a row with a new secret, so how long each secret holds follows from rows that stay.

mod rotation;
mod uses;

pub use rotation::{Rotated, Rotation};

use serde_json::json;

use super::StoreError;
use super::cells::Cells;
use super::change::append_event;
use super::connection::Connection;
use super::names::list_json;
use super::policies::check_tokens;
use super::row::Row;
use super::state::State;
use super::statement::Statement;
use crate::audit::{EventKind, Origin};
use crate::pki::name::ShortName;
use crate::time::Time;

/// One secret of an API token as the ledger has it, with what the token is. The secret itself is nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRecord {
    /// The public part, by which it is looked up. Each secret has its own.
    pub id: String,
    /// As in `token:NAME`. Never given to another token.
    pub name: ShortName,
    /// SHA-256 of the secret part.
    pub secret_sha256: [u8; 32],
    /// `requester`, `auditor`, `admin` as written.
    pub roles: Vec<String>,
    /// Whether it may name another person.
    pub on_behalf_of: bool,
    /// Who answers for it.
    pub owner: String,
    /// When it was made.
    pub created_at: Time,
    /// From this moment on it is worth nothing.
    pub expires_at: Time,
    /// When the token was revoked, if it was.
    pub revoked_at: Option<Time>,
    /// Whether a rotation gave the token another secret since. It then holds until `expires_at`, and
    /// rotates no more.
    pub replaced: bool,
    /// When it was last used, to about a minute.
    pub last_used_at: Option<Time>,
}

impl super::Store {
    /// Adds a token, with the event `token.created` (which never holds the hash).
    ///
    /// # Errors
    /// `Conflict` if its name or id was ever given, `Unavailable`.
    pub async fn create_token(&self, token: &TokenRecord, origin: &Origin) -> Result<(), StoreError> {
        self.create_token_if(token, None, origin).await
    }

    /// The same, if no token was made, rotated or revoked since the revision `seen`, where one is given.
    ///
    /// # Errors
    /// `Stale`, and as for [`Store::create_token`](super::Store::create_token).
    pub async fn create_token_if(
        &self,
        token: &TokenRecord,
        seen: Option<i64>,
        origin: &Origin,
    ) -> Result<(), StoreError> {
        let (token, origin) = (token.clone(), origin.clone());
        self.change(move |connection| Box::pin(create(connection, token, seen, origin))).await
    }

    /// Every secret of every token, those of revoked ones too, sorted by name and then by age.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`.
    pub async fn tokens(&self) -> Result<Vec<TokenRecord>, StoreError> {
        self.view(|connection| Box::pin(all(connection))).await
    }

    /// Revokes a token with all its secrets, with the event `token.revoked`. `None` if there is no
    /// such token, `Some(false)` if it was revoked before.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn revoke_token(
        &self,
        name: &ShortName,
        now: Time,
        origin: &Origin,
    ) -> Result<Option<bool>, StoreError> {
        self.revoke_token_if(name, None, now, origin).await
    }

    /// The same, if no token was made, rotated or revoked since the revision `seen`, where one is given.
    ///
    /// # Errors
    /// `Stale`, `Unavailable`.
    pub async fn revoke_token_if(
        &self,
        name: &ShortName,
        seen: Option<i64>,
        now: Time,
        origin: &Origin,
    ) -> Result<Option<bool>, StoreError> {
        let (name, origin) = (name.clone(), origin.clone());
        self.change(move |connection| Box::pin(revoke(connection, name, seen, now, origin))).await
    }
}

/// Every secret of every token, sorted by name and then by age.
pub(super) async fn all(connection: &mut Connection) -> Result<Vec<TokenRecord>, StoreError> {
    let select = Statement::new(
        "SELECT t.id, t.name, t.secret_sha256, t.roles, t.on_behalf_of, t.owner, t.created_at, t.expires_at, \
         t.revoked_at, u.at AS last_used_at FROM tokens t LEFT JOIN token_uses u ON u.id = t.id",
    );
    let mut tokens =
        select.all(&mut *connection).await?.iter().map(read).collect::<Result<Vec<TokenRecord>, _>>()?;
    // Sorted here: engines differ in the order of text.
    tokens.sort_by(|a, b| a.name.cmp(&b.name));
    let mut rotations = rotation::all(connection).await?;
    let secrets = tokens.into_iter().flat_map(|first| {
        let rotations = rotations.remove(&first.id).unwrap_or_default();
        rotation::secrets(first, rotations)
    });
    Ok(secrets.collect())
}

async fn create(
    connection: &mut Connection,
    token: TokenRecord,
    seen: Option<i64>,
    origin: Origin,
) -> Result<(), StoreError> {
    let mut state = State::lock(connection).await?;
    check_tokens(&state.revisions, seen)?;
    let mut given = Statement::new("SELECT name FROM tokens WHERE name = ");
    given.bind(token.name.as_str()).push(" OR id = ").bind(&token.id);
    if given.optional(&mut *connection).await?.is_some() || rotation::is_given(connection, &token.id).await? {
        return Err(StoreError::Conflict(format!(
            "the token name `{}` was given before, and a name is never given twice: choose another",
            token.name
        )));
    }
    insert(connection, &token).await?;
    let detail = json!({
        "id": token.id,
        "name": token.name,
        "roles": token.roles,
        "on_behalf_of": token.on_behalf_of,
        "owner": token.owner,
        "expires_at": token.expires_at,
    });
    state.revisions.tokens = state.revisions.tokens.saturating_add(1);
    let kind = EventKind::TokenCreated;
    append_event(connection, &mut state, token.created_at, kind, &origin, &detail).await?;
    state.save(connection).await
}

async fn insert(connection: &mut Connection, token: &TokenRecord) -> Result<(), StoreError> {
    let roles = list_json(token.roles.iter().map(String::as_str));
    let mut insert = Statement::new(
        "INSERT INTO tokens (id, name, secret_sha256, roles, on_behalf_of, owner, created_at, expires_at, \
         revoked_at) VALUES ",
    );
    insert.tuples([[
        (&token.id).into(),
        token.name.as_str().into(),
        (&token.secret_sha256).into(),
        roles.as_str().into(),
        i64::from(token.on_behalf_of).into(),
        (&token.owner).into(),
        token.created_at.into(),
        token.expires_at.into(),
        token.revoked_at.map(Time::unix).into(),
    ]]);
    insert.execute(connection).await?;
    Ok(())
}

async fn revoke(
    connection: &mut Connection,
    name: ShortName,
    seen: Option<i64>,
    now: Time,
    origin: Origin,
) -> Result<Option<bool>, StoreError> {
    let mut state = State::lock(connection).await?;
    check_tokens(&state.revisions, seen)?;
    let mut select = Statement::new("SELECT id, revoked_at FROM tokens WHERE name = ");
    select.bind(name.as_str());
    let Some(row) = select.optional(&mut *connection).await? else { return Ok(None) };
    let cells = Cells::new(&row, "tokens", "id");
    if cells.optional_integer("revoked_at")?.is_some() {
        return Ok(Some(false));
    }
    let id = cells.text("id")?;
    let mut update = Statement::new("UPDATE tokens SET revoked_at = ");
    update.bind(now).push(" WHERE id = ").bind(&id);
    update.execute(&mut *connection).await?;
    state.revisions.tokens = state.revisions.tokens.saturating_add(1);
    let detail = json!({ "id": id, "name": name });
    append_event(connection, &mut state, now, EventKind::TokenRevoked, &origin, &detail).await?;
    state.save(connection).await?;
    Ok(Some(true))
}

fn read(row: &Row) -> Result<TokenRecord, StoreError> {
    let cells = Cells::new(row, "tokens", "id");
    let name = ShortName::parse(&cells.text("name")?);
    Ok(TokenRecord {
        id: cells.text("id")?,
        name: name.map_err(|error| cells.wrong("name", &error.to_string()))?,
        secret_sha256: cells.octets("secret_sha256")?,
        roles: cells.json("roles")?,
        on_behalf_of: cells.integer("on_behalf_of")? != 0,
        owner: cells.text("owner")?,
        created_at: cells.time("created_at")?,
        expires_at: cells.time("expires_at")?,
        revoked_at: cells.optional_time("revoked_at")?,
        replaced: false,
        last_used_at: cells.optional_time("last_used_at")?,
    })
}
