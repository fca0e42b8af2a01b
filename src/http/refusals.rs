//! `GET /v1/refusals`: requests that were refused.

use std::sync::Arc;

use axum::extract::{Extension, Request, State};
use axum::response::Response;
use serde::Serialize;
use serde_json::Value;

use super::accept;
use super::error::{CODES, Problem};
use super::guard::Asker;
use super::list::Query;
use super::parameters::invalid;
use crate::app::{App, AppError};
use crate::store::{Refusal, RefusalFilter};
use crate::time::{Lifetime, Time};

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
    "limit",
    "cursor",
];

/// Newest first: a requester's own, an auditor's all. Which rows decided is for auditors only: a
/// requester must not learn what a deny row is called.
pub async fn list(
    State(app): State<Arc<App>>,
    Extension(asker): Extension<Asker>,
    request: Request,
) -> Result<Response, Problem> {
    accept::json(request.headers())?;
    let mut query = Query::parse("/v1/refusals", request.uri().query(), PARAMETERS)?;
    let filter = filter(&mut query)?;
    let sees_rows = asker.principal.roles.auditor;
    if filter.policy.is_some() && !sees_rows {
        return Err(app.refuse_early(&asker.origin, AppError::RoleMissing("auditor")).await.into());
    }
    let mut rows = app.refusals(&asker.principal, filter, query.page()).await?;
    let next = query.cut(&mut rows, |row| row.number);
    let items: Vec<_> = rows.iter().map(|row| RefusalBody::of(row, sees_rows)).collect();
    Ok(query.answer(&items, next.as_deref()))
}

fn filter(query: &mut Query) -> Result<RefusalFilter, Problem> {
    Ok(RefusalFilter {
        user: query.text("user")?,
        group: query.text("group")?,
        cluster: query.short_name("cluster")?,
        caller: query.caller()?,
        on_behalf_of: query.text("on_behalf_of")?,
        policy: query.short_name("policy")?,
        code: query.text("code")?.map(known_code).transpose()?,
        after: query.time("after")?,
        before: query.time("before")?,
    })
}

fn known_code(text: String) -> Result<String, Problem> {
    if CODES.iter().any(|(code, _, _)| *code == text) {
        return Ok(text);
    }
    Err(invalid("there is no such code: see the list of codes in /openapi.yaml"))
}

#[derive(Serialize)]
struct RefusalBody<'a> {
    number: i64,
    at: Time,
    code: &'a str,
    detail: &'a str,
    violations: &'a [Value],
    cluster: Option<&'a str>,
    user: Option<&'a str>,
    groups: &'a [String],
    on_behalf_of: Option<&'a str>,
    reason: Option<&'a str>,
    key_kind: Option<&'a str>,
    spki_sha256: Option<String>,
    asked_ttl: Option<Lifetime>,
    #[serde(skip_serializing_if = "Option::is_none")]
    policies: Option<&'a [String]>,
    policy_revision: i64,
    requested_by: &'a str,
    requester_groups: &'a [String],
    request_id: String,
    client_request_id: Option<&'a str>,
    address: Option<String>,
}

impl<'a> RefusalBody<'a> {
    fn of(refusal: &'a Refusal, sees_rows: bool) -> Self {
        let record = &refusal.record;
        Self {
            number: refusal.number,
            at: record.at,
            code: &record.code,
            detail: &record.detail,
            violations: record.violations.as_array().map_or(&[], Vec::as_slice),
            cluster: record.cluster.as_deref(),
            user: record.user.as_deref(),
            groups: &record.groups,
            on_behalf_of: record.on_behalf_of.as_deref(),
            reason: record.reason.as_deref(),
            key_kind: record.key_kind.as_deref(),
            spki_sha256: record.spki_sha256.as_ref().map(hex::encode),
            asked_ttl: record.asked_ttl,
            policies: sees_rows.then_some(record.policies.as_slice()),
            policy_revision: record.policy_revision,
            requested_by: &record.origin.caller,
            requester_groups: &record.origin.caller_groups,
            request_id: record.origin.request_id.to_string(),
            client_request_id: record.origin.client_request_id.as_deref(),
            address: record.origin.address.map(|address| address.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::audit::{Origin, RequestId};
    use crate::store::{RefusalToRecord, Revisions};

    fn refusal() -> Refusal {
        let origin = Origin {
            caller: "token:portal".to_owned(),
            caller_groups: Vec::new(),
            request_id: RequestId([7; 16]),
            client_request_id: None,
            address: None,
        };
        let record = RefusalToRecord {
            at: Time::from_unix(0),
            origin,
            cluster: Some("prod".to_owned()),
            user: Some("alice".to_owned()),
            groups: Vec::new(),
            on_behalf_of: None,
            reason: None,
            key_kind: None,
            spki_sha256: None,
            asked_ttl: None,
            code: "policy_denied".to_owned(),
            detail: "no".to_owned(),
            violations: Value::Array(Vec::new()),
            policy_revision: 3,
            policies: vec!["secret-row".to_owned()],
            seen: Revisions::default(),
        };
        Refusal { number: 1, record }
    }

    #[test]
    fn only_an_auditor_sees_which_rows_refused() {
        let refusal = refusal();
        let seen = |sees_rows| serde_json::to_string(&RefusalBody::of(&refusal, sees_rows)).unwrap();
        assert!(seen(true).contains("secret-row"));
        assert!(!seen(false).contains("secret-row"));
    }

    #[test]
    fn an_unknown_code_is_refused() {
        assert!(known_code("policy_denied".to_owned()).is_ok());
        assert!(known_code("policy_denyed".to_owned()).is_err());
    }
}
