//! A portal that brings the person's own token.

use std::path::Path;

use countersign::auth::AuthSettings;
use serde_json::{Value, json};

use super::settings;
use crate::app::{Answer, Client, TestApp};
use crate::csr::Key;
use crate::issuer::{IDP, alice, claims, with};

const POLICIES: &str = r#"
policies:
  - { name: proven, effect: allow, clusters: [prod], callers: ["token:portal"], on_behalf_of: ["*"], users: ["{on_behalf_of}"],
      groups: ["{on_behalf_of.groups}", "proven"], proof: true, max_ttl: 8h }
  - { name: said, effect: allow, clusters: [prod], callers: ["token:portal"], on_behalf_of: ["*"], users: ["{on_behalf_of}"],
      groups: ["said"], max_ttl: 1h }
  - { name: no-interns, effect: deny, clusters: [prod], callers: ["token:portal"], on_behalf_of: ["*"], users: ["intern-*"],
      groups: ["{on_behalf_of.groups}"] }
"#;

/// The source of [`super::settings`], which proves persons.
pub fn proving(folder: &Path) -> AuthSettings {
    let mut settings = settings(folder);
    settings.oidc.iter_mut().for_each(|source| source.proves_persons = true);
    settings
}

async fn app() -> TestApp {
    TestApp::with_ways(POLICIES, proving).await
}

async fn sign(client: &Client, query: &str, token: Option<&str>, subject: &str) -> Answer {
    sign_with(client, query, token, &Key::p256(), subject, &[]).await
}

async fn sign_with(
    client: &Client,
    query: &str,
    token: Option<&str>,
    key: &Key,
    subject: &str,
    more: &[(&str, &str)],
) -> Answer {
    let mut headers = more.to_vec();
    headers.extend(token.map(|token| ("on-behalf-of-token", token)));
    let path = format!("/v1/sign?cluster=prod{query}");
    client.send(axum::http::Method::POST, &path, &headers, key.csr(subject).into_bytes()).await
}

fn person(claims: &Value) -> String {
    IDP.token(claims)
}

#[tokio::test]
async fn the_persons_own_token_opens_what_wants_proof_and_is_on_record() {
    let app = app().await;
    let portal = app.portal().await;
    let token = person(&alice());
    for query in ["&on_behalf_of=alice", ""] {
        let issued = sign(&portal, query, Some(&token), "/CN=alice/O=dev").await.expect(201);
        assert_eq!((&issued["on_behalf_of"], &issued["policies"]), (&json!("alice"), &json!(["proven"])));
    }
    let bearer = format!("Bearer {token}");
    sign(&portal, "", Some(&bearer), "/CN=alice/O=proven").await.expect(201);
    sign(&portal, "&on_behalf_of=alice", None, "/CN=alice/O=said").await.expect(201);
    let rows = portal.get("/v1/certificates").await.expect(200)["items"].as_array().unwrap().clone();
    let proven: Vec<_> = rows.iter().map(|row| row["on_behalf_of_proof"].as_bool().unwrap()).collect();
    assert_eq!(proven, [false, true, true, true]);
    let events = app.auditor().await.get("/v1/audit?kind=certificate.issued").await.expect(200);
    assert_eq!(events["items"][1]["detail"]["on_behalf_of_proof"]["subject"], "1234");
    assert_eq!(events["items"][0]["detail"], Value::Null);
}

#[tokio::test]
async fn without_the_token_nothing_that_wants_proof_is_given() {
    let app = app().await;
    let portal = app.portal().await;
    for group in ["dev", "proven"] {
        let refused = sign(&portal, "&on_behalf_of=alice", None, &format!("/CN=alice/O={group}")).await;
        let problem = refused.refused(403, "policy_denied");
        if group == "proven" {
            assert!(
                problem["violations"][0]["reason"].as_str().unwrap().contains("On-Behalf-Of-Token"),
                "{problem}"
            );
        }
    }
    let token = person(&alice());
    sign(&portal, "", Some(&token), "/CN=alice/O=admins").await.refused(403, "policy_denied");
    sign(&portal, "", Some(&token), "/CN=bob/O=dev").await.refused(403, "policy_denied");
}

#[tokio::test]
async fn a_refusal_says_whether_the_person_was_proven() {
    let app = app().await;
    let portal = app.portal().await;
    let token = person(&alice());
    sign(&portal, "", Some(&token), "/CN=alice/O=admins").await.refused(403, "policy_denied");
    sign(&portal, "&on_behalf_of=alice", None, "/CN=alice/O=admins").await.refused(403, "policy_denied");
    sign(&portal, "&on_behalf_of=bob", Some(&token), "/CN=bob").await.refused(403, "proof_not_accepted");
    sign(&portal, "", Some(&token), "/CN=alice/CN=bob").await.expect(422);
    let rows = portal.get("/v1/refusals").await.expect(200)["items"].as_array().unwrap().clone();
    let proven: Vec<_> = rows.iter().map(|row| row["on_behalf_of_proof"].as_bool().unwrap()).collect();
    assert_eq!(proven, [true, false, false, true]);
    let csv = portal.get("/v1/refusals?format=csv").await;
    let head = csv.text().lines().next().unwrap();
    assert!(head.contains(",on_behalf_of,on_behalf_of_proof,reason,"), "{head}");
    let users = app.auditor().await.get("/v1/users/alice").await.expect(200);
    assert_eq!(users["latest_refusals"][1]["on_behalf_of_proof"], true);
}

#[tokio::test]
async fn a_group_that_is_not_shown_counts_in_a_deny_row() {
    let app = app().await;
    let portal = app.portal().await;
    let query = "&on_behalf_of=intern-1";
    sign(&portal, query, None, "/CN=intern-1/O=said").await.refused(403, "policy_denied");
    let token = person(&with(&claims("intern-1", "9"), "groups", json!(["other"])));
    sign(&portal, query, Some(&token), "/CN=intern-1/O=said").await.expect(201);
}

#[tokio::test]
async fn a_token_that_does_not_hold_or_is_of_another_is_refused_and_recorded() {
    let app = app().await;
    let portal = app.portal().await;
    let good = person(&alice());
    let expired = person(&with(&alice(), "exp", 1_780_304_399));
    for (query, token) in [
        ("&on_behalf_of=bob", good.as_str()),
        ("&on_behalf_of=alice", "x.y.z"),
        ("", &expired),
        ("", &good[..good.len() - 4]),
        ("", &person(&with(&alice(), "aud", "other"))),
    ] {
        let refused = sign(&portal, query, Some(token), "/CN=alice/O=dev").await;
        refused.refused(403, "proof_not_accepted");
    }
    let recorded = portal.get("/v1/refusals?code=proof_not_accepted").await.expect(200);
    assert_eq!(recorded["items"].as_array().unwrap().len(), 5);
    let robot = app.client("robot", &["requester"], false).await;
    sign(&robot, "", Some(&good), "/CN=alice").await.refused(403, "on_behalf_of_not_allowed");
    let two = [("on-behalf-of-token", good.as_str()), ("on-behalf-of-token", good.as_str())];
    sign_with(&portal, "", None, &Key::p256(), "/CN=alice", &two).await.refused(400, "parameter_invalid");
}

#[tokio::test]
async fn a_source_that_proves_nobody_proves_nobody() {
    let app = TestApp::with_ways(POLICIES, settings).await;
    let portal = app.portal().await;
    let refused = sign(&portal, "", Some(&person(&alice())), "/CN=alice/O=dev").await;
    refused.refused(403, "proof_not_accepted");
}

#[tokio::test]
async fn a_name_that_is_anothers_proves_nobody() {
    let app = app().await;
    let portal = app.portal().await;
    sign(&portal, "", Some(&person(&alice())), "/CN=alice/O=dev").await.expect(201);
    let refused = sign(&portal, "", Some(&person(&claims("alice", "5678"))), "/CN=alice/O=dev").await;
    refused.refused(403, "proof_not_accepted");
}

#[tokio::test]
async fn the_same_wish_without_its_proof_is_another_wish() {
    let app = app().await;
    let portal = app.portal().await;
    let (key, token) = (Key::p256(), person(&alice()));
    let keyed = [("idempotency-key", "k")];
    let query = "&on_behalf_of=alice";
    let first = sign_with(&portal, query, Some(&token), &key, "/CN=alice/O=dev", &keyed).await.expect(201);
    let again = sign_with(&portal, query, Some(&token), &key, "/CN=alice/O=dev", &keyed).await.expect(200);
    assert_eq!(first["serial"], again["serial"]);
    let bare = sign_with(&portal, query, None, &key, "/CN=alice/O=dev", &keyed).await;
    bare.refused(422, "idempotency_key_reused");
}

#[tokio::test]
async fn a_form_is_told_that_a_row_wants_proof() {
    let app = app().await;
    let whoami = app.portal().await.get("/v1/whoami").await.expect(200);
    let rows = whoami["permissions"][0]["rows"].as_array().unwrap();
    let proof: Vec<_> =
        rows.iter().map(|row| (row["policy"].as_str().unwrap(), row["proof"] == true)).collect();
    assert_eq!(proof, [("proven", true), ("said", false)]);
}

#[tokio::test]
async fn a_dry_run_takes_no_name_for_the_person() {
    let app = app().await;
    let portal = app.portal().await;
    sign(&portal, "&dry_run=true", Some(&person(&alice())), "/CN=alice/O=dev").await.expect(200);
    let auditor = app.auditor().await;
    let bound = auditor.get("/v1/identities").await.expect(200);
    assert_eq!(bound["items"], json!([]));
    sign(&portal, "", Some(&person(&alice())), "/CN=alice/O=dev").await.expect(201);
    let events = auditor.get("/v1/audit?kind=identity.bound").await.expect(200);
    assert_eq!(events["items"][0]["caller"], "token:portal", "who brought the token");
}

#[tokio::test]
async fn tries_of_tokens_in_dry_runs_are_bounded_too() {
    let app = TestApp::with_refusals(2).await.knowing(proving);
    let portal = app.portal().await;
    let wrong = person(&with(&alice(), "aud", "grafana"));
    for expected in [403, 403, 429] {
        let answer = sign(&portal, "&dry_run=true", Some(&wrong), "/CN=alice/O=dev").await;
        assert_eq!(answer.status.as_u16(), expected, "{}", answer.text());
    }
}
