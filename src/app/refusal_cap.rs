//! How many refusals of one caller are recorded: nobody may fill the disk with them.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

/// How many refusals of one caller are recorded. Past it the caller is answered with 429.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefusalLimits {
    /// At once, after a time without any.
    pub burst: NonZeroU32,
    /// In a minute, over a longer time.
    pub per_minute: NonZeroU32,
}

impl Default for RefusalLimits {
    fn default() -> Self {
        let number = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        Self { burst: number(1_000), per_minute: number(60) }
    }
}

/// After this many refusals the callers that have all of their burst again are forgotten.
const BETWEEN_SWEEPS: u32 = 1_024;

/// What each caller has left.
#[derive(Debug)]
pub(super) struct RefusalCap {
    callers: DefaultKeyedRateLimiter<String>,
    clock: DefaultClock,
    counted: AtomicU32,
}

impl RefusalCap {
    pub(super) fn new(limits: RefusalLimits) -> Self {
        let quota = Quota::per_minute(limits.per_minute).allow_burst(limits.burst);
        let clock = DefaultClock::default();
        let callers = RateLimiter::dashmap_with_clock(quota, clock.clone());
        Self { callers, clock, counted: AtomicU32::new(0) }
    }

    /// Counts one refusal of `caller`, or says in how many seconds it may be tried again.
    pub(super) fn take(&self, caller: &str) -> Result<(), u32> {
        if self.counted.fetch_add(1, Ordering::Relaxed).is_multiple_of(BETWEEN_SWEEPS) {
            self.callers.retain_recent();
            self.callers.shrink_to_fit();
        }
        self.callers.check_key(&caller.to_owned()).map_err(|refused| {
            let wait = refused.wait_time_from(self.clock.now());
            u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).saturating_add(1)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cap(burst: u32, per_minute: u32) -> RefusalCap {
        RefusalCap::new(RefusalLimits {
            burst: NonZeroU32::new(burst).unwrap(),
            per_minute: NonZeroU32::new(per_minute).unwrap(),
        })
    }

    #[test]
    fn a_burst_is_counted_and_the_next_is_told_when_to_come_back() {
        let cap = cap(3, 1);
        assert_eq!([(); 3].map(|()| cap.take("token:a")), [Ok(()); 3]);
        let wait = cap.take("token:a").unwrap_err();
        assert!((59..=60).contains(&wait), "{wait}");
    }

    #[test]
    fn one_caller_takes_nothing_from_another() {
        let cap = cap(1, 1);
        assert_eq!(cap.take("token:a"), Ok(()));
        assert!(cap.take("token:a").is_err());
        assert_eq!(cap.take("token:b"), Ok(()));
    }

    #[test]
    fn the_rate_gives_one_back_after_its_time() {
        let cap = cap(1, 600);
        assert_eq!(cap.take("token:a"), Ok(()));
        assert_eq!(cap.take("token:a"), Err(1));
        std::thread::sleep(std::time::Duration::from_millis(150));
        assert_eq!(cap.take("token:a"), Ok(()));
    }

    #[test]
    fn callers_of_long_ago_are_forgotten() {
        let cap = cap(1, 60_000);
        for number in 0..3 * BETWEEN_SWEEPS {
            assert_eq!(cap.take(&format!("token:{number}")), Ok(()));
            if number.is_multiple_of(BETWEEN_SWEEPS) {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
        }
        assert!(cap.callers.len() <= 2 * 1_024, "{}", cap.callers.len());
    }

    #[test]
    fn the_defaults_are_those_of_the_documentation() {
        let limits = RefusalLimits::default();
        assert_eq!((limits.burst.get(), limits.per_minute.get()), (1_000, 60));
    }
}
