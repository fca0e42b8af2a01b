//! The check that trusts nothing: the CA files, what the configuration names of callers, the database, and every record against the
//! certificate that is stored with it. Works beside a running server, on everything that was
//! recorded when it began, in bounded memory.

mod authorities;
mod certificates;
mod clusters;
mod events;
mod ledger;
mod lists;
mod refusals;
mod requests;
mod tls;
mod ways;

use serde::Serialize;

pub use clusters::clusters;
pub use ledger::ledger;
pub use tls::tls;
pub use ways::ways;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Not as it must be.
    Wrong,
    /// Sound, but to be looked at.
    Warning,
    /// Worth knowing.
    Note,
}

impl Severity {
    /// The word that a line begins with.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Wrong => "wrong",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub severity: Severity,
    /// A certificate's serial, `cluster prod`, `event 12`...
    pub about: String,
    /// One line.
    pub text: String,
}

/// What whoever runs the check is told as it goes.
#[derive(Debug)]
pub enum Step<'s> {
    /// A part begins; it has about so many numbers to go through, or one thing that takes a while.
    Part(&'static str, Option<u64>),
    /// So many numbers of the part are done.
    Reached(u64),
    /// Something was found.
    Found(&'s Finding),
}

/// What was looked at and what was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    pub certificates: u64,
    pub refusals: u64,
    pub events: u64,
    pub wrong: u64,
    pub warnings: u64,
}

/// Tells findings as they come, and counts them.
pub struct Report<'r> {
    tell: &'r mut dyn FnMut(Step<'_>),
    pub summary: Summary,
}

impl<'r> Report<'r> {
    pub fn new(tell: &'r mut dyn FnMut(Step<'_>)) -> Self {
        Self { tell, summary: Summary::default() }
    }

    /// Something is not as it must be.
    pub fn wrong(&mut self, about: impl Into<String>, text: impl Into<String>) {
        self.found(Severity::Wrong, about.into(), text.into());
    }

    fn warning(&mut self, about: impl Into<String>, text: impl Into<String>) {
        self.found(Severity::Warning, about.into(), text.into());
    }

    fn note(&mut self, about: impl Into<String>, text: impl Into<String>) {
        self.found(Severity::Note, about.into(), text.into());
    }

    fn found(&mut self, severity: Severity, about: String, text: String) {
        let count = match severity {
            Severity::Wrong => Some(&mut self.summary.wrong),
            Severity::Warning => Some(&mut self.summary.warnings),
            Severity::Note => None,
        };
        if let Some(count) = count {
            *count = count.saturating_add(1);
        }
        (self.tell)(Step::Found(&Finding { severity, about, text }));
    }

    fn part(&mut self, name: &'static str, numbers: Option<i64>) {
        let numbers = numbers.map(|numbers| u64::try_from(numbers).unwrap_or(0));
        (self.tell)(Step::Part(name, numbers));
    }

    fn reached(&mut self, number: i64) {
        (self.tell)(Step::Reached(u64::try_from(number).unwrap_or(0)));
    }
}
