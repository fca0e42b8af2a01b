//! The schema of a ledger's file, through the public API and the real `sqlite3`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::path::{Path, PathBuf};
use std::process::Command;

use aws_lc_rs::digest::{SHA384, digest};
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

const STEPS: [&str; 2] = [
    include_str!("../migrations/sqlite/0001_ledger.sql"),
    include_str!("../migrations/sqlite/0002_retention.sql"),
];

/// One row at least in each table of the first step. HASH, OTHER and ID stand for octets.
const FIRST_ROWS: &str = "
    INSERT INTO names VALUES (1, 'token:a'), (2, 'prod'), (3, 'dev'), (4, 'developers');
    INSERT INTO name_lists VALUES (1, HASH, '[\"dev\"]'), (2, OTHER, '[\"developers\"]');
    INSERT INTO authorities VALUES (1, HASH, x'30', 1);
    INSERT INTO cluster_authorities VALUES (2, 1, 1);
    INSERT INTO events VALUES (1, 1000, 1, 1, NULL, ID, NULL, NULL, NULL),
                              (2, 1000, 2, 1, NULL, ID, NULL, NULL, NULL),
                              (3, 1000, 3, 1, NULL, ID, NULL, NULL, '{}');
    INSERT INTO certificates VALUES (1, 1, 2, 1, x'40000000000000000000000000000000', 'alice', 1, NULL, NULL,
                                     'p-256', HASH, 700, 2000, NULL, 0, 2, HASH, x'30');
    INSERT INTO certificate_groups VALUES (3, 1);
    INSERT INTO certificate_policies VALUES (4, 1);
    INSERT INTO key_owners VALUES (HASH, 'alice');
    INSERT INTO refusals VALUES (2, 1, 2, 'alice', 1, NULL, NULL, NULL, NULL, NULL, 'c', 'd', '[]', 0, 2);
    INSERT INTO refusal_groups VALUES (3, 2);
    INSERT INTO refusal_policies VALUES (4, 2);
    INSERT INTO policies VALUES ('developers', 1, NULL, '{}');
    INSERT INTO policy_revisions VALUES (1, 3);
    INSERT INTO tokens VALUES ('i', 'a', HASH, '[]', 0, 'x', 1, 2, NULL);
    INSERT INTO blocked_keys VALUES (HASH, 'r', 1, 1);
    INSERT INTO idempotency_keys VALUES (1, 'k', HASH, 1, 1000);
    UPDATE state SET number = 3, policy_revision = 1, newest_at = 1000;";

/// A file to which the first `steps` were done, and nothing since.
fn at_step(steps: usize) -> File {
    let file = File::new();
    file.sql(
        "CREATE TABLE _sqlx_migrations (version BIGINT PRIMARY KEY, description TEXT NOT NULL, \
         installed_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, success BOOLEAN NOT NULL, \
         checksum BLOB NOT NULL, execution_time BIGINT NOT NULL)",
    );
    for (version, step) in (1..).zip(STEPS.iter().take(steps)) {
        // The newline, because what begins with a hyphen is an option to sqlite3.
        file.sql(&format!("\n{step}"));
        let checksum = hex::encode(digest(&SHA384, step.as_bytes()));
        file.sql(&format!(
            "INSERT INTO _sqlx_migrations VALUES ({version}, '', CURRENT_TIMESTAMP, 1, x'{checksum}', 0)"
        ));
    }
    file
}

#[tokio::test]
async fn later_steps_keep_every_row_of_the_first() {
    let file = at_step(1);
    let octets = |digits: &str, length| format!("x'{}'", digits.repeat(length));
    let words = [("HASH", octets("2a", 32)), ("OTHER", octets("2b", 32)), ("ID", octets("2a", 16))];
    file.sql(&words.iter().fold(FIRST_ROWS.to_owned(), |rows, (word, octets)| rows.replace(word, octets)));
    let tables = file.sql(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '\\_%' ESCAPE '\\' ORDER BY name",
    );
    let rows = |table: &str| file.sql(&format!("SELECT * FROM {table} ORDER BY 1"));
    assert!(
        tables.lines().all(|table| !rows(table).is_empty()),
        "a table is empty, so nothing is shown of it"
    );
    // Their rows are told by those of lists, and whose a key is by its first certificate, which has other columns now.
    let gone = [
        "certificate_groups",
        "certificate_policies",
        "refusal_groups",
        "refusal_policies",
        "key_owners",
        "certificates",
    ];
    let kept: Vec<&str> = tables.lines().filter(|table| !gone.contains(table)).collect();
    let before: Vec<String> = kept.iter().map(|table| rows(table)).collect();
    file.open().await.unwrap().close().await;
    let after: Vec<String> = kept.iter().map(|table| rows(table)).collect();
    assert_eq!(before, after);
    let certificate = "SELECT number, authority_id, cluster_id, caller_id, hex(serial), user_name, groups_id, key_kind, \
         hex(spki_sha256), owns_key, not_before, not_after, policy_revision, policies_id, hex(der) FROM certificates";
    assert_eq!(
        file.sql(certificate).trim(),
        format!(
            "1|1|2|1|40000000000000000000000000000000|alice|1|p-256|{}|1|700|2000|0|2|30",
            "2A".repeat(32)
        )
    );
    assert_eq!(file.sql("SELECT printf('%x', sha256_head) FROM certificates").trim(), "2a".repeat(8));
    assert_eq!(file.sql("SELECT count(*) FROM key_owners").trim(), "0");
    assert_eq!(file.sql("SELECT name_id, list_id FROM name_list_members ORDER BY 1").trim(), "3|1\n4|2");
    assert_eq!(file.sql("PRAGMA integrity_check; PRAGMA foreign_key_check").trim(), "ok");
    let store = file.open().await.unwrap();
    assert_eq!(store.retention().await.unwrap(), None);
    store.close().await;
}

#[tokio::test]
async fn a_ledger_that_came_step_by_step_has_the_schema_of_a_new_one() {
    let schema = |file: &File| {
        file.sql(
            "SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE '\\_%' ESCAPE '\\' ORDER BY 1, 2",
        )
    };
    let old = at_step(1);
    old.open().await.unwrap().close().await;
    assert_eq!(schema(&old), schema(&File::made().await));
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
