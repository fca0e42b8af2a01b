//! `POST /v1/sign`: a CSR in, a certificate out.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Extension, Request, State};
use axum::http::header::{LOCATION, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::accept::{self, Offer};
use super::error::Problem;
use super::guard::Asker;
use super::issued::Issued;
use super::json_line::JsonLine;
use super::parameters::invalid;
use super::requests::HeldBody;
use super::to_the_end::to_the_end;
use super::wish::{Fields, Rendering, Wish};
use super::{body, exchange::Exchange, prefer};
use crate::app::command::{Preview, SignCommand, SignOutcome};
use crate::app::evaluate::LifetimeExplained;
use crate::app::proof::PersonToken;
use crate::app::{App, AppError};
use crate::audit::RequestId;
use crate::pki::pem;
use crate::policy::explain::ClaimExplained;
use crate::store::{HeldRequest, HeldState, Recorded};
use crate::time::Time;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
const ON_BEHALF_OF_TOKEN: HeaderName = HeaderName::from_static("on-behalf-of-token");
/// After how many seconds it is worth asking how a held request stands.
const LOOK_AGAIN: u32 = 5;
/// The longest Idempotency-Key, in bytes.
const LONGEST_KEY: usize = 128;

/// Everything that is 400 or 406 is found before anything is decided; everything that is decided is
/// recorded before it is told.
pub async fn sign(
    State(app): State<Arc<App>>,
    asker: Asker,
    Extension(exchange): Extension<Arc<Exchange>>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let query = Fields::from_query(parts.uri.query())?;
    let idempotency_key = idempotency_key(&parts.headers)?;
    let body = body::read(&parts, body, body::SIGN_LIMIT).await?;
    let (fields, body) = query.with_body(body)?;
    let wish = fields.read()?;
    let offer = accept::certificate(wish.rendering.form, &parts.headers)?;
    let rendering = wish.rendering.clone();
    let mut command = command(asker, wish, (idempotency_key, person_token(&parts.headers)?));
    match pem::csr_der(&body) {
        Ok(csr) => command.csr = csr,
        Err(error) => return Err(app.refuse_unread(&command, error).await.into()),
    }
    let signing = Arc::clone(&app);
    // A client that goes away must not stop the work between signing and recording.
    let outcome = to_the_end(async move { signing.sign(&mut command).await }).await?;
    let outcome = waited(&app, outcome, prefer::wait(&parts.headers)).await?;
    answer(&app, exchange.id, outcome, &rendering, offer)
}

fn command(
    asker: Asker,
    wish: Wish,
    (idempotency_key, person_token): (Option<String>, Option<PersonToken>),
) -> SignCommand {
    SignCommand {
        cluster: wish.cluster,
        ttl: wish.ttl,
        on_behalf_of: wish.on_behalf_of,
        person_token,
        reason: wish.reason,
        idempotency_key,
        dry_run: wish.dry_run,
        ..SignCommand::of(asker.principal, asker.origin, Vec::new())
    }
}

/// A client that waits is told how the request stands when somebody said something.
async fn waited(app: &App, outcome: SignOutcome, wait: Option<Duration>) -> Result<SignOutcome, Problem> {
    match (outcome, wait) {
        (SignOutcome::Held { request, replayed, warnings }, Some(longest)) => {
            app.wait_for_request(request.id, longest).await?;
            let fresh = app.store.request(request.id, app.clock.now()).await.map_err(AppError::from)?;
            let request = fresh.map_or(request, Box::new);
            Ok(SignOutcome::Held { request, replayed, warnings })
        }
        (outcome, _) => Ok(outcome),
    }
}

/// The one token of the person for whom it is asked. `Bearer ` may stand before it.
///
/// # Errors
/// 400 where there are two, or it is no text.
pub fn person_token(headers: &HeaderMap) -> Result<Option<PersonToken>, Problem> {
    let mut values = headers.get_all(ON_BEHALF_OF_TOKEN).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let text = value.to_str().ok().filter(|text| !text.is_empty() && values.next().is_none());
    let text = text.ok_or_else(|| invalid("On-Behalf-Of-Token is given once, with one token"))?;
    Ok(Some(PersonToken(text.strip_prefix("Bearer ").unwrap_or(text).to_owned())))
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let invalid = |detail: &str| Problem::new("idempotency_key_invalid", detail);
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(invalid("Idempotency-Key is given twice: give it once"));
    }
    let printable = value.as_bytes().iter().all(|byte| (b' '..=b'~').contains(byte));
    match value.to_str() {
        Ok(key) if printable && (1..=LONGEST_KEY).contains(&key.len()) => Ok(Some(key.to_owned())),
        _ => Err(invalid("Idempotency-Key is 1 to 128 printable ASCII characters")),
    }
}

/// The answer to what came of signing or collecting.
///
/// # Errors
/// 404 for a kubeconfig of a cluster that is gone.
pub fn answer(
    app: &App,
    request_id: RequestId,
    outcome: SignOutcome,
    rendering: &Rendering,
    offer: Offer,
) -> Result<Response, Problem> {
    match outcome {
        SignOutcome::Issued { certificate, warnings } => {
            let mut response = issued(app, &certificate, &warnings, rendering, offer)?;
            *response.status_mut() = StatusCode::CREATED;
            Ok(response)
        }
        SignOutcome::Replayed { certificate, warnings } => {
            let mut response = issued(app, &certificate, &warnings, rendering, offer)?;
            response.headers_mut().insert(IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true"));
            Ok(response)
        }
        SignOutcome::Held { request, replayed, warnings } => {
            let mut response = held(&request, &warnings, request_id);
            if replayed {
                response.headers_mut().insert(IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true"));
            }
            Ok(response)
        }
        SignOutcome::Previewed(preview) => {
            Ok(JsonLine(PreviewBody::of(&preview, request_id)).into_response())
        }
    }
}

fn issued(
    app: &App,
    certificate: &Recorded,
    warnings: &[String],
    rendering: &Rendering,
    offer: Offer,
) -> Result<Response, Problem> {
    let issued = Issued::new(app, certificate);
    let mut response = issued.signed(warnings, rendering, offer)?;
    if let Ok(location) = HeaderValue::try_from(format!("/v1/certificates/{}", certificate.serial)) {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}

/// 202, JSON whatever Accept said: there is no certificate yet.
fn held(request: &HeldRequest, warnings: &[String], request_id: RequestId) -> Response {
    let mut response =
        (StatusCode::ACCEPTED, JsonLine(HeldBody::of(request, warnings, request_id))).into_response();
    if let Ok(location) = HeaderValue::try_from(format!("/v1/requests/{}", request.id)) {
        response.headers_mut().insert(LOCATION, location);
    }
    let seconds = if request.state == HeldState::Pending { LOOK_AGAIN } else { 0 };
    response.headers_mut().insert(RETRY_AFTER, seconds.into());
    response
}

/// A dry run's answer. It is JSON whatever Accept said: there is no certificate to put into another form.
#[derive(Serialize)]
struct PreviewBody<'a> {
    dry_run: bool,
    cluster: &'a str,
    user: &'a str,
    groups: &'a [String],
    not_before: Time,
    not_after: Time,
    policies: &'a [String],
    policy_revision: i64,
    held_by: &'a [String],
    warnings: &'a [String],
    lifetime: Option<&'a LifetimeExplained>,
    claims: &'a [ClaimExplained],
    request_id: String,
}

impl<'a> PreviewBody<'a> {
    fn of(preview: &'a Preview, request_id: RequestId) -> Self {
        Self {
            dry_run: true,
            cluster: &preview.cluster,
            user: &preview.user,
            groups: &preview.groups,
            not_before: preview.not_before,
            not_after: preview.not_after,
            policies: &preview.policies,
            policy_revision: preview.policy_revision,
            held_by: &preview.held_by,
            warnings: &preview.warnings,
            lifetime: preview.lifetime.as_ref(),
            claims: &preview.claims,
            request_id: request_id.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(values: &[&[u8]]) -> Result<Option<String>, &'static str> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(IDEMPOTENCY_KEY, HeaderValue::from_bytes(value).unwrap());
        }
        idempotency_key(&headers).map_err(|problem| problem.code())
    }

    #[test]
    fn an_idempotency_key_is_printable_and_bounded() {
        assert_eq!(key(&[]), Ok(None));
        assert_eq!(key(&[b"order 7~"]), Ok(Some("order 7~".to_owned())));
        assert_eq!(key(&[&[b'x'; 128]]), Ok(Some("x".repeat(128))));
        for values in [&[&b""[..]][..], &[&[b'x'; 129]], &[b"a\tb"], &["é".as_bytes()], &[b"a", b"a"]] {
            assert_eq!(key(values), Err("idempotency_key_invalid"), "{values:?}");
        }
    }
}
