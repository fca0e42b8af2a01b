//! `docs/production.md` speaks of every metric that there is, and of no other.

use std::collections::BTreeSet;

use countersign::metrics::Metrics;
use countersign::time::Time;

const DOCUMENT: &str = include_str!("../../docs/production.md");

/// Every series by its full name, once each thing has happened.
fn exposed() -> BTreeSet<String> {
    let metrics = Metrics::default();
    metrics.ca_not_after("prod", Time::from_unix(1));
    metrics.started(Time::from_unix(1));
    metrics.request("/v1/sign", "POST", 201, 0.1);
    metrics.issued("prod");
    metrics.refused("policy_denied");
    metrics.refusal_not_recorded();
    metrics.limited(true, true);
    metrics.authentication_failed("wrong");
    metrics.writer_queue(1);
    metrics.pending_requests(1);
    metrics.reloaded("tls", false);
    let rendered = metrics.render();
    let samples = rendered.lines().filter(|line| !line.starts_with('#'));
    samples.map(|line| line.split(['{', ' ']).next().unwrap().to_owned()).collect()
}

/// What a histogram's series share.
fn family(series: &str) -> &str {
    ["_bucket", "_sum", "_count"].iter().find_map(|end| series.strip_suffix(end)).unwrap_or(series)
}

/// Every word of `text` that could be the name of a metric.
fn names(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("countersign_") || word.starts_with("process_")).collect()
}

#[test]
fn the_table_names_every_metric_and_no_other() {
    let table = DOCUMENT.split("## Metrics").nth(1).unwrap().split("## Alerts").next().unwrap();
    let exposed = exposed();
    let families: BTreeSet<&str> = exposed.iter().map(|series| family(series)).collect();
    assert_eq!(names(table), families);
}

#[test]
fn every_alert_uses_series_that_there_are() {
    let rules = DOCUMENT.split("```yaml").nth(1).unwrap().split("```").next().unwrap();
    let exposed = exposed();
    let used = names(rules);
    assert!(used.len() >= 7, "{used:?}");
    for series in used {
        assert!(exposed.contains(series), "{series} is not one of {exposed:?}");
    }
    assert_eq!(rules.matches("alert:").count(), rules.matches("summary:").count());
}
