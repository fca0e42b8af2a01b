//! Opening the file: what it is made like, and what is refused.

use std::os::unix::fs::PermissionsExt;

use super::*;

#[tokio::test]
async fn the_file_is_made_for_its_owner_only() {
    let ledger = Ledger::on_sqlite().await;
    ledger.record(sample(1).build()).await.unwrap();
    for file in ["ledger.db", "ledger.db-wal", "ledger.db-shm"] {
        let mode = std::fs::metadata(ledger.place.folder().join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
}

#[tokio::test]
async fn every_connection_syncs_each_commit_and_checks_references() {
    let ledger = Ledger::on_sqlite().await;
    for pool in [&ledger.connections().writer, &ledger.connections().readers] {
        for (pragma, expected) in [
            ("PRAGMA synchronous", 2),
            ("PRAGMA foreign_keys", 1),
            ("PRAGMA trusted_schema", 0),
            ("PRAGMA recursive_triggers", 1),
            ("PRAGMA busy_timeout", 50),
        ] {
            let row = Statement::new(pragma).optional(pool).await.unwrap().unwrap();
            assert_eq!(row.at::<i64>(0).unwrap(), expected, "{pragma}");
        }
        let row = Statement::new("PRAGMA journal_mode").optional(pool).await.unwrap().unwrap();
        assert_eq!(row.at::<&str>(0).unwrap(), "wal");
    }
}

#[tokio::test]
async fn readers_cannot_write() {
    let ledger = Ledger::on_sqlite().await;
    let insert = Statement::new("INSERT INTO names (name) VALUES ('x')");
    let error = insert.execute(&ledger.connections().readers).await.unwrap_err();
    assert!(error.to_string().contains("readonly"), "{error}");
}

#[tokio::test]
async fn what_cannot_be_made_or_opened_is_unavailable_and_named() {
    let folder = tempfile::tempdir().unwrap();
    // Not even root makes files there.
    for path in [folder.path().join("none/ledger.db"), folder.path().to_owned(), "/sys/ledger.db".into()] {
        let error = Store::open(&StoreSettings::Sqlite(path.clone())).await.unwrap_err();
        let named = error.to_string().contains(path.to_str().unwrap());
        assert!(matches!(error, StoreError::Unavailable(_)) && named, "{error}");
    }
}

#[tokio::test]
async fn a_file_that_is_no_database_is_corrupt() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("ledger.db"), "not a database, but long enough. ".repeat(100)).unwrap();
    let error = Store::open(&settings(folder.path())).await.unwrap_err();
    assert!(matches!(&error, StoreError::Corrupt(why) if why.contains("no SQLite database")), "{error}");
}

#[tokio::test]
async fn an_odd_path_is_taken_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let odd = folder.path().join("a b?mode=ro#é%20");
    std::fs::create_dir(&odd).unwrap();
    Store::open(&settings(&odd)).await.unwrap().close().await;
    assert!(odd.join("ledger.db").metadata().unwrap().len() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_starts_at_once_make_one_schema() {
    let folder = tempfile::tempdir().unwrap();
    let starts: Vec<_> = (0..8)
        .map(|_| {
            let settings = settings(folder.path());
            tokio::spawn(async move { Store::open(&settings).await })
        })
        .collect();
    for start in starts {
        start.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn one_process_serves_a_file_at_a_time() {
    let ledger = Ledger::on_sqlite().await;
    ledger.lock_for_serving().unwrap();
    ledger.lock_for_serving().unwrap();
    let beside = ledger.beside().await;
    let second = beside.lock_for_serving();
    assert!(matches!(second, Err(StoreError::Conflict(_))), "{second:?}");
    let Ledger { store, place: _place } = ledger;
    store.close().await;
    drop(store);
    beside.lock_for_serving().unwrap();
}

#[tokio::test]
async fn what_is_damaged_is_found() {
    let ledger = Ledger::on_sqlite().await;
    ledger.record(sample(1).build()).await.unwrap();
    assert!(ledger.integrity().await.unwrap().is_empty());
    ledger
        .run("PRAGMA foreign_keys = OFF; DROP TRIGGER events_are_not_deleted; DELETE FROM events")
        .await
        .unwrap();
    let problems = ledger.integrity().await.unwrap();
    assert_eq!(
        problems,
        [
            "a row of certificates refers to a row of events that is not there",
            "the trigger events_are_not_deleted is not there"
        ]
    );
}
