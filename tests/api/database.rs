//! The database file behind the service's back.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};

use crate::app::TestApp;

/// Runs these statements with the `sqlite3` program.
pub fn sqlite(app: &TestApp, statements: &str) {
    let output = Command::new("sqlite3").arg(file(app)).arg(statements).output().expect("sqlite3 is needed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Another program that holds the write lock until this is dropped.
pub struct Lock(Child);

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Takes the write lock as another program.
pub fn hold_write_lock(app: &TestApp) -> Lock {
    let mut command = Command::new("sqlite3");
    command.arg("-batch").arg(file(app)).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut lock = Lock(command.spawn().expect("sqlite3 is needed"));
    let statements = ".timeout 5000\nBEGIN IMMEDIATE;\nSELECT 'held';\n";
    lock.0.stdin.as_mut().unwrap().write_all(statements.as_bytes()).unwrap();
    let mut line = String::new();
    BufReader::new(lock.0.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "held\n");
    lock
}

fn file(app: &TestApp) -> std::path::PathBuf {
    app.folder.path().join("ledger.db")
}
