//! Every route against every kind of credential. A new route is in the table by being in `ROUTES`.

use axum::http::Method;
use countersign::http::{Access, ROUTES, Route};

use crate::app::{Client, TestApp};

const ROLES: [&str; 4] = ["requester", "auditor", "admin", "approver"];

/// Sends what the route could take, as far as that is one thing for all.
async fn status(client: &Client, route: &Route) -> u16 {
    let path = route
        .path
        .replace("{serial}", &"4f".repeat(16))
        .replace("{spki_sha256}", &"ab".repeat(32))
        .replace("/clusters/{name}", "/clusters/prod")
        .replace("{user}", "alice")
        .replace("{caller}", "oidc:corp:alice")
        .replace("{id}", &"0c".repeat(16))
        .replace("{name}", "people");
    assert!(!path.contains('{'), "{path}: say what stands for its parameter");
    client
        .send(Method::from_bytes(route.method.as_bytes()).unwrap(), &path, &[], Vec::new())
        .await
        .status
        .as_u16()
}

#[tokio::test]
async fn every_route_opens_to_its_own_callers_and_to_nobody_else() {
    let app = TestApp::new().await;
    let revoked = app.client("revoked", &ROLES, true).await;
    let without_roles = app.client("nothing", &[], true).await;
    let mut of_role = Vec::new();
    for role in ROLES {
        of_role.push((role, app.client(&format!("only-{role}"), &[role], true).await));
    }
    app.revoke("revoked").await;
    app.app.refresh().await.unwrap();
    let mut strangers: Vec<Client> = STRANGE.iter().map(|value| app.with_authorization(value)).collect();
    strangers.extend([app.nobody(), revoked]);
    for route in ROUTES {
        let open = route.access == Access::Open;
        for stranger in &strangers {
            assert_eq!(status(stranger, route).await == 401, !open, "{} {}", route.method, route.path);
        }
        let roles = route.access.roles();
        for (role, client) in &of_role {
            let refused = !roles.is_empty() && !roles.contains(role);
            assert_eq!(
                status(client, route).await == 403,
                refused,
                "{role}: {} {}",
                route.method,
                route.path
            );
        }
        let refused = status(&without_roles, route).await == 403;
        assert_eq!(refused, !roles.is_empty(), "no role: {} {}", route.method, route.path);
    }
    app.at(91 * 86_400);
    for route in ROUTES.iter().filter(|route| route.access != Access::Open) {
        assert_eq!(status(&of_role[0].1, route).await, 401, "expired: {} {}", route.method, route.path);
    }
}

/// Credentials of other kinds, malformed ones, and one of the right form that nobody has.
const STRANGE: [&str; 6] = [
    "Bearer x",
    "Basic YWRtaW46YWRtaW4=",
    "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9.",
    "Bearer cs1_0123456789ab_0000000000000000000000000000000000000000000000000",
    "Bearer ",
    "Negotiate YIIB",
];
