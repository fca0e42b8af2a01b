//! `POST /v1/sign` under rows that leave names out, are in force at certain hours, or give so many.

use serde_json::{Value, json};

use crate::app::{Answer, Client, TestApp};
use crate::csr::csr;

const HOUR: i64 = 3_600;

/// One row for `token:alice` and these fields, `people` by name.
async fn with_row(fields: &str) -> TestApp {
    let row = format!(
        "policies:\n  - {{ name: people, effect: allow, clusters: [prod], callers: [\"token:alice\"], {fields} }}\n"
    );
    TestApp::with_policies(&row).await
}

async fn sign(client: &Client, subject: &str) -> Answer {
    client.sign("?cluster=prod&ttl=1h", csr(subject)).await
}

/// The row and the sentence of the first violation of a refusal.
#[track_caller]
fn why(answer: Answer) -> (Value, String) {
    let problem = answer.refused(403, "policy_denied");
    let first = &problem["violations"][0];
    (first["rule"].clone(), first["reason"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_row_gives_so_many_certificates_at_a_time_and_says_when_to_come_back() {
    let app = with_row("users: [alice, bob], max_active: 2").await;
    let alice = app.alice().await;
    sign(&alice, "/CN=alice").await.expect(201);
    app.at(60);
    sign(&alice, "/CN=alice").await.expect(201);
    let reason = "policy `people` gives `alice` at most 2 certificates at a time: try again at 2026-06-01T10:00:01Z, \
                  when one has ended";
    assert_eq!(why(sign(&alice, "/CN=alice").await), (json!("people"), reason.to_owned()));
    sign(&alice, "/CN=bob").await.expect(201);
    app.at(HOUR);
    sign(&alice, "/CN=alice").await.refused(403, "policy_denied");
    app.at(HOUR + 1);
    sign(&alice, "/CN=alice").await.expect(201);
    let refusals = app.auditor().await.get("/v1/refusals").await.expect(200);
    assert_eq!(refusals["items"].as_array().unwrap().len(), 2);
    assert_eq!(refusals["items"][1]["violations"][0]["reason"], reason);
}

#[tokio::test]
async fn a_row_gives_so_many_certificates_an_hour() {
    let app = with_row("users: [alice], per_hour: 1, max_ttl: 10m").await;
    let alice = app.alice().await;
    sign(&alice, "/CN=alice").await.expect(201);
    app.at(1_200);
    let reason =
        "policy `people` gives `alice` at most 1 certificate an hour: try again at 2026-06-01T10:00:00Z";
    assert_eq!(why(sign(&alice, "/CN=alice").await), (json!("people"), reason.to_owned()));
    app.at(HOUR);
    sign(&alice, "/CN=alice").await.expect(201);
}

#[tokio::test]
async fn a_dry_run_counts_and_takes_nothing() {
    let app = with_row("users: [alice], max_active: 1").await;
    let alice = app.alice().await;
    let dry = || alice.sign("?cluster=prod&dry_run=true", csr("/CN=alice"));
    dry().await.expect(200);
    dry().await.expect(200);
    sign(&alice, "/CN=alice").await.expect(201);
    dry().await.refused(403, "policy_denied");
}

#[tokio::test]
async fn another_row_gives_what_the_first_may_not_give_any_more() {
    let app = TestApp::with_policies(
        "policies:
  - { name: few, effect: allow, clusters: [prod], callers: ['token:alice'], users: [alice], max_active: 1 }
  - { name: short, effect: allow, clusters: [prod], callers: ['token:alice'], users: [alice], max_ttl: 20m, max_active: 2 }
",
    )
    .await;
    let alice = app.alice().await;
    let mut given = Vec::new();
    for _ in 0..3 {
        given.push(sign(&alice, "/CN=alice").await.expect(201)["policies"].clone());
    }
    assert_eq!(given, [json!(["few"]), json!(["short"]), json!(["short"])]);
    sign(&alice, "/CN=alice").await.refused(403, "policy_denied");
}

#[tokio::test]
async fn a_limit_counts_what_was_issued_before_it_was_written() {
    let app = with_row("users: [alice]").await;
    let alice = app.alice().await;
    sign(&alice, "/CN=alice").await.expect(201);
    let row = "name: people, effect: allow, clusters: [prod], callers: ['token:alice'], users: [alice], max_active: 1";
    app.apply(&format!("policies: [{{ {row} }}]")).await;
    sign(&alice, "/CN=alice").await.refused(403, "policy_denied");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_at_once_get_no_more_than_the_limit() {
    let app = with_row("users: [alice], max_active: 3").await;
    let alice = std::sync::Arc::new(app.alice().await);
    let tasks: Vec<_> = (0..12)
        .map(|_| {
            let alice = std::sync::Arc::clone(&alice);
            tokio::spawn(async move { sign(&alice, "/CN=alice").await.status.as_u16() })
        })
        .collect();
    let mut statuses = Vec::new();
    for task in tasks {
        statuses.push(task.await.unwrap());
    }
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 3, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 403).count(), 9, "{statuses:?}");
}

#[tokio::test]
async fn a_replay_takes_nothing_of_a_limit() {
    let app = with_row("users: [alice], max_active: 1").await;
    let alice = app.alice().await;
    let pem = csr("/CN=alice");
    let send = async || {
        let headers = [("idempotency-key", "k"), ("content-type", "application/pkcs10")];
        alice
            .send(axum::http::Method::POST, "/v1/sign?cluster=prod", &headers, pem.clone().into_bytes())
            .await
    };
    send().await.expect(201);
    send().await.expect(200);
}

#[tokio::test]
async fn a_window_ends_the_lifetime_and_says_when_it_opens() {
    // It is Monday, 11:00 in Berlin.
    let app = with_row("users: [alice], when: ['mon-fri 08:00-11:45 Europe/Berlin']").await;
    let alice = app.alice().await;
    let issued = sign(&alice, "/CN=alice").await.expect(201);
    assert_eq!(issued["not_after"], "2026-06-01T09:45:00Z");
    let warning =
        "the lifetime was cut from 1h to 45m: policy `people` gives at most 45m, until its window ends";
    assert_eq!(issued["warnings"], json!([warning]));
    app.at(36 * 60);
    let reason = "the window of policy `people` ends in 9m, and no certificate lives under 10m".to_owned();
    assert_eq!(why(sign(&alice, "/CN=alice").await), (json!("people"), reason));
    app.at(45 * 60);
    let reason = "policy `people` gives `alice` only mon-fri 08:00-11:45 Europe/Berlin: try again at 2026-06-02T06:00:00Z";
    assert_eq!(why(sign(&alice, "/CN=alice").await), (json!("people"), reason.to_owned()));
    let who = alice.get("/v1/whoami").await.expect(200);
    assert_eq!(who["permissions"], json!([]), "nothing may be asked for now");
}

#[tokio::test]
async fn what_a_row_leaves_out_is_told_to_whom_it_speaks_of() {
    let app = with_row("users: [alice], groups: ['team-*'], except_groups: ['team-root']").await;
    let alice = app.alice().await;
    sign(&alice, "/CN=alice/O=team-a").await.expect(201);
    let reason = "policy `people` leaves out the group `team-root`".to_owned();
    assert_eq!(why(sign(&alice, "/CN=alice/O=team-root").await), (json!("people"), reason));
    let who = alice.get("/v1/whoami").await.expect(200);
    assert_eq!(who["permissions"][0]["except_groups"], json!(["team-root"]));
    let bob = app.bob().await;
    assert_eq!(why(sign(&bob, "/CN=alice/O=team-root").await).0, Value::Null);
}

#[tokio::test]
async fn a_token_shows_none_of_the_groups_that_a_row_wants() {
    let app = TestApp::with_policies(
        "policies:
  - { name: all, effect: allow, clusters: ['*'], callers: ['token:*'], users: [alice] }
  - { name: on-call, effect: allow, clusters: [prod], callers: ['token:*'], users: [bob], required_groups: ['group:corp:on-call'] }
  - { name: outside, effect: deny, clusters: [test], callers: ['token:*'], users: ['*'], required_groups: ['group:corp:contractors'] }
",
    )
    .await;
    let alice = app.alice().await;
    sign(&alice, "/CN=alice").await.expect(201);
    let reason = "policy `on-call` gives `bob` only with group:corp:on-call, which this caller's credential does not show";
    assert_eq!(why(sign(&alice, "/CN=bob").await), (json!("on-call"), reason.to_owned()));
    let denied = alice.sign("?cluster=test", csr("/CN=alice")).await;
    assert_eq!(why(denied), (Value::Null, "denied by policy".to_owned()), "it may be in it");
}

#[tokio::test]
async fn a_row_comes_back_as_it_was_written() {
    let row = json!({
        "name": "a", "effect": "allow", "clusters": ["prod"], "callers": ["token:alice"], "users": ["*"],
        "groups": ["*"], "except_users": ["root*"], "except_groups": ["admins"],
        "required_groups": ["group:corp:on-call"], "when": ["mon-fri 08:00-18:00 Europe/Berlin"],
        "max_active": 3, "per_hour": 10,
    });
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let put = async |rows: Value| {
        let tag = admin.get("/v1/policies").await.header("etag").to_owned();
        let headers = [("if-match", tag.as_str()), ("content-type", "application/json")];
        let body = json!({ "policies": rows }).to_string().into_bytes();
        admin.send(axum::http::Method::PUT, "/v1/policies", &headers, body).await
    };
    put(json!([row])).await.expect(200);
    assert_eq!(admin.get("/v1/policies/a").await.expect(200), row);
    for (field, value) in [
        ("except_users", json!([])),
        ("required_groups", json!(["dev"])),
        ("when", json!(["weekdays"])),
        ("max_active", json!(0)),
        ("per_hour", json!(0)),
    ] {
        let mut wrong = row.clone();
        wrong[field] = value;
        let problem = put(json!([wrong])).await.refused(422, "policy_invalid");
        assert!(problem["detail"].as_str().unwrap().contains(field), "{problem}");
    }
}
