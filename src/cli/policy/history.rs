//! `countersign policy history`.

use anyhow::Result;
use serde_json::Value;

use crate::audit::{Event, EventKind};
use crate::store::{EventFilter, Order, Span, Store};

/// Prints a line for each revision, apart by tabs: number, time, who, what.
pub(super) async fn run(store: &Store, limit: u32) -> Result<()> {
    let filter = EventFilter { kind: Some(EventKind::PolicyReplaced), ..EventFilter::default() };
    for event in store.events(&filter, Span::all(Order::NewestFirst, limit)).await? {
        println!("{}", line(&event));
    }
    Ok(())
}

fn line(event: &Event) -> String {
    let detail = &event.detail;
    let number = |name: &str| detail.get(name).and_then(Value::as_i64);
    let revision = number("revision").unwrap_or_default();
    let restored = number("restores").map(|old| format!("as revision {old}"));
    let parts = [("added", "/name"), ("changed", "/new/name"), ("removed", "/name")].into_iter();
    let parts = parts.filter_map(|(what, name)| {
        let rows = detail.get(what).and_then(Value::as_array)?;
        let names: Vec<&str> = rows.iter().filter_map(|row| row.pointer(name)?.as_str()).collect();
        (!names.is_empty()).then(|| format!("{what} {}", names.join(", ")))
    });
    let what: Vec<String> = parts.chain(restored).collect();
    format!("{revision}\t{}\t{}\t{}", event.at, event.origin.caller, what.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{Origin, RequestId};
    use crate::time::Time;
    use serde_json::json;

    #[test]
    fn a_line_says_when_by_whom_and_what() {
        let origin = Origin {
            caller: "cli:root".to_owned(),
            caller_groups: Vec::new(),
            request_id: RequestId([0; 16]),
            client_request_id: None,
            address: None,
        };
        let detail = json!({
            "revision": 7, "added": [{"name": "a"}, {"name": "b"}], "changed": [{"old": {"name": "c"}, "new": {"name": "c"}}],
            "removed": [], "restores": 3,
        });
        let at = Time::from_unix(1_780_304_400);
        let event = Event { number: 9, at, kind: EventKind::PolicyReplaced, origin, detail };
        assert_eq!(line(&event), "7\t2026-06-01T09:00:00Z\tcli:root\tadded a, b; changed c; as revision 3");
    }
}
