//! What was kept for long enough goes, and nothing earlier, whoever asks.

use super::super::retention::{LEAST_RETENTION, Prunable};
use super::*;
use crate::audit::EventKind;
use crate::clock::Clock;

/// 2020-01-01: so long ago that thirty days have passed by every clock.
const LONG_AGO: Time = Time::from_unix(1_577_836_800);

/// Two old certificates, an old refusal, and one certificate of today. The database compares with
/// its own clock, so today is the real one.
async fn filled() -> Ledger {
    let ledger = Ledger::new().await;
    let groups: &[&str] = &["dev", "ops"];
    let old = |number| Sample { at: LONG_AGO, groups, idempotency: Some(("key", 7)), ..sample(number) };
    ledger.record(old(1).build()).await.unwrap();
    ledger.record(Sample { idempotency: None, user: "bob", ..old(2) }.build()).await.unwrap();
    ledger.record_refusal(RefusalToRecord { at: LONG_AGO, ..refusal() }).await.unwrap();
    ledger.record(Sample { at: Clock::System.now(), groups, ..sample(3) }.build()).await.unwrap();
    ledger.with_clock().await;
    ledger
}

async fn keep(ledger: &Ledger, keep: Option<Lifetime>) -> bool {
    ledger.set_retention(keep, Clock::System.now(), &origin("cli:root")).await.unwrap()
}

async fn prune(ledger: &Ledger, which: Prunable) -> u64 {
    let step = ledger.prune_some(which, 0, Clock::System.now(), Some(&origin("cli:root"))).await;
    step.unwrap().count
}

const KEPT_KEYS: &str = "SELECT count(*) FROM idempotency_keys";

#[tokio::test]
async fn without_a_word_of_the_operator_everything_is_kept() {
    let ledger = filled().await;
    assert_eq!(ledger.retention().await.unwrap(), None);
    assert_eq!(prune(&ledger, Prunable::Certificates).await, 0);
    for table in ["DELETE FROM certificates", "DELETE FROM refusals"] {
        assert!(ledger.run(table).await.unwrap_err().to_string().contains("append-only"), "{table}");
    }
    assert_eq!(ledger.all().await.len(), 3);
}

#[tokio::test]
async fn what_was_kept_for_long_enough_is_deleted_and_the_rest_stays() {
    let ledger = filled().await;
    let keys: Vec<_> = ledger.all().await.iter().map(|row| (row.spki_sha256, row.user.clone())).collect();
    assert!(keep(&ledger, Some(LEAST_RETENTION)).await);
    let counted = ledger.prune_some(Prunable::Certificates, 0, Clock::System.now(), None).await.unwrap();
    assert_eq!((counted.count, ledger.all().await.len()), (2, 3));

    assert_eq!(prune(&ledger, Prunable::Certificates).await, 2);
    assert_eq!(prune(&ledger, Prunable::Certificates).await, 0);
    assert_eq!(prune(&ledger, Prunable::Refusals).await, 1);
    assert_eq!(ledger.all().await.iter().map(|row| row.number).collect::<Vec<_>>(), [4]);
    assert_eq!(ledger.count(KEPT_KEYS).await, 0);
    let ops = CertificateFilter { group: Some("ops".to_owned()), ..CertificateFilter::default() };
    assert_eq!(ledger.certificates(&ops, everything()).await.unwrap().len(), 1);
    // Whose the keys of the two are is noted; the third one says so itself.
    assert_eq!(ledger.count("SELECT count(*) FROM key_owners").await, 2);
    for (key, user) in keys {
        assert_eq!(ledger.key_owner(key).await.unwrap(), Some(user));
    }
    assert_eq!(ledger.count("SELECT count(*) FROM refusals").await, 0);
    assert!(ledger.integrity().await.unwrap().is_empty());
}

#[tokio::test]
async fn each_deletion_and_each_change_of_the_retention_is_in_the_audit_log() {
    let ledger = filled().await;
    keep(&ledger, Some(LEAST_RETENTION)).await;
    assert!(!keep(&ledger, Some(LEAST_RETENTION)).await);
    prune(&ledger, Prunable::Certificates).await;
    prune(&ledger, Prunable::Refusals).await;
    keep(&ledger, None).await;
    let events = ledger.events_after(&EventFilter::default(), 4, 10).await.unwrap();
    let told: Vec<_> = events.iter().map(|event| (event.kind, event.detail.clone())).collect();
    let detail = |records: &str, numbers: serde_json::Value, count: u32| {
        let kept = "30d";
        serde_json::json!({ "records": records, "count": count, "numbers": numbers, "retention": kept })
    };
    let certificates = detail("certificates", serde_json::json!([[1, 2]]), 2);
    let refusals = detail("refusals", serde_json::json!([[3, 3]]), 1);
    assert_eq!(
        told,
        [
            (EventKind::RetentionChanged, serde_json::json!({ "before": null, "after": "30d" })),
            (EventKind::LedgerPruned, certificates),
            (EventKind::LedgerPruned, refusals),
            (EventKind::RetentionChanged, serde_json::json!({ "before": "30d", "after": null })),
        ]
    );
    assert_eq!(events[1].origin.caller, "cli:root");
}

#[tokio::test]
async fn the_database_itself_refuses_to_delete_earlier() {
    let ledger = filled().await;
    keep(&ledger, Some(LEAST_RETENTION)).await;
    for statement in [
        "DELETE FROM certificates WHERE number = 4",
        "UPDATE certificates SET user_name = 'root' WHERE number = 1",
        "UPDATE refusals SET code = 'x'",
        if ledger.is_sqlite() {
            "INSERT OR REPLACE INTO certificates SELECT * FROM certificates WHERE number = 1"
        } else {
            "TRUNCATE certificates CASCADE"
        },
        "DELETE FROM events WHERE number = 1",
    ] {
        let error = ledger.run(statement).await.expect_err(statement).to_string();
        assert!(error.contains("append-only"), "{statement}: {error}");
    }
    let error = ledger.run("DELETE FROM certificates WHERE number = 1").await.unwrap_err().to_string();
    assert!(error.contains("whose a key is must be noted"), "{error}");
    keep(&ledger, Some(Lifetime::from_seconds(u32::MAX))).await;
    let error = ledger.run("DELETE FROM certificates WHERE number = 1").await.unwrap_err().to_string();
    assert!(error.contains("retention"), "{error}");
    let error = ledger.run("DELETE FROM refusals").await.unwrap_err().to_string();
    assert!(error.contains("retention"), "{error}");
}

#[tokio::test]
async fn a_program_whose_clock_is_ahead_of_the_databases_deletes_nothing() {
    let ledger = filled().await;
    keep(&ledger, Some(LEAST_RETENTION)).await;
    let later = Clock::System.now().after(Lifetime::MOST);
    let refused = ledger.prune_some(Prunable::Certificates, 0, later, Some(&origin("cli:root"))).await;
    assert!(refused.unwrap_err().to_string().contains("retention"));
    assert_eq!((ledger.all().await.len(), ledger.count(KEPT_KEYS).await), (3, 1));
    ledger.record(Sample { at: Clock::System.now(), ..sample(9) }.build()).await.unwrap();
}

#[tokio::test]
async fn a_retention_below_thirty_days_is_refused_twice() {
    let ledger = filled().await;
    let short = Some(Lifetime::from_seconds(LEAST_RETENTION.seconds() - 1));
    let refused = ledger.set_retention(short, NOW, &origin("cli:root")).await;
    assert!(matches!(refused, Err(StoreError::Conflict(_))), "{refused:?}");
    assert!(ledger.run("UPDATE retention SET seconds = 2591999").await.is_err());
    assert!(ledger.run("DELETE FROM retention").await.unwrap_err().to_string().contains("for ever"));
}
