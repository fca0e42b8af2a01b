//! The threat model of `docs/security.md` names tests that exist.
#![cfg(test)]

use std::fs;
use std::path::Path;

/// The cells of every row under the headings of threats.
fn rows() -> Vec<Vec<String>> {
    let text = fs::read_to_string(root().join("docs/security.md")).expect("the document is there");
    let lines = text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| threat |"));
    lines
        .map(|line| line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect())
        .collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What stands between backticks with `::` in it.
fn tests_of(cell: &str) -> Vec<(String, String)> {
    let words = cell.split('`').skip(1).step_by(2);
    words
        .filter_map(|word| word.split_once("::"))
        .map(|(file, name)| (file.to_owned(), name.to_owned()))
        .collect()
}

/// A test, and not any function of that name: what stands right above it says so.
fn is_a_test(file: &str, name: &str) -> bool {
    let text = fs::read_to_string(root().join(file)).unwrap_or_default();
    if Path::new(file).extension().is_some_and(|end| end == "py") {
        return name.starts_with("test_") && text.contains(&format!("\ndef {name}("));
    }
    let lines: Vec<_> = text.lines().map(str::trim).collect();
    let place = lines.iter().position(|line| line.contains(&format!("fn {name}(")));
    let above = place.map(|place| lines.iter().take(place).rev().take(4));
    above.is_some_and(|mut above| {
        above.any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"))
    })
}

#[test]
fn every_row_names_tests_that_exist_or_says_that_it_is_not_there_yet() {
    let rows = rows();
    assert!(rows.len() > 40, "{}", rows.len());
    for row in &rows {
        let [threat, _, shown] = row.as_slice() else { panic!("a row of three cells: {row:?}") };
        let tests = tests_of(shown);
        assert!(!tests.is_empty() || shown.starts_with("not there yet: "), "{threat}: names no test");
        for (file, name) in tests {
            assert!(is_a_test(&file, &name), "{threat}: there is no test {file}::{name}");
        }
    }
}

#[test]
fn what_is_no_test_is_told_apart() {
    assert!(is_a_test("tests/threats.rs", "what_is_no_test_is_told_apart"));
    assert!(!is_a_test("tests/threats.rs", "tests_of"));
    assert!(!is_a_test("tests/threats.rs", "nothing"));
    assert!(!is_a_test("tests/nothing.rs", "rows"));
}
