//! Callers share: one that asks for many certificates at once does not stand in another's way.
//!
//! A caller that is alone has as many requests in service as it sends, because a transaction of many
//! records costs little more than one of few. While others ask too, each has a few in service and the
//! rest of its own wait for each other. So who sends one request finds a short queue of processors and
//! a short transaction before it, and not everything that another caller has sent.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

/// How many requests of one caller are in service while others ask too.
const SHARE: usize = 4;
/// For how long a caller that asked counts as one that asks.
const RECENT: Duration = Duration::from_secs(1);
/// How long one waits behind others of its caller. With what the ledger may take, the whole request is
/// answered within five seconds.
const PATIENCE: Duration = Duration::from_millis(400);
/// How often callers that ask no more are forgotten.
const BETWEEN_SWEEPS: Duration = Duration::from_millis(100);

/// Who is in service, and who waits behind requests of his own.
#[derive(Debug, Default)]
pub(super) struct Turns(Mutex<Desk>);

#[derive(Debug, Default)]
struct Desk {
    callers: HashMap<Arc<str>, Line>,
    swept: Option<Instant>,
}

/// What one caller has here.
#[derive(Debug)]
struct Line {
    in_service: usize,
    waiting: VecDeque<oneshot::Sender<Turn>>,
    seen: Instant,
}

/// A request that is in service until this is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    turns: Arc<Turns>,
    caller: Arc<str>,
}

impl Turns {
    /// Waits until a request of `caller` is in service. Those of one caller come in the order in which
    /// they asked. None after a while: then those before it are stuck, and it is not to wait for each
    /// of them to fail.
    pub(super) async fn take(self: &Arc<Self>, caller: &str) -> Option<Turn> {
        match self.ask(caller, Instant::now()) {
            Ok(turn) => Some(turn),
            Err(granted) => tokio::time::timeout(PATIENCE, granted).await.ok()?.ok(),
        }
    }

    fn ask(self: &Arc<Self>, caller: &str, now: Instant) -> Result<Turn, oneshot::Receiver<Turn>> {
        let mut desk = self.lock();
        desk.sweep(now);
        let name = match desk.callers.get_key_value(caller) {
            Some((name, _)) => Arc::clone(name),
            None => Arc::from(caller),
        };
        desk.callers.entry(Arc::clone(&name)).or_insert_with(|| Line::new(now)).seen = now;
        let limit = desk.limit();
        let line = desk.callers.entry(Arc::clone(&name)).or_insert_with(|| Line::new(now));
        if line.waiting.is_empty() && line.in_service < limit {
            line.in_service = line.in_service.saturating_add(1);
            return Ok(Turn { turns: Arc::clone(self), caller: name });
        }
        let (grant, granted) = oneshot::channel();
        line.waiting.push_back(grant);
        Err(granted)
    }

    /// One of `caller` is done: those of it that wait move up.
    fn end(self: &Arc<Self>, caller: &Arc<str>) {
        let mut next = Vec::new();
        {
            let mut desk = self.lock();
            let limit = desk.limit();
            let Some(line) = desk.callers.get_mut(caller) else { return };
            line.in_service = line.in_service.saturating_sub(1);
            while line.in_service < limit
                && let Some(grant) = line.waiting.pop_front()
            {
                if !grant.is_closed() {
                    line.in_service = line.in_service.saturating_add(1);
                    next.push(grant);
                }
            }
        }
        // Outside the lock: the turn of a request that went away in this moment ends here.
        for grant in next {
            let _ = grant.send(Turn { turns: Arc::clone(self), caller: Arc::clone(caller) });
        }
    }

    fn lock(&self) -> MutexGuard<'_, Desk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.turns.end(&self.caller);
    }
}

impl Desk {
    /// How many of one caller are in service at most.
    fn limit(&self) -> usize {
        if self.callers.len() > 1 { SHARE } else { usize::MAX }
    }

    /// Forgets who asks no more. Whoever waits has one in service, so it is never forgotten.
    fn sweep(&mut self, now: Instant) {
        if self.swept.is_none_or(|swept| now.saturating_duration_since(swept) >= BETWEEN_SWEEPS) {
            self.swept = Some(now);
            self.callers
                .retain(|_, line| line.in_service > 0 || now.saturating_duration_since(line.seen) < RECENT);
        }
    }
}

impl Line {
    const fn new(now: Instant) -> Self {
        Self { in_service: 0, waiting: VecDeque::new(), seen: now }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(turns: &Arc<Turns>, caller: &str) -> Result<Turn, oneshot::Receiver<Turn>> {
        turns.ask(caller, Instant::now())
    }

    fn served(turns: &Arc<Turns>, caller: &str, count: usize) -> Vec<Turn> {
        (0..count).map(|_| ask(turns, caller).expect("at once")).collect()
    }

    #[test]
    fn a_caller_that_is_alone_does_not_wait() {
        let turns = Arc::default();
        assert_eq!(served(&turns, "token:a", 1_000).len(), 1_000);
    }

    #[test]
    fn beside_others_a_caller_has_its_share_and_the_others_do_not_wait() {
        let turns = Arc::default();
        let other = served(&turns, "token:b", 1);
        let mut own = served(&turns, "token:a", SHARE);
        let mut third = ask(&turns, "token:a").unwrap_err();
        let mut fourth = ask(&turns, "token:a").unwrap_err();
        assert!(third.try_recv().is_err());
        let more = served(&turns, "token:b", SHARE - 1);
        own.pop();
        let moved_up = third.try_recv().unwrap();
        assert!(fourth.try_recv().is_err(), "one at a time, in order");
        drop((moved_up, other, more));
        fourth.try_recv().unwrap();
    }

    #[test]
    fn what_was_sent_before_another_came_goes_on_and_is_not_added_to() {
        let turns = Arc::default();
        let mut own = served(&turns, "token:a", 3 * SHARE);
        let _other = served(&turns, "token:b", 1);
        let mut waiting = ask(&turns, "token:a").unwrap_err();
        own.truncate(SHARE);
        assert!(waiting.try_recv().is_err());
        own.truncate(SHARE - 1);
        waiting.try_recv().unwrap();
    }

    #[test]
    fn once_the_others_have_gone_everybody_moves_up() {
        let turns: Arc<Turns> = Arc::default();
        let began = Instant::now();
        let other = served(&turns, "token:b", 1);
        let mut own = served(&turns, "token:a", SHARE);
        let waiting: Vec<_> = (0..20).map(|_| ask(&turns, "token:a").unwrap_err()).collect();
        drop(other);
        own.pop();
        let moved_up = |waiting: Vec<oneshot::Receiver<Turn>>| -> Vec<Turn> {
            waiting.into_iter().filter_map(|mut granted| granted.try_recv().ok()).collect()
        };
        turns.lock().sweep(began + 2 * RECENT);
        assert_eq!(turns.lock().callers.len(), 1);
        own.pop();
        assert_eq!(moved_up(waiting).len(), 20);
    }

    #[test]
    fn a_request_that_went_away_keeps_no_place() {
        let turns = Arc::default();
        let _other = served(&turns, "token:b", 1);
        let mut own = served(&turns, "token:a", SHARE);
        let gone = ask(&turns, "token:a").unwrap_err();
        let mut stays = ask(&turns, "token:a").unwrap_err();
        drop(gone);
        own.pop();
        let granted = stays.try_recv().unwrap();
        let mut last = ask(&turns, "token:a").unwrap_err();
        drop(granted);
        // Granted and gone before it was taken.
        drop(last.try_recv().unwrap());
        assert_eq!(served(&turns, "token:a", 1).len(), 1);
    }

    #[tokio::test]
    async fn behind_those_that_are_stuck_nobody_waits_for_long() {
        let turns = Arc::default();
        let _other = served(&turns, "token:b", 1);
        let _stuck = served(&turns, "token:a", SHARE);
        assert!(turns.take("token:a").await.is_none());
    }

    #[tokio::test]
    async fn everybody_is_served_in_the_end() {
        let turns: Arc<Turns> = Arc::default();
        let mut all = tokio::task::JoinSet::new();
        for number in 0..600 {
            let turns = Arc::clone(&turns);
            all.spawn(async move {
                let _turn = turns.take(if number % 6 == 0 { "token:b" } else { "token:a" }).await;
                tokio::task::yield_now().await;
            });
        }
        all.join_all().await;
        assert!(turns.lock().callers.values().all(|line| line.in_service == 0 && line.waiting.is_empty()));
    }
}
