//! Writes the log of a file of SQLite (its WAL) back into the file, on a thread of its own. Done within a
//! transaction, as SQLite does by itself, everybody who waits for that one would wait for it too.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread::{self, JoinHandle};

use super::StoreError;
use super::connection::{File, Pool};

/// After how many pages in the log it is written back: 8 MiB. Below `wal_autocheckpoint` of the connection
/// that writes, so that there is nothing left for a transaction to do.
const PAGES: usize = 2_000;
/// About how many pages a transaction puts into the log, and how many more each of its records.
const OF_A_TRANSACTION: usize = 20;
const OF_A_RECORD: usize = 4;

/// Nobody waits for it (<https://sqlite.org/pragma.html#pragma_wal_checkpoint>).
const CHECKPOINT: &str = "PRAGMA wal_checkpoint(PASSIVE)";

/// What the writer tells of its transactions.
#[derive(Debug)]
pub(super) struct Checkpoints {
    /// Estimated, since the last time.
    pages: usize,
    /// None while it ends.
    wanted: Option<SyncSender<()>>,
    written_back: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpoints {
    /// For the file of the pool `writer`; none for a server.
    ///
    /// # Errors
    /// `Unavailable`: the file cannot be opened once more, or the system gives no thread.
    pub(super) fn start(writer: &Pool) -> Result<Option<Self>, StoreError> {
        let Some(file) = writer.one_more_file()? else { return Ok(None) };
        let (wanted, requests) = mpsc::sync_channel(1);
        let written_back = Arc::new(AtomicBool::new(false));
        let thread = spawn(file, requests, Arc::clone(&written_back))
            .map_err(|error| StoreError::Unavailable(format!("no thread for its log: {error}")))?;
        Ok(Some(Self { pages: 0, wanted: Some(wanted), written_back, thread: Some(thread) }))
    }

    /// To be told after a transaction of so many records.
    pub(super) async fn recorded(&mut self, records: usize, writer: &Pool) {
        let more = records.saturating_mul(OF_A_RECORD).saturating_add(OF_A_TRANSACTION);
        self.pages = self.pages.saturating_add(more);
        if self.pages >= PAGES {
            self.pages = 0;
            // Where the last one is still on its way, this one is done with it or the next.
            let _ = self.wanted.as_ref().map(|wanted| wanted.try_send(()));
        }
        // SQLite begins its log anew once all of it is in the file. What came meanwhile is little, and while
        // the writer writes it back nothing is added.
        if self.written_back.swap(false, Ordering::Acquire)
            && let Ok(mut connection) = writer.acquire().await
        {
            let rest = connection.run(CHECKPOINT).await;
            tracing::trace!(?rest, "wrote the rest of the log back");
        }
    }
}

fn spawn(file: File, requests: Receiver<()>, written_back: Arc<AtomicBool>) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name("checkpoints".to_owned()).spawn(move || {
        while requests.recv().is_ok() {
            match file.run(CHECKPOINT) {
                Ok(()) => written_back.store(true, Ordering::Release),
                Err(error) => tracing::warn!(%error, "the ledger's log could not be written back"),
            }
        }
    })
}

impl Drop for Checkpoints {
    /// Waits until its connection is closed, so that the last one to close is another, which folds up the log.
    fn drop(&mut self) {
        drop(self.wanted.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::path::Path;
    use std::time::{Duration, Instant};

    use crate::store::{Store, StoreSettings};

    fn length(file: &Path) -> u64 {
        file.metadata().map_or(0, |data| data.len())
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
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(length(&file), before, "too little for a checkpoint");

        checkpoints.recorded(PAGES, &writer).await;
        let began = Instant::now();
        while !checkpoints.written_back.load(Ordering::Acquire) {
            assert!(began.elapsed() < Duration::from_secs(30), "nothing was written back");
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(length(&file) > before);
        checkpoints.recorded(0, &writer).await;
        assert!(!checkpoints.written_back.load(Ordering::Acquire), "the rest was left");

        drop(checkpoints);
        store.close().await;
        assert!(!log.exists());
    }
}
