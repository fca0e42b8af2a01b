//! The check over a ledger that the service itself wrote, before and after pruning.

use countersign::app::check::{Report, Step, Summary, ledger};
use countersign::audit::EventKind;
use countersign::clock::Clock;
use countersign::store::retention::{LEAST_RETENTION, Prunable};
use countersign::store::{EventFilter, Page};
use countersign::time::{Lifetime, Time};

use crate::app::{POLICIES, TestApp, operator};
use crate::csr::csr;

/// 2020-01-01: so long ago that thirty days have passed by every clock.
const LONG_AGO: Time = Time::from_unix(1_577_836_800);

/// Certificates of eight hours and of one day, refusals, changes of everything.
async fn filled() -> TestApp {
    let app = TestApp::begun_at(LONG_AGO, POLICIES).await;
    let (alice, bob) = (app.alice().await, app.bob().await);
    for _ in 0..3 {
        alice.sign("?cluster=prod", csr("/CN=alice/O=dev/O=team-a")).await.expect(201);
        alice.sign("?cluster=prod", csr("/CN=root/O=admins")).await.refused(403, "policy_denied");
        bob.sign("?cluster=test&ttl=20m", csr("/CN=bob/O=dev")).await.expect(201);
    }
    app.revoke("bob").await;
    app.apply(&POLICIES.replace("max_ttl: 8h", "max_ttl: 4h")).await;
    app.app.refresh().await.unwrap();
    alice.sign("?cluster=prod", csr("/CN=alice")).await.expect(201);
    app.app.store.block_key([7; 32], "stolen", LONG_AGO, &operator()).await.unwrap();
    app
}

/// What is wrong, and what was looked at.
async fn check(app: &TestApp) -> (Vec<String>, Summary) {
    check_at(app, LONG_AGO).await
}

/// What is wrong with the ledger of a test, by its own clock.
pub async fn findings(app: &TestApp) -> Vec<String> {
    check_at(app, app.app.clock.now()).await.0
}

async fn check_at(app: &TestApp, now: Time) -> (Vec<String>, Summary) {
    let mut lines = Vec::new();
    let mut tell = |step: Step<'_>| {
        if let Step::Found(finding) = step {
            lines.push(format!("{}: {}: {}", finding.severity.as_str(), finding.about, finding.text));
        }
    };
    let mut report = Report::new(&mut tell);
    ledger(&app.app.store, Vec::new(), now, &mut report).await;
    let summary = report.summary;
    lines.retain(|line| !line.starts_with("note: "));
    (lines, summary)
}

async fn prune(app: &TestApp, which: Prunable) -> u64 {
    let (mut count, mut after) = (0, 0);
    loop {
        let step =
            app.app.store.prune_some(which, after, Clock::System.now(), Some(&operator())).await.unwrap();
        count += step.count;
        match step.reached {
            Some(reached) => after = reached,
            None => return count,
        }
    }
}

#[tokio::test]
async fn what_the_service_wrote_is_clean() {
    let app = filled().await;
    let (lines, summary) = check(&app).await;
    assert_eq!(lines, Vec::<String>::new());
    assert_eq!((summary.certificates, summary.refusals, summary.wrong), (7, 3, 0));
    assert!(summary.events > 10);
}

#[tokio::test]
async fn what_was_pruned_is_explained_by_the_audit_log() {
    let app = filled().await;
    let store = &app.app.store;
    store.set_retention(Some(LEAST_RETENTION), LONG_AGO, &operator()).await.unwrap();
    assert_eq!((prune(&app, Prunable::Certificates).await, prune(&app, Prunable::Refusals).await), (7, 3));
    let (lines, summary) = check(&app).await;
    assert_eq!(lines, Vec::<String>::new());
    assert_eq!((summary.certificates, summary.refusals), (0, 0));

    // Keys keep their users, and numbers go on.
    let alice = app.client("alice-2", &["requester"], false).await;
    alice.sign("?cluster=prod", csr("/CN=alice")).await.expect(403);
    let filter = EventFilter { kind: Some(EventKind::LedgerPruned), ..EventFilter::default() };
    let events = store.events(&filter, Page { before: None, limit: 10 }).await.unwrap();
    assert_eq!(events.len(), 2);
    assert_eq!(check(&app).await.0, Vec::<String>::new());
}

#[tokio::test]
async fn a_certificate_that_still_has_to_be_kept_is_not_pruned() {
    let app = filled().await;
    let keep = Lifetime::from_seconds(u32::MAX);
    app.app.store.set_retention(Some(keep), LONG_AGO, &operator()).await.unwrap();
    assert_eq!((prune(&app, Prunable::Certificates).await, prune(&app, Prunable::Refusals).await), (0, 0));
}
