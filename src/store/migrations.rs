//! The schema, step by step. The steps are part of the program; each runs once, in one transaction.

use std::time::Instant;

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{Any, AnyConnection, Connection, Row, SqlStr, Transaction};

use super::StoreError;
use super::connection::{BEGIN_WRITE, PATIENCE, is_busy};

/// Brings the schema to where this program needs it. Two programs may do so at once.
///
/// # Errors
/// `NewerSchema` where a later program was here, `Corrupt` where a step differs from this
/// program's, or where the file belongs to another program.
pub(super) async fn run(connection: &mut AnyConnection) -> Result<(), StoreError> {
    let migrator = migrator();
    // Without the write lock first: most starts find nothing to do, and may not wait for a writer.
    if is_current(connection, &migrator).await? {
        return Ok(());
    }
    let started = Instant::now();
    loop {
        match connection.begin_with(BEGIN_WRITE).await {
            Ok(transaction) => return migrate(transaction, &migrator).await,
            Err(error) if is_busy(&error) && started.elapsed() < 2 * PATIENCE => {}
            Err(error) => return Err(error.into()),
        }
    }
}

async fn migrate(mut transaction: Transaction<'_, Any>, migrator: &Migrator) -> Result<(), StoreError> {
    // Another program may have come first.
    if !is_current(&mut transaction, migrator).await? {
        migrator
            .run_direct(None, &mut *transaction, false)
            .await
            .map_err(|error| StoreError::Unavailable(error.to_string()))?;
    }
    Ok(transaction.commit().await?)
}

fn migrator() -> Migrator {
    let ledger = SqlStr::from_static(include_str!("../../migrations/sqlite/0001_ledger.sql"));
    let reading = SqlStr::from_static(include_str!("../../migrations/sqlite/0003_reading.sql"));
    let step = |version, name: &'static str, text| {
        Migration::new(version, name.into(), MigrationType::Simple, text, false)
    };
    Migrator::with_migrations(vec![step(1, "ledger", ledger), step(3, "reading", reading)])
}

/// Whether every step has run; an error if others have, or other texts of them.
async fn is_current(connection: &mut AnyConnection, migrator: &Migrator) -> Result<bool, StoreError> {
    if !has_history(connection).await? {
        return Ok(false);
    }
    let applied = sqlx::query("SELECT version, checksum FROM _sqlx_migrations ORDER BY version")
        .fetch_all(&mut *connection)
        .await?;
    for row in &applied {
        let version: i64 = row.try_get("version")?;
        let checksum: Vec<u8> = row.try_get("checksum")?;
        match migrator.iter().find(|known| known.version == version) {
            None => {
                return Err(StoreError::NewerSchema(format!("it has step {version} of the schema")));
            }
            Some(known) if *known.checksum != *checksum => {
                return Err(StoreError::Corrupt(format!(
                    "step {version} of the schema is not the one that this program knows"
                )));
            }
            Some(_) => {}
        }
    }
    Ok(applied.len() == migrator.iter().count())
}

async fn has_history(connection: &mut AnyConnection) -> Result<bool, StoreError> {
    let row = sqlx::query(
        "SELECT count(*) AS tables, count(CASE WHEN name = '_sqlx_migrations' THEN 1 END) AS histories \
         FROM sqlite_master WHERE type = 'table'",
    )
    .fetch_one(connection)
    .await?;
    match (row.try_get::<i64, _>("tables")?, row.try_get::<i64, _>("histories")?) {
        (0, _) => Ok(false),
        (_, 0) => Err(StoreError::Corrupt("this database belongs to another program".to_owned())),
        _ => Ok(true),
    }
}
