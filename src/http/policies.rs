//! `GET` and `PUT /v1/policies`, and `GET /v1/policies/{name}`.

use std::sync::Arc;

use axum::extract::{Extension, Path, Request, State};
use axum::http::header::{ETAG, IF_MATCH, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Serialize;

use super::error::Problem;
use super::guard::Asker;
use super::json_line::JsonLine;
use super::parameters::{Parameters, invalid};
use super::{accept, body};
use crate::app::policies::IfMatch;
use crate::app::{App, AppError};
use crate::pki::pem::{BodyError, holds_private_key};
use crate::policy::{PolicyFile, PolicyRow};
use crate::store::policies::PolicyChange;

/// What the whole set takes.
pub const PARAMETERS: &[&str] = &["revision"];

/// The whole set, now or at an old `revision`. What it answers is what `PUT` takes.
pub async fn all(
    State(app): State<Arc<App>>,
    Extension(asker): Extension<Asker>,
    request: Request,
) -> Result<Response, Problem> {
    accept::json(request.headers())?;
    let mut parameters = Parameters::parse(request.uri().query(), PARAMETERS)?;
    let revision = parameters.take("revision").as_deref().map(revision).transpose()?;
    let (revision, policies) = app.policies(&asker.principal, revision).await?;
    Ok(tagged(request.headers(), revision, &SetBody { revision, policies: &policies }))
}

/// One row, as it stands in the list that `PUT` takes.
pub async fn one(
    State(app): State<Arc<App>>,
    Extension(asker): Extension<Asker>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    accept::json(request.headers())?;
    Parameters::parse(request.uri().query(), &[])?;
    let (revision, policies) = app.policies(&asker.principal, None).await?;
    let row = policies.iter().find(|row| row.name.as_str() == name);
    let row = row.ok_or_else(|| Problem::new("not_found", "there is no policy of that name"))?;
    Ok(tagged(request.headers(), revision, row))
}

/// Replaces the whole set. Role and If-Match come before the body.
pub async fn replace(
    State(app): State<Arc<App>>,
    Extension(asker): Extension<Asker>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    accept::json(&parts.headers)?;
    Parameters::parse(parts.uri.query(), &[])?;
    let if_match = if_match(&parts.headers);
    app.may_replace_policies(&asker.principal, if_match).await?;
    let body = body::read(&parts, body, body::POLICIES_LIMIT).await?;
    let file = match read(body).await? {
        Ok(file) => file,
        Err(reason) => {
            let error = AppError::PolicyInvalid(vec![reason]);
            return Err(app.refuse_early(&asker.origin, error).await.into());
        }
    };
    let change = replace_to_the_end(&app, asker, if_match, file.policies).await?;
    let etag = etag(change.revision);
    Ok(([(ETAG, etag)], JsonLine(change)).into_response())
}

/// On a thread of its own: megabytes of YAML would hold up everybody else.
async fn read(body: Bytes) -> Result<Result<PolicyFile, String>, Problem> {
    let reading = tokio::task::spawn_blocking(move || {
        let clean = !holds_private_key(&body);
        clean.then(|| PolicyFile::read(&body))
    });
    let read = reading.await.map_err(|_| Problem::internal("reading the policies broke off"))?;
    read.ok_or_else(|| AppError::Body(BodyError::PrivateKey).into())
}

/// In a task of its own: a client that goes away must not stop a change half way.
async fn replace_to_the_end(
    app: &Arc<App>,
    asker: Asker,
    if_match: IfMatch,
    rows: Vec<PolicyRow>,
) -> Result<PolicyChange, Problem> {
    let (working, principal, origin) = (Arc::clone(app), asker.principal, asker.origin.clone());
    let replacing = async move { working.replace_policies(&principal, &origin, if_match, rows).await };
    match tokio::spawn(replacing).await {
        Ok(Ok(change)) => Ok(change),
        Ok(Err(error)) => Err(app.refuse_early(&asker.origin, error).await.into()),
        Err(_) => Err(Problem::internal("replacing the policies broke off")),
    }
}

#[derive(Serialize)]
struct SetBody<'a> {
    revision: i64,
    policies: &'a [PolicyRow],
}

/// The answer with its `ETag`, or 304 for who has it already.
fn tagged(headers: &HeaderMap, revision: i64, body: &impl Serialize) -> Response {
    let etag = etag(revision);
    if is_known(headers, revision) {
        return (StatusCode::NOT_MODIFIED, [(ETAG, etag)]).into_response();
    }
    ([(ETAG, etag)], JsonLine(body)).into_response()
}

fn etag(revision: i64) -> HeaderValue {
    HeaderValue::try_from(quoted(revision)).unwrap_or_else(|_| HeaderValue::from_static("\"0\""))
}

fn quoted(revision: i64) -> String {
    format!("\"{revision}\"")
}

/// RFC 9110, section 13.1.1: a strong comparison, so a weak tag never matches.
fn if_match(headers: &HeaderMap) -> IfMatch {
    let mut values = headers.get_all(IF_MATCH).iter();
    let (Some(value), more) = (values.next(), values.next()) else {
        return IfMatch::Absent;
    };
    match value.to_str().map(str::trim) {
        Ok("*") if more.is_none() => IfMatch::Any,
        Ok(text) if more.is_none() => own_tag(text).map_or(IfMatch::Other, IfMatch::Revision),
        _ => IfMatch::Other,
    }
}

/// RFC 9110, section 13.1.2: a weak comparison.
fn is_known(headers: &HeaderMap, revision: i64) -> bool {
    let values = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut tags = values.flat_map(|text| text.split(',')).map(str::trim);
    tags.any(|tag| tag == "*" || own_tag(tag.strip_prefix("W/").unwrap_or(tag)) == Some(revision))
}

fn own_tag(text: &str) -> Option<i64> {
    let revision = text.strip_prefix('"')?.strip_suffix('"')?.parse().ok()?;
    (quoted(revision) == text).then_some(revision)
}

fn revision(text: &str) -> Result<i64, Problem> {
    match text.parse() {
        Ok(revision) if text.bytes().all(|digit| digit.is_ascii_digit()) => Ok(revision),
        _ => Err(invalid("revision is the number of a revision of the policy set")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_tag(value: &'static str) -> IfMatch {
        if_match(&HeaderMap::from_iter([(IF_MATCH, HeaderValue::from_static(value))]))
    }

    #[test]
    fn only_a_strong_tag_of_ours_names_a_revision() {
        assert_eq!(if_match(&HeaderMap::new()), IfMatch::Absent);
        assert_eq!(read_tag("*"), IfMatch::Any);
        assert_eq!(read_tag("\"12\""), IfMatch::Revision(12));
        for other in ["W/\"12\"", "12", "\"012\"", "\"+12\"", "\"x\"", "\"12\", \"13\"", "", "\""] {
            assert_eq!(read_tag(other), IfMatch::Other, "{other}");
        }
    }

    #[test]
    fn two_if_match_headers_match_nothing() {
        let mut headers = HeaderMap::new();
        headers.append(IF_MATCH, HeaderValue::from_static("\"1\""));
        headers.append(IF_MATCH, HeaderValue::from_static("*"));
        assert_eq!(if_match(&headers), IfMatch::Other);
    }

    #[test]
    fn who_has_the_revision_is_told_so() {
        for (value, known) in [
            ("\"7\"", true),
            ("W/\"7\"", true),
            ("\"1\", \"7\"", true),
            ("*", true),
            ("\"8\"", false),
            ("7", false),
        ] {
            let headers = HeaderMap::from_iter([(IF_NONE_MATCH, HeaderValue::from_static(value))]);
            assert_eq!(tagged(&headers, 7, &"x").status() == StatusCode::NOT_MODIFIED, known, "{value}");
        }
    }
}
