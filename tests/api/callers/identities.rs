//! A user name belongs to the first subject that showed it.

use axum::http::Method;
use countersign::auth::AuthSettings;
use serde_json::{Value, json};

use super::{app, binding, holder, settings};
use crate::app::{Client, TestApp};
use crate::csr::Key;
use crate::issuer::{alice, claims, with};

async fn sign(client: &Client, key: &Key, idempotency_key: &str) -> crate::app::Answer {
    let headers = [("idempotency-key", idempotency_key)];
    let body = key.csr("/CN=alice/O=dev").into_bytes();
    client.send(Method::POST, "/v1/sign?cluster=prod", &headers, body).await
}

async fn items(client: &Client, path: &str) -> Vec<Value> {
    client.get(path).await.expect(200)["items"].as_array().unwrap().clone()
}

async fn release(app: &TestApp) -> crate::app::Answer {
    app.admin().await.send(Method::DELETE, "/v1/identities/oidc:corp:alice", &[], Vec::new()).await
}

#[tokio::test]
async fn another_subject_under_the_same_name_is_nobody() {
    let app = app().await;
    let first = holder(&app, &alice());
    first.get("/v1/whoami").await.expect(200);
    let second = holder(&app, &claims("alice", "5678"));
    second.get("/v1/whoami").await.refused(401, "unauthenticated");
    second.sign("?cluster=prod", Key::p256().csr("/CN=alice")).await.refused(401, "unauthenticated");
    first.get("/v1/whoami").await.expect(200);
    let auditor = app.auditor().await;
    let bound = items(&auditor, "/v1/identities").await;
    assert_eq!(bound.len(), 1);
    assert_eq!((&bound[0]["caller"], &bound[0]["subject"]), (&json!("oidc:corp:alice"), &json!("1234")));
    assert_eq!(items(&auditor, "/v1/identities?caller=oidc:corp:bob").await.len(), 0);
    assert_eq!(items(&auditor, "/v1/audit?kind=identity.bound").await.len(), 1);
}

#[tokio::test]
async fn a_name_that_was_given_free_is_the_next_subjects_without_what_was_done_under_it() {
    let app = app().await;
    let (first, second) = (holder(&app, &alice()), holder(&app, &claims("alice", "5678")));
    let key = Key::p256();
    let old = sign(&first, &key, "k").await.expect(201);
    first.sign("?cluster=prod", key.csr("/CN=alice/O=admins")).await.refused(403, "policy_denied");
    assert_eq!(release(&app).await.status.as_u16(), 204);
    second.get("/v1/whoami").await.expect(200);
    first.get("/v1/whoami").await.refused(401, "unauthenticated");
    for path in ["/v1/certificates", "/v1/refusals", "/v1/certificates?caller=oidc:corp:alice"] {
        assert_eq!(items(&second, path).await.len(), 0, "{path}");
    }
    let serial = old["serial"].as_str().unwrap();
    second.get(&format!("/v1/certificates/{serial}")).await.refused(404, "not_found");
    second.get("/v1/users/alice").await.refused(404, "not_found");
    assert_eq!(items(&second, "/v1/stats?by=cluster").await.len(), 0);
    let new = sign(&second, &Key::p256(), "k").await.expect(201);
    assert_ne!(new["serial"], old["serial"]);
    assert_eq!(items(&second, "/v1/certificates").await.len(), 1);
    let auditor = app.auditor().await;
    assert_eq!(items(&auditor, "/v1/certificates?caller=oidc:corp:alice").await.len(), 2);
    let event = &items(&auditor, "/v1/audit?kind=identity.released").await[0];
    assert_eq!((&event["caller"], &event["detail"]["subject"]), (&json!("token:admin"), &json!("1234")));
}

#[tokio::test]
async fn who_gets_a_name_back_has_what_it_did_before() {
    let app = app().await;
    let first = holder(&app, &alice());
    let key = Key::p256();
    let old = sign(&first, &key, "k").await.expect(201);
    assert_eq!(release(&app).await.status.as_u16(), 204);
    assert_eq!(items(&first, "/v1/certificates").await.len(), 1);
    let again = sign(&first, &key, "k").await;
    assert_eq!(again.header("idempotency-replayed"), "true");
    assert_eq!(again.expect(200)["serial"], old["serial"]);
}

#[tokio::test]
async fn a_subject_with_a_new_name_keeps_its_records() {
    let app = app().await;
    sign(&holder(&app, &alice()), &Key::p256(), "k").await.expect(201);
    let renamed = holder(&app, &with(&alice(), "preferred_username", "alice.w"));
    assert_eq!(renamed.get("/v1/whoami").await.expect(200)["caller"], "oidc:corp:alice.w");
    assert_eq!(items(&renamed, "/v1/certificates").await.len(), 1);
    assert_eq!(items(&renamed, "/v1/certificates?group=dev").await.len(), 1);
    assert_eq!(items(&renamed, "/v1/certificates?caller=oidc:corp:alice").await.len(), 1);
    assert_eq!(items(&renamed, "/v1/certificates?caller=oidc:corp:alice.w").await.len(), 0);
    assert_eq!(items(&renamed, "/v1/certificates?caller=oidc:corp:bob").await.len(), 0);
}

#[tokio::test]
async fn a_release_needs_an_admin_and_a_name_that_belongs_to_somebody() {
    let app = app().await;
    release(&app).await.refused(404, "not_found");
    holder(&app, &alice()).get("/v1/whoami").await.expect(200);
    let auditor = app.auditor().await;
    let path = "/v1/identities/oidc:corp:alice";
    auditor.send(Method::DELETE, path, &[], Vec::new()).await.refused(403, "role_missing");
    holder(&app, &alice()).send(Method::DELETE, path, &[], Vec::new()).await.refused(403, "role_missing");
    holder(&app, &alice()).get("/v1/identities").await.refused(403, "role_missing");
}

#[tokio::test]
async fn a_former_holder_of_a_name_sees_nothing_of_the_next_under_another_name() {
    let app = app().await;
    let (first, second) = (holder(&app, &alice()), holder(&app, &claims("alice", "5678")));
    let old = sign(&first, &Key::p256(), "k").await.expect(201);
    let renamed = holder(&app, &with(&alice(), "preferred_username", "alicia"));
    assert_eq!(items(&renamed, "/v1/certificates").await.len(), 1, "looked up while the name was its own");
    assert_eq!(release(&app).await.status.as_u16(), 204);
    let new = sign(&second, &Key::p256(), "k").await.expect(201);
    let seen = items(&renamed, "/v1/certificates").await;
    assert_eq!(seen.iter().map(|row| &row["serial"]).collect::<Vec<_>>(), [&old["serial"]]);
    let path = format!("/v1/certificates/{}", new["serial"].as_str().unwrap());
    renamed.get(&path).await.refused(404, "not_found");
}

/// Where roles go by group.
async fn by_group() -> TestApp {
    TestApp::with_ways(REVIEWED, |folder| AuthSettings {
        roles: vec![
            binding("requester", &["group:corp:dev"]),
            binding("approver", &["group:corp:dev"]),
            binding("admin", &["group:corp:admins"]),
        ],
        ..settings(folder)
    })
    .await
}

const REVIEWED: &str = r#"
policies:
  - { name: robots, effect: allow, clusters: [prod], callers: ["oidc:corp:*"], users: [robot], groups: [ops, twice] }
  - { name: ops, effect: review, clusters: [prod], callers: ["oidc:corp:*"], users: ["*"], groups: [ops], approvers: ["oidc:corp:*"] }
  - { name: twice, effect: review, clusters: [prod], callers: ["oidc:corp:*"], users: ["*"], groups: [twice], approvers: ["oidc:corp:*"], approvals: 2 }
"#;

#[tokio::test]
async fn who_may_do_nothing_takes_no_name() {
    let app = by_group().await;
    let stranger = holder(&app, &with(&claims("ceo", "666"), "groups", json!([])));
    let whoami = stranger.get("/v1/whoami").await.expect(200);
    assert_eq!((&whoami["caller"], &whoami["roles"]), (&json!("oidc:corp:ceo"), &json!([])));
    assert_eq!(items(&app.auditor().await, "/v1/identities").await.len(), 0);
    holder(&app, &claims("ceo", "1")).get("/v1/whoami").await.expect(200);
    stranger.get("/v1/whoami").await.refused(401, "unauthenticated");
}

#[tokio::test]
async fn one_more_name_than_a_subject_can_have_is_401() {
    let app = by_group().await;
    for number in 0..8 {
        holder(&app, &claims(&format!("a{number}"), "1")).get("/v1/whoami").await.expect(200);
    }
    holder(&app, &claims("ceo", "1")).get("/v1/whoami").await.refused(401, "unauthenticated");
    holder(&app, &claims("a3", "1")).get("/v1/whoami").await.expect(200);
    holder(&app, &claims("ceo", "2")).get("/v1/whoami").await.expect(200);
}

async fn held(client: &Client, group: &str) -> String {
    let subject = format!("/CN=robot/O={group}");
    let answer = client.sign("?cluster=prod", Key::p256().csr(&subject)).await.expect(202);
    format!("/v1/requests/{}", answer["id"].as_str().unwrap())
}

async fn approve(client: &Client, request: &str) -> crate::app::Answer {
    client.send(Method::POST, &format!("{request}/approve"), &[], Vec::new()).await
}

#[tokio::test]
async fn a_subject_is_one_person_under_all_its_names() {
    let app = by_group().await;
    let [asks, again] = ["q1", "q2"].map(|name| holder(&app, &claims(name, "1")));
    let request = held(&asks, "ops").await;
    approve(&again, &request).await.refused(403, "approval_not_allowed");
    let twice = held(&asks, "twice").await;
    let [bob, robert, carol] =
        [("bob", "2"), ("robert", "2"), ("carol", "3")].map(|(name, sub)| holder(&app, &claims(name, sub)));
    assert_eq!(approve(&bob, &twice).await.expect(200)["status"], "pending");
    approve(&robert, &twice).await.refused(409, "already_approved");
    assert_eq!(approve(&carol, &twice).await.expect(200)["status"], "approved");
}

#[tokio::test]
async fn held_requests_go_with_the_subject_and_not_with_the_name() {
    let app = by_group().await;
    let (first, bob) = (holder(&app, &claims("q1", "1")), holder(&app, &claims("bob", "2")));
    let [collected, withdrawn] = [held(&first, "ops").await, held(&first, "ops").await];
    approve(&bob, &collected).await.expect(200);
    let renamed = holder(&app, &claims("q2", "1"));
    assert_eq!(items(&renamed, "/v1/requests?caller=oidc:corp:q1").await.len(), 2);
    let path = format!("{collected}/certificate");
    let issued = renamed.send(Method::POST, &path, &[], Vec::new()).await.expect(201);
    assert_eq!(issued["requested_by"], "oidc:corp:q2");
    let taken_back = renamed.send(Method::DELETE, &withdrawn, &[], Vec::new()).await;
    assert_eq!(taken_back.status.as_u16(), 204);
    assert_eq!(
        crate::check::findings(&app).await,
        Vec::<String>::new(),
        "the ledger's checker takes them for one"
    );
}

#[tokio::test]
async fn whoever_gets_a_name_answers_for_no_token_of_the_one_before() {
    let app = by_group().await;
    let admin = |sub| with(&claims("ada", sub), "groups", json!(["admins"]));
    let (old, new) = (holder(&app, &admin("1")), holder(&app, &admin("2")));
    old.get("/v1/whoami").await.expect(200);
    app.at(60);
    let body = br#"{"name": "robot", "roles": ["admin"]}"#.to_vec();
    old.send(Method::POST, "/v1/tokens", &[], body).await.expect(201);
    let rotate = async |by: &Client| by.send(Method::POST, "/v1/tokens/robot/rotate", &[], Vec::new()).await;
    rotate(&old).await.expect(201);
    app.at(120);
    let path = "/v1/identities/oidc:corp:ada";
    assert_eq!(app.admin().await.send(Method::DELETE, path, &[], Vec::new()).await.status.as_u16(), 204);
    new.get("/v1/whoami").await.expect(200);
    rotate(&new).await.refused(403, "token_not_allowed");
}
