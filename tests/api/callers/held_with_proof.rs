//! Requests that wait for people, with the person's own token beside them.

use axum::http::Method;
use serde_json::{Value, json};

use super::on_behalf_of;
use crate::app::{Answer, Client, TestApp};
use crate::csr::csr;
use crate::issuer::{IDP, alice, claims, with};

const REVIEWED: &str = r#"
policies:
  - { name: proven, effect: allow, clusters: [prod], callers: ["token:portal"], on_behalf_of: ["*"], users: ["{on_behalf_of}"],
      groups: ["{on_behalf_of.groups}"], proof: true }
  - { name: said, effect: allow, clusters: [prod], callers: ["token:portal"], on_behalf_of: ["*"], users: ["{on_behalf_of}"],
      groups: ["said"] }
  - { name: robot, effect: allow, clusters: [prod], callers: ["token:portal"], users: [robot] }
  - { name: robot-for-people, effect: allow, clusters: [prod], callers: ["token:portal"], on_behalf_of: ["*"], users: [robot] }
  - { name: looked-at, effect: review, clusters: [prod], callers: ["token:portal"], users: ["*"], approvers: ["token:security", "token:alice"] }
"#;

async fn app() -> TestApp {
    TestApp::with_ways(REVIEWED, on_behalf_of::proving).await
}

async fn send(client: &Client, path: &str, token: Option<&str>, body: String) -> Answer {
    let headers: Vec<_> = token.map(|token| ("on-behalf-of-token", token)).into_iter().collect();
    client.send(Method::POST, path, &headers, body.into_bytes()).await
}

/// Holds a request of the portal for alice with this group.
async fn held(portal: &Client, token: Option<&str>, group: &str) -> Value {
    let body = csr(&format!("/CN=alice/O={group}"));
    send(portal, "/v1/sign?cluster=prod&on_behalf_of=alice", token, body).await.expect(202)
}

fn path(request: &Value, rest: &str) -> String {
    format!("/v1/requests/{}{rest}", request["id"].as_str().unwrap())
}

async fn approve(security: &Client, request: &Value) {
    send(security, &path(request, "/approve"), None, String::new()).await.expect(200);
}

async fn collect(portal: &Client, request: &Value, token: Option<&str>) -> Answer {
    send(portal, &path(request, "/certificate"), token, String::new()).await
}

#[tokio::test]
async fn an_approver_sees_whether_the_person_was_proven() {
    let app = app().await;
    let (portal, security) = (app.portal().await, app.approver("security").await);
    let proven = held(&portal, Some(&IDP.token(&alice())), "dev").await;
    let said = held(&portal, None, "said").await;
    for (request, proof) in [(&proven, true), (&said, false)] {
        assert_eq!(request["on_behalf_of_proof"], proof);
        let shown = security.get(&path(request, "")).await.expect(200);
        assert_eq!((&shown["on_behalf_of"], &shown["on_behalf_of_proof"]), (&json!("alice"), &json!(proof)));
    }
    let listed = security.get("/v1/requests").await.expect(200);
    let listed = listed["items"].as_array().unwrap();
    assert_eq!(
        (&listed[0]["on_behalf_of_proof"], &listed[1]["on_behalf_of_proof"]),
        (&json!(false), &json!(true))
    );
}

#[tokio::test]
async fn a_held_request_that_came_with_proof_is_collected_with_proof_and_keeps_its_approvals_meanwhile() {
    let app = app().await;
    let (portal, security) = (app.portal().await, app.approver("security").await);
    let token = IDP.token(&alice());
    for group in ["dev", "said"] {
        let request = held(&portal, Some(&token), group).await;
        approve(&security, &request).await;
        let bob = IDP.token(&claims("bob", "77"));
        let expired = IDP.token(&with(&alice(), "exp", 1_780_304_399));
        for wrong in [None, Some(bob.as_str()), Some(expired.as_str()), Some("x.y.z")] {
            collect(&portal, &request, wrong).await.refused(403, "proof_not_accepted");
        }
        assert_eq!(portal.get(&path(&request, "")).await.expect(200)["status"], "approved");
        let issued = collect(&portal, &request, Some(&token)).await.expect(201);
        let serial = issued["serial"].as_str().unwrap();
        let record = portal.get(&format!("/v1/certificates/{serial}")).await.expect(200);
        assert_eq!(record["on_behalf_of_proof"], true);
    }
    let refused = portal.get("/v1/refusals?code=proof_not_accepted").await.expect(200);
    assert_eq!(refused["items"].as_array().unwrap().len(), 8);
}

#[tokio::test]
async fn the_refusal_of_an_approval_says_whether_the_person_was_proven() {
    let app = app().await;
    let (portal, own) = (app.portal().await, app.approver("alice").await);
    for (token, group) in [(Some(IDP.token(&alice())), "dev"), (None, "said")] {
        let request = held(&portal, token.as_deref(), group).await;
        let refused = send(&own, &path(&request, "/approve"), None, String::new()).await;
        refused.refused(403, "approval_not_allowed");
    }
    let refusals = app.auditor().await.get("/v1/refusals?code=approval_not_allowed").await.expect(200);
    let proven: Vec<_> =
        refusals["items"].as_array().unwrap().iter().map(|row| &row["on_behalf_of_proof"]).collect();
    assert_eq!(proven, [false, true]);
}

#[tokio::test]
async fn a_name_that_was_given_to_somebody_else_collects_nothing_of_the_first() {
    let app = app().await;
    let portal = app.portal().await;
    let request = held(&portal, Some(&IDP.token(&alice())), "dev").await;
    approve(&app.approver("security").await, &request).await;
    let admin = app.admin().await;
    let released = admin.send(Method::DELETE, "/v1/identities/oidc:corp:alice", &[], Vec::new()).await;
    assert_eq!(released.status, 204);
    let second = IDP.token(&claims("alice", "5678"));
    let refused = collect(&portal, &request, Some(&second)).await.refused(403, "proof_not_accepted");
    assert!(refused["detail"].as_str().unwrap().contains("another subject"), "{refused}");
}

#[tokio::test]
async fn what_was_held_without_proof_is_collected_without() {
    let app = app().await;
    let portal = app.portal().await;
    let request = held(&portal, None, "said").await;
    approve(&app.approver("security").await, &request).await;
    let issued = collect(&portal, &request, None).await.expect(201);
    let record = portal.get(&format!("/v1/certificates/{}", issued["serial"].as_str().unwrap())).await;
    assert_eq!(record.expect(200)["on_behalf_of_proof"], false);
}

#[tokio::test]
async fn nobody_is_named_when_it_is_collected_who_was_not_named_when_it_was_approved() {
    let app = app().await;
    let (portal, own) = (app.portal().await, app.approver("alice").await);
    let request = send(&portal, "/v1/sign?cluster=prod", None, csr("/CN=robot")).await.expect(202);
    approve(&own, &request).await;
    let refused = collect(&portal, &request, Some(&IDP.token(&alice()))).await;
    refused.refused(403, "proof_not_accepted");
    let issued = collect(&portal, &request, None).await.expect(201);
    assert_eq!(issued["on_behalf_of"], Value::Null);
}
