//! What must hold of every pattern and every value.

use std::time::Instant;

use proptest::prelude::*;

use super::{Pattern, PatternError, Star, Variable};

const STARS: [Star; 3] = [Star::Printable, Star::Segment, Star::Anything];

/// Near to patterns: words, stars, braces, colons, letters beyond ASCII.
fn texts() -> impl Strategy<Value = String> {
    let pieces = [
        "a",
        "ab",
        "*",
        "**",
        ":",
        "é",
        "ѕystem:",
        "system:",
        " ",
        "{",
        "}",
        "{caller}",
        "{on_behalf_of}",
        "{caller.claim.x}",
    ];
    let near =
        prop::collection::vec(prop::sample::select(pieces.to_vec()), 0..6).prop_map(|pieces| pieces.concat());
    prop_oneof![4 => near, 1 => "\\PC{0,12}", 1 => ".{0,12}"]
}

fn no_variable(_: &Variable, _: &str) -> bool {
    false
}

proptest! {
    #[test]
    fn a_pattern_is_written_as_it_was_read(text in texts()) {
        for star in STARS {
            if let Ok(pattern) = Pattern::parse(&text, star) {
                prop_assert_eq!(pattern.as_str(), &text);
                prop_assert_eq!(Pattern::parse(pattern.as_str(), star), Ok(pattern));
            }
        }
    }

    #[test]
    fn a_pattern_is_a_literal_a_run_or_a_variable(text in texts()) {
        let Ok(pattern) = Pattern::parse(&text, Star::Printable) else { return Ok(()) };
        let kinds = [pattern.is_literal(), pattern.has_star(), pattern.variable().is_some()];
        prop_assert_eq!(kinds.into_iter().filter(|is| *is).count(), 1, "{}", text);
        prop_assert!(pattern.variable().is_none() || !text.contains('*'));
    }

    #[test]
    fn a_literal_matches_itself_and_nothing_else(text in texts(), value in texts()) {
        let Ok(pattern) = Pattern::parse(&text, Star::Anything) else { return Ok(()) };
        if pattern.is_literal() {
            prop_assert!(pattern.matches(&text, no_variable));
            prop_assert_eq!(pattern.matches(&value, no_variable), text == value);
        }
    }

    #[test]
    fn both_ends_are_anchored(text in texts(), value in texts(), more in "[a-z:é*]{1,3}") {
        for star in STARS {
            let Ok(pattern) = Pattern::parse(&text, star) else { continue };
            if pattern.variable().is_some() || !pattern.matches(&value, no_variable) {
                continue;
            }
            let first = text.split('*').next().unwrap_or_default();
            let last = text.rsplit('*').next().unwrap_or_default();
            prop_assert!(value.starts_with(first) && value.ends_with(last));
            let (before, after) = (format!("{more}{value}"), format!("{value}{more}"));
            prop_assert!(before.starts_with(first) || !pattern.matches(&before, no_variable));
            prop_assert!(after.ends_with(last) || !pattern.matches(&after, no_variable));
        }
    }

    #[test]
    fn what_a_star_may_not_run_over_is_matched_by_nothing_but_itself(before in "[a-z]{0,3}", odd in "[\u{80}-\u{ffff}]") {
        let pattern = Pattern::parse(&format!("{before}*"), Star::Printable).expect("a pattern");
        let value = format!("{before}{odd}");
        prop_assert!(!pattern.matches(&value, no_variable));
        let spelled = Pattern::parse(&format!("{before}*{odd}"), Star::Printable).expect("a pattern");
        prop_assert!(spelled.matches(&value, no_variable));
    }

    #[test]
    fn the_value_of_a_variable_is_a_literal(before in "[a-z:]{0,4}", after in "[a-z:]{0,4}", caller in texts(), value in texts()) {
        let pattern = Pattern::parse(&format!("{before}{{caller}}{after}"), Star::Anything).expect("a pattern");
        let is = |variable: &Variable, text: &str| *variable == Variable::Caller && text == caller;
        let whole = format!("{before}{caller}{after}");
        prop_assert!(pattern.matches(&whole, is));
        prop_assert_eq!(pattern.filled(&caller), whole.clone());
        prop_assert_eq!(pattern.matches(&value, is), value == whole);
    }

    #[test]
    fn a_second_variable_or_a_star_beside_one_is_no_pattern(more in texts()) {
        for text in [format!("{{caller}}{more}"), format!("{more}{{caller}}")] {
            if more.contains(['*', '{', '}']) {
                let error = Pattern::parse(&text, Star::Printable).expect_err("an error");
                prop_assert!(error != PatternError::Empty);
            } else {
                prop_assert!(Pattern::parse(&text, Star::Printable).is_ok());
            }
        }
    }
}

/// Values of a megabyte; what is quadratic would take minutes.
#[test]
fn hostile_patterns_take_linear_time() {
    let long = "a".repeat(1_000_000);
    let patterns = [
        "a*".repeat(120),
        "*a".repeat(120),
        "*ab".repeat(80),
        format!("*{}b*", "a".repeat(120)),
        "*".repeat(250),
    ];
    let values = [format!("{long}b"), format!("b{long}"), format!("{long}é"), "ab".repeat(500_000)];
    let start = Instant::now();
    for (pattern, star) in patterns.iter().flat_map(|pattern| STARS.map(|star| (pattern, star))) {
        let pattern = Pattern::parse(pattern, star).expect("a pattern");
        for value in &values {
            let _ = pattern.matches(value, no_variable);
        }
    }
    assert!(start.elapsed().as_secs() < 10, "{:?}", start.elapsed());
}
