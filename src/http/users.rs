//! `GET /v1/users/{user}`: everything about one person.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::accept;
use super::error::Problem;
use super::etag;
use super::guard::Asker;
use super::json_line::JsonLine;
use super::parameters::{Parameters, invalid};
use crate::app::App;
use crate::app::reading::User;
use crate::export::{CertificateRow, RefusalRow};
use crate::pki::name::Name;
use crate::store::users::Share;
use crate::time::Time;

/// Live certificates, groups over time, refusals and who asked: of a requester's own records, of an
/// auditor's all. 404 where there is nothing, so that a typo does not look like an innocent person.
pub async fn one(
    State(app): State<Arc<App>>,
    asker: Asker,
    Path(user): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    accept::json(request.headers())?;
    Parameters::parse(request.uri().query(), &[])?;
    // Nobody was ever called what is no name, and no engine need be asked about a NUL.
    Name::parse(&user).map_err(|wrong| invalid(format!("the user: {wrong}")))?;
    app.note_read(&asker.principal, &asker.origin, "/v1/users/{user}", &user);
    let now = app.clock.now();
    let found = app.user(&asker.principal, &user, now).await?;
    let body = Body::of(&user, now, &found, asker.principal.roles.auditor);
    let answer = JsonLine(&body).into_response();
    Ok(etag::answer(request.headers(), answer, &(&body.live, &body.summary)))
}

#[derive(Serialize)]
struct Body<'a> {
    user: &'a str,
    as_of: Time,
    live: Vec<CertificateRow<'a>>,
    live_is_complete: bool,
    #[serde(flatten)]
    summary: Summary<'a>,
    latest_refusals: Vec<RefusalRow<'a>>,
}

#[derive(Serialize)]
struct Summary<'a> {
    certificates: i64,
    refusals: i64,
    groups: Vec<ShareBody<'a>>,
    requested_by: Vec<ShareBody<'a>>,
    refused_to: Vec<ShareBody<'a>>,
}

#[derive(Serialize)]
struct ShareBody<'a> {
    name: &'a str,
    count: i64,
    first: Time,
    last: Time,
    #[serde(skip_serializing_if = "Option::is_none")]
    valid_until: Option<Time>,
}

impl<'a> Body<'a> {
    fn of(user: &'a str, as_of: Time, found: &'a User, sees_rows: bool) -> Self {
        let summary = &found.summary;
        Self {
            user,
            as_of,
            live: found.live.iter().map(|row| CertificateRow::of(row, as_of)).collect(),
            live_is_complete: found.live_is_complete,
            summary: Summary {
                certificates: summary.certificates,
                refusals: summary.refusals,
                groups: shares(&summary.groups),
                requested_by: shares(&summary.callers),
                refused_to: shares(&summary.refused_callers),
            },
            latest_refusals: found.refusals.iter().map(|row| RefusalRow::of(row, sees_rows)).collect(),
        }
    }
}

fn shares(shares: &BTreeMap<String, Share>) -> Vec<ShareBody<'_>> {
    shares
        .iter()
        .map(|(name, share)| ShareBody {
            name,
            count: share.count,
            first: share.first,
            last: share.last,
            valid_until: share.valid_until,
        })
        .collect()
}
