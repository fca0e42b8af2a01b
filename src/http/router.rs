//! Every route, with the credential that it needs, in one list.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::Method;
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::Response;
use axum::routing::{MethodRouter, delete, get, post, put};

use super::access::Access;
use super::error::Problem;
use super::evaluate;
use super::exchange::{Api, Exchange, Meter};
use super::{
    audit, blocked_keys, certificates, clusters, guard, identities, plan, policies, refusals, requests, sign,
    stats, status, tokens, users, wish,
};
use crate::app::App;
use crate::app::Rate::{self, Free, Reading, Signing};

/// One line of [`ROUTES`].
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// The method; where it is GET, HEAD works too.
    pub method: &'static str,
    /// The path as a template, as in openapi.yaml.
    pub path: &'static str,
    /// Who may come in.
    pub access: Access,
    /// Which limit it counts against.
    pub rate: Rate,
    /// The query parameters that it knows; every other one is refused, but on open routes, which take any.
    pub parameters: &'static [&'static str],
    handler: fn() -> MethodRouter<Arc<App>>,
}

/// Every route of the API.
pub const ROUTES: &[Route] = &[
    route("POST", "/v1/sign", Access::Requester, Signing, wish::PARAMETERS, || post(sign::sign)),
    // The same handler: what is asked of a renewal hangs on the credential, not on the route.
    route("POST", "/v1/renew", Access::Renewal, Signing, wish::PARAMETERS, || post(sign::sign)),
    route("GET", "/v1/requests", Access::Requests, Reading, requests::LIST_PARAMETERS, || {
        get(requests::list)
    }),
    route("GET", "/v1/requests/{id}", Access::Requests, Reading, &[], || get(requests::one)),
    route("DELETE", "/v1/requests/{id}", Access::Requester, Reading, &[], || delete(requests::withdraw)),
    route("POST", "/v1/requests/{id}/approve", Access::Approver, Reading, &[], || post(requests::approve)),
    route("POST", "/v1/requests/{id}/deny", Access::Approver, Reading, &[], || post(requests::deny)),
    route(
        "POST",
        "/v1/requests/{id}/certificate",
        Access::Requester,
        Signing,
        requests::CERTIFICATE_PARAMETERS,
        || post(requests::certificate),
    ),
    route("GET", "/v1/certificates", Access::Records, Reading, certificates::LIST_PARAMETERS, || {
        get(certificates::list)
    }),
    route("GET", "/v1/certificates/{serial}", Access::Records, Reading, certificates::ONE_PARAMETERS, || {
        get(certificates::one)
    }),
    route("GET", "/v1/refusals", Access::Records, Reading, refusals::PARAMETERS, || get(refusals::list)),
    route("POST", "/v1/policies/evaluate", Access::Evaluator, Reading, &[], || post(evaluate::evaluate)),
    route("GET", "/v1/policies", Access::PolicyReader, Reading, policies::PARAMETERS, || get(policies::all)),
    route("PUT", "/v1/policies", Access::Admin, Reading, &[], || put(policies::replace)),
    route("POST", "/v1/policies/plan", Access::PolicyReader, Reading, plan::PARAMETERS, || post(plan::plan)),
    route("GET", "/v1/policies/{name}", Access::PolicyReader, Reading, &[], || get(policies::one)),
    route("PUT", "/v1/policies/{name}", Access::Admin, Reading, &[], || put(policies::put_one)),
    route("DELETE", "/v1/policies/{name}", Access::Admin, Reading, &[], || delete(policies::remove_one)),
    route("GET", "/v1/blocked-keys", Access::PolicyReader, Reading, &[], || get(blocked_keys::list)),
    route("PUT", "/v1/blocked-keys/{spki_sha256}", Access::Admin, Reading, &[], || put(blocked_keys::block)),
    route("DELETE", "/v1/blocked-keys/{spki_sha256}", Access::Admin, Reading, &[], || {
        delete(blocked_keys::unblock)
    }),
    route("GET", "/v1/identities", Access::PolicyReader, Reading, identities::PARAMETERS, || {
        get(identities::list)
    }),
    route("DELETE", "/v1/identities/{caller}", Access::Admin, Reading, &[], || delete(identities::release)),
    route("GET", "/v1/tokens", Access::PolicyReader, Reading, &[], || get(tokens::list)),
    route("POST", "/v1/tokens", Access::Admin, Reading, &[], || post(tokens::create)),
    route("GET", "/v1/tokens/{name}", Access::PolicyReader, Reading, &[], || get(tokens::one)),
    route("DELETE", "/v1/tokens/{name}", Access::Admin, Reading, &[], || delete(tokens::revoke)),
    route("POST", "/v1/tokens/{name}/rotate", Access::Caller, Reading, &[], || post(tokens::rotate)),
    route("GET", "/v1/clusters", Access::Caller, Reading, &[], || get(clusters::list)),
    route("GET", "/v1/clusters/{name}/client-ca.pem", Access::Caller, Reading, &[], || {
        get(clusters::client_ca)
    }),
    route("GET", "/v1/clusters/{name}/server-ca.pem", Access::Caller, Reading, &[], || {
        get(clusters::server_ca)
    }),
    route("GET", "/v1/audit", Access::Auditor, Reading, audit::PARAMETERS, || get(audit::list)),
    route("GET", "/v1/stats", Access::Records, Reading, stats::PARAMETERS, || get(stats::counts)),
    route("GET", "/v1/users/{user}", Access::Records, Reading, &[], || get(users::one)),
    route("GET", "/v1/whoami", Access::Caller, Reading, &[], || get(status::whoami)),
    route("GET", "/livez", Access::Open, Free, &[], || get(status::livez)),
    route("GET", "/readyz", Access::Open, Free, &[], || get(status::readyz)),
    route("GET", "/openapi.yaml", Access::Open, Free, &[], || get(status::openapi)),
];

/// The API.
pub fn router(app: Arc<App>) -> Api {
    let router = assemble(|route| {
        let guard = from_fn_with_state((Arc::clone(&app), route.access, route.rate), guard::guard);
        (route.handler)().route_layer(guard)
    });
    let meter = meter(&app);
    Api::new(with_fallbacks(router).with_state(app), meter)
}

/// `/metrics`, for a listener of its own: what it tells is for the operator's network only.
pub fn metrics_router(app: Arc<App>) -> Api {
    let router = Router::new().route("/metrics", get(status::counts).route_layer(from_fn(open)));
    let meter = meter(&app);
    Api::new(with_fallbacks(router).with_state(app), meter)
}

/// What stands where a route has no guard.
async fn open(request: Request, next: Next) -> Response {
    Exchange::note_route(&request);
    next.run(request).await
}

const fn route(
    method: &'static str,
    path: &'static str,
    access: Access,
    rate: Rate,
    parameters: &'static [&'static str],
    handler: fn() -> MethodRouter<Arc<App>>,
) -> Route {
    Route { method, path, access, rate, parameters, handler }
}

fn assemble(guarded: impl Fn(&Route) -> MethodRouter<Arc<App>>) -> Router<Arc<App>> {
    ROUTES.iter().fold(Router::new(), |router, route| router.route(route.path, guarded(route)))
}

fn meter(app: &Arc<App>) -> Meter {
    let app = Arc::clone(app);
    Arc::new(move |route, method, status, seconds| app.metrics.request(route, method, status, seconds))
}

fn with_fallbacks<S: Clone + Send + Sync + 'static>(router: Router<S>) -> Router<S> {
    router.fallback(nowhere).method_not_allowed_fallback(other_method)
}

async fn nowhere() -> Problem {
    Problem::new("not_found", "there is nothing at this path: see /openapi.yaml for what there is")
}

/// axum adds the Allow header.
async fn other_method(request: Request) -> Problem {
    Exchange::note_route(&request);
    let detail = if request.method() == Method::PUT && request.uri().path() == "/v1/sign" {
        "this path takes POST; `curl -T` sends PUT unless `-X POST` is given too, or use --data-binary @FILE"
    } else {
        "this path does not take the method: the Allow header names those that it takes"
    };
    Problem::new("method_not_allowed", detail)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    use crate::auth::Roles;

    use axum::body::{Body, to_bytes};
    use axum::http::StatusCode;
    use axum::http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, VARY};
    use serde_json::Value;
    use tower::ServiceExt;

    /// A router with the same surroundings and fallbacks as the API's, over handlers that need no state.
    pub fn toy() -> Api {
        let router = Router::new()
            .route("/v1/sign", post(|body: axum::body::Bytes| async move { body.len().to_string() }))
            .route("/hello", get(|| async { "hello" }))
            .route("/panic", get(broken))
            .route("/text", get(|| async { (StatusCode::BAD_REQUEST, "plain text") }));
        Api::new(with_fallbacks(router), Arc::new(|_, _, _, _| {}))
    }

    async fn broken() -> &'static str {
        panic!("on purpose")
    }

    async fn ask(method: &str, path: &str) -> (axum::http::response::Parts, String) {
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        let (parts, body) = toy().oneshot(request).await.unwrap().into_parts();
        let bytes = to_bytes(body, 1 << 20).await.unwrap();
        (parts, String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn every_error_is_one_line_of_problem_json() {
        for (method, path, status) in [
            ("GET", "/nowhere", 404),
            ("PUT", "/v1/sign", 405),
            ("DELETE", "/hello", 405),
            ("GET", "/panic", 500),
            ("GET", "/text", 400),
        ] {
            let (parts, body) = ask(method, path).await;
            assert_eq!(parts.status.as_u16(), status, "{path}");
            assert_eq!(parts.headers[CONTENT_TYPE], "application/problem+json", "{path}");
            assert_eq!(body.matches('\n').count(), 1, "{body}");
            assert!(body.starts_with(r#"{"detail":""#) && body.ends_with('\n'), "{body}");
            let problem: Value = serde_json::from_str(&body).unwrap();
            assert_eq!(problem["status"], status, "{path}");
            assert_eq!(problem["request_id"], parts.headers["x-request-id"].to_str().unwrap(), "{path}");
        }
    }

    #[tokio::test]
    async fn an_answer_is_never_stored_or_sniffed() {
        for path in ["/hello", "/nowhere", "/panic"] {
            let (parts, _) = ask("GET", path).await;
            assert_eq!(parts.headers[CACHE_CONTROL], "no-store", "{path}");
            assert_eq!(parts.headers[VARY], "Authorization, Accept", "{path}");
            assert_eq!(parts.headers["x-content-type-options"], "nosniff", "{path}");
        }
    }

    #[tokio::test]
    async fn a_put_to_sign_says_what_curl_needs_and_keeps_allow() {
        let (parts, body) = ask("PUT", "/v1/sign").await;
        assert_eq!(parts.headers[ALLOW], "POST");
        assert!(body.contains("-X POST"), "{body}");
        let (parts, body) = ask("DELETE", "/v1/sign").await;
        assert_eq!(parts.headers[ALLOW], "POST");
        assert!(!body.contains("curl"), "{body}");
    }

    #[tokio::test]
    async fn head_works_where_get_does() {
        let (parts, body) = ask("HEAD", "/hello").await;
        assert_eq!((parts.status, body.as_str()), (StatusCode::OK, ""));
        assert_eq!(ask("HEAD", "/v1/sign").await.0.status, StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(ask("DELETE", "/hello").await.0.headers[ALLOW], "GET,HEAD");
    }

    #[tokio::test]
    async fn the_framework_s_own_text_does_not_get_out() {
        let (_, body) = ask("GET", "/text").await;
        assert!(!body.contains("plain text"), "{body}");
    }

    #[test]
    fn no_two_routes_are_in_each_other_s_way() {
        let pass = || {
            axum::middleware::from_fn(async |request: Request, next: axum::middleware::Next| {
                next.run(request).await
            })
        };
        assert!(assemble(|route| (route.handler)().route_layer(pass())).has_routes());
    }

    #[test]
    fn only_what_says_nothing_of_anybody_is_open() {
        let open: Vec<_> =
            ROUTES.iter().filter(|route| route.access == Access::Open).map(|route| route.path).collect();
        assert_eq!(open, ["/livez", "/readyz", "/openapi.yaml"]);
    }

    #[test]
    fn every_route_that_knows_its_caller_counts_against_a_limit() {
        for route in ROUTES {
            assert_eq!(route.rate == Free, route.access == Access::Open, "{} {}", route.method, route.path);
        }
        let signing: Vec<_> =
            ROUTES.iter().filter(|route| route.rate == Signing).map(|route| route.path).collect();
        assert_eq!(signing, ["/v1/sign", "/v1/renew", "/v1/requests/{id}/certificate"]);
    }

    #[test]
    fn a_role_opens_its_own_routes_only() {
        let requester = Roles { requester: true, ..Roles::default() };
        let auditor = Roles { auditor: true, ..Roles::default() };
        let admin = Roles { admin: true, ..Roles::default() };
        let approver = Roles { approver: true, ..Roles::default() };
        for (access, expected) in [
            (Access::Caller, [true, true, true, true, true]),
            (Access::Requester, [false, true, false, false, false]),
            (Access::Records, [false, true, true, false, false]),
            (Access::Evaluator, [false, true, true, true, false]),
            (Access::Requests, [false, true, true, false, true]),
            (Access::Approver, [false, false, false, false, true]),
            (Access::Auditor, [false, false, true, false, false]),
            (Access::PolicyReader, [false, false, true, true, false]),
            (Access::Admin, [false, false, false, true, false]),
        ] {
            let admitted = [Roles::default(), requester, auditor, admin, approver]
                .map(|roles| access.admit(roles).is_ok());
            assert_eq!(admitted, expected, "{access:?}");
        }
    }
}
