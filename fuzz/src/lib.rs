//! What the fuzz targets share.

use rustix::time::{ClockId, clock_gettime};

/// No input may keep a thread busy for longer; CPU time, so that a loaded machine does not matter.
const MOST_MILLISECONDS: i64 = 1_000;

/// Runs `read`, which must be done in a second of CPU time.
///
/// # Panics
/// Where it is not.
pub fn in_time<T>(read: impl FnOnce() -> T) -> T {
    let start = cpu_milliseconds();
    let result = read();
    let taken = cpu_milliseconds() - start;
    assert!(taken < MOST_MILLISECONDS, "took {taken} ms of CPU time");
    result
}

fn cpu_milliseconds() -> i64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec * 1_000 + now.tv_nsec / 1_000_000
}
