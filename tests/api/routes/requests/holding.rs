//! What is held, for how long, and how many.

use serde_json::{Value, json};

use super::{
    REVIEWED, approve, collect, deny, held, keeps_csr, last_events, path, reviewed, status, withdraw,
};
use crate::app::TestApp;
use crate::csr::{Key, csr};

#[tokio::test]
async fn what_no_review_row_speaks_of_is_signed_at_once() {
    let app = reviewed().await;
    app.alice().await.sign("?cluster=prod", csr("/CN=alice/O=dev")).await.expect(201);
}

#[tokio::test]
async fn what_is_denied_or_not_allowed_is_refused_and_never_held() {
    let app = reviewed().await;
    let alice = app.alice().await;
    alice.sign("?cluster=prod", csr("/CN=alice/O=ops/O=admins")).await.refused(403, "policy_denied");
    alice.sign("?cluster=prod", csr("/CN=bob/O=ops")).await.refused(403, "policy_denied");
    assert_eq!(alice.get("/v1/requests").await.expect(200)["items"], json!([]));
}

#[tokio::test]
async fn a_dry_run_says_that_it_would_be_held_and_holds_nothing() {
    let app = reviewed().await;
    let alice = app.alice().await;
    let preview = alice.sign("?cluster=prod&dry_run", csr("/CN=alice/O=ops/O=root")).await.expect(200);
    assert_eq!(preview["held_by"], json!(["ops", "root"]));
    let preview = alice.sign("?cluster=prod&dry_run", csr("/CN=alice/O=dev")).await.expect(200);
    assert_eq!(preview["held_by"], json!([]));
    assert_eq!(alice.get("/v1/requests").await.expect(200)["items"], json!([]));
}

#[tokio::test]
async fn whoami_says_what_waits_for_people() {
    let app = reviewed().await;
    let who = app.alice().await.get("/v1/whoami").await.expect(200);
    let reviews = &who["permissions"][0]["reviews"];
    let row = |name, group, approvals| json!({"policy": name, "users": ["*"], "groups": [group], "on_behalf_of": [], "approvals": approvals});
    assert_eq!(*reviews, json!([row("ops", "ops", 1), row("root", "root", 2)]));
}

#[tokio::test]
async fn an_identical_request_that_is_open_is_given_again() {
    let app = reviewed().await;
    let (alice, carol) = (app.alice().await, app.approver("carol").await);
    let key = Key::p256();
    let sign = async |query: &str| alice.sign(query, key.csr("/CN=alice/O=ops")).await.expect(202);
    let first = sign("?cluster=prod").await;
    assert_eq!(sign("?cluster=prod").await["id"], first["id"]);
    for query in ["?cluster=prod&ttl=1h", "?cluster=test", "?cluster=prod&reason=x"] {
        assert_ne!(sign(query).await["id"], first["id"], "{query}");
    }
    approve(&carol, &first).await.expect(200);
    let again = sign("?cluster=prod").await;
    assert_eq!((&again["id"], &again["status"]), (&first["id"], &json!("approved")));
    deny(&carol, &first).await.expect(200);
    assert_ne!(sign("?cluster=prod").await["id"], first["id"], "what is closed is not given again");
}

#[tokio::test]
async fn pending_requests_of_a_caller_are_capped() {
    let app = TestApp::with_pending(REVIEWED, 2).await;
    let (alice, bob, carol) = (app.alice().await, app.bob().await, app.approver("carol").await);
    let first = held(&alice, "/CN=alice/O=ops").await;
    let second = held(&alice, "/CN=alice/O=ops").await;
    let third = async || alice.sign("?cluster=prod", csr("/CN=alice/O=ops")).await;
    let full = third().await;
    assert_eq!(full.header("retry-after"), "60");
    full.refused(429, "too_many_pending");
    held(&bob, "/CN=bob/O=ops").await;
    approve(&carol, &first).await.expect(200);
    third().await.expect(202);
    third().await.refused(429, "too_many_pending");
    assert_eq!(withdraw(&alice, &second).await.status, 204);
    third().await.expect(202);
    alice.sign("?cluster=prod", csr("/CN=alice/O=dev")).await.expect(201);
}

#[tokio::test]
async fn a_request_lapses_after_an_hour_approved_or_not() {
    let app = reviewed().await;
    let (alice, carol, auditor) = (app.alice().await, app.approver("carol").await, app.auditor().await);
    let pending = held(&alice, "/CN=alice/O=ops").await;
    let approved = held(&alice, "/CN=alice/O=ops").await;
    approve(&carol, &approved).await.expect(200);
    app.at(3_599);
    assert_eq!(status(&alice, &approved).await, "approved");
    app.at(3_600);
    for request in [&pending, &approved] {
        assert_eq!(status(&alice, request).await, "lapsed");
        collect(&alice, request).await.refused(409, "request_closed");
    }
    let list = auditor.get("/v1/requests?status=lapsed").await.expect(200);
    assert_eq!(list["items"].as_array().unwrap().len(), 2);
    assert!(keeps_csr(&app, &pending).await, "nobody wrote it yet");
    approve(&carol, &pending).await.refused(409, "request_closed");
    app.app.lapse_requests().await;
    for request in [&pending, &approved] {
        assert!(!keeps_csr(&app, request).await);
        let closed = &alice.get(&path(request, "")).await.expect(200)["closed"];
        assert_eq!(closed["by"], "service:countersign");
    }
    assert_eq!(last_events(&app, &auditor, 2).await, ["request.lapsed"; 2]);
    assert_eq!(app.app.store.lapse_requests(app.app.clock.now()).await.unwrap(), 0);
}

#[tokio::test]
async fn whoever_asked_takes_it_back_and_its_csr_is_erased() {
    let app = reviewed().await;
    let (alice, carol, auditor) = (app.alice().await, app.approver("carol").await, app.auditor().await);
    let request = held(&alice, "/CN=alice/O=ops").await;
    approve(&carol, &request).await.expect(200);
    assert_eq!(withdraw(&alice, &request).await.status, 204);
    assert_eq!(status(&alice, &request).await, "withdrawn");
    assert!(!keeps_csr(&app, &request).await);
    withdraw(&alice, &request).await.refused(409, "request_closed");
    collect(&alice, &request).await.refused(409, "request_closed");
    approve(&carol, &request).await.refused(409, "request_closed");
    deny(&carol, &request).await.refused(409, "request_closed");
    assert_eq!(last_events(&app, &auditor, 1).await, ["request.withdrawn"]);
}

#[tokio::test]
async fn a_key_of_another_user_is_not_held() {
    let app = reviewed().await;
    let (alice, bob) = (app.alice().await, app.bob().await);
    let key = Key::p256();
    alice.sign("?cluster=prod", key.csr("/CN=alice/O=dev")).await.expect(201);
    bob.sign("?cluster=prod", key.csr("/CN=bob/O=ops")).await.refused(422, "key_owned");
}

#[tokio::test]
async fn the_ledger_is_sound_after_every_end_of_a_request() {
    let app = reviewed().await;
    let (alice, carol) = (app.alice().await, app.approver("carol").await);
    let mut requests: Vec<Value> = Vec::new();
    for _ in 0..5 {
        requests.push(held(&alice, "/CN=alice/O=ops").await);
    }
    approve(&carol, &requests[0]).await.expect(200);
    collect(&alice, &requests[0]).await.expect(201);
    deny(&carol, &requests[1]).await.expect(200);
    withdraw(&alice, &requests[2]).await;
    app.at(3_601);
    app.app.lapse_requests().await;
    requests.push(held(&alice, "/CN=alice/O=ops").await);
    let wrong = crate::check::findings(&app).await;
    assert!(wrong.is_empty(), "{wrong:?}");
}

/// On SQLite, since it is done to the file behind the service's back.
#[tokio::test]
async fn the_check_finds_what_was_changed_after_it_was_shown() {
    let app = TestApp::on_sqlite().await;
    app.apply(REVIEWED).await;
    app.app.refresh().await.unwrap();
    let (alice, carol) = (app.alice().await, app.approver("carol").await);
    let collected = held(&alice, "/CN=alice/O=ops").await;
    approve(&carol, &collected).await.expect(200);
    collect(&alice, &collected).await.expect(201);
    held(&alice, "/CN=alice/O=ops").await;
    assert!(crate::check::findings(&app).await.is_empty());
    let open = "DROP TRIGGER requests_only_move_on; UPDATE requests SET csr = x'00' WHERE state = 1;";
    crate::database::sqlite(&app, open);
    crate::database::sqlite(&app, "UPDATE requests SET lifetime = 60 WHERE state = 6");
    let wrong = crate::check::findings(&app).await.join("\n");
    assert!(wrong.contains("not the one that was shown"), "{wrong}");
    assert!(wrong.contains("lives longer than was approved"), "{wrong}");
    crate::database::sqlite(&app, "UPDATE requests SET user_name = 'root' WHERE state = 6");
    let wrong = crate::check::findings(&app).await.join("\n");
    assert!(wrong.contains("not what was approved"), "{wrong}");
}
