//! Who showed no credential that holds: made to wait, counted by address, noted for the audit log.
//!
//! The wait is short, and few wait at once: it slows a client that tries, and holds up nobody's
//! connection. What is noted is folded by address, method and reason and written once a minute, so
//! that a flood of them fills neither the disk nor the writer's queue.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use governor::Quota;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::limiter::Keyed;
use super::{App, AppError};
use crate::audit::{EventKind, Origin};
use crate::auth::AuthError;
use crate::time::Time;

/// How many wait at once. Everybody else is answered at once.
const WAITING: usize = 64;
/// How many rows of an address, a method and a reason are kept apart.
const MOST: usize = 512;
/// Who an event names that has no caller.
const NOBODY: &str = "nobody";

/// What a failed authentication costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailureLimits {
    /// How long the answer is held back, at most.
    pub wait: Duration,
    /// How many of one address in a minute are 401; then they are 429. None: all are 401.
    pub per_minute: Option<NonZeroU32>,
    /// Whether this machine's own address is counted. Behind a proxy on it, all come from there.
    pub loopback_counts: bool,
}

impl Default for FailureLimits {
    fn default() -> Self {
        Self { wait: Duration::from_millis(200), per_minute: NonZeroU32::new(600), loopback_counts: false }
    }
}

/// What counts as one address: of IPv6, the 64 bits that one network has to itself.
#[must_use]
pub fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

/// What failed since it was last written.
#[derive(Debug)]
pub(super) struct Failures {
    limits: FailureLimits,
    addresses: Option<Keyed<IpAddr>>,
    waiting: Semaphore,
    notes: Mutex<BTreeMap<Key, Note>>,
}

/// What is told apart; without an address: of all those that found no place of their own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    address: Option<IpAddr>,
    method: &'static str,
    reason: &'static str,
}

#[derive(Debug)]
struct Note {
    since: Time,
    count: u64,
    /// Of the last one.
    from: Origin,
}

impl Failures {
    pub(super) fn new(limits: FailureLimits) -> Self {
        Self {
            limits,
            addresses: limits.per_minute.map(|most| Keyed::new(Quota::per_minute(most))),
            waiting: Semaphore::new(WAITING),
            notes: Mutex::default(),
        }
    }

    /// Counts one of this address, or says in how many seconds the next one is a 401 again.
    fn count(&self, address: Option<IpAddr>) -> Result<(), u32> {
        let counts = |address: &IpAddr| self.limits.loopback_counts || !address.is_loopback();
        match (&self.addresses, address.filter(counts)) {
            (Some(addresses), Some(address)) => addresses.take(&network(address)),
            _ => Ok(()),
        }
    }

    fn note(&self, from: Origin, method: &'static str, reason: &'static str, now: Time) {
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        let mut key = Key { address: from.address.map(network), method, reason };
        if notes.len() >= MOST && !notes.contains_key(&key) {
            key.address = None;
        }
        match notes.get_mut(&key) {
            Some(note) => {
                note.count = note.count.saturating_add(1);
                note.from = from;
            }
            None => drop(notes.insert(key, Note { since: now, count: 1, from })),
        }
    }

    /// Everything that was noted, as events; it is noted no more. Each with its number.
    fn take(&self) -> Vec<(Origin, Value, u64)> {
        let notes = std::mem::take(&mut *self.notes.lock().unwrap_or_else(PoisonError::into_inner));
        notes.into_iter().map(|(key, note)| note.event(&key)).collect()
    }
}

impl Note {
    fn event(self, key: &Key) -> (Origin, Value, u64) {
        let detail = json!({
            "method": key.method,
            "reason": key.reason,
            "count": self.count,
            "since": self.since,
        });
        let address = self.from.address.filter(|_| key.address.is_some());
        let origin = Origin { caller: NOBODY.to_owned(), address, ..self.from };
        (origin, detail, self.count)
    }
}

impl App {
    /// What to answer to a request whose authentication failed. It is counted and noted, and the
    /// answer held back a little.
    ///
    /// `Unauthenticated` or `SeveralCredentials`, or `TooManyFailures` where too many came from this address.
    pub async fn fail_authentication(
        &self,
        from: Origin,
        method: &'static str,
        error: AuthError,
    ) -> AppError {
        self.metrics.authentication_failed(error.reason());
        let counted = self.failures.count(from.address);
        self.failures.note(from, method, error.reason(), self.clock.now());
        if let Err(retry_after) = counted {
            return AppError::TooManyFailures { retry_after };
        }
        if let Ok(_one_of_few) = self.failures.waiting.try_acquire() {
            tokio::time::sleep(self.failures.limits.wait).await;
        }
        error.into()
    }

    /// Writes what was noted. To be called once a minute, and at the end.
    pub async fn write_failures(&self) {
        let noted = self.failures.take();
        if noted.is_empty() {
            return;
        }
        let count = noted.iter().map(|(_, _, count)| count).sum();
        let events = noted.into_iter().map(|(origin, detail, _)| (origin, detail)).collect();
        let kind = EventKind::AuthenticationFailed;
        if let Err(error) = self.store.record_notes(kind, events, self.clock.now()).await {
            self.metrics.failures_not_audited(count);
            tracing::error!(%error, failures = count, "failed authentications could not be audited");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::RequestId;

    const NOW: Time = Time::from_unix(1_000);

    fn from(address: &str, number: u8) -> Origin {
        Origin {
            caller: String::new(),
            caller_groups: Vec::new(),
            request_id: RequestId([number; 16]),
            client_request_id: None,
            address: Some(address.parse().unwrap()),
        }
    }

    fn failures(per_minute: u32, loopback_counts: bool) -> Failures {
        let per_minute = NonZeroU32::new(per_minute);
        Failures::new(FailureLimits { per_minute, loopback_counts, ..FailureLimits::default() })
    }

    fn many(failures: &Failures, address: &str) -> usize {
        let address = address.parse().ok();
        (0..10).filter(|_| failures.count(address).is_ok()).count()
    }

    #[test]
    fn each_address_has_its_own_count() {
        let failures = failures(3, false);
        assert_eq!(many(&failures, "203.0.113.7"), 3);
        assert_eq!(many(&failures, "203.0.113.8"), 3);
        assert_eq!(many(&failures, "2001:db8::1"), 3);
        assert_eq!(many(&failures, "2001:db8::2"), 0, "the same 64 bits");
        assert_eq!(many(&failures, "2001:db8:0:1::2"), 3);
        let wait = failures.count("203.0.113.7".parse().ok()).unwrap_err();
        assert!((1..=20).contains(&wait), "{wait}");
    }

    #[test]
    fn loopback_is_counted_where_it_is_asked_for() {
        for (counts, expected) in [(false, 10), (true, 3)] {
            let failures = failures(3, counts);
            assert_eq!(many(&failures, "127.0.0.1"), expected);
            assert_eq!(many(&failures, "::1"), expected);
        }
        assert_eq!(many(&failures(0, true), "203.0.113.7"), 10, "0 is no limit");
    }

    #[test]
    fn those_of_an_address_a_method_and_a_reason_are_one_event() {
        let failures = failures(600, false);
        for number in 1..=9 {
            failures.note(from("203.0.113.7", number), "token", "wrong", Time::from_unix(i64::from(number)));
        }
        failures.note(from("203.0.113.7", 20), "token", "expired", NOW);
        failures.note(from("203.0.113.8", 21), "token", "wrong", NOW);
        let taken = failures.take();
        assert_eq!(taken.len(), 3);
        let (origin, detail, count) =
            taken.iter().find(|(_, detail, _)| detail["reason"] == "wrong").unwrap();
        assert_eq!((origin.request_id, *count), (RequestId([9; 16]), 9), "the last one's id");
        assert_eq!(origin.address, "203.0.113.7".parse().ok());
        assert_eq!(origin.caller, NOBODY);
        let since = "1970-01-01T00:00:01Z";
        assert_eq!(*detail, json!({ "method": "token", "reason": "wrong", "count": 9, "since": since }));
        assert!(failures.take().is_empty());
    }

    #[test]
    fn a_flood_from_everywhere_is_counted_in_bounded_memory() {
        let failures = failures(600, false);
        for number in 0..10_000_u32 {
            let address = std::net::Ipv4Addr::from_bits(number + 0x0a00_0000);
            failures.note(from(&address.to_string(), 1), "token", "wrong", NOW);
        }
        let taken = failures.take();
        assert_eq!(taken.len(), MOST + 1);
        assert_eq!(taken.iter().map(|(_, _, count)| count).sum::<u64>(), 10_000);
        let rest = taken.iter().find(|(origin, _, _)| origin.address.is_none()).unwrap();
        assert_eq!(rest.2, 10_000 - 512);
    }
}
