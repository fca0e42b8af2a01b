//! Databases of their own for tests, on the server that `COUNTERSIGN_TEST_POSTGRES` names. Where it
//! names none, the tests run on SQLite.

use std::sync::atomic::{AtomicU64, Ordering};

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _};

/// As `postgres://user@127.0.0.1:5432`, without a database.
const VARIABLE: &str = "COUNTERSIGN_TEST_POSTGRES";

/// Whoever makes the template holds this advisory lock.
const TEMPLATE_LOCK: &str = "SELECT pg_advisory_lock(20261)";

/// A database that is dropped with this value.
pub struct TestDatabase {
    server: String,
    name: String,
}

/// The server's URL, if these tests run on PostgreSQL.
pub fn server() -> Option<String> {
    std::env::var(VARIABLE).ok().filter(|url| !url.is_empty())
}

impl TestDatabase {
    /// A copy of a database that `prepare` made, once for all tests: its argument is the URL.
    pub async fn copy_of_prepared(server: String, prepare: impl AsyncFnOnce(&str)) -> Self {
        let template = template(&server, prepare).await;
        let database = Self::named(server);
        execute(&database.server, &format!("CREATE DATABASE {} TEMPLATE {template}", database.name)).await;
        database
    }

    /// A database with nothing in it; `options` as CREATE DATABASE takes them.
    #[allow(dead_code, reason = "each test binary uses its own part")]
    pub async fn empty(server: String, options: &str) -> Self {
        let database = Self::named(server);
        execute(&database.server, &format!("CREATE DATABASE {} {options}", database.name)).await;
        database
    }

    pub fn url(&self) -> String {
        format!("{}/{}", self.server, self.name)
    }

    /// Runs statements as the owner, beside the program.
    #[allow(dead_code, reason = "each test binary uses its own part")]
    pub async fn run(&self, statements: &str) {
        execute(&self.url(), statements).await;
    }

    #[allow(dead_code, reason = "each test binary uses its own part")]
    pub fn name(&self) -> &str {
        &self.name
    }

    fn named(server: String) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let count = COUNT.fetch_add(1, Ordering::SeqCst);
        Self { server, name: format!("test_{}_{count}", std::process::id()) }
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let (server, name) = (self.server.clone(), self.name.clone());
        // On a thread of its own: this one may be inside of a runtime.
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(execute(&server, &format!("DROP DATABASE {name} WITH (FORCE)")));
        });
        assert!(dropped.join().is_ok() || std::thread::panicking(), "the test's database was not dropped");
    }
}

/// Named after the text of the schema, so that a server that is used again has no stale one.
async fn template(server: &str, prepare: impl AsyncFnOnce(&str)) -> String {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations/postgres");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let text: Vec<String> = files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect();
    let mut hasher = std::hash::DefaultHasher::new();
    std::hash::Hash::hash(&text, &mut hasher);
    let name = format!("template_{:016x}", std::hash::Hasher::finish(&hasher));
    let mut lock = PgConnection::connect(&format!("{server}/postgres")).await.unwrap();
    sqlx::raw_sql(TEMPLATE_LOCK).execute(&mut lock).await.unwrap();
    let found = sqlx::query("SELECT 1 FROM pg_database WHERE datname = $1").bind(&name);
    if found.fetch_optional(&mut lock).await.unwrap().is_none() {
        let unfinished = format!("{name}_unfinished");
        execute(server, &format!("DROP DATABASE IF EXISTS {unfinished} WITH (FORCE)")).await;
        execute(server, &format!("CREATE DATABASE {unfinished}")).await;
        prepare(&format!("{server}/{unfinished}")).await;
        execute(server, &format!("ALTER DATABASE {unfinished} RENAME TO {name}")).await;
    }
    lock.close().await.unwrap();
    name
}

/// Runs statements in the database of this URL, or in `postgres`.
pub async fn execute(url: &str, statements: &str) {
    let url = if url.matches('/').count() == 2 { format!("{url}/postgres") } else { url.to_owned() };
    let mut connection = PgConnection::connect(&url).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(statements.to_owned())).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}
