//! Who read what of others: noted in memory, written once a minute.
//!
//! A read never waits for the ledger's writer and is never refused because of its note. What one
//! auditor reads at one path within a minute is one event. Where more is noted than is kept, or
//! the ledger does not take it, the reads are counted as not audited.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};

use crate::audit::{EventKind, Origin};
use crate::metrics::Metrics;
use crate::time::Time;

/// How many pairs of an auditor and a path are kept.
const MOST: usize = 512;
/// How many different questions are kept of each.
const MOST_QUESTIONS: usize = 20;
/// The longest question that is kept, in characters.
const LONGEST_QUESTION: usize = 500;

/// What was read since it was last written.
#[derive(Debug, Default)]
pub struct Reads(Mutex<BTreeMap<(String, &'static str), Note>>);

#[derive(Debug)]
struct Note {
    /// Of the first read.
    origin: Origin,
    since: Time,
    count: u64,
    questions: Vec<String>,
    more_questions: bool,
}

impl Reads {
    /// One read at `path` with the query `question`.
    pub fn note(&self, origin: &Origin, path: &'static str, question: &str, now: Time, metrics: &Metrics) {
        let mut notes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (origin.caller.clone(), path);
        if notes.len() >= MOST && !notes.contains_key(&key) {
            metrics.reads_not_audited(1);
            return;
        }
        let fresh = || Note {
            origin: origin.clone(),
            since: now,
            count: 0,
            questions: Vec::new(),
            more_questions: false,
        };
        notes.entry(key).or_insert_with(fresh).add(question);
    }

    /// Everything that was noted, as events; it is noted no more. Each with the number of its reads.
    pub(super) fn take(&self) -> Vec<(Origin, Value, u64)> {
        let notes = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        notes.into_iter().map(|((_, path), note)| note.event(path)).collect()
    }
}

impl Note {
    fn add(&mut self, question: &str) {
        self.count = self.count.saturating_add(1);
        let question: String = question.chars().take(LONGEST_QUESTION).collect();
        if self.questions.contains(&question) {
            return;
        }
        self.more_questions |= self.questions.len() >= MOST_QUESTIONS;
        if self.questions.len() < MOST_QUESTIONS {
            self.questions.push(question);
        }
    }

    fn event(self, path: &str) -> (Origin, Value, u64) {
        let detail = json!({
            "path": path,
            "reads": self.count,
            "since": self.since,
            "questions": self.questions,
            "more_questions": self.more_questions,
        });
        (self.origin, detail, self.count)
    }
}

impl super::App {
    /// Notes that this caller read at `path`, if it may see records of others.
    pub fn note_read(
        &self,
        principal: &crate::auth::Principal,
        origin: &Origin,
        path: &'static str,
        question: &str,
    ) {
        if principal.roles.auditor {
            self.reads.note(origin, path, question, self.clock.now(), &self.metrics);
        }
    }

    /// Writes everything that is only noted meanwhile. To be called once a minute, and at the end.
    pub async fn write_notes(&self) {
        self.write_reads().await;
        self.write_failures().await;
        self.write_token_uses().await;
        self.write_logins().await;
    }

    /// Writes who read what.
    pub async fn write_reads(&self) {
        let noted = self.reads.take();
        let count = noted.iter().map(|(_, _, count)| count).sum();
        let reads: Vec<_> = noted.into_iter().map(|(origin, detail, _)| (origin, detail)).collect();
        if reads.is_empty() {
            return;
        }
        if let Err(error) = self.store.record_notes(EventKind::LedgerRead, reads, self.clock.now()).await {
            self.metrics.reads_not_audited(count);
            tracing::error!(%error, reads = count, "reads of the ledger could not be audited");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::RequestId;

    fn origin(caller: &str) -> Origin {
        Origin {
            caller: caller.to_owned(),
            caller_groups: Vec::new(),
            request_id: RequestId([7; 16]),
            client_request_id: None,
            address: None,
        }
    }

    #[test]
    fn reads_of_one_auditor_at_one_path_are_one_event() {
        let (reads, metrics) = (Reads::default(), Metrics::default());
        for number in 0..30 {
            let question = format!("user=u{}", number % 25);
            reads.note(&origin("token:a"), "/v1/certificates", &question, Time::from_unix(number), &metrics);
        }
        reads.note(&origin("token:a"), "/v1/audit", "", Time::from_unix(99), &metrics);
        let taken = reads.take();
        assert_eq!(taken.len(), 2);
        let (_, detail, count) = &taken[1];
        assert_eq!(
            (*count, &detail["reads"], &detail["since"]),
            (30, &30.into(), &"1970-01-01T00:00:00Z".into())
        );
        assert_eq!(detail["questions"].as_array().unwrap().len(), MOST_QUESTIONS);
        assert_eq!(detail["more_questions"], true);
        assert!(reads.take().is_empty());
    }

    #[test]
    fn what_does_not_fit_is_counted_as_not_audited() {
        let (reads, metrics) = (Reads::default(), Metrics::default());
        for number in 0..MOST + 5 {
            reads.note(&origin(&format!("token:{number}")), "/v1/audit", "", Time::from_unix(0), &metrics);
        }
        assert_eq!(reads.take().len(), MOST);
        assert!(
            metrics.render().contains("countersign_ledger_reads_not_audited_total 5"),
            "{}",
            metrics.render()
        );
    }
}
