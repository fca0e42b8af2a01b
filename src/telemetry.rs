//! Logging to stderr: one event is one line, of JSON or of text.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::panic;

use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt};

/// How an event is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One JSON object a line, for machines.
    #[default]
    Json,
    /// For people. Control characters are escaped, so that a line is one event here too.
    Text,
}

/// How many lines wait for whoever reads standard error. Those that come when so many wait are lost:
/// a reader that hangs, or a full disk behind it, must not keep anybody from an answer.
const WAITING_LINES: usize = 8_192;

/// Writes what waits when it is dropped, for a second at most.
#[derive(Debug)]
#[must_use = "what waits is lost when this is dropped early"]
pub struct Logging {
    _writer: WorkerGuard,
}

/// Why logging does not start.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// Not a list of levels.
    #[error(
        "`{}` is no log level: write off, error, warn, info, debug or trace, or a list as in info,sqlx=warn",
        .0.escape_debug()
    )]
    Level(String),
    /// Called twice.
    #[error("logging was started before: start it once for each process")]
    Started,
}

/// Starts logging for the whole process, until the answer is dropped. `levels` is a level, or a list of `target=level` with
/// one, as in `info,sqlx=warn`. From here on a panic is one event too.
///
/// # Errors
/// `levels` cannot be read, or logging was started before.
pub fn init(format: LogFormat, levels: &str) -> Result<Logging, TelemetryError> {
    let levels = parse_levels(levels)?;
    let (writer, guard) = on_own_thread(io::stderr());
    let lines = layer(format, move || OneLine(writer.clone()));
    tracing_subscriber::registry()
        .with(lines.with_filter(levels))
        .try_init()
        .map_err(|_| TelemetryError::Started)?;
    panic::set_hook(Box::new(|panicked| {
        // Not the message: it may quote what a client sent.
        let place = panicked.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(panic.location = place, "panicked");
    }));
    Ok(Logging { _writer: guard })
}

fn on_own_thread(to: impl Write + Send + 'static) -> (NonBlocking, WorkerGuard) {
    NonBlockingBuilder::default()
        .buffered_lines_limit(WAITING_LINES)
        .lossy(true)
        .thread_name("log")
        .finish(to)
}

fn layer<W>(format: LogFormat, writer: W) -> Box<dyn Layer<Registry> + Send + Sync>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let layer = fmt::layer().with_ansi(false).with_writer(writer);
    match format {
        LogFormat::Json => layer.json().flatten_event(true).with_span_list(false).boxed(),
        LogFormat::Text => layer.boxed(),
    }
}

/// Whether [`init`] takes `levels`.
///
/// # Errors
/// `levels` cannot be read.
pub fn check(levels: &str) -> Result<(), TelemetryError> {
    parse_levels(levels).map(|_| ())
}

/// The library takes a word that it does not know for the name of a module, and then says nothing
/// of all others.
fn parse_levels(text: &str) -> Result<Targets, TelemetryError> {
    let wrong = || TelemetryError::Level(text.to_owned());
    for part in text.split(',') {
        let level = part.rsplit_once('=').map_or(part, |(_, level)| level);
        let known = !level.is_empty() && level.bytes().all(|b| b.is_ascii_alphabetic());
        if !known || level.parse::<LevelFilter>().is_err() {
            return Err(wrong());
        }
    }
    text.parse().map_err(|_| wrong())
}

/// Takes one whole event with each write, and writes it in one piece.
struct OneLine<W>(W);

impl<W: Write> Write for OneLine<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let line = text.strip_suffix('\n').unwrap_or(&text);
        let mut line = escaped(line).into_owned();
        line.push('\n');
        self.0.write_all(line.as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Everything that a terminal or a log reader could take for the end of a line, or for a command,
/// as `\u001b`: which is right in JSON as well. So are the characters that turn text around.
fn escaped(line: &str) -> Cow<'_, str> {
    if !line.contains(is_unsafe) {
        return Cow::Borrowed(line);
    }
    let mut safe = String::with_capacity(line.len().saturating_add(16));
    for c in line.chars() {
        match c {
            '\n' => safe.push_str("\\n"),
            // Writing into a String does not fail.
            c if is_unsafe(c) => drop(write!(safe, "\\u{:04x}", u32::from(c))),
            c => safe.push(c),
        }
    }
    Cow::Owned(safe)
}

/// Control characters, line and paragraph separators, and the marks of Unicode's bidirectional
/// algorithm (UAX 9).
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{61c}')
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What two events write, the first of which holds `hostile` in its message and in a field.
    fn written(format: LogFormat, levels: &str, hostile: &str) -> String {
        let buffer = Buffer::default();
        let filter = parse_levels(levels).unwrap();
        let target = buffer.clone();
        let lines = layer(format, move || OneLine(target.clone()));
        let subscriber = tracing_subscriber::registry().with(lines.with_filter(filter));
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(caller.name = hostile, shown = %hostile, "said {hostile}");
            tracing::debug!("second");
        });
        let bytes = buffer.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    const HOSTILE: &str = "a\nb\r\u{85}c\u{2028}\u{2029}d\u{1b}[31m\u{7f}\u{0}\u{202e}e\"\\";

    #[test]
    fn a_json_event_is_one_line_and_keeps_what_was_said() {
        let text = written(LogFormat::Json, "info", HOSTILE);
        assert_eq!(text.matches('\n').count(), 1, "{text}");
        assert!(!text.trim_end_matches('\n').contains(is_unsafe), "{text:?}");
        let event: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(event["caller.name"], HOSTILE);
        assert_eq!(event["level"], "INFO");
    }

    /// Takes nothing until it is let go.
    struct Stuck(std::sync::mpsc::Receiver<()>);

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_hangs_holds_nobody_up() {
        let (let_go, stuck) = std::sync::mpsc::channel();
        let (writer, guard) = on_own_thread(Stuck(stuck));
        let lost = writer.error_counter();
        let lines = layer(LogFormat::Json, move || OneLine(writer.clone()));
        let subscriber = tracing_subscriber::registry().with(lines);
        tracing::subscriber::with_default(subscriber, || {
            for number in 0..2 * WAITING_LINES {
                tracing::info!(number, "said");
            }
        });
        assert!(lost.dropped_lines() >= WAITING_LINES / 2, "{}", lost.dropped_lines());
        drop(let_go);
        drop(guard);
    }

    #[test]
    fn a_text_event_is_one_line() {
        let text = written(LogFormat::Text, "info", HOSTILE);
        assert_eq!(text.matches('\n').count(), 1, "{text}");
        assert!(!text.trim_end_matches('\n').contains(is_unsafe), "{text:?}");
        assert!(text.contains(" INFO ") && text.contains("said a\\nb"), "{text}");
    }

    #[test]
    fn the_levels_are_those_that_were_set() {
        assert_eq!(written(LogFormat::Text, "debug", "x").lines().count(), 2);
        assert_eq!(written(LogFormat::Text, "warn", "x"), "");
        assert_eq!(written(LogFormat::Text, "warn,countersign=debug", "x").lines().count(), 2);
        assert_eq!(written(LogFormat::Text, "off", "x"), "");
    }

    #[test]
    fn a_level_that_is_none_is_an_error() {
        for text in ["", "inof", "info,", "sqlx", "sqlx=", "sqlx=loud", "9", "info debug"] {
            let error = parse_levels(text).unwrap_err().to_string();
            assert!(error.contains("is no log level"), "{text}: {error}");
        }
    }
}
