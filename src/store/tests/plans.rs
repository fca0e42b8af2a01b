//! How each list is run: along an index, in its order, without looking at every row.

use super::*;
use crate::audit::EventKind;
use crate::store::engine::Engine;
use crate::store::search::{Path, Search};
use crate::store::statement::Statement;
use crate::store::times::{Look, Numbers, look_up};
use crate::store::{certificates, events, limits, refusals};

async fn plan(ledger: &Ledger, statement: Statement<'_>) -> Vec<String> {
    let rows = statement.explained().all(&ledger.connections().readers).await.unwrap();
    rows.iter().map(|row| row.try_get("detail").unwrap()).collect()
}

/// The plan for all values.
async fn plan_of_a_server(ledger: &Ledger, statement: &Statement<'_>) -> Vec<String> {
    let [prepare, execute] = statement.prepared();
    let mut reader = ledger.connections().readers.acquire().await.unwrap();
    reader.run_text(&prepare).await.unwrap();
    let rows = Statement::new("EXPLAIN ").text(&execute).all(&mut reader).await.unwrap();
    reader.run("DEALLOCATE page").await.unwrap();
    rows.iter().map(|row| row.at(0).unwrap()).collect()
}

/// The first step reads by an index, no table is scanned, nothing is sorted.
async fn assert_paged(ledger: &Ledger, what: &str, statement: Statement<'_>, along: &str) {
    if ledger.connections().engine == Engine::Postgres {
        return assert_paged_by_a_server(what, &plan_of_a_server(ledger, &statement).await, along);
    }
    let plan = plan(ledger, statement).await;
    let listed = along == LISTED;
    let bad = |step: &&String| {
        // `k` and `p` are the numbers of the page, as many as its limit.
        let scan =
            step.contains("SCAN") && !["SCAN k", "SCAN p", "SCAN CONSTANT ROW"].contains(&step.as_str());
        scan || (step.contains("TEMP B-TREE") && !listed)
    };
    assert!(!plan.iter().any(|step| bad(&step)), "{what}: {plan:#?}");
    let first = plan.iter().find(|step| step.starts_with("SEARCH")).unwrap();
    assert!(first.contains(along), "{what} runs along {first}, not {along}: {plan:#?}");
    if listed {
        let records = plan.iter().find(|step| step.starts_with("SEARCH c")).unwrap();
        let ways = [
            "by_groups (groups_id=? AND rowid>? AND rowid<?)",
            "by_policies (policies_id=? AND rowid>? AND rowid<?)",
        ];
        assert!(ways.iter().any(|way| records.contains(way)), "{what}: {plan:#?}");
    }
}

/// No table of records is scanned, joined as a whole or sorted: what is sorted are parts that end with the page, and a
/// stretch of several lists.
fn assert_paged_by_a_server(what: &str, plan: &[String], along: &str) {
    let steps: Vec<&str> = plan
        .iter()
        .map(|line| line.trim_start_matches([' ', '-', '>']))
        .filter(|step| step.contains("(cost="))
        .collect();
    let is = |step: &str, names: &[&str]| names.iter().any(|name| step.starts_with(name));
    let tables = ["certificate", "refusal", "events", "renewals"];
    for (place, step) in steps.iter().enumerate() {
        let scan = is(step, &["Seq Scan on ", "Bitmap", "Parallel"])
            && tables.iter().any(|table| step.contains(table));
        let whole = is(step, &["Hash", "Merge Join"]);
        let below = steps.get(place + 1).is_some_and(|below| below.starts_with("Append"));
        let stretch = along == LISTED;
        let sorted = is(step, &["Sort", "Incremental Sort"]) && !below && !stretch;
        assert!(!scan && !whole && !sorted, "{what}: {step}: {plan:#?}");
    }
    for (place, _) in steps.iter().enumerate().filter(|(_, step)| step.starts_with("Append")) {
        assert!(steps[place + 1].starts_with("Limit"), "{what}: {plan:#?}");
    }
}

const BOTH: [Span; 2] = [
    Span { above: 5, below: 1_000, order: Order::NewestFirst, limit: 50 },
    Span { above: 5, below: 1_000, order: Order::OldestFirst, limit: 50 },
];

/// Every path of a search, in both orders, and the probe that chooses among them.
async fn assert_search<'f>(
    ledger: &Ledger,
    what: &str,
    search: &Search<'f>,
    select: impl Fn(&Search<'f>, Path, Span) -> Statement<'f>,
    paths: &[(Path, &str)],
) {
    for span in BOTH {
        for (path, along) in paths {
            assert_paged(ledger, &format!("{what} by {path:?}"), select(search, *path, span), along).await;
            assert_paged(ledger, &format!("{what}, probe"), search.probe(&[*path], span), along).await;
        }
    }
}

/// The lists that a name is in come first, then the records of each.
const LISTED: &str = "m USING PRIMARY KEY (name_id=?)";
const LIFETIMES: &str = "certificates_by_lifetime (<expr>=? AND number>? AND number<?)";

#[tokio::test]
async fn certificates_are_paged_along_an_index_under_every_filter() {
    let ledger = Ledger::on_sqlite().await;
    let text = || Some("x".to_owned());
    let filter = CertificateFilter {
        user: text(),
        on_behalf_of: text(),
        group: text(),
        policy: text(),
        caller: text(),
        cluster: text(),
        status: Some((CertificateStatus::Active, NOW)),
        issued_after: Some(NOW),
        issued_before: Some(NOW),
        expires_before: Some(NOW),
        ..CertificateFilter::default()
    };
    let paths = [
        (Path::Lead(0), "certificates_by_user (user_name=? AND rowid>? AND rowid<?)"),
        (Path::Lead(1), "certificates_by_on_behalf_of (on_behalf_of=? AND rowid>? AND rowid<?)"),
        (Path::Lead(2), LISTED),
        (Path::Lead(3), LISTED),
        (Path::Lead(4), "certificates_by_caller (caller_id=? AND rowid>? AND rowid<?)"),
        (Path::Lead(5), "certificates_by_cluster (cluster_id=? AND rowid>? AND rowid<?)"),
        (Path::Lifetimes, LIFETIMES),
        (Path::Rows, "c USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"),
    ];
    let search = ledger.search(&filter).await;
    assert_search(&ledger, "all filters", &search, certificates::select, &paths).await;
    // Each alone: what the others would have hidden.
    for (place, filter) in [
        CertificateFilter { user: text(), ..CertificateFilter::default() },
        CertificateFilter { on_behalf_of: text(), ..CertificateFilter::default() },
        CertificateFilter { group: text(), ..CertificateFilter::default() },
        CertificateFilter { policy: text(), ..CertificateFilter::default() },
        CertificateFilter { caller: text(), ..CertificateFilter::default() },
        CertificateFilter { cluster: text(), ..CertificateFilter::default() },
        CertificateFilter { valid_at: Some(NOW), ..CertificateFilter::default() },
        CertificateFilter::default(),
    ]
    .into_iter()
    .enumerate()
    {
        let search = ledger.search(&filter).await;
        let (path, along) = paths[place];
        let path = if place < 6 { Path::Lead(0) } else { path };
        assert_search(&ledger, "one filter", &search, certificates::select, &[(path, along)]).await;
    }
    for (along, filter) in [
        (
            "(serial=?)",
            CertificateFilter { serial: Some(serial(1)), user: text(), ..CertificateFilter::default() },
        ),
        (
            "certificates_by_sha256 (sha256_head=? AND rowid>? AND rowid<?)",
            CertificateFilter { sha256: Some([0; 32]), cluster: text(), ..CertificateFilter::default() },
        ),
    ] {
        let search = ledger.search(&filter).await;
        let mut reader = ledger.connections().readers.acquire().await.unwrap();
        let path = search.path(&mut reader, BOTH[0]).await.unwrap();
        assert_eq!(path, Path::Lead(0));
        let plan = plan(&ledger, certificates::select(&search, path, BOTH[0])).await;
        assert!(plan.iter().any(|step| step.contains(along)), "{plan:#?}");
    }
}

#[tokio::test]
async fn what_was_recorded_since_is_found_along_the_users_newest_certificates() {
    let ledger = Ledger::on_sqlite().await;
    let wanted = [(("alice", "few"), 5), (("bob", "few"), 7)];
    let plan = plan(&ledger, limits::later(&wanted)).await;
    let along = [
        "c USING INDEX certificates_by_user (user_name=? AND rowid>?)",
        "m USING COVERING INDEX name_list_members_by_list (list_id=? AND name_id=?)",
    ];
    assert!(along.iter().all(|along| plan.iter().any(|step| step.contains(along))), "{plan:#?}");
    assert!(!plan.iter().any(|step| ["SCAN n", "SCAN m", "SCAN c"].contains(&step.as_str())), "{plan:#?}");
}

type With<F> = fn(&mut F);

/// Every filter with every other, along each path that the two leave open.
async fn assert_pairs<F: Default>(
    ledger: &Ledger,
    filters: &[With<F>],
    paged: impl AsyncFn(&F, Span) -> Vec<(&'static str, Statement<'static>)>,
) {
    for (place, one) in filters.iter().enumerate() {
        for other in &filters[place..] {
            let mut filter = F::default();
            one(&mut filter);
            other(&mut filter);
            for span in BOTH {
                for (along, statement) in paged(&filter, span).await {
                    let what = format!("filters {place} and another along {along}");
                    assert_paged(ledger, &what, statement, along_index(along)).await;
                }
            }
        }
    }
}

fn along_index(named: &str) -> &'static str {
    match named {
        "c.user_name" => "_by_user (user_name=? AND rowid>? AND rowid<?)",
        "c.on_behalf_of" => "_by_on_behalf_of (on_behalf_of=? AND rowid>? AND rowid<?)",
        "c.caller_id" => "_by_caller (caller_id=? AND rowid>? AND rowid<?)",
        "c.cluster_id" => "_by_cluster (cluster_id=? AND rowid>? AND rowid<?)",
        "c.code" => "refusals_by_code (code=? AND rowid>? AND rowid<?)",
        "lifetimes" => LIFETIMES,
        "all rows" => "c USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)",
        _ => LISTED,
    }
}

#[tokio::test]
async fn every_pair_of_filters_of_certificates_is_paged_along_an_index() {
    assert_pairs_of_certificates(&Ledger::on_sqlite().await).await;
}

#[tokio::test]
async fn every_pair_of_filters_of_refusals_is_paged_along_an_index() {
    assert_pairs_of_refusals(&Ledger::on_sqlite().await).await;
}

#[tokio::test]
async fn every_filter_of_events_is_paged_along_an_index() {
    assert_events(&Ledger::on_sqlite().await).await;
}

#[tokio::test]
#[ignore = "needs COUNTERSIGN_TEST_POSTGRES"]
async fn a_server_pages_under_every_filter_without_a_scan_or_a_sort_of_a_table() {
    let ledger = super::postgres::ledger().await;
    assert_pairs_of_certificates(&ledger).await;
    assert_pairs_of_refusals(&ledger).await;
    assert_events(&ledger).await;
}

async fn assert_pairs_of_certificates(ledger: &Ledger) {
    let filters: [With<CertificateFilter>; 13] = [
        |filter| filter.user = Some("x".to_owned()),
        |filter| filter.on_behalf_of = Some("x".to_owned()),
        |filter| filter.group = Some("x".to_owned()),
        |filter| filter.policy = Some("x".to_owned()),
        |filter| filter.caller = Some("x".to_owned()),
        |filter| filter.cluster = Some("x".to_owned()),
        |filter| filter.status = Some((CertificateStatus::Active, NOW)),
        |filter| filter.status = Some((CertificateStatus::Expired, NOW)),
        |filter| filter.issued_after = Some(NOW),
        |filter| filter.issued_before = Some(NOW),
        |filter| filter.expires_before = Some(NOW),
        |filter| filter.expires_after = Some(NOW),
        |filter| filter.valid_between = Some((NOW, NOW)),
    ];
    assert_pairs(ledger, &filters, async |filter: &CertificateFilter, span| {
        // A filter lives for as long as the test.
        let filter: &'static CertificateFilter = Box::leak(Box::new(filter.clone()));
        let search = ledger.search(filter).await;
        let paths = search.all_paths();
        paths.iter().map(|path| (search.named(*path), certificates::select(&search, *path, span))).collect()
    })
    .await;
}

async fn assert_pairs_of_refusals(ledger: &Ledger) {
    let filters: [With<RefusalFilter>; 9] = [
        |filter| filter.user = Some("x".to_owned()),
        |filter| filter.on_behalf_of = Some("x".to_owned()),
        |filter| filter.group = Some("x".to_owned()),
        |filter| filter.policy = Some("x".to_owned()),
        |filter| filter.caller = Some("x".to_owned()),
        |filter| filter.cluster = Some("x".to_owned()),
        |filter| filter.code = Some("x".to_owned()),
        |filter| filter.after = Some(NOW),
        |filter| filter.before = Some(NOW),
    ];
    assert_pairs(ledger, &filters, async |filter: &RefusalFilter, span| {
        let filter: &'static RefusalFilter = Box::leak(Box::new(filter.clone()));
        let search = filter.search();
        let paths = search.all_paths();
        paths.iter().map(|path| (search.named(*path), refusals::select(&search, *path, span))).collect()
    })
    .await;
}

#[tokio::test]
async fn refusals_are_paged_along_an_index_under_every_filter() {
    let ledger = Ledger::on_sqlite().await;
    let text = || Some("x".to_owned());
    let filter = RefusalFilter {
        user: text(),
        on_behalf_of: text(),
        group: text(),
        policy: text(),
        code: text(),
        caller: text(),
        own: None,
        cluster: text(),
        after: Some(NOW),
        before: Some(NOW),
    };
    let paths = [
        (Path::Lead(0), "refusals_by_user (user_name=? AND rowid>? AND rowid<?)"),
        (Path::Lead(1), "refusals_by_on_behalf_of (on_behalf_of=? AND rowid>? AND rowid<?)"),
        (Path::Lead(2), LISTED),
        (Path::Lead(3), LISTED),
        (Path::Lead(4), "refusals_by_code (code=? AND rowid>? AND rowid<?)"),
        (Path::Lead(5), "refusals_by_caller (caller_id=? AND rowid>? AND rowid<?)"),
        (Path::Lead(6), "refusals_by_cluster (cluster_id=? AND rowid>? AND rowid<?)"),
        (Path::Rows, "c USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"),
    ];
    assert_search(&ledger, "all filters", &filter.search(), refusals::select, &paths).await;
    let after = RefusalFilter { after: Some(NOW), ..RefusalFilter::default() };
    assert_search(&ledger, "after", &after.search(), refusals::select, &paths[7..]).await;
}

async fn assert_events(ledger: &Ledger) {
    let none = EventFilter::default;
    let caller = || Some("x".to_owned());
    let (record, change) = (Some(EventKind::RequestRefused), Some(EventKind::KeyBlocked));
    for (what, filter, along) in [
        ("all", none(), "e USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"),
        (
            "refusals",
            EventFilter { kind: record, ..none() },
            "events_by_kind (kind=? AND rowid>? AND rowid<?)",
        ),
        (
            "certificates",
            EventFilter { kind: Some(EventKind::CertificateIssued), after_time: Some(NOW), ..none() },
            "e USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)",
        ),
        (
            "certificates of a caller",
            EventFilter { kind: Some(EventKind::CertificateIssued), caller: caller(), ..none() },
            "events_by_caller (caller_id=? AND rowid>? AND rowid<?)",
        ),
        (
            "refusals of a caller",
            EventFilter { kind: record, caller: caller(), ..none() },
            "events_by_caller_and_kind (caller_id=? AND kind=? AND rowid>? AND rowid<?)",
        ),
        (
            "changes of a caller",
            EventFilter { kind: change, caller: caller(), after_time: Some(NOW), ..none() },
            "events_by_caller_and_kind (caller_id=? AND kind=? AND rowid>? AND rowid<?)",
        ),
        ("change", EventFilter { kind: change, ..none() }, "events_by_kind (kind=? AND rowid>? AND rowid<?)"),
        (
            "change in time",
            EventFilter { kind: change, before_time: Some(NOW), ..none() },
            "events_by_kind (kind=? AND rowid>? AND rowid<?)",
        ),
        (
            "caller",
            EventFilter { caller: caller(), ..none() },
            "events_by_caller (caller_id=? AND rowid>? AND rowid<?)",
        ),
        (
            "caller in time",
            EventFilter { caller: caller(), before_time: Some(NOW), ..none() },
            "events_by_caller (caller_id=? AND rowid>? AND rowid<?)",
        ),
        (
            "time",
            EventFilter { after_time: Some(NOW), before_time: Some(NOW), ..none() },
            "e USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)",
        ),
    ] {
        for span in BOTH {
            let numbers = [Numbers { above: 7, below: 900 }; 2];
            let engine = ledger.connections().engine;
            assert_paged(ledger, what, events::select(&filter, &numbers, span, engine), along).await;
        }
    }
}

#[tokio::test]
async fn changes_in_a_period_are_read_along_an_index_of_their_own() {
    let ledger = Ledger::on_sqlite().await;
    let timed = EventFilter { after_time: Some(NOW), ..EventFilter::default() };
    let plan = plan(&ledger, events::select(&timed, &[], BOTH[0], Engine::Sqlite)).await;
    assert!(
        plan.iter().any(|step| step.contains("events_of_changes (<expr>=? AND rowid>? AND rowid<?)")),
        "{plan:#?}"
    );
}

#[tokio::test]
async fn a_time_is_turned_into_a_number_by_one_look_into_an_index() {
    let ledger = Ledger::on_sqlite().await;
    let plan = plan(&ledger, look_up(1, &[Look::Before(5), Look::Behind(7)])).await;
    assert!(!plan.iter().any(|step| step.contains("TEMP B-TREE")), "{plan:#?}");
    let looks: Vec<_> = plan.iter().filter(|step| step.starts_with("SEARCH")).collect();
    assert_eq!(looks.len(), 2);
    assert!(
        looks.iter().all(|step| step.contains("COVERING INDEX events_by_kind_and_time (kind=? AND at")),
        "{plan:#?}"
    );
}
