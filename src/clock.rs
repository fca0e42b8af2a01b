//! The one place that reads the time of day. Everything else is handed a [`Time`].

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::time::Time;

/// Where the time of day comes from.
#[derive(Clone, Debug)]
pub enum Clock {
    /// The machine's own clock.
    System,
    /// A clock that stands still until it is set; for tests. Seconds since 1970.
    Fixed(Arc<AtomicI64>),
}

impl Clock {
    /// A clock that stands at `at`.
    #[must_use]
    pub fn fixed(at: Time) -> Self {
        Self::Fixed(Arc::new(AtomicI64::new(at.unix())))
    }

    /// The time of day. A machine whose clock stands before 1970 reads as 1970, which every
    /// check against the newest record refuses.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    pub fn now(&self) -> Time {
        let seconds = match self {
            Self::System => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX)),
            Self::Fixed(seconds) => seconds.load(Ordering::SeqCst),
        };
        Time::from_unix(seconds)
    }

    /// Sets a fixed clock; the system's is left alone.
    pub fn set(&self, at: Time) {
        if let Self::Fixed(seconds) = self {
            seconds.store(at.unix(), Ordering::SeqCst);
        }
    }
}
