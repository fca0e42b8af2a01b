//! A user name belongs to the first subject that showed it.

use axum::http::Method;
use serde_json::{Value, json};

use super::{app, holder};
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
