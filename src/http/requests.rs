//! `/v1/requests`: what waits for people.

use std::sync::Arc;

use axum::extract::{Extension, Path, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::error::Problem;
use super::exchange::Exchange;
use super::guard::Asker;
use super::json_line::JsonLine;
use super::list::Query;
use super::parameters::{Parameters, invalid};
use super::to_the_end::to_the_end;
use super::wish::Rendering;
use super::{accept, body, prefer, sign};
use crate::app::requests::Answer;
use crate::app::{App, AppError};
use crate::audit::RequestId;
use crate::pki::pem::{BodyError, holds_private_key};
use crate::policy::Standing;
use crate::store::{HeldId, HeldRequest, HeldState, Order, RequestFilter, Span};
use crate::time::{Lifetime, Time};

/// What the list takes.
pub const LIST_PARAMETERS: &[&str] = &["status", "cluster", "user", "caller", "limit", "cursor"];
/// What collecting takes.
pub const CERTIFICATE_PARAMETERS: &[&str] = &["key_path", "shape", "format"];
/// The longest comment, in bytes.
const LONGEST_COMMENT: usize = 500;

/// Newest first: a requester's own, those that name an approver, all for an auditor.
pub async fn list(State(app): State<Arc<App>>, asker: Asker, request: Request) -> Result<Response, Problem> {
    accept::json(request.headers())?;
    let mut query = Query::parse("/v1/requests", request.uri().query(), request.headers(), LIST_PARAMETERS)?;
    let mut filter = RequestFilter {
        caller: query.filters.take("caller")?,
        user: query.filters.take("user")?,
        cluster: query.filters.take("cluster")?,
        ..RequestFilter::default()
    };
    match query.filters.take("status")?.as_deref() {
        None => {}
        Some("open") => filter.open = true,
        Some(word) => filter.state = Some(status(word)?),
    }
    let span = Span { limit: query.page_limit(), ..query.rest(Span::all(Order::NewestFirst, 0)) };
    let page = app.requests(&asker.principal, filter, span).await?;
    app.note_read(&asker.principal, &asker.origin, query.path(), &query.question());
    let items: Vec<_> = page.requests.iter().map(RequestBody::of).collect();
    let next = page.next.map(|number| query.cursor_behind(number));
    Ok(query.answer(None, &items, next.as_deref()))
}

/// One, as it stands; with `Prefer: wait=60` when it is no longer pending, or after a minute.
pub async fn one(
    State(app): State<Arc<App>>,
    asker: Asker,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    accept::json(request.headers())?;
    Parameters::parse(request.uri().query(), &[])?;
    let id = read_id(&id)?;
    let mut found = app.request(&asker.principal, id).await?;
    app.note_read(&asker.principal, &asker.origin, "/v1/requests/{id}", &id.to_string());
    if let Some(longest) = prefer::wait(request.headers()).filter(|_| found.state == HeldState::Pending) {
        app.wait_for_request(id, longest).await?;
        found = app.request(&asker.principal, id).await?;
    }
    Ok(JsonLine(RequestBody::of(&found)).into_response())
}

/// Takes one of the caller's own back: 204.
pub async fn withdraw(
    State(app): State<Arc<App>>,
    asker: Asker,
    Path(id): Path<String>,
    request: Request,
) -> Result<StatusCode, Problem> {
    Parameters::parse(request.uri().query(), &[])?;
    app.withdraw_request(&asker.principal, &asker.origin, read_id(&id)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Approves, with a comment or without.
pub async fn approve(
    app: State<Arc<App>>,
    asker: Asker,
    id: Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    say(app, asker, id, request, Answer::Approve).await
}

/// Denies, with a comment or without.
pub async fn deny(
    app: State<Arc<App>>,
    asker: Asker,
    id: Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    say(app, asker, id, request, Answer::Deny).await
}

/// Signs what was approved, and answers as `POST /v1/sign` does.
pub async fn certificate(
    State(app): State<Arc<App>>,
    asker: Asker,
    Extension(exchange): Extension<Arc<Exchange>>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let mut parameters = Parameters::parse(request.uri().query(), CERTIFICATE_PARAMETERS)?;
    let [format, key_path, shape] = ["format", "key_path", "shape"].map(|name| parameters.take_filled(name));
    let rendering = Rendering::parse(format?.as_deref(), key_path?.as_deref(), shape?.as_deref())?;
    let offer = accept::certificate(rendering.form, request.headers())?;
    let (id, signing) = (read_id(&id)?, Arc::clone(&app));
    let token = sign::person_token(request.headers())?;
    let collecting = async move { signing.collect(&asker.principal, &asker.origin, id, token).await };
    let outcome = to_the_end(collecting).await?;
    sign::answer(&app, exchange.id, outcome, &rendering, offer)
}

async fn say(
    State(app): State<Arc<App>>,
    asker: Asker,
    Path(id): Path<String>,
    request: Request,
    answer: Answer,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    accept::json(&parts.headers)?;
    Parameters::parse(parts.uri.query(), &[])?;
    let id = read_id(&id)?;
    let body = body::read(&parts, body, body::SMALL_LIMIT).await?;
    let comment = read_comment(&body)?;
    let request = app.answer_request(&asker.principal, &asker.origin, id, comment, answer).await?;
    Ok(JsonLine(RequestBody::of(&request)).into_response())
}

fn status(word: &str) -> Result<HeldState, Problem> {
    HeldState::parse(word).ok_or_else(|| {
        let known: Vec<_> = HeldState::ALL.iter().map(|state| state.as_str()).collect();
        invalid(format!("status is one of open, {}", known.join(", ")))
    })
}

fn read_id(text: &str) -> Result<HeldId, Problem> {
    HeldId::parse(text).ok_or_else(|| invalid("a request is named by its id, 32 hex digits"))
}

fn read_comment(body: &[u8]) -> Result<Option<String>, Problem> {
    if holds_private_key(body) {
        return Err(AppError::Body(BodyError::PrivateKey).into());
    }
    if body.trim_ascii().is_empty() {
        return Ok(None);
    }
    let word: WordBody = serde_json::from_slice(body).map_err(|_| {
        Problem::new("json_invalid", r#"the body is empty, or one JSON object, {"comment": "why"}"#)
    })?;
    let comment = word.comment.trim();
    if comment.is_empty() || comment.len() > LONGEST_COMMENT || comment.chars().any(char::is_control) {
        return Err(invalid("comment is 1 to 500 bytes on one line"));
    }
    Ok(Some(comment.to_owned()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WordBody {
    comment: String,
}

/// What `POST /v1/sign` answers with 202.
#[derive(Serialize)]
pub struct HeldBody<'a> {
    #[serde(flatten)]
    request: RequestBody<'a>,
    warnings: &'a [String],
    request_id: String,
}

impl<'a> HeldBody<'a> {
    /// The request as it stands.
    pub fn of(request: &'a HeldRequest, warnings: &'a [String], request_id: RequestId) -> Self {
        Self { request: RequestBody::of(request), warnings, request_id: request_id.to_string() }
    }
}

/// A request as it goes out. What it says is what an approval binds.
#[derive(Serialize)]
struct RequestBody<'a> {
    id: String,
    status: &'static str,
    cluster: &'a str,
    user: &'a str,
    groups: &'a [String],
    on_behalf_of: Option<&'a str>,
    on_behalf_of_proof: bool,
    reason: Option<&'a str>,
    asked_ttl: Option<Lifetime>,
    lifetime: Lifetime,
    key_kind: &'a str,
    spki_sha256: String,
    csr_sha256: String,
    ca_spki_sha256: String,
    requested_by: &'a str,
    requested_at: Time,
    lapses_at: Time,
    policies: &'a [String],
    policy_revision: i64,
    reviews: Vec<ReviewBody<'a>>,
    approvals: Vec<ApprovalBody<'a>>,
    closed: Option<ClosedBody<'a>>,
}

#[derive(Serialize)]
struct ReviewBody<'a> {
    policy: &'a str,
    description: Option<&'a str>,
    wanted: u32,
    given: u32,
}

#[derive(Serialize)]
struct ApprovalBody<'a> {
    approver: &'a str,
    at: Time,
    comment: Option<&'a str>,
}

#[derive(Serialize)]
struct ClosedBody<'a> {
    at: Time,
    by: &'a str,
    comment: Option<&'a str>,
    serial: Option<&'a str>,
}

impl<'a> RequestBody<'a> {
    fn of(request: &'a HeldRequest) -> Self {
        let approvals = request.approvals.iter().map(|approval| ApprovalBody {
            approver: &approval.approver,
            at: approval.at,
            comment: approval.comment.as_deref(),
        });
        let closed = request.closed.as_ref().map(|closed| ClosedBody {
            at: closed.at,
            by: &closed.by,
            comment: closed.comment.as_deref(),
            serial: closed.serial.as_deref(),
        });
        Self {
            id: request.id.to_string(),
            status: request.state.as_str(),
            cluster: &request.cluster,
            user: &request.user,
            groups: &request.groups,
            on_behalf_of: request.on_behalf_of.as_deref(),
            on_behalf_of_proof: request.proof.is_some(),
            reason: request.reason.as_deref(),
            asked_ttl: request.asked_ttl,
            lifetime: request.lifetime,
            key_kind: &request.key_kind,
            spki_sha256: hex::encode(request.spki_sha256),
            csr_sha256: hex::encode(request.csr_sha256),
            ca_spki_sha256: hex::encode(request.authority),
            requested_by: &request.origin.caller,
            requested_at: request.at,
            lapses_at: request.lapses_at,
            policies: &request.policies,
            policy_revision: request.policy_revision,
            reviews: request.standing.iter().map(|standing| review(request, standing)).collect(),
            approvals: approvals.collect(),
            closed,
        }
    }
}

fn review<'a>(request: &'a HeldRequest, standing: &'a Standing) -> ReviewBody<'a> {
    let row = request.reviews.iter().find(|row| row.name == standing.policy);
    ReviewBody {
        policy: standing.policy.as_str(),
        description: row.and_then(|row| row.description.as_deref()),
        wanted: standing.wanted,
        given: standing.given,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_is_one_line_of_json_or_nothing() {
        assert_eq!(read_comment(b"").unwrap(), None);
        assert_eq!(read_comment(b" \n").unwrap(), None);
        assert_eq!(read_comment(br#"{"comment": " sound "}"#).unwrap().as_deref(), Some("sound"));
        let long = format!(r#"{{"comment": "{}"}}"#, "x".repeat(501));
        for (body, code) in [
            (&b"sound"[..], "json_invalid"),
            (b"{}", "json_invalid"),
            (br#"{"comment": "a", "force": true}"#, "json_invalid"),
            (br#"{"comment": " "}"#, "parameter_invalid"),
            (br#"{"comment": "a\nb"}"#, "parameter_invalid"),
            (long.as_bytes(), "parameter_invalid"),
        ] {
            assert_eq!(read_comment(body).unwrap_err().code(), code, "{}", String::from_utf8_lossy(body));
        }
    }
}
