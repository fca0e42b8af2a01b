//! `GET /v1/audit`: every event; ascending with `after`, for a reader that follows.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;

use super::error::Problem;
use super::guard::Asker;
use super::list::Query;
use super::rows;
use crate::app::App;
use crate::export::Wanted;
use crate::filters;

/// What the list takes.
pub const PARAMETERS: &[&str] =
    &["kind", "caller", "at_after", "at_before", "after", "order", "limit", "cursor", "format"];

/// Newest first; with `after=NUMBER` the events above that number in the order in which they were
/// committed. A follower comes back with the last number that it saw.
pub async fn list(State(app): State<Arc<App>>, asker: Asker, request: Request) -> Result<Response, Problem> {
    let mut query = Query::parse("/v1/audit", request.uri().query(), request.headers(), PARAMETERS)?;
    let filter = filters::events(&mut query.filters)?;
    let span = filters::span(&mut query.filters, "after")?;
    rows::answer(&app, &asker, &query, Wanted::Events(filter), span, request.headers()).await
}
