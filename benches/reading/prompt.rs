//! `sqlite3` or `psql`, as somebody sits before it: a statement goes in, its rows come out.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::database::{Database, Engine};

/// Printed behind every answer.
const END: &str = "-- that is all --";

/// One session.
pub struct Prompt {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    end: &'static str,
}

impl Prompt {
    /// Opens one. Of SQLite with the cache that the service's connections have.
    pub fn open(database: &Database) -> Result<Self> {
        let (mut command, end) = match database {
            Database::Sqlite(file) => {
                let mut command = Command::new("sqlite3");
                command.args(["-batch", "-noheader", "-cmd", "PRAGMA cache_size = -8000", "-cmd"]);
                command.arg(".timeout 60000").arg(file);
                (command, ".print '-- that is all --'\n")
            }
            Database::Postgres { .. } => {
                let mut command = Command::new("psql");
                command.args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-d", &database.setting()]);
                (command, "\\echo '-- that is all --'\n")
            }
        };
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let input = process.stdin.take().context("no way in")?;
        let output = BufReader::new(process.stdout.take().context("no way out")?);
        Ok(Self { process, input, output, end })
    }

    /// The rows of one statement, and how long they took to the last.
    pub fn ask(&mut self, sql: &str) -> Result<(Vec<String>, Duration)> {
        let began = Instant::now();
        let end = if sql.starts_with('.') { "\n" } else { ";\n" };
        self.input.write_all(format!("{sql}{end}{}", self.end).as_bytes())?;
        self.input.flush()?;
        let mut rows = Vec::new();
        loop {
            let mut line = Vec::new();
            if self.output.read_until(b'\n', &mut line)? == 0 {
                bail!("the session ended at: {sql}");
            }
            if line.strip_suffix(b"\n") == Some(END.as_bytes()) {
                return Ok((rows, began.elapsed()));
            }
            rows.push(String::from_utf8_lossy(&line).trim_end().to_owned());
        }
    }

    /// From here on every row is one line: SQLite would print octets as they are.
    pub fn quoted(&mut self, engine: Engine) -> Result<()> {
        if engine == Engine::Sqlite { self.run(".mode quote") } else { Ok(()) }
    }

    /// A statement of which the rows do not matter.
    pub fn run(&mut self, sql: &str) -> Result<()> {
        self.ask(sql).map(drop)
    }

    /// The one cell of a statement.
    pub fn cell(&mut self, sql: &str) -> Result<String> {
        self.ask(sql)?.0.pop().with_context(|| format!("no row: {sql}"))
    }

    /// A number.
    pub fn number(&mut self, sql: &str) -> Result<u64> {
        let cell = self.cell(sql)?;
        cell.parse().with_context(|| format!("{sql}: {cell}"))
    }

    /// Writes what is no question.
    pub fn write(&mut self, text: &str) -> Result<()> {
        Ok(self.input.write_all(text.as_bytes())?)
    }
}

impl Drop for Prompt {
    fn drop(&mut self) {
        let _ = self.input.write_all(b"\n");
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
