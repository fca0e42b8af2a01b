//! A pattern and a name: the matcher against a table that tries every run.
#![no_main]

use arbitrary::Arbitrary;
use countersign::policy::pattern::{Pattern, Star};
use countersign_fuzz::in_time;
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Input {
    star: u8,
    pattern: String,
    value: String,
    variable: String,
    /// Makes long values out of short inputs.
    repeat: u8,
}

fuzz_target!(|input: Input| {
    let star = [Star::Printable, Star::Segment, Star::Anything][usize::from(input.star % 3)];
    let Ok(pattern) = Pattern::parse(&input.pattern, star) else { return };
    assert_eq!(pattern.as_str(), input.pattern);
    assert_eq!(Pattern::parse(pattern.as_str(), star).as_ref(), Ok(&pattern));
    let repeat = usize::from(input.repeat % 8) + 1;
    for value in [input.value.clone(), input.value.repeat(repeat), pattern.filled(&input.variable)] {
        let matched = in_time(|| pattern.matches(&value, |_, text| text == input.variable));
        assert_eq!(matched, expected(&pattern, &value, &input.variable, star), "{value:?}");
        if matched {
            assert!(value.starts_with(pattern.literal_start()));
        }
    }
});

fn expected(pattern: &Pattern, value: &str, variable: &str, star: Star) -> bool {
    match pattern.variable() {
        Some(_) => pattern.filled(variable) == value,
        None => by_table(pattern.as_str(), value, star),
    }
}

/// `reached[n]`: the pattern so far matches the first `n` characters of the value.
fn by_table(pattern: &str, value: &str, star: Star) -> bool {
    let value: Vec<char> = value.chars().collect();
    let mut reached = vec![false; value.len() + 1];
    reached[0] = true;
    for p in pattern.chars() {
        let mut next = vec![false; value.len() + 1];
        for n in 0..=value.len() {
            next[n] = match p {
                '*' => reached[n] || (n > 0 && next[n - 1] && taken(value[n - 1], star)),
                _ => n > 0 && reached[n - 1] && value[n - 1] == p,
            };
        }
        reached = next;
    }
    reached[value.len()]
}

fn taken(c: char, star: Star) -> bool {
    match star {
        Star::Anything => true,
        Star::Printable => (' '..='~').contains(&c),
        Star::Segment => (' '..='~').contains(&c) && c != ':',
    }
}
