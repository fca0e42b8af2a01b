//! How SQLite runs each list: along an index, in its order, without looking at every row.

use sqlx::Row as _;

use super::*;
use crate::audit::EventKind;
use crate::store::statement::Statement;
use crate::store::{certificates, events, refusals};

async fn plan(ledger: &Ledger, statement: Statement<'_>) -> Vec<String> {
    let rows =
        statement.explained(ledger.connections().engine).all(&ledger.connections().readers).await.unwrap();
    rows.iter().map(|row| row.try_get("detail").unwrap()).collect()
}

/// The first step reads the paged table by an index, nothing is scanned, nothing sorted.
async fn assert_paged(ledger: &Ledger, what: &str, statement: Statement<'_>, along: &str) {
    let plan = plan(ledger, statement).await;
    println!("{what}: {plan:#?}");
    assert!(
        !plan.iter().any(|step| step.contains("SCAN") || step.contains("TEMP B-TREE")),
        "{what}: {plan:#?}"
    );
    assert!(plan[0].contains(along), "{what} runs along {}, not {along}", plan[0]);
}

const PAGE: Page = Page { before: Some(1_000), limit: 50 };

#[tokio::test]
async fn certificates_are_paged_along_an_index_under_every_filter() {
    let ledger = Ledger::on_sqlite().await;
    let text = || Some("x".to_owned());
    let none = CertificateFilter::default;
    let active = Some((CertificateStatus::Active, NOW));
    let expired = Some((CertificateStatus::Expired, NOW));
    for (what, filter, along) in [
        ("all", none(), "c USING INTEGER PRIMARY KEY"),
        ("user", CertificateFilter { user: text(), ..none() }, "certificates_by_user"),
        (
            "group",
            CertificateFilter { group: text(), ..none() },
            "m USING PRIMARY KEY (name_id=? AND number<?)",
        ),
        ("cluster", CertificateFilter { cluster: text(), ..none() }, "certificates_by_cluster"),
        ("caller", CertificateFilter { caller: text(), ..none() }, "certificates_by_caller"),
        (
            "on_behalf_of",
            CertificateFilter { on_behalf_of: text(), ..none() },
            "certificates_by_on_behalf_of",
        ),
        ("sha256", CertificateFilter { sha256: Some([0; 32]), ..none() }, "certificates_by_sha256"),
        (
            "policy",
            CertificateFilter { policy: text(), ..none() },
            "m USING PRIMARY KEY (name_id=? AND number<?)",
        ),
        ("active", CertificateFilter { status: active, ..none() }, "c USING INTEGER PRIMARY KEY"),
        ("expired", CertificateFilter { status: expired, ..none() }, "c USING INTEGER PRIMARY KEY"),
        (
            "caller, group",
            CertificateFilter { caller: text(), group: text(), ..none() },
            "certificates_by_caller",
        ),
        (
            "caller, policy",
            CertificateFilter { caller: text(), policy: text(), ..none() },
            "certificates_by_caller",
        ),
        (
            "caller, cluster",
            CertificateFilter { caller: text(), cluster: text(), ..none() },
            "certificates_by_caller",
        ),
        (
            "caller, group, policy, cluster, expired",
            CertificateFilter {
                caller: text(),
                group: text(),
                policy: text(),
                cluster: text(),
                status: expired,
                ..none()
            },
            "certificates_by_caller",
        ),
        (
            "user, group, policy",
            CertificateFilter { user: text(), group: text(), policy: text(), ..none() },
            "_by_user",
        ),
    ] {
        assert_paged(&ledger, what, certificates::select(&filter, PAGE), along).await;
    }
}

#[tokio::test]
async fn refusals_are_paged_along_an_index_under_every_filter() {
    let ledger = Ledger::on_sqlite().await;
    let text = || Some("x".to_owned());
    let none = RefusalFilter::default;
    for (what, filter, along) in [
        ("all", none(), "r USING INTEGER PRIMARY KEY"),
        ("user", RefusalFilter { user: text(), ..none() }, "refusals_by_user"),
        ("group", RefusalFilter { group: text(), ..none() }, "m USING PRIMARY KEY (name_id=? AND number<?)"),
        ("cluster", RefusalFilter { cluster: text(), ..none() }, "refusals_by_cluster"),
        ("caller", RefusalFilter { caller: text(), ..none() }, "refusals_by_caller"),
        ("on_behalf_of", RefusalFilter { on_behalf_of: text(), ..none() }, "refusals_by_on_behalf_of"),
        (
            "policy",
            RefusalFilter { policy: text(), ..none() },
            "m USING PRIMARY KEY (name_id=? AND number<?)",
        ),
        ("code", RefusalFilter { code: text(), ..none() }, "refusals_by_code"),
        ("caller, group", RefusalFilter { caller: text(), group: text(), ..none() }, "refusals_by_caller"),
        ("caller, policy", RefusalFilter { caller: text(), policy: text(), ..none() }, "refusals_by_caller"),
        (
            "caller, cluster",
            RefusalFilter { caller: text(), cluster: text(), ..none() },
            "refusals_by_caller",
        ),
        ("caller, code", RefusalFilter { caller: text(), code: text(), ..none() }, "refusals_by_caller"),
        ("after", RefusalFilter { after: Some(NOW), ..none() }, "r USING INTEGER PRIMARY KEY"),
        ("before", RefusalFilter { before: Some(NOW), ..none() }, "r USING INTEGER PRIMARY KEY"),
    ] {
        assert_paged(&ledger, what, refusals::select(&filter, PAGE), along).await;
    }
}

#[tokio::test]
async fn events_are_paged_along_an_index_under_every_filter() {
    let ledger = Ledger::on_sqlite().await;
    let none = EventFilter::default;
    let kind = Some(EventKind::KeyBlocked);
    for (what, filter, along) in [
        ("all", none(), "e USING INTEGER PRIMARY KEY"),
        ("kind", EventFilter { kind, ..none() }, "events_by_kind"),
        ("caller", EventFilter { caller: Some("x".to_owned()), ..none() }, "events_by_caller"),
        ("after", EventFilter { after_time: Some(NOW), ..none() }, "e USING INTEGER PRIMARY KEY"),
        ("before", EventFilter { before_time: Some(NOW), ..none() }, "e USING INTEGER PRIMARY KEY"),
    ] {
        assert_paged(&ledger, what, events::newest_first(&filter, PAGE), along).await;
        assert_paged(&ledger, what, events::oldest_first(&filter, 7, 50), along).await;
    }
}
