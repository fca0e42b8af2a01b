//! Threads of their own for arithmetic that would hold up every other request: signing with an RSA
//! key, and checking a CSR whose key is slow to check.

use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::AppError;

/// How many pieces of work may wait. The slowest, a key of RSA-4096, takes some milliseconds, so
/// the last of them is still answered within the five seconds that a request has.
const WAITING: usize = 512;

type Work = Box<dyn FnOnce() + Send>;

/// A fixed number of threads, one for each processor, and one bounded queue. The threads end when
/// this is dropped.
pub(super) struct Signers {
    desk: Arc<Desk>,
}

#[derive(Default)]
struct Desk {
    queue: Mutex<Queue>,
    more: Condvar,
}

#[derive(Default)]
struct Queue {
    work: VecDeque<Work>,
    closed: bool,
}

impl Signers {
    /// Starts the threads.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(super) fn start() -> std::io::Result<Self> {
        let signers = Self { desk: Arc::default() };
        let count = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        for _ in 0..count {
            let desk = Arc::clone(&signers.desk);
            std::thread::Builder::new().name("signer".to_owned()).spawn(move || desk.run())?;
        }
        Ok(signers)
    }

    /// Does `work` on one of the threads. A caller that goes away changes nothing: what was taken
    /// on is done, and its result dropped.
    ///
    /// # Errors
    /// `SigningBusy` where too much waits already, `Internal` where the work broke off.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, AppError> {
        let (done, result) = oneshot::channel();
        let work = move || {
            // Nobody may be waiting any more.
            let _ = done.send(work());
        };
        self.desk.take(Box::new(work))?;
        result.await.map_err(|_| AppError::Internal("reading or signing broke off".to_owned()))
    }
}

impl Drop for Signers {
    fn drop(&mut self) {
        self.desk.lock().closed = true;
        self.desk.more.notify_all();
    }
}

impl fmt::Debug for Signers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signers")
    }
}

impl Desk {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, work: Work) -> Result<(), AppError> {
        let mut queue = self.lock();
        if queue.work.len() >= WAITING {
            return Err(AppError::SigningBusy);
        }
        queue.work.push_back(work);
        drop(queue);
        self.more.notify_one();
        Ok(())
    }

    fn run(&self) {
        while let Some(work) = self.next() {
            // A panic costs this piece of work, whose caller is told, and not the thread.
            let _ = catch_unwind(AssertUnwindSafe(work));
        }
    }

    fn next(&self) -> Option<Work> {
        let mut queue = self.lock();
        loop {
            if let Some(work) = queue.work.pop_front() {
                return Some(work);
            }
            if queue.closed {
                return None;
            }
            queue = self.more.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::sync::mpsc;

    #[tokio::test]
    async fn work_is_done_on_another_thread() {
        let signers = Signers::start().unwrap();
        let here = std::thread::current().id();
        assert_ne!(signers.run(move || std::thread::current().id()).await.unwrap(), here);
    }

    #[tokio::test]
    async fn a_panic_costs_its_own_work_only() {
        let signers = Signers::start().unwrap();
        for _ in 0..64 {
            let broken = signers.run(|| panic!("on purpose")).await;
            assert!(matches!(broken, Err(AppError::Internal(_))), "{broken:?}");
        }
        assert_eq!(signers.run(|| 7).await.unwrap(), 7);
    }

    #[tokio::test]
    async fn more_work_than_may_wait_is_refused_and_what_waits_is_done() {
        let signers = Arc::new(Signers { desk: Arc::default() });
        let waiting: Vec<_> = (0..WAITING)
            .map(|number| {
                let signers = Arc::clone(&signers);
                tokio::spawn(async move { signers.run(move || number).await })
            })
            .collect();
        while signers.desk.lock().work.len() < WAITING {
            tokio::task::yield_now().await;
        }
        assert!(matches!(signers.run(|| 7).await, Err(AppError::SigningBusy)));
        let desk = Arc::clone(&signers.desk);
        std::thread::spawn(move || desk.run());
        for (number, task) in waiting.into_iter().enumerate() {
            assert_eq!(task.await.unwrap().unwrap(), number);
        }
        assert_eq!(signers.run(|| 8).await.unwrap(), 8);
    }

    #[tokio::test]
    async fn work_is_done_although_its_caller_went_away() {
        let signers = Signers::start().unwrap();
        let (done, was_done) = mpsc::channel();
        let abandoned = signers.run(move || done.send(7));
        tokio::select! {
            biased;
            _ = abandoned => panic!("the work was done before it was asked for"),
            () = std::future::ready(()) => {}
        }
        assert_eq!(was_done.recv_timeout(std::time::Duration::from_secs(20)).unwrap(), 7);
    }
}
