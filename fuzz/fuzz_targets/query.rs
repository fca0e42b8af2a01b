//! Query strings: what is taken reads as every form reader reads it, each name once.
#![no_main]

use std::collections::BTreeMap;

use countersign::http::list::Query;
use countersign::http::parameters::Parameters;
use countersign_fuzz::in_time;
use libfuzzer_sys::fuzz_target;

const KNOWN: &[&str] = &["user", "cluster", "caller", "valid_at", "limit", "cursor"];

fuzz_target!(|query: &str| {
    if let Ok(parameters) = in_time(|| Parameters::parse(Some(query), KNOWN)) {
        let expected: Vec<_> = form_urlencoded::parse(query.as_bytes()).collect();
        let once: BTreeMap<_, _> = expected.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(once.len(), expected.len(), "a name twice");
        assert_eq!(parameters.sorted(), once.into_iter().collect::<Vec<_>>());
        again(&parameters);
    }
    if let Ok(mut list) = in_time(|| Query::parse("/v1/things", Some(query), KNOWN)) {
        let _ = list.text("user");
        let _ = list.short_name("cluster");
        let _ = list.caller();
        let _ = list.time("valid_at");
        let limit = list.page().limit;
        assert!((2..=1_001).contains(&limit));
    }
});

/// What another program writes of them is the same.
fn again(parameters: &Parameters) {
    let written = form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters.sorted()).finish();
    let read = Parameters::parse(Some(&written), KNOWN).expect("the same parameters");
    assert_eq!(read.sorted(), parameters.sorted());
}
