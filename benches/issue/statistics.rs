//! The arithmetic of the benchmark. Tested by `tests/benchmark.rs`.

use std::time::Duration;

/// The least of `sorted` that at least `per_mille` thousandths of it do not exceed (nearest rank).
/// Zero for nothing.
pub fn percentile(sorted: &[Duration], per_mille: usize) -> Duration {
    let rank = sorted.len().saturating_mul(per_mille).div_ceil(1_000);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

/// The middle value; of an even number, the mean of the two in the middle. Zero for nothing.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let upper = sorted.get(middle).copied().unwrap_or_default();
    if sorted.len() % 2 == 1 {
        return upper;
    }
    let lower = sorted.get(middle.saturating_sub(1)).copied().unwrap_or_default();
    f64::midpoint(lower, upper)
}

/// Microseconds of `total` for each of `count`. Zero for nothing.
pub fn micros_each(total: Duration, count: u32) -> f64 {
    if count == 0 { 0.0 } else { total.as_secs_f64() * 1e6 / f64::from(count) }
}

/// How many a second. Zero in no time.
pub fn rate(count: u32, time: Duration) -> f64 {
    if time.is_zero() { 0.0 } else { f64::from(count) / time.as_secs_f64() }
}

/// Which part of `cores` was busy for `time` in a window of `wall`: 1 is all of them.
pub fn share(time: Duration, wall: Duration, cores: u32) -> f64 {
    let all = wall.as_secs_f64() * f64::from(cores);
    if all > 0.0 { time.as_secs_f64() / all } else { 0.0 }
}

/// `value` over `base`. Zero where there is no base.
pub fn ratio(value: f64, base: f64) -> f64 {
    if base > 0.0 { value / base } else { 0.0 }
}

/// To so many digits after the point.
pub fn rounded(value: f64, digits: i32) -> f64 {
    let scale = 10_f64.powi(digits);
    (value * scale).round() / scale
}
