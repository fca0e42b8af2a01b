//! How many files this process may have open. Every connection is one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Kept for the ledger, the listeners, logs and files that are read.
const RESERVE: u64 = 64;

/// At most `wanted` connections, and as many as this process may hold. The limit on open files is
/// raised as far as that takes: Debian's default of 1,024 would be reached before `wanted` is, and
/// then nobody could be let in, not even instead of one who only waits.
pub(super) fn for_connections(wanted: usize) -> usize {
    let wanted = u64::try_from(wanted).unwrap_or(u64::MAX);
    let needed = wanted.saturating_add(RESERVE);
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(u64::MAX);
    if limit.current.is_some_and(|current| current < needed) {
        // What cannot be raised is looked at below.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(needed.min(most)), ..limit });
    }
    let current = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let possible = current.saturating_sub(RESERVE).max(1);
    if possible < wanted {
        tracing::warn!(
            connections.wanted = wanted,
            connections.possible = possible,
            "the limit on open files is too low: raise it (LimitNOFILE=), or lower limits.connections"
        );
    }
    usize::try_from(wanted.min(possible)).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_had_is_given_and_no_more() {
        assert_eq!(for_connections(1), 1);
        let most = getrlimit(Resource::Nofile).maximum;
        let given = for_connections(usize::MAX);
        assert!(most.is_none_or(|most| u64::try_from(given).unwrap() < most), "{given} of {most:?}");
    }
}
