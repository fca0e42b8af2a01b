//! `POST /v1/renew`, and what a certificate of ours opens elsewhere: nothing.

use axum::http::Method;
use countersign::auth::AuthSettings;
use countersign::auth::mtls::NameFrom;
use countersign::http::{Access, ROUTES};
use rcgen::{Issuer, KeyPair};
use serde_json::Value;

use crate::app::{Answer, Client, NOON, TestApp};
use crate::callers::binding;
use crate::company::{Company, authority, client};
use crate::csr::{Key, csr};

/// alice and a portal may have certificates, and certificates of prod renew themselves.
pub const POLICIES: &str = r#"
policies:
  - { name: people, effect: allow, clusters: ["*"], callers: ["token:alice"], users: ["{caller}"], groups: ["dev", "team-*"], max_ttl: 8h }
  - { name: portal, effect: allow, clusters: [prod], callers: ["token:portal"], on_behalf_of: ["*"], users: ["{on_behalf_of}"], groups: [dev] }
  - { name: renewals, effect: allow, renew: true, clusters: [prod], callers: ["cert:prod:*"], users: ["{caller}"], groups: ["*"], max_ttl: 8h }
"#;

/// A row that holds every renewal.
pub const HOLDS: &str = r#"
  - { name: look, effect: review, clusters: ["*"], callers: ["cert:prod:*"], users: ["*"], approvers: ["token:judy"] }
"#;

pub async fn renew(client: &Client, subject: &str) -> Answer {
    post(client, "/v1/renew", csr(subject)).await
}

async fn post(client: &Client, path: &str, csr: String) -> Answer {
    client.send(Method::POST, path, &[("accept", "application/json")], csr.into()).await
}

fn pem(certificate: &Value) -> &str {
    certificate["certificate"].as_str().unwrap()
}

/// A service, a certificate of alice's with these groups, and who holds it.
async fn held(subject: &str) -> (TestApp, Value, Client) {
    let app = TestApp::with_policies(POLICIES).await;
    let issued = app.alice().await.sign("?cluster=prod", csr(subject)).await.expect(201);
    let holder = app.nobody().showing(pem(&issued));
    (app, issued, holder)
}

/// A certificate that the CA of prod signed and that this service did not.
pub fn signed_behind_the_back(app: &TestApp, user: &str) -> String {
    let key = std::fs::read_to_string(app.folder.path().join("prod.key")).unwrap();
    let ca = authority("prod CA");
    client(user, vec![], &Issuer::new(ca, KeyPair::from_pem(&key).unwrap()))
}

#[tokio::test]
async fn a_live_certificate_is_renewed_for_its_user_and_its_groups_or_fewer() {
    let (app, issued, holder) = held("/CN=alice/O=dev/O=team-a").await;
    app.at(3_600);
    let renewed = renew(&holder, "/CN=alice/O=dev/O=team-a").await.expect(201);
    assert_eq!((&renewed["user"], &renewed["groups"]), (&issued["user"], &issued["groups"]));
    assert_eq!(renewed["requested_by"], "cert:prod:alice");
    assert_eq!(renewed["policies"], serde_json::json!(["renewals"]));
    assert_ne!(renewed["serial"], issued["serial"]);
    let fewer = renew(&holder, "/CN=alice/O=team-a").await.expect(201);
    assert_eq!(fewer["groups"], serde_json::json!(["team-a"]));
    let none = renew(&holder, "/CN=alice").await.expect(201);
    assert_eq!(none["groups"], serde_json::json!([]));
    let auditor = app.auditor().await;
    for new in [&renewed, &fewer, &none] {
        let path = format!("/v1/certificates/{}", new["serial"].as_str().unwrap());
        assert_eq!(auditor.get(&path).await.expect(200)["renewed_from"], issued["serial"]);
    }
    let first = format!("/v1/certificates/{}", issued["serial"].as_str().unwrap());
    assert_eq!(auditor.get(&first).await.expect(200)["renewed_from"], Value::Null);
}

#[tokio::test]
async fn a_renewal_with_one_more_group_or_another_user_is_403_and_recorded() {
    let (app, _, holder) = held("/CN=alice/O=dev").await;
    let more = renew(&holder, "/CN=alice/O=dev/O=team-a").await.refused(403, "policy_denied");
    assert_eq!(more["violations"][0]["value"], "team-a");
    assert_eq!(more["violations"][0]["rule"], "renewal");
    assert_eq!(more["violations"].as_array().unwrap().len(), 1);
    let other = renew(&holder, "/CN=bob/O=dev").await.refused(403, "policy_denied");
    assert_eq!(other["violations"][0]["claim"], "user");
    let refusals = app.auditor().await.get("/v1/refusals?caller=cert:prod:alice").await.expect(200);
    assert_eq!(refusals["items"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_fewer_group_is_not_taken_back_by_another_renewal() {
    let (app, _, holder) = held("/CN=alice/O=dev/O=team-a").await;
    let fewer = renew(&holder, "/CN=alice/O=dev").await.expect(201);
    let holder = app.nobody().showing(pem(&fewer));
    renew(&holder, "/CN=alice/O=dev/O=team-a").await.refused(403, "policy_denied");
}

#[tokio::test]
async fn a_chain_of_renewals_ends_max_renew_after_its_first_certificate() {
    let (app, mut certificate, _) = held("/CN=alice").await;
    let end = NOON.after(countersign::time::Lifetime::from_seconds(24 * 3_600)).to_string();
    for hours in [6, 12, 18] {
        app.at(hours * 3_600);
        certificate = renew(&app.nobody().showing(pem(&certificate)), "/CN=alice").await.expect(201);
        assert!(certificate["not_after"].as_str().unwrap() <= end.as_str(), "{certificate}");
    }
    assert_eq!(certificate["not_after"], end.as_str(), "8 hours would be too much");
    assert!(certificate["warnings"].to_string().contains("chain of renewals"), "{certificate}");
    app.at(24 * 3_600 - 601);
    certificate = renew(&app.nobody().showing(pem(&certificate)), "/CN=alice").await.expect(201);
    let holder = app.nobody().showing(pem(&certificate));
    app.at(24 * 3_600 - 599);
    let over = renew(&holder, "/CN=alice").await.refused(403, "not_renewable");
    assert!(over["detail"].as_str().unwrap().contains("may last 1d"), "{over}");
    app.at(24 * 3_600 + 1);
    renew(&holder, "/CN=alice").await.refused(401, "unauthenticated");
}

#[tokio::test]
async fn an_expired_a_foreign_and_an_unknown_certificate_are_401() {
    let (app, _, holder) = held("/CN=alice").await;
    let foreign = TestApp::with_policies(POLICIES).await;
    let theirs = foreign.alice().await.sign("?cluster=prod", csr("/CN=alice")).await.expect(201);
    let stranger = app.nobody().showing(pem(&theirs));
    for path in ["/v1/renew", "/v1/sign?cluster=prod"] {
        let refused = post(&stranger, path, csr("/CN=alice")).await.refused(401, "unauthenticated");
        assert!(refused["detail"].as_str().unwrap().contains("certificate"), "{refused}");
    }
    let unrecorded = app.nobody().showing(&signed_behind_the_back(&app, "alice"));
    let refused = renew(&unrecorded, "/CN=alice").await.refused(401, "unauthenticated");
    assert!(refused["detail"].as_str().unwrap().contains("unknown"), "{refused}");
    app.at(8 * 3_600 + 1);
    let refused = renew(&holder, "/CN=alice").await.refused(401, "unauthenticated");
    assert!(refused["detail"].as_str().unwrap().contains("expired"), "{refused}");
}

#[tokio::test]
async fn a_certificate_that_is_not_in_the_ledger_is_as_if_it_were_not_there() {
    let app = TestApp::with_policies(POLICIES).await;
    let administrator = app.nobody().showing(&signed_behind_the_back(&app, "kubernetes-admin"));
    administrator.get("/v1/whoami").await.refused(401, "unauthenticated");
    let alice = app.alice().await.showing_of(&administrator);
    assert_eq!(alice.get("/v1/whoami").await.expect(200)["caller"], "token:alice");
    post(&alice, "/v1/sign?cluster=prod", csr("/CN=alice")).await.expect(201);
    renew(&alice, "/CN=alice").await.refused(403, "certificate_required");
    let wrong = app.with_authorization("Bearer cs1_wrong").showing_of(&administrator);
    wrong.get("/v1/whoami").await.refused(401, "unauthenticated");
}

#[tokio::test]
async fn a_certificate_of_ours_opens_nothing_but_renewal() {
    let app = TestApp::with_policies(POLICIES).await;
    let alice = app.alice().await;
    let issued = alice.sign("?cluster=prod", csr("/CN=alice/O=dev")).await.expect(201);
    let holder = app.nobody().showing(pem(&issued));
    for route in ROUTES.iter().filter(|route| route.access != Access::Open) {
        let path = route.path.replace("{serial}", &"4f".repeat(16)).replace("{id}", &"0c".repeat(16));
        let path =
            path.replace("{spki_sha256}", &"ab".repeat(32)).replace("/clusters/{name}", "/clusters/prod");
        let path = path.replace("{user}", "alice").replace("{name}", "people");
        let method = Method::from_bytes(route.method.as_bytes()).unwrap();
        let answer = holder.send(method, &path, &[], Vec::new()).await;
        if route.access == Access::Renewal {
            assert_eq!(answer.status, 400, "an empty body: {}", answer.text());
        } else if path.starts_with("/v1/") {
            answer.refused(403, "renewal_only");
        }
    }
    // Nor does it lend anything to a token.
    let both = alice.showing(pem(&issued));
    both.get("/v1/certificates").await.refused(400, "several_credentials");
    renew(&both, "/CN=alice").await.refused(400, "several_credentials");
}

#[tokio::test]
async fn a_ca_by_which_no_client_can_be_verified_ends_no_other_cluster_s_renewals() {
    let (prod, odd) = (Company::new("prod"), Company::with_unique_identifier("odd"));
    let app = TestApp::signing_with(&[("prod", &prod), ("odd", &odd)], POLICIES).await;
    let alice = app.alice().await;
    let issued = alice.sign("?cluster=prod", csr("/CN=alice/O=dev")).await.expect(201);
    renew(&app.nobody().showing(pem(&issued)), "/CN=alice/O=dev").await.expect(201);
    let issued = alice.sign("?cluster=odd", csr("/CN=alice/O=dev")).await.expect(201);
    renew(&app.nobody().showing(pem(&issued)), "/CN=alice/O=dev").await.refused(401, "unauthenticated");
}

#[tokio::test]
async fn a_certificate_of_ours_that_cannot_be_verified_here_is_no_other_s_either() {
    let (root, odd) = (Company::new("Root"), Company::with_unique_identifier("odd"));
    let auth = AuthSettings { mtls: vec![root.mtls("mesh", NameFrom::Cn)], ..AuthSettings::default() };
    let app = TestApp::signing_with(&[("prod", &odd)], POLICIES).await.knowing(|_| auth);
    let issued = app.alice().await.sign("?cluster=prod", csr("/CN=alice/O=dev")).await.expect(201);
    // The root signed the cluster's key, too, in a certificate that stands in no file.
    let chain = format!("{}{}", pem(&issued), root.certificate_of(&odd, "odd"));
    app.nobody().showing(&chain).get("/v1/whoami").await.refused(401, "unauthenticated");
    // Such a path does lead to the root.
    let beside = Company::new("beside");
    let chain = format!("{}{}", beside.client("alice", vec![]), root.certificate_of(&beside, "beside"));
    let known = app.nobody().showing(&chain).get("/v1/whoami").await.expect(200);
    assert_eq!(known["caller"], "proxy:mesh:alice");
}

/// A certificate of ours for `user`, with what leads from it to a root that no file of the cluster names.
async fn issued_far_below(root: &Company, user: &str, auth: AuthSettings) -> (TestApp, Client) {
    let middle = root.below("Middle");
    let signing = middle.below("Cluster");
    let app = TestApp::signing_with(&[("prod", &signing)], POLICIES).await.knowing(|_| auth);
    let (query, subject) = (format!("?cluster=prod&on_behalf_of={user}"), format!("/CN={user}/O=dev"));
    let issued = app.portal().await.sign(&query, csr(&subject)).await.expect(201);
    let chain = format!("{}{}{}", pem(&issued), signing.certificate(), middle.certificate());
    let holder = app.nobody().showing(&chain);
    (app, holder)
}

#[tokio::test]
async fn a_certificate_of_ours_is_no_caller_of_a_source_that_trusts_a_ca_above_ours() {
    let root = Company::new("Root");
    let roles = vec![binding("admin", &["proxy:mesh:*"])];
    let auth = AuthSettings { mtls: vec![root.mtls("mesh", NameFrom::Cn)], roles, ..AuthSettings::default() };
    let (app, holder) = issued_far_below(&root, "ops", auth).await;
    holder.get("/v1/tokens").await.refused(403, "renewal_only");
    assert_eq!(renew(&holder, "/CN=ops/O=dev").await.expect(201)["requested_by"], "cert:prod:ops");
    app.at(3_601);
    holder.get("/v1/tokens").await.refused(401, "unauthenticated");
    app.at(0);
    let workload = app.nobody().showing(&root.client("workload", vec![]));
    assert_eq!(workload.get("/v1/whoami").await.expect(200)["caller"], "proxy:mesh:workload");
}

#[tokio::test]
async fn a_certificate_of_ours_is_no_proxy_s_though_a_proxy_s_ca_is_above_ours() {
    let root = Company::new("Root");
    let auth = AuthSettings { proxies: vec![root.proxy("sso")], ..AuthSettings::default() };
    let (app, holder) = issued_far_below(&root, "proxy.example", auth).await;
    let olga = [("x-forwarded-user", "olga")];
    holder.send(Method::GET, "/v1/whoami", &olga, Vec::new()).await.refused(403, "renewal_only");
    let proxy = app.nobody().showing(&root.client("proxy.example", vec![]));
    let known = proxy.send(Method::GET, "/v1/whoami", &olga, Vec::new()).await.expect(200);
    assert_eq!(known["caller"], "proxy:sso:olga");
}

#[tokio::test]
async fn nothing_but_a_certificate_renews() {
    let app = TestApp::with_policies(POLICIES).await;
    renew(&app.nobody(), "/CN=alice").await.refused(401, "unauthenticated");
    renew(&app.alice().await, "/CN=alice").await.refused(403, "certificate_required");
}

#[tokio::test]
async fn without_a_row_nothing_is_renewed() {
    let (app, _, holder) = held("/CN=alice/O=dev").await;
    let rows: String = POLICIES.lines().filter(|line| !line.contains("renew")).collect::<Vec<_>>().join("\n");
    app.apply(&rows).await;
    renew(&holder, "/CN=alice/O=dev").await.refused(403, "policy_denied");
}

#[tokio::test]
async fn a_deny_row_speaks_of_renewals_too() {
    let (app, _, holder) = held("/CN=alice/O=dev").await;
    let deny = r#"
  - { name: stop, effect: deny, clusters: ["*"], callers: ["cert:prod:alice"], users: ["*"] }
"#;
    app.apply(&format!("{POLICIES}{deny}")).await;
    renew(&holder, "/CN=alice/O=dev").await.refused(403, "policy_denied");
}

#[tokio::test]
async fn a_row_for_people_says_nothing_of_certificates_and_the_other_way_round() {
    let app = TestApp::with_policies(POLICIES).await;
    let admin = app.admin().await;
    for (from, to) in [
        (
            r#"renew: true, clusters: [prod], callers: ["cert:prod:*"]"#,
            r#"clusters: [prod], callers: ["cert:prod:*"]"#,
        ),
        (r#"callers: ["cert:prod:*"]"#, r#"callers: ["cert:prod:*", "token:alice"]"#),
        (r#"callers: ["token:alice"]"#, r#"callers: ["token:alice", "cert:prod:alice"]"#),
        ("effect: allow, renew: true", "effect: deny, renew: true"),
        (r#"callers: ["cert:prod:*"]"#, r#"callers: ["cert:other:*"]"#),
    ] {
        let changed = POLICIES.replacen(from, to, 1);
        assert_ne!(changed, POLICIES, "{from}");
        let headers = [("if-match", "*")];
        let answer = admin.send(Method::PUT, "/v1/policies", &headers, changed.into()).await;
        answer.refused(422, "policy_invalid");
    }
}

#[tokio::test]
async fn what_people_approved_is_not_renewed_and_no_renewal_waits_for_people() {
    let review = r#"
  - { name: look, effect: review, clusters: ["*"], callers: ["token:alice"], users: ["alice"], groups: [team-x], approvers: ["token:judy"] }
"#;
    let app = TestApp::with_policies(&format!("{POLICIES}{review}")).await;
    let (alice, judy) = (app.alice().await, app.approver("judy").await);
    let request = alice.sign("?cluster=prod", csr("/CN=alice/O=team-x")).await.expect(202);
    let id = request["id"].as_str().unwrap();
    judy.send(Method::POST, &format!("/v1/requests/{id}/approve"), &[], Vec::new()).await.expect(200);
    let path = format!("/v1/requests/{id}/certificate");
    let issued = alice.send(Method::POST, &path, &[], Vec::new()).await.expect(201);
    let refused = renew(&app.nobody().showing(pem(&issued)), "/CN=alice").await;
    let refused = refused.refused(403, "not_renewable");
    assert!(refused["detail"].as_str().unwrap().contains("approved"), "{refused}");
    let plain = alice.sign("?cluster=prod", csr("/CN=alice")).await.expect(201);
    app.apply(&format!("{POLICIES}{HOLDS}")).await;
    let held = renew(&app.nobody().showing(pem(&plain)), "/CN=alice").await.refused(403, "not_renewable");
    assert!(held["detail"].as_str().unwrap().contains("review"), "{held}");
}

#[tokio::test]
async fn a_blocked_key_renews_nothing_and_gets_nothing() {
    let app = TestApp::with_policies(POLICIES).await;
    let key = Key::p256();
    let issued = app.alice().await.sign("?cluster=prod", key.csr("/CN=alice")).await.expect(201);
    let holder = app.nobody().showing(pem(&issued));
    let path = format!("/v1/blocked-keys/{}", key.spki_sha256());
    let body = br#"{"reason":"lost"}"#.to_vec();
    let json = [("content-type", "application/json")];
    assert!(app.admin().await.send(Method::PUT, &path, &json, body).await.status.is_success());
    renew(&holder, "/CN=alice").await.refused(401, "unauthenticated");
}

#[tokio::test]
async fn a_portal_s_certificate_is_renewed_by_whom_it_names() {
    let app = TestApp::with_policies(POLICIES).await;
    let portal = app.portal().await;
    let issued = portal.sign("?cluster=prod&on_behalf_of=carol", csr("/CN=carol/O=dev")).await.expect(201);
    let holder = app.nobody().showing(pem(&issued));
    let renewed = renew(&holder, "/CN=carol/O=dev").await.expect(201);
    assert_eq!(renewed["requested_by"], "cert:prod:carol");
    let path = "/v1/renew?on_behalf_of=carol";
    post(&holder, path, csr("/CN=carol")).await.refused(403, "on_behalf_of_not_allowed");
}

#[tokio::test]
async fn a_renewal_is_for_the_certificate_s_own_cluster() {
    let (_app, _, holder) = held("/CN=alice").await;
    let there = post(&holder, "/v1/renew?cluster=prod", csr("/CN=alice")).await.expect(201);
    assert_eq!(there["cluster"], "prod");
    post(&holder, "/v1/renew?cluster=test", csr("/CN=alice")).await.refused(400, "parameter_invalid");
}

#[tokio::test]
async fn a_dry_run_renews_nothing_and_says_what_it_would() {
    let (app, _, holder) = held("/CN=alice/O=dev").await;
    let would = post(&holder, "/v1/renew?dry_run", csr("/CN=alice/O=dev")).await.expect(200);
    assert_eq!(would["user"], "alice");
    let all = app.auditor().await.get("/v1/certificates").await.expect(200);
    assert_eq!(all["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn an_idempotency_key_gives_one_renewal_of_one_certificate() {
    let (app, _, holder) = held("/CN=alice").await;
    let key = Key::p256();
    let headers = [("idempotency-key", "k"), ("accept", "application/json")];
    let send = async |holder: &Client| {
        holder.send(Method::POST, "/v1/renew", &headers, key.csr("/CN=alice").into()).await
    };
    let first = send(&holder).await.expect(201);
    assert_eq!(send(&holder).await.expect(200)["serial"], first["serial"]);
    let other = app.nobody().showing(pem(&first));
    send(&other).await.refused(422, "idempotency_key_reused");
}

#[tokio::test]
async fn a_certificate_of_another_cluster_has_no_row_of_this_one() {
    let app = TestApp::with_policies(POLICIES).await;
    let issued = app.alice().await.sign("?cluster=test", csr("/CN=alice")).await.expect(201);
    let holder = app.nobody().showing(pem(&issued));
    renew(&holder, "/CN=alice").await.refused(403, "policy_denied");
}
