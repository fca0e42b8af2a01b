//! Work that a client must not stop by going away.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::Handle;

/// Does `work` in the task of whoever waits for it. Once nobody waits any more, what is left of it is done in a
/// task of its own: so it costs one only where it needs one.
pub fn to_the_end<F>(work: F) -> ToTheEnd<F>
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    ToTheEnd { left: Some(Box::pin(work)) }
}

/// What [`to_the_end`] gives.
#[derive(Debug)]
#[must_use]
pub struct ToTheEnd<F>
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    /// None once it has ended, and while it runs, so that one that panics is not run again.
    left: Option<Pin<Box<F>>>,
}

impl<F> Future for ToTheEnd<F>
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let Some(mut left) = self.left.take() else { return Poll::Pending };
        let polled = left.as_mut().poll(context);
        if polled.is_pending() {
            self.left = Some(left);
        }
        polled
    }
}

impl<F> Drop for ToTheEnd<F>
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn drop(&mut self) {
        if let (Some(left), Ok(runtime)) = (self.left.take(), Handle::try_current()) {
            drop(runtime.spawn(left));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::sync::Arc;
    use std::time::Duration;

    use tokio::sync::{Notify, oneshot};
    use tokio::time::timeout;

    /// Work that waits for a word, and says when it has ended.
    fn waiting() -> (impl Future<Output = u32> + Send + 'static, Arc<Notify>, oneshot::Receiver<()>) {
        let heard = Arc::new(Notify::new());
        let (done, ended) = oneshot::channel();
        let waits = Arc::clone(&heard);
        let work = async move {
            waits.notified().await;
            let _ = done.send(());
            7
        };
        (work, heard, ended)
    }

    #[tokio::test]
    async fn whoever_waits_gets_what_came_of_it() {
        let (work, heard, _ended) = waiting();
        let work = to_the_end(work);
        heard.notify_one();
        assert_eq!(work.await, 7);
    }

    #[tokio::test]
    async fn what_nobody_waits_for_is_done_all_the_same() {
        for begun in [true, false] {
            let (work, heard, ended) = waiting();
            let mut work = to_the_end(work);
            if begun {
                assert!(timeout(Duration::from_millis(1), &mut work).await.is_err());
            }
            drop(work);
            heard.notify_one();
            timeout(Duration::from_secs(10), ended).await.unwrap().unwrap();
        }
    }

    #[tokio::test]
    async fn what_panicked_is_not_run_again() {
        let (held, gone) = oneshot::channel::<()>();
        let work = tokio::spawn(to_the_end(async move {
            let _held = held;
            tokio::task::yield_now().await;
            panic!("on purpose");
        }));
        assert!(work.await.unwrap_err().is_panic());
        assert!(gone.await.is_err(), "it was dropped");
    }
}
