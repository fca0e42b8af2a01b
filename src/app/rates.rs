//! How many requests one caller, and all of them together, may make in a second.

use std::num::NonZeroU32;

use governor::Quota;

use super::limiter::{Keyed, Shared};
use super::{App, AppError};
use crate::audit::Origin;

/// What a request counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rate {
    /// Nothing: it says nothing of anybody, and asks for no caller.
    Free,
    /// A certificate that may come of it.
    Signing,
    /// Everything else, changes too: they are few.
    Reading,
}

/// Requests in a second. After a second without any, so many may come at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimits {
    /// Signings of one caller.
    pub signings: NonZeroU32,
    /// Everything else of one caller.
    pub reads: NonZeroU32,
    /// Signings of all callers.
    pub all_signings: NonZeroU32,
    /// Everything else of all callers.
    pub all_reads: NonZeroU32,
}

impl Default for RateLimits {
    fn default() -> Self {
        let number = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        Self {
            signings: number(20_000),
            reads: number(20_000),
            all_signings: number(40_000),
            all_reads: number(40_000),
        }
    }
}

/// What is left of them.
#[derive(Debug)]
pub(super) struct Rates {
    signing: Pair,
    reading: Pair,
}

#[derive(Debug)]
struct Pair {
    callers: Keyed<String>,
    all: Shared,
}

impl Rates {
    pub(super) fn new(limits: RateLimits) -> Self {
        Self {
            signing: Pair::new(limits.signings, limits.all_signings),
            reading: Pair::new(limits.reads, limits.all_reads),
        }
    }
}

impl Pair {
    fn new(of_one: NonZeroU32, of_all: NonZeroU32) -> Self {
        Self { callers: Keyed::new(Quota::per_second(of_one)), all: Shared::new(Quota::per_second(of_all)) }
    }
}

impl App {
    /// Counts a request of this caller. Its own limit comes first, so that what it is refused takes
    /// nothing from others.
    ///
    /// # Errors
    /// `RateLimited`; nothing of the request was looked at but its credential.
    pub fn count_request(&self, origin: &Origin, rate: Rate) -> Result<(), AppError> {
        let pair = match rate {
            Rate::Free => return Ok(()),
            Rate::Signing => &self.rates.signing,
            Rate::Reading => &self.rates.reading,
        };
        let limited = |of_all: bool, retry_after: u32| {
            self.metrics.limited(rate == Rate::Signing, of_all);
            AppError::RateLimited { of_all, retry_after }
        };
        pair.callers.take(&origin.caller).map_err(|retry_after| limited(false, retry_after))?;
        pair.all.take().map_err(|retry_after| limited(true, retry_after))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_those_of_the_documentation() {
        let limits = RateLimits::default();
        let numbers = [limits.signings, limits.reads, limits.all_signings, limits.all_reads];
        assert_eq!(numbers.map(NonZeroU32::get), [20_000, 20_000, 40_000, 40_000]);
    }
}
