//! `Idempotency-Key` and `Prefer: wait` with a request that waits for people.

use std::time::{Duration, Instant};

use axum::http::Method;

use super::{approve, collect, deny, held, path, reviewed};
use crate::app::{Answer, Client};
use crate::csr::Key;

async fn keyed(client: &Client, key: &Key, query: &str) -> Answer {
    let headers = [("idempotency-key", "k1")];
    let (path, pem) = (format!("/v1/sign?cluster=prod{query}"), key.csr("/CN=alice/O=ops"));
    client.send(Method::POST, &path, &headers, pem.into_bytes()).await
}

#[tokio::test]
async fn the_same_idempotency_key_gives_the_request_and_then_its_certificate() {
    let app = reviewed().await;
    let (alice, carol) = (app.alice().await, app.approver("carol").await);
    let key = Key::p256();
    let first = keyed(&alice, &key, "").await;
    assert_eq!(first.header("idempotency-replayed"), "");
    let first = first.expect(202);
    let again = keyed(&alice, &key, "").await;
    assert_eq!(again.header("idempotency-replayed"), "true");
    assert_eq!(again.header("location"), path(&first, ""));
    assert_eq!(again.expect(202)["id"], first["id"]);
    keyed(&alice, &key, "&ttl=1h").await.refused(422, "idempotency_key_reused");
    keyed(&alice, &Key::p256(), "").await.refused(422, "idempotency_key_reused");
    approve(&carol, &first).await.expect(200);
    assert_eq!(keyed(&alice, &key, "").await.expect(202)["status"], "approved");
    let issued = collect(&alice, &first).await.expect(201);
    let replayed = keyed(&alice, &key, "").await;
    assert_eq!(replayed.header("idempotency-replayed"), "true");
    assert_eq!(replayed.expect(200)["serial"], issued["serial"]);
    app.at(7_201);
    keyed(&alice, &key, "").await.refused(409, "idempotency_expired");
}

#[tokio::test]
async fn an_idempotency_key_of_a_closed_request_is_used_up() {
    let app = reviewed().await;
    let (alice, carol) = (app.alice().await, app.approver("carol").await);
    let key = Key::p256();
    let request = keyed(&alice, &key, "").await.expect(202);
    deny(&carol, &request).await.expect(200);
    keyed(&alice, &key, "").await.refused(409, "request_closed");
}

#[tokio::test]
async fn a_key_without_its_request_is_not_made_up() {
    let app = reviewed().await;
    let alice = app.alice().await;
    let key = Key::p256();
    let unkeyed = alice.sign("?cluster=prod", key.csr("/CN=alice/O=ops")).await.expect(202);
    let keyed_later = keyed(&alice, &key, "").await.expect(202);
    assert_eq!(keyed_later["id"], unkeyed["id"], "an identical request that is open");
    let again = keyed(&alice, &key, "").await;
    assert_eq!(again.header("idempotency-replayed"), "true");
}

#[tokio::test]
async fn who_prefers_to_wait_is_answered_when_it_is_approved() {
    let app = reviewed().await;
    let (alice, carol) = (app.alice().await, app.approver("carol").await);
    let key = Key::p256();
    let request = alice.sign("?cluster=prod", key.csr("/CN=alice/O=ops")).await.expect(202);
    let (wait, own) = ([("prefer", "wait=60")], path(&request, ""));
    let started = Instant::now();
    let sign = key.csr("/CN=alice/O=ops").into_bytes();
    let (signed, read, approved) = tokio::join!(
        alice.send(Method::POST, "/v1/sign?cluster=prod", &wait, sign),
        alice.send(Method::GET, &own, &wait, Vec::new()),
        async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            approve(&carol, &request).await
        },
    );
    approved.expect(200);
    assert_eq!(signed.header("retry-after"), "0");
    assert_eq!(signed.expect(202)["status"], "approved");
    assert_eq!(read.expect(200)["status"], "approved");
    assert!(started.elapsed() < Duration::from_secs(30));
    assert!(started.elapsed() >= Duration::from_millis(200));
}

#[tokio::test]
async fn who_waits_in_vain_is_told_that_it_is_pending() {
    let app = reviewed().await;
    let alice = app.alice().await;
    let request = held(&alice, "/CN=alice/O=ops").await;
    let started = Instant::now();
    let wait = [("prefer", "wait=1")];
    let read = alice.send(Method::GET, &path(&request, ""), &wait, Vec::new()).await;
    assert_eq!(read.expect(200)["status"], "pending");
    assert!(started.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn many_who_wait_hold_no_connection_of_the_ledger() {
    let app = reviewed().await;
    let alice = std::sync::Arc::new(app.alice().await);
    let request = held(&alice, "/CN=alice/O=ops").await;
    let path = path(&request, "");
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..64 {
        let (alice, path) = (alice.clone(), path.clone());
        waiting
            .spawn(async move { alice.send(Method::GET, &path, &[("prefer", "wait=3")], Vec::new()).await });
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let started = Instant::now();
    alice.sign("?cluster=prod", crate::csr::csr("/CN=alice/O=dev")).await.expect(201);
    alice.get("/v1/certificates").await.expect(200);
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    while let Some(answer) = waiting.join_next().await {
        assert_eq!(answer.unwrap().expect(200)["status"], "pending");
    }
}
