//! What is checked under the lock, before anything is written.

use super::*;
use crate::audit::EventKind;

/// A request that can be made into several issuances with one key.
fn with_key_of(request: &CertRequest, user: &str) -> CertRequest {
    CertRequest::for_tests_with_key(user, &["dev"], request.key().clone())
}

#[tokio::test]
async fn a_serial_is_unique_under_its_ca() {
    let ledger = Ledger::new().await;
    let other = [0xcb; 32];
    ledger.register_authority("other", other, b"other", NOW).await.unwrap();
    ledger.record(sample(1).build()).await.unwrap();
    let again = ledger.record(sample(1).build()).await;
    assert!(matches!(again, Err(RecordError::SerialTaken)), "{again:?}");
    ledger.record(Sample { authority: other, cluster: "other", ..sample(1) }.build()).await.unwrap();
    let found = ledger.certificates_by_serial(serial(1)).await.unwrap();
    let found: Vec<_> = found.iter().map(|row| (row.number, row.authority)).collect();
    assert_eq!(found, [(2, other), (1, CA)]);
}

#[tokio::test]
async fn a_stale_issuance_moves_nothing() {
    let ledger = Ledger::new().await;
    ledger.block_key([1; 32], "leaked", NOW, &origin("cli:root")).await.unwrap();
    let stale = ledger.record(sample(7).build()).await;
    assert!(matches!(stale, Err(RecordError::Stale)), "{stale:?}");
    assert!(matches!(ledger.record_refusal(refusal()).await, Err(RefusalError::Stale)));
    assert!(ledger.all().await.is_empty());
    let seen = ledger.revisions().await.unwrap();
    assert_eq!(seen, Revisions { policy: 0, tokens: 0, blocked_keys: 1 });
    let recorded = ledger.record(Sample { seen, ..sample(7) }.build()).await.unwrap();
    assert_eq!(recorded.number, 2, "the stale ones took no number");
}

#[tokio::test]
async fn a_decision_under_another_revision_than_the_one_seen_is_stale() {
    let ledger = Ledger::new().await;
    let mut issuance = Sample { seen: Revisions { policy: 1, ..Revisions::default() }, ..sample(1) }.build();
    issuance.seen.policy = 0;
    assert!(matches!(ledger.record(issuance).await, Err(RecordError::Stale)));
}

#[tokio::test]
async fn a_key_belongs_to_its_first_user() {
    let ledger = Ledger::new().await;
    let request = CertRequest::for_tests("alice", &["dev"], KeyKind::P256);
    ledger.record(Sample { request: Some(request.clone()), ..sample(1) }.build()).await.unwrap();
    let renewal = Sample { request: Some(request.clone()), ..sample(2) };
    ledger.record(renewal.build()).await.unwrap();
    let other = Sample { request: Some(with_key_of(&request, "bob")), ..sample(3) };
    let refused = ledger.record(other.build()).await;
    assert!(matches!(refused, Err(RecordError::KeyOwned)), "{refused:?}");
    assert_eq!(ledger.all().await.len(), 2);
}

#[tokio::test]
async fn one_batch_does_not_give_a_key_to_two_users_nor_an_idempotency_key_twice() {
    let ledger = Ledger::new().await;
    let request = CertRequest::for_tests("alice", &["dev"], KeyKind::P256);
    let hold = ledger.connections().writer.acquire().await.unwrap();
    let first = ledger.recording(sample(1));
    tokio::task::yield_now().await;
    ledger.queued(0).await;
    let alice = ledger.recording(Sample { request: Some(request.clone()), ..sample(2) });
    let bob = ledger.recording(Sample { request: Some(with_key_of(&request, "bob")), ..sample(3) });
    let once = ledger.recording(Sample { idempotency: Some(("k", 1)), ..sample(4) });
    let twice = ledger.recording(Sample { idempotency: Some(("k", 1)), ..sample(5) });
    ledger.queued(4).await;
    drop(hold);
    assert_eq!(first.await.unwrap().unwrap().number, 1);
    assert_eq!(alice.await.unwrap().unwrap().number, 2);
    assert!(matches!(bob.await.unwrap(), Err(RecordError::KeyOwned)));
    assert_eq!(once.await.unwrap().unwrap().number, 3);
    assert!(matches!(twice.await.unwrap(), Err(RecordError::IdempotencyKeyTaken)));
}

#[tokio::test]
async fn a_blocked_key_is_not_recorded() {
    let ledger = Ledger::new().await;
    let request = CertRequest::for_tests("alice", &["dev"], KeyKind::P256);
    let key = request.key().spki_sha256();
    ledger.block_key(key, "leaked", NOW, &origin("cli:root")).await.unwrap();
    let seen = ledger.revisions().await.unwrap();
    let refused = ledger.record(Sample { request: Some(request), seen, ..sample(1) }.build()).await;
    assert!(matches!(refused, Err(RecordError::KeyBlocked)), "{refused:?}");
}

#[tokio::test]
async fn a_ca_that_is_not_registered_records_nothing() {
    let ledger = Ledger::new().await;
    let refused = ledger.record(Sample { authority: [1; 32], ..sample(1) }.build()).await;
    assert!(matches!(refused, Err(RecordError::Store(StoreError::Conflict(_)))), "{refused:?}");
}

#[tokio::test]
async fn a_database_that_is_bound_to_a_ca_takes_no_other() {
    let ledger = Ledger::new().await;
    ledger.bind_to_authority(CA).await.unwrap();
    ledger.bind_to_authority(CA).await.unwrap();
    let other = ledger.bind_to_authority([1; 32]).await;
    assert!(matches!(other, Err(StoreError::Conflict(_))), "{other:?}");
    let other = ledger.register_authority("prod", [1; 32], b"other", NOW).await;
    assert!(matches!(other, Err(StoreError::Conflict(_))), "{other:?}");
    ledger.record(sample(1).build()).await.unwrap();
}

#[tokio::test]
async fn a_database_that_knows_another_ca_is_not_bound() {
    let ledger = Ledger::new().await;
    let bound = ledger.bind_to_authority([1; 32]).await;
    assert!(matches!(bound, Err(StoreError::Conflict(_))), "{bound:?}");
}

#[tokio::test]
async fn a_cluster_keeps_every_ca_that_it_had() {
    let ledger = Ledger::new().await;
    for _ in 0..2 {
        ledger.register_authority("prod", [1; 32], b"new", NOW.after(Lifetime::LEAST)).await.unwrap();
    }
    assert_eq!(ledger.count("SELECT count(*) FROM authorities").await, 2);
    assert_eq!(ledger.count("SELECT count(*) FROM cluster_authorities").await, 3);
}

#[tokio::test]
async fn a_clock_over_a_minute_behind_is_refused_and_moves_nothing() {
    let ledger = Ledger::new().await;
    assert_eq!(ledger.health().await.unwrap().newest_record, None);
    ledger.record(sample(1).build()).await.unwrap();
    let at = NOW.before(60);
    assert_eq!(ledger.record(Sample { at, ..sample(2) }.build()).await.unwrap().number, 2);
    let behind = ledger.record(Sample { at: NOW.before(61), ..sample(3) }.build()).await;
    assert!(matches!(behind, Err(RecordError::ClockBehind { newest: NOW })), "{behind:?}");
    let behind = ledger.record_refusal(RefusalToRecord { at: NOW.before(61), ..refusal() }).await;
    assert!(matches!(behind, Err(RefusalError::ClockBehind { newest: NOW })), "{behind:?}");
    assert_eq!(ledger.health().await.unwrap().newest_record, Some(NOW));
    assert_eq!(ledger.record_refusal(refusal()).await.unwrap(), 3);
}

#[tokio::test]
async fn an_operator_can_vouch_for_the_clock() {
    let ledger = Ledger::new().await;
    let future = NOW.after(Lifetime::MOST);
    ledger.record(Sample { at: future, ..sample(1) }.build()).await.unwrap();
    assert!(ledger.record(sample(2).build()).await.is_err());
    ledger.accept_clock(NOW, &origin("cli:root")).await.unwrap();
    assert_eq!(ledger.record(sample(2).build()).await.unwrap().number, 3);
    let events = ledger.events(&EventFilter::default(), Page { before: Some(3), limit: 1 }).await.unwrap();
    assert_eq!(events[0].kind, EventKind::ClockAccepted);
    assert_eq!(events[0].origin.caller, "cli:root");
    assert_eq!(events[0].detail, serde_json::json!({ "newest_before": future }));
}

#[tokio::test]
async fn an_idempotency_key_gives_its_certificate_for_a_day() {
    let ledger = Ledger::new().await;
    let day = Lifetime::from_seconds(86_400);
    let recorded = ledger.record(Sample { idempotency: Some(("k", 1)), ..sample(1) }.build()).await.unwrap();
    let (idempotency, found) = ledger.idempotent("token:portal", "k", NOW).await.unwrap().unwrap();
    assert_eq!(idempotency, Idempotency { key: "k".to_owned(), fingerprint: [1; 32] });
    let Kept::Certificate(found) = found else { panic!("{found:?}") };
    assert_eq!(**found, *recorded);
    assert!(ledger.idempotent("token:other", "k", NOW).await.unwrap().is_none());
    assert!(ledger.idempotent("token:portal", "K", NOW).await.unwrap().is_none());
    assert!(ledger.idempotent("token:portal", "k", NOW.after(day).before(1)).await.unwrap().is_some());
    assert!(ledger.idempotent("token:portal", "k", NOW.after(day)).await.unwrap().is_none());
}

#[tokio::test]
async fn an_idempotency_key_is_taken_for_a_day_by_its_caller() {
    let ledger = Ledger::new().await;
    let with_key = |serial, at| Sample { idempotency: Some(("k", 2)), at, ..sample(serial) };
    ledger.record(with_key(1, NOW).build()).await.unwrap();
    let tomorrow = NOW.after(Lifetime::from_seconds(86_400));
    let taken = ledger.record(with_key(2, tomorrow.before(1)).build()).await;
    assert!(matches!(taken, Err(RecordError::IdempotencyKeyTaken)), "{taken:?}");
    ledger.record(Sample { caller: "token:other", ..with_key(3, NOW) }.build()).await.unwrap();
    let later = ledger.record(with_key(4, tomorrow).build()).await.unwrap();
    let (_, found) = ledger.idempotent("token:portal", "k", tomorrow).await.unwrap().unwrap();
    assert!(matches!(found, Kept::Certificate(found) if found.number == later.number));
    assert_eq!(ledger.count("SELECT count(*) FROM idempotency_keys").await, 1, "expired ones are dropped");
}
