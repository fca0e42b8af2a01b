//! `GET` and `POST /v1/tokens`, `GET` and `DELETE /v1/tokens/{name}`, `POST /v1/tokens/{name}/rotate`.
//!
//! The text of a token goes out once, in the answer that makes it.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::http::header::LOCATION;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::error::Problem;
use super::guard::Asker;
use super::json_line::JsonLine;
use super::parameters::{Parameters, invalid};
use super::{accept, body};
use crate::app::tokens::{Given, NewToken, Token, Turn};
use crate::app::{App, AppError};
use crate::auth::Roles;
use crate::pki::name::ShortName;
use crate::pki::pem::{BodyError, holds_private_key};
use crate::time::{Lifetime, Time};

/// Every token, by name. The list is whole: it is held in memory to know callers by.
pub async fn list(State(app): State<Arc<App>>, asker: Asker, request: Request) -> Result<Response, Problem> {
    accept::json(request.headers())?;
    Parameters::parse(request.uri().query(), &[])?;
    let tokens = app.tokens(&asker.principal).await?;
    let items = tokens.iter().map(TokenBody::of).collect();
    Ok(JsonLine(ListBody { items, next_cursor: None }).into_response())
}

/// One.
pub async fn one(
    State(app): State<Arc<App>>,
    asker: Asker,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    accept::json(request.headers())?;
    Parameters::parse(request.uri().query(), &[])?;
    let token = app.token(&asker.principal, &read_name(&name)?).await?;
    Ok(JsonLine(TokenBody::of(&token)).into_response())
}

/// Makes one: 201, with its text.
pub async fn create(
    State(app): State<Arc<App>>,
    asker: Asker,
    request: Request,
) -> Result<Response, Problem> {
    let body = begin(request).await?;
    let wish = read_new(&body)?;
    match app.create_token(&asker.principal, &asker.origin, wish).await {
        Ok(given) => Ok(answer(&given)),
        Err(error) => Err(app.refuse_early(&asker.origin, error).await.into()),
    }
}

/// Gives one a new secret: 201, with its text.
pub async fn rotate(
    State(app): State<Arc<App>>,
    asker: Asker,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let body = begin(request).await?;
    let turn = read_turn(&body)?;
    match app.rotate_token(&asker.principal, &asker.origin, &read_name(&name)?, turn).await {
        Ok(given) => Ok(answer(&given)),
        Err(error) => Err(app.refuse_early(&asker.origin, error).await.into()),
    }
}

/// Revokes one with all its secrets: 204, also where it was revoked before.
pub async fn revoke(
    State(app): State<Arc<App>>,
    asker: Asker,
    Path(name): Path<String>,
    request: Request,
) -> Result<StatusCode, Problem> {
    Parameters::parse(request.uri().query(), &[])?;
    app.revoke_token(&asker.principal, &asker.origin, &read_name(&name)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn begin(request: Request) -> Result<Bytes, Problem> {
    let (parts, body) = request.into_parts();
    accept::json(&parts.headers)?;
    Parameters::parse(parts.uri.query(), &[])?;
    let body = body::read(&parts, body, body::SMALL_LIMIT).await?;
    if holds_private_key(&body) {
        return Err(AppError::Body(BodyError::PrivateKey).into());
    }
    Ok(body)
}

fn answer(given: &Given) -> Response {
    let Given { token, secret } = given;
    let location = HeaderValue::try_from(format!("/v1/tokens/{}", token.current.name));
    let body = GivenBody { token: secret.expose(), facts: TokenBody::of(token) };
    let mut response = (StatusCode::CREATED, JsonLine(body)).into_response();
    if let Ok(location) = location {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

fn read_name(text: &str) -> Result<ShortName, Problem> {
    ShortName::parse(text).map_err(|error| invalid(format!("the name of a token: {error}")))
}

fn read_new(body: &[u8]) -> Result<NewToken, Problem> {
    let shape = r#"{"name": "robot", "roles": ["requester"], "on_behalf_of": false, "expires": "90d"}"#;
    let wish: NewBody = read_json(body, shape)?;
    let name = ShortName::parse(&wish.name).map_err(|error| invalid(format!("name: {error}")))?;
    let known = "roles is a list of requester, auditor, admin and approver, with one of them at least";
    let roles = Roles::parse(&wish.roles).filter(|roles| !roles.words().is_empty());
    let roles = roles.ok_or_else(|| invalid(known))?;
    Ok(NewToken { name, roles, on_behalf_of: wish.on_behalf_of, expires: lifetime("expires", wish.expires)? })
}

fn read_turn(body: &[u8]) -> Result<Turn, Problem> {
    let wish = match body {
        [] => TurnBody::default(),
        body => read_json(body, r#"{"grace": "1h"}"#)?,
    };
    Ok(Turn { grace: lifetime("grace", wish.grace)?, expires: lifetime("expires", wish.expires)? })
}

fn read_json<T: DeserializeOwned>(body: &[u8], shape: &str) -> Result<T, Problem> {
    serde_json::from_slice(body)
        .map_err(|_| Problem::new("json_invalid", format!("the body is one JSON object, {shape}")))
}

fn lifetime(key: &str, text: Option<String>) -> Result<Option<Lifetime>, Problem> {
    let read = |text: String| Lifetime::parse(&text).map_err(|reason| invalid(format!("{key}: {reason}")));
    text.map(read).transpose()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewBody {
    name: String,
    roles: Vec<String>,
    #[serde(default)]
    on_behalf_of: bool,
    expires: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct TurnBody {
    grace: Option<String>,
    expires: Option<String>,
}

#[derive(Serialize)]
struct ListBody<'a> {
    items: Vec<TokenBody<'a>>,
    next_cursor: Option<String>,
}

/// With the secret, for its holder.
#[derive(Serialize)]
struct GivenBody<'a> {
    token: &'a str,
    #[serde(flatten)]
    facts: TokenBody<'a>,
}

#[derive(Serialize)]
struct TokenBody<'a> {
    name: &'a str,
    id: &'a str,
    caller: String,
    roles: &'a [String],
    on_behalf_of: bool,
    owner: &'a str,
    created_at: Time,
    rotated_at: Option<Time>,
    expires_at: Time,
    revoked_at: Option<Time>,
    last_used_at: Option<Time>,
    replaced: Option<ReplacedBody<'a>>,
}

/// The secret before, for as long as it holds.
#[derive(Serialize)]
struct ReplacedBody<'a> {
    id: &'a str,
    expires_at: Time,
    last_used_at: Option<Time>,
}

impl<'a> TokenBody<'a> {
    fn of(token: &'a Token) -> Self {
        let current = &token.current;
        Self {
            name: current.name.as_str(),
            id: &current.id,
            caller: token.caller().to_string(),
            roles: &current.roles,
            on_behalf_of: current.on_behalf_of,
            owner: &current.owner,
            created_at: token.created_at,
            rotated_at: token.rotated_at,
            expires_at: current.expires_at,
            revoked_at: current.revoked_at,
            last_used_at: token.last_used_at,
            replaced: token.replaced.as_ref().map(|replaced| ReplacedBody {
                id: &replaced.id,
                expires_at: replaced.expires_at,
                last_used_at: replaced.last_used_at,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_token_is_read_strictly() {
        let read = |text: &str| read_new(text.as_bytes());
        let wish = read(r#"{"name": "robot", "roles": ["requester"]}"#).unwrap();
        assert_eq!((wish.name.as_str(), wish.on_behalf_of, wish.expires), ("robot", false, None));
        for (text, code) in [
            ("", "json_invalid"),
            ("{}", "json_invalid"),
            (r#"{"name": "robot", "roles": "requester"}"#, "json_invalid"),
            (r#"{"name": "robot", "roles": ["requester"], "owner": "token:x"}"#, "json_invalid"),
            (r#"{"name": "Robot", "roles": ["requester"]}"#, "parameter_invalid"),
            (r#"{"name": "robot", "roles": []}"#, "parameter_invalid"),
            (r#"{"name": "robot", "roles": ["root"]}"#, "parameter_invalid"),
            (r#"{"name": "robot", "roles": ["admin"], "expires": "soon"}"#, "parameter_invalid"),
        ] {
            assert_eq!(read(text).unwrap_err().code(), code, "{text}");
        }
    }

    #[test]
    fn a_rotation_may_say_nothing() {
        assert_eq!(read_turn(b"").unwrap(), Turn::default());
        let turn = read_turn(br#"{"grace": "0s"}"#).unwrap();
        assert_eq!(turn.grace, Some(Lifetime::from_seconds(0)));
        assert_eq!(read_turn(br#"{"grace": 5}"#).unwrap_err().code(), "json_invalid");
        assert_eq!(read_turn(br#"{"grace": "-1h"}"#).unwrap_err().code(), "parameter_invalid");
    }
}
