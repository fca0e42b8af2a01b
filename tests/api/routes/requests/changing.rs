//! What changes between the approval and the certificate.

use serde_json::json;

use super::{REVIEWED, approve, collect, held, keeps_csr, last_events, path, reviewed, status};
use crate::app::TestApp;
use crate::csr::{Key, csr};

/// That what was approved is void once `change` was applied, and that nothing is signed.
async fn voids(change: impl Fn(&str) -> String) {
    let app = reviewed().await;
    let (alice, carol, auditor) = (app.alice().await, app.approver("carol").await, app.auditor().await);
    let request = held(&alice, "/CN=alice/O=ops").await;
    approve(&carol, &request).await.expect(200);
    app.apply(&change(REVIEWED)).await;
    collect(&alice, &request).await.refused(409, "request_voided");
    assert_eq!(status(&alice, &request).await, "voided");
    assert!(!keeps_csr(&app, &request).await);
    assert_eq!(last_events(&app, &auditor, 1).await, ["request.voided"]);
    collect(&alice, &request).await.refused(409, "request_closed");
    assert_eq!(auditor.get("/v1/certificates").await.expect(200)["items"], json!([]));
}

#[tokio::test]
async fn a_review_row_that_changed_voids_every_approval() {
    voids(|rows| rows.replace("description: Production.", "description: Other.")).await;
}

#[tokio::test]
async fn a_further_review_row_voids_every_approval() {
    voids(|rows| {
        let more = r#"  - { name: more, effect: review, clusters: ["*"], callers: ["token:*"], users: ["*"], approvers: ["token:dave"] }"#;
        format!("{rows}{more}\n")
    })
    .await;
}

#[tokio::test]
async fn a_review_row_that_is_gone_voids_every_approval() {
    voids(|rows| rows.lines().filter(|line| !line.contains("name: ops")).collect::<Vec<_>>().join("\n"))
        .await;
}

#[tokio::test]
async fn a_review_row_that_is_switched_off_voids_every_approval() {
    voids(|rows| rows.replace("description: Production.", "enabled: false, description: Production.")).await;
}

#[tokio::test]
async fn a_row_of_others_voids_nothing() {
    let app = reviewed().await;
    let (alice, carol) = (app.alice().await, app.approver("carol").await);
    let request = held(&alice, "/CN=alice/O=ops").await;
    approve(&carol, &request).await.expect(200);
    app.apply(&REVIEWED.replace("approvals: 2", "approvals: 3")).await;
    collect(&alice, &request).await.expect(201);
}

#[tokio::test]
async fn what_is_refused_today_is_refused_recorded_and_void() {
    let app = reviewed().await;
    let (alice, carol, auditor) = (app.alice().await, app.approver("carol").await, app.auditor().await);
    let request = held(&alice, "/CN=alice/O=ops").await;
    approve(&carol, &request).await.expect(200);
    app.apply(&REVIEWED.replace("groups: [dev, ops, root]", "groups: [dev]")).await;
    collect(&alice, &request).await.refused(403, "policy_denied");
    assert_eq!(status(&alice, &request).await, "voided");
    let kinds = ["request.approved", "policy.replaced", "request.refused", "request.voided"];
    assert_eq!(last_events(&app, &auditor, 4).await, kinds);
}

#[tokio::test]
async fn a_key_that_was_blocked_since_is_not_certified() {
    let app = reviewed().await;
    let (alice, carol) = (app.alice().await, app.approver("carol").await);
    let key = Key::p256();
    let request = alice.sign("?cluster=prod", key.csr("/CN=alice/O=ops")).await.expect(202);
    approve(&carol, &request).await.expect(200);
    let mut octets = [0; 32];
    hex::decode_to_slice(request["spki_sha256"].as_str().unwrap(), &mut octets).unwrap();
    app.app.store.block_key(octets, "stolen", crate::app::NOON, &crate::app::operator()).await.unwrap();
    collect(&alice, &request).await.refused(422, "key_blocked");
    assert_eq!(status(&alice, &request).await, "voided");
}

#[tokio::test]
async fn deciding_again_may_shorten_and_never_lengthens() {
    let app = reviewed().await;
    let (alice, carol) = (app.alice().await, app.approver("carol").await);
    let shorter = held(&alice, "/CN=alice/O=ops").await;
    let shown = alice.sign("?cluster=prod", csr("/CN=alice/O=ops")).await.expect(202);
    assert_eq!(shown["lifetime"], "2h");
    for request in [&shorter, &shown] {
        approve(&carol, request).await.expect(200);
    }
    app.apply(&REVIEWED.replace("max_ttl: 8h", "max_ttl: 1h")).await;
    let issued = collect(&alice, &shorter).await.expect(201);
    assert_eq!(issued["not_after"], "2026-06-01T10:00:00Z");
    app.apply(REVIEWED).await;
    let issued = collect(&alice, &shown).await.expect(201);
    assert_eq!(issued["not_after"], "2026-06-01T11:00:00Z");
}

#[tokio::test]
async fn more_than_what_was_shown_is_never_given() {
    let narrow = REVIEWED.replace("max_ttl: 8h", "max_ttl: 1h");
    let app = TestApp::with_policies(&narrow).await;
    let (alice, carol) = (app.alice().await, app.approver("carol").await);
    let request = held(&alice, "/CN=alice/O=ops").await;
    assert_eq!(request["lifetime"], "1h");
    approve(&carol, &request).await.expect(200);
    app.apply(REVIEWED).await;
    let issued = collect(&alice, &request).await.expect(201);
    assert_eq!(issued["not_after"], "2026-06-01T10:00:00Z");
    assert!(issued["warnings"].to_string().contains("no more was approved"), "{issued}");
}

#[tokio::test]
async fn an_approver_whose_token_was_revoked_since_does_not_count() {
    let app = reviewed().await;
    let (alice, carol) = (app.alice().await, app.approver("carol").await);
    let request = held(&alice, "/CN=alice/O=ops").await;
    approve(&carol, &request).await.expect(200);
    app.revoke("carol").await;
    collect(&alice, &request).await.refused(409, "request_voided");
    assert_eq!(status(&alice, &request).await, "voided");
}

#[tokio::test]
async fn an_approver_whose_token_was_revoked_behind_the_service_approves_nothing() {
    let app = reviewed().await;
    let (alice, carol) = (app.alice().await, app.approver("carol").await);
    let request = held(&alice, "/CN=alice/O=ops").await;
    app.revoke("carol").await;
    approve(&carol, &request).await.refused(401, "unauthenticated");
    assert_eq!(status(&alice, &request).await, "pending");
}

#[tokio::test]
async fn a_requester_whose_token_was_revoked_since_collects_nothing() {
    let app = reviewed().await;
    let (alice, carol, auditor) = (app.alice().await, app.approver("carol").await, app.auditor().await);
    let request = held(&alice, "/CN=alice/O=ops").await;
    approve(&carol, &request).await.expect(200);
    app.revoke("alice").await;
    collect(&alice, &request).await.refused(401, "unauthenticated");
    assert_eq!(auditor.get("/v1/certificates").await.expect(200)["items"], json!([]));
}

#[tokio::test]
async fn an_approval_of_a_row_that_changed_voids_the_request() {
    let app = reviewed().await;
    let (alice, carol) = (app.alice().await, app.approver("carol").await);
    let request = held(&alice, "/CN=alice/O=ops").await;
    app.apply(&REVIEWED.replace("description: Production.", "description: Other.")).await;
    approve(&carol, &request).await.refused(409, "request_voided");
    assert_eq!(alice.get(&path(&request, "")).await.expect(200)["approvals"], json!([]));
    assert_eq!(status(&alice, &request).await, "voided");
}
