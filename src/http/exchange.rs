//! What surrounds every request: its id, the caught panic, the rendering of errors, the headers that
//! every answer has, the log line and the measurement.

use std::any::Any;
use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::{MatchedPath, Request};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, VARY, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use tower::{Service, ServiceExt};
use tower_http::catch_panic::{CatchPanic, ResponseForPanic};

use super::error::Problem;
use super::server::Answering;
use crate::audit::RequestId;
use crate::random;

/// Told of every finished request: route template, method, status, seconds.
pub type Meter = Arc<dyn Fn(&str, &str, u16, f64) + Send + Sync>;

/// One request, in its extensions.
#[derive(Debug)]
pub struct Exchange {
    /// Ours.
    pub id: RequestId,
    /// The client's own, where it sent a usable one.
    pub client_id: Option<String>,
    /// Set once the caller is known, for the log line.
    pub caller: OnceLock<String>,
    /// The template of its route, set once that is known, for the log line and the measurement.
    pub route: OnceLock<MatchedPath>,
}

impl Exchange {
    /// Notes the route that `request` was found on.
    pub fn note_route(request: &Request) {
        let extensions = request.extensions();
        if let (Some(exchange), Some(path)) = (extensions.get::<Arc<Self>>(), extensions.get::<MatchedPath>())
        {
            let _ = exchange.route.set(path.clone());
        }
    }
}

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The longest request id of a client that is kept, in bytes.
const LONGEST_CLIENT_ID: usize = 64;
/// Asked every few seconds by machines: worth a log line only to who looks for it.
const QUIET: [&str; 3] = ["/livez", "/readyz", "/metrics"];

/// Routes, with everything of this module around all of them. Not layers of the router: it would put each
/// around each route, and make and walk a boxed future for each with every request.
#[derive(Clone)]
pub struct Api {
    routes: CatchPanic<Router, AfterPanic>,
    meter: Meter,
}

impl Api {
    /// These routes and fallbacks, each of which notes its route.
    pub fn new(routes: Router, meter: Meter) -> Self {
        Self { routes: CatchPanic::custom(routes, AfterPanic), meter }
    }
}

impl Answering for Api {
    async fn answer(self, mut request: Request) -> Response {
        let started = Instant::now();
        let exchange = Arc::new(Exchange {
            id: new_request_id(),
            client_id: client_id(request.headers()),
            caller: OnceLock::new(),
            route: OnceLock::new(),
        });
        request.extensions_mut().insert(Arc::clone(&exchange));
        let line = Line { exchange, method: method_word(request.method()) };
        let Ok(answered) = self.routes.oneshot(request).await;
        let response = line.finish(answered.map(Body::new));
        let seconds = started.elapsed().as_secs_f64();
        (self.meter)(line.route(), line.method, response.status().as_u16(), seconds);
        line.log(response.status().as_u16(), seconds);
        response
    }
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api").finish_non_exhaustive()
    }
}

impl Service<Request> for Api {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let api = self.clone();
        Box::pin(async move { Ok(api.answer(request).await) })
    }
}

/// A new id, of 16 random octets.
pub fn new_request_id() -> RequestId {
    RequestId(random::octets().unwrap_or_else(|error| {
        tracing::error!(%error, "a request has no id of its own");
        [0; 16]
    }))
}

fn client_id(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(X_REQUEST_ID)?.to_str().ok()?;
    let fits = (1..=LONGEST_CLIENT_ID).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    fits.then(|| text.to_owned())
}

/// The answer where a handler panicked.
#[derive(Clone, Copy, Debug)]
struct AfterPanic;

impl ResponseForPanic for AfterPanic {
    type ResponseBody = Body;

    fn response_for_panic(&mut self, _payload: Box<dyn Any + Send>) -> Response {
        Problem::internal("a panic, see the line before").into_response()
    }
}

/// What is known of a request before it is answered.
struct Line {
    exchange: Arc<Exchange>,
    method: &'static str,
}

impl Line {
    fn route(&self) -> &str {
        self.exchange.route.get().map_or("unmatched", MatchedPath::as_str)
    }

    fn id(&self) -> RequestId {
        self.exchange.id
    }

    /// Writes the error out, if it is one, and sets the headers that every answer has.
    fn finish(&self, mut response: Response) -> Response {
        let problem = response.extensions_mut().remove::<Problem>().or_else(|| foreign(&response));
        if let Some(problem) = problem {
            if let Some(cause) = problem.cause() {
                tracing::error!(request.id = %self.id(), error = cause, "a request failed");
            }
            let json = HeaderValue::from_static("application/problem+json");
            response.headers_mut().insert(CONTENT_TYPE, json);
            response.headers_mut().remove(axum::http::header::CONTENT_LENGTH);
            *response.body_mut() = Body::from(problem.body(self.id()));
        }
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(VARY, HeaderValue::from_static("Authorization, Accept"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if let Ok(id) = HeaderValue::try_from(self.id().to_string()) {
            headers.insert(X_REQUEST_ID, id);
        }
        response
    }

    /// A success that made something is in the ledger, with this request's id and its client's: to the
    /// log it is worth no more than a probe.
    fn is_quiet(&self, status: u16) -> bool {
        status == StatusCode::CREATED.as_u16() || QUIET.contains(&self.route())
    }

    /// Never the query and never the body: both can hold what no log may.
    fn log(&self, status: u16, seconds: f64) {
        let caller = self.exchange.caller.get();
        let client_id = self.exchange.client_id.as_deref();
        let duration_ms = seconds * 1_000.0;
        macro_rules! line {
            ($level:expr) => {
                tracing::event!(
                    $level,
                    http.method = self.method,
                    http.route = self.route(),
                    http.status = status,
                    duration_ms,
                    request.id = %self.id(),
                    request.client_id = client_id,
                    caller.name = caller,
                    "request"
                )
            };
        }
        if self.is_quiet(status) {
            line!(tracing::Level::DEBUG);
        } else {
            line!(tracing::Level::INFO);
        }
    }
}

/// An error that no code of ours made.
fn foreign(response: &Response) -> Option<Problem> {
    let status = response.status();
    (status.is_client_error() || status.is_server_error()).then(|| Problem::for_status(status))
}

/// One of few words, so that a client cannot make up new series of measurements.
fn method_word(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "DELETE" => "DELETE",
        "PATCH" => "PATCH",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_short_request_id_of_a_client_is_kept() {
        let kept = |text: &str| {
            client_id(&HeaderMap::from_iter([(X_REQUEST_ID, HeaderValue::from_str(text).unwrap())]))
        };
        assert_eq!(kept("a-Z_0.9").as_deref(), Some("a-Z_0.9"));
        assert_eq!(kept(&"x".repeat(64)).as_deref(), Some("x".repeat(64).as_str()));
        for text in ["", "a b", "a,b", "a:b", &"x".repeat(65)] {
            assert_eq!(kept(text), None, "{text}");
        }
    }

    #[test]
    fn two_requests_never_have_one_id() {
        assert_ne!(new_request_id(), new_request_id());
    }
}
