//! Who the caller is, whether the service works, and what it offers.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Value;

use super::accept;
use super::error::Problem;
use super::guard::Asker;
use super::json_line::JsonLine;
use super::parameters::Parameters;
use crate::app::{App, Readiness};
use crate::auth::Principal;
use crate::metrics;
use crate::pki::name::ShortName;
use crate::time::Time;

/// The API's description, as it was built in.
const OPENAPI: &str = include_str!("../../openapi.yaml");

/// `GET /v1/whoami`: the caller as the service sees it, and what it may ask for.
pub async fn whoami(
    State(app): State<Arc<App>>,
    asker: Asker,
    request: Request,
) -> Result<Response, Problem> {
    accept::json(request.headers())?;
    Parameters::parse(request.uri().query(), &[])?;
    let permissions = app.permissions(&asker.principal).await?;
    Ok(JsonLine(WhoamiBody::of(&asker.principal, permissions)).into_response())
}

/// `GET /livez`: the process answers.
pub async fn livez() -> &'static str {
    "alive\n"
}

/// `GET /readyz`: the process can sign, or says why not.
pub async fn readyz(State(app): State<Arc<App>>) -> Result<String, Problem> {
    let Readiness { ready, problems } = app.readiness().await;
    if !ready {
        return Err(Problem::new("not_ready", problems.join("; ")));
    }
    Ok(if problems.is_empty() {
        "ready\n".to_owned()
    } else {
        format!("ready, but {}\n", problems.join("; "))
    })
}

/// `GET /openapi.yaml`.
pub async fn openapi() -> Response {
    ([(CONTENT_TYPE, "application/yaml")], OPENAPI).into_response()
}

/// `GET /metrics`, on a listener of its own.
pub async fn counts(State(app): State<Arc<App>>) -> Response {
    app.metrics.writer_queue(app.store.queue_length());
    ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], app.metrics.render()).into_response()
}

#[derive(Serialize)]
struct WhoamiBody<'a> {
    caller: String,
    kind: &'static str,
    source: Option<&'a str>,
    name: &'a str,
    groups: Vec<String>,
    roles: Vec<&'static str>,
    on_behalf_of: bool,
    owner: &'a str,
    expires_at: Time,
    permissions: Value,
}

impl<'a> WhoamiBody<'a> {
    fn of(principal: &'a Principal, permissions: Value) -> Self {
        let caller = &principal.caller;
        Self {
            caller: caller.to_string(),
            kind: caller.kind.as_str(),
            source: caller.source.as_ref().map(ShortName::as_str),
            name: &caller.name,
            groups: caller.groups.iter().map(ToString::to_string).collect(),
            roles: principal.roles.words(),
            on_behalf_of: principal.on_behalf_of,
            owner: &principal.owner,
            expires_at: principal.expires_at,
            permissions,
        }
    }
}
