//! Ten thousand certificates and ten thousand refusals of several callers: every filter, alone and
//! in pairs, in both orders, page by page, against a plain reading of what it means.

use super::*;
use crate::audit::{Event, EventKind};
use crate::store::search::Path;

/// Names that would mean something else if they were ever pasted into a statement.
const USERS: [&str; 7] = ["alice", "bob", "x' OR '1'='1", "ålice%_", "carol", "dan", "eve"];
const GROUPS: [&[&str]; 5] =
    [&[], &["dev"], &["dev", "ops"], &["ops", "a\"b"], &["'); DROP TABLE events; --"]];
const ROWS: [&[&str]; 3] = [&["base"], &["base", "developers"], &["ops"]];
const CALLERS: [&str; 3] = ["token:portal", "token:ci", "oidc:corp:bob"];
const MINUTES: u32 = 60;
/// Seconds; from the least to a year, most of them short.
const LIFETIMES: [u32; 9] = [
    10 * MINUTES,
    10 * MINUTES,
    30 * MINUTES,
    60 * MINUTES,
    60 * MINUTES,
    480 * MINUTES,
    480 * MINUTES,
    30 * 1_440 * MINUTES,
    365 * 1_440 * MINUTES,
];

const COUNT: u64 = 10_000;

/// A sequence without a pattern that could agree with that of the filters.
fn mixed(number: u64) -> usize {
    usize::try_from(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33).unwrap()
}

/// Every second one, and back and forth by less than the minute that is allowed.
fn at(number: u64) -> Time {
    let jitter = i64::try_from(mixed(number) % 37).unwrap();
    NOW.after(Lifetime::from_seconds(u32::try_from(number).unwrap())).before(jitter)
}

fn certificate(number: u64) -> Issuance {
    let mixed = mixed(number);
    Sample {
        user: USERS[mixed % 7],
        groups: GROUPS[mixed % 5],
        rows: ROWS[mixed / 7 % 3],
        caller: CALLERS[mixed / 3 % 3],
        cluster: ["prod", "test"][mixed / 5 % 2],
        on_behalf_of: [None, None, Some("bob"), Some("carol")][mixed / 11 % 4],
        at: at(number),
        lifetime: LIFETIMES[mixed / 13 % 9] + u32::try_from(mixed % 500).unwrap(),
        ..sample(number)
    }
    .build()
}

fn refused(number: u64) -> RefusalToRecord {
    let mixed = mixed(number);
    RefusalToRecord {
        at: at(number),
        origin: origin(CALLERS[mixed / 2 % 3]),
        cluster: [None, Some("prod".to_owned())][mixed % 2].clone(),
        user: [None, Some(USERS[mixed / 3 % 7].to_owned())][mixed / 2 % 2].clone(),
        groups: GROUPS[mixed % 5].iter().map(ToString::to_string).collect(),
        on_behalf_of: [None, Some("bob".to_owned())][mixed / 7 % 2].clone(),
        code: ["policy_denied", "key_weak"][mixed / 5 % 2].to_owned(),
        policies: ROWS[mixed / 3 % 3].iter().map(ToString::to_string).collect(),
        ..refusal()
    }
}

/// Records in eight tasks at once, which keep within seconds of each other.
async fn filled(count: u64) -> Ledger {
    let ledger = Ledger::new().await;
    let next = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(1));
    let mut tasks = Vec::new();
    for _ in 0..8 {
        let (store, next) = (ledger.store.clone(), std::sync::Arc::clone(&next));
        tasks.push(tokio::spawn(async move {
            loop {
                let number = next.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                if number > count {
                    return;
                }
                store.record(certificate(number)).await.unwrap();
                store.record_refusal(refused(number)).await.unwrap();
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    ledger
}

#[expect(clippy::unnecessary_wraps, reason = "every field of a filter is optional")]
fn text(value: &str) -> Option<String> {
    Some(value.to_owned())
}

/// One filter: how it is set, and what it means.
type Rule<F, R> = (&'static str, fn(&mut F), fn(&R) -> bool);

const MIDDLE: u64 = COUNT / 2;
const LATER: u64 = MIDDLE + COUNT / 10;

fn valid(row: &Recorded, from: Time, to: Time) -> bool {
    row.not_before <= to && from <= row.not_after
}

const CERTIFICATES: [Rule<CertificateFilter, Recorded>; 21] = [
    ("user", |f| f.user = text("bob"), |r| r.user == "bob"),
    ("hostile user", |f| f.user = text(USERS[2]), |r| r.user == USERS[2]),
    ("pattern", |f| f.user = text("%"), |_| false),
    ("group", |f| f.group = text("ops"), |r| r.groups.iter().any(|group| group == "ops")),
    ("hostile group", |f| f.group = text(GROUPS[4][0]), |r| r.groups == GROUPS[4]),
    ("unknown group", |f| f.group = text("nobody"), |_| false),
    ("cluster", |f| f.cluster = text("test"), |r| r.cluster == "test"),
    ("caller", |f| f.caller = text(CALLERS[1]), |r| r.origin.caller == CALLERS[1]),
    ("on_behalf_of", |f| f.on_behalf_of = text("bob"), |r| r.on_behalf_of.as_deref() == Some("bob")),
    ("policy", |f| f.policy = text("base"), |r| r.policies.iter().any(|row| row == "base")),
    ("serial", |f| f.serial = Some(serial(33)), |r| r.serial == serial(33)),
    (
        "active",
        |f| f.status = Some((CertificateStatus::Active, at(MIDDLE))),
        |r| valid(r, at(MIDDLE), at(MIDDLE)),
    ),
    ("expired", |f| f.status = Some((CertificateStatus::Expired, at(MIDDLE))), |r| r.not_after < at(MIDDLE)),
    ("issued_after", |f| f.issued_after = Some(at(MIDDLE)), |r| r.issued_at >= at(MIDDLE)),
    ("issued_before", |f| f.issued_before = Some(at(LATER)), |r| r.issued_at < at(LATER)),
    ("expires_after", |f| f.expires_after = Some(at(MIDDLE)), |r| r.not_after >= at(MIDDLE)),
    ("expires_before", |f| f.expires_before = Some(at(LATER)), |r| r.not_after < at(LATER)),
    ("valid_at", |f| f.valid_at = Some(at(LATER)), |r| valid(r, at(LATER), at(LATER))),
    (
        "valid_from and valid_to",
        |f| f.valid_between = Some((at(MIDDLE), at(LATER))),
        |r| valid(r, at(MIDDLE), at(LATER)),
    ),
    ("long ago", |f| f.valid_at = Some(NOW.before(9_999)), |_| false),
    ("next year", |f| f.expires_after = Some(at(COUNT).before(-40_000_000)), |_| false),
];

const REFUSALS: [Rule<RefusalFilter, Refusal>; 11] = [
    ("user", |f| f.user = text("bob"), |r| r.record.user.as_deref() == Some("bob")),
    ("hostile user", |f| f.user = text(USERS[2]), |r| r.record.user.as_deref() == Some(USERS[2])),
    ("group", |f| f.group = text("ops"), |r| r.record.groups.iter().any(|group| group == "ops")),
    ("cluster", |f| f.cluster = text("prod"), |r| r.record.cluster.is_some()),
    ("caller", |f| f.caller = text(CALLERS[1]), |r| r.record.origin.caller == CALLERS[1]),
    ("on_behalf_of", |f| f.on_behalf_of = text("bob"), |r| r.record.on_behalf_of.is_some()),
    ("policy", |f| f.policy = text("ops"), |r| r.record.policies == ["ops"]),
    ("code", |f| f.code = text("key_weak"), |r| r.record.code == "key_weak"),
    ("unknown code", |f| f.code = text("none"), |_| false),
    ("after", |f| f.after = Some(at(MIDDLE)), |r| r.record.at >= at(MIDDLE)),
    ("before", |f| f.before = Some(at(LATER)), |r| r.record.at < at(LATER)),
];

const EVENTS: [Rule<EventFilter, Event>; 6] = [
    ("kind", |f| f.kind = Some(EventKind::RequestRefused), |e| e.kind == EventKind::RequestRefused),
    ("change", |f| f.kind = Some(EventKind::KeyBlocked), |e| e.kind == EventKind::KeyBlocked),
    ("other kind", |f| f.kind = Some(EventKind::TokenCreated), |_| false),
    ("caller", |f| f.caller = text(CALLERS[1]), |e| e.origin.caller == CALLERS[1]),
    ("after", |f| f.after_time = Some(at(MIDDLE)), |e| e.at >= at(MIDDLE)),
    ("before", |f| f.before_time = Some(at(LATER)), |e| e.at < at(LATER)),
];

const ORDERS: [Order; 2] = [Order::NewestFirst, Order::OldestFirst];

/// All pages of `limit`, as numbers.
async fn paged(order: Order, limit: u32, mut next: impl AsyncFnMut(Span) -> Vec<i64>) -> Vec<i64> {
    let (mut span, mut numbers) = (Span::all(order, limit), Vec::new());
    loop {
        let rows = next(span).await;
        assert!(rows.len() <= usize::try_from(limit).unwrap());
        let Some(last) = rows.last() else { return numbers };
        span = span.behind(*last);
        numbers.extend(rows);
    }
}

/// What the rows of `all`, newest first, are in this order.
fn expected<R>(all: &[R], order: Order, is: impl Fn(&R) -> bool, number: impl Fn(&R) -> i64) -> Vec<i64> {
    let mut numbers: Vec<i64> = all.iter().filter(|row| is(row)).map(number).collect();
    if order == Order::OldestFirst {
        numbers.reverse();
    }
    numbers
}

/// Whether two rules are for one field, of which only the later one stands.
fn same<F: std::fmt::Debug>(both: &F, only_one: &F) -> bool {
    format!("{both:?}") == format!("{only_one:?}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_thousand_records_are_filtered_and_paged_as_the_filters_say() {
    let ledger = filled(COUNT).await;
    ledger.block_key([1; 32], "lost", at(MIDDLE), &origin(CALLERS[1])).await.unwrap();
    certificates(&ledger).await;
    refusals(&ledger).await;
    events(&ledger).await;
}

async fn certificates(ledger: &Ledger) {
    let all = ledger.all().await;
    assert_eq!(u64::try_from(all.len()).unwrap(), COUNT);
    let mut found = 0;
    for (place, (one, set_one, is_one)) in CERTIFICATES.into_iter().enumerate() {
        for (other, (two, set_two, is_two)) in CERTIFICATES.into_iter().enumerate().skip(place) {
            let (mut filter, mut only_one) = (CertificateFilter::default(), CertificateFilter::default());
            set_two(&mut filter);
            set_one(&mut filter);
            set_one(&mut only_one);
            let both = !same(&filter, &only_one);
            let order = ORDERS[(place + other) % 2];
            let expected = expected(&all, order, |r| is_one(r) && (!both || is_two(r)), |r| r.number);
            let page = async |span| {
                ledger.certificates(&filter, span).await.unwrap().iter().map(|row| row.number).collect()
            };
            assert_eq!(paged(order, 997, page).await, expected, "{one} and {two}, {order:?}");
            assert_every_path(ledger, &filter, Span::all(order, 997), &expected).await;
            found += expected.len();
        }
    }
    assert!(found > 100_000, "the filters find something: {found}");
}

/// Whatever is read along, the same is found.
async fn assert_every_path(ledger: &Ledger, filter: &CertificateFilter, span: Span, expected: &[i64]) {
    let search = ledger.search(filter).await;
    for path in search.all_paths() {
        let rows =
            certificates::select(&search, path, span).all(&ledger.connections().readers).await.unwrap();
        let mut found: Vec<i64> = rows.iter().map(|row| row.try_get("number").unwrap()).collect();
        span.sort(&mut found, |number| *number);
        let first = expected.get(..found.len()).unwrap();
        assert_eq!(found, first, "{path:?} of {filter:?}");
        assert_eq!(found.len(), expected.len().min(997), "{path:?} of {filter:?}");
    }
}

async fn refusals(ledger: &Ledger) {
    let all = ledger.refusals(&RefusalFilter::default(), everything()).await.unwrap();
    assert_eq!(u64::try_from(all.len()).unwrap(), COUNT);
    for (place, (one, set_one, is_one)) in REFUSALS.into_iter().enumerate() {
        for (other, (two, set_two, is_two)) in REFUSALS.into_iter().enumerate().skip(place) {
            let (mut filter, mut only_one) = (RefusalFilter::default(), RefusalFilter::default());
            set_two(&mut filter);
            set_one(&mut filter);
            set_one(&mut only_one);
            let both = !same(&filter, &only_one);
            let order = ORDERS[(place + other) % 2];
            let expected = expected(&all, order, |r| is_one(r) && (!both || is_two(r)), |r| r.number);
            let page = async |span| {
                ledger.refusals(&filter, span).await.unwrap().iter().map(|row| row.number).collect()
            };
            assert_eq!(paged(order, 997, page).await, expected, "{one} and {two}, {order:?}");
        }
    }
}

async fn events(ledger: &Ledger) {
    let all = ledger.events(&EventFilter::default(), everything()).await.unwrap();
    assert_eq!(u64::try_from(all.len()).unwrap(), 2 * COUNT + 1);
    for (place, (one, set_one, is_one)) in EVENTS.into_iter().enumerate() {
        for (two, set_two, is_two) in EVENTS.into_iter().skip(place) {
            let (mut filter, mut only_one) = (EventFilter::default(), EventFilter::default());
            set_two(&mut filter);
            set_one(&mut filter);
            set_one(&mut only_one);
            let both = !same(&filter, &only_one);
            for order in ORDERS {
                let expected = expected(&all, order, |e| is_one(e) && (!both || is_two(e)), |e| e.number);
                let page = async |span| {
                    ledger.events(&filter, span).await.unwrap().iter().map(|row| row.number).collect()
                };
                assert_eq!(paged(order, 997, page).await, expected, "{one} and {two}, {order:?}");
            }
        }
    }
}

#[tokio::test]
async fn small_pages_are_the_same_list_both_ways() {
    let ledger = filled(150).await;
    let all = ledger.all().await;
    for (one, set, _) in CERTIFICATES {
        let mut filter = CertificateFilter::default();
        set(&mut filter);
        for order in ORDERS {
            let whole = ledger.certificates(&filter, Span::all(order, 1_000)).await.unwrap();
            let whole: Vec<i64> = whole.iter().map(|row| row.number).collect();
            let page = async |span| {
                ledger.certificates(&filter, span).await.unwrap().iter().map(|row| row.number).collect()
            };
            assert_eq!(paged(order, 7, page).await, whole, "{one}");
        }
    }
    assert_eq!(all.len(), 150);
}

#[tokio::test]
async fn a_clock_that_stood_in_the_future_loses_no_record_of_a_period() {
    let ledger = Ledger::new().await;
    let hour = |hours: i64| NOW.before(-3_600 * hours);
    // Right, then ten hours ahead, then right again.
    let times = [(1, 0), (2, 1), (3, 12), (4, 13), (5, 3), (6, 4)];
    for (serial, hours) in times {
        if serial == 5 {
            ledger.accept_clock(hour(3), &origin("cli:root")).await.unwrap();
        }
        ledger.record(Sample { at: hour(hours), ..sample(serial) }.build()).await.unwrap();
    }
    let all = ledger.all().await;
    for from in -1..15 {
        for to in from + 1..16 {
            let filter = CertificateFilter {
                issued_after: Some(hour(from)),
                issued_before: Some(hour(to)),
                ..CertificateFilter::default()
            };
            let found = ledger.certificates(&filter, everything()).await.unwrap();
            let expected: Vec<i64> = all
                .iter()
                .filter(|row| hour(from) <= row.issued_at && row.issued_at < hour(to))
                .map(|row| row.number)
                .collect();
            assert_eq!(found.iter().map(|row| row.number).collect::<Vec<_>>(), expected, "{from} to {to}");
            let valid = CertificateFilter {
                valid_between: Some((hour(from), hour(to))),
                ..CertificateFilter::default()
            };
            let found = ledger.certificates(&valid, everything()).await.unwrap();
            let expected = all.iter().filter(|row| self::valid(row, hour(from), hour(to))).count();
            assert_eq!(found.len(), expected, "valid {from} to {to}");
        }
    }
}

/// Eight tasks write while readers page and follow: each sees what was there when it began, and a
/// follower every row, once, in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paging_and_following_while_eight_write_lose_and_repeat_nothing() {
    let ledger = filled(200).await;
    let before: Vec<i64> = ledger.all().await.iter().map(|row| row.number).collect();
    let writers: Vec<_> = (0..8)
        .map(|writer| {
            let store = ledger.store.clone();
            tokio::spawn(async move {
                for round in 0..40 {
                    let number = 1_000 + writer * 100 + round;
                    let sample =
                        Sample { at: at(200), lifetime: LIFETIMES[mixed(number) % 9], ..sample(number) };
                    store.record(sample.build()).await.unwrap();
                    store.record_refusal(RefusalToRecord { at: at(200), ..refusal() }).await.unwrap();
                }
            })
        })
        .collect();
    let valid = CertificateFilter { valid_at: Some(at(200)), ..CertificateFilter::default() };
    let started = ledger.newest_number().await.unwrap();
    let page = async |span: Span| {
        let rows = ledger.certificates(&CertificateFilter::default(), span).await.unwrap();
        rows.iter().map(|row| row.number).collect::<Vec<_>>()
    };
    let seen = paged(Order::NewestFirst, 7, page).await;
    assert_eq!(seen[seen.len() - before.len()..], before);
    assert!(seen.windows(2).all(|pair| pair[0] > pair[1]));
    let (mut followed, mut valid_followed, mut events) = (Vec::new(), Vec::new(), Vec::new());
    loop {
        let done = writers.iter().all(tokio::task::JoinHandle::is_finished);
        let after = |seen: &[i64]| Span::all(Order::OldestFirst, 5).behind(seen.last().copied().unwrap_or(0));
        let rows = ledger.certificates(&CertificateFilter::default(), after(&followed)).await.unwrap();
        let found = rows.len();
        followed.extend(rows.iter().map(|row| row.number));
        let rows = ledger.certificates(&valid, after(&valid_followed)).await.unwrap();
        let found = found + rows.len();
        valid_followed.extend(rows.iter().map(|row| row.number));
        let every = EventFilter::default();
        let rows = ledger.events_after(&every, events.last().copied().unwrap_or(0), 5);
        let rows = rows.await.unwrap();
        let found = found + rows.len();
        events.extend(rows.iter().map(|row| row.number));
        if done && found == 0 {
            break;
        }
    }
    for writer in writers {
        writer.await.unwrap();
    }
    let all = expected(&ledger.all().await, Order::OldestFirst, |_| true, |row| row.number);
    assert_eq!(followed, all);
    let expected =
        expected(&ledger.all().await, Order::OldestFirst, |r| self::valid(r, at(200), at(200)), |r| r.number);
    assert_eq!(valid_followed, expected);
    assert_eq!(events, (1..=ledger.newest_number().await.unwrap()).collect::<Vec<_>>());
    assert!(started < *all.last().unwrap(), "the writers wrote meanwhile");
}

#[tokio::test]
async fn a_credential_id_finds_its_certificate() {
    let ledger = filled(150).await;
    for row in ledger.all().await.iter().step_by(29) {
        let filter = CertificateFilter { sha256: Some(row.sha256), ..CertificateFilter::default() };
        let found = ledger.certificates(&filter, everything()).await.unwrap();
        assert_eq!(found.iter().map(|found| found.number).collect::<Vec<_>>(), [row.number]);
        let mut near = row.sha256;
        near[31] ^= 1;
        let filter = CertificateFilter { sha256: Some(near), ..CertificateFilter::default() };
        assert!(ledger.certificates(&filter, everything()).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn validity_is_inclusive_at_both_ends() {
    let ledger = Ledger::new().await;
    let row = ledger.record(sample(1).build()).await.unwrap();
    for (at, active, expired) in [
        (row.not_before.before(1), 0, 0),
        (row.not_before, 1, 0),
        (row.not_after, 1, 0),
        (row.not_after.before(-1), 0, 1),
    ] {
        for (status, count) in [(CertificateStatus::Active, active), (CertificateStatus::Expired, expired)] {
            let filter = CertificateFilter { status: Some((status, at)), ..CertificateFilter::default() };
            assert_eq!(
                ledger.certificates(&filter, everything()).await.unwrap().len(),
                count,
                "{status:?} {at}"
            );
        }
    }
}

#[tokio::test]
async fn a_time_of_validity_bounds_the_numbers_whatever_leads() {
    let ledger = filled(200).await;
    let filter = CertificateFilter {
        group: text("dev"),
        // Nothing had been issued by then.
        valid_at: Some(NOW.before(10_000)),
        ..CertificateFilter::default()
    };
    let search = ledger.search(&filter).await;
    assert!(search.numbers.below < 100, "{search:?}");
}

/// Numbers of one kind of record and another one far apart, with nothing of them between.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_lies_behind_a_long_gap_is_found_in_both_orders() {
    let ledger = Ledger::new().await;
    let rare = |number| Sample { groups: &["old"], caller: "token:old", rows: &["old"], ..sample(number) };
    for number in [1, 2, 3] {
        ledger.record(rare(number).build()).await.unwrap();
    }
    let tasks: Vec<_> = (0..16_u64)
        .map(|task| {
            let store = ledger.store.clone();
            tokio::spawn(async move {
                for number in 0..200 {
                    store.record(sample(100 + task * 200 + number).build()).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    ledger.record(rare(4).build()).await.unwrap();
    let last = ledger.newest_number().await.unwrap();
    let old = || text("old");
    for filter in [
        CertificateFilter { group: old(), ..CertificateFilter::default() },
        CertificateFilter { policy: old(), ..CertificateFilter::default() },
        CertificateFilter { caller: text("token:old"), ..CertificateFilter::default() },
        CertificateFilter {
            group: old(),
            policy: old(),
            cluster: text("prod"),
            ..CertificateFilter::default()
        },
    ] {
        for order in ORDERS {
            let mut expected = vec![1, 2, 3, last];
            if order == Order::NewestFirst {
                expected.reverse();
            }
            for limit in [1, 2, 3, 100] {
                let page = async |span| {
                    ledger.certificates(&filter, span).await.unwrap().iter().map(|row| row.number).collect()
                };
                assert_eq!(paged(order, limit, page).await, expected, "{filter:?} by {limit}");
            }
            let decided = ledger.issued_decisions(&filter, Span::all(order, 3)).await.unwrap();
            let decided: Vec<i64> = decided.iter().map(|decision| decision.number).collect();
            assert_eq!(decided, expected[..3]);
        }
    }
}

#[tokio::test]
async fn a_name_in_very_many_lists_is_tested_and_not_led_by() {
    let ledger = filled(60).await;
    let filter = CertificateFilter { group: text("dev"), ..CertificateFilter::default() };
    let before = ledger.certificates(&filter, everything()).await.unwrap().len();
    assert!(ledger.search(&filter).await.all_paths() == [Path::Lead(0)] && before > 0);
    let octets = if ledger.is_sqlite() { "randomblob(32)" } else { "sha256(CAST(CAST(i AS TEXT) AS BYTEA))" };
    let many = "WITH RECURSIVE n (i) AS (SELECT 10000 UNION ALL SELECT i + 1 FROM n WHERE i < 14200)";
    let mut connection = ledger.connections().writer.acquire().await.unwrap();
    for insert in [
        format!("INSERT INTO name_lists (id, sha256, names) {many} SELECT i, {octets}, '[\"dev\"]' FROM n"),
        format!(
            "INSERT INTO name_list_members (name_id, list_id) {many} \
             SELECT (SELECT id FROM names WHERE name = 'dev'), i FROM n"
        ),
    ] {
        connection.run_text(&insert).await.unwrap();
    }
    drop(connection);
    assert_eq!(ledger.search(&filter).await.all_paths(), [Path::Rows]);
    assert_eq!(ledger.certificates(&filter, everything()).await.unwrap().len(), before);
    let both = CertificateFilter { user: text("bob"), ..filter };
    assert_eq!(ledger.search(&both).await.all_paths(), [Path::Lead(0)]);
}
