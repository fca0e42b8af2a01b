//! Tokens of an OpenID Connect issuer.

use std::path::Path;

use countersign::auth::AuthSettings;
use countersign::http::Access;
use serde_json::json;

use super::{POLICIES, app, corp, holder, settings};
use crate::app::TestApp;
use crate::csr::Key;
use crate::issuer::{IDP, alice, claims, with, without};

#[tokio::test]
async fn a_sound_token_is_its_caller_whatever_key_signed_it() {
    let app = app().await;
    let rs256 = json!({ "alg": "RS256", "kid": "rsa" });
    let tokens = [
        IDP.token(&alice()),
        IDP.rs256(&rs256, &alice()),
        IDP.es256(&json!({ "alg": "ES256" }), &alice()),
        IDP.es256(&json!({ "alg": "ES256", "typ": "at+jwt", "jku": "https://evil.example/keys" }), &alice()),
        IDP.token(&with(&alice(), "aud", json!(["other", "countersign"]))),
    ];
    for token in tokens {
        let whoami = app.with_authorization(&format!("Bearer {token}")).get("/v1/whoami").await.expect(200);
        assert_eq!(whoami["caller"], "oidc:corp:alice");
        assert_eq!(whoami["groups"], json!(["group:corp:dev"]));
        assert_eq!(whoami["roles"], json!(["requester"]));
        assert_eq!(whoami["on_behalf_of"], false);
        assert_eq!(whoami["expires_at"], "2026-06-01T09:10:00Z");
    }
}

#[tokio::test]
async fn groups_and_listed_claims_reach_the_policy() {
    let app = app().await;
    let alice = holder(&app, &alice());
    let key = Key::p256();
    for group in ["dev", "web"] {
        let issued = alice.sign("?cluster=prod", key.csr(&format!("/CN=alice/O={group}"))).await.expect(201);
        assert_eq!((&issued["user"], &issued["requested_by"]), (&json!("alice"), &json!("oidc:corp:alice")));
    }
    alice.sign("?cluster=prod", key.csr("/CN=alice/O=admins")).await.refused(403, "policy_denied");
    alice.sign("?cluster=prod", key.csr("/CN=bob")).await.refused(403, "policy_denied");
    let listed = alice.get("/v1/certificates").await.expect(200);
    assert_eq!(listed["items"].as_array().unwrap().len(), 2);
    assert_eq!(listed["items"][0]["requester_groups"], json!(["group:corp:dev"]));
}

#[tokio::test]
async fn roles_are_those_of_the_bindings() {
    let app = app().await;
    let carol = holder(&app, &claims("carol", "3"));
    assert_eq!(carol.get("/v1/whoami").await.expect(200)["roles"], json!(["requester", "auditor"]));
    carol.get("/v1/audit").await.expect(200);
    holder(&app, &alice()).get("/v1/audit").await.refused(403, "role_missing");
    let admin = holder(&app, &with(&claims("dave", "4"), "groups", json!(["admins"])));
    admin.get("/v1/policies").await.expect(200);
}

#[tokio::test]
async fn who_is_in_no_binding_has_no_role() {
    let unbound = |folder: &Path| AuthSettings { roles: Vec::new(), ..settings(folder) };
    let app = TestApp::with_ways(POLICIES, unbound).await;
    assert_eq!(holder(&app, &alice()).get("/v1/whoami").await.expect(200)["roles"], json!([]));
    holder(&app, &alice())
        .sign("?cluster=prod", Key::p256().csr("/CN=alice"))
        .await
        .refused(403, "role_missing");
}

#[tokio::test]
async fn a_token_ends_with_its_time_also_where_it_is_remembered() {
    let app = app().await;
    let alice = holder(&app, &alice());
    alice.get("/v1/whoami").await.expect(200);
    app.at(599);
    alice.get("/v1/whoami").await.expect(200);
    app.at(600);
    alice.get("/v1/whoami").await.refused(401, "unauthenticated");
    app.at(-71);
    alice.get("/v1/whoami").await.refused(401, "unauthenticated");
}

#[tokio::test]
async fn a_token_does_not_name_persons_unless_a_binding_says_so() {
    let app = app().await;
    let answer =
        holder(&app, &alice()).sign("?cluster=prod&on_behalf_of=bob", Key::p256().csr("/CN=bob")).await;
    answer.refused(403, "on_behalf_of_not_allowed");
}

#[tokio::test]
async fn where_no_issuer_is_configured_no_jwt_is_a_credential() {
    let app = TestApp::new().await;
    for route in countersign::http::ROUTES
        .iter()
        .filter(|route| route.access == Access::Caller && !route.path.contains('{'))
    {
        holder(&app, &alice()).get(route.path).await.refused(401, "unauthenticated");
    }
}

#[tokio::test]
async fn an_issuer_does_not_take_the_place_of_api_tokens() {
    let app = app().await;
    let robot = app.alice().await;
    assert_eq!(robot.get("/v1/whoami").await.expect(200)["caller"], "token:alice");
    assert_eq!(holder(&app, &alice()).get("/v1/whoami").await.expect(200)["caller"], "oidc:corp:alice");
}

#[tokio::test]
async fn a_claim_that_is_not_required_may_be_missing() {
    let app = app().await;
    let whoami =
        holder(&app, &without(&without(&alice(), "groups"), "team")).get("/v1/whoami").await.expect(200);
    assert_eq!(whoami["groups"], json!([]));
}

#[tokio::test]
async fn with_a_key_file_no_ca_file_is_read() {
    let both = |folder: &Path| {
        let corp = format!("{}ca_file = \"/nowhere/idp-ca.pem\"\n", corp(folder));
        AuthSettings { oidc: vec![toml::from_str(&corp).unwrap()], ..AuthSettings::default() }
    };
    let app = TestApp::with_ways(POLICIES, both).await;
    assert_eq!(holder(&app, &alice()).get("/v1/whoami").await.expect(200)["caller"], "oidc:corp:alice");
}

#[tokio::test]
async fn authentications_are_in_the_audit_log_folded_and_without_the_token() {
    let app = app().await;
    let (alice, robot) = (holder(&app, &alice()), app.alice().await);
    for _ in 0..3 {
        alice.get("/v1/whoami").await.expect(200);
    }
    robot.get("/v1/whoami").await.expect(200);
    holder(&app, &claims("alice", "5678")).get("/v1/whoami").await.refused(401, "unauthenticated");
    app.app.write_notes().await;
    app.app.write_notes().await;
    let answer = app.auditor().await.get("/v1/audit?kind=authentication.succeeded").await;
    for part in IDP.token(&crate::issuer::alice()).split('.').take(2) {
        assert!(!answer.text().contains(part));
    }
    let events = answer.expect(200)["items"].as_array().unwrap().clone();
    assert_eq!(events.len(), 2);
    let of = |caller: &str| events.iter().find(|event| event["caller"] == caller).unwrap();
    let event = of("oidc:corp:alice");
    assert_eq!((&event["detail"]["method"], &event["detail"]["count"]), (&json!("oidc"), &json!(3)));
    assert_eq!(event["caller_groups"], json!(["group:corp:dev"]));
    assert_eq!(event["request_id"].as_str().unwrap().len(), 32);
    assert_eq!(of("token:alice")["detail"]["method"], "token");
}
