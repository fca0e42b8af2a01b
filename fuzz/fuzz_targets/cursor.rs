//! Cursors of lists: what is written reads back under its own filters, and nothing else is read.
#![no_main]

use arbitrary::Arbitrary;
use countersign::http::list::Query;
use countersign::store::{Order, Span};
use countersign_fuzz::in_time;
use http::HeaderMap;
use libfuzzer_sys::fuzz_target;

const KNOWN: &[&str] = &["user", "group", "limit", "cursor"];

#[derive(Arbitrary, Debug)]
struct Input {
    user: Option<String>,
    group: Option<String>,
    other: Option<String>,
    number: i64,
    /// Places of the cursor and what is written there.
    changes: Vec<(u8, u8)>,
    appended: String,
}

fuzz_target!(|input: Input| {
    let filters = query(input.user.as_deref(), input.group.as_deref());
    let Some(cursor) = cursor(&filters, input.number) else { return };
    let read = parse(&filters, &cursor).expect("a cursor of ours");
    assert_eq!(number(&read), input.number);
    let others = query(input.other.as_deref(), input.group.as_deref());
    if input.other != input.user {
        assert!(parse(&others, &cursor).is_none(), "a cursor under other filters");
    }
    let changed = change(&cursor, &input);
    if let Some(query) = parse(&filters, &changed) {
        assert_eq!(self::cursor(&filters, number(&query)), Some(changed), "a number has one cursor");
    }
});

fn query(user: Option<&str>, group: Option<&str>) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in [("group", group), ("user", user)] {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    query.finish()
}

fn cursor(filters: &str, number: i64) -> Option<String> {
    let text = format!("{filters}&limit=1");
    let query = Query::parse("/v1/things", Some(&text), &HeaderMap::new(), KNOWN).ok()?;
    query.cut(&mut vec![number, 0], |row| *row)
}

fn parse(filters: &str, cursor: &str) -> Option<Query> {
    let cursor: String = form_urlencoded::byte_serialize(cursor.as_bytes()).collect();
    let query = format!("limit=5&{filters}&cursor={cursor}");
    in_time(|| Query::parse("/v1/things", Some(&query), &HeaderMap::new(), KNOWN)).ok()
}

/// The number that the cursor of a list holds.
fn number(query: &Query) -> i64 {
    query.rest(Span::all(Order::NewestFirst, 0)).below
}

fn change(cursor: &str, input: &Input) -> String {
    let mut bytes = cursor.as_bytes().to_vec();
    let length = bytes.len();
    for (place, byte) in &input.changes {
        bytes[usize::from(*place) % length] = byte & 0x7f;
    }
    String::from_utf8(bytes).expect("ASCII") + &input.appended
}
