//! What rows look like.

use serde_json::{Value, json};

use crate::GROUPS;

/// Rows of one kind.
pub struct Shape {
    /// What it is called in the table.
    pub name: &'static str,
    /// The row at a place among so many.
    pub row: fn(usize, usize) -> Value,
    /// A group that is refused.
    pub refused: &'static str,
}

/// Every row of it decides and is named in the decision, so it grows with the rows by its meaning. No
/// target is set for it.
pub const EVERYTHING: &str = "every row matches everything";

/// `token:portal` asks for `portal` with [`GROUPS`] groups.
pub const SHAPES: &[Shape] = &[
    Shape {
        name: "one caller with every row, a group each",
        row: |place, size| row(place, "allow", "token:portal", "*", &groups(place, size)),
        refused: "nobody-has-it",
    },
    Shape {
        name: "a caller each, wildcards",
        row: |place, _| {
            row(place, "allow", &one(place, "token:portal", "token:t"), "po*", &texts(["team-*"]))
        },
        refused: "nobody-has-it",
    },
    Shape {
        name: "a user name each, any group",
        row: |place, _| {
            row(place, "allow", "token:portal", &one(place, "portal", "user-"), &texts(["team-*", "x"]))
        },
        refused: "nobody-has-it",
    },
    Shape {
        name: "a wildcard each, by its start",
        row: |place, size| row(place, "allow", "token:portal", "po*", &ended(groups(place, size), "", "*")),
        refused: "nobody-has-it",
    },
    Shape {
        name: "a wildcard each, by its end",
        row: |place, size| row(place, "allow", "token:portal", "*tal", &ended(groups(place, size), "*", "")),
        refused: "nobody-has-it",
    },
    Shape {
        name: "variables",
        row: |place, size| {
            let mut groups = groups(place, size);
            groups.push(format!("own-{place}-{{caller}}"));
            row(place, "allow", "token:portal", "{caller}", &groups)
        },
        refused: "own-5-nobody",
    },
    Shape {
        name: EVERYTHING,
        row: |place, _| row(place, "allow", "token:*", "*", &texts(["team-*"])),
        refused: "nobody-has-it",
    },
    Shape {
        name: "deny rows for everybody",
        row: |place, _| match place {
            0 => row(place, "allow", "token:portal", "*", &texts(["*"])),
            _ => row(place, "deny", "token:*", "*", &[format!("root-{place}-*")]),
        },
        refused: "root-5-x",
    },
    Shape {
        name: "deny rows for others",
        row: |place, _| match place {
            0 => row(place, "allow", "token:portal", "*", &texts(["*"])),
            1 => row(place, "deny", "token:portal", "*", &texts(["root-*"])),
            _ => row(place, "deny", &format!("token:t{place}"), "*", &texts(["*"])),
        },
        refused: "root-5-x",
    },
];

/// One of the groups that are asked for, spread over all rows.
pub fn group(place: usize, size: usize) -> String {
    format!("team-{}-", place * (size / GROUPS).max(1))
}

/// The groups of a row; where there are fewer rows than groups are asked for, each has several.
fn groups(place: usize, size: usize) -> Vec<String> {
    let last = if size < GROUPS { GROUPS } else { place + 1 };
    (place..last).step_by(size).map(|place| format!("team-{place}-")).collect()
}

fn ended(texts: Vec<String>, before: &str, after: &str) -> Vec<String> {
    texts.into_iter().map(|text| format!("{before}{text}{after}")).collect()
}

fn texts<const N: usize>(texts: [&str; N]) -> Vec<String> {
    texts.map(str::to_owned).to_vec()
}

/// The fifth is for who asks, the others are for others.
fn one(place: usize, ours: &str, theirs: &str) -> String {
    if place == 5 { ours.to_owned() } else { format!("{theirs}{place}") }
}

fn row(place: usize, effect: &str, caller: &str, user: &str, groups: &[String]) -> Value {
    json!({
        "name": format!("row-{place}"), "effect": effect, "clusters": ["*"], "callers": [caller],
        "users": [user], "groups": groups,
    })
}
