//! `GET /v1/audit`: every event; ascending with `after`, for a reader that follows.

use std::sync::Arc;

use axum::extract::{Extension, Request, State};
use axum::response::Response;
use serde::Serialize;
use serde_json::Value;

use super::accept;
use super::error::Problem;
use super::guard::Asker;
use super::list::Query;
use super::parameters::invalid;
use crate::app::App;
use crate::audit::{Event, EventKind};
use crate::store::{EventFilter, Page};
use crate::time::Time;

/// What the list takes.
pub const PARAMETERS: &[&str] = &["kind", "caller", "after", "limit", "cursor"];

/// Newest first; with `after=NUMBER` the events above that number in the order in which they were
/// committed. A follower comes back with the last number that it saw.
pub async fn list(
    State(app): State<Arc<App>>,
    Extension(asker): Extension<Asker>,
    request: Request,
) -> Result<Response, Problem> {
    accept::json(request.headers())?;
    let mut query = Query::parse("/v1/audit", request.uri().query(), PARAMETERS)?;
    let filter = EventFilter {
        kind: query.text("kind")?.as_deref().map(kind).transpose()?,
        caller: query.caller()?,
        ..EventFilter::default()
    };
    let after = query.text("after")?.as_deref().map(number).transpose()?;
    let (page, after) = place(&query, after);
    let mut events = app.events(&asker.principal, filter, page, after).await?;
    let next = query.cut(&mut events, |event| event.number);
    let items: Vec<_> = events.iter().map(EventBody::of).collect();
    Ok(query.answer(&items, next.as_deref()))
}

/// A cursor of a list that ascends says where to go on, in place of `after`.
fn place(query: &Query, after: Option<i64>) -> (Page, Option<i64>) {
    match after {
        None => (query.page(), None),
        Some(after) => (Page { before: None, ..query.page() }, Some(query.cursor().unwrap_or(after))),
    }
}

fn kind(text: &str) -> Result<EventKind, Problem> {
    let words = || EventKind::ALL.map(EventKind::as_str).join(", ");
    EventKind::parse(text).ok_or_else(|| invalid(format!("kind is one of {}", words())))
}

fn number(text: &str) -> Result<i64, Problem> {
    match text.parse() {
        Ok(number) if number >= 0 && !text.starts_with(['+', '-']) => Ok(number),
        _ => Err(invalid("after is the number of an event, or 0 to begin with the first")),
    }
}

#[derive(Serialize)]
struct EventBody<'a> {
    number: i64,
    at: Time,
    kind: &'static str,
    caller: &'a str,
    caller_groups: &'a [String],
    request_id: String,
    client_request_id: Option<&'a str>,
    address: Option<String>,
    detail: &'a Value,
}

impl<'a> EventBody<'a> {
    fn of(event: &'a Event) -> Self {
        Self {
            number: event.number,
            at: event.at,
            kind: event.kind.as_str(),
            caller: &event.origin.caller,
            caller_groups: &event.origin.caller_groups,
            request_id: event.origin.request_id.to_string(),
            client_request_id: event.origin.client_request_id.as_deref(),
            address: event.origin.address.map(|address| address.to_string()),
            detail: &event.detail,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_follower_goes_on_where_its_cursor_says() {
        let query = Query::parse("/v1/audit", Some("after=5&limit=2"), PARAMETERS).unwrap();
        assert_eq!(place(&query, Some(5)).1, Some(5));
        assert!(place(&query, Some(5)).0.before.is_none());
        let next = query.cut(&mut vec![6, 8, 9], |number| *number).unwrap();
        let query =
            Query::parse("/v1/audit", Some(&format!("after=5&limit=2&cursor={next}")), PARAMETERS).unwrap();
        assert_eq!(place(&query, Some(5)).1, Some(8));
    }

    #[test]
    fn what_is_no_number_or_kind_is_refused() {
        for text in ["", "-1", "+1", "x", "9223372036854775808", "2026-01-01T00:00:00Z"] {
            assert!(number(text).is_err(), "{text}");
        }
        assert_eq!(number("0").unwrap(), 0);
        assert!(kind("certificate.issued").is_ok());
        assert!(kind("certificate").is_err());
    }
}
