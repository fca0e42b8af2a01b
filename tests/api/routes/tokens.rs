//! `/v1/tokens`: made, rotated, revoked, listed.

use axum::http::Method;
use serde_json::{Value, json};

use crate::app::{Answer, Client, TestApp};
use crate::csr::csr;

async fn post(client: &Client, path: &str, body: Value) -> Answer {
    client.send(Method::POST, path, &[], body.to_string().into()).await
}

async fn create(client: &Client, body: Value) -> Answer {
    post(client, "/v1/tokens", body).await
}

async fn rotate(client: &Client, name: &str, body: Value) -> Answer {
    post(client, &format!("/v1/tokens/{name}/rotate"), body).await
}

/// The caller behind the token of an answer.
fn holder(app: &TestApp, given: &Value) -> Client {
    app.with_authorization(&format!("Bearer {}", given["token"].as_str().unwrap()))
}

async fn events(app: &TestApp, kind: &str) -> Vec<Value> {
    let list = app.client(&format!("reader-{kind}"), &["auditor"], false).await;
    let list = list.get(&format!("/v1/audit?kind={kind}")).await.expect(200);
    list["items"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_token_that_was_made_over_the_api_is_shown_once_and_works_at_once() {
    let app = TestApp::new().await;
    let admin = app.owned("admin", "oidc:corp:olga", &["admin", "requester"], false).await;
    let wish = json!({ "name": "robot", "roles": ["requester", "requester"], "expires": "30d" });
    let answer = create(&admin, wish).await;
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("location"), "/v1/tokens/robot");
    let given = answer.expect(201);
    assert_eq!(given["owner"], "oidc:corp:olga", "its maker's owner");
    assert_eq!(given["roles"], json!(["requester"]));
    assert_eq!(given["expires_at"], "2026-07-01T09:00:00Z");
    let robot = holder(&app, &given);
    assert_eq!(robot.get("/v1/whoami").await.expect(200)["caller"], "token:robot");
    let read = admin.get("/v1/tokens/robot").await;
    assert!(!read.text().contains(given["token"].as_str().unwrap()));
    let mut facts = given.clone();
    facts.as_object_mut().unwrap().remove("token");
    assert_eq!(read.expect(200), facts);
    let made = &events(&app, "token.created").await;
    let event = made.iter().find(|event| event["detail"]["name"] == "robot").unwrap();
    assert_eq!((event["caller"].as_str(), &event["detail"]["id"]), (Some("token:admin"), &given["id"]));
    assert!(!event.to_string().contains(&given["token"].as_str().unwrap()[17..]));
}

#[tokio::test]
async fn nobody_gives_what_he_lacks() {
    let app = TestApp::new().await;
    let admin = app.client("admin", &["admin", "requester"], false).await;
    for wish in [
        json!({ "name": "robot", "roles": ["auditor"] }),
        json!({ "name": "robot", "roles": ["requester", "approver"] }),
        json!({ "name": "robot", "roles": ["requester"], "on_behalf_of": true }),
    ] {
        create(&admin, wish).await.refused(403, "token_not_allowed");
    }
    create(&admin, json!({ "name": "robot", "roles": ["requester"], "owner": "token:x" }))
        .await
        .refused(400, "json_invalid");
    let all = app.client("all", &["admin", "requester", "auditor", "approver"], true).await;
    create(&all, json!({ "name": "robot", "roles": ["approver", "auditor"], "on_behalf_of": true }))
        .await
        .expect(201);
    let recorded = all.get("/v1/refusals?code=token_not_allowed").await.expect(200);
    assert_eq!(recorded["items"].as_array().unwrap().len(), 3, "{recorded}");
}

#[tokio::test]
async fn a_name_is_given_once_and_a_token_lasts_a_year_at_most() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let wish = |expires: &str| json!({ "name": "robot", "roles": ["admin"], "expires": expires });
    for expires in ["366d", "0s", "soon"] {
        create(&admin, wish(expires)).await.refused(400, "parameter_invalid");
    }
    create(&admin, wish("90d")).await.expect(201);
    create(&admin, wish("1h")).await.refused(409, "token_exists");
    admin.send(Method::DELETE, "/v1/tokens/robot", &[], Vec::new()).await;
    create(&admin, wish("1h")).await.refused(409, "token_exists");
}

#[tokio::test]
async fn a_token_rotates_itself_and_the_old_secret_ends_after_its_grace() {
    let app = TestApp::new().await;
    let (alice, admin) = (app.alice().await, app.admin().await);
    let before = admin.get("/v1/tokens/alice").await.expect(200);
    assert_eq!((&before["rotated_at"], &before["replaced"]), (&Value::Null, &Value::Null));
    app.at(60);
    let given = rotate(&alice, "alice", json!({ "grace": "10m" })).await.expect(201);
    for same in ["name", "roles", "owner", "created_at", "expires_at"] {
        assert_eq!(given[same], before[same], "{same}");
    }
    assert_ne!(given["id"], before["id"]);
    assert_eq!(given["rotated_at"], "2026-06-01T09:01:00Z");
    assert_eq!(given["replaced"]["id"], before["id"]);
    assert_eq!(given["replaced"]["expires_at"], "2026-06-01T09:11:00Z");
    let renewed = holder(&app, &given);
    for client in [&alice, &renewed] {
        client.sign("?cluster=prod", csr("/CN=alice")).await.expect(201);
    }
    rotate(&alice, "alice", json!({})).await.refused(403, "token_not_allowed");
    app.at(660);
    alice.sign("?cluster=prod", csr("/CN=alice")).await.refused(401, "unauthenticated");
    renewed.sign("?cluster=prod", csr("/CN=alice")).await.expect(201);
    assert_eq!(admin.get("/v1/tokens/alice").await.expect(200)["replaced"], Value::Null);
    let rotated = &events(&app, "token.rotated").await[0];
    assert_eq!(
        (rotated["caller"].as_str(), &rotated["detail"]["name"]),
        (Some("token:alice"), &"alice".into())
    );
    assert!(!rotated.to_string().contains(&given["token"].as_str().unwrap()[17..]));
}

#[tokio::test]
async fn a_rotation_without_grace_ends_the_old_secret_at_once() {
    let app = TestApp::new().await;
    let alice = app.alice().await;
    let given = rotate(&alice, "alice", json!({ "grace": "0s" })).await.expect(201);
    alice.get("/v1/whoami").await.refused(401, "unauthenticated");
    holder(&app, &given).get("/v1/whoami").await.expect(200);
    rotate(&holder(&app, &given), "alice", json!({ "grace": "8d" })).await.refused(400, "parameter_invalid");
    let answer = holder(&app, &given).send(Method::POST, "/v1/tokens/alice/rotate", &[], Vec::new()).await;
    answer.expect(201);
}

#[tokio::test]
async fn nobody_prolongs_his_own_token() {
    let app = TestApp::new().await;
    let alice = app.alice().await;
    rotate(&alice, "alice", json!({ "expires": "365d" })).await.refused(403, "token_not_allowed");
    let given = rotate(&alice, "alice", json!({})).await.expect(201);
    assert_eq!(given["expires_at"], "2026-08-30T09:00:00Z", "as it was made for");
}

#[tokio::test]
async fn a_token_makes_none_that_outlives_it() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    app.at(86_400);
    for expires in ["90d", "365d"] {
        let wish = json!({ "name": "robot", "roles": ["admin"], "expires": expires });
        create(&admin, wish).await.refused(403, "token_not_allowed");
    }
    let given = create(&admin, json!({ "name": "robot", "roles": ["admin"] })).await.expect(201);
    assert_eq!(given["expires_at"], "2026-08-30T09:00:00Z", "with its maker");
    rotate(&admin, "robot", json!({ "expires": "90d" })).await.refused(403, "token_not_allowed");
    let given = rotate(&admin, "robot", json!({})).await.expect(201);
    assert_eq!(given["expires_at"], "2026-08-30T09:00:00Z");
}

#[tokio::test]
async fn another_rotates_a_token_only_if_he_answers_for_it_and_could_make_it() {
    let app = TestApp::new().await;
    let olga = "oidc:corp:olga";
    let admin = app.owned("olga", olga, &["admin", "requester"], false).await;
    app.owned("robot", olga, &["requester"], false).await;
    app.owned("portal", olga, &["requester"], true).await;
    app.owned("reader", olga, &["auditor"], false).await;
    app.alice().await;
    let given = rotate(&admin, "robot", json!({ "expires": "7d" })).await.expect(201);
    assert_eq!(given["expires_at"], "2026-06-08T09:00:00Z");
    for other in ["portal", "reader", "alice"] {
        rotate(&admin, other, json!({})).await.refused(403, "token_not_allowed");
    }
    rotate(&admin, "nobody", json!({})).await.refused(404, "not_found");
    let bob = app.bob().await;
    for name in ["alice", "nobody"] {
        rotate(&bob, name, json!({})).await.refused(404, "not_found");
    }
    app.revoke("robot").await;
    rotate(&admin, "robot", json!({})).await.refused(409, "token_revoked");
}

#[tokio::test]
async fn a_token_that_was_revoked_over_the_api_is_worth_nothing_at_once() {
    let app = TestApp::new().await;
    let (alice, admin) = (app.alice().await, app.admin().await);
    let given = rotate(&alice, "alice", json!({})).await.expect(201);
    for _ in 0..2 {
        let answer = admin.send(Method::DELETE, "/v1/tokens/alice", &[], Vec::new()).await;
        assert_eq!(answer.status, 204, "{}", answer.text());
    }
    for client in [&alice, &holder(&app, &given)] {
        client.get("/v1/whoami").await.refused(401, "unauthenticated");
    }
    admin.send(Method::DELETE, "/v1/tokens/nobody", &[], Vec::new()).await.refused(404, "not_found");
    assert_eq!(admin.get("/v1/tokens/alice").await.expect(200)["revoked_at"], "2026-06-01T09:00:00Z");
    assert_eq!(events(&app, "token.revoked").await.len(), 1);
}

#[tokio::test]
async fn a_token_rotated_behind_the_service_signs_nothing_more_with_its_old_secret() {
    let app = TestApp::new().await;
    let alice = app.alice().await;
    app.rotate("alice", 0).await;
    alice.sign("?cluster=prod", csr("/CN=alice")).await.refused(401, "unauthenticated");
    let bob = app.bob().await;
    app.rotate("bob", 60).await;
    bob.sign("?cluster=prod", csr("/CN=bob")).await.expect(201);
}

#[tokio::test]
async fn an_admin_whose_token_was_revoked_behind_the_service_changes_no_token() {
    let app = TestApp::new().await;
    let (admin, _) = (app.admin().await, app.alice().await);
    app.revoke("admin").await;
    create(&admin, json!({ "name": "robot", "roles": ["admin"] })).await.refused(401, "unauthenticated");
    rotate(&admin, "admin", json!({})).await.refused(401, "unauthenticated");
    let delete = admin.send(Method::DELETE, "/v1/tokens/alice", &[], Vec::new()).await;
    delete.refused(401, "unauthenticated");
}

#[tokio::test]
async fn the_last_use_is_shown_once_it_is_written() {
    let app = TestApp::new().await;
    let (alice, auditor) = (app.alice().await, app.auditor().await);
    let used = async || {
        let list = auditor.get("/v1/tokens").await.expect(200);
        let items = list["items"].as_array().unwrap();
        items.iter().find(|item| item["name"] == "alice").unwrap()["last_used_at"].clone()
    };
    assert_eq!(used().await, Value::Null);
    app.at(90);
    alice.get("/v1/whoami").await.expect(200);
    assert_eq!(used().await, Value::Null, "written once a minute");
    app.app.write_notes().await;
    assert_eq!(used().await, "2026-06-01T09:01:30Z");
}

#[tokio::test]
async fn a_body_with_a_private_key_is_refused() {
    let app = TestApp::new().await;
    let key = crate::csr::Key::p256().private_pem();
    let admin = app.admin().await;
    for path in ["/v1/tokens", "/v1/tokens/admin/rotate"] {
        admin.send(Method::POST, path, &[], key.clone().into()).await.refused(422, "private_key_in_body");
    }
}
