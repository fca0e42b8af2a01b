//! Rows of the ledger as they go out: JSON objects, one a line, or CSV.
//!
//! A whole answer shows that it is whole. NDJSON ends with `{"end":true,"count":N}`. CSV ends with
//! a record as wide as every other one, whose first cells are `end` and the count; the first cell
//! of every other record but the header is a number. Over HTTP a broken answer also lacks the last
//! chunk, which curl reports as an error.

mod rows;

use serde::Serialize;
use serde_json::Value;

use crate::audit::Event;
use crate::replay::Drift;
use crate::store::{
    CertificateFilter, EventFilter, Recorded, Refusal, RefusalFilter, Span, Store, StoreError,
};
use crate::time::Time;

pub use rows::{CertificateRow, EventRow, RefusalRow, credential_id, status};

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// RFC 4180, with a header.
    Csv,
    /// One JSON object on each line.
    Ndjson,
}

/// Which rows.
#[derive(Clone, Debug)]
pub enum Wanted {
    /// Certificates, with the status that they have at a moment.
    Certificates(CertificateFilter, Time),
    /// Live certificates that today's policy set would no longer give, at a moment.
    Drifted(CertificateFilter, Time, Drift),
    /// Refusals; which rows decided is shown where the second says so.
    Refusals(RefusalFilter, bool),
    /// Events.
    Events(EventFilter),
}

impl Wanted {
    /// The columns of CSV.
    #[must_use]
    pub const fn columns(&self) -> &'static [&'static str] {
        match self {
            Self::Certificates(..) | Self::Drifted(..) => rows::CERTIFICATE_COLUMNS,
            Self::Refusals(..) => rows::REFUSAL_COLUMNS,
            Self::Events(_) => rows::EVENT_COLUMNS,
        }
    }

    /// One page.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`.
    pub async fn page(&self, store: &Store, span: Span) -> Result<Vec<Row>, StoreError> {
        Ok(match self {
            Self::Certificates(filter, _) => {
                store.certificates(filter, span).await?.into_iter().map(Row::Certificate).collect()
            }
            Self::Drifted(filter, _, drift) => {
                drift.page(store, filter, span).await?.into_iter().map(Row::Certificate).collect()
            }
            Self::Refusals(filter, _) => {
                store.refusals(filter, span).await?.into_iter().map(Row::Refusal).collect()
            }
            Self::Events(filter) => store.events(filter, span).await?.into_iter().map(Row::Event).collect(),
        })
    }

    /// The moment of each status, where rows have one.
    #[must_use]
    pub const fn as_of(&self) -> Option<Time> {
        match self {
            Self::Certificates(_, now) | Self::Drifted(_, now, _) => Some(*now),
            Self::Refusals(..) | Self::Events(_) => None,
        }
    }

    /// What goes out of a row of [`Wanted::page`].
    #[must_use]
    pub fn view<'r>(&self, row: &'r Row) -> View<'r> {
        match row {
            Row::Certificate(row) => {
                View::Certificate(CertificateRow::of(row, self.as_of().unwrap_or(row.issued_at)))
            }
            Row::Refusal(row) => View::Refusal(RefusalRow::of(row, matches!(self, Self::Refusals(_, true)))),
            Row::Event(row) => View::Event(EventRow::of(row)),
        }
    }
}

/// A row of any kind.
#[derive(Clone, Debug)]
pub enum Row {
    /// Of [`Wanted::Certificates`].
    Certificate(Recorded),
    /// Of [`Wanted::Refusals`].
    Refusal(Refusal),
    /// Of [`Wanted::Events`].
    Event(Event),
}

impl Row {
    /// Its place in commit order.
    #[must_use]
    pub fn number(&self) -> i64 {
        match self {
            Self::Certificate(row) => row.number,
            Self::Refusal(row) => row.number,
            Self::Event(row) => row.number,
        }
    }
}

/// A row as it goes out.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum View<'r> {
    /// Of a certificate.
    Certificate(CertificateRow<'r>),
    /// Of a refusal.
    Refusal(RefusalRow<'r>),
    /// Of an event.
    Event(EventRow<'r>),
}

impl View<'_> {
    /// What of it depends on the moment, or on who reads.
    #[must_use]
    pub const fn variant(&self) -> &'static str {
        match self {
            Self::Certificate(row) => row.status(),
            Self::Refusal(row) if row.shows_rows() => "rows",
            Self::Refusal(_) | Self::Event(_) => "",
        }
    }
}

/// Writes rows, and says at the end how many they were.
#[derive(Debug)]
pub struct Lines {
    form: Form,
    columns: &'static [&'static str],
    count: u64,
}

impl Lines {
    /// For rows with these columns.
    #[must_use]
    pub const fn new(form: Form, columns: &'static [&'static str]) -> Self {
        Self { form, columns, count: 0 }
    }

    /// How they are written.
    #[must_use]
    pub const fn form(&self) -> Form {
        self.form
    }

    /// How many rows were written.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// What stands before the rows.
    pub fn begin(&self, out: &mut Vec<u8>) {
        if self.form == Form::Csv {
            record(out, self.columns.iter().map(|column| (*column).to_owned()));
        }
    }

    /// One row.
    pub fn row(&mut self, row: &impl Serialize, out: &mut Vec<u8>) {
        self.count = self.count.saturating_add(1);
        match self.form {
            Form::Csv => {
                // What is made of texts, numbers and lists of texts is always JSON.
                let row = serde_json::to_value(row).unwrap_or_default();
                let cell = |column: &&str| row.get(column).map_or_else(String::new, cell);
                record(out, self.columns.iter().map(cell));
            }
            Form::Ndjson => {
                let _ = serde_json::to_writer(&mut *out, row);
                out.push(b'\n');
            }
        }
    }

    /// Counts a row that was written otherwise.
    pub const fn count_one(&mut self) {
        self.count = self.count.saturating_add(1);
    }

    /// What shows that nothing is missing.
    pub fn end(&self, out: &mut Vec<u8>) {
        match self.form {
            Form::Csv => {
                let first = ["end".to_owned(), self.count.to_string()];
                let rest = self.columns.len().saturating_sub(first.len());
                record(out, first.into_iter().chain(std::iter::repeat_n(String::new(), rest)));
            }
            Form::Ndjson => {
                out.extend(format!("{{\"end\":true,\"count\":{}}}\n", self.count).into_bytes());
            }
        }
    }
}

/// Begin what a spreadsheet runs; the wide ones do in some languages of Excel.
const RUN: [char; 11] = ['=', '+', '-', '@', '＝', '＋', '－', '＠', '\t', '\r', '\n'];

/// Lists are one JSON array. A text that a spreadsheet would run, or that begins with an
/// apostrophe, gets an apostrophe before it; who takes one away from each such cell has the text.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) if text.starts_with(RUN) || text.starts_with('\'') => format!("'{text}"),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn record(out: &mut Vec<u8>, cells: impl Iterator<Item = String>) {
    let mut writer =
        csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).buffer_capacity(1_024).from_writer(out);
    // Writing into memory does not fail.
    let _ = writer.write_record(cells);
    let _ = writer.flush();
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const COLUMNS: &[&str] = &["number", "user", "groups"];

    fn written(form: Form, rows: &[Value]) -> String {
        let (mut lines, mut out) = (Lines::new(form, COLUMNS), Vec::new());
        lines.begin(&mut out);
        for row in rows {
            lines.row(row, &mut out);
        }
        lines.end(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn ndjson_ends_with_the_count() {
        let rows = [json!({"number": 1, "user": "a\u{2028}b"}), json!({"number": 2, "user": null})];
        assert_eq!(
            written(Form::Ndjson, &rows),
            "{\"number\":1,\"user\":\"a\u{2028}b\"}\n{\"number\":2,\"user\":null}\n{\"end\":true,\"count\":2}\n"
        );
    }

    #[test]
    fn csv_ends_with_a_record_as_wide_as_the_others() {
        let rows = [json!({"number": 1, "user": "a,\"b\"", "groups": ["dev", "x,y"]})];
        assert_eq!(
            written(Form::Csv, &rows),
            "number,user,groups\r\n1,\"a,\"\"b\"\"\",\"[\"\"dev\"\",\"\"x,y\"\"]\"\r\nend,1,\r\n"
        );
        assert_eq!(written(Form::Csv, &[]), "number,user,groups\r\nend,0,\r\n");
    }

    #[test]
    fn no_cell_is_a_formula() {
        for text in
            ["=1+1", "+1", "-1", "@SUM(A1)", "'quoted", "\tx", "\rx", "\nx", "＝1", "＋1", "－1", "＠A"]
        {
            assert_eq!(cell(&json!(text)), format!("'{text}"));
        }
        for text in ["a=1", " =1", "[\"=1\"]", ""] {
            assert_eq!(cell(&json!(text)), text);
        }
        assert_eq!(cell(&json!(["=1"])), "[\"=1\"]");
        assert_eq!(cell(&json!(-5)), "-5");
    }
}
