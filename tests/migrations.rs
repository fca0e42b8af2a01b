//! The schema of a ledger's file, through the public API and the real `sqlite3`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::path::{Path, PathBuf};
use std::process::Command;

use countersign::store::{CertificateFilter, Page, Revisions, Store, StoreError, StoreSettings};

struct File {
    folder: tempfile::TempDir,
}

impl File {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("ledger.db")
    }

    async fn open(&self) -> Result<Store, StoreError> {
        Store::open(&StoreSettings::Sqlite(self.path())).await
    }

    /// Makes the ledger and closes it.
    async fn made() -> Self {
        let file = Self::new();
        file.open().await.unwrap().close().await;
        file
    }

    fn sql(&self, sql: &str) -> String {
        sqlite3(&self.path(), sql)
    }
}

fn sqlite3(file: &Path, sql: &str) -> String {
    let output = Command::new("sqlite3").arg(file).arg(sql).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn an_empty_file_becomes_a_ledger() {
    let file = File::new();
    std::fs::write(file.path(), "").unwrap();
    let store = file.open().await.unwrap();
    assert_eq!(store.revisions().await.unwrap(), Revisions::default());
    let page = Page { before: None, limit: 10 };
    assert!(store.certificates(&CertificateFilter::default(), page).await.unwrap().is_empty());
    assert!(store.integrity().await.unwrap().is_empty());
    store.close().await;
    assert_eq!(file.sql("PRAGMA journal_mode").trim(), "wal");
}

#[tokio::test]
async fn every_table_is_strict() {
    let file = File::made().await;
    let lax = "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table' \
               AND strict = 0 AND name NOT LIKE 'sqlite_%' ORDER BY name";
    assert_eq!(file.sql(lax).trim(), "_sqlx_migrations");
}

#[tokio::test]
async fn a_ledger_is_opened_again_as_it_was() {
    let file = File::made().await;
    let before = file.sql(".dump");
    file.open().await.unwrap().close().await;
    assert_eq!(file.sql(".dump"), before);
}

#[tokio::test]
async fn a_ledger_that_is_open_is_opened_beside() {
    let file = File::new();
    let first = file.open().await.unwrap();
    let second = file.open().await.unwrap();
    first.close().await;
    second.revisions().await.unwrap();
}

#[tokio::test]
async fn a_newer_schema_is_refused_and_left_alone() {
    let file = File::made().await;
    file.sql(
        "INSERT INTO _sqlx_migrations \
         SELECT 9999, 'later', installed_on, 1, x'00', 0 FROM _sqlx_migrations LIMIT 1",
    );
    let before = file.sql(".dump");
    let refused = file.open().await;
    assert!(matches!(&refused, Err(StoreError::NewerSchema(why)) if why.contains("9999")), "{refused:?}");
    assert_eq!(file.sql(".dump"), before);
}

#[tokio::test]
async fn a_step_that_differs_from_this_programs_is_refused() {
    let file = File::made().await;
    file.sql("UPDATE _sqlx_migrations SET checksum = x'00'");
    let refused = file.open().await;
    assert!(matches!(&refused, Err(StoreError::Corrupt(why)) if why.contains("step 1")), "{refused:?}");
}

#[tokio::test]
async fn a_database_of_another_program_is_refused_and_left_alone() {
    let file = File::new();
    file.sql("CREATE TABLE customers (name TEXT)");
    let refused = file.open().await;
    assert!(
        matches!(&refused, Err(StoreError::Corrupt(why)) if why.contains("another program")),
        "{refused:?}"
    );
    assert_eq!(file.sql("SELECT name FROM sqlite_master").trim(), "customers");
}

#[tokio::test]
async fn a_step_that_fails_leaves_nothing_behind() {
    let file = File::made().await;
    // A history that knows nothing of the tables: the first step finds them in its way.
    file.sql("DELETE FROM _sqlx_migrations; DROP TABLE state");
    let before = file.sql(".dump");
    let refused = file.open().await;
    assert!(matches!(&refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    assert_eq!(file.sql(".dump"), before);
}
