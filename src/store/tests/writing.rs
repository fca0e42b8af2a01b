//! The writer under load, under faults, and with callers that go away.

use std::time::{Duration, Instant};

use super::*;

const MOMENT: Duration = Duration::from_millis(50);

fn numbers(rows: &[Recorded]) -> Vec<i64> {
    rows.iter().rev().map(|row| row.number).collect()
}

/// Certificate and event of every record are there, and the numbers have no gap.
async fn assert_whole(ledger: &Ledger) {
    let all = ledger.all().await;
    let count = i64::try_from(all.len()).unwrap();
    assert_eq!(numbers(&all), (1..=count).collect::<Vec<_>>());
    for table in ["SELECT count(*) FROM events", "SELECT number FROM state"] {
        assert_eq!(ledger.count(table).await, count, "{table}");
    }
    assert_eq!(ledger.integrity().await.unwrap(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_records_of_64_tasks_have_dense_numbers_in_commit_order() {
    let ledger = Ledger::new().await;
    let store = ledger.store.clone();
    // Sees every number once, in order, while they are written.
    let follower = tokio::spawn(async move {
        let mut seen = 0;
        while seen < 2_000 {
            for event in store.events_after(&EventFilter::default(), seen, 100).await.unwrap() {
                assert_eq!(event.number, seen + 1, "a follower would have missed one");
                seen = event.number;
            }
            tokio::task::yield_now().await;
        }
    });
    let mut tasks = Vec::new();
    for task in 0..64 {
        let store = ledger.store.clone();
        tasks.push(tokio::spawn(async move {
            let mut last = 0;
            for number in (0..2_000).filter(|number| number % 64 == task) {
                let recorded = store.record(sample(number).build()).await.unwrap();
                assert!(recorded.number > last);
                last = recorded.number;
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    follower.await.unwrap();
    assert_eq!(ledger.all().await.len(), 2_000);
    assert_whole(&ledger).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_writers_on_one_database_share_one_sequence() {
    let ledger = Ledger::new().await;
    let beside = ledger.beside().await;
    let mut tasks = Vec::new();
    for task in 0..8 {
        let store = if task % 2 == 0 { ledger.store.clone() } else { beside.clone() };
        tasks.push(tokio::spawn(async move {
            for number in 0..25 {
                let group = format!("group-{}", number % 5);
                let groups = [group.as_str()];
                let sample = || Sample { groups: &groups, ..sample(task * 100 + number) };
                // The other one may hold the lock for long on a slow machine: nothing is lost then.
                while let Err(error) = store.record(sample().build()).await {
                    let locked = RecordError::Store(StoreError::Unavailable(String::new()));
                    assert_eq!(std::mem::discriminant(&error), std::mem::discriminant(&locked));
                }
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(ledger.all().await.len(), 200);
    assert_whole(&ledger).await;
}

#[tokio::test]
async fn one_bad_row_of_a_batch_fails_alone_and_with_its_own_reason() {
    let ledger = Ledger::new().await;
    ledger.refuse_mallory().await;
    let hold = ledger.connections().writer.acquire().await.unwrap();
    // The writer takes the first and waits for its connection; the others become one batch.
    let mut recordings = vec![ledger.recording(sample(1))];
    tokio::task::yield_now().await;
    ledger.queued(0).await;
    for serial in 2..=20 {
        let user = if serial == 11 { "mallory" } else { "alice" };
        recordings.push(ledger.recording(Sample { user, ..sample(serial) }));
    }
    recordings.push(ledger.recording(sample(1)));
    ledger.queued(20).await;
    drop(hold);
    let mut outcomes = Vec::new();
    for recording in recordings {
        outcomes.push(recording.await.unwrap());
    }
    let bad = outcomes.remove(10);
    assert!(
        matches!(&bad, Err(RecordError::Store(StoreError::Unavailable(why))) if why.contains("a bad row")),
        "{bad:?}"
    );
    let twice = outcomes.pop().unwrap();
    assert!(matches!(twice, Err(RecordError::SerialTaken)), "{twice:?}");
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    assert_eq!(ledger.all().await.len(), 19);
    ledger.admit_mallory().await;
    assert_whole(&ledger).await;
}

#[tokio::test]
async fn a_name_that_a_rolled_back_transaction_stored_is_stored_again() {
    let ledger = Ledger::new().await;
    ledger.refuse_mallory().await;
    let new = |user, serial| Sample { user, groups: &["new"], rows: &["new-row"], ..sample(serial) };
    assert!(ledger.record(new("mallory", 1).build()).await.is_err());
    ledger.record(Sample { groups: &["newer"], ..sample(2) }.build()).await.unwrap();
    ledger.record(new("alice", 3).build()).await.unwrap();
    let filter = CertificateFilter { group: Some("new".to_owned()), ..CertificateFilter::default() };
    let found = ledger.certificates(&filter, everything()).await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].user.as_str(), &found[0].groups[..]), ("alice", &["new".to_owned()][..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_whose_caller_goes_away_is_whole_or_not_there() {
    let ledger = Ledger::new().await;
    for serial in 0..200 {
        let recording = ledger.recording(sample(serial));
        tokio::time::sleep(Duration::from_micros(serial * 7 % 900)).await;
        recording.abort();
    }
    ledger.record(sample(1_000).build()).await.unwrap();
    assert_whole(&ledger).await;
}

#[tokio::test]
async fn what_has_not_begun_when_its_caller_goes_away_is_dropped() {
    let ledger = Ledger::new().await;
    let hold = ledger.connections().writer.acquire().await.unwrap();
    let first = ledger.recording(sample(1));
    tokio::task::yield_now().await;
    ledger.queued(0).await;
    let gone = ledger.recording(sample(2));
    ledger.queued(1).await;
    gone.abort();
    let _ = gone.await;
    drop(hold);
    first.await.unwrap().unwrap();
    ledger.record(sample(3).build()).await.unwrap();
    assert!(ledger.certificates_by_serial(serial(2)).await.unwrap().is_empty());
    assert_whole(&ledger).await;
}

#[tokio::test]
async fn a_full_queue_is_busy_at_once_and_loses_nothing_that_it_took() {
    let ledger = Ledger::new().await;
    let hold = ledger.connections().writer.acquire().await.unwrap();
    let first = ledger.recording(sample(0));
    tokio::task::yield_now().await;
    ledger.queued(0).await;
    let recordings: Vec<_> = (1..=4_100).map(|serial| ledger.recording(sample(serial))).collect();
    while recordings.iter().filter(|recording| recording.is_finished()).count() < 4 {
        tokio::task::yield_now().await;
    }
    let health = ledger.health().await.unwrap();
    assert_eq!((health.queue_length, health.queue_limit), (4_096, 4_096));
    drop(hold);
    first.await.unwrap().unwrap();
    let (mut taken, mut busy) = (0, 0);
    for recording in recordings {
        match recording.await.unwrap() {
            Ok(_) => taken += 1,
            Err(RecordError::Store(StoreError::Busy)) => busy += 1,
            Err(other) => panic!("{other:?}"),
        }
    }
    assert_eq!((taken, busy), (4_096, 4));
    assert_whole(&ledger).await;
}

#[tokio::test]
async fn a_locked_database_is_unavailable_within_five_seconds_and_recovers() {
    let ledger = Ledger::on_sqlite().await;
    let beside = ledger.beside().await;
    let mut other = beside.connections().writer.acquire().await.unwrap();
    other.run("BEGIN IMMEDIATE").await.unwrap();
    let started = Instant::now();
    let refused = ledger.record(sample(1).build()).await;
    assert!(matches!(refused, Err(RecordError::Store(StoreError::Unavailable(_)))), "{refused:?}");
    assert!(started.elapsed() < Duration::from_secs(5));
    ledger.health().await.unwrap();
    other.run("ROLLBACK").await.unwrap();
    assert_eq!(ledger.record(sample(2).build()).await.unwrap().number, 1);
}

#[tokio::test]
async fn a_full_disk_is_unavailable_and_recovers_without_a_restart() {
    let ledger = Ledger::on_sqlite().await;
    ledger.record(sample(1).build()).await.unwrap();
    ledger.run("PRAGMA max_page_count = 1").await.unwrap();
    let big = Sample { der: vec![0; 100_000], ..sample(2) };
    let refused = ledger.record(big.build()).await;
    assert!(
        matches!(&refused, Err(RecordError::Store(StoreError::Unavailable(why))) if why.contains("full")),
        "{refused:?}"
    );
    let big = Sample { der: vec![0; 100_000], ..sample(2) };
    assert_eq!(ledger.record(big.build()).await.unwrap().number, 2);
    assert_whole(&ledger).await;
}

#[tokio::test]
async fn a_read_only_database_is_unavailable_and_recovers_without_a_restart() {
    let ledger = Ledger::on_sqlite().await;
    ledger.run("PRAGMA query_only = ON").await.unwrap();
    let refused = ledger.record(sample(1).build()).await;
    assert!(
        matches!(&refused, Err(RecordError::Store(StoreError::Unavailable(why))) if why.contains("readonly")),
        "{refused:?}"
    );
    assert_eq!(ledger.record(sample(1).build()).await.unwrap().number, 1);
    ledger.run("PRAGMA query_only = ON").await.unwrap();
    let refused = ledger.block_key([1; 32], "leaked", NOW, &origin("cli:root")).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    assert!(ledger.block_key([1; 32], "leaked", NOW, &origin("cli:root")).await.unwrap());
}

#[tokio::test]
async fn closing_commits_what_is_queued_and_takes_nothing_more() {
    let ledger = Ledger::new().await;
    let recordings: Vec<_> = (0..300).map(|serial| ledger.recording(sample(serial))).collect();
    // One turn does not always reach every task.
    for _ in &recordings {
        tokio::task::yield_now().await;
    }
    ledger.close().await;
    for recording in recordings {
        recording.await.unwrap().unwrap();
    }
    let late = ledger.record(sample(999).build()).await;
    assert!(matches!(late, Err(RecordError::Store(StoreError::Unavailable(_)))), "{late:?}");
    assert_eq!(
        ledger.beside().await.certificates(&CertificateFilter::default(), everything()).await.unwrap().len(),
        300
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_beside_a_busy_server_gets_its_turn() {
    let ledger = Ledger::new().await;
    let beside = ledger.beside().await;
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let mut tasks = Vec::new();
    for task in 0..128_u64 {
        let (store, stop) = (ledger.store.clone(), stop.clone());
        tasks.push(tokio::spawn(async move {
            let mut number = 0;
            while !stop.load(std::sync::atomic::Ordering::SeqCst) {
                number += 1;
                let recorded = store.record(sample(task * 1_000_000 + number).build()).await;
                recorded.expect("the busy server goes on recording");
            }
        }));
    }
    tokio::time::sleep(MOMENT).await;
    for number in 0..10 {
        // Finds nothing to unblock, but only after it had the write lock.
        let unblocked = beside.unblock_key([number; 32], NOW, &origin("cli:root")).await;
        assert!(matches!(unblocked, Ok(false)), "{unblocked:?}");
    }
    stop.store(true, std::sync::atomic::Ordering::SeqCst);
    for task in tasks {
        task.await.unwrap();
    }
}
