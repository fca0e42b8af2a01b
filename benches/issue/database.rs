//! The ledger from outside: where it is, how large it is, what is in it and how often it synced.
//! Judged by `sqlite3` and `psql`, not by the service's own code.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::process::Pid;
use serde::Serialize;

use crate::machine;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Engine {
    #[serde(rename = "SQLite")]
    Sqlite,
    #[serde(rename = "PostgreSQL")]
    Postgres,
}

impl Engine {
    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgres => "PostgreSQL",
        }
    }
}

/// A running PostgreSQL that this benchmark may make databases on.
#[derive(Clone, Debug)]
pub struct Postgres {
    /// `postgres://USER@ADDRESS:PORT`, without a database.
    pub url: String,
    /// Its main process.
    pub pid: Pid,
}

/// One ledger of its own.
#[derive(Clone, Debug)]
pub enum Database {
    Sqlite(PathBuf),
    Postgres { server: Postgres, name: String },
}

impl Database {
    /// A new one, empty. `folder` is fresh and its name good for a database.
    pub fn make(postgres: Option<&Postgres>, folder: &Path) -> Result<Self> {
        let Some(server) = postgres else { return Ok(Self::Sqlite(folder.join("ledger.db"))) };
        let name = folder.file_name().and_then(|name| name.to_str()).context("the folder has no name")?;
        let database = Self::Postgres { server: server.clone(), name: name.replace('-', "_") };
        database.administer("CREATE DATABASE")?;
        Ok(database)
    }

    /// As the service's configuration has it.
    pub fn setting(&self) -> String {
        match self {
            Self::Sqlite(file) => format!("sqlite:{}", file.display()),
            Self::Postgres { server, name } => format!("{}/{name}", server.url),
        }
    }

    /// Bytes on disk. Of SQLite without the log, which is folded in when the last process closes.
    pub fn bytes(&self) -> Result<u64> {
        match self {
            Self::Sqlite(file) => Ok(std::fs::metadata(file).map_or(0, |metadata| metadata.len())),
            Self::Postgres { .. } => self.number("SELECT pg_database_size(current_database())"),
        }
    }

    /// Certificates in the ledger.
    pub fn certificates(&self) -> Result<u64> {
        self.number("SELECT count(*) FROM certificates")
    }

    /// How often PostgreSQL has synced its log, as it says itself. It counts what a session did
    /// when the session ends, so ask once the service has stopped. SQLite does not say.
    pub fn log_syncs(&self) -> Result<Option<u64>> {
        match self {
            Self::Sqlite(_) => Ok(None),
            Self::Postgres { .. } => self.number("SELECT wal_sync FROM pg_stat_wal").map(Some),
        }
    }

    /// CPU time that the engine's own processes have spent; SQLite has none.
    pub fn cpu(&self) -> Result<Duration> {
        match self {
            Self::Sqlite(_) => Ok(Duration::ZERO),
            Self::Postgres { server, .. } => machine::family_cpu(server.pid),
        }
    }

    /// Drops what the folder does not hold.
    pub fn remove(&self) -> Result<()> {
        if matches!(self, Self::Postgres { .. }) { self.administer("DROP DATABASE") } else { Ok(()) }
    }

    fn administer(&self, statement: &str) -> Result<()> {
        let Self::Postgres { server, name } = self else { return Ok(()) };
        psql(&format!("{}/postgres", server.url), &format!("{statement} {name}")).map(drop)
    }

    fn number(&self, sql: &str) -> Result<u64> {
        let text = match self {
            Self::Sqlite(file) => run(Command::new("sqlite3").arg("-readonly").arg(file).arg(sql))?,
            Self::Postgres { .. } => psql(&self.setting(), sql)?,
        };
        text.parse().with_context(|| format!("{sql}: {text}"))
    }
}

fn psql(url: &str, sql: &str) -> Result<String> {
    run(Command::new("psql").args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-d", url, "-c", sql]))
}

/// Runs a command to its end; what it printed.
pub fn run(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    if !output.status.success() {
        bail!("{command:?}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
