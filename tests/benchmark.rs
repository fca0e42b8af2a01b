//! The benchmark's own arithmetic. The benchmark itself is `bench/run`.

#[path = "../benches/issue/statistics.rs"]
mod statistics;

use std::time::Duration;

use statistics::{median, micros_each, percentile, rate, ratio, rounded, share};

fn close(value: f64, expected: f64) {
    assert!((value - expected).abs() < 1e-9, "{value} is not {expected}");
}

fn millis(values: impl IntoIterator<Item = u64>) -> Vec<Duration> {
    values.into_iter().map(Duration::from_millis).collect()
}

#[test]
fn a_percentile_is_one_of_the_values() {
    let hundred = millis(1..=100);
    assert_eq!(percentile(&hundred, 500), Duration::from_millis(50));
    assert_eq!(percentile(&hundred, 990), Duration::from_millis(99));
    assert_eq!(percentile(&hundred, 999), Duration::from_millis(100));
    assert_eq!(percentile(&hundred, 1_000), Duration::from_millis(100));
    assert_eq!(percentile(&hundred, 0), Duration::from_millis(1));
}

#[test]
fn a_percentile_of_few_values_is_the_next_higher_one() {
    assert_eq!(percentile(&millis([7]), 1), Duration::from_millis(7));
    assert_eq!(percentile(&millis([1, 2, 3]), 500), Duration::from_millis(2));
    assert_eq!(percentile(&millis([1, 2, 3]), 990), Duration::from_millis(3));
    assert_eq!(percentile(&[], 990), Duration::ZERO);
}

#[test]
fn a_median_is_the_middle_whatever_the_order() {
    close(median(&[3.0, 1.0, 2.0]), 2.0);
    close(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
    close(median(&[5.0]), 5.0);
    close(median(&[]), 0.0);
}

#[test]
fn one_bad_repetition_of_three_does_not_move_a_median() {
    close(median(&[10.0, 1_000.0, 11.0]), 11.0);
}

#[test]
fn cpu_time_is_divided_by_what_it_was_spent_on() {
    close(micros_each(Duration::from_secs(1), 4_000), 250.0);
    close(micros_each(Duration::from_secs(1), 0), 0.0);
    close(rate(4_000, Duration::from_secs(2)), 2_000.0);
    close(rate(4_000, Duration::ZERO), 0.0);
}

#[test]
fn a_share_is_of_all_cores() {
    close(share(Duration::from_secs(1), Duration::from_secs(5), 2), 0.1);
    close(share(Duration::from_secs(10), Duration::from_secs(5), 2), 1.0);
    close(share(Duration::from_secs(1), Duration::ZERO, 2), 0.0);
}

#[test]
fn a_ratio_without_a_base_is_none() {
    close(ratio(150.0, 100.0), 1.5);
    close(ratio(150.0, 0.0), 0.0);
}

#[test]
fn numbers_are_rounded_and_not_cut() {
    close(rounded(2.449, 2), 2.45);
    close(rounded(1_999.6, 0), 2_000.0);
}
