//! `GET /v1/blocked-keys`, and `PUT` and `DELETE /v1/blocked-keys/{spki_sha256}`.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::error::Problem;
use super::guard::Asker;
use super::json_line::JsonLine;
use super::parameters::{Parameters, invalid};
use super::{accept, body};
use crate::app::{App, AppError};
use crate::pki::fingerprint;
use crate::pki::pem::{BodyError, holds_private_key};
use crate::store::keys::BlockedKey;
use crate::time::Time;

/// The longest reason, in bytes.
const LONGEST_REASON: usize = 500;

/// Every blocked key, the latest first. The list is whole: it is held in memory for each request to
/// sign.
pub async fn list(State(app): State<Arc<App>>, asker: Asker, request: Request) -> Result<Response, Problem> {
    accept::json(request.headers())?;
    Parameters::parse(request.uri().query(), &[])?;
    let keys = app.blocked_keys(&asker.principal).await?;
    let items = keys.iter().map(KeyBody::of).collect();
    Ok(JsonLine(ListBody { items, next_cursor: None }).into_response())
}

/// Blocks a key: 201, or 200 where it was blocked before, with the reason that it was blocked for.
pub async fn block(
    State(app): State<Arc<App>>,
    asker: Asker,
    Path(key): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    accept::json(&parts.headers)?;
    Parameters::parse(parts.uri.query(), &[])?;
    let key = read_key(&key)?;
    let body = body::read(&parts, body, body::SMALL_LIMIT).await?;
    let reason = read_reason(&body)?;
    let blocked = app.block_key(&asker.principal, &asker.origin, key, &reason).await?;
    let keys = app.blocked_keys(&asker.principal).await?;
    // Gone again where somebody unblocked it in this moment.
    let held = keys.iter().find(|held| held.spki_sha256 == key);
    let held = held.ok_or_else(|| AppError::NotFound("this key is no longer blocked".to_owned()))?;
    let status = if blocked { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, JsonLine(KeyBody::of(held))).into_response())
}

/// Unblocks a key: 204, or 404 where it is not blocked.
pub async fn unblock(
    State(app): State<Arc<App>>,
    asker: Asker,
    Path(key): Path<String>,
    request: Request,
) -> Result<StatusCode, Problem> {
    Parameters::parse(request.uri().query(), &[])?;
    app.unblock_key(&asker.principal, &asker.origin, read_key(&key)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn read_key(text: &str) -> Result<[u8; 32], Problem> {
    let wrong =
        "a key is named by the SHA-256 of its SPKI in 64 hex digits, as spki_sha256 of a record shows it";
    fingerprint::parse(text).ok_or_else(|| invalid(wrong))
}

fn read_reason(body: &[u8]) -> Result<String, Problem> {
    if holds_private_key(body) {
        return Err(AppError::Body(BodyError::PrivateKey).into());
    }
    let wish: BlockBody = serde_json::from_slice(body)
        .map_err(|_| Problem::new("json_invalid", r#"the body is one JSON object, {"reason": "why"}"#))?;
    let reason = wish.reason.trim();
    if reason.is_empty() || reason.len() > LONGEST_REASON || reason.chars().any(char::is_control) {
        return Err(invalid("reason is 1 to 500 bytes on one line"));
    }
    Ok(reason.to_owned())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BlockBody {
    reason: String,
}

#[derive(Serialize)]
struct ListBody {
    items: Vec<KeyBody>,
    next_cursor: Option<String>,
}

#[derive(Serialize)]
struct KeyBody {
    spki_sha256: String,
    reason: String,
    blocked_at: Time,
    blocked_by: String,
}

impl KeyBody {
    fn of(key: &BlockedKey) -> Self {
        Self {
            spki_sha256: hex::encode(key.spki_sha256),
            reason: key.reason.clone(),
            blocked_at: key.at,
            blocked_by: key.by.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_line_of_json_and_bounded() {
        assert_eq!(read_reason(br#"{"reason": " leaked "}"#).unwrap(), "leaked");
        let long = format!(r#"{{"reason": "{}"}}"#, "x".repeat(501));
        for (body, code) in [
            (&b""[..], "json_invalid"),
            (b"leaked", "json_invalid"),
            (b"{}", "json_invalid"),
            (br#"{"reason": 7}"#, "json_invalid"),
            (br#"{"reason": "a", "reason": "b"}"#, "json_invalid"),
            (br#"{"reason": "a", "until": "b"}"#, "json_invalid"),
            (br#"{"reason": " "}"#, "parameter_invalid"),
            (br#"{"reason": "a\nb"}"#, "parameter_invalid"),
            (long.as_bytes(), "parameter_invalid"),
        ] {
            assert_eq!(read_reason(body).unwrap_err().code(), code, "{}", String::from_utf8_lossy(body));
        }
    }
}
