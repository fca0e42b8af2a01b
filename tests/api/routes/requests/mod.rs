//! `/v1/requests`, and what `POST /v1/sign` says of a request that waits for people.

mod approving;
mod changing;
mod conditions;
mod holding;
mod retrying;

use axum::http::Method;
use serde_json::{Value, json};

use crate::app::{Answer, Client, TestApp};
use crate::csr::csr;

/// Alice may have `dev`, and `ops` once somebody of `security` approves; `root` wants two of three.
const REVIEWED: &str = r#"
policies:
  - { name: people, effect: allow, clusters: ["*"], callers: ["token:alice", "token:bob"], users: ["{caller}"], groups: [dev, ops, root], max_ttl: 8h }
  - { name: portal, effect: allow, clusters: [prod], callers: ["token:portal"], on_behalf_of: ["*"], users: ["*"], groups: [ops] }
  - { name: ops, effect: review, clusters: ["*"], callers: ["token:*"], users: ["*"], groups: [ops], max_ttl: 2h, approvers: ["token:carol", "token:dave", "token:alice*", "token:bob*", "token:other"], description: Production. }
  - { name: root, effect: review, clusters: ["*"], callers: ["token:*"], users: ["*"], groups: [root], approvals: 2, approvers: ["token:carol", "token:carol-2", "token:dave"] }
"#;

async fn reviewed() -> TestApp {
    TestApp::with_policies(REVIEWED).await
}

/// Holds a request for a fresh key, and gives it back.
fn held(client: &Client, subject: &str) -> impl Future<Output = Value> {
    let pem = csr(subject);
    async move { client.sign("?cluster=prod", pem).await.expect(202) }
}

fn path(request: &Value, rest: &str) -> String {
    format!("/v1/requests/{}{rest}", request["id"].as_str().unwrap())
}

async fn post(client: &Client, request: &Value, rest: &str, body: &str) -> Answer {
    client.send(Method::POST, &path(request, rest), &[], body.as_bytes().to_vec()).await
}

async fn approve(client: &Client, request: &Value) -> Answer {
    post(client, request, "/approve", r#"{"comment": "sound"}"#).await
}

async fn deny(client: &Client, request: &Value) -> Answer {
    post(client, request, "/deny", r#"{"comment": "no"}"#).await
}

async fn collect(client: &Client, request: &Value) -> Answer {
    post(client, request, "/certificate", "").await
}

async fn withdraw(client: &Client, request: &Value) -> Answer {
    client.send(Method::DELETE, &path(request, ""), &[], Vec::new()).await
}

async fn status(client: &Client, request: &Value) -> String {
    client.get(&path(request, "")).await.expect(200)["status"].as_str().unwrap().to_owned()
}

/// The kinds of the last events, the oldest first.
async fn last_events(app: &TestApp, auditor: &Client, count: usize) -> Vec<String> {
    app.app.refresh().await.unwrap();
    let events = auditor.get(&format!("/v1/audit?limit={count}")).await.expect(200);
    let kinds = events["items"].as_array().unwrap().iter().rev();
    kinds.map(|event| event["kind"].as_str().unwrap().to_owned()).collect()
}

/// Whether the ledger still has the CSR of a request.
async fn keeps_csr(app: &TestApp, request: &Value) -> bool {
    let id = countersign::store::HeldId::parse(request["id"].as_str().unwrap()).unwrap();
    app.app.store.request(id, app.app.clock.now()).await.unwrap().unwrap().csr.is_some()
}

#[tokio::test]
async fn a_request_is_held_approved_and_collected() {
    let app = reviewed().await;
    let (alice, carol, auditor) = (app.alice().await, app.approver("carol").await, app.auditor().await);
    let answer = alice.sign("?cluster=prod&reason=on+call", csr("/CN=alice/O=ops")).await;
    let location = answer.header("location").to_owned();
    assert_eq!(answer.header("retry-after"), "5");
    let request = answer.expect(202);
    assert_eq!(location, path(&request, ""));
    assert_eq!(
        (&request["status"], &request["lifetime"], &request["lapses_at"], &request["reason"]),
        (&json!("pending"), &json!("2h"), &json!("2026-06-01T10:00:00Z"), &json!("on call"))
    );
    let row = json!({"policy": "ops", "description": "Production.", "wanted": 1, "given": 0});
    assert_eq!(request["reviews"], json!([row]));
    collect(&alice, &request).await.refused(409, "request_not_approved");
    assert!(auditor.get("/v1/certificates").await.expect(200)["items"].as_array().unwrap().is_empty());

    let approved = approve(&carol, &request).await.expect(200);
    assert_eq!((&approved["status"], &approved["reviews"][0]["given"]), (&json!("approved"), &json!(1)));
    assert_eq!(approved["approvals"][0]["approver"], "token:carol");
    assert_eq!(approved["approvals"][0]["comment"], "sound");
    app.at(600);
    let issued = collect(&alice, &request).await;
    assert!(issued.header("location").starts_with("/v1/certificates/"));
    let issued = issued.expect(201);
    assert_eq!(issued["not_after"], "2026-06-01T11:10:00Z", "the lifetime begins when it is collected");
    assert_eq!((&issued["user"], &issued["groups"]), (&json!("alice"), &json!(["ops"])));
    assert_eq!(issued["policies"], json!(["ops", "people"]), "the review row decided too");

    let after = alice.get(&location).await.expect(200);
    assert_eq!(after["status"], "collected");
    assert_eq!(after["closed"]["serial"], issued["serial"]);
    assert!(!keeps_csr(&app, &request).await);
    let again = collect(&alice, &request).await;
    assert_eq!(again.header("idempotency-replayed"), "true");
    assert_eq!(again.expect(200)["serial"], issued["serial"]);
    let kinds = ["request.held", "request.approved", "certificate.issued", "request.collected"];
    assert_eq!(last_events(&app, &auditor, 4).await, kinds);
}

#[tokio::test]
async fn what_is_collected_comes_in_every_form() {
    let app = reviewed().await;
    let (alice, carol) = (app.alice().await, app.approver("carol").await);
    let request = held(&alice, "/CN=alice/O=ops").await;
    approve(&carol, &request).await.expect(200);
    let yaml = [("accept", "application/yaml")];
    let collect = path(&request, "/certificate?key_path=my.key");
    let kubeconfig = alice.send(Method::POST, &collect, &yaml, Vec::new()).await;
    assert_eq!(kubeconfig.status, 201);
    assert!(kubeconfig.text().contains("my.key"), "{}", kubeconfig.text());
    let pem = alice.send(Method::POST, &path(&request, "/certificate?format=pem"), &[], Vec::new()).await;
    assert_eq!((pem.status.as_u16(), pem.header("idempotency-replayed")), (200, "true"));
    let html = [("accept", "text/html")];
    alice.send(Method::POST, &collect, &html, Vec::new()).await.refused(406, "not_acceptable");
}

#[tokio::test]
async fn who_may_see_a_request() {
    let app = reviewed().await;
    let (alice, bob, auditor) = (app.alice().await, app.bob().await, app.auditor().await);
    let (carol, eve) = (app.approver("carol").await, app.approver("eve").await);
    let request = held(&alice, "/CN=alice/O=ops").await;
    for client in [&alice, &carol, &auditor] {
        assert_eq!(status(client, &request).await, "pending");
        let list = client.get("/v1/requests").await.expect(200);
        assert_eq!(list["items"][0]["id"], request["id"]);
    }
    for client in [&bob, &eve] {
        client.get(&path(&request, "")).await.refused(404, "not_found");
        assert_eq!(client.get("/v1/requests").await.expect(200)["items"], json!([]));
    }
    approve(&eve, &request).await.refused(404, "not_found");
    deny(&eve, &request).await.refused(404, "not_found");
    withdraw(&bob, &request).await.refused(404, "not_found");
    collect(&bob, &request).await.refused(404, "not_found");
    for (client, rest) in [(&alice, "/approve"), (&auditor, "/approve"), (&carol, "/certificate")] {
        post(client, &request, rest, "").await.refused(403, "role_missing");
    }
    alice.get("/v1/requests/x").await.refused(400, "parameter_invalid");
    alice.get("/v1/requests?status=waiting").await.refused(400, "parameter_invalid");
    alice.get("/v1/requests?cluster=prd").await.refused(400, "cluster_unknown");
}

#[tokio::test]
async fn requests_are_listed_by_page_and_filter() {
    let app = reviewed().await;
    let (alice, bob, carol) = (app.alice().await, app.bob().await, app.approver("carol").await);
    let auditor = app.auditor().await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(held(&alice, "/CN=alice/O=ops").await["id"].clone());
    }
    let other = held(&bob, "/CN=bob/O=ops").await;
    deny(&carol, &other).await.expect(200);
    let ids_of = |list: &Value| -> Vec<Value> {
        list["items"].as_array().unwrap().iter().map(|item| item["id"].clone()).collect()
    };
    let first = alice.get("/v1/requests?limit=2").await.expect(200);
    assert_eq!(ids_of(&first), [ids[2].clone(), ids[1].clone()]);
    let next = format!("/v1/requests?limit=2&cursor={}", first["next_cursor"].as_str().unwrap());
    let second = alice.get(&next).await.expect(200);
    assert_eq!(ids_of(&second), [ids[0].clone()]);
    assert_eq!(second["next_cursor"], Value::Null);
    for (query, expected) in [
        ("?status=open", 3),
        ("?status=denied", 1),
        ("?user=bob", 1),
        ("?caller=token:alice", 3),
        ("?cluster=test", 0),
        ("", 4),
    ] {
        let list = auditor.get(&format!("/v1/requests{query}")).await.expect(200);
        assert_eq!(ids_of(&list).len(), expected, "{query}");
    }
    assert!(ids_of(&alice.get("/v1/requests?caller=token:bob").await.expect(200)).is_empty());
    auditor.get(&format!("/v1/requests?cursor={}", first["next_cursor"].as_str().unwrap())).await.expect(200);
    auditor.get("/v1/requests?cursor=x").await.refused(400, "cursor_invalid");
}
