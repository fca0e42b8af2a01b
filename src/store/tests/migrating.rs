//! Every step of the schema runs over tables that are not empty, and loses nothing.

use std::collections::BTreeMap;

use sqlx::{AssertSqlSafe, Row as _};

use super::*;
use crate::store::connection::Database;
use crate::store::migrations;

/// What SQLite has by itself; the samples are written with it.
const UNHEX: &str =
    "CREATE FUNCTION unhex(text) RETURNS bytea LANGUAGE sql IMMUTABLE AS $$ SELECT decode($1, 'hex') $$";

async fn empty() -> Place {
    match server::server() {
        None => Place::Folder(tempfile::tempdir().unwrap()),
        Some(server) => Place::Database(TestDatabase::empty(server, "").await),
    }
}

/// What is no longer there after a step: its rows are told by others.
const GONE: [&str; 4] = ["certificate_groups", "certificate_policies", "refusal_groups", "refusal_policies"];

async fn run(connection: &mut sqlx::AnyConnection, sql: String) {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.unwrap();
}

/// How many rows each table has.
async fn counts(connection: &mut sqlx::AnyConnection, place: &Place) -> BTreeMap<String, i64> {
    let tables = match place {
        Place::Folder(_) => {
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '\\_%' ESCAPE '\\' \
             AND name NOT LIKE 'sqlite%'"
        }
        Place::Database(_) => {
            "SELECT CAST(tablename AS TEXT) AS name FROM pg_tables WHERE schemaname = 'public' \
             AND tablename NOT LIKE '\\_%'"
        }
    };
    let mut counts = BTreeMap::new();
    for row in sqlx::query(tables).fetch_all(&mut *connection).await.unwrap() {
        let table: String = row.try_get("name").unwrap();
        let count = AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
        let count = sqlx::query_scalar(count).fetch_one(&mut *connection).await.unwrap();
        counts.insert(table, count);
    }
    counts
}

#[tokio::test]
async fn every_step_runs_over_tables_that_are_not_empty() {
    let place = empty().await;
    let mut connection = Database::prepared(&place.settings()).unwrap().connect().await.unwrap();
    if matches!(place, Place::Database(_)) {
        run(&mut connection, UNHEX.to_owned()).await;
    }
    let mut before: BTreeMap<String, i64> = BTreeMap::new();
    for (index, name) in migrations::names().enumerate() {
        migrations::run_first(&mut connection, index + 1).await;
        let after = counts(&mut connection, &place).await;
        for (table, count) in &before {
            let gone = name.as_str() >= "0009" && GONE.contains(&table.as_str());
            // Whose a key is says its certificate.
            let said = name.starts_with("0010") && table == "key_owners" && after.get(table) == Some(&0);
            assert!(after.get(table) == Some(count) || gone || said, "step {name} lost rows of {table}");
        }
        let file = format!("{}/tests/migrations/{name}.sql", env!("CARGO_MANIFEST_DIR"));
        let rows =
            std::fs::read_to_string(&file).unwrap_or_else(|_| panic!("{file}: rows for the later steps"));
        run(&mut connection, rows).await;
        before = counts(&mut connection, &place).await;
        for (table, count) in &before {
            assert!(*count > 0, "{file} leaves {table} empty");
        }
    }
    drop(connection);
    assert_readable(&Store::open(&place.settings()).await.unwrap()).await;
}

/// What the oldest step wrote is what the newest program reads.
async fn assert_readable(store: &Store) {
    let certificates = store.certificates(&CertificateFilter::default(), everything()).await.unwrap();
    let certificate = certificates.iter().find(|row| row.number == 2).unwrap();
    assert_eq!((certificate.user.as_str(), &certificate.groups[..]), ("alice", &["dev".to_owned()][..]));
    assert_eq!((certificate.issued_at, certificate.origin.caller.as_str()), (NOW, "token:portal"));
    assert_eq!(certificate.policies, ["developers"]);
    for filter in [
        CertificateFilter { group: Some("dev".to_owned()), ..CertificateFilter::default() },
        CertificateFilter { policy: Some("developers".to_owned()), ..CertificateFilter::default() },
    ] {
        let found = store.certificates(&filter, everything()).await.unwrap();
        assert_eq!(found.iter().map(|row| row.number).collect::<Vec<_>>(), [2]);
    }
    let refusals = store.refusals(&RefusalFilter::default(), everything()).await.unwrap();
    assert_eq!(refusals.last().unwrap().record.user.as_deref(), Some("mallory"));
    let events = store.events_after(&EventFilter::default(), 0, 4).await.unwrap();
    assert_eq!(events.iter().map(|event| event.number).collect::<Vec<_>>(), [1, 2, 3, 4]);
    let snapshot = store.snapshot().await.unwrap();
    assert_eq!(snapshot.rows[0].name.as_str(), "developers");
    assert!(snapshot.tokens.contains_key("id-portal") && snapshot.blocked_keys.contains(&[7; 32]));
    assert!(store.idempotent("token:portal", "k", NOW).await.unwrap().is_some());
    for (key, owner) in [(9, Some("alice")), (10, Some("carol")), (11, None)] {
        assert_eq!(store.key_owner([key; 32]).await.unwrap().as_deref(), owner);
    }
    let sql = "SELECT sha256_head FROM certificates WHERE number = 2";
    let row = Statement::new(sql).optional(&store.connections().readers).await.unwrap().unwrap();
    assert_eq!(row.at::<i64>(0).unwrap(), 0x0808_0808_0808_0808);
    assert_eq!(store.integrity().await.unwrap(), Vec::<String>::new());
}
