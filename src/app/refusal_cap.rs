//! How many refusals of one caller are recorded: nobody may fill the disk with them.

use std::num::NonZeroU32;

use governor::Quota;

use super::limiter::Keyed;

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

impl RefusalLimits {
    /// What each caller has left, by its name.
    pub(super) fn cap(self) -> Keyed<String> {
        Keyed::new(Quota::per_minute(self.per_minute).allow_burst(self.burst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_those_of_the_documentation() {
        let limits = RefusalLimits::default();
        assert_eq!((limits.burst.get(), limits.per_minute.get()), (1_000, 60));
    }
}
