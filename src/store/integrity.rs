//! What the engine itself can say of the database. All that depends on the engine in
//! `countersign check` is here.

use std::collections::BTreeMap;

use sqlx::{AnyConnection, Connection, Row};

use super::connection::integrity_of_file;
use super::engine::Engine;
use super::{StoreError, migrations};

impl super::Store {
    /// The engine's own full check: the pages of a file, what refers to what, and whether the
    /// tables and triggers are in force that this program made. Reads all of it. Empty: nothing is
    /// wrong.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`.
    pub async fn integrity(&self) -> Result<Vec<String>, StoreError> {
        let database = &self.shared.database;
        let mut connection = database.connect().await?;
        let mut problems = database.integrity(&mut connection).await?;
        match self.connections().engine {
            Engine::Sqlite => compare_schema(&mut connection, &mut problems).await?,
            Engine::Postgres => find_disabled(&mut connection, &mut problems).await?,
        }
        let _ = connection.close().await;
        Ok(problems)
    }
}

/// Of a copy that nobody else has open.
pub(super) async fn of_copy(connection: &mut AnyConnection) -> Result<Vec<String>, StoreError> {
    let mut problems = integrity_of_file(connection).await?;
    compare_schema(connection, &mut problems).await?;
    Ok(problems)
}

async fn compare_schema(
    connection: &mut AnyConnection,
    problems: &mut Vec<String>,
) -> Result<(), StoreError> {
    let mut fresh = AnyConnection::connect("sqlite::memory:").await?;
    migrations::run(&mut fresh).await?;
    let (expected, mut found) = (schema(&mut fresh).await?, schema(connection).await?);
    for (thing, text) in expected {
        match found.remove(&thing) {
            None => problems.push(format!("the {thing} is not there")),
            Some(other) if other != text => {
                problems.push(format!("the {thing} is not the one that this program makes"));
            }
            Some(_) => {}
        }
    }
    problems.extend(
        found.into_keys().map(|thing| format!("there is a {thing}, which this program does not make")),
    );
    Ok(())
}

/// `trigger certificates_are_kept`, and how it was made. What SQLite makes for itself has no text.
async fn schema(connection: &mut AnyConnection) -> Result<BTreeMap<String, String>, StoreError> {
    let things = "SELECT type || ' ' || name AS thing, sql FROM sqlite_master \
                  WHERE sql IS NOT NULL AND substr(name, 1, 7) <> 'sqlite_'";
    let rows = sqlx::query(things).fetch_all(connection).await?;
    rows.iter().map(|row| Ok((row.try_get("thing")?, row.try_get("sql")?))).collect()
}

/// What an administrator of PostgreSQL can turn off without a trace.
async fn find_disabled(connection: &mut AnyConnection, problems: &mut Vec<String>) -> Result<(), StoreError> {
    let disabled = "SELECT CAST(t.tgname AS TEXT) AS name FROM pg_trigger t \
                    JOIN pg_class c ON c.oid = t.tgrelid WHERE c.relnamespace = CAST(current_schema() AS regnamespace) \
                    AND t.tgenabled NOT IN ('O', 'A') ORDER BY 1";
    for row in sqlx::query(disabled).fetch_all(&mut *connection).await? {
        let name: String = row.try_get("name")?;
        problems.push(format!("the trigger {name} is turned off"));
    }
    let unproven = "SELECT CAST(conname AS TEXT) AS name FROM pg_constraint \
                    WHERE connamespace = CAST(current_schema() AS regnamespace) AND NOT convalidated ORDER BY 1";
    for row in sqlx::query(unproven).fetch_all(connection).await? {
        let name: String = row.try_get("name")?;
        problems.push(format!("the constraint {name} was never proven"));
    }
    Ok(())
}
