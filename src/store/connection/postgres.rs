//! Connections to a server of PostgreSQL: what is set on each, and what is read back.

use std::str::FromStr;
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::{AnyConnection, AssertSqlSafe, ConnectOptions, Connection, Row};
use zeroize::Zeroizing;

use super::{Connections, Pool, READERS};
use crate::store::StoreError;
use crate::store::engine::Engine;
use crate::store::settings::{Host, PostgresSettings};

/// How long a caller waits for a connection. With what a statement may take after it, below the
/// five seconds in which every request answers.
const ACQUIRE: Duration = Duration::from_secs(2);

/// How long the first connection may take.
const CONNECT: Duration = Duration::from_secs(10);

/// A connection is made anew after this time, so that changed passwords and addresses come to light.
const LIFETIME: Duration = Duration::from_mins(30);

/// What is set on every connection. A service that stands still in the middle of a transaction must
/// not hold the row of `state`, and with it every other replica, for longer than a moment.
const SETTINGS: &str = "SET statement_timeout = 4000; SET lock_timeout = 2000; \
     SET idle_in_transaction_session_timeout = 3000";

/// For the connections that only read.
const READ_ONLY: &str = "SET default_transaction_read_only = on";

/// Also for those, so that a list is read along the index that its statement was written for, row by row until
/// the page is full. The planner does not know how two filters go together: it reads and sorts a whole ledger
/// where it takes a page for longer than it is. One plan serves every value, since values change nothing in it,
/// and nothing is compiled for a page. Only what a server knows is set.
const AS_WRITTEN: &str = "SELECT set_config(s.name, v.value, false) FROM pg_settings s JOIN (VALUES \
     ('plan_cache_mode', 'force_generic_plan'), ('enable_seqscan', 'off'), ('enable_bitmapscan', 'off'), \
     ('enable_hashjoin', 'off'), ('enable_mergejoin', 'off'), ('jit', 'off')) v (name, value) ON v.name = s.name";

/// What is read back. A server that does not know a setting answers NULL.
const READ_BACK: &str = "SELECT current_setting('synchronous_commit', true) AS synchronous_commit, \
     current_setting('fsync', true) AS fsync, \
     current_setting('full_page_writes', true) AS full_page_writes, \
     current_setting('session_replication_role', true) AS session_replication_role, \
     current_setting('server_encoding', true) AS server_encoding, version() AS version";

/// Both pools, each with one connection that has shown that it works.
pub(super) async fn open(settings: &PostgresSettings) -> Result<Connections, StoreError> {
    let options = options(settings)?;
    let writer = pool(1, false).connect_with(options.clone()).await?;
    let readers = pool(READERS, true).connect_with(options).await?;
    Ok(Connections {
        engine: Engine::Postgres,
        writer: Pool::Servers(writer),
        readers: Pool::Servers(readers),
    })
}

/// One connection outside the pools. It may take its time for each statement: it is the one that
/// brings the schema up to date.
pub(super) async fn connect(settings: &PostgresSettings) -> Result<AnyConnection, StoreError> {
    let options = options(settings)?;
    let unavailable = |why: String| StoreError::Unavailable(format!("{settings}: {why}"));
    let made = tokio::time::timeout(CONNECT, prepared(&options)).await;
    let made = made.map_err(|_| unavailable("the server does not answer".to_owned()))?;
    made.map_err(|error| unavailable(error.to_string()))
}

async fn prepared(options: &AnyConnectOptions) -> Result<AnyConnection, sqlx::Error> {
    let mut connection = AnyConnection::connect_with(options).await?;
    prepare(&mut connection, false).await?;
    sqlx::raw_sql("SET statement_timeout = 0; SET lock_timeout = 60000").execute(&mut connection).await?;
    Ok(connection)
}

/// What refers to what: every foreign key is looked at again. Pages are the server's own to check,
/// with checksums and `pg_amcheck`.
pub(super) async fn integrity(connection: &mut AnyConnection) -> Result<Vec<String>, StoreError> {
    let keys = sqlx::query(
        "SELECT CAST(k.conrelid::regclass AS TEXT) AS child, CAST(k.confrelid::regclass AS TEXT) AS parent, \
         format('SELECT count(*) AS missing FROM %s c LEFT JOIN %s p ON p.%I = c.%I WHERE c.%I IS NOT NULL \
         AND p.%I IS NULL', k.conrelid::regclass, k.confrelid::regclass, b.attname, a.attname, a.attname, \
         b.attname) AS question FROM pg_constraint k \
         JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = k.conkey[1] \
         JOIN pg_attribute b ON b.attrelid = k.confrelid AND b.attnum = k.confkey[1] \
         WHERE k.contype = 'f' AND k.connamespace = current_schema()::regnamespace ORDER BY child, parent",
    )
    .fetch_all(&mut *connection)
    .await?;
    let mut problems = Vec::new();
    for key in keys {
        let question: String = key.try_get("question")?;
        let missing = sqlx::query(AssertSqlSafe(question)).fetch_one(&mut *connection).await?;
        let (child, parent): (String, String) = (key.try_get("child")?, key.try_get("parent")?);
        for _ in 0..missing.try_get::<i64, _>("missing")? {
            problems.push(format!("a row of {child} refers to a row of {parent} that is not there"));
        }
    }
    Ok(problems)
}

fn pool(connections: u32, reads_only: bool) -> AnyPoolOptions {
    AnyPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(ACQUIRE)
        .idle_timeout(None)
        .max_lifetime(LIFETIME)
        // The look at the settings, which can change while a connection is open, is the test.
        .test_before_acquire(reads_only)
        .before_acquire(move |connection, _| {
            Box::pin(async move {
                if !reads_only {
                    read_back(connection).await?;
                }
                Ok(true)
            })
        })
        .after_connect(move |connection, _| Box::pin(prepare(connection, reads_only)))
}

async fn prepare(connection: &mut AnyConnection, reads_only: bool) -> Result<(), sqlx::Error> {
    let commit = read_back(connection).await?;
    sqlx::raw_sql(SETTINGS).execute(&mut *connection).await?;
    // Set on the connection itself, so that no reload of the server's configuration takes it away.
    sqlx::raw_sql(commit).execute(&mut *connection).await?;
    if reads_only {
        sqlx::raw_sql(READ_ONLY).execute(&mut *connection).await?;
        sqlx::raw_sql(AS_WRITTEN).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Refuses a server that would say that a record is durable before it is. Returns the statement that
/// keeps the connection as it is.
async fn read_back(connection: &mut AnyConnection) -> Result<&'static str, sqlx::Error> {
    let row = sqlx::query(READ_BACK).fetch_one(connection).await?;
    let setting = |name: &str| row.try_get::<Option<String>, _>(name);
    // It has neither setting: every commit is synced by a majority.
    let cockroach = setting("version")?.is_some_and(|version| version.starts_with("CockroachDB"));
    for (name, good) in [
        ("fsync", "on"),
        ("full_page_writes", "on"),
        // In any other role the triggers that keep records from being changed do not fire.
        ("session_replication_role", "origin"),
        ("server_encoding", "UTF8"),
    ] {
        let value = setting(name)?;
        let unknown = value.is_none() && cockroach;
        if value.as_deref() != Some(good) && !unknown {
            return Err(refused(name, &value.unwrap_or_default(), good));
        }
    }
    let commit = setting("synchronous_commit")?.unwrap_or_default();
    match commit.as_str() {
        // `local` and `remote_write` answer before a standby that was asked to be synchronous has
        // the commit on its disk: a failover would lose a certificate that is out.
        "on" => Ok("SET synchronous_commit = on"),
        "remote_apply" => Ok("SET synchronous_commit = remote_apply"),
        _ => Err(refused("synchronous_commit", &commit, "on")),
    }
}

fn refused(name: &str, value: &str, good: &str) -> sqlx::Error {
    sqlx::Error::Configuration(
        format!(
            "the database would acknowledge what is not safe: {name} stands at `{value}`, set it to `{good}`"
        )
        .into(),
    )
}

/// The driver's own reading of environment variables and password files is left no room: every part
/// is given.
fn options(settings: &PostgresSettings) -> Result<AnyConnectOptions, StoreError> {
    sqlx::any::install_default_drivers();
    let url = url(settings)?;
    let options = AnyConnectOptions::from_str(&url)
        .map_err(|_| StoreError::Unavailable(format!("{settings}: cannot be written as a URL")))?;
    Ok(options.disable_statement_logging())
}

fn url(settings: &PostgresSettings) -> Result<Zeroizing<String>, StoreError> {
    let escaped = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let host = match &settings.host {
        Host::Name(name) => name.clone(),
        Host::Socket(folder) => escaped(&folder.to_string_lossy()),
    };
    let password = settings.password().map_err(StoreError::Unavailable)?;
    let mut url = Zeroizing::new(format!(
        "postgres://{}:{}@{host}:{}/{}?sslmode={}&application_name=countersign",
        escaped(&settings.user),
        escaped(&password),
        settings.port,
        escaped(&settings.database),
        settings.ssl_mode.as_str(),
    ));
    if let Some(root) = &settings.ssl_root_certificate {
        url.push_str("&sslrootcert=");
        url.push_str(&escaped(&root.to_string_lossy()));
    }
    Ok(url)
}
