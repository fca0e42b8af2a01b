//! `/livez`, `/readyz`, `/openapi.yaml`, and what is nowhere.

use axum::http::Method;

use crate::app::TestApp;
use crate::csr::csr;

#[tokio::test]
async fn health_needs_no_credential() {
    let app = TestApp::new().await;
    for path in ["/livez", "/readyz", "/openapi.yaml"] {
        assert_eq!(app.nobody().get(path).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn a_service_whose_cas_have_all_expired_is_not_ready() {
    let app = TestApp::new().await;
    app.at(88 * 86_400 + 23 * 3_600 + 55 * 60);
    app.nobody().get("/readyz").await.refused(503, "not_ready");
    app.at(91 * 86_400);
    let problem = app.nobody().get("/readyz").await.refused(503, "not_ready");
    assert!(problem["detail"].as_str().unwrap().contains("prod"), "{problem}");
    assert_eq!(app.nobody().get("/livez").await.status, 200);
}

#[tokio::test]
async fn a_clock_behind_the_records_is_not_ready() {
    let app = TestApp::new().await;
    app.alice().await.sign("?cluster=prod", csr("/CN=alice")).await.expect(201);
    app.at(-60);
    assert_eq!(app.nobody().get("/readyz").await.status, 200);
    app.at(-61);
    app.nobody().get("/readyz").await.refused(503, "not_ready");
}

#[tokio::test]
async fn what_is_nowhere_is_a_404_problem_in_one_line() {
    let app = TestApp::new().await;
    let alice = app.alice().await;
    for path in ["/", "/v1", "/v1/sing", "/v1/sign/", "/v1/certificates/a/b"] {
        let answer = alice.get(path).await;
        assert!(answer.text().ends_with("}\n") && answer.text().lines().count() == 1);
        answer.refused(404, "not_found");
    }
    let answer = app.nobody().send(Method::DELETE, "/livez", &[], Vec::new()).await;
    answer.refused(405, "method_not_allowed");
}
