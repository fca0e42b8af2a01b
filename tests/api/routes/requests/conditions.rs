//! Rows with conditions, where a request waits for people: windows, limits, what a credential shows.

use axum::http::Method;
use serde_json::{Value, json};

use super::{approve, collect, held, status};
use crate::app::{Client, TestApp};
use crate::csr::csr;

/// `ops` waits for `token:carol` as the fields of `review` say; `allow` stands on the row that gives it.
fn policies(allow: &str, review: &str) -> String {
    format!(
        r#"
policies:
  - {{ name: people, effect: allow, clusters: ["*"], callers: ["token:alice"], users: ["{{caller}}"], groups: [ops], {allow} }}
  - {{ name: ops, effect: review, clusters: ["*"], callers: ["token:*"], users: ["*"], groups: [ops], approvers: ["token:carol"], {review} }}
"#
    )
}

async fn with(allow: &str, review: &str) -> (TestApp, Client, Client) {
    let app = TestApp::with_policies(&policies(allow, review)).await;
    let (alice, carol) = (app.alice().await, app.approver("carol").await);
    (app, alice, carol)
}

/// What an auditor is told of alice who asks for `ops`.
async fn evaluated(auditor: &Client) -> Value {
    let body = json!({"caller": "token:alice", "user": "alice", "groups": ["ops"], "cluster": "prod"});
    auditor.send(Method::POST, "/v1/policies/evaluate", &[], body.to_string().into_bytes()).await.expect(200)
}

#[tokio::test]
async fn an_evaluation_says_what_holds_and_for_how_long_it_would_be() {
    let (app, alice, _) = with("max_ttl: 8h", "max_ttl: 2h").await;
    let told = evaluated(&app.auditor().await).await;
    assert_eq!(told["outcome"], "held");
    let claims = told["claims"].as_array().unwrap();
    let group = claims.iter().find(|claim| claim["value"] == "ops").unwrap();
    assert_eq!((&group["outcome"], &group["held_by"]), (&json!("held"), &json!(["ops"])));
    let request = held(&alice, "/CN=alice/O=ops").await;
    assert_eq!(request["lifetime"], "2h");
    let lifetime = &told["lifetime"];
    assert_eq!((&lifetime["set_by"], &lifetime["policies"]), (&json!("policies"), &json!(["ops"])), "{told}");
}

#[tokio::test]
async fn a_review_row_holds_in_its_window_only() {
    let (app, alice, _) = with("max_ttl: 8h", "when: ['mon-fri 08:00-10:00 UTC']").await;
    let auditor = app.auditor().await;
    held(&alice, "/CN=alice/O=ops").await;
    assert_eq!(evaluated(&auditor).await["outcome"], "held");
    app.at(3_600);
    alice.sign("?cluster=prod", csr("/CN=alice/O=ops")).await.expect(201);
    assert_eq!(evaluated(&auditor).await["outcome"], "allowed");
}

#[tokio::test]
async fn a_review_row_whose_window_ends_before_it_is_collected_voids_what_was_approved() {
    let (app, alice, carol) = with("max_ttl: 8h", "when: ['mon-fri 08:00-09:30 UTC']").await;
    let request = held(&alice, "/CN=alice/O=ops").await;
    approve(&carol, &request).await.expect(200);
    app.at(1_800);
    collect(&alice, &request).await.refused(409, "request_voided");
    assert_eq!(status(&alice, &request).await, "voided");
}

#[tokio::test]
async fn what_was_approved_is_refused_once_the_window_of_its_allow_row_is_over() {
    let (app, alice, carol) = with("when: ['mon-fri 08:00-09:30 UTC']", "max_ttl: 8h").await;
    let request = held(&alice, "/CN=alice/O=ops").await;
    assert_eq!(request["lifetime"], "30m", "it ends with the window");
    approve(&carol, &request).await.expect(200);
    app.at(1_800);
    collect(&alice, &request).await.refused(403, "policy_denied");
    assert_eq!(status(&alice, &request).await, "voided");
}

#[tokio::test]
async fn a_review_row_of_groups_that_a_token_cannot_show_holds_it() {
    let (_app, alice, carol) = with("max_ttl: 8h", "required_groups: ['group:corp:contractors']").await;
    let request = held(&alice, "/CN=alice/O=ops").await;
    approve(&carol, &request).await.expect(200);
    collect(&alice, &request).await.expect(201);
}

#[tokio::test]
async fn what_a_review_row_leaves_out_is_signed_at_once() {
    let (_app, alice, _) = with("max_ttl: 8h", "except_users: [alice]").await;
    alice.sign("?cluster=prod", csr("/CN=alice/O=ops")).await.expect(201);
}

#[tokio::test]
async fn a_limit_counts_what_is_collected_and_not_what_waits() {
    for limit in ["max_active: 1", "per_hour: 1"] {
        let (_app, alice, carol) = with(limit, "max_ttl: 8h").await;
        let (first, second) = (held(&alice, "/CN=alice/O=ops").await, held(&alice, "/CN=alice/O=ops").await);
        for request in [&first, &second] {
            approve(&carol, request).await.expect(200);
        }
        collect(&alice, &first).await.expect(201);
        collect(&alice, &second).await.refused(403, "policy_denied");
        assert_eq!(status(&alice, &second).await, "voided", "{limit}");
        alice.sign("?cluster=prod", csr("/CN=alice/O=ops")).await.refused(403, "policy_denied");
    }
}

#[tokio::test]
async fn of_two_who_collect_at_once_a_limit_of_one_lets_one_through() {
    let (app, alice, carol) = with("max_active: 1", "max_ttl: 8h").await;
    let (first, second) = (held(&alice, "/CN=alice/O=ops").await, held(&alice, "/CN=alice/O=ops").await);
    for request in [&first, &second] {
        approve(&carol, request).await.expect(200);
    }
    let (one, other) = tokio::join!(collect(&alice, &first), collect(&alice, &second));
    let mut codes = [one.status.as_u16(), other.status.as_u16()];
    codes.sort_unstable();
    assert_eq!(codes, [201, 403]);
    let issued = app.auditor().await.get("/v1/certificates").await.expect(200);
    assert_eq!(issued["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn requests_that_wait_are_counted() {
    let (app, alice, carol) = with("max_ttl: 8h", "max_ttl: 8h").await;
    let pending = async || {
        app.app.lapse_requests().await;
        let text = app.app.metrics.render();
        let line = text.lines().find_map(|line| line.strip_prefix("countersign_requests_pending "));
        line.unwrap().to_owned()
    };
    assert_eq!(pending().await, "0");
    let request = held(&alice, "/CN=alice/O=ops").await;
    held(&alice, "/CN=alice/O=ops").await;
    assert_eq!(pending().await, "2");
    approve(&carol, &request).await.expect(200);
    assert_eq!(pending().await, "1");
    app.at(3_600);
    assert_eq!(pending().await, "0");
}
