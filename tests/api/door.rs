//! `tls.client_ca`: a certificate that every connection must have shown, whoever the caller is.

use axum::http::Method;
use countersign::http::{Access, ROUTES};

use crate::app::{Client, TestApp};
use crate::company::Company;
use crate::csr::csr;
use crate::routes::renew::{self, renew};

/// Every credential that stands in `Authorization`, and whether it holds.
async fn bearers(app: &TestApp) -> [(&'static str, Client); 4] {
    let alice = app.alice().await;
    let wrong = format!("{}x", alice.authorization());
    [
        ("none", app.nobody()),
        ("a good token", alice),
        ("a wrong one", app.with_authorization(&wrong)),
        ("no bearer", app.with_authorization("Basic YTpi")),
    ]
}

async fn refusals(app: &TestApp) -> usize {
    let list = app.auditor().await.get("/v1/refusals").await.expect(200);
    list["items"].as_array().unwrap().len()
}

#[tokio::test]
async fn who_is_not_at_the_door_learns_nothing_of_any_token() {
    let app = TestApp::with_policies(renew::POLICIES).await;
    let (door, other) = (Company::new("Door"), Company::new("Other"));
    let stranger = app.nobody().showing(&other.client("laptop", vec![]));
    for (what, bearer) in bearers(&app).await {
        for client in [bearer.clone(), bearer.showing_of(&stranger)] {
            let client = client.behind(&door);
            for route in ROUTES.iter().filter(|route| route.access != Access::Open) {
                let method = Method::from_bytes(route.method.as_bytes()).unwrap();
                let answer = client.send(method, route.path, &[], Vec::new()).await;
                let problem = answer.refused(401, "unauthenticated");
                let detail = problem["detail"].as_str().unwrap();
                let says_which = what == "no bearer" || detail.contains("tls.client_ca");
                assert!(says_which, "{} {}: {what}: {detail}", route.method, route.path);
            }
        }
    }
    assert_eq!(refusals(&app).await, 0, "who does not come in leaves no record");
}

#[tokio::test]
async fn a_certificate_of_ours_opens_its_renewal_in_the_door_s_place() {
    let app = TestApp::with_policies(renew::POLICIES).await;
    let (door, bearers) = (Company::new("Door"), bearers(&app).await);
    let issued = bearers[1].1.sign("?cluster=prod", csr("/CN=alice")).await.expect(201);
    let holder = app.nobody().showing(issued["certificate"].as_str().unwrap()).behind(&door);
    renew(&holder, "/CN=alice").await.expect(201);
    holder.get("/v1/whoami").await.refused(401, "unauthenticated");
    for (what, bearer) in bearers.into_iter().skip(1) {
        let both = bearer.showing_of(&holder).behind(&door);
        let refused = renew(&both, "/CN=alice").await.refused(401, "unauthenticated");
        let detail = refused["detail"].as_str().unwrap();
        assert!(what == "no bearer" || detail.contains("tls.client_ca"), "{what}: {detail}");
    }
    assert_eq!(refusals(&app).await, 0);
    app.at(8 * 3_600 + 1);
    let refused = renew(&holder, "/CN=alice").await.refused(401, "unauthenticated");
    assert!(refused["detail"].as_str().unwrap().contains("expired"), "{refused}");
}

#[tokio::test]
async fn the_door_is_asked_for_each_request_and_not_for_each_connection() {
    let app = TestApp::new().await;
    let (door, next) = (Company::new("Door"), Company::new("Next"));
    let shown = app.nobody().showing(&door.client("laptop", vec![]));
    let alice = app.alice().await.showing_of(&shown).behind(&door);
    assert_eq!(alice.get("/v1/whoami").await.expect(200)["caller"], "token:alice");
    alice.behind(&next).get("/v1/whoami").await.refused(401, "unauthenticated");
    app.at(3_600);
    alice.get("/v1/whoami").await.expect(200);
    app.at(3_601);
    let refused = alice.get("/v1/whoami").await.refused(401, "unauthenticated");
    assert!(refused["detail"].as_str().unwrap().contains("expired"), "{refused}");
    assert_eq!(alice.get("/readyz").await.status, 200);
}

#[tokio::test]
async fn the_door_s_certificate_names_nobody() {
    let app = TestApp::new().await;
    let door = Company::new("Door");
    let shown = app.nobody().showing(&door.client("laptop", vec![])).behind(&door);
    shown.get("/v1/whoami").await.refused(401, "unauthenticated");
    let alice = app.alice().await.showing_of(&shown).behind(&door);
    renew(&alice, "/CN=alice").await.refused(403, "certificate_required");
}
