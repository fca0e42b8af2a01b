//! `/v1/policies`, the whole set, and `/v1/policies/{name}`, one row: `GET` and `PUT`, and `DELETE` of a
//! row.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::header::{ETAG, IF_MATCH, IF_NONE_MATCH, LOCATION};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::error::Problem;
use super::guard::Asker;
use super::json_line::JsonLine;
use super::parameters::{Parameters, invalid};
use super::to_the_end::to_the_end;
use super::{accept, body};
use crate::app::policies::IfMatch;
use crate::app::{App, AppError};
use crate::pki::name::ShortName;
use crate::pki::pem::{BodyError, holds_private_key};
use crate::policy::{PolicyFile, PolicyRow};
use crate::store::policies::{HeldSince, PolicyChange};

/// What the whole set takes.
pub const PARAMETERS: &[&str] = &["revision"];

/// The whole set, now or at an old `revision`. What it answers is what `PUT` takes.
pub async fn all(State(app): State<Arc<App>>, asker: Asker, request: Request) -> Result<Response, Problem> {
    accept::json(request.headers())?;
    let mut parameters = Parameters::parse(request.uri().query(), PARAMETERS)?;
    let revision = parameters.take("revision").as_deref().map(revision).transpose()?;
    let (revision, policies) = app.policies(&asker.principal, revision).await?;
    let is_known = |tag| tag == revision;
    Ok(tagged(request.headers(), revision, is_known, &SetBody { revision, policies: &policies }))
}

/// One row, as it stands in the list that `PUT` takes.
pub async fn one(
    State(app): State<Arc<App>>,
    asker: Asker,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    accept::json(request.headers())?;
    Parameters::parse(request.uri().query(), &[])?;
    let HeldSince { row, since, current } = app.policy(&asker.principal, &name).await?;
    let is_known = |tag| (since..=current).contains(&tag);
    Ok(tagged(request.headers(), since, is_known, &row))
}

/// Replaces the whole set. Role and If-Match come before the body.
pub async fn replace(
    State(app): State<Arc<App>>,
    asker: Asker,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    accept::json(&parts.headers)?;
    Parameters::parse(parts.uri.query(), &[])?;
    let if_match = if_match(&parts.headers);
    app.may_replace_policies(&asker.principal, if_match).await?;
    let file = read_set(&app, &asker, &parts, body).await?;
    let Asker { principal, origin } = asker.clone();
    let working = Arc::clone(&app);
    let change = changed(&app, &asker, async move {
        working.replace_policies(&principal, &origin, if_match, file.policies).await
    });
    let change = change.await?;
    Ok(([(ETAG, etag(change.revision))], JsonLine(change)).into_response())
}

/// Writes one row: 201 where it is new. Role and If-Match come before the body.
pub async fn put_one(
    State(app): State<Arc<App>>,
    asker: Asker,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    accept::json(&parts.headers)?;
    Parameters::parse(parts.uri.query(), &[])?;
    let name = row_name(&name)?;
    let if_match = row_match(&parts.headers)?;
    app.may_edit_policy(&asker.principal, &name, if_match).await?;
    let row = read_row(&app, &asker, &parts, body).await?;
    let location = format!("/v1/policies/{name}");
    let Asker { principal, origin } = asker.clone();
    let working = Arc::clone(&app);
    let change = changed(&app, &asker, async move {
        working.put_policy(&principal, &origin, (&name, if_match), row).await
    });
    let change = change.await?;
    let tag = [(ETAG, etag(change.revision))];
    if change.added.is_empty() {
        return Ok((tag, JsonLine(change)).into_response());
    }
    Ok((StatusCode::CREATED, tag, [(LOCATION, location)], JsonLine(change)).into_response())
}

/// Takes one row away, a held one too.
pub async fn remove_one(
    State(app): State<Arc<App>>,
    asker: Asker,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    accept::json(request.headers())?;
    Parameters::parse(request.uri().query(), &[])?;
    let name = row_name(&name)?;
    let if_match = row_match(request.headers())?;
    let Asker { principal, origin } = asker.clone();
    let working = Arc::clone(&app);
    let change =
        changed(
            &app,
            &asker,
            async move { working.remove_policy(&principal, &origin, &name, if_match).await },
        );
    Ok(JsonLine(change.await?).into_response())
}

/// The set that a body holds. One that cannot be read is a refusal, and recorded.
pub(super) async fn read_set(
    app: &App,
    asker: &Asker,
    parts: &Parts,
    body: Body,
) -> Result<PolicyFile, Problem> {
    read(app, asker, parts, body, PolicyFile::read).await
}

async fn read_row(app: &App, asker: &Asker, parts: &Parts, body: Body) -> Result<PolicyRow, Problem> {
    read(app, asker, parts, body, PolicyRow::read).await
}

/// On a thread of its own: megabytes of YAML would hold up everybody else.
async fn read<T: Send + 'static>(
    app: &App,
    asker: &Asker,
    parts: &Parts,
    body: Body,
    read: fn(&[u8]) -> Result<T, String>,
) -> Result<T, Problem> {
    let body = body::read(parts, body, body::POLICIES_LIMIT).await?;
    let reading = tokio::task::spawn_blocking(move || {
        let clean = !holds_private_key(&body);
        clean.then(|| read(&body))
    });
    let read = reading.await.map_err(|_| Problem::internal("reading the policies broke off"))?;
    match read.ok_or(AppError::Body(BodyError::PrivateKey))? {
        Ok(read) => Ok(read),
        Err(reason) => {
            let error = AppError::PolicyInvalid(vec![reason]);
            Err(app.refuse_early(&asker.origin, error).await.into())
        }
    }
}

/// A client that goes away must not stop a change half way.
async fn changed(
    app: &App,
    asker: &Asker,
    change: impl Future<Output = Result<PolicyChange, AppError>> + Send + 'static,
) -> Result<PolicyChange, Problem> {
    match to_the_end(change).await {
        Ok(change) => Ok(change),
        Err(error) => Err(app.refuse_early(&asker.origin, error).await.into()),
    }
}

#[derive(Serialize)]
struct SetBody<'a> {
    revision: i64,
    policies: &'a [PolicyRow],
}

/// The answer with its `ETag`, or 304 for who has it already.
fn tagged(
    headers: &HeaderMap,
    revision: i64,
    is_known: impl Fn(i64) -> bool,
    body: &impl Serialize,
) -> Response {
    let etag = etag(revision);
    if knows(headers, is_known) {
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

/// What a write to one row says of it: `If-None-Match: *` where it is to be new.
fn row_match(headers: &HeaderMap) -> Result<IfMatch, Problem> {
    let mut new = headers.get_all(IF_NONE_MATCH).iter();
    let Some(value) = new.next() else { return Ok(if_match(headers)) };
    if value.as_bytes() != b"*" || new.next().is_some() {
        return Err(invalid("If-None-Match of a write is `*`, for a row that is new"));
    }
    match if_match(headers) {
        IfMatch::Absent => Ok(IfMatch::Nothing),
        _ => Err(invalid("If-Match is for a row that is there and If-None-Match for a new one: send one")),
    }
}

/// No row has another kind of name, so there is nothing there to change and nothing that could be.
fn row_name(text: &str) -> Result<ShortName, Problem> {
    ShortName::parse(text).map_err(|error| invalid(format!("the name of a policy: {error}")))
}

/// RFC 9110, section 13.1.2: a weak comparison.
fn knows(headers: &HeaderMap, is_known: impl Fn(i64) -> bool) -> bool {
    let values = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut tags = values.flat_map(|text| text.split(',')).map(str::trim);
    let own = |tag: &str| own_tag(tag.strip_prefix("W/").unwrap_or(tag));
    tags.any(|tag| tag == "*" || own(tag).is_some_and(&is_known))
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
    fn a_row_is_changed_or_made() {
        let read = |pairs: &[(axum::http::HeaderName, &'static str)]| {
            let pairs = pairs.iter().cloned().map(|(name, value)| (name, HeaderValue::from_static(value)));
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.append(name, value);
            }
            row_match(&headers).map_err(|problem| problem.code())
        };
        assert_eq!(read(&[]), Ok(IfMatch::Absent));
        assert_eq!(read(&[(IF_MATCH, "\"3\"")]), Ok(IfMatch::Revision(3)));
        assert_eq!(read(&[(IF_NONE_MATCH, "*")]), Ok(IfMatch::Nothing));
        for wrong in [
            &[(IF_NONE_MATCH, "\"3\"")][..],
            &[(IF_NONE_MATCH, "*"), (IF_NONE_MATCH, "*")],
            &[(IF_NONE_MATCH, "*"), (IF_MATCH, "*")],
        ] {
            assert_eq!(read(wrong), Err("parameter_invalid"), "{wrong:?}");
        }
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
            let answer = tagged(&headers, 7, |tag| tag == 7, &"x");
            assert_eq!(answer.status() == StatusCode::NOT_MODIFIED, known, "{value}");
        }
    }
}
