//! Who approves, and what counts.

use serde_json::json;

use super::{REVIEWED, approve, collect, deny, held, keeps_csr, last_events, post, reviewed, status};
use crate::app::{Client, TestApp};
use crate::csr::csr;

#[tokio::test]
async fn each_row_wants_its_own_approvals() {
    let app = reviewed().await;
    let alice = app.alice().await;
    let (carol, dave, other) =
        (app.approver("carol").await, app.approver("dave").await, app.approver("other").await);
    let request = held(&alice, "/CN=alice/O=ops/O=root").await;
    let given =
        |request: &serde_json::Value| [0, 1].map(|row| request["reviews"][row]["given"].as_i64().unwrap());
    let one = approve(&other, &request).await.expect(200);
    assert_eq!((given(&one), &one["status"]), ([1, 0], &json!("pending")));
    let two = approve(&carol, &request).await.expect(200);
    assert_eq!((given(&two), &two["status"]), ([2, 1], &json!("pending")));
    let three = approve(&dave, &request).await.expect(200);
    assert_eq!((given(&three), &three["status"]), ([3, 2], &json!("approved")));
    collect(&alice, &request).await.expect(201);
}

#[tokio::test]
async fn one_person_with_two_tokens_counts_once() {
    let app = reviewed().await;
    let alice = app.alice().await;
    let roles = &["approver"][..];
    let laptop = app.owned("carol", "oidc:corp:carol", roles, false).await;
    let phone = app.owned("carol-2", "oidc:corp:carol", roles, false).await;
    let request = held(&alice, "/CN=alice/O=root").await;
    approve(&laptop, &request).await.expect(200);
    for again in [&laptop, &phone] {
        approve(again, &request).await.refused(409, "already_approved");
    }
    assert_eq!(status(&alice, &request).await, "pending");
    let approved = approve(&app.approver("dave").await, &request).await.expect(200);
    assert_eq!(approved["status"], "approved");
    approve(&phone, &request).await.refused(409, "already_approved");
}

/// That this approver is refused, on record, and moves nothing.
async fn may_not(app: &TestApp, requester: &Client, query: &str, subject: &str, approver: &Client) {
    let request = requester.sign(&format!("?cluster=prod{query}"), csr(subject)).await.expect(202);
    approve(approver, &request).await.refused(403, "approval_not_allowed");
    assert_eq!(status(requester, &request).await, "pending");
    let refusals =
        app.app.store.refusals(&countersign::store::RefusalFilter::default(), page()).await.unwrap();
    assert_eq!(refusals[0].record.code, "approval_not_allowed");
    assert_eq!(refusals[0].record.cluster.as_deref(), Some("prod"));
}

fn page() -> countersign::store::Page {
    countersign::store::Page { before: None, limit: 1 }
}

#[tokio::test]
async fn nobody_approves_what_he_asked_for_himself() {
    let app = reviewed().await;
    let both = app.client("alice", &["requester", "approver"], false).await;
    may_not(&app, &both, "", "/CN=alice/O=ops", &both).await;
}

#[tokio::test]
async fn nobody_approves_with_another_token_of_his() {
    let app = reviewed().await;
    let alice = app.owned("alice", "oidc:corp:al", &["requester"], false).await;
    let second = app.owned("other", "oidc:corp:al", &["approver"], false).await;
    may_not(&app, &alice, "", "/CN=alice/O=ops", &second).await;
}

#[tokio::test]
async fn nobody_approves_with_a_token_that_the_caller_owns() {
    let app = reviewed().await;
    let alice = app.alice().await;
    let owned = app.owned("other", "token:alice", &["approver"], false).await;
    may_not(&app, &alice, "", "/CN=alice/O=ops", &owned).await;
}

#[tokio::test]
async fn nobody_approves_what_a_portal_asks_on_behalf_of_him() {
    let app = reviewed().await;
    let portal = app.portal().await;
    let bob = app.owned("other", "oidc:corp:bob", &["approver"], false).await;
    may_not(&app, &portal, "&on_behalf_of=bob", "/CN=robot/O=ops", &bob).await;
    may_not(&app, &portal, "&on_behalf_of=Bob", "/CN=robot/O=ops", &bob).await;
}

#[tokio::test]
async fn nobody_approves_a_certificate_that_makes_him_its_user() {
    let app = reviewed().await;
    let portal = app.portal().await;
    let bob = app.client("bob", &["approver"], false).await;
    may_not(&app, &portal, "&on_behalf_of=robot", "/CN=bob/O=ops", &bob).await;
    may_not(&app, &portal, "&on_behalf_of=robot", "/CN=BOB/O=ops", &bob).await;
}

#[tokio::test]
async fn nobody_approves_under_a_row_that_he_wrote() {
    let app = reviewed().await;
    let alice = app.alice().await;
    let carol = app.client("carol", &["admin", "approver"], false).await;
    let with = |approvers: &str| REVIEWED.replace("[\"token:carol\", \"token:dave\", ", approvers);
    let put = async |client: &Client, policies: String| {
        let headers = [("if-match", "*")];
        let body = policies.into_bytes();
        client.send(axum::http::Method::PUT, "/v1/policies", &headers, body).await.expect(200);
    };
    put(&carol, with("[\"token:carol\", ")).await;
    let own = held(&alice, "/CN=alice/O=ops").await;
    approve(&carol, &own).await.refused(403, "approval_not_allowed");
    let other = app.approver("other").await;
    approve(&other, &own).await.expect(200);
    collect(&alice, &own).await.expect(201);

    put(&app.admin().await, with("[\"token:carol\", ").replace("Production.", "Still production.")).await;
    let touched = held(&alice, "/CN=alice/O=ops").await;
    approve(&carol, &touched).await.refused(403, "approval_not_allowed");
    app.apply(&with("[")).await;
    app.apply(REVIEWED).await;
    app.app.refresh().await.unwrap();
    let by_others = held(&alice, "/CN=alice/O=ops").await;
    approve(&carol, &by_others).await.expect(200);
}

#[tokio::test]
async fn every_named_approver_may_deny_and_the_csr_is_erased() {
    let app = reviewed().await;
    let (alice, carol, auditor) = (app.alice().await, app.approver("carol").await, app.auditor().await);
    let request = held(&alice, "/CN=alice/O=ops").await;
    let denied = deny(&carol, &request).await.expect(200);
    assert_eq!(denied["status"], "denied");
    assert_eq!(
        denied["closed"],
        json!({"at": "2026-06-01T09:00:00Z", "by": "token:carol", "comment": "no", "serial": null})
    );
    assert!(!keeps_csr(&app, &request).await);
    approve(&carol, &request).await.refused(409, "request_closed");
    collect(&alice, &request).await.refused(409, "request_closed");
    assert_eq!(last_events(&app, &auditor, 1).await, ["request.denied"]);
    let approved = held(&alice, "/CN=alice/O=ops").await;
    approve(&carol, &approved).await.expect(200);
    deny(&carol, &approved).await.expect(200);
    collect(&alice, &approved).await.refused(409, "request_closed");
}

#[tokio::test]
async fn a_comment_is_text_and_never_a_key() {
    let app = reviewed().await;
    let (alice, carol) = (app.alice().await, app.approver("carol").await);
    let request = held(&alice, "/CN=alice/O=ops").await;
    for (body, status, code) in [
        ("sound".to_owned(), 400, "json_invalid"),
        (r#"{"comment": ""}"#.to_owned(), 400, "parameter_invalid"),
        (r#"{"comment": "a", "id": 7}"#.to_owned(), 400, "json_invalid"),
        (json!({"comment": crate::csr::Key::p256().private_pem()}).to_string(), 422, "private_key_in_body"),
        (json!({"comment": "x".repeat(5_000)}).to_string(), 413, "body_too_large"),
    ] {
        post(&carol, &request, "/approve", &body).await.refused(status, code);
    }
    post(&carol, &request, "/approve?force=1", "").await.refused(400, "parameter_unknown");
    assert_eq!(
        post(&carol, &request, "/approve", "").await.expect(200)["approvals"][0]["comment"],
        json!(null)
    );
}

#[tokio::test]
async fn two_approvers_at_once_both_count_and_nobody_is_lost() {
    let app = reviewed().await;
    let (alice, auditor) = (app.alice().await, app.auditor().await);
    let (carol, dave) = (app.approver("carol").await, app.approver("dave").await);
    for _ in 0..10 {
        let request = held(&alice, "/CN=alice/O=root").await;
        let (one, other) = tokio::join!(approve(&carol, &request), approve(&dave, &request));
        let states = [one.expect(200), other.expect(200)].map(|answer| answer["status"].clone());
        assert!(states.contains(&json!("approved")), "{states:?}");
        assert_eq!(status(&alice, &request).await, "approved");
        assert_eq!(last_events(&app, &auditor, 2).await, ["request.approved"; 2]);
        collect(&alice, &request).await.expect(201);
    }
}

#[tokio::test]
async fn one_approver_at_once_with_two_tokens_counts_once() {
    let app = reviewed().await;
    let alice = app.alice().await;
    let roles = &["approver"][..];
    let laptop = app.owned("carol", "oidc:corp:carol", roles, false).await;
    let phone = app.owned("carol-2", "oidc:corp:carol", roles, false).await;
    for _ in 0..10 {
        let request = held(&alice, "/CN=alice/O=root").await;
        let (one, other) = tokio::join!(approve(&laptop, &request), approve(&phone, &request));
        let mut codes = [one.status.as_u16(), other.status.as_u16()];
        codes.sort_unstable();
        assert_eq!(codes, [200, 409]);
        assert_eq!(status(&alice, &request).await, "pending");
    }
}

#[tokio::test]
async fn of_approve_against_deny_the_denial_stands() {
    let app = reviewed().await;
    let alice = app.alice().await;
    let (carol, dave) = (app.approver("carol").await, app.approver("dave").await);
    for _ in 0..10 {
        let request = held(&alice, "/CN=alice/O=ops").await;
        let (yes, no) = tokio::join!(approve(&carol, &request), deny(&dave, &request));
        no.expect(200);
        match yes.status.as_u16() {
            200 => {}
            _ => drop(yes.refused(409, "request_closed")),
        }
        assert_eq!(status(&alice, &request).await, "denied");
        collect(&alice, &request).await.refused(409, "request_closed");
    }
}

#[tokio::test]
async fn of_two_who_collect_at_once_both_get_the_one_certificate() {
    let app = reviewed().await;
    let (alice, carol, auditor) = (app.alice().await, app.approver("carol").await, app.auditor().await);
    for round in 1..=10 {
        let request = held(&alice, "/CN=alice/O=ops").await;
        approve(&carol, &request).await.expect(200);
        let (one, other) = tokio::join!(collect(&alice, &request), collect(&alice, &request));
        assert!(one.status.is_success() && other.status.is_success(), "{} {}", one.text(), other.text());
        assert_eq!(one.json()["serial"], other.json()["serial"]);
        let issued = auditor.get("/v1/certificates").await.expect(200);
        assert_eq!(issued["items"].as_array().unwrap().len(), round);
    }
}

#[tokio::test]
async fn of_collect_against_deny_one_stands() {
    let app = reviewed().await;
    let (alice, carol) = (app.alice().await, app.approver("carol").await);
    for _ in 0..10 {
        let request = held(&alice, "/CN=alice/O=ops").await;
        approve(&carol, &request).await.expect(200);
        let (issued, denied) = tokio::join!(collect(&alice, &request), deny(&carol, &request));
        if denied.status == 200 {
            issued.refused(409, "request_closed");
        } else {
            denied.refused(409, "request_closed");
            issued.expect(201);
        }
    }
}
