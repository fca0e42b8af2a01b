//! `GET /v1/refusals`: requests that were refused.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;

use super::error::{CODES, Problem};
use super::guard::Asker;
use super::list::Query;
use super::rows;
use crate::app::{App, AppError};
use crate::export::Wanted;
use crate::filters;

/// What the list takes.
pub const PARAMETERS: &[&str] = &[
    "user",
    "group",
    "cluster",
    "caller",
    "on_behalf_of",
    "policy",
    "code",
    "after",
    "before",
    "after_number",
    "order",
    "limit",
    "cursor",
    "format",
];

/// Newest first: a requester's own, an auditor's all. Which rows decided is for auditors only: a
/// requester must not learn what a deny row is called.
pub async fn list(State(app): State<Arc<App>>, asker: Asker, request: Request) -> Result<Response, Problem> {
    let query = request.uri().query();
    let mut query = Query::parse("/v1/refusals", query, request.headers(), PARAMETERS)?;
    let filter =
        filters::refusals(&mut query.filters, |code| CODES.iter().any(|(known, _, _)| *known == code))?;
    let span = filters::span(&mut query.filters, "after_number")?;
    let sees_rows = asker.principal.roles.auditor;
    if filter.policy.is_some() && !sees_rows {
        return Err(app.refuse_early(&asker.origin, AppError::RoleMissing("auditor")).await.into());
    }
    rows::answer(&app, &asker, &query, Wanted::Refusals(filter, sees_rows), span, request.headers()).await
}
