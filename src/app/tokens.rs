//! API tokens over the API: made, rotated, revoked, listed.
//!
//! Nobody gives what he lacks: neither a role, nor the right to name another person, nor another
//! owner. So whoever makes a token gains nothing by it, and who approves is counted as one person
//! with the tokens that he made. The command line, which works on the database itself, is not bound
//! by this.

use std::sync::Arc;

use crate::audit::Origin;
use crate::auth::token::{self, Hold, TokenSecret};
use crate::auth::{Principal, Roles};
use crate::caller::Caller;
use crate::pki::name::ShortName;
use crate::random;
use crate::store::StoreError;
use crate::store::tokens::{Rotated, Rotation, TokenRecord};
use crate::time::{Lifetime, Time};

use super::{ATTEMPTS, App, AppError, State};

/// A token with its secrets.
#[derive(Clone, Debug)]
pub struct Token {
    /// Its newest secret.
    pub current: TokenRecord,
    /// The one before, where it still holds.
    pub replaced: Option<TokenRecord>,
    /// When it was made.
    pub created_at: Time,
    /// When its newest secret was made, if it was rotated.
    pub rotated_at: Option<Time>,
    /// When any of its secrets was last used, to about a minute.
    pub last_used_at: Option<Time>,
}

/// A token, and the secret that it was just given.
#[derive(Debug)]
pub struct Given {
    /// As it stands now.
    pub token: Token,
    /// To be shown once.
    pub secret: TokenSecret,
}

/// A token that is wished for.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// Never given before.
    pub name: ShortName,
    /// What it may do: one role at least.
    pub roles: Roles,
    /// Whether it may name another person.
    pub on_behalf_of: bool,
    /// How long it lasts.
    pub expires: Option<Lifetime>,
}

/// A new secret that is wished for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Turn {
    /// How long the old one goes on.
    pub grace: Option<Lifetime>,
    /// How long the new one lasts; not for a token that rotates itself.
    pub expires: Option<Lifetime>,
}

impl Token {
    /// The caller that it is.
    #[must_use]
    pub fn caller(&self) -> Caller {
        Caller::token(&self.current.name)
    }

    /// Out of all secrets of one token, the oldest first.
    fn of(mut secrets: Vec<TokenRecord>, now: Time) -> Option<Self> {
        let created_at = secrets.first()?.created_at;
        let last_used_at = secrets.iter().filter_map(|secret| secret.last_used_at).max();
        let current = secrets.pop()?;
        let rotated_at = (!secrets.is_empty()).then_some(current.created_at);
        let holds = |secret: &TokenRecord| secret.revoked_at.is_none() && now < secret.expires_at;
        let replaced = secrets.pop().filter(holds);
        Some(Self { current, replaced, created_at, rotated_at, last_used_at })
    }

    /// Every token out of all secrets, which are sorted by name and then by age.
    #[must_use]
    pub fn all(secrets: Vec<TokenRecord>, now: Time) -> Vec<Self> {
        let mut tokens: Vec<Vec<TokenRecord>> = Vec::new();
        for secret in secrets {
            match tokens.last_mut() {
                Some(token) if token.last().is_some_and(|last| last.name == secret.name) => {
                    token.push(secret);
                }
                _ => tokens.push(vec![secret]),
            }
        }
        tokens.into_iter().filter_map(|secrets| Self::of(secrets, now)).collect()
    }
}

impl App {
    /// Every token, revoked ones too, by name; for an admin or an auditor.
    ///
    /// # Errors
    /// `RoleMissing`, `LedgerUnavailable`.
    pub async fn tokens(&self, principal: &Principal) -> Result<Vec<Token>, AppError> {
        if !principal.roles.admin && !principal.roles.auditor {
            return Err(AppError::RoleMissing("auditor or admin"));
        }
        Ok(Token::all(self.store.tokens().await?, self.clock.now()))
    }

    /// One of them.
    ///
    /// # Errors
    /// `NotFound`, and as for [`App::tokens`].
    pub async fn token(&self, principal: &Principal, name: &ShortName) -> Result<Token, AppError> {
        let tokens = self.tokens(principal).await?;
        tokens.into_iter().find(|token| token.current.name == *name).ok_or_else(nowhere)
    }

    /// Makes a token that has its maker's owner; for an admin.
    ///
    /// # Errors
    /// `RoleMissing`; `TokenNotAllowed` where it could do what its maker cannot, or would last too
    /// long; `TokenExists`; `Unauthenticated` where the maker's credential was changed meanwhile.
    pub async fn create_token(
        &self,
        principal: &Principal,
        origin: &Origin,
        wish: NewToken,
    ) -> Result<Given, AppError> {
        if !principal.roles.admin {
            return Err(AppError::RoleMissing("admin"));
        }
        may_give(principal, wish.roles, wish.on_behalf_of)?;
        let lasts = Hold::lifetime(wish.expires).map_err(AppError::ParameterInvalid)?;
        let minted = token::mint(&random::octets()?);
        for _ in 0..ATTEMPTS {
            let (state, now) = self.rechecked(principal).await?;
            let expires_at = ends(principal, now.after(lasts), wish.expires.is_some())?;
            let record = TokenRecord {
                id: minted.id.clone(),
                name: wish.name.clone(),
                secret_sha256: *minted.hashed.octets(),
                roles: wish.roles.words().into_iter().map(str::to_owned).collect(),
                on_behalf_of: wish.on_behalf_of,
                owner: principal.owner.clone(),
                created_at: now,
                expires_at,
                revoked_at: None,
                replaced: false,
                last_used_at: None,
            };
            let seen = Some(state.snapshot.revisions.tokens);
            match self.store.create_token_if(&record, seen, origin).await {
                Err(StoreError::Stale) => {}
                Err(StoreError::Conflict(given)) => return Err(AppError::TokenExists(given)),
                Err(error) => return Err(error.into()),
                Ok(()) => return self.given(&wish.name, minted.plain, now).await,
            }
        }
        Err(AppError::PolicyChanging)
    }

    /// Gives a token a new secret: the token its own, which then ends when the old one would have; or
    /// an admin who answers for it and could make it.
    ///
    /// # Errors
    /// `TokenNotAllowed` for anybody else who may know of it, and for a secret that was replaced
    /// itself; `NotFound` for others; `TokenRevoked`.
    pub async fn rotate_token(
        &self,
        principal: &Principal,
        origin: &Origin,
        name: &ShortName,
        turn: Turn,
    ) -> Result<Given, AppError> {
        let grace = Hold::grace(turn.grace).map_err(AppError::ParameterInvalid)?;
        let lasts = Hold::lifetime(turn.expires).map_err(AppError::ParameterInvalid)?;
        let minted = token::mint(&random::octets()?);
        for _ in 0..ATTEMPTS {
            let (state, now) = self.rechecked(principal).await?;
            let current = current(&state, name);
            let expires_at = match rotates(principal, &state, current, name)? {
                Rotates::Itself(_) if turn.expires.is_some() => {
                    return Err(AppError::TokenNotAllowed(
                        "a token that rotates itself ends when it would have ended: leave expires out"
                            .to_owned(),
                    ));
                }
                Rotates::Itself(end) => end,
                Rotates::Another => ends(principal, now.after(lasts), turn.expires.is_some())?,
            };
            let rotation = Rotation {
                id: minted.id.clone(),
                secret_sha256: *minted.hashed.octets(),
                at: now,
                expires_at,
                previous_until: now.after(grace),
            };
            let seen = state.snapshot.revisions.tokens;
            match self.store.rotate_token(name, &rotation, seen, origin).await {
                Err(StoreError::Stale) => {}
                Err(error) => return Err(error.into()),
                Ok(Rotated::Done) => return self.given(name, minted.plain, now).await,
                Ok(Rotated::Revoked) => return Err(AppError::TokenRevoked),
                Ok(Rotated::NotFound) => return Err(nowhere()),
            }
        }
        Err(AppError::PolicyChanging)
    }

    /// Revokes a token with all its secrets; for an admin, whoever's it is. Nothing happens where it
    /// was revoked before.
    ///
    /// # Errors
    /// `RoleMissing`, `NotFound`.
    pub async fn revoke_token(
        &self,
        principal: &Principal,
        origin: &Origin,
        name: &ShortName,
    ) -> Result<(), AppError> {
        if !principal.roles.admin {
            return Err(AppError::RoleMissing("admin"));
        }
        for _ in 0..ATTEMPTS {
            let (state, now) = self.rechecked(principal).await?;
            let seen = Some(state.snapshot.revisions.tokens);
            match self.store.revoke_token_if(name, seen, now, origin).await {
                Err(StoreError::Stale) => {}
                Err(error) => return Err(error.into()),
                Ok(None) => return Err(nowhere()),
                Ok(Some(_)) => {
                    self.refresh().await?;
                    return Ok(());
                }
            }
        }
        Err(AppError::PolicyChanging)
    }

    /// What holds now, in which the credential of `principal` still is what it was.
    async fn rechecked(&self, principal: &Principal) -> Result<(Arc<State>, Time), AppError> {
        let state = self.refresh().await?;
        let now = self.clock.now();
        self.recheck(principal, &state, now)?;
        Ok((state, now))
    }

    async fn given(&self, name: &ShortName, secret: TokenSecret, now: Time) -> Result<Given, AppError> {
        // Here it holds at once for reading too; for issuing it does everywhere.
        self.refresh().await?;
        let mut tokens = Token::all(self.store.tokens().await?, now).into_iter();
        let token = tokens.find(|token| token.current.name == *name);
        let gone = || AppError::Internal("a token that was just written is not there".to_owned());
        Ok(Given { token: token.ok_or_else(gone)?, secret })
    }
}

/// Who rotates.
enum Rotates {
    /// The token itself, which ends then.
    Itself(Time),
    /// One who could make it.
    Another,
}

fn rotates(
    principal: &Principal,
    state: &State,
    token: Option<&TokenRecord>,
    name: &ShortName,
) -> Result<Rotates, AppError> {
    let own = principal.credential.token_id().and_then(|id| state.snapshot.tokens.get(id));
    if let Some(own) = own.filter(|own| own.name == *name) {
        if own.replaced {
            return Err(AppError::TokenNotAllowed(
                "this secret was replaced by a newer one, which alone can rotate the token".to_owned(),
            ));
        }
        return Ok(Rotates::Itself(own.expires_at));
    }
    if !principal.roles.admin && !principal.roles.auditor {
        return Err(nowhere());
    }
    let token = token.ok_or_else(nowhere)?;
    // Who had this name before answers for what was made then.
    let is_since = principal.identity.bound_at.is_none_or(|bound| token.created_at > bound);
    if !principal.roles.admin || token.owner != principal.owner || !is_since {
        return Err(AppError::TokenNotAllowed(format!(
            "{name} is rotated by itself, by an admin who answers for it, or with `countersign token rotate`"
        )));
    }
    let roles = Roles::parse(&token.roles).ok_or_else(|| AppError::Internal("a stored role".to_owned()))?;
    may_give(principal, roles, token.on_behalf_of).map(|()| Rotates::Another)
}

/// When a token of `principal`'s making ends that is to end at `wanted`. No token outlives by another
/// one the end that it was given.
fn ends(principal: &Principal, wanted: Time, is_asked: bool) -> Result<Time, AppError> {
    if principal.credential.token_id().is_none() || wanted <= principal.expires_at {
        return Ok(wanted);
    }
    if is_asked {
        return Err(AppError::TokenNotAllowed(format!(
            "a token that a token makes ends with its maker at the latest, at {}: ask for less, or use `countersign \
             token create`",
            principal.expires_at
        )));
    }
    Ok(principal.expires_at)
}

/// That a token of `principal`'s making could do nothing that it cannot do itself.
fn may_give(principal: &Principal, roles: Roles, on_behalf_of: bool) -> Result<(), AppError> {
    let own = principal.roles.words();
    let lacking: Vec<_> = roles.words().into_iter().filter(|role| !own.contains(role)).collect();
    if !lacking.is_empty() {
        return Err(AppError::TokenNotAllowed(format!(
            "nobody gives a role that he lacks, and this caller lacks {}: use `countersign token create`",
            lacking.join(", ")
        )));
    }
    if on_behalf_of && !principal.on_behalf_of {
        return Err(AppError::TokenNotAllowed(
            "nobody gives what he lacks, and this caller may not name another person: use `countersign token create`"
                .to_owned(),
        ));
    }
    Ok(())
}

/// The newest secret of a token.
fn current<'s>(state: &'s State, name: &ShortName) -> Option<&'s TokenRecord> {
    state.snapshot.tokens.values().find(|secret| secret.name == *name && !secret.replaced)
}

fn nowhere() -> AppError {
    AppError::NotFound("there is no token of this name that this caller may see".to_owned())
}
