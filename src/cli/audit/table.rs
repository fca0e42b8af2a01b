//! A table for people: as wide as the terminal, in colour only on one, with no character that moves
//! its cursor.

use std::io::IsTerminal as _;

use console::{Style, measure_text_width, truncate_str};
use serde_json::Value;
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory as _};

use super::source::What;

/// Between two columns.
const GAP: &str = "  ";
/// Narrower than this no column is made.
const NARROWEST: usize = 8;

/// A column: its title and the member that it shows.
type Column = (&'static str, &'static str);

/// Rows that wait to be drawn.
#[derive(Debug)]
pub(in crate::cli) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
    drawn: bool,
    look: Look,
}

/// What the terminal takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    /// None: no terminal, nothing is shortened.
    width: Option<usize>,
    colour: bool,
}

impl Look {
    /// Of standard output; `COLUMNS` says how wide, where it is set.
    pub(super) fn of_stdout() -> Self {
        let terminal = std::io::stdout().is_terminal();
        let set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let asked = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self {
            width: asked.or_else(|| terminal.then(|| usize::from(console::Term::stdout().size().1))),
            colour: terminal && !dumb && !set("NO_COLOR"),
        }
    }
}

impl Table {
    pub(super) fn of(what: What) -> Self {
        let columns: &[Column] = match what {
            What::Certificates => &[
                ("ISSUED", "issued_at"),
                ("USER", "user"),
                ("GROUPS", "groups"),
                ("CLUSTER", "cluster"),
                ("STATUS", "status"),
                ("EXPIRES", "not_after"),
                ("REQUESTED BY", "requested_by"),
                ("SERIAL", "serial"),
            ],
            What::Refusals => &[
                ("AT", "at"),
                ("USER", "user"),
                ("GROUPS", "groups"),
                ("CLUSTER", "cluster"),
                ("REQUESTED BY", "requested_by"),
                ("CODE", "code"),
                ("DETAIL", "detail"),
            ],
            What::Events => &[
                ("NUMBER", "number"),
                ("AT", "at"),
                ("KIND", "kind"),
                ("CALLER", "caller"),
                ("ADDRESS", "address"),
                ("DETAIL", "detail"),
            ],
        };
        Self::with(columns)
    }

    pub(in crate::cli) fn with(columns: &[Column]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new(), drawn: false, look: Look::of_stdout() }
    }

    pub(super) fn rows(&self) -> usize {
        self.rows.len()
    }

    pub(in crate::cli) fn add(&mut self, row: &Value) {
        let cell = |(_, member): &Column| row.get(member).map_or_else(String::new, cell);
        let cells = self.columns.iter().map(cell).collect();
        self.rows.push(cells);
    }

    /// The gathered rows as text, with the titles before the first.
    pub(in crate::cli) fn draw(&mut self) -> String {
        let rows = std::mem::take(&mut self.rows);
        if rows.is_empty() && self.drawn {
            return String::new();
        }
        let titles: Vec<String> = self.columns.iter().map(|(title, _)| (*title).to_owned()).collect();
        let widths = self.widths(&titles, &rows);
        let mut text = String::new();
        if !std::mem::replace(&mut self.drawn, true) {
            let line = line(&titles, &widths);
            text.push_str(&self.styled(&line, &Style::new().bold()));
            text.push('\n');
        }
        for row in &rows {
            let style = match row.iter().find(|cell| *cell == "active" || *cell == "expired") {
                Some(status) if status == "expired" => Style::new().dim(),
                _ => Style::new(),
            };
            text.push_str(&self.styled(&line(row, &widths), &style));
            text.push('\n');
        }
        text
    }

    fn styled(&self, line: &str, style: &Style) -> String {
        if self.look.colour {
            style.clone().force_styling(true).apply_to(line).to_string()
        } else {
            line.to_owned()
        }
    }

    /// As wide as the widest cell; the widest columns give way until the line fits.
    fn widths(&self, titles: &[String], rows: &[Vec<String>]) -> Vec<usize> {
        let of = |place: usize| {
            let cells = rows
                .iter()
                .chain(std::iter::once(&titles.to_vec()))
                .filter_map(|row| row.get(place))
                .map(|cell| measure_text_width(cell))
                .max();
            cells.unwrap_or(0)
        };
        let mut widths: Vec<usize> = (0..titles.len()).map(of).collect();
        let Some(room) = self.look.width else { return widths };
        let gaps = GAP.len().saturating_mul(widths.len().saturating_sub(1));
        while widths.iter().sum::<usize>().saturating_add(gaps) > room {
            match widths.iter_mut().max() {
                Some(widest) if *widest > NARROWEST => *widest = widest.saturating_sub(1),
                _ => break,
            }
        }
        widths
    }
}

fn line(cells: &[String], widths: &[usize]) -> String {
    let padded = |(cell, width): (&String, &usize)| {
        let cell = truncate_str(cell, *width, "…");
        let room = width.saturating_sub(measure_text_width(&cell));
        format!("{cell}{}", " ".repeat(room))
    };
    let cells: Vec<String> = cells.iter().zip(widths).map(padded).collect();
    cells.join(GAP).trim_end().to_owned()
}

/// A list of texts is written with commas; what could move the cursor is escaped.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => plain(text),
        Value::Array(items) if items.iter().all(Value::is_string) => {
            items.iter().filter_map(Value::as_str).map(plain).collect::<Vec<_>>().join(",")
        }
        other => plain(&other.to_string()),
    }
}

/// The text without characters that a terminal acts on.
pub(super) fn plain(text: &str) -> String {
    let acts = |character: char| {
        character.is_control()
            || matches!(
                character.general_category(),
                GeneralCategory::Format
                    | GeneralCategory::LineSeparator
                    | GeneralCategory::ParagraphSeparator
                    | GeneralCategory::PrivateUse
            )
    };
    let escaped = |character: char| {
        if acts(character) { character.escape_unicode().to_string() } else { character.to_string() }
    };
    text.chars().map(escaped).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn table(look: Look) -> String {
        let mut table =
            Table { look, ..Table::with(&[("USER", "user"), ("GROUPS", "groups"), ("STATUS", "status")]) };
        table.add(
            &json!({"user": "alice", "groups": ["dev", "a-very-long-name-of-a-group"], "status": "active"}),
        );
        table.add(&json!({"user": "\u{1b}[31mbob", "groups": [], "status": "expired"}));
        table.draw()
    }

    #[test]
    fn columns_stand_below_each_other() {
        let text = table(Look { width: None, colour: false });
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0].find("GROUPS"), lines[1].find("dev"));
        assert_eq!(lines[1].find("active"), lines[2].find("expired"));
        assert!(text.contains("a-very-long-name-of-a-group") && !text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        for width in [32, 40, 60] {
            let text = table(Look { width: Some(width), colour: false });
            assert!(text.lines().all(|line| measure_text_width(line) <= width), "{width}: {text}");
            assert!(text.contains('…') || width > 50, "{text}");
        }
    }

    #[test]
    fn colour_is_only_there_where_it_is_taken() {
        assert!(table(Look { width: Some(80), colour: true }).contains("\u{1b}[1m"));
        assert!(!table(Look { width: Some(80), colour: false }).contains('\u{1b}'));
    }
}
