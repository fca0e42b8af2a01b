//! `GET /v1/certificates` and `/{serial}`: the ledger.

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::response::Response;

use super::accept;
use super::error::Problem;
use super::guard::Asker;
use super::issued::Issued;
use super::list::Query;
use super::parameters::{Parameters, invalid};
use super::rows;
use super::wish::Rendering;
use crate::app::App;
use crate::export::Wanted;
use crate::filters;
use crate::pki::serial::Serial;

/// What the list takes.
pub const LIST_PARAMETERS: &[&str] = &[
    "user",
    "group",
    "cluster",
    "caller",
    "on_behalf_of",
    "policy",
    "serial",
    "credential_id",
    "status",
    "issued_after",
    "issued_before",
    "expires_after",
    "expires_before",
    "valid_at",
    "valid_from",
    "valid_to",
    "drifted",
    "after_number",
    "order",
    "limit",
    "cursor",
    "format",
];
/// What one certificate takes.
pub const ONE_PARAMETERS: &[&str] = &["cluster", "format", "key_path", "shape"];

/// Newest first: a requester's own, an auditor's all. With `after_number` ascending, for a reader
/// that follows.
pub async fn list(State(app): State<Arc<App>>, asker: Asker, request: Request) -> Result<Response, Problem> {
    let query = request.uri().query();
    let mut query = Query::parse("/v1/certificates", query, request.headers(), LIST_PARAMETERS)?;
    let now = app.clock.now();
    let filter = filters::certificates(&mut query.filters, now)?;
    let drifted = filters::drifted(&mut query.filters, &filter)?;
    let span = filters::span(&mut query.filters, "after_number")?;
    let wanted = if drifted {
        Wanted::Drifted(filter, now, app.drift(now).await?)
    } else {
        Wanted::Certificates(filter, now)
    };
    rows::answer(&app, &asker, &query, wanted, span, request.headers()).await
}

/// One, as JSON, PEM or kubeconfig. 404 also for what belongs to another caller.
pub async fn one(
    State(app): State<Arc<App>>,
    asker: Asker,
    Path(serial): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let mut parameters = Parameters::parse(request.uri().query(), ONE_PARAMETERS)?;
    let cluster = parameters.take_filled("cluster")?;
    let format = parameters.take_filled("format")?;
    let key_path = parameters.take_filled("key_path")?;
    let shape = parameters.take_filled("shape")?;
    let rendering = Rendering::parse(format.as_deref(), key_path.as_deref(), shape.as_deref())?;
    let offer = accept::certificate(rendering.form, request.headers())?;
    let serial = read_serial(&serial)?;
    app.note_read(&asker.principal, &asker.origin, "/v1/certificates/{serial}", &serial.to_string());
    let recorded = app.certificate(&asker.principal, serial, cluster.as_deref()).await?;
    Issued::new(&app, &recorded).detailed(&rendering, offer)
}

fn read_serial(text: &str) -> Result<Serial, Problem> {
    filters::serial(text).map_err(|reason| invalid(format!("a serial is {reason}")))
}
