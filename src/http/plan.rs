//! `POST /v1/policies/plan`: what a set would change. Nothing is changed.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};

use super::error::Problem;
use super::guard::Asker;
use super::json_line::JsonLine;
use super::parameters::{Parameters, invalid};
use super::policies::read_set;
use super::{accept, rows};
use crate::app::App;

/// What it takes.
pub const PARAMETERS: &[&str] = &["replay"];

/// How many decisions are decided again where the client says nothing.
const REPLAY: u64 = 10_000;
/// The most that are.
const MOST_REPLAY: u64 = 1_000_000;

/// The set of the body against the one that holds. It reads much of the ledger, so it takes the
/// place of an export.
pub async fn plan(State(app): State<Arc<App>>, asker: Asker, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    accept::json(&parts.headers)?;
    let mut parameters = Parameters::parse(parts.uri.query(), PARAMETERS)?;
    let replay = parameters.take("replay").as_deref().map_or(Ok(REPLAY), read_replay)?;
    let _place = app.exports.take(&asker.origin.caller).ok_or_else(rows::busy)?;
    let file = read_set(&app, &asker, &parts, body).await?;
    match app.plan_policies(&asker.origin, file.policies, replay).await {
        Ok(plan) => Ok(JsonLine(plan).into_response()),
        Err(error) => Err(app.refuse_early(&asker.origin, error).await.into()),
    }
}

fn read_replay(text: &str) -> Result<u64, Problem> {
    match text.parse() {
        Ok(replay) if replay <= MOST_REPLAY && text.bytes().all(|digit| digit.is_ascii_digit()) => Ok(replay),
        _ => Err(invalid(format!("replay is a number of decisions from 0 to {MOST_REPLAY}"))),
    }
}
