//! Every statement of the sources is run, on each engine that these tests run on.
//!
//! A process of its own, with this one test in it, calls everything that the store can do and notes
//! what was run. Then each piece of SQL in the sources must stand in one of the statements.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::super::retention::{LEAST_RETENTION, Prunable};
use super::super::search::Path as Along;
use super::super::stats::By;
use super::super::times::Numbers;
use super::*;
use crate::audit::EventKind;
use crate::policy::{Limit, PolicyRow};

static RUN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// 2020-01-01.
const LONG_AGO: Time = Time::from_unix(1_577_836_800);

/// Notes a statement that is about to run.
pub(in crate::store) fn note(statement: &str) {
    RUN.lock().unwrap_or_else(PoisonError::into_inner).insert(statement.to_owned());
}

/// Words by which a text is known as SQL. No sentence of this program has one in capitals.
const WORDS: [&str; 16] = [
    "SELECT ",
    "INSERT INTO ",
    "UPDATE ",
    "DELETE FROM ",
    " FROM ",
    " WHERE ",
    " ORDER BY ",
    " AND ",
    " OR ",
    " JOIN ",
    " ON CONFLICT ",
    " RETURNING ",
    " VALUES ",
    " LIMIT ",
    " IN (",
    "EXISTS ",
];

/// What prepares, checks and copies whole databases in the words of one engine has tests of its own.
const PREPARES: [&str; 6] = ["backup.rs", "connection", "copy", "engine.rs", "integrity.rs", "migrations.rs"];

#[test]
fn every_statement_of_the_sources_is_run() {
    let name = "store::tests::statements::everything_that_the_store_can_do_runs_every_statement";
    let run = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--ignored", "--nocapture"])
        .output()
        .unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success() && said.contains("1 passed"), "{said}");
}

#[tokio::test]
#[ignore = "runs in a process of its own: see every_statement_of_the_sources_is_run"]
async fn everything_that_the_store_can_do_runs_every_statement() {
    let ledger = Ledger::new().await;
    write(&ledger).await;
    read(&ledger).await;
    read_for_reports(&ledger).await;
    requests::everything(&ledger).await;
    prune(&ledger).await;
    let run = RUN.lock().unwrap().clone();
    let pieces = pieces_of_sql();
    let is_run = |piece: &String| run.iter().any(|statement| statement.contains(piece));
    let missing: Vec<_> = pieces.iter().filter(|(_, piece)| !is_run(piece)).collect();
    assert!(missing.is_empty(), "nothing here runs these, call them in this file: {missing:#?}");
    assert!(pieces.len() > 60, "the sources hold {} pieces of SQL only", pieces.len());
}

async fn write(ledger: &Ledger) {
    let root = origin("cli:root");
    let policy = |user: &str| -> PolicyRow {
        serde_json::from_value(serde_json::json!({
            "name": "a", "effect": "allow", "clusters": ["prod"], "callers": ["token:portal"], "users": [user],
        }))
        .unwrap()
    };
    ledger.replace_policies(&[policy("alice")], None, None, NOW, &root).await.unwrap();
    ledger.replace_policies(&[policy("bob")], None, None, NOW, &root).await.unwrap();
    ledger.policy(&ShortName::parse("a").unwrap()).await.unwrap().unwrap();
    ledger.create_token(&token("portal"), &root).await.unwrap();
    let (name, rotation) = (ShortName::parse("portal").unwrap(), rotation("next", NOW));
    let seen = ledger.revisions().await.unwrap().tokens;
    assert_eq!(ledger.rotate_token(&name, &rotation, seen, &root).await.unwrap(), Rotated::Done);
    ledger.record_token_uses(vec![("next".to_owned(), NOW)]).await.unwrap();
    ledger.revoke_token(&name, NOW, &root).await.unwrap();
    ledger.block_key([1; 32], "leaked", NOW, &root).await.unwrap();
    ledger.block_key([2; 32], "leaked", NOW, &root).await.unwrap();
    ledger.unblock_key([1; 32], NOW, &root).await.unwrap();
    for subject in ["1", "2"] {
        let subject = Subject { issuer: "https://idp.example".to_owned(), subject: subject.to_owned() };
        ledger.bind_identity("oidc:corp:alice", &subject, NOW, &root).await.unwrap();
    }
    ledger.release_identity("oidc:corp:alice", None, NOW, &root).await.unwrap().unwrap();
    ledger.bind_to_authority(CA).await.unwrap();
    ledger.accept_clock(NOW, &root).await.unwrap();
    let seen = ledger.revisions().await.unwrap();
    let allowance = allowance(ledger).await;
    let idempotency = Some(("k", 1));
    let first = Sample { seen, allowance, idempotency, on_behalf_of: Some("bob"), ..sample(1) };
    ledger.record(first.build()).await.unwrap();
    ledger.record_refusal(RefusalToRecord { seen, ..refusal() }).await.unwrap();
    let renews = Some(Renews { serial: serial(1), first_issued: NOW.before(60) });
    let renewal = Issuance { renews, ..Sample { seen, ..sample(3) }.build() };
    let renewed = ledger.record(renewal).await.unwrap();
    let (found, reviewed) = ledger.shown_certificate(renewed.sha256).await.unwrap().unwrap();
    assert_eq!((found.renews, found.first_issued(), reviewed), (renews, NOW.before(60), false));
    ledger.record_clusters_reloaded(serde_json::json!({}), NOW, &root).await.unwrap();
}

async fn allowance(ledger: &Ledger) -> Allowance {
    let row = ShortName::parse("developers").unwrap();
    let limits = [Limit { row, max_active: Some(1), per_hour: Some(1) }];
    match ledger.allowance(&Name::parse("alice").unwrap(), &limits, NOW).await.unwrap() {
        Counted::Left(allowance) => allowance,
        Counted::UsedUp(spent) => panic!("{spent:?}"),
    }
}

/// Deletes old records, so the database must have a clock.
async fn prune(ledger: &Ledger) {
    let (root, now) = (origin("cli:root"), crate::clock::Clock::System.now());
    let seen = ledger.revisions().await.unwrap();
    ledger.set_retention(Some(LEAST_RETENTION), now, &root).await.unwrap();
    ledger.accept_clock(LONG_AGO, &root).await.unwrap();
    let old = Sample { at: LONG_AGO, seen, idempotency: Some(("old", 1)), ..sample(2) };
    ledger.record(old.build()).await.unwrap();
    ledger.record_refusal(RefusalToRecord { at: LONG_AGO, seen, ..refusal() }).await.unwrap();
    ledger.accept_clock(NOW, &root).await.unwrap();
    ledger.with_clock().await;
    for which in [Prunable::Certificates, Prunable::Refusals] {
        assert!(ledger.prune_some(which, 0, now, Some(&root)).await.unwrap().count > 0);
    }
}

async fn read(ledger: &Ledger) {
    ledger.health().await.unwrap();
    ledger.snapshot().await.unwrap();
    ledger.policies(Some(1)).await.unwrap().unwrap();
    ledger.tokens().await.unwrap();
    ledger.blocked_keys().await.unwrap();
    ledger.key_owner([1; 32]).await.unwrap();
    assert!(ledger.idempotent("token:portal", "k", NOW).await.unwrap().is_some());
    assert!(ledger.knows_cluster("prod").await.unwrap());
    let text = || Some("x".to_owned());
    let filter = CertificateFilter {
        user: text(),
        group: text(),
        cluster: text(),
        caller: text(),
        own: Some(own()),
        on_behalf_of: text(),
        serial: Some(serial(1)),
        sha256: Some([0; 32]),
        policy: text(),
        status: Some((CertificateStatus::Active, NOW)),
        issued_after: Some(NOW),
        issued_before: Some(NOW),
        expires_after: Some(NOW),
        expires_before: Some(NOW),
        valid_at: Some(NOW),
        valid_between: Some((NOW, NOW)),
    };
    let expired = Some((CertificateStatus::Expired, NOW));
    for filter in [
        filter,
        CertificateFilter { status: expired, ..CertificateFilter::default() },
        CertificateFilter { group: text(), ..CertificateFilter::default() },
        CertificateFilter { group: text(), valid_at: Some(NOW), ..CertificateFilter::default() },
        CertificateFilter { policy: text(), ..CertificateFilter::default() },
    ] {
        ledger.certificates(&filter, everything()).await.unwrap();
    }
    // Few rows are never read along the classes of lifetimes.
    let filter = CertificateFilter {
        caller: text(),
        cluster: text(),
        valid_at: Some(NOW),
        ..CertificateFilter::default()
    };
    let search = ledger.search(&filter).await;
    let select = certificates::select(&search, Along::Lifetimes, everything().into());
    select.all(&ledger.connections().readers).await.unwrap();
    let mut reader = ledger.connections().readers.acquire().await.unwrap();
    let filter = CertificateFilter { group: text(), policy: text(), ..CertificateFilter::default() };
    let search = ledger.search(&filter).await;
    let leads = (0..search.leads.len()).map(Along::Lead);
    for (path, order) in leads.zip([Order::NewestFirst, Order::OldestFirst].into_iter().cycle()) {
        let numbers = Numbers { above: 0, below: 1_000 };
        assert_eq!(search.begun(&mut reader, path, numbers, order).await.unwrap(), None);
    }
    drop(reader);
    let filter = RefusalFilter {
        user: text(),
        group: text(),
        cluster: text(),
        caller: text(),
        own: Some(own()),
        on_behalf_of: text(),
        policy: text(),
        code: text(),
        after: Some(NOW),
        before: Some(NOW),
    };
    for filter in [
        filter,
        RefusalFilter { group: text(), ..RefusalFilter::default() },
        RefusalFilter { policy: text(), ..RefusalFilter::default() },
    ] {
        ledger.refusals(&filter, everything()).await.unwrap();
    }
    let filter = EventFilter {
        kind: Some(EventKind::KeyBlocked),
        caller: text(),
        after_time: Some(NOW),
        before_time: Some(NOW),
    };
    let of = |kind| EventFilter { kind, ..filter.clone() };
    for filter in [
        of(None),
        of(Some(EventKind::KeyBlocked)),
        of(Some(EventKind::CertificateIssued)),
        of(Some(EventKind::RequestRefused)),
        EventFilter::default(),
    ] {
        ledger.events(&filter, everything()).await.unwrap();
        ledger.events_after(&filter, 0, 10).await.unwrap();
    }
}

/// Two names, each for some time.
fn own() -> Own {
    let tenure = |caller: &str| Tenure { caller: caller.to_owned(), above: 0, below: 9 };
    Own::of(vec![tenure("oidc:corp:alice"), tenure("oidc:corp:al")])
}

/// What charts, the page about a user and the check read.
async fn read_for_reports(ledger: &Ledger) {
    for by in By::ALL {
        for user in [None, Some("alice".to_owned())] {
            let filter = CertificateFilter { user: user.clone(), ..CertificateFilter::default() };
            ledger.count_certificates(&filter, by).await.unwrap();
            ledger.count_refusals(&RefusalFilter { user, ..RefusalFilter::default() }, by).await.unwrap();
        }
    }
    for own in [None, Some(own()), Some(Own::of(Vec::new()))] {
        ledger.user_summary("alice", own.as_ref()).await.unwrap();
    }
    for caller in [None, Some("oidc:corp:alice")] {
        ledger.identities(caller, Span::all(Order::OldestFirst, 10)).await.unwrap();
    }
    ledger.newest_number().await.unwrap();
    let newest = Span::all(Order::NewestFirst, 10);
    assert!(!ledger.issued_decisions(&CertificateFilter::default(), newest).await.unwrap().is_empty());
    assert!(!ledger.refused_decisions(newest).await.unwrap().is_empty());
    assert!(!ledger.names_of(&[1]).await.unwrap().is_empty());
    assert!(!ledger.name_lists_of(&[1]).await.unwrap().is_empty());
    ledger.retention().await.unwrap();
    ledger.certificates_by_serial(serial(1)).await.unwrap();
    ledger.inspect_overview().await.unwrap();
    ledger.inspect_pruned().await.unwrap();
    ledger.inspect_certificates(0, 100, 10).await.unwrap();
    ledger.inspect_refusals(0, 100, 10).await.unwrap();
    ledger.inspect_events(0, 100, 10).await.unwrap();
    assert!(!ledger.inspect_lists(0, 10).await.unwrap().is_empty());
    assert!(ledger.inspect_members_of_no_list().await.unwrap().is_empty());
}

/// Every string of the store's sources that is SQL, with its file.
fn pieces_of_sql() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store");
    let (mut folders, mut pieces) = (vec![root.clone()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            let own = entry.strip_prefix(&root).unwrap().to_owned();
            if own.starts_with("tests") || PREPARES.iter().any(|place| own.starts_with(place)) {
                continue;
            }
            if entry.is_dir() {
                folders.push(entry);
                continue;
            }
            let text = std::fs::read_to_string(&entry).unwrap();
            let strings = strings(text.split("#[cfg(test)]\nmod tests").next().unwrap());
            let is_sql = |piece: &String| WORDS.iter().any(|word| piece.contains(word));
            pieces.extend(strings.into_iter().filter(is_sql).map(|piece| (own.clone(), piece)));
        }
    }
    pieces
}

/// The string literals of a source, as the compiler reads them.
fn strings(source: &str) -> Vec<String> {
    let code: Vec<&str> = source.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let code = code.join("\n");
    let mut characters = code.chars().peekable();
    let mut strings = Vec::new();
    while let Some(character) = characters.next() {
        if character == '\'' && characters.peek() == Some(&'"') {
            characters.next();
        }
        if character != '"' {
            continue;
        }
        let mut text = String::new();
        while let Some(character) = characters.next().filter(|character| *character != '"') {
            if character != '\\' {
                text.push(character);
            } else if characters.next() == Some('\n') {
                while characters.peek().is_some_and(|next| next.is_whitespace()) {
                    characters.next();
                }
            }
        }
        strings.push(text);
    }
    strings
}

#[test]
fn strings_are_read_as_the_compiler_reads_them() {
    assert_eq!(strings("f(\"SELECT a, \\\n     b\"); // c\n g('\"', \"x\")"), ["SELECT a, b", "x"]);
}
