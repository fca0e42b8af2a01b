//! The schema, step by step. The steps are part of the program; each runs once, in one transaction.

use std::time::Instant;

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{Any, AnyConnection, Connection, Row, SqlStr, Transaction};

use super::StoreError;
use super::connection::{PATIENCE, is_busy};
use super::engine::Engine;

/// One step, in the words of each engine.
struct Step {
    version: i64,
    name: &'static str,
    sqlite: &'static str,
    postgres: &'static str,
}

/// Every step, the oldest first. A step that was released is never changed.
const STEPS: [Step; 10] = [
    Step {
        version: 1,
        name: "ledger",
        sqlite: include_str!("../../migrations/sqlite/0001_ledger.sql"),
        postgres: include_str!("../../migrations/postgres/0001_ledger.sql"),
    },
    Step {
        version: 2,
        name: "retention",
        sqlite: include_str!("../../migrations/sqlite/0002_retention.sql"),
        postgres: include_str!("../../migrations/postgres/0002_retention.sql"),
    },
    Step {
        version: 3,
        name: "reading",
        sqlite: include_str!("../../migrations/sqlite/0003_reading.sql"),
        postgres: include_str!("../../migrations/postgres/0003_reading.sql"),
    },
    Step {
        version: 4,
        name: "requests",
        sqlite: include_str!("../../migrations/sqlite/0004_requests.sql"),
        postgres: include_str!("../../migrations/postgres/0004_requests.sql"),
    },
    Step {
        version: 5,
        name: "identities",
        sqlite: include_str!("../../migrations/sqlite/0005_identities.sql"),
        postgres: include_str!("../../migrations/postgres/0005_identities.sql"),
    },
    Step {
        version: 6,
        name: "renewals",
        sqlite: include_str!("../../migrations/sqlite/0006_renewals.sql"),
        postgres: include_str!("../../migrations/postgres/0006_renewals.sql"),
    },
    Step {
        version: 7,
        name: "tokens",
        sqlite: include_str!("../../migrations/sqlite/0007_tokens.sql"),
        postgres: include_str!("../../migrations/postgres/0007_tokens.sql"),
    },
    Step {
        version: 8,
        name: "kinds",
        sqlite: include_str!("../../migrations/sqlite/0008_kinds.sql"),
        postgres: include_str!("../../migrations/postgres/0008_kinds.sql"),
    },
    Step {
        version: 9,
        name: "lists",
        sqlite: include_str!("../../migrations/sqlite/0009_lists.sql"),
        postgres: include_str!("../../migrations/postgres/0009_lists.sql"),
    },
    Step {
        version: 10,
        name: "smaller",
        sqlite: include_str!("../../migrations/sqlite/0010_smaller.sql"),
        postgres: include_str!("../../migrations/postgres/0010_smaller.sql"),
    },
];

/// A number that no other program is likely to have taken: the first octets of this one's name.
const ONE_AT_A_TIME: &str = "SELECT pg_advisory_xact_lock(7165065861825654388)";

const SQLITE_TABLES: &str = "SELECT count(*) AS tables, \
     count(CASE WHEN name = '_sqlx_migrations' THEN 1 END) AS histories FROM sqlite_master WHERE type = 'table'";

const POSTGRES_TABLES: &str = "SELECT count(*) AS tables, \
     count(CASE WHEN tablename = '_sqlx_migrations' THEN 1 END) AS histories FROM pg_catalog.pg_tables \
     WHERE schemaname = current_schema()";

/// Brings the schema to where this program needs it. Two programs may do so at once.
///
/// # Errors
/// `NewerSchema` where a later program was here, `Corrupt` where a step differs from this
/// program's, or where the file belongs to another program.
pub(super) async fn run(connection: &mut AnyConnection) -> Result<(), StoreError> {
    let engine = Engine::of(connection);
    let migrator = migrator(engine);
    // Without the write lock first: most starts find nothing to do, and may not wait for a writer.
    if is_current(connection, engine, &migrator).await? {
        return Ok(());
    }
    let started = Instant::now();
    loop {
        match connection.begin_with(engine.begin_write()).await {
            Ok(transaction) => return migrate(transaction, engine, &migrator).await,
            Err(error) if is_busy(&error) && started.elapsed() < 2 * PATIENCE => {}
            Err(error) => return Err(error.into()),
        }
    }
}

async fn migrate(
    mut transaction: Transaction<'_, Any>,
    engine: Engine,
    migrator: &Migrator,
) -> Result<(), StoreError> {
    if engine == Engine::Postgres {
        // SQLite's transaction has its lock. Replicas that start together come one after the other.
        sqlx::raw_sql(ONE_AT_A_TIME).execute(&mut *transaction).await?;
    }
    // Another program may have come first.
    if !is_current(&mut transaction, engine, migrator).await? {
        migrator
            .run_direct(None, &mut *transaction, false)
            .await
            .map_err(|error| StoreError::Unavailable(error.to_string()))?;
    }
    Ok(transaction.commit().await?)
}

fn migrator(engine: Engine) -> Migrator {
    of_steps(engine, &STEPS)
}

fn of_steps(engine: Engine, steps: &[Step]) -> Migrator {
    let steps = steps.iter().map(|step| {
        let text = match engine {
            Engine::Sqlite => step.sqlite,
            Engine::Postgres => step.postgres,
        };
        let text = SqlStr::from_static(text);
        Migration::new(step.version, step.name.into(), MigrationType::Simple, text, false)
    });
    Migrator::with_migrations(steps.collect())
}

/// How the schema of a database stands to the one that this program needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schema {
    /// The last step that has run; 0 where there is no ledger yet.
    pub found: i64,
    /// The last step that there is.
    pub needed: i64,
}

/// How the schema stands.
///
/// # Errors
/// As for [`run`].
pub(super) async fn schema(connection: &mut AnyConnection) -> Result<Schema, StoreError> {
    let engine = Engine::of(connection);
    let found = applied(connection, engine, &migrator(engine)).await?;
    Ok(Schema { found, needed: newest() })
}

/// Of a file that is not there.
pub(super) fn schema_of_nothing() -> Schema {
    Schema { found: 0, needed: newest() }
}

fn newest() -> i64 {
    STEPS.last().map_or(0, |step| step.version)
}

async fn is_current(
    connection: &mut AnyConnection,
    engine: Engine,
    migrator: &Migrator,
) -> Result<bool, StoreError> {
    Ok(applied(connection, engine, migrator).await? == newest())
}

/// The last step that has run; an error if others have than this program's, or other texts of them.
async fn applied(
    connection: &mut AnyConnection,
    engine: Engine,
    migrator: &Migrator,
) -> Result<i64, StoreError> {
    if !has_history(connection, engine).await? {
        return Ok(0);
    }
    let mut last = 0;
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
            Some(_) => last = version,
        }
    }
    Ok(last)
}

async fn has_history(connection: &mut AnyConnection, engine: Engine) -> Result<bool, StoreError> {
    let tables = match engine {
        Engine::Sqlite => SQLITE_TABLES,
        Engine::Postgres => POSTGRES_TABLES,
    };
    let row = sqlx::query(tables).fetch_one(connection).await?;
    match (row.try_get::<i64, _>("tables")?, row.try_get::<i64, _>("histories")?) {
        (0, _) => Ok(false),
        (_, 0) => Err(StoreError::Corrupt("this database belongs to another program".to_owned())),
        _ => Ok(true),
    }
}

/// The names of all steps, the oldest first.
#[cfg(test)]
pub(super) fn names() -> impl Iterator<Item = String> {
    STEPS.iter().map(|step| format!("{:04}_{}", step.version, step.name))
}

/// Brings the schema to where it was after so many steps.
#[cfg(test)]
pub(super) async fn run_first(connection: &mut AnyConnection, count: usize) {
    let migrator = of_steps(Engine::of(connection), &STEPS[..count]);
    migrator.run_direct(None, connection, false).await.unwrap();
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::*;

    /// The files of one engine, by name.
    fn files(engine: &str) -> BTreeMap<String, String> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(engine);
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
        entries
            .map(|entry| {
                let name = entry.file_name().into_string().unwrap();
                (name, std::fs::read_to_string(entry.path()).unwrap())
            })
            .collect()
    }

    #[test]
    fn both_engines_have_the_same_steps_and_every_file_is_one() {
        let named = |text: fn(&Step) -> &'static str| -> BTreeMap<String, String> {
            let file = |step: &Step| format!("{:04}_{}.sql", step.version, step.name);
            STEPS.iter().map(|step| (file(step), text(step).to_owned())).collect()
        };
        assert_eq!(named(|step| step.sqlite), files("sqlite"));
        assert_eq!(named(|step| step.postgres), files("postgres"));
    }

    #[test]
    fn steps_are_numbered_through() {
        let versions: Vec<i64> = STEPS.iter().map(|step| step.version).collect();
        assert_eq!(versions, (1..=i64::try_from(STEPS.len()).unwrap()).collect::<Vec<_>>());
    }
}
