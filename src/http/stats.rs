//! `GET /v1/stats`: counts for charts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tokio::time::timeout;

use super::accept;
use super::error::{CODES, Problem};
use super::etag;
use super::guard::Asker;
use super::json_line::JsonLine;
use super::parameters::{Parameters, invalid};
use crate::app::{App, AppError};
use crate::filters::{self, Texts};
use crate::store::stats::By;
use crate::time::Time;

/// How long it waits for other counts: a page of charts asks for several at once.
const PATIENCE: Duration = Duration::from_secs(10);
/// What it takes.
pub const PARAMETERS: &[&str] = &[
    "by",
    "user",
    "group",
    "cluster",
    "caller",
    "on_behalf_of",
    "policy",
    "code",
    "after",
    "before",
    "status",
    "expires_after",
    "expires_before",
    "valid_at",
    "valid_from",
    "valid_to",
];

/// Certificates and refusals by one thing that they have in common: a requester's own, an
/// auditor's all. What only certificates have leaves no refusals, and a code no certificates.
pub async fn counts(
    State(app): State<Arc<App>>,
    asker: Asker,
    request: Request,
) -> Result<Response, Problem> {
    accept::json(request.headers())?;
    let mut parameters = Parameters::parse(request.uri().query(), PARAMETERS)?;
    let by = parameters.take_filled("by")?.as_deref().map_or(Ok(By::Day), read_by)?;
    let given = parameters.sorted().into_iter();
    let texts = Texts::new(given.map(|(name, text)| (name.to_owned(), text.to_owned())));
    let now = app.clock.now();
    let is_code = |code: &str| CODES.iter().any(|(known, _, _)| *known == code);
    let wanted = filters::both(texts, now, is_code)?;
    let of_rows = by == By::Policy || wanted.names_a_policy();
    if of_rows && !asker.principal.roles.auditor {
        return Err(app.refuse_early(&asker.origin, AppError::RoleMissing("auditor")).await.into());
    }
    let permit = timeout(PATIENCE, app.counting.acquire()).await;
    let _permit = permit.ok().and_then(Result::ok).ok_or_else(busy)?;
    app.note_read(&asker.principal, &asker.origin, "/v1/stats", request.uri().query().unwrap_or_default());
    let (certificates, refusals) = app.counts(&asker.principal, wanted, by).await?;
    let body = Body::of(now, by, &certificates, &refusals);
    let answer = JsonLine(&body).into_response();
    Ok(etag::answer(request.headers(), answer, &body.items))
}

fn busy() -> Problem {
    Problem::new("exports_busy", "enough of the ledger is counted at this moment: try again in some seconds")
}

fn read_by(text: &str) -> Result<By, Problem> {
    let words = || By::ALL.map(By::as_str).join(", ");
    By::parse(text).ok_or_else(|| invalid(format!("by is one of {}", words())))
}

#[derive(Serialize)]
struct Body<'a> {
    as_of: Time,
    by: &'static str,
    items: Vec<Item<'a>>,
}

#[derive(Default, Serialize)]
struct Item<'a> {
    key: Option<&'a str>,
    certificates: i64,
    refusals: i64,
}

impl<'a> Body<'a> {
    fn of(
        as_of: Time,
        by: By,
        certificates: &'a BTreeMap<Option<String>, i64>,
        refusals: &'a BTreeMap<Option<String>, i64>,
    ) -> Self {
        let mut items: BTreeMap<Option<&str>, Item<'a>> = BTreeMap::new();
        for (key, count) in certificates {
            items.entry(key.as_deref()).or_default().certificates = *count;
        }
        for (key, count) in refusals {
            items.entry(key.as_deref()).or_default().refusals = *count;
        }
        let items = items.into_iter().map(|(key, item)| Item { key, ..item }).collect();
        Self { as_of, by: by.as_str(), items }
    }
}
