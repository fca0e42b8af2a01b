//! `POST /v1/sign`.

use axum::http::Method;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::app::{NOON, TestApp};
use crate::csr::{Key, csr, x509};

#[tokio::test]
async fn a_csr_that_the_policy_allows_becomes_a_recorded_certificate() {
    let app = TestApp::new().await;
    let alice = app.alice().await;
    let answer = alice.sign("?cluster=prod&ttl=2h", csr("/CN=alice/O=dev/O=team-a")).await;
    let serial = answer.json()["serial"].as_str().unwrap().to_owned();
    assert_eq!(answer.header("location"), format!("/v1/certificates/{serial}"));
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(answer.header("vary").to_ascii_lowercase(), "authorization, accept");
    let issued = answer.expect(201);
    assert_eq!(issued["user"], "alice");
    assert_eq!(issued["groups"], json!(["dev", "team-a"]));
    assert_eq!(issued["not_before"], "2026-06-01T08:55:00Z");
    assert_eq!(issued["not_after"], "2026-06-01T11:00:00Z");
    assert_eq!(issued["policies"], json!(["people"]));
    assert_eq!(issued["requested_by"], "token:alice");
    let subject = x509(issued["certificate"].as_str().unwrap(), &["-subject"]);
    assert_eq!(subject.trim(), "subject=O=team-a,O=dev,CN=alice");
    let recorded = alice.get(&format!("/v1/certificates/{serial}")).await.expect(200);
    assert_eq!(recorded["certificate"], issued["certificate"]);
}

#[tokio::test]
async fn every_way_to_write_one_csr_is_read() {
    let app = TestApp::new().await;
    let alice = app.alice().await;
    let pem = csr("/CN=alice");
    let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let der = STANDARD.decode(&body).unwrap();
    let spellings: Vec<(&str, Vec<u8>)> = vec![
        ("LF", pem.clone().into_bytes()),
        ("CRLF", pem.replace('\n', "\r\n").into_bytes()),
        ("no newlines", pem.replace('\n', "").into_bytes()),
        (
            "NEW CERTIFICATE REQUEST",
            pem.replace("CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST").into_bytes(),
        ),
        ("text around", format!("hello\n{pem}\nbye\n").into_bytes()),
        ("BOM", format!("\u{feff}{pem}").into_bytes()),
        ("base64 of PEM", STANDARD.encode(&pem).into_bytes()),
        ("base64 of DER", body.into_bytes()),
        ("DER", der),
        ("JSON", json!({ "csr": pem, "cluster": "prod" }).to_string().into_bytes()),
    ];
    for (name, body) in spellings {
        let query = if name == "JSON" { "" } else { "?cluster=prod" };
        let answer = alice.sign(query, body).await;
        assert_eq!(answer.status, 201, "{name}: {}", answer.text());
    }
}

#[tokio::test]
async fn a_parameter_is_taken_from_the_query_or_from_json_but_not_from_both() {
    let app = TestApp::new().await;
    let alice = app.alice().await;
    let pem = csr("/CN=alice");
    let body = |extra: &str| format!("{{\"csr\": {}{extra}}}", json!(pem));
    alice.sign("?cluster=prod", body(r#", "ttl": "1h""#)).await.expect(201);
    alice.sign("?cluster=prod", body(r#", "ttl": 3600"#)).await.expect(201);
    for (query, extra) in [
        ("?cluster=prod", r#", "cluster": "prod""#),
        ("?cluster=prod&cluster=prod", ""),
        ("?cluster=prod&clutser=prod", ""),
        ("?cluster=prod", r#", "tll": "1h""#),
        ("?cluster=prod", r#", "ttl": "1h", "ttl": "1h""#),
    ] {
        let problem = alice.sign(query, body(extra)).await.expect(400);
        let code = problem["code"].as_str().unwrap();
        assert!(code.starts_with("parameter") || code == "json_invalid", "{problem}");
    }
}

#[tokio::test]
async fn a_cluster_may_be_left_out_only_where_there_is_one() {
    let app = TestApp::new().await;
    let alice = app.alice().await;
    let problem = alice.sign("", csr("/CN=alice")).await.refused(400, "cluster_required");
    assert!(problem["detail"].as_str().unwrap().contains("prod, test"), "{problem}");
    alice.sign("?cluster=prd", csr("/CN=alice")).await.refused(400, "cluster_unknown");
}

#[tokio::test]
async fn accept_decides_the_output_and_format_wins_over_it() {
    let app = TestApp::new().await;
    let alice = app.alice().await;
    let pem = csr("/CN=alice/O=dev");
    for (query, accept, content_type, begins) in [
        ("", "*/*", "application/json", "{"),
        ("", "application/yaml", "application/yaml", "#"),
        ("", "application/x-pem-file", "application/x-pem-file", "-----BEGIN CERTIFICATE-----\n"),
        ("", "application/pem-certificate-chain", "application/pem-certificate-chain", "-----BEGIN"),
        ("", "text/html, application/yaml;q=0.5", "application/yaml", "#"),
        ("&format=pem", "application/json", "application/x-pem-file", "-----BEGIN"),
        ("&format=kubeconfig", "*/*", "application/yaml", "#"),
    ] {
        let path = format!("/v1/sign?cluster=prod{query}");
        let answer = alice.send(Method::POST, &path, &[("accept", accept)], pem.clone().into_bytes()).await;
        assert_eq!(answer.status, 201, "{accept}: {}", answer.text());
        assert!(answer.header("content-type").starts_with(content_type), "{accept}");
        assert!(answer.text().starts_with(begins), "{accept}: {}", answer.text());
    }
    let auditor = app.auditor().await;
    let before = auditor.get("/v1/certificates").await.expect(200);
    let answer =
        alice.send(Method::POST, "/v1/sign?cluster=prod", &[("accept", "text/html")], pem.into()).await;
    let problem = answer.refused(406, "not_acceptable");
    assert!(problem["detail"].as_str().unwrap().contains("application/yaml"), "{problem}");
    let after = auditor.get("/v1/certificates").await.expect(200);
    assert_eq!(after, before, "nothing is signed for an output that cannot be had");
}

#[tokio::test]
async fn a_lifetime_is_cut_with_a_warning_and_a_wrong_one_is_400() {
    let app = TestApp::new().await;
    let alice = app.alice().await;
    let issued = alice.sign("?cluster=prod&ttl=20h", csr("/CN=alice")).await.expect(201);
    assert_eq!(issued["not_after"], "2026-06-01T17:00:00Z");
    assert!(issued["warnings"].to_string().contains("8h"), "{}", issued["warnings"]);
    for ttl in ["", "0", "-1", "599", "9m", "4000d", "soon", "1e3", "8h8h", "18446744073709551616"] {
        alice.sign(&format!("?cluster=prod&ttl={ttl}"), csr("/CN=alice")).await.refused(400, "ttl_invalid");
    }
    alice.sign("?cluster=prod&ttl=600", csr("/CN=alice")).await.expect(201);
}

#[tokio::test]
async fn a_dry_run_checks_everything_and_leaves_nothing() {
    let app = TestApp::new().await;
    let alice = app.alice().await;
    let preview = alice.sign("?cluster=prod&dry_run=true", csr("/CN=alice/O=dev")).await.expect(200);
    assert_eq!(preview["user"], "alice");
    assert!(preview.get("certificate").is_none() && preview.get("serial").is_none());
    alice.sign("?cluster=prod&dry_run=true", csr("/CN=alice/O=admins")).await.refused(403, "policy_denied");
    let mut broken = STANDARD
        .decode(csr("/CN=alice").lines().filter(|line| !line.starts_with('-')).collect::<String>())
        .unwrap();
    *broken.last_mut().unwrap() ^= 1;
    assert_eq!(alice.sign("?cluster=prod&dry_run=true", broken).await.status, 422);
    let auditor = app.auditor().await;
    assert_eq!(auditor.get("/v1/certificates").await.expect(200)["items"], json!([]));
    assert_eq!(auditor.get("/v1/refusals").await.expect(200)["items"], json!([]));
}

#[tokio::test]
async fn a_refusal_names_every_claim_and_what_may_be_had() {
    let app = TestApp::new().await;
    let alice = app.alice().await;
    let problem =
        alice.sign("?cluster=prod", csr("/CN=bob/O=dve/O=admins")).await.refused(403, "policy_denied");
    let violations = problem["violations"].as_array().unwrap();
    let values: Vec<&str> = violations.iter().map(|one| one["value"].as_str().unwrap()).collect();
    assert_eq!(values.len(), 3, "{problem}");
    for value in ["bob", "dve", "admins"] {
        assert!(values.contains(&value), "{problem}");
    }
    let dve = violations.iter().find(|one| one["value"] == "dve").unwrap();
    assert!(dve["allowed"].as_array().unwrap().contains(&json!("dev")), "{problem}");
}

#[tokio::test]
async fn a_private_key_in_the_body_is_refused_and_not_recorded() {
    let app = TestApp::new().await;
    let alice = app.alice().await;
    let key = Key::p256();
    let both = format!("{}{}", key.csr("/CN=alice"), key.private_pem());
    let json = json!({ "csr": key.private_pem(), "cluster": "prod" }).to_string();
    for body in [
        key.private_pem(),
        both,
        key.private_pem().replace('\n', ""),
        STANDARD.encode(key.private_pem()),
        json,
    ] {
        alice
            .sign(if body.starts_with('{') { "" } else { "?cluster=prod" }, body)
            .await
            .refused(422, "private_key_in_body");
    }
    assert_eq!(alice.get("/v1/refusals").await.expect(200)["items"], json!([]));
    let mut beside = key.csr("/CN=alice").into_bytes();
    beside.extend(key.private_der());
    alice.sign("?cluster=prod", beside).await.refused(422, "private_key_in_body");
    let set = format!("policies: []\n# {}", key.private_pem().replace('\n', " "));
    let headers = [("if-match", "*")];
    let answer = app.admin().await.send(Method::PUT, "/v1/policies", &headers, set.into_bytes()).await;
    answer.refused(422, "private_key_in_body");
}

#[tokio::test]
async fn a_policy_that_changed_behind_the_service_holds_for_the_next_request() {
    let app = TestApp::new().await;
    let alice = app.alice().await;
    app.apply(r#"policies: [{ name: none, effect: allow, clusters: [prod], callers: ["token:bob"], users: [bob] }]"#).await;
    alice.sign("?cluster=prod", csr("/CN=alice")).await.refused(403, "policy_denied");
    app.apply(crate::app::POLICIES).await;
    let issued = alice.sign("?cluster=prod", csr("/CN=alice")).await.expect(201);
    assert_eq!(issued["policy_revision"], 3);
}

#[tokio::test]
async fn a_token_that_was_revoked_behind_the_service_issues_nothing() {
    let app = TestApp::new().await;
    let alice = app.alice().await;
    app.revoke("alice").await;
    alice.sign("?cluster=prod", csr("/CN=alice")).await.refused(401, "unauthenticated");
}

#[tokio::test]
async fn a_portal_names_the_person_and_the_record_keeps_both() {
    let app = TestApp::new().await;
    let portal = app.portal().await;
    let issued = portal
        .sign("?cluster=prod&on_behalf_of=carol&reason=ticket+17", csr("/CN=carol/O=dev"))
        .await
        .expect(201);
    assert_eq!((&issued["on_behalf_of"], &issued["requested_by"]), (&json!("carol"), &json!("token:portal")));
    portal.sign("?cluster=prod", csr("/CN=carol")).await.refused(403, "policy_denied");
    let alice = app.alice().await;
    alice
        .sign("?cluster=prod&on_behalf_of=carol", csr("/CN=alice"))
        .await
        .refused(403, "on_behalf_of_not_allowed");
}

#[tokio::test]
async fn an_admin_without_the_role_of_a_requester_cannot_sign() {
    let app = TestApp::new().await;
    app.admin().await.sign("?cluster=prod", csr("/CN=admin")).await.refused(403, "role_missing");
}

#[tokio::test]
async fn authentication_comes_before_the_body() {
    let app = TestApp::new().await;
    for client in [
        app.nobody(),
        app.with_authorization("Bearer x"),
        app.with_authorization("Basic YTpi"),
        app.with_authorization("Bearer cs1_aaaaaaaaaaaa_bbbb"),
    ] {
        let answer = client.sign("?nonsense=1", vec![b'x'; 100_000]).await;
        assert!(answer.header("www-authenticate").starts_with("Bearer"));
        answer.refused(401, "unauthenticated");
    }
}

#[tokio::test]
async fn a_body_over_64_kib_is_413() {
    let app = TestApp::new().await;
    app.alice().await.sign("?cluster=prod", vec![b'x'; 65_537]).await.refused(413, "body_too_large");
}

#[tokio::test]
async fn a_put_says_how_to_post() {
    let app = TestApp::new().await;
    let answer = app.alice().await.send(Method::PUT, "/v1/sign", &[], Vec::new()).await;
    assert_eq!(answer.header("allow"), "POST");
    let problem = answer.refused(405, "method_not_allowed");
    assert!(problem["detail"].as_str().unwrap().contains("-X POST"), "{problem}");
}

#[tokio::test]
async fn a_storage_error_releases_no_certificate() {
    let app = TestApp::new().await;
    let alice = app.alice().await;
    app.break_certificates(true).await;
    let answer = alice.sign("?cluster=prod", csr("/CN=alice")).await;
    assert!(!answer.header("retry-after").is_empty());
    let problem = answer.refused(503, "ledger_unavailable");
    assert!(!problem.to_string().contains("CERTIFICATE"), "{problem}");
    app.break_certificates(false).await;
    alice.sign("?cluster=prod", csr("/CN=alice")).await.expect(201);
}

#[tokio::test]
async fn a_clock_behind_the_newest_record_signs_nothing() {
    let app = TestApp::new().await;
    let alice = app.alice().await;
    alice.sign("?cluster=prod", csr("/CN=alice")).await.expect(201);
    app.at(-60);
    alice.sign("?cluster=prod", csr("/CN=alice")).await.expect(201);
    app.at(-61);
    alice.sign("?cluster=prod", csr("/CN=alice")).await.refused(503, "clock_behind");
    alice.sign("?cluster=prod&dry_run=1", csr("/CN=alice")).await.refused(503, "clock_behind");
}

#[tokio::test]
#[ignore = "needs COUNTERSIGN_TEST_POSTGRES"]
async fn a_clock_that_is_not_the_databases_signs_nothing() {
    let app = TestApp::new().await;
    let alice = app.alice().await;
    for off in [-61, 61] {
        app.database_clock(NOON.unix() + off).await;
        alice.sign("?cluster=prod", csr("/CN=alice")).await.refused(503, "clock_off");
        alice.sign("?cluster=prod&dry_run=1", csr("/CN=alice")).await.refused(503, "clock_off");
        let ready = app.nobody().get("/readyz").await.refused(503, "not_ready");
        assert!(ready["detail"].as_str().unwrap().contains("the database's"), "{ready}");
    }
    app.database_clock(NOON.unix() + 60).await;
    alice.sign("?cluster=prod", csr("/CN=alice")).await.expect(201);
    assert_eq!(app.nobody().get("/readyz").await.status, 200);
}

#[tokio::test]
async fn a_ca_near_its_end_answers_503() {
    let app = TestApp::new().await;
    let alice = app.alice().await;
    app.at(88 * 86_400 + 23 * 3_600 + 55 * 60);
    alice.sign("?cluster=prod", csr("/CN=alice")).await.refused(503, "ca_expiring");
    app.at(89 * 86_400 + 1);
    alice.sign("?cluster=prod", csr("/CN=alice")).await.refused(503, "ca_expired");
}

#[tokio::test]
async fn a_key_belongs_to_one_user() {
    let app = TestApp::new().await;
    let key = Key::p256();
    app.alice().await.sign("?cluster=prod", key.csr("/CN=alice")).await.expect(201);
    let bob = app.bob().await;
    bob.sign("?cluster=prod&dry_run=1", key.csr("/CN=bob")).await.refused(422, "key_owned");
    bob.sign("?cluster=prod", key.csr("/CN=bob")).await.refused(422, "key_owned");
}

#[tokio::test]
async fn a_kubeconfig_has_a_name_and_its_fragment_no_context() {
    let app = TestApp::new().await;
    let alice = app.alice().await;
    let answer =
        alice.sign("?cluster=prod&format=kubeconfig&shape=fragment&key_path=my.key", csr("/CN=alice")).await;
    assert!(answer.header("content-disposition").contains("alice@prod.kubeconfig"));
    assert!(answer.text().contains("client-key: 'my.key'") && !answer.text().contains("\ncurrent-context"));
    alice.sign("?cluster=prod&key_path=../x", csr("/CN=alice")).await.expect(400);
    alice.sign("?cluster=prod&shape=round", csr("/CN=alice")).await.expect(400);
}

#[tokio::test]
async fn a_request_id_is_ours_and_the_clients_is_kept_beside_it() {
    let app = TestApp::new().await;
    let alice = app.alice().await;
    let headers = [("x-request-id", "ticket-17")];
    let pem = csr("/CN=alice").into_bytes();
    let issued = alice.send(Method::POST, "/v1/sign?cluster=prod", &headers, pem).await;
    let id = issued.header("x-request-id").to_owned();
    assert_ne!(id, "ticket-17");
    assert_eq!(issued.expect(201)["request_id"], Value::from(id.clone()));
    let events = app.auditor().await.get("/v1/audit?kind=certificate.issued").await.expect(200);
    assert_eq!(events["items"][0]["request_id"], Value::from(id));
    assert_eq!(events["items"][0]["client_request_id"], "ticket-17");
}

#[test]
fn the_tests_begin_at_the_moment_that_they_say() {
    assert_eq!(NOON.to_string(), "2026-06-01T09:00:00Z");
}
