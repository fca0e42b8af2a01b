//! `GET` and `PUT /v1/policies`.

use axum::http::Method;
use serde_json::json;

use crate::app::{Answer, Client, TestApp};
use crate::csr::csr;

const ONE: &str =
    r#"policies: [{ name: one, effect: allow, clusters: [prod], callers: ["token:alice"], users: [alice] }]"#;

async fn put(client: &Client, if_match: &str, body: &str) -> Answer {
    let headers: &[_] = if if_match.is_empty() { &[] } else { &[("if-match", if_match)] };
    client.send(Method::PUT, "/v1/policies", headers, body.as_bytes().to_vec()).await
}

#[tokio::test]
async fn what_is_read_can_be_written_back() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let answer = admin.get("/v1/policies").await;
    let etag = answer.header("etag").to_owned();
    let set = answer.expect(200);
    assert_eq!(set["policies"].as_array().unwrap().len(), 3);
    let body = json!({ "policies": set["policies"] }).to_string();
    let change = put(&admin, &etag, &body).await.expect(200);
    assert_eq!(
        (&change["revision"], &change["changed"]),
        (&json!(1), &json!([])),
        "the same set is no new revision"
    );
    let row = admin.get("/v1/policies/people").await.expect(200);
    assert_eq!(row, *set["policies"].as_array().unwrap().iter().find(|row| row["name"] == "people").unwrap());
}

#[tokio::test]
async fn a_write_names_the_revision_that_it_changes() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    put(&admin, "", ONE).await.refused(428, "if_match_required");
    put(&admin, "\"7\"", "not even read").await.refused(412, "revision_mismatch");
    put(&admin, "garbage", ONE).await.refused(412, "revision_mismatch");
    let change = put(&admin, "\"1\"", ONE).await.expect(200);
    assert_eq!(change["revision"], 2);
    assert_eq!(change["removed"], json!(["no-admins", "people", "portal"]));
    put(&admin, "\"1\"", ONE).await.refused(412, "revision_mismatch");
    let old = admin.get("/v1/policies?revision=1").await.expect(200);
    assert_eq!(old["policies"].as_array().unwrap().len(), 3);
    admin.get("/v1/policies?revision=9").await.refused(404, "not_found");
}

#[tokio::test]
async fn a_broken_set_changes_nothing_and_names_the_row() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    for (body, part) in [
        ("policies: [", "line"),
        ("policies: []\nextra: 1", "extra"),
        ("policies: [{ name: one }]", "effect"),
        (&ONE.replace("users: [alice]", "users: []"), "users"),
        (&ONE.replace("[prod]", "[prdo]"), "prdo"),
        (&ONE.replace("[prod]", "[prod], colour: red"), "colour"),
        (&ONE.replace("allow", "review"), "review"),
        (&ONE.replace("users: [alice]", "users: [\"{nobody}\"]"), "nobody"),
        (
            &ONE.replace(
                "}]",
                "}, { name: one, effect: deny, clusters: [prod], callers: [\"token:a\"], users: [b] }]",
            ),
            "one",
        ),
    ] {
        let problem = put(&admin, "\"1\"", body).await.refused(422, "policy_invalid");
        assert!(problem["detail"].as_str().unwrap().contains(part), "{part}: {problem}");
    }
    assert_eq!(admin.get("/v1/policies").await.expect(200)["revision"], 1);
}

#[tokio::test]
async fn only_an_admin_writes_and_only_admins_and_auditors_read() {
    let app = TestApp::new().await;
    put(&app.auditor().await, "\"1\"", ONE).await.refused(403, "role_missing");
    let alice = app.alice().await;
    put(&alice, "\"1\"", ONE).await.refused(403, "role_missing");
    alice.get("/v1/policies").await.refused(403, "role_missing");
    app.client("auditor-2", &["auditor"], false).await.get("/v1/policies").await.expect(200);
}

#[tokio::test]
async fn a_change_of_policy_is_audited_with_old_and_new() {
    let app = TestApp::new().await;
    put(&app.admin().await, "\"1\"", ONE).await.expect(200);
    let events = app.auditor().await.get("/v1/audit?kind=policy.replaced").await.expect(200);
    let newest = &events["items"][0];
    assert_eq!(newest["caller"], "token:admin");
    assert!(newest["detail"].to_string().contains("no-admins"), "{newest}");
}

#[tokio::test]
async fn a_token_that_was_revoked_behind_the_service_changes_nothing() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    app.revoke("admin").await;
    put(&admin, "*", ONE).await.refused(401, "unauthenticated");
    assert_eq!(app.app.store.revisions().await.unwrap().policy, 1);
}

#[tokio::test]
async fn a_refused_set_is_on_record() {
    let app = TestApp::new().await;
    put(&app.admin().await, "*", &ONE.replace("[alice]", "[]")).await.refused(422, "policy_invalid");
    let list = app.auditor().await.get("/v1/refusals?code=policy_invalid").await.expect(200);
    assert_eq!(list["items"].as_array().unwrap().len(), 1, "{list}");
}

#[tokio::test]
async fn a_stored_set_that_is_not_understood_allows_nothing_and_keeps_no_token_alive() {
    let app = TestApp::new().await;
    let (alice, auditor) = (app.alice().await, app.auditor().await);
    // Another configuration, which does not reserve `oidc:`, would take this row.
    app.apply(r#"policies: [{ name: wide, effect: allow, clusters: ["*"], callers: ["token:alice"], users: ["*"], groups: ["oidc:root"] }]"#).await;
    app.revoke("auditor").await;
    alice.sign("?cluster=prod", csr("/CN=alice")).await.refused(403, "policy_denied");
    auditor.get("/v1/audit").await.refused(401, "unauthenticated");
    let problem = app.nobody().get("/readyz").await.refused(503, "not_ready");
    assert!(problem["detail"].as_str().unwrap().contains("wide"), "{problem}");
    app.apply(crate::app::POLICIES).await;
    alice.sign("?cluster=prod", csr("/CN=alice")).await.expect(201);
    assert_eq!(app.nobody().get("/readyz").await.status, 200);
}
