//! Moves a ledger from a file of SQLite to a database of PostgreSQL: every row of every table, page
//! by page, resumable, and compared at the end.
//!
//! The tables are read from the file's own schema, so a later step needs nothing here. Each page is
//! one transaction with the place that was reached, in the table `ledger_copy`. While that table is
//! there, nothing serves from the database. The last transaction writes `state` and drops it.

mod page;
mod table;

use std::fs::File;

use sqlx::{AnyConnection, AssertSqlSafe, Connection, Row};

use super::connection::Database;
use super::engine::Engine;
use super::settings::StoreSettings;
use super::{StoreError, migrations, serving_lock};
use page::{Key, digest_of, insert, page_after};
use table::Table;

/// The tables whose one row is there from the start and is written last.
const ONE_ROW: [&str; 2] = [STATE, "retention"];

const STATE: &str = "state";

/// What was copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copied {
    /// Rows of all tables, and so many were compared.
    pub rows: u64,
    /// How many of them an earlier attempt had brought over.
    pub resumed: u64,
}

/// How far a copy is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Rows that were written or compared.
    pub done: u64,
    /// What `done` ends at: each row is written once and compared once.
    pub total: u64,
}

/// Copies the ledger of `source`, which nobody may serve or change meanwhile, to `target`.
///
/// # Errors
/// `Conflict` where the source is served, where the target holds a ledger, or where the source has
/// changed since the attempt that is resumed; `Corrupt` where the two differ in the end;
/// `Unavailable`, `NewerSchema`.
pub async fn copy(
    source: &StoreSettings,
    target: &StoreSettings,
    mut progress: impl FnMut(Progress),
) -> Result<Copied, StoreError> {
    let (StoreSettings::Sqlite(file), StoreSettings::Postgres(_)) = (source, target) else {
        return Err(StoreError::Conflict("a ledger is copied from SQLite to PostgreSQL only".to_owned()));
    };
    if !file.exists() {
        return Err(StoreError::Unavailable(format!("{}: there is no ledger", file.display())));
    }
    let mut copy = Copy::begin(source, target).await?;
    let (mut done, total) = (copy.resumed, copy.rows.saturating_mul(2));
    let mut report = |rows: u64| {
        done = done.saturating_add(rows);
        progress(Progress { done, total });
    };
    report(0);
    for table in copy.tables.clone() {
        copy.write(&table, &mut report).await?;
    }
    for table in copy.tables.clone() {
        copy.compare(&table, &mut report).await?;
    }
    copy.finish().await
}

/// That no copy into this database was left unfinished.
pub(super) async fn refuse_unfinished(connection: &mut AnyConnection) -> Result<(), StoreError> {
    if Engine::of(connection) == Engine::Postgres && is_begun(connection).await? {
        return Err(StoreError::Conflict(
            "a copy into this database was not finished: run `countersign ledger copy` again".to_owned(),
        ));
    }
    Ok(())
}

/// A copy under way, with both ends held.
struct Copy {
    source: AnyConnection,
    target: AnyConnection,
    tables: Vec<Table>,
    rows: u64,
    resumed: u64,
    _serving: File,
}

impl Copy {
    async fn begin(source: &StoreSettings, target: &StoreSettings) -> Result<Self, StoreError> {
        let database = Database::prepared(source)?;
        let Database::Sqlite(file) = &database else { return Err(StoreError::closed()) };
        let serving = serving_lock(file)?;
        let mut source = database.connect().await?;
        migrations::run(&mut source).await?;
        // Held to the end: no command beside this one may change what was copied already.
        sqlx::raw_sql(Engine::Sqlite.begin_write()).execute(&mut source).await?;
        let mut target = Database::prepared(target)?.connect().await?;
        migrations::run(&mut target).await?;
        let tables = table::all(&mut source).await?;
        let rows = count_all(&mut source, &tables).await?;
        let mark = digest_of(&mut source, Table::named(&tables, STATE)?, &mut |_| {}).await?;
        let resumed = begin_target(&mut target, &tables, &hex::encode(mark)).await?;
        Ok(Self { source, target, tables, rows, resumed, _serving: serving })
    }

    /// Brings over the rows of one table that are not there yet.
    async fn write(&mut self, table: &Table, report: &mut impl FnMut(u64)) -> Result<(), StoreError> {
        if table.has_one_row() {
            report(1);
            return Ok(());
        }
        let mut after = reached(&mut self.target, table).await?;
        loop {
            let rows = page_after(&mut self.source, table, after.as_ref()).await?;
            let Some(last) = rows.last() else { return Ok(()) };
            let key = Key::of(table, last);
            let mut transaction = self.target.begin().await?;
            insert(&mut transaction, table, &rows).await?;
            reach(&mut transaction, table, &key, rows.len()).await?;
            transaction.commit().await?;
            report(u64::try_from(rows.len()).unwrap_or(u64::MAX));
            after = Some(key);
        }
    }

    /// Reads both ends of one table again.
    async fn compare(&mut self, table: &Table, report: &mut impl FnMut(u64)) -> Result<(), StoreError> {
        if table.has_one_row() {
            report(1);
            return Ok(());
        }
        let from = digest_of(&mut self.source, table, &mut |_| {}).await?;
        let to = digest_of(&mut self.target, table, report).await?;
        if from == to { Ok(()) } else { Err(differs(&table.name)) }
    }

    /// From here on the database is a ledger, whole.
    async fn finish(mut self) -> Result<Copied, StoreError> {
        let mut transaction = self.target.begin().await?;
        for table in self.tables.iter().filter(|table| table.has_one_row()) {
            let rows = page_after(&mut self.source, table, None).await?;
            page::update(&mut transaction, table, &rows).await?;
            let same = digest_of(&mut self.source, table, &mut |_| {}).await?
                == digest_of(&mut transaction, table, &mut |_| {}).await?;
            if !same {
                return Err(differs(&table.name));
            }
        }
        for table in &self.tables {
            let Some(id) = table.given_by_database() else { continue };
            // The next one goes on from what was copied.
            let text = format!(
                "SELECT setval(pg_get_serial_sequence('{0}', '{id}'), max({id})) AS given FROM {0}",
                table.name
            );
            sqlx::query(AssertSqlSafe(text)).fetch_one(&mut *transaction).await?;
        }
        sqlx::raw_sql("DROP TABLE ledger_copy").execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(Copied { rows: self.rows, resumed: self.resumed })
    }
}

fn differs(table: &str) -> StoreError {
    StoreError::Corrupt(format!("{table} is not the same on both sides: empty the database and copy again"))
}

async fn is_begun(connection: &mut AnyConnection) -> Result<bool, StoreError> {
    let row = sqlx::query("SELECT CAST(to_regclass('ledger_copy') AS TEXT) AS found");
    Ok(row.fetch_one(connection).await?.try_get::<Option<String>, _>("found")?.is_some())
}

/// Begins a copy, or goes on with one of the same `mark`. Returns how many rows are there.
async fn begin_target(target: &mut AnyConnection, tables: &[Table], mark: &str) -> Result<u64, StoreError> {
    if is_begun(target).await? {
        let row = sqlx::query("SELECT reached AS mark FROM ledger_copy WHERE name = ''");
        let begun: String = row.fetch_one(&mut *target).await?.try_get("mark")?;
        if begun != mark {
            return Err(StoreError::Conflict(
                "the ledger has changed since this copy began: empty the database and copy again".to_owned(),
            ));
        }
        let row = sqlx::query("SELECT CAST(coalesce(sum(rows), 0) AS BIGINT) AS rows FROM ledger_copy");
        let rows: i64 = row.fetch_one(target).await?.try_get("rows")?;
        return Ok(u64::try_from(rows).unwrap_or_default());
    }
    let filled: Vec<Table> = tables.iter().filter(|table| !table.has_one_row()).cloned().collect();
    if count_all(target, &filled).await? > 0 {
        return Err(StoreError::Conflict(
            "the database holds a ledger already: name an empty one".to_owned(),
        ));
    }
    let mut transaction = target.begin().await?;
    let make =
        "CREATE TABLE ledger_copy (name TEXT PRIMARY KEY, reached TEXT NOT NULL, rows BIGINT NOT NULL)";
    sqlx::raw_sql(make).execute(&mut *transaction).await?;
    let first = sqlx::query("INSERT INTO ledger_copy (name, reached, rows) VALUES ('', $1, 0)");
    first.bind(mark.to_owned()).execute(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(0)
}

/// The last row of a table that was copied.
async fn reached(target: &mut AnyConnection, table: &Table) -> Result<Option<Key>, StoreError> {
    let row = sqlx::query("SELECT reached FROM ledger_copy WHERE name = $1").bind(table.name.clone());
    let Some(row) = row.fetch_optional(target).await? else { return Ok(None) };
    Key::read(&row.try_get::<String, _>("reached")?).map(Some)
}

async fn reach(target: &mut AnyConnection, table: &Table, key: &Key, rows: usize) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO ledger_copy (name, reached, rows) VALUES ($1, $2, $3) ON CONFLICT (name) \
         DO UPDATE SET reached = excluded.reached, rows = ledger_copy.rows + excluded.rows",
    )
    .bind(table.name.clone())
    .bind(key.written())
    .bind(i64::try_from(rows).unwrap_or_default())
    .execute(target)
    .await?;
    Ok(())
}

async fn count_all(connection: &mut AnyConnection, tables: &[Table]) -> Result<u64, StoreError> {
    let mut rows = 0_u64;
    for table in tables {
        let count = AssertSqlSafe(format!("SELECT count(*) AS rows FROM {}", table.name));
        let count: i64 = sqlx::query(count).fetch_one(&mut *connection).await?.try_get("rows")?;
        rows = rows.saturating_add(u64::try_from(count).unwrap_or_default());
    }
    Ok(rows)
}
