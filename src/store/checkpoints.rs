//! Writes the log of a file of SQLite (its WAL) back into the file, on a thread of its own. Done within a
//! transaction, as SQLite does by itself, everybody who waits for that one would wait for it too.
//!
//! SQLite begins its log anew only once all of it is in the file, and while the thread is at work more is added. So
//! the writer does the rest, which is little, and while it does nothing is added. Nothing is asked of the
//! thread before that, else it would hold the lock that the writer then needs; and where the disk does not keep up the
//! writer waits, so that the log stays bounded.

use std::io;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::StoreError;
use super::connection::{File, Pool};

/// After how many pages in the log it is written back: 8 MiB. Below `wal_autocheckpoint` of the connection
/// that writes, so that there is nothing left for a transaction to do.
const PAGES: usize = 2_000;
/// With how many more of them the writer waits for the thread: 16 MiB.
const MOST_PAGES: usize = 4_000;
/// How long it does. Below the time that whoever waits for the writer has.
const PATIENCE: Duration = Duration::from_secs(1);
/// About how many pages a transaction puts into the log, and how many more each of its records.
const OF_A_TRANSACTION: usize = 20;
const OF_A_RECORD: usize = 4;

/// Waits for nobody, and nobody for it (<https://sqlite.org/pragma.html#pragma_wal_checkpoint>).
const CHECKPOINT: &str = "PRAGMA wal_checkpoint(PASSIVE)";

/// What the writer tells of its transactions.
#[derive(Debug)]
pub(super) struct Checkpoints {
    /// Estimated, since the thread was last asked.
    pages: usize,
    /// Whether the thread was asked and has not answered.
    asked: bool,
    /// None while it ends.
    requests: Option<Sender<()>>,
    answers: Receiver<()>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpoints {
    /// For the file of the pool `writer`; none for a server.
    ///
    /// # Errors
    /// `Unavailable`: the file cannot be opened once more, or the system gives no thread.
    pub(super) fn start(writer: &Pool) -> Result<Option<Self>, StoreError> {
        let Some(file) = writer.one_more_file()? else { return Ok(None) };
        let (requests, asked) = mpsc::channel();
        let (done, answers) = mpsc::channel();
        let thread = spawn(writer.clone(), file, asked, done)
            .map_err(|error| StoreError::Unavailable(format!("no thread for its log: {error}")))?;
        let requests = Some(requests);
        Ok(Some(Self { pages: 0, asked: false, requests, answers, thread: Some(thread) }))
    }

    /// To be told after a transaction of so many records. Blocks its thread while the log is far too long.
    pub(super) async fn recorded(&mut self, records: usize, writer: &Pool) {
        let more = records.saturating_mul(OF_A_RECORD).saturating_add(OF_A_TRANSACTION);
        self.pages = self.pages.saturating_add(more);
        if self.asked && self.has_answered() {
            self.asked = false;
            write_rest(writer).await;
        }
        if !self.asked && self.pages >= PAGES {
            self.pages = 0;
            self.asked = self.requests.as_ref().is_some_and(|requests| requests.send(()).is_ok());
        }
    }

    fn has_answered(&self) -> bool {
        if self.pages < MOST_PAGES {
            self.answers.try_recv().is_ok()
        } else {
            self.answers.recv_timeout(PATIENCE).is_ok()
        }
    }
}

/// By the writer, between two transactions.
async fn write_rest(writer: &Pool) {
    let Ok(mut connection) = writer.acquire().await else { return };
    if let Err(error) = connection.run(CHECKPOINT).await {
        tracing::warn!(%error, "the rest of the ledger's log could not be written back");
        connection.close_on_drop();
    }
}

/// Answers every request, also where it failed: what is left then is left for the next.
fn spawn(writer: Pool, file: File, requests: Receiver<()>, done: Sender<()>) -> io::Result<JoinHandle<()>> {
    let mut file = Some(file);
    thread::Builder::new().name("checkpoints".to_owned()).spawn(move || {
        while requests.recv().is_ok() {
            // After an error a new connection is the one state that is known.
            let opened = file.take().map_or_else(|| writer.one_more_file(), |file| Ok(Some(file)));
            match opened.and_then(|file| file.map(|file| file.run(CHECKPOINT).map(|()| file)).transpose()) {
                Ok(sound) => file = sound,
                Err(error) => tracing::warn!(%error, "the ledger's log could not be written back"),
            }
            if done.send(()).is_err() {
                return;
            }
        }
    })
}

impl Drop for Checkpoints {
    /// Waits until its connection is closed, so that the last one to close is another, which folds up the log.
    fn drop(&mut self) {
        drop(self.requests.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::path::Path;
    use std::time::Instant;

    use crate::store::statement::Statement;
    use crate::store::{Store, StoreSettings};

    fn length(file: &Path) -> u64 {
        file.metadata().map_or(0, |data| data.len())
    }

    /// Until the thread has answered and the writer has done the rest.
    async fn finished(checkpoints: &mut Checkpoints, writer: &Pool) {
        let began = Instant::now();
        while checkpoints.asked {
            assert!(began.elapsed() < Duration::from_secs(30), "nothing was written back");
            thread::sleep(Duration::from_millis(5));
            checkpoints.pages = 0;
            checkpoints.recorded(0, writer).await;
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_log_is_written_back_beside_the_writer_and_folded_up_in_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let (file, log) = (folder.path().join("ledger.db"), folder.path().join("ledger.db-wal"));
        let store = Store::open(&StoreSettings::Sqlite(file.clone())).await.unwrap();
        let writer = store.shared.connections.writer.clone();
        let mut checkpoints = Checkpoints::start(&writer).unwrap().unwrap();
        let before = length(&file);
        assert!(length(&log) > before, "nothing of the schema is in the file yet");

        checkpoints.recorded(1, &writer).await;
        assert!(!checkpoints.asked, "too little for a checkpoint");
        checkpoints.recorded(PAGES, &writer).await;
        assert!(checkpoints.asked);
        finished(&mut checkpoints, &writer).await;
        assert!(length(&file) > before);

        drop(checkpoints);
        store.close().await;
        assert!(!log.exists());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn while_one_is_on_its_way_none_is_asked_for_and_then_the_log_begins_anew() {
        let folder = tempfile::tempdir().unwrap();
        let (file, log) = (folder.path().join("ledger.db"), folder.path().join("ledger.db-wal"));
        let store = Store::open(&StoreSettings::Sqlite(file)).await.unwrap();
        let writer = store.shared.connections.writer.clone();
        let mut checkpoints = Checkpoints::start(&writer).unwrap().unwrap();
        let mut longest = 0;
        for number in 0..400 {
            let name = format!("{number}-{}", "x".repeat(100_000));
            let mut insert = Statement::new("INSERT INTO names (name) VALUES (");
            insert.bind(&name).push(")");
            insert.execute(&writer).await.unwrap();
            checkpoints.recorded(MOST_PAGES / 20, &writer).await;
            longest = longest.max(length(&log));
        }
        finished(&mut checkpoints, &writer).await;
        // 40 MB went through it, and some pages of the index with each name.
        assert!(longest < 24_000_000, "{longest}");
        drop(checkpoints);
        store.close().await;
    }
}
