//! The one writer: commits what has queued in one transaction and answers after the commit.

use std::future::Future;
use std::io;
use std::thread;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::StoreError;
use super::batch::{BatchError, Verdict, Work, commit};
use super::checkpoints::Checkpoints;
use super::connection::Pool;
use super::engine::Engine;
use super::names::Names;

/// How many jobs may wait.
const QUEUE: usize = 4_096;

/// How many jobs go into one transaction at most, unless the settings say otherwise.
pub(super) const BATCH: usize = 256;

/// How long a caller waits for its answer; the whole request answers within five seconds.
const ANSWER: Duration = Duration::from_millis(4_500);

/// What runs on a file is cheap to begin, so the writer would take what has queued in small pieces while most of
/// those who ask are still being decided on, and each piece costs a commit. So after a transaction of several
/// records it pauses, once for every so many, until as many have queued again.
const RECORDS_FOR_A_PAUSE: usize = 5;
const PAUSE: Duration = Duration::from_micros(500);
const MOST_PAUSES: usize = 4;

/// Something to record, and who waits for it.
#[derive(Debug)]
struct Job {
    work: Work,
    reply: oneshot::Sender<(Work, Verdict)>,
}

#[derive(Debug)]
enum Message {
    Job(Job),
    Close(oneshot::Sender<()>),
}

/// The way to the writer. The writer ends when the last of these is gone, or when it is closed.
#[derive(Clone, Debug)]
pub(super) struct Queue {
    sender: mpsc::Sender<Message>,
}

impl Queue {
    /// Starts the writer on its pool, with at most `batch` jobs in one transaction.
    ///
    /// # Errors
    /// `Unavailable`: the system gives no thread.
    pub(super) fn start(engine: Engine, writer: Pool, batch: usize) -> Result<Self, StoreError> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let batch = batch.max(1);
        let checkpoints = Checkpoints::start(&writer)?;
        let running = Running { writer, receiver, batch, checkpoints };
        match engine {
            Engine::Sqlite => on_own_thread(running.run(let_more_queue))
                .map_err(|error| StoreError::Unavailable(format!("no thread for its writer: {error}")))?,
            // Its socket belongs to the runtime that everything else is on; while the server answers, enough queue.
            Engine::Postgres => drop(tokio::spawn(running.run(|_, _| ()))),
        }
        Ok(Self { sender })
    }

    /// Hands `work` to the writer and waits until it is durable or refused. From here on it belongs
    /// to the writer: a caller that goes away changes nothing once its transaction has begun, and
    /// what has not begun by then is dropped.
    pub(super) async fn record(&self, work: Work) -> Result<(Work, Verdict), StoreError> {
        let (reply, answer) = oneshot::channel();
        self.sender.try_send(Message::Job(Job { work, reply })).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => StoreError::Busy,
            mpsc::error::TrySendError::Closed(_) => StoreError::closed(),
        })?;
        match tokio::time::timeout(ANSWER, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(StoreError::Unavailable("the writer broke off".to_owned())),
            Err(_) => Err(StoreError::Unavailable("it did not answer in time".to_owned())),
        }
    }

    /// Commits what has queued and ends the writer.
    pub(super) async fn close(&self) {
        let (done, finished) = oneshot::channel();
        if self.sender.send(Message::Close(done)).await.is_ok() {
            let _ = finished.await;
        }
    }

    /// How many jobs wait now.
    pub(super) fn length(&self) -> usize {
        self.limit().saturating_sub(self.sender.capacity())
    }

    /// How many jobs may wait.
    pub(super) fn limit(&self) -> usize {
        self.sender.max_capacity()
    }
}

/// What runs on a file blocks the thread that asks, and among the requests it would wait behind every
/// one that is about to sign.
fn on_own_thread(running: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    thread::Builder::new().name("ledger".to_owned()).spawn(move || runtime.block_on(running))?;
    Ok(())
}

/// Pauses after a transaction of so many records. Blocks its thread, on which there is nothing else.
fn let_more_queue(queued: &mpsc::Receiver<Message>, recorded: usize) {
    for _ in 0..most_pauses(recorded) {
        if queued.len() >= recorded || queued.is_closed() {
            return;
        }
        thread::sleep(PAUSE);
    }
}

/// Few records come of few who ask, each of whom would only wait longer.
fn most_pauses(recorded: usize) -> usize {
    (recorded / RECORDS_FOR_A_PAUSE).min(MOST_PAUSES)
}

/// The writer at work.
struct Running {
    writer: Pool,
    receiver: mpsc::Receiver<Message>,
    batch: usize,
    checkpoints: Option<Checkpoints>,
}

impl Running {
    /// `pause` is called with the number of jobs of each transaction, once they are answered.
    async fn run(mut self, pause: fn(&mpsc::Receiver<Message>, usize)) {
        let mut names = Names::default();
        let mut closing = Vec::new();
        let mut messages = Vec::with_capacity(self.batch);
        while self.receiver.recv_many(&mut messages, self.batch).await > 0 {
            let mut jobs = Vec::with_capacity(messages.len());
            for message in messages.drain(..) {
                match message {
                    Message::Job(job) => jobs.push(job),
                    Message::Close(done) => {
                        self.receiver.close();
                        closing.push(done);
                    }
                }
            }
            let count = jobs.len();
            // A task of its own, so that a panic in it costs this batch and not the writer.
            let recording = record(self.writer.clone(), names, jobs);
            names = tokio::spawn(recording).await.unwrap_or_else(|error| {
                tracing::error!(%error, "a batch broke off; none of it was answered");
                Names::default()
            });
            if let Some(checkpoints) = &mut self.checkpoints {
                checkpoints.recorded(count, &self.writer).await;
            }
            pause(&self.receiver, count);
        }
        drop(self.checkpoints);
        for done in closing {
            let _ = done.send(());
        }
    }
}

/// Records a batch. If it fails as a whole, each of its jobs is tried alone, so that one bad row
/// fails alone and with its own reason.
async fn record(writer: Pool, mut names: Names, mut jobs: Vec<Job>) -> Names {
    // Whoever gave up waiting was told that nothing was recorded.
    jobs.retain(|job| !job.reply.is_closed());
    if jobs.is_empty() {
        return names;
    }
    let works: Vec<&Work> = jobs.iter().map(|job| &job.work).collect();
    match commit(&writer, &mut names, &works).await {
        Ok(verdicts) => answer(jobs, verdicts),
        Err(BatchError::Transaction(error)) => fail(jobs, &error),
        Err(error) if jobs.len() > 1 => {
            tracing::warn!(?error, jobs = jobs.len(), "a batch was rolled back; each job is tried alone");
            record_singly(&writer, &mut names, jobs).await;
        }
        Err(error) => answer(jobs, vec![verdict(error)]),
    }
    names
}

async fn record_singly(writer: &Pool, names: &mut Names, jobs: Vec<Job>) {
    let mut jobs = jobs.into_iter();
    while let Some(job) = jobs.next() {
        if job.reply.is_closed() {
            continue;
        }
        match commit(writer, names, &[&job.work]).await {
            Ok(verdicts) => answer(vec![job], verdicts),
            Err(BatchError::Transaction(error)) => {
                fail(std::iter::once(job).chain(jobs).collect(), &error);
                return;
            }
            Err(error) => answer(vec![job], vec![verdict(error)]),
        }
    }
}

/// Tells everybody the same failure.
fn fail(jobs: Vec<Job>, error: &StoreError) {
    let verdicts = jobs.iter().map(|_| Verdict::Failed(again(error))).collect();
    answer(jobs, verdicts);
}

fn answer(jobs: Vec<Job>, verdicts: Vec<Verdict>) {
    for (job, verdict) in jobs.into_iter().zip(verdicts) {
        // Nobody may be waiting any more; the record stands all the same.
        let _ = job.reply.send((job.work, verdict));
    }
}

fn verdict(error: BatchError) -> Verdict {
    match error {
        BatchError::SerialTaken => Verdict::SerialTaken,
        BatchError::Transaction(error) | BatchError::Store(error) => Verdict::Failed(error),
    }
}

/// The same failure, for the next job of the batch.
fn again(error: &StoreError) -> StoreError {
    StoreError::Unavailable(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::time::Instant;

    #[test]
    fn only_after_several_records_the_writer_pauses_and_never_for_long() {
        assert_eq!([0, 1, 4, 5, 9, 10, 40, 256].map(most_pauses), [0, 0, 0, 1, 1, 2, 4, 4]);
        assert!(PAUSE.saturating_mul(u32::try_from(MOST_PAUSES).unwrap()) <= Duration::from_millis(2));
    }

    #[test]
    fn it_pauses_no_more_once_as_many_have_queued_or_it_is_to_end() {
        let (sender, mut receiver) = mpsc::channel(64);
        for _ in 0..40 {
            let (done, _) = oneshot::channel();
            sender.try_send(Message::Close(done)).unwrap();
        }
        let began = Instant::now();
        for _ in 0..10_000 {
            let_more_queue(&receiver, 40);
        }
        receiver.close();
        for _ in 0..10_000 {
            let_more_queue(&receiver, 41);
        }
        assert!(began.elapsed() < 10_000 * PAUSE);
    }
}
