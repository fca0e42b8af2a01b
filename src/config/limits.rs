//! The table `[limits]`: what one client, and all of them together, may hold and leave behind.

use std::num::NonZeroU32;
use std::time::Duration;

use serde::Deserialize;

use crate::app::{FailureLimits, RateLimits, RefusalLimits};
use crate::http::Limits;

/// The table as it is written; what is left out keeps its default.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct LimitsTable {
    refusals_burst: Option<NonZeroU32>,
    refusals_per_minute: Option<NonZeroU32>,
    signings_per_second: Option<NonZeroU32>,
    reads_per_second: Option<NonZeroU32>,
    all_signings_per_second: Option<NonZeroU32>,
    all_reads_per_second: Option<NonZeroU32>,
    /// 0 is no limit.
    failed_authentications_per_minute: Option<u32>,
    connections: Option<NonZeroU32>,
    /// 0 is no limit.
    connections_per_address: Option<u32>,
    handshake_seconds: Option<NonZeroU32>,
    header_seconds: Option<NonZeroU32>,
    body_seconds: Option<NonZeroU32>,
    write_seconds: Option<NonZeroU32>,
    drain_seconds: Option<NonZeroU32>,
}

impl LimitsTable {
    /// How many refusals of one caller are recorded.
    pub(super) fn refusals(&self) -> RefusalLimits {
        let default = RefusalLimits::default();
        RefusalLimits {
            burst: self.refusals_burst.unwrap_or(default.burst),
            per_minute: self.refusals_per_minute.unwrap_or(default.per_minute),
        }
    }

    /// How many requests come in a second.
    pub(super) fn rates(&self) -> RateLimits {
        let default = RateLimits::default();
        RateLimits {
            signings: self.signings_per_second.unwrap_or(default.signings),
            reads: self.reads_per_second.unwrap_or(default.reads),
            all_signings: self.all_signings_per_second.unwrap_or(default.all_signings),
            all_reads: self.all_reads_per_second.unwrap_or(default.all_reads),
        }
    }

    /// What failed authentications cost. Who sets a number for each address means loopback too.
    pub(super) fn failures(&self) -> FailureLimits {
        let default = FailureLimits::default();
        match self.failed_authentications_per_minute {
            None => default,
            Some(most) => {
                FailureLimits { per_minute: NonZeroU32::new(most), loopback_counts: true, ..default }
            }
        }
    }

    /// What connections may hold. Who sets a number for each address means every address, loopback too.
    pub(super) fn connections(&self) -> Limits {
        let default = Limits::default();
        let per_address = self.connections_per_address.map(|most| (most > 0).then_some(number(most)));
        Limits {
            connections: self.connections.map_or(default.connections, |most| number(most.get())),
            connections_per_address: per_address.unwrap_or(default.connections_per_address),
            loopback_counts: per_address.is_some(),
            handshake: seconds(self.handshake_seconds, default.handshake),
            header_read: seconds(self.header_seconds, default.header_read),
            body_read: seconds(self.body_seconds, default.body_read),
            write_stall: seconds(self.write_seconds, default.write_stall),
            drain: seconds(self.drain_seconds, default.drain),
            ..default
        }
    }
}

fn number(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn seconds(seconds: Option<NonZeroU32>, default: Duration) -> Duration {
    seconds.map_or(default, |seconds| Duration::from_secs(u64::from(seconds.get())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Limits {
        toml::from_str::<LimitsTable>(text).unwrap().connections()
    }

    #[test]
    fn the_defaults_are_those_of_the_documentation() {
        let limits = read("");
        assert_eq!(limits.connections, 1_024);
        assert_eq!((limits.connections_per_address, limits.loopback_counts), (Some(256), false));
        let seconds = [limits.header_read, limits.body_read, limits.write_stall, limits.drain];
        assert_eq!(seconds.map(|time| time.as_secs()), [10, 30, 30, 20]);
        assert_eq!(limits.handshake.as_secs(), 10);
    }

    #[test]
    fn a_number_for_each_address_is_one_for_loopback_too_and_0_is_none() {
        let limits = read("connections_per_address = 7");
        assert_eq!((limits.connections_per_address, limits.loopback_counts), (Some(7), true));
        assert_eq!(read("connections_per_address = 0").connections_per_address, None);
    }

    #[test]
    fn each_rate_has_its_key() {
        let text = "signings_per_second = 1\nreads_per_second = 2\nall_signings_per_second = 3\n\
                    all_reads_per_second = 4";
        let rates = toml::from_str::<LimitsTable>(text).unwrap().rates();
        let numbers = [rates.signings, rates.reads, rates.all_signings, rates.all_reads];
        assert_eq!(numbers.map(NonZeroU32::get), [1, 2, 3, 4]);
        assert!(toml::from_str::<LimitsTable>("reads_per_second = 0").is_err());
    }

    #[test]
    fn a_number_of_failures_is_one_for_loopback_too_and_0_is_none() {
        let read = |text: &str| toml::from_str::<LimitsTable>(text).unwrap().failures();
        assert_eq!(read(""), FailureLimits::default());
        let set = read("failed_authentications_per_minute = 7");
        assert_eq!((set.per_minute, set.loopback_counts), (NonZeroU32::new(7), true));
        assert_eq!(read("failed_authentications_per_minute = 0").per_minute, None);
    }

    #[test]
    fn every_key_has_its_place() {
        let limits = read(
            "connections = 1\nhandshake_seconds = 6\nheader_seconds = 2\nbody_seconds = 3\nwrite_seconds = 4\n\
             drain_seconds = 5",
        );
        assert_eq!(limits.handshake.as_secs(), 6);
        assert_eq!(limits.connections, 1);
        let seconds = [limits.header_read, limits.body_read, limits.write_stall, limits.drain];
        assert_eq!(seconds.map(|time| time.as_secs()), [2, 3, 4, 5]);
    }
}
