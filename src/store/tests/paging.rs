//! Every filter, alone and in pairs, page by page, against a plain reading of what it means.

use super::*;
use crate::audit::{Event, EventKind};

/// Names that would mean something else if they were ever pasted into a statement.
const USERS: [&str; 4] = ["alice", "bob", "x' OR '1'='1", "ålice%_"];
const GROUPS: [&[&str]; 5] =
    [&[], &["dev"], &["dev", "ops"], &["ops", "a\"b"], &["'); DROP TABLE events; --"]];
const ROWS: [&[&str]; 3] = [&["base"], &["base", "developers"], &["ops"]];
const CALLERS: [&str; 3] = ["token:portal", "token:ci", "oidc:corp:bob"];

/// A sequence without a pattern that could agree with that of the filters.
fn varied(count: u64) -> impl Iterator<Item = (u64, usize)> {
    (1..=count).map(|number| {
        let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (number, usize::try_from(mixed >> 33).unwrap())
    })
}

fn at(number: u64) -> Time {
    NOW.after(Lifetime::from_seconds(u32::try_from(number).unwrap() * 10))
}

async fn filled() -> Ledger {
    let ledger = Ledger::new().await;
    for (number, mixed) in varied(150) {
        let sample = Sample {
            user: USERS[mixed % 4],
            groups: GROUPS[mixed % 5],
            rows: ROWS[mixed / 7 % 3],
            caller: CALLERS[mixed / 3 % 3],
            cluster: ["prod", "test"][mixed / 5 % 2],
            on_behalf_of: [None, Some("bob"), Some("carol")][mixed / 11 % 3],
            at: at(number),
            lifetime: u32::try_from(mixed % 1_500).unwrap() + 600,
            ..sample(number)
        };
        ledger.record(sample.build()).await.unwrap();
        let refusal = RefusalToRecord {
            at: at(number),
            origin: origin(CALLERS[mixed / 2 % 3]),
            cluster: [None, Some("prod".to_owned())][mixed % 2].clone(),
            user: [None, Some(USERS[mixed / 3 % 4].to_owned())][mixed / 2 % 2].clone(),
            groups: GROUPS[mixed % 5].iter().map(ToString::to_string).collect(),
            on_behalf_of: [None, Some("bob".to_owned())][mixed / 7 % 2].clone(),
            code: ["policy_denied", "key_weak"][mixed / 5 % 2].to_owned(),
            policies: ROWS[mixed / 3 % 3].iter().map(ToString::to_string).collect(),
            ..refusal()
        };
        ledger.record_refusal(refusal).await.unwrap();
    }
    ledger
}

#[expect(clippy::unnecessary_wraps, reason = "every field of a filter is optional")]
fn text(value: &str) -> Option<String> {
    Some(value.to_owned())
}

/// One filter: how it is set, and what it means.
type Rule<F, R> = (&'static str, fn(&mut F), fn(&R) -> bool);

const MIDDLE: u64 = 75;

const CERTIFICATES: [Rule<CertificateFilter, Recorded>; 13] = [
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
        |r| r.not_before <= at(MIDDLE) && at(MIDDLE) <= r.not_after,
    ),
    ("expired", |f| f.status = Some((CertificateStatus::Expired, at(MIDDLE))), |r| r.not_after < at(MIDDLE)),
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
    ("before", |f| f.before = Some(at(MIDDLE)), |r| r.record.at < at(MIDDLE)),
];

const EVENTS: [Rule<EventFilter, Event>; 5] = [
    ("kind", |f| f.kind = Some(EventKind::RequestRefused), |e| e.kind == EventKind::RequestRefused),
    ("other kind", |f| f.kind = Some(EventKind::TokenCreated), |_| false),
    ("caller", |f| f.caller = text(CALLERS[1]), |e| e.origin.caller == CALLERS[1]),
    ("after", |f| f.after_time = Some(at(MIDDLE)), |e| e.at >= at(MIDDLE)),
    ("before", |f| f.before_time = Some(at(MIDDLE)), |e| e.at < at(MIDDLE)),
];

/// All pages of seven, as numbers.
async fn paged(mut next: impl AsyncFnMut(Page) -> Vec<i64>) -> Vec<i64> {
    let mut numbers: Vec<i64> = Vec::new();
    loop {
        let rows = next(Page { before: numbers.last().copied(), limit: 7 }).await;
        assert!(rows.len() <= 7);
        if rows.is_empty() {
            return numbers;
        }
        numbers.extend(rows);
    }
}

#[tokio::test]
async fn certificates_are_filtered_and_paged_as_the_filters_say() {
    let ledger = filled().await;
    let all = ledger.all().await;
    assert_eq!(all.len(), 150);
    let mut found = 0;
    for (one, set_one, is_one) in CERTIFICATES {
        for (two, set_two, is_two) in CERTIFICATES {
            let mut filter = CertificateFilter::default();
            set_two(&mut filter);
            set_one(&mut filter);
            let mut only_one = CertificateFilter::default();
            set_one(&mut only_one);
            // Two rules for one field: the later one stands.
            let both = format!("{filter:?}") != format!("{only_one:?}");
            let wanted = |row: &&Recorded| is_one(row) && (!both || is_two(row));
            let expected: Vec<i64> = all.iter().filter(wanted).map(|row| row.number).collect();
            let pages = paged(async |page| {
                ledger.certificates(&filter, page).await.unwrap().iter().map(|row| row.number).collect()
            });
            assert_eq!(pages.await, expected, "{one} and {two}");
            found += expected.len();
        }
    }
    assert!(found > 2_000, "the filters find something: {found}");
}

#[tokio::test]
async fn a_credential_id_finds_its_certificate() {
    let ledger = filled().await;
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
async fn refusals_are_filtered_and_paged_as_the_filters_say() {
    let ledger = filled().await;
    let all = ledger.refusals(&RefusalFilter::default(), everything()).await.unwrap();
    assert_eq!(all.len(), 150);
    let mut found = 0;
    for (one, set_one, is_one) in REFUSALS {
        for (two, set_two, is_two) in REFUSALS {
            let mut filter = RefusalFilter::default();
            set_two(&mut filter);
            set_one(&mut filter);
            let mut only_one = RefusalFilter::default();
            set_one(&mut only_one);
            let both = format!("{filter:?}") != format!("{only_one:?}");
            let wanted = |row: &&Refusal| is_one(row) && (!both || is_two(row));
            let expected: Vec<i64> = all.iter().filter(wanted).map(|row| row.number).collect();
            let pages = paged(async |page| {
                ledger.refusals(&filter, page).await.unwrap().iter().map(|row| row.number).collect()
            });
            assert_eq!(pages.await, expected, "{one} and {two}");
            found += expected.len();
        }
    }
    assert!(found > 1_500, "the filters find something: {found}");
}

#[tokio::test]
async fn events_are_filtered_both_ways_as_the_filters_say() {
    let ledger = filled().await;
    let all = ledger.events(&EventFilter::default(), everything()).await.unwrap();
    assert_eq!(all.len(), 300);
    for (one, set_one, is_one) in EVENTS {
        for (two, set_two, is_two) in EVENTS {
            let mut filter = EventFilter::default();
            set_two(&mut filter);
            set_one(&mut filter);
            let mut only_one = EventFilter::default();
            set_one(&mut only_one);
            let both = format!("{filter:?}") != format!("{only_one:?}");
            let wanted = |event: &&Event| is_one(event) && (!both || is_two(event));
            let mut expected: Vec<i64> = all.iter().filter(wanted).map(|event| event.number).collect();
            let pages = paged(async |page| {
                ledger.events(&filter, page).await.unwrap().iter().map(|event| event.number).collect()
            });
            assert_eq!(pages.await, expected, "{one} and {two}");
            expected.reverse();
            let followed = paged(async |page| {
                let events =
                    ledger.events_after(&filter, page.before.unwrap_or(0), page.limit).await.unwrap();
                events.iter().map(|event| event.number).collect()
            });
            assert_eq!(followed.await, expected, "{one} and {two}, ascending");
        }
    }
}
