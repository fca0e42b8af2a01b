//! `POST /v1/policies/evaluate`.

use axum::http::Method;
use serde_json::{Value, json};

use crate::app::{Answer, Client, TestApp};
use crate::csr::{Key, csr};

async fn evaluate(client: &Client, body: &Value) -> Answer {
    client.send(Method::POST, "/v1/policies/evaluate", &[], body.to_string().into_bytes()).await
}

fn of<'a>(told: &'a Value, value: &str) -> &'a Value {
    told["claims"].as_array().unwrap().iter().find(|claim| claim["value"] == value).expect(value)
}

fn names(rows: &Value) -> Vec<&str> {
    rows.as_array().unwrap().iter().map(|row| row["policy"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn an_admin_sees_every_row_and_on_which_field_it_fails() {
    let app = TestApp::new().await;
    app.alice().await;
    let asked =
        json!({"caller": "token:alice", "user": "alice", "groups": ["dev", "admins"], "cluster": "prod"});
    for reader in [app.admin().await, app.auditor().await] {
        let told = evaluate(&reader, &asked).await.expect(200);
        assert_eq!((&told["outcome"], &told["code"]), (&json!("refused"), &json!("policy_denied")));
        assert_eq!(told["key"], "p-256");
        assert_eq!(told["lifetime"], Value::Null);
        assert_eq!(told["policies"], json!([]));
        let dev = of(&told, "dev");
        assert_eq!((&dev["outcome"], &dev["policies"]), (&json!("allowed"), &json!(["people"])));
        assert_eq!(dev["max_ttl"], "8h");
        assert_eq!(names(&dev["rows"]), ["people", "no-admins", "portal"]);
        assert_eq!(dev["rows"][0]["matches"], true);
        assert_eq!(dev["rows"][1]["fails_on"], json!(["groups"]));
        assert_eq!(dev["rows"][2]["fails_on"], json!(["callers", "on_behalf_of", "users"]));
        let admins = of(&told, "admins");
        assert_eq!((&admins["outcome"], &admins["policies"]), (&json!("denied"), &json!(["no-admins"])));
        assert_eq!(told["violations"][0]["rule"], "no-admins");
        assert_eq!(told["warnings"], json!([]));
    }
}

#[tokio::test]
async fn what_would_be_issued_is_what_is_issued() {
    let app = TestApp::new().await;
    let alice = app.alice().await;
    let asked = json!({"user": "alice", "groups": ["dev"], "cluster": "prod", "ttl": "20h"});
    let told = evaluate(&alice, &asked).await.expect(200);
    let issued = alice.sign("?cluster=prod&ttl=20h", csr("/CN=alice/O=dev")).await.expect(201);
    assert_eq!(told["outcome"], "allowed");
    let lifetime = &told["lifetime"];
    for (one, other) in [
        (&lifetime["not_before"], &issued["not_before"]),
        (&lifetime["not_after"], &issued["not_after"]),
        (&told["policies"], &issued["policies"]),
        (&told["policy_revision"], &issued["policy_revision"]),
        (&told["warnings"], &issued["warnings"]),
        (&told["groups"], &issued["groups"]),
    ] {
        assert_eq!(one, other);
    }
    assert_eq!(lifetime["set_by"], "policies");
    assert_eq!(lifetime["policies"], json!(["people"]));
    assert_eq!((&lifetime["asked"], &lifetime["given"]), (&json!("20h"), &json!("8h")));
}

#[tokio::test]
async fn what_sets_the_lifetime_is_said() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let set_by = async |caller: &str, ttl: Value| {
        let asked = json!({"caller": caller, "user": "alice", "cluster": "prod", "ttl": ttl, "on_behalf_of":
            if caller == "token:portal" { json!("alice") } else { Value::Null }});
        evaluate(&admin, &asked).await.expect(200)["lifetime"]["set_by"].clone()
    };
    assert_eq!(set_by("token:alice", json!(3_600)).await, "request");
    assert_eq!(set_by("token:alice", Value::Null).await, "default");
    assert_eq!(set_by("token:alice", json!("9h")).await, "policies");
    assert_eq!(set_by("token:portal", json!("30d")).await, "cluster");
}

#[tokio::test]
async fn a_refusal_a_dry_run_and_an_evaluation_say_the_same() {
    let app = TestApp::new().await;
    let alice = app.alice().await;
    let asked = |groups: Value| json!({"user": "alice", "groups": groups, "cluster": "prod"});
    let told = evaluate(&alice, &asked(json!(["ops", "admins"]))).await.expect(200);
    let refused =
        alice.sign("?cluster=prod", csr("/CN=alice/O=ops/O=admins")).await.refused(403, "policy_denied");
    assert_eq!(told["violations"], refused["violations"]);
    assert_eq!((&told["code"], &told["detail"]), (&refused["code"], &refused["detail"]));
    let considered = &refused["violations"][0]["considered"];
    assert_eq!(*considered, json!([{"policy": "people", "fails_on": ["groups"]}]));
    assert_eq!(refused["violations"][1].get("considered"), None, "a deny row decided");
    let told = evaluate(&alice, &asked(json!(["dev"]))).await.expect(200);
    let preview = alice.sign("?cluster=prod&dry_run=true", csr("/CN=alice/O=dev")).await.expect(200);
    assert_eq!(told["claims"], preview["claims"]);
    assert_eq!(told["lifetime"], preview["lifetime"]);
    assert_eq!(told["policies"], preview["policies"]);
}

#[tokio::test]
async fn a_requester_asks_for_itself_and_sees_its_own_rows() {
    let app = TestApp::with_policies(
        r#"
policies:
  - { name: people, effect: allow, clusters: ["*"], callers: ["token:alice", "token:bob"], users: ["{caller}"], groups: ["*"] }
  - { name: off, effect: allow, clusters: ["*"], callers: ["token:alice"], users: ["*"], enabled: false }
  - { name: portal, effect: allow, clusters: [prod], callers: ["token:portal"], users: ["alice"], groups: [dev] }
  - { name: hidden, effect: deny, clusters: ["*"], callers: ["token:*"], users: ["*"], groups: [root] }
  - { name: shown, effect: deny, clusters: ["*"], callers: ["token:*"], users: ["*"], groups: [admins], explain: true }
"#,
    )
    .await;
    let alice = app.alice().await;
    let asked = json!({"user": "alice", "groups": ["dev", "root", "admins"], "cluster": "prod"});
    let told = evaluate(&alice, &asked).await.expect(200);
    assert_eq!(names(&of(&told, "dev")["rows"]), ["people"]);
    let root = of(&told, "root");
    assert_eq!((&root["outcome"], &root["policies"]), (&json!("denied"), &json!([])));
    assert_eq!(names(&root["rows"]), ["people"]);
    assert_eq!(of(&told, "admins")["policies"], json!(["shown"]));
    assert!(!told.to_string().contains("hidden") && !told.to_string().contains("portal"), "{told}");
    let named = json!({"caller": "token:alice", "user": "alice", "cluster": "prod"});
    assert_eq!(evaluate(&alice, &named).await.expect(200)["caller"], "token:alice");
    let another = json!({"caller": "token:bob", "user": "bob", "cluster": "prod"});
    evaluate(&alice, &another).await.refused(403, "role_missing");
    let refusals = app.auditor().await.get("/v1/refusals?code=role_missing").await.expect(200);
    assert_eq!(refusals["items"].as_array().unwrap().len(), 1, "asking for another is on record");
    let groups = json!({"caller": "token:alice", "caller_groups": ["group:corp:x"], "user": "alice", "cluster": "prod"});
    evaluate(&alice, &groups).await.refused(400, "parameter_invalid");
    let person = json!({"user": "alice", "on_behalf_of": "bob", "cluster": "prod"});
    evaluate(&alice, &person).await.refused(403, "on_behalf_of_not_allowed");
}

#[tokio::test]
async fn a_caller_that_cannot_be_here_is_asked_about_with_its_groups() {
    let row = r#"policies: [{ name: dev, effect: allow, clusters: [prod], callers: ["group:corp:dev"], users: [alice], groups: ["{caller.groups}"] }]"#;
    let app = TestApp::with_policies(row).await;
    let admin = app.admin().await;
    let asked = |groups: Value| json!({"caller": "oidc:corp:alice", "caller_groups": groups, "user": "alice", "groups": ["dev"], "cluster": "prod"});
    let told = evaluate(&admin, &asked(json!(["group:corp:dev"]))).await.expect(200);
    assert_eq!(told["outcome"], "allowed", "{told}");
    assert_eq!(told["caller_groups"], json!(["group:corp:dev"]));
    assert_eq!(evaluate(&admin, &asked(json!([]))).await.expect(200)["outcome"], "refused");
}

const PROVEN: &str = r#"
policies:
  - { name: proven, effect: allow, clusters: [prod], callers: ["token:portal"], on_behalf_of: ["*"], users: ["{on_behalf_of}"],
      groups: ["{on_behalf_of.groups}"], proof: true }
  - { name: mail, effect: allow, clusters: [prod], callers: ["oidc:corp:*"], users: ["{caller.claim.email}"] }
"#;

#[tokio::test]
async fn an_auditor_or_an_admin_supposes_what_a_persons_own_token_shows() {
    let app = TestApp::with_policies(PROVEN).await;
    app.portal().await;
    let asked = |proof: Value| {
        json!({"caller": "token:portal", "on_behalf_of": "carol", "user": "carol", "groups": ["dev"],
            "cluster": "prod", "proof": proof})
    };
    for reader in [app.admin().await, app.auditor().await] {
        let told = evaluate(&reader, &asked(json!({"groups": ["ops", "dev"]}))).await.expect(200);
        assert_eq!((&told["outcome"], &told["on_behalf_of_proof"]), (&json!("allowed"), &json!(true)));
        let told = evaluate(&reader, &asked(json!({}))).await.expect(200);
        assert_eq!(of(&told, "carol")["outcome"], "allowed");
        assert_eq!(of(&told, "dev")["rows"][0]["fails_on"], json!(["groups"]));
        let told = evaluate(&reader, &asked(Value::Null)).await.expect(200);
        assert_eq!((&told["outcome"], &told["on_behalf_of_proof"]), (&json!("refused"), &json!(false)));
        assert_eq!(of(&told, "carol")["rows"][0]["fails_on"], json!(["proof"]));
    }
}

#[tokio::test]
async fn a_requester_supposes_no_proof_and_no_claims() {
    let app = TestApp::with_policies(PROVEN).await;
    let portal = app.portal().await;
    let asked = json!({"on_behalf_of": "carol", "user": "carol", "groups": ["dev"], "cluster": "prod"});
    assert_eq!(evaluate(&portal, &asked).await.expect(200)["on_behalf_of_proof"], false);
    for caller in [Value::Null, json!("token:portal")] {
        let mut proven = asked.clone();
        proven["caller"] = caller.clone();
        proven["proof"] = json!({"groups": ["dev"]});
        evaluate(&portal, &proven).await.refused(403, "role_missing");
        let mut claims = asked.clone();
        claims["caller"] = caller;
        claims["caller_claims"] = json!({"email": ["a"]});
        evaluate(&portal, &claims).await.refused(400, "parameter_invalid");
    }
    let refusals = app.auditor().await.get("/v1/refusals?code=role_missing").await.expect(200);
    assert_eq!(refusals["items"].as_array().unwrap().len(), 2, "supposing a proof is on record");
}

#[tokio::test]
async fn a_caller_that_is_named_has_the_claims_that_are_supposed() {
    let app = TestApp::with_policies(PROVEN).await;
    let admin = app.admin().await;
    let asked = |claims: Value| json!({"caller": "oidc:corp:7", "caller_claims": claims, "user": "a@corp", "cluster": "prod"});
    for (claims, outcome) in [
        (json!({"email": ["a@corp"]}), "allowed"),
        (json!({"email": ["b@corp"], "other": ["a@corp"]}), "refused"),
        (json!({}), "refused"),
    ] {
        assert_eq!(evaluate(&admin, &asked(claims)).await.expect(200)["outcome"], outcome);
    }
    let many: Vec<String> = (0..1_000).map(|place| format!("v{place}")).collect();
    evaluate(&admin, &asked(json!({"email": many}))).await.refused(400, "parameter_invalid");
}

#[tokio::test]
async fn what_a_token_lacks_is_a_warning() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    app.alice().await;
    app.auditor().await;
    for (caller, part) in [
        ("token:nobody", "no token named nobody is live"),
        ("token:auditor", "has not the role requester"),
        ("token:alice", "may not name another person"),
    ] {
        let asked = json!({"caller": caller, "user": "alice", "cluster": "prod", "on_behalf_of": "bob"});
        let told = evaluate(&admin, &asked).await.expect(200);
        assert!(told["warnings"].to_string().contains(part), "{caller}: {told}");
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_with_what_to_do() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let with = |field: &str, value: Value| {
        let mut asked = json!({"caller": "token:alice", "user": "alice", "cluster": "prod"});
        asked[field] = value;
        asked
    };
    let many: Vec<String> = (0..101).map(|place| format!("g{place}")).collect();
    for (field, value, code) in [
        ("user", json!(" alice"), "parameter_invalid"),
        ("groups", json!(["a\u{200b}b"]), "parameter_invalid"),
        ("groups", json!(many), "parameter_invalid"),
        ("caller", json!("alice"), "parameter_invalid"),
        ("caller_groups", json!(["dev"]), "parameter_invalid"),
        ("on_behalf_of", json!(""), "parameter_invalid"),
        ("proof", json!({"groups": ["dev"]}), "parameter_invalid"),
        ("proof", json!({"source": "corp"}), "json_invalid"),
        ("caller_claims", json!({"email": "a@corp"}), "json_invalid"),
        ("key", json!("rsa-1024"), "parameter_invalid"),
        ("ttl", json!("1m"), "ttl_invalid"),
        ("cluster", json!("prd"), "cluster_unknown"),
        ("cluster", Value::Null, "cluster_required"),
        ("reason", json!("x"), "json_invalid"),
        ("user", json!(Key::p256().private_pem()), "private_key_in_body"),
    ] {
        let status = if code == "private_key_in_body" { 422 } else { 400 };
        evaluate(&admin, &with(field, value)).await.refused(status, code);
    }
    let twice = evaluate(&admin, &with("groups", json!(["dev", "dev"]))).await.expect(200);
    assert_eq!(twice["groups"], json!(["dev"]));
    assert!(twice["warnings"].to_string().contains("taken once"));
}

#[tokio::test]
async fn evaluating_leaves_nothing_in_the_ledger() {
    let app = TestApp::new().await;
    let alice = app.alice().await;
    let auditor = app.auditor().await;
    let before = auditor.get("/v1/audit").await.expect(200)["items"].as_array().unwrap().len();
    for user in ["alice", "bob", "system:masters"] {
        evaluate(&alice, &json!({"user": user, "cluster": "prod"})).await.expect(200);
    }
    let after = auditor.get("/v1/audit").await.expect(200)["items"].as_array().unwrap().len();
    assert_eq!(before, after);
}

#[tokio::test]
async fn a_ca_that_ended_is_no_refusal() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    app.at(89 * 86_400 + 1);
    let told = evaluate(&admin, &json!({"caller": "token:alice", "user": "alice", "cluster": "prod"})).await;
    let told = told.expect(200);
    assert_eq!((&told["outcome"], &told["code"]), (&json!("unavailable"), &json!("ca_expired")));
    assert_eq!(told["lifetime"], Value::Null);
}
