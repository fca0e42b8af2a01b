//! What the limits of rows leave: counted by a reader, held to under the lock.

use super::*;
use crate::policy::{Limit, LimitKind, Spent};

const HOUR: u32 = 3_600;

fn limit(row: &str, max_active: Option<u32>, per_hour: Option<u32>) -> Limit {
    Limit { row: ShortName::parse(row).unwrap(), max_active, per_hour }
}

fn after(seconds: u32) -> Time {
    NOW.after(Lifetime::from_seconds(seconds))
}

async fn counted(store: &Store, limits: &[Limit], now: Time) -> Counted {
    store.allowance(&Name::parse("alice").unwrap(), limits, now).await.unwrap()
}

async fn left(store: &Store, limits: &[Limit], now: Time) -> Allowance {
    match counted(store, limits, now).await {
        Counted::Left(allowance) => allowance,
        Counted::UsedUp(spent) => panic!("{spent:?}"),
    }
}

async fn spent(store: &Store, limits: &[Limit], now: Time) -> Vec<Spent> {
    match counted(store, limits, now).await {
        Counted::UsedUp(spent) => spent,
        Counted::Left(allowance) => panic!("{allowance:?}"),
    }
}

#[tokio::test]
async fn live_certificates_of_a_user_and_a_row_are_counted_until_they_end() {
    let ledger = Ledger::new().await;
    let two = [limit("developers", Some(2), None)];
    let record = |serial, user, rows: &'static [&'static str], lifetime| {
        ledger.record(Sample { user, rows, lifetime, ..sample(serial) }.build())
    };
    record(1, "alice", &["developers"], 8 * HOUR).await.unwrap();
    record(2, "bob", &["developers"], 8 * HOUR).await.unwrap();
    record(3, "alice", &["others"], 8 * HOUR).await.unwrap();
    left(&ledger, &two, NOW).await;
    record(4, "alice", &["developers", "others"], HOUR).await.unwrap();
    let expected = Spent { row: two[0].row.clone(), limit: LimitKind::Active(2), until: after(HOUR + 1) };
    for now in [NOW, after(HOUR)] {
        assert_eq!(spent(&ledger, &two, now).await, std::slice::from_ref(&expected));
    }
    left(&ledger, &two, after(HOUR + 1)).await;
    let one = [limit("developers", Some(1), None)];
    assert_eq!(spent(&ledger, &one, after(HOUR + 1)).await[0].until, after(8 * HOUR + 1));
    left(&ledger, &one, after(8 * HOUR + 1)).await;
}

#[tokio::test]
async fn an_hour_counts_what_was_given_in_it_live_or_not() {
    let ledger = Ledger::new().await;
    let two = [limit("developers", None, Some(2))];
    for (serial, at) in [(1, 0), (2, 1_200)] {
        let sample = Sample { at: after(at), lifetime: 600, ..sample(serial) };
        ledger.record(sample.build()).await.unwrap();
    }
    let expected = Spent { row: two[0].row.clone(), limit: LimitKind::PerHour(2), until: after(HOUR) };
    for now in [after(1_200), after(HOUR - 1)] {
        assert_eq!(spent(&ledger, &two, now).await, std::slice::from_ref(&expected));
    }
    left(&ledger, &two, after(HOUR)).await;
    let both = [limit("developers", Some(1), Some(1))];
    assert_eq!(spent(&ledger, &both, after(1_300)).await[0].limit, LimitKind::PerHour(1), "it lasts longer");
}

#[tokio::test]
async fn every_row_that_is_used_up_is_told() {
    let ledger = Ledger::new().await;
    ledger.record(Sample { rows: &["one", "two"], ..sample(1) }.build()).await.unwrap();
    let limits = [limit("one", Some(1), None), limit("two", None, Some(1)), limit("three", Some(1), Some(1))];
    let spent = spent(&ledger, &limits, NOW).await;
    assert_eq!(spent.iter().map(|spent| spent.row.as_str()).collect::<Vec<_>>(), ["one", "two"]);
}

#[tokio::test]
async fn what_was_recorded_since_the_count_is_held_against_it() {
    let ledger = Ledger::new().await;
    let two = [limit("developers", Some(2), Some(9))];
    let allowance = left(&ledger, &two, NOW).await;
    let record = |serial, user, rows: &'static [&'static str]| {
        ledger.record(Sample { user, rows, allowance: allowance.clone(), ..sample(serial) }.build())
    };
    record(1, "alice", &["developers"]).await.unwrap();
    ledger.record(Sample { user: "bob", ..sample(2) }.build()).await.unwrap();
    ledger.record(Sample { rows: &["others"], ..sample(3) }.build()).await.unwrap();
    record(4, "alice", &["developers"]).await.unwrap();
    for serial in [5, 6] {
        let third = record(serial, "alice", &["developers"]).await;
        assert!(matches!(third, Err(RecordError::LimitReached)), "{third:?}");
    }
    assert_eq!(ledger.all().await.len(), 4);
}

#[tokio::test]
async fn records_of_one_batch_count_against_each_other() {
    let ledger = Ledger::new().await;
    let allowance = left(&ledger, &[limit("developers", None, Some(3))], NOW).await;
    let hold = ledger.connections().writer.acquire().await.unwrap();
    let recording = |serial| ledger.recording(Sample { allowance: allowance.clone(), ..sample(serial) });
    let mut recordings = vec![recording(1)];
    tokio::task::yield_now().await;
    ledger.queued(0).await;
    recordings.extend((2..=10).map(recording));
    ledger.queued(9).await;
    drop(hold);
    let mut outcomes = Vec::new();
    for recording in recordings {
        outcomes.push(recording.await.unwrap());
    }
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 3, "{outcomes:?}");
    let reached = |outcome: &Result<Recorded, RecordError>| matches!(outcome, Err(RecordError::LimitReached));
    assert_eq!(outcomes.iter().filter(|outcome| reached(outcome)).count(), 7, "{outcomes:?}");
}

/// As the service does: count, record, and count again where somebody was first.
async fn obtain(store: &Store, serial: u64, limits: &[Limit]) -> bool {
    loop {
        let Counted::Left(allowance) = counted(store, limits, NOW).await else { return false };
        match store.record(Sample { allowance, ..sample(serial) }.build()).await {
            Ok(_) => return true,
            // The other one may hold the lock for long on a slow machine: nothing is lost then.
            Err(RecordError::LimitReached | RecordError::Store(StoreError::Unavailable(_))) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_together_give_what_the_limit_says_and_no_more() {
    let ledger = Ledger::new().await;
    let beside = ledger.beside().await;
    for (round, limit) in
        [limit("developers", Some(7), None), limit("developers", None, Some(12))].iter().enumerate()
    {
        let tasks: Vec<_> = (0..24)
            .map(|task| {
                let store = if task % 2 == 0 { ledger.store.clone() } else { beside.clone() };
                let limit = limit.clone();
                let serial = 100 * u64::try_from(round).unwrap() + task;
                tokio::spawn(async move { obtain(&store, serial, &[limit]).await })
            })
            .collect();
        let mut given = 0;
        for task in tasks {
            given += u32::from(task.await.unwrap());
        }
        // The second limit counts what the first one gave, too.
        assert_eq!(given, if round == 0 { 7 } else { 5 });
    }
    assert_eq!(ledger.all().await.len(), 12);
}
