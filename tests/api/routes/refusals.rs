//! `GET /v1/refusals`.

use crate::app::TestApp;
use crate::csr::{Key, csr};

#[tokio::test]
async fn every_refusal_after_authentication_is_recorded_with_its_reasons() {
    let app = TestApp::new().await;
    let (alice, auditor) = (app.alice().await, app.auditor().await);
    alice.sign("?cluster=prod&reason=please", csr("/CN=bob/O=admins")).await.refused(403, "policy_denied");
    alice
        .sign(
            "?cluster=prod",
            "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n",
        )
        .await
        .expect(422);
    alice.sign("?cluster=prod", csr("/CN=alice/CN=bob")).await.expect(422);
    let list = auditor.get("/v1/refusals").await.expect(200);
    let items = list["items"].as_array().unwrap();
    assert_eq!(items.len(), 3, "{list}");
    let policy = &items[2];
    assert_eq!((policy["user"].as_str(), policy["code"].as_str()), (Some("bob"), Some("policy_denied")));
    assert_eq!(policy["requested_by"], "token:alice");
    assert_eq!(policy["reason"], "please");
    assert_eq!(policy["violations"].as_array().unwrap().len(), 2);
    assert_eq!(policy["policies"], serde_json::json!(["no-admins"]));
}

#[tokio::test]
async fn what_is_no_refusal_is_not_recorded() {
    let app = TestApp::new().await;
    let alice = app.alice().await;
    alice.sign("?cluster=nowhere", csr("/CN=alice")).await.expect(400);
    alice.sign("?cluster=prod", vec![b'x'; 70_000]).await.expect(413);
    app.nobody().sign("?cluster=prod", csr("/CN=alice")).await.expect(401);
    alice.sign("?cluster=prod&dry_run=1", csr("/CN=bob")).await.expect(403);
    assert_eq!(
        app.auditor().await.get("/v1/refusals").await.expect(200)["items"].as_array().unwrap().len(),
        0
    );
}

#[tokio::test]
async fn a_refusal_names_its_cluster_also_where_it_was_left_out() {
    let app = TestApp::with_one_cluster().await;
    let (alice, auditor) = (app.alice().await, app.auditor().await);
    alice.sign("", csr("/CN=bob")).await.refused(403, "policy_denied");
    alice.sign("", csr("/CN=alice/CN=bob")).await.refused(422, "csr_cn_repeated");
    alice.sign("", "hello").await.refused(422, "body_not_a_csr");
    let found = auditor.get("/v1/refusals?cluster=prod").await.expect(200);
    assert_eq!(found["items"].as_array().unwrap().len(), 3, "{found}");
}

#[tokio::test]
async fn a_cluster_or_a_person_that_cannot_be_is_a_400_whatever_the_body_is() {
    let app = TestApp::new().await;
    let portal = app.portal().await;
    for body in ["hello".to_owned(), csr("/CN=a/CN=b"), csr("/CN=root")] {
        portal.sign("?cluster=prd", body.clone()).await.refused(400, "cluster_unknown");
        portal.sign("", body.clone()).await.refused(400, "cluster_required");
        portal.sign("?cluster=prod&on_behalf_of=%20x", body).await.refused(400, "parameter_invalid");
    }
    let list = app.auditor().await.get("/v1/refusals").await.expect(200);
    assert_eq!(list["items"].as_array().unwrap().len(), 0, "{list}");
}

#[tokio::test]
async fn a_requester_sees_its_own_refusals_only() {
    let app = TestApp::new().await;
    let (alice, bob) = (app.alice().await, app.bob().await);
    alice.sign("?cluster=prod", csr("/CN=root")).await.expect(403);
    assert_eq!(alice.get("/v1/refusals?user=root").await.expect(200)["items"].as_array().unwrap().len(), 1);
    assert_eq!(bob.get("/v1/refusals").await.expect(200)["items"].as_array().unwrap().len(), 0);
}

#[tokio::test]
async fn each_filter_narrows_the_refusals() {
    let app = TestApp::new().await;
    let (alice, auditor) = (app.alice().await, app.auditor().await);
    alice.sign("?cluster=prod", csr("/CN=root/O=admins")).await.expect(403);
    app.at(100);
    app.bob().await.sign("?cluster=test", csr("/CN=root2/O=ops")).await.expect(403);
    for filter in [
        "user=root",
        "group=admins",
        "cluster=prod",
        "caller=token:alice",
        "policy=no-admins",
        "code=policy_denied&user=root",
        "before=2026-06-01T09:01:00Z",
    ] {
        let list = auditor.get(&format!("/v1/refusals?{filter}")).await.expect(200);
        let items = list["items"].as_array().unwrap();
        assert!(items.len() == 1 && items[0]["user"] == "root", "{filter}: {list}");
    }
    assert_eq!(auditor.get("/v1/refusals?user=rot").await.expect(200)["items"].as_array().unwrap().len(), 0);
    assert_eq!(auditor.get("/v1/refusals?after=yesterday").await.status, 400);
}

#[tokio::test]
async fn a_role_that_is_missing_is_recorded_whatever_the_route() {
    let app = TestApp::new().await;
    app.alice().await.get("/v1/policies").await.refused(403, "role_missing");
    let list = app.auditor().await.get("/v1/refusals?code=role_missing").await.expect(200);
    assert_eq!(list["items"].as_array().unwrap().len(), 1, "{list}");
}

#[tokio::test]
async fn what_was_known_is_kept_whatever_failed() {
    let app = TestApp::new().await;
    let query = "?cluster=prod&on_behalf_of=carol&reason=ticket&ttl=2h";
    app.portal().await.sign(query, "junk").await.refused(422, "body_not_a_csr");
    app.alice().await.sign(query, csr("/CN=alice/O=dev")).await.refused(403, "on_behalf_of_not_allowed");
    let list = app.auditor().await.get("/v1/refusals?on_behalf_of=carol").await.expect(200);
    let items = list["items"].as_array().unwrap();
    assert_eq!(items.len(), 2, "{list}");
    assert!(items.iter().all(|item| item["reason"] == "ticket"), "{list}");
    assert_eq!(
        (items[0]["user"].as_str(), &items[0]["groups"]),
        (Some("alice"), &serde_json::json!(["dev"]))
    );
}

#[tokio::test]
async fn a_refused_key_is_on_record_with_the_names_that_it_was_for() {
    let app = TestApp::new().await;
    let small = Key::made(&["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024", "-out"]);
    let answer = app.alice().await.sign("?cluster=prod", small.csr("/CN=alice/O=dev")).await;
    answer.refused(422, "key_size_not_accepted");
    let list = app.auditor().await.get("/v1/refusals?user=alice&group=dev").await.expect(200);
    assert_eq!(list["items"].as_array().unwrap().len(), 1, "{list}");
    assert_eq!(list["items"][0]["key_kind"], "rsa-1024");
    assert_eq!(list["items"][0]["spki_sha256"], small.spki_sha256());
}

#[tokio::test]
async fn the_key_is_on_record_where_the_names_cannot_be_read() {
    let app = TestApp::new().await;
    let key = Key::p256();
    app.alice().await.sign("?cluster=prod", key.csr("/O=dev")).await.refused(422, "csr_cn_missing");
    let list = app.auditor().await.get("/v1/refusals").await.expect(200);
    let refusal = &list["items"][0];
    assert_eq!((refusal["user"].as_str(), refusal["key_kind"].as_str()), (None, Some("p-256")));
    assert_eq!(refusal["spki_sha256"], key.spki_sha256());
}

#[tokio::test]
async fn past_its_limit_a_caller_is_refused_without_a_record() {
    let app = TestApp::with_refusals(3).await;
    let (alice, bob, auditor) = (app.alice().await, app.bob().await, app.auditor().await);
    alice.sign("?cluster=prod", csr("/CN=root")).await.refused(403, "policy_denied");
    alice.sign("?cluster=prod", "junk").await.refused(422, "body_not_a_csr");
    alice.get("/v1/policies").await.refused(403, "role_missing");
    for answer in [
        alice.sign("?cluster=prod", csr("/CN=root")).await,
        alice.sign("?cluster=prod", "junk").await,
        alice.sign("?cluster=prod", csr("/CN=alice/CN=bob")).await,
        alice.get("/v1/policies").await,
    ] {
        let seconds: u64 = answer.header("retry-after").parse().unwrap();
        assert!((1..=60).contains(&seconds), "{seconds}");
        let problem = answer.refused(429, "too_many_refusals");
        assert!(problem.get("violations").is_none(), "what is told is recorded: {problem}");
    }
    alice.sign("?cluster=prod", csr("/CN=alice")).await.expect(201);
    bob.sign("?cluster=prod", csr("/CN=root")).await.refused(403, "policy_denied");
    let recorded = auditor.get("/v1/refusals?caller=token:alice").await.expect(200);
    assert_eq!(recorded["items"].as_array().unwrap().len(), 3, "{recorded}");
    assert!(app.app.metrics.render().contains("countersign_refusals_not_recorded_total 4"));
}

#[tokio::test]
async fn what_leaves_no_record_takes_nothing_of_the_limit() {
    let app = TestApp::with_refusals(1).await;
    let alice = app.alice().await;
    for _ in 0..3 {
        alice.sign("?cluster=prod&dry_run=1", csr("/CN=root")).await.refused(403, "policy_denied");
        alice.sign("?cluster=nowhere", csr("/CN=root")).await.refused(400, "cluster_unknown");
        app.nobody().get("/v1/policies").await.refused(401, "unauthenticated");
    }
    alice.sign("?cluster=prod", csr("/CN=root")).await.refused(403, "policy_denied");
    alice.sign("?cluster=prod&dry_run=1", csr("/CN=root")).await.refused(403, "policy_denied");
    alice.sign("?cluster=prod", csr("/CN=root")).await.refused(429, "too_many_refusals");
}
