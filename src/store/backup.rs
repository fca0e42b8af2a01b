//! A copy of the whole ledger, made while it is in use.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use sqlx::{AnyConnection, Connection};

use super::engine::Engine;
use super::statement::Statement;
use super::{StoreError, connection, integrity};

impl super::Store {
    /// Copies everything that is committed now into a new file at `to`, which only its owner can
    /// read, beside whoever reads and writes. The copy is checked and synced before it gets its
    /// name. Returns its length in bytes.
    ///
    /// # Errors
    /// `Conflict` where there is such a file, or where the ledger is not in a file; `Unavailable`
    /// where it cannot be written; `Corrupt` where the copy is not sound. No file is left behind.
    pub async fn backup(&self, to: &Path) -> Result<u64, StoreError> {
        if to.symlink_metadata().is_ok() {
            return Err(exists(to));
        }
        if self.connections().engine == Engine::Postgres {
            return Err(StoreError::Conflict(
                "the ledger is in PostgreSQL, which makes its own copies: run `pg_dump --format=custom \
                 --file=FILE DATABASE`, and see docs/production.md"
                    .to_owned(),
            ));
        }
        let copy = Unfinished::create(to)?;
        // SQLite takes an empty file for one that is not there, and keeps its mode.
        let path = text(&copy.path)?;
        let mut vacuum = Statement::new("VACUUM INTO ");
        vacuum.bind(path);
        let copied = vacuum.execute(&self.connections().readers).await;
        copied.map_err(|error| StoreError::Unavailable(format!("{}: {error}", to.display())))?;
        check(&copy.path).await?;
        copy.finish(to)
    }
}

/// Opens the copy as any program would, and has SQLite read all of it.
async fn check(copy: &Path) -> Result<(), StoreError> {
    let mut connection = AnyConnection::connect_with(&connection::options_of_file(copy, "ro")?).await?;
    let problems = integrity::of_copy(&mut connection).await?;
    connection.close().await?;
    match problems.first() {
        None => Ok(()),
        Some(first) => Err(StoreError::Corrupt(format!("the copy is not sound: {first}"))),
    }
}

/// The copy under a name of its own, which is removed unless the copy is finished.
struct Unfinished {
    path: PathBuf,
}

impl Unfinished {
    fn create(to: &Path) -> Result<Self, StoreError> {
        let mut name = to.file_name().map(ToOwned::to_owned).unwrap_or_default();
        name.push(format!(".{}.unfinished", std::process::id()));
        let path = to.with_file_name(name);
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(|error| unavailable(&path, &error))?;
        Ok(Self { path })
    }

    /// Syncs it, gives it its name, and syncs that.
    fn finish(self, to: &Path) -> Result<u64, StoreError> {
        let file = File::open(&self.path).map_err(|error| unavailable(&self.path, &error))?;
        file.sync_all().map_err(|error| unavailable(&self.path, &error))?;
        let length = file.metadata().map_err(|error| unavailable(&self.path, &error))?.len();
        match renameat_with(CWD, &self.path, CWD, to, RenameFlags::NOREPLACE) {
            Ok(()) => {}
            Err(rustix::io::Errno::EXIST) => return Err(exists(to)),
            Err(error) => return Err(unavailable(to, &error.into())),
        }
        let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(|error| unavailable(folder, &error))?;
        Ok(length)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // Gone already where it got its name.
        if let Err(error) = std::fs::remove_file(&self.path)
            && error.kind() != ErrorKind::NotFound
        {
            tracing::warn!(file = %self.path.display(), %error, "an unfinished copy stays behind");
        }
    }
}

fn text(path: &Path) -> Result<&str, StoreError> {
    path.to_str().ok_or_else(|| StoreError::Unavailable(format!("{}: the path is not UTF-8", path.display())))
}

fn exists(to: &Path) -> StoreError {
    StoreError::Conflict(format!("{} exists, and is not overwritten: name another file", to.display()))
}

fn unavailable(path: &Path, error: &std::io::Error) -> StoreError {
    StoreError::Unavailable(format!("{}: {error}", path.display()))
}
