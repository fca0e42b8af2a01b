//! `GET /v1/identities` and `DELETE /v1/identities/{caller}`: which subject a caller's name belongs to.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;

use super::accept;
use super::error::Problem;
use super::guard::Asker;
use super::list::Query;
use super::parameters::Parameters;
use crate::app::App;
use crate::store::{IdentityRecord, Order, Span};
use crate::time::Time;

/// What the list takes.
pub const PARAMETERS: &[&str] = &["caller", "limit", "cursor"];

/// Names that belong to a subject, the latest first.
pub async fn list(State(app): State<Arc<App>>, asker: Asker, request: Request) -> Result<Response, Problem> {
    accept::json(request.headers())?;
    let mut query = Query::parse("/v1/identities", request.uri().query(), request.headers(), PARAMETERS)?;
    let caller = query.filters.take("caller")?;
    let span = query.page(Span::all(Order::NewestFirst, 0));
    let mut rows = app.identities(&asker.principal, caller.as_deref(), span).await?;
    let next = query.cut(&mut rows, |row| row.number);
    let items: Vec<_> = rows.iter().map(IdentityBody::of).collect();
    Ok(query.answer(None, &items, next.as_deref()))
}

/// Gives a name free: 204, or 404 where it belongs to nobody.
pub async fn release(
    State(app): State<Arc<App>>,
    asker: Asker,
    Path(caller): Path<String>,
    request: Request,
) -> Result<StatusCode, Problem> {
    Parameters::parse(request.uri().query(), &[])?;
    app.release_identity(&asker.principal, &asker.origin, &caller).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Serialize)]
struct IdentityBody<'r> {
    caller: &'r str,
    issuer: &'r str,
    subject: &'r str,
    bound_at: Time,
}

impl<'r> IdentityBody<'r> {
    fn of(record: &'r IdentityRecord) -> Self {
        Self { caller: &record.caller, issuer: &record.issuer, subject: &record.subject, bound_at: record.at }
    }
}
