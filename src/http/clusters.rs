//! `GET /v1/clusters`: what this service signs for, and the public certificates that go with it.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use axum::extract::{Path, Request, State};
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::accept;
use super::error::Problem;
use super::json_line::JsonLine;
use super::parameters::Parameters;
use crate::app::{App, Cluster};
use crate::ca::Authority;
use crate::pki::name::ShortName;
use crate::time::{Lifetime, Time};

/// Every cluster, by name.
pub async fn list(State(app): State<Arc<App>>, request: Request) -> Result<Response, Problem> {
    accept::json(request.headers())?;
    Parameters::parse(request.uri().query(), &[])?;
    let state = app.state();
    let items = state.served.clusters.values().map(|cluster| ClusterBody::of(cluster)).collect();
    Ok(JsonLine(ClustersBody { items, next_cursor: None }).into_response())
}

/// What the API server must trust as a client CA.
pub async fn client_ca(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    Parameters::parse(request.uri().query(), &[])?;
    let cluster = find(&app, &name)?;
    Ok(pem(cluster.authority.chain_pem(), &cluster.name, "client-ca"))
}

/// What a client must trust to talk to the API server.
pub async fn server_ca(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    Parameters::parse(request.uri().query(), &[])?;
    let cluster = find(&app, &name)?;
    Ok(pem(&cluster.server_ca_pem, &cluster.name, "server-ca"))
}

fn find(app: &App, name: &str) -> Result<Arc<Cluster>, Problem> {
    let found = app.state().served.find(name).cloned();
    found.ok_or_else(|| Problem::new("not_found", "there is no cluster of that name: see GET /v1/clusters"))
}

fn pem(text: &str, cluster: &ShortName, which: &str) -> Response {
    let mut response = text.to_owned().into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-pem-file"));
    if let Ok(value) = HeaderValue::try_from(format!("attachment; filename=\"{cluster}-{which}.pem\"")) {
        headers.insert(CONTENT_DISPOSITION, value);
    }
    response
}

#[derive(Serialize)]
struct ClustersBody<'a> {
    items: Vec<ClusterBody<'a>>,
    next_cursor: Option<&'a str>,
}

#[derive(Serialize)]
struct ClusterBody<'a> {
    name: &'a ShortName,
    server: &'a str,
    namespace: Option<&'a str>,
    default_ttl: Lifetime,
    max_ttl: Lifetime,
    ca: AuthorityBody<'a>,
}

impl<'a> ClusterBody<'a> {
    fn of(cluster: &'a Cluster) -> Self {
        Self {
            name: &cluster.name,
            server: &cluster.server,
            namespace: cluster.namespace.as_deref(),
            default_ttl: cluster.default_ttl,
            max_ttl: cluster.max_ttl,
            ca: AuthorityBody::of(&cluster.authority),
        }
    }
}

/// The client CA. Its key is known by `spki_sha256`.
#[derive(Serialize)]
struct AuthorityBody<'a> {
    subject: &'a str,
    key_kind: &'static str,
    fingerprint_sha256: String,
    spki_sha256: String,
    not_after: Time,
}

impl<'a> AuthorityBody<'a> {
    fn of(authority: &'a Authority) -> Self {
        Self {
            subject: authority.subject(),
            key_kind: authority.key_kind(),
            fingerprint_sha256: hex::encode(digest(&SHA256, authority.certificate_der()).as_ref()),
            spki_sha256: hex::encode(authority.spki_sha256()),
            not_after: authority.not_after(),
        }
    }
}
