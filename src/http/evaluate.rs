//! `POST /v1/policies/evaluate`: what would be decided, and why.

use std::sync::Arc;

use axum::extract::{Extension, Request, State};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::Problem;
use super::exchange::Exchange;
use super::guard::Asker;
use super::json_line::JsonLine;
use super::parameters::Parameters;
use super::wish::{self, keyless};
use super::{accept, body};
use crate::app::App;
use crate::app::evaluate::{EvaluateCommand, Evaluation};
use crate::caller::Claims;
use crate::policy::{SupposedProof, claims_once};

/// Writes nothing: 200 with the decision and its reasons, a refusal too. Only asking for another
/// caller without the role is a refusal of its own, and recorded.
pub async fn evaluate(
    State(app): State<Arc<App>>,
    asker: Asker,
    Extension(exchange): Extension<Arc<Exchange>>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    accept::json(&parts.headers)?;
    Parameters::parse(parts.uri.query(), &[])?;
    let body = body::read(&parts, body, body::SIGN_LIMIT).await?;
    let command = Body::read(&body)?;
    match app.evaluate(&asker.principal, &command).await {
        Ok(evaluation) => {
            let request_id = exchange.id.to_string();
            Ok(JsonLine(Answer { evaluation, request_id }).into_response())
        }
        Err(error) => Err(app.refuse_early(&asker.origin, error).await.into()),
    }
}

#[derive(Serialize)]
struct Answer {
    #[serde(flatten)]
    evaluation: Evaluation,
    request_id: String,
}

/// serde refuses unknown and repeated fields.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    caller: Option<String>,
    #[serde(default)]
    caller_groups: Vec<String>,
    #[serde(default, deserialize_with = "claims_once")]
    caller_claims: Claims,
    user: String,
    #[serde(default)]
    groups: Vec<String>,
    cluster: Option<String>,
    ttl: Option<Value>,
    on_behalf_of: Option<String>,
    proof: Option<SupposedProof>,
    key: Option<String>,
}

impl Body {
    fn read(body: &[u8]) -> Result<EvaluateCommand, Problem> {
        keyless(body)?;
        let body: Self = serde_json::from_slice(body).map_err(|error| {
            Problem::new("json_invalid", format!("the JSON body cannot be read: {error}"))
        })?;
        for text in body.texts() {
            keyless(text.as_bytes())?;
        }
        Ok(EvaluateCommand {
            caller: body.caller,
            caller_groups: body.caller_groups,
            caller_claims: body.caller_claims,
            user: body.user,
            groups: body.groups,
            cluster: body.cluster,
            ttl: body.ttl.map(wish::ttl_text).as_deref().map(wish::lifetime).transpose()?,
            on_behalf_of: body.on_behalf_of,
            proof: body.proof,
            key: body.key,
        })
    }

    /// Every text in it, read.
    fn texts(&self) -> impl Iterator<Item = &String> {
        let optional = [&self.caller, &self.cluster, &self.on_behalf_of, &self.key].into_iter().flatten();
        let claims = self.caller_claims.iter().flat_map(|(name, values)| std::iter::once(name).chain(values));
        let proof = self.proof.iter().flat_map(|proof| &proof.groups);
        let lists = self.groups.iter().chain(&self.caller_groups).chain(proof);
        optional.chain([&self.user]).chain(lists).chain(claims)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<EvaluateCommand, &'static str> {
        Body::read(body.as_bytes()).map_err(|problem| problem.code())
    }

    #[test]
    fn a_body_is_read_strictly() {
        let read_whole = read(r#"{"user":"alice","groups":["dev"],"ttl":3600,"key":"p-256"}"#).unwrap();
        assert_eq!(read_whole.groups, ["dev"]);
        assert_eq!(read_whole.ttl, Some(crate::time::Lifetime::from_seconds(3_600)));
        for body in [
            "",
            "[]",
            "{}",
            r#"{"user":"alice","group":["dev"]}"#,
            r#"{"user":"alice","user":"bob"}"#,
            r#"{"user":"alice"} {}"#,
            r#"{"user":null}"#,
            r#"{"user":"alice","caller_claims":{"email":["a"],"email":["b"]}}"#,
            r#"{"user":"alice","caller_claims":{"email":"a"}}"#,
            r#"{"user":"alice","proof":true}"#,
            r#"{"user":"alice","proof":{"source":"corp"}}"#,
        ] {
            assert_eq!(read(body).err(), Some("json_invalid"), "{body}");
        }
        assert_eq!(read(r#"{"user":"alice","ttl":"1m"}"#).err(), Some("ttl_invalid"));
    }

    #[test]
    fn a_private_key_is_found_in_every_field() {
        let key = r"-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIBkg\n-----END EC PRIVATE KEY-----";
        for body in [
            format!(r#"{{"user":"{key}"}}"#),
            format!(r#"{{"user":"alice","groups":["{key}"]}}"#),
            format!(r#"{{"user":"alice","caller":"{key}"}}"#),
            format!(r#"{{"user":"alice","caller_claims":{{"email":["{key}"]}}}}"#),
            format!(r#"{{"user":"alice","proof":{{"groups":["{key}"]}}}}"#),
        ] {
            assert_eq!(read(&body).err(), Some("private_key_in_body"), "{body}");
        }
    }
}
