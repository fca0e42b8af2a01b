//! Query strings: what is taken reads as every form reader reads it, each name once.
#![no_main]

use std::collections::BTreeMap;

use countersign::filters;
use countersign::http::list::Query;
use countersign::http::parameters::Parameters;
use countersign::store::{Order, Span};
use countersign::time::Time;
use countersign_fuzz::in_time;
use http::HeaderMap;
use libfuzzer_sys::fuzz_target;

const KNOWN: &[&str] = &[
    "user", "cluster", "caller", "serial", "credential_id", "status", "valid_at", "valid_from", "valid_to", "order",
    "after_number", "limit", "cursor",
];

fuzz_target!(|query: &str| {
    if let Ok(parameters) = in_time(|| Parameters::parse(Some(query), KNOWN)) {
        let expected: Vec<_> = form_urlencoded::parse(query.as_bytes()).collect();
        let once: BTreeMap<_, _> = expected.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(once.len(), expected.len(), "a name twice");
        assert_eq!(parameters.sorted(), once.into_iter().collect::<Vec<_>>());
        again(&parameters);
    }
    if let Ok(mut list) = in_time(|| Query::parse("/v1/things", Some(query), &HeaderMap::new(), KNOWN)) {
        let _ = in_time(|| filters::certificates(&mut list.filters, Time::from_unix(0)));
        let _ = filters::span(&mut list.filters, "after_number");
        let limit = list.page(Span::all(Order::NewestFirst, 0)).limit;
        assert!((2..=1_001).contains(&limit));
    }
});

/// What another program writes of them is the same.
fn again(parameters: &Parameters) {
    let written = form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters.sorted()).finish();
    let read = Parameters::parse(Some(&written), KNOWN).expect("the same parameters");
    assert_eq!(read.sorted(), parameters.sorted());
}
