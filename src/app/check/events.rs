//! The audit log: no number is missing, and every record that it tells of is there, unless it was
//! pruned.

use crate::audit::EventKind;
use crate::store::inspection::StoredEvent;
use crate::store::{Store, StoreError};
use crate::time::Time;

use super::Report;

const PAGE: u32 = 2_048;

/// What is known only once all events were seen.
#[derive(Default)]
pub(super) struct Told {
    /// Numbers of events whose record is not there.
    pub without_record: Vec<(i64, &'static str)>,
    /// The latest time of a record, as `state` should have it.
    pub newest_at: Option<Time>,
    /// Whether every event was there and was read. If not, `newest_at` may be another.
    pub is_whole: bool,
}

/// Walks through the audit log up to `until`.
pub(super) async fn check(store: &Store, until: i64, report: &mut Report<'_>) -> Result<Told, StoreError> {
    let mut walk = Walk { next: 1, is_whole: true, newest_at: None, without_record: Vec::new() };
    let mut after = i64::MIN;
    loop {
        let page = store.inspect_events(after, until, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = last.number;
        for one in &page {
            report.summary.events = report.summary.events.saturating_add(1);
            walk.gap(one.number, report);
            match &one.row {
                Ok(event) => walk.event(one.number, event, report),
                Err(error) => {
                    walk.is_whole = false;
                    report.wrong(format!("event {}", one.number), error.to_string());
                }
            }
        }
        report.reached(after);
    }
    walk.gap(until.saturating_add(1), report);
    let Walk { without_record, newest_at, is_whole, .. } = walk;
    Ok(Told { without_record, newest_at, is_whole })
}

/// Says of `told` what no pruning explains. Pruning may have gone on while the check ran, so
/// `pruned` is read at the end.
pub(super) fn check_missing(told: &Told, pruned: &[(i64, i64)], report: &mut Report<'_>) {
    let runs = merged(pruned);
    let mut run = runs.iter().copied().peekable();
    for (number, record) in &told.without_record {
        while run.next_if(|(_, last)| last < number).is_some() {}
        if run.peek().is_none_or(|(first, _)| first > number) {
            let text = format!("the {record} of this event is not there, and was not pruned");
            report.wrong(format!("event {number}"), text);
        }
    }
}

/// Runs that overlap or touch become one.
fn merged(runs: &[(i64, i64)]) -> Vec<(i64, i64)> {
    let mut merged: Vec<(i64, i64)> = Vec::new();
    for (first, last) in runs {
        match merged.last_mut() {
            Some((_, end)) if *first <= end.saturating_add(1) => *end = (*end).max(*last),
            _ => merged.push((*first, *last)),
        }
    }
    merged
}

struct Walk {
    /// The number that the next event has to have.
    next: i64,
    is_whole: bool,
    newest_at: Option<Time>,
    without_record: Vec<(i64, &'static str)>,
}

impl Walk {
    /// Each number is given to one event, in the transaction that writes it; events are never
    /// pruned. So a number without one was deleted.
    fn gap(&mut self, number: i64, report: &mut Report<'_>) {
        let last = number.saturating_sub(1);
        if last >= self.next {
            self.is_whole = false;
            let about = if last == self.next {
                format!("event {last}")
            } else {
                format!("events {} to {last}", self.next)
            };
            report.wrong(about, "not in the audit log");
        }
        self.next = number.saturating_add(1);
    }

    fn event(&mut self, number: i64, event: &StoredEvent, report: &mut Report<'_>) {
        let (certificate, refusal) = match event.kind {
            EventKind::CertificateIssued => (true, false),
            EventKind::RequestRefused => (false, true),
            _ => (false, false),
        };
        if certificate || refusal {
            self.newest_at = self.newest_at.max(Some(event.at));
        }
        if event.kind == EventKind::ClockAccepted {
            self.newest_at = Some(event.at);
        }
        for (expected, found, record) in
            [(certificate, event.has_certificate, "certificate"), (refusal, event.has_refusal, "refusal")]
        {
            if expected && !found {
                self.without_record.push((number, record));
            } else if found && !expected {
                let kind = event.kind.as_str();
                report.wrong(format!("event {number}"), format!("it is a {kind}, and there is a {record}"));
            }
        }
        if event.kind == EventKind::PolicyReplaced && event.policy_revision.is_none() {
            report.wrong(format!("event {number}"), "no policy revision belongs to it");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_that_is_not_there_was_pruned_or_deleted() {
        let told = Told {
            without_record: [1, 2, 5, 6, 9].map(|number| (number, "certificate")).to_vec(),
            ..Told::default()
        };
        let mut lines = Vec::new();
        let mut tell = |step: super::super::Step<'_>| {
            if let super::super::Step::Found(finding) = step {
                lines.push(finding.about.clone());
            }
        };
        let mut report = Report::new(&mut tell);
        check_missing(&told, &[(1, 1), (1, 3), (4, 5), (9, 20)], &mut report);
        assert_eq!(report.summary.wrong, 1);
        assert_eq!(lines, ["event 6"]);
        assert_eq!(merged(&[(1, 1), (1, 3), (4, 5), (9, 20)]), [(1, 5), (9, 20)]);
    }
}
