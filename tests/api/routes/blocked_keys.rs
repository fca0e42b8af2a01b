//! `GET /v1/blocked-keys`, and `PUT` and `DELETE /v1/blocked-keys/{spki_sha256}`.

use axum::http::Method;
use serde_json::{Value, json};

use crate::app::{Answer, Client, TestApp};
use crate::csr::{Key, csr};

const LEAKED: &str = r#"{"reason": "leaked"}"#;

async fn put(client: &Client, key: &str, body: &str) -> Answer {
    let body = body.as_bytes().to_vec();
    client.send(Method::PUT, &format!("/v1/blocked-keys/{key}"), &[], body).await
}

async fn delete(client: &Client, key: &str) -> Answer {
    client.send(Method::DELETE, &format!("/v1/blocked-keys/{key}"), &[], Vec::new()).await
}

/// What the ledger says of the key of a fresh certificate for alice.
async fn spki_of(alice: &Client, key: &Key) -> String {
    let issued = alice.sign("?cluster=prod", key.csr("/CN=alice")).await.expect(201);
    let serial = issued["serial"].as_str().unwrap();
    let row = alice.get(&format!("/v1/certificates/{serial}")).await.expect(200);
    row["spki_sha256"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_blocked_key_gets_no_certificate_until_it_is_unblocked() {
    let app = TestApp::new().await;
    let (alice, admin) = (app.alice().await, app.admin().await);
    let key = Key::p256();
    let spki = spki_of(&alice, &key).await;
    let blocked = put(&admin, &spki, LEAKED).await.expect(201);
    assert_eq!(
        blocked,
        json!({ "spki_sha256": spki, "reason": "leaked", "blocked_at": "2026-06-01T09:00:00Z", "blocked_by": "token:admin" })
    );
    alice.sign("?cluster=prod", key.csr("/CN=alice")).await.refused(422, "key_blocked");
    alice.sign("?cluster=prod&dry_run=1", key.csr("/CN=alice")).await.refused(422, "key_blocked");
    alice.sign("?cluster=prod", csr("/CN=alice")).await.expect(201);
    assert_eq!(delete(&admin, &spki).await.status, 204);
    alice.sign("?cluster=prod", key.csr("/CN=alice")).await.expect(201);
}

#[tokio::test]
async fn a_key_is_named_as_openssl_prints_it() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let colons = ["AB"; 32].join(":");
    put(&admin, &colons, LEAKED).await.expect(201);
    let again = put(&admin, &"ab".repeat(32), r#"{"reason": "other"}"#).await.expect(200);
    assert_eq!(again["reason"], "leaked", "the first reason stays");
    let list = app.auditor().await.get("/v1/blocked-keys").await.expect(200);
    assert_eq!(list["items"].as_array().unwrap().len(), 1, "{list}");
    assert_eq!(
        (&list["items"][0]["spki_sha256"], &list["next_cursor"]),
        (&json!("ab".repeat(32)), &Value::Null)
    );
    assert_eq!(delete(&admin, &"AB".repeat(32)).await.status, 204);
    delete(&admin, &"AB".repeat(32)).await.refused(404, "not_found");
}

#[tokio::test]
async fn what_is_no_key_or_no_reason_is_400() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let key = "ab".repeat(32);
    for name in ["ab", "%00", "..%2f", &"g".repeat(64), &key[1..]] {
        put(&admin, name, LEAKED).await.refused(400, "parameter_invalid");
        delete(&admin, name).await.refused(400, "parameter_invalid");
    }
    put(&admin, &key, "leaked").await.refused(400, "json_invalid");
    put(&admin, &key, r#"{"reason": ""}"#).await.refused(400, "parameter_invalid");
    put(&admin, &key, &format!(r#"{{"reason": "{}"}}"#, "x".repeat(5_000)))
        .await
        .refused(413, "body_too_large");
    let secret = json!({ "reason": Key::p256().private_pem() }).to_string();
    put(&admin, &key, &secret).await.refused(422, "private_key_in_body");
    put(&admin, &format!("{key}?force=1"), LEAKED).await.refused(400, "parameter_unknown");
    admin.get("/v1/blocked-keys?limit=1").await.refused(400, "parameter_unknown");
    assert_eq!(admin.get("/v1/blocked-keys").await.expect(200)["items"], json!([]));
}

#[tokio::test]
async fn only_an_admin_blocks_and_only_admins_and_auditors_read() {
    let app = TestApp::new().await;
    let key = "ab".repeat(32);
    for client in [app.alice().await, app.auditor().await] {
        put(&client, &key, LEAKED).await.refused(403, "role_missing");
        delete(&client, &key).await.refused(403, "role_missing");
    }
    app.client("alice-2", &["requester"], false)
        .await
        .get("/v1/blocked-keys")
        .await
        .refused(403, "role_missing");
    app.nobody().get("/v1/blocked-keys").await.refused(401, "unauthenticated");
    put(&app.nobody(), &key, LEAKED).await.refused(401, "unauthenticated");
    delete(&app.nobody(), &key).await.refused(401, "unauthenticated");
}

#[tokio::test]
async fn blocking_and_unblocking_are_audited_once_each() {
    let app = TestApp::new().await;
    let (admin, auditor) = (app.admin().await, app.auditor().await);
    let key = "ab".repeat(32);
    put(&admin, &key, LEAKED).await.expect(201);
    put(&admin, &key, LEAKED).await.expect(200);
    delete(&admin, &key).await;
    delete(&admin, &key).await.expect(404);
    for kind in ["key.blocked", "key.unblocked"] {
        let events = auditor.get(&format!("/v1/audit?kind={kind}")).await.expect(200);
        let items = events["items"].as_array().unwrap();
        assert_eq!(items.len(), 1, "{events}");
        assert_eq!(items[0]["caller"], "token:admin");
        assert_eq!(items[0]["detail"], json!({ "spki_sha256": key, "reason": "leaked" }));
    }
}

#[tokio::test]
async fn a_token_that_was_revoked_behind_the_service_unblocks_nothing() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    put(&admin, &"ab".repeat(32), LEAKED).await.expect(201);
    app.revoke("admin").await;
    delete(&admin, &"ab".repeat(32)).await.refused(401, "unauthenticated");
    assert_eq!(app.app.store.blocked_keys().await.unwrap().len(), 1);
}
