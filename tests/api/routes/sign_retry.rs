//! `Idempotency-Key` on `POST /v1/sign`.

use axum::http::Method;

use crate::app::{Answer, Client, TestApp};
use crate::csr::{Key, csr};

async fn keyed(client: &Client, key: &str, query: &str, pem: &str) -> Answer {
    let headers = [("idempotency-key", key)];
    client.send(Method::POST, &format!("/v1/sign{query}"), &headers, pem.as_bytes().to_vec()).await
}

#[tokio::test]
async fn the_same_wish_under_the_same_key_gives_the_same_certificate() {
    let app = TestApp::new().await;
    let alice = app.alice().await;
    let key = Key::p256();
    let first = keyed(&alice, "k1", "?cluster=prod", &key.csr("/CN=alice/O=dev")).await.expect(201);
    let again = keyed(&alice, "k1", "?cluster=prod", &key.csr("/CN=alice/O=dev")).await;
    assert_eq!(again.header("idempotency-replayed"), "true");
    assert_eq!(again.expect(200)["serial"], first["serial"]);
}

#[tokio::test]
async fn another_wish_under_the_same_key_is_422() {
    let app = TestApp::new().await;
    let alice = app.alice().await;
    let key = Key::p256();
    keyed(&alice, "k1", "?cluster=prod", &key.csr("/CN=alice/O=dev")).await.expect(201);
    for (query, pem) in [
        ("?cluster=prod&ttl=1h", key.csr("/CN=alice/O=dev")),
        ("?cluster=test", key.csr("/CN=alice/O=dev")),
        ("?cluster=prod&reason=x", key.csr("/CN=alice/O=dev")),
        ("?cluster=prod", key.csr("/CN=alice")),
        ("?cluster=prod", csr("/CN=alice/O=dev")),
    ] {
        keyed(&alice, "k1", query, &pem).await.refused(422, "idempotency_key_reused");
    }
}

#[tokio::test]
async fn a_key_belongs_to_its_caller() {
    let app = TestApp::new().await;
    keyed(&app.alice().await, "k1", "?cluster=prod", &csr("/CN=alice")).await.expect(201);
    keyed(&app.bob().await, "k1", "?cluster=prod", &csr("/CN=bob")).await.expect(201);
}

#[tokio::test]
async fn a_refusal_is_not_kept_under_a_key() {
    let app = TestApp::new().await;
    let alice = app.alice().await;
    keyed(&alice, "k1", "?cluster=prod", &csr("/CN=bob")).await.refused(403, "policy_denied");
    keyed(&alice, "k1", "?cluster=prod", &csr("/CN=alice")).await.expect(201);
}

#[tokio::test]
async fn an_expired_certificate_is_not_given_again() {
    let app = TestApp::new().await;
    let alice = app.alice().await;
    let key = Key::p256();
    keyed(&alice, "k1", "?cluster=prod&ttl=10m", &key.csr("/CN=alice")).await.expect(201);
    app.at(601);
    keyed(&alice, "k1", "?cluster=prod&ttl=10m", &key.csr("/CN=alice"))
        .await
        .refused(409, "idempotency_expired");
    app.at(86_400 + 1);
    keyed(&alice, "k1", "?cluster=prod&ttl=10m", &key.csr("/CN=alice")).await.expect(201);
}

#[tokio::test]
async fn a_key_is_at_most_128_printable_bytes_and_is_sent_once() {
    let app = TestApp::new().await;
    let alice = app.alice().await;
    keyed(&alice, &"k".repeat(128), "?cluster=prod", &csr("/CN=alice")).await.expect(201);
    for key in [String::new(), "k".repeat(129), "a\tb".to_owned()] {
        keyed(&alice, &key, "?cluster=prod", &csr("/CN=alice")).await.expect(400);
    }
    let headers = [("idempotency-key", "a"), ("idempotency-key", "b")];
    let pem = csr("/CN=alice").into_bytes();
    alice.send(Method::POST, "/v1/sign?cluster=prod", &headers, pem).await.expect(400);
}

#[tokio::test]
async fn sixteen_at_once_under_one_key_make_one_certificate() {
    let app = TestApp::new().await;
    let alice = std::sync::Arc::new(app.alice().await);
    let pem = csr("/CN=alice");
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let (alice, pem) = (alice.clone(), pem.clone());
        running.spawn(async move { keyed(&alice, "once", "?cluster=prod", &pem).await });
    }
    let mut serials = std::collections::HashSet::new();
    while let Some(answer) = running.join_next().await {
        let answer = answer.unwrap();
        match answer.status.as_u16() {
            200 | 201 => assert!(
                serials.len() < 2 && serials.insert(answer.json()["serial"].to_string())
                    || serials.len() == 1
            ),
            _ => {
                assert!(!answer.header("retry-after").is_empty());
                answer.refused(409, "idempotency_in_flight");
            }
        }
    }
    assert_eq!(serials.len(), 1);
}

#[tokio::test]
async fn a_replay_says_again_that_the_lifetime_was_cut() {
    let app = TestApp::new().await;
    let alice = app.alice().await;
    let pem = csr("/CN=alice");
    for _ in 0..2 {
        let answer = keyed(&alice, "k1", "?cluster=prod&ttl=20h", &pem).await;
        assert!(answer.json()["warnings"].to_string().contains("20h"), "{}", answer.text());
    }
}
