//! Requests that wait for people, with the person's own token beside them.

use axum::http::Method;
use serde_json::{Value, json};

use super::on_behalf_of;
use crate::app::{Answer, Client, TestApp};
use crate::csr::csr;
use crate::issuer::{IDP, alice};

const REVIEWED: &str = r#"
policies:
  - { name: proven, effect: allow, clusters: [prod], callers: ["token:portal"], on_behalf_of: ["*"], users: ["{on_behalf_of}"],
      groups: ["{on_behalf_of.groups}"], proof: true }
  - { name: said, effect: allow, clusters: [prod], callers: ["token:portal"], on_behalf_of: ["*"], users: ["{on_behalf_of}"],
      groups: ["said"] }
  - { name: looked-at, effect: review, clusters: [prod], callers: ["token:portal"], users: ["*"], approvers: ["token:security"] }
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
