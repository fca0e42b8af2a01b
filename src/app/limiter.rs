//! A rate for each key, in bounded memory.

use std::hash::Hash;
use std::sync::atomic::{AtomicU32, Ordering};

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, NotUntil, Quota, RateLimiter};

/// After so many that were counted, keys that have all of their burst again are forgotten. So what is
/// kept is bounded by so many and those that came within the time that a burst takes to come back.
const BETWEEN_SWEEPS: u32 = 1_024;

/// What each key has left.
#[derive(Debug)]
pub(super) struct Keyed<K: Hash + Eq + Clone> {
    keys: DefaultKeyedRateLimiter<K>,
    clock: DefaultClock,
    counted: AtomicU32,
}

impl<K: Hash + Eq + Clone> Keyed<K> {
    pub(super) fn new(quota: Quota) -> Self {
        let clock = DefaultClock::default();
        let keys = RateLimiter::dashmap_with_clock(quota, clock.clone());
        Self { keys, clock, counted: AtomicU32::new(0) }
    }

    /// Counts one of `key`, or says in how many seconds it may be tried again.
    pub(super) fn take(&self, key: &K) -> Result<(), u32> {
        if self.counted.fetch_add(1, Ordering::Relaxed).is_multiple_of(BETWEEN_SWEEPS) {
            self.keys.retain_recent();
            self.keys.shrink_to_fit();
        }
        self.keys.check_key(key).map_err(|refused| seconds(&refused, &self.clock))
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }
}

/// What all have left together.
#[derive(Debug)]
pub(super) struct Shared {
    all: DefaultDirectRateLimiter,
    clock: DefaultClock,
}

impl Shared {
    pub(super) fn new(quota: Quota) -> Self {
        let clock = DefaultClock::default();
        Self { all: RateLimiter::direct_with_clock(quota, clock.clone()), clock }
    }

    /// Counts one, or says in how many seconds it may be tried again.
    pub(super) fn take(&self) -> Result<(), u32> {
        self.all.check().map_err(|refused| seconds(&refused, &self.clock))
    }
}

/// Rounded up: who comes back then is let in.
fn seconds(refused: &NotUntil<<DefaultClock as Clock>::Instant>, clock: &DefaultClock) -> u32 {
    let wait = refused.wait_time_from(clock.now());
    u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::num::NonZeroU32;

    fn quota(burst: u32, per_minute: u32) -> Quota {
        let number = |number| NonZeroU32::new(number).unwrap();
        Quota::per_minute(number(per_minute)).allow_burst(number(burst))
    }

    #[test]
    fn a_burst_is_counted_and_the_next_is_told_when_to_come_back() {
        let keys = Keyed::new(quota(3, 1));
        assert_eq!([(); 3].map(|()| keys.take(&"a")), [Ok(()); 3]);
        let wait = keys.take(&"a").unwrap_err();
        assert!((59..=60).contains(&wait), "{wait}");
        let all = Shared::new(quota(3, 1));
        assert_eq!([(); 3].map(|()| all.take()), [Ok(()); 3]);
        let wait = all.take().unwrap_err();
        assert!((59..=60).contains(&wait), "{wait}");
    }

    #[test]
    fn one_key_takes_nothing_from_another() {
        let keys = Keyed::new(quota(1, 1));
        assert_eq!(keys.take(&"a"), Ok(()));
        assert!(keys.take(&"a").is_err());
        assert_eq!(keys.take(&"b"), Ok(()));
    }

    #[test]
    fn the_rate_gives_one_back_after_its_time() {
        let keys = Keyed::new(quota(1, 600));
        assert_eq!(keys.take(&"a"), Ok(()));
        assert_eq!(keys.take(&"a"), Err(1));
        std::thread::sleep(std::time::Duration::from_millis(150));
        assert_eq!(keys.take(&"a"), Ok(()));
    }

    #[test]
    fn keys_of_long_ago_are_forgotten() {
        let keys = Keyed::new(quota(1, 60_000));
        for number in 0..3 * BETWEEN_SWEEPS {
            assert_eq!(keys.take(&number), Ok(()));
            if number.is_multiple_of(BETWEEN_SWEEPS) {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
        }
        assert!(keys.len() <= 2 * 1_024, "{}", keys.len());
    }
}
