//! Reads a policy set as people write it: YAML, or JSON where it begins with `{`.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_saphyr::{DuplicateKeyPolicy, Options};

use super::PolicyRow;

/// One mapping: `policies` with the rows. What `GET /v1/policies` answers can be sent back as it is,
/// an old revision too, so `revision` is read and means nothing: `If-Match` says what is replaced.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyFile {
    /// Of which revision the file was read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<i64>,
    /// The rows.
    pub policies: Vec<PolicyRow>,
}

impl PolicyFile {
    /// Reads a file. Unknown and repeated keys are errors.
    ///
    /// # Errors
    /// A sentence with the line and the reason.
    pub fn read(body: &[u8]) -> Result<Self, String> {
        read(body)
    }
}

impl PolicyRow {
    /// Reads one row, as it stands in the list of a file.
    ///
    /// # Errors
    /// A sentence with the line and the reason.
    pub fn read(body: &[u8]) -> Result<Self, String> {
        read(body)
    }
}

/// YAML, or JSON where it begins with `{`. Unknown and repeated keys are errors where `T` says so.
///
/// # Errors
/// A sentence with the line and the reason.
pub fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    if let Some(json) = as_json(body) {
        return serde_json::from_slice(json).map_err(|error| format!("the JSON cannot be read: {error}"));
    }
    let text = str::from_utf8(body).map_err(|_| "the policies are not UTF-8".to_owned())?;
    serde_saphyr::from_str_with_options(text, options())
        .map_err(|error| format!("the YAML cannot be read: {}", in_our_words(&one_line(&error.to_string()))))
}

/// The text from its `{` on, where it begins with one after a byte order mark and white space.
#[must_use]
pub fn as_json(text: &[u8]) -> Option<&[u8]> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text).trim_ascii_start();
    text.starts_with(b"{").then_some(text)
}

/// A file of ten thousand rows is read; a small one that aliases blow up is not.
fn options() -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: 16,
            max_documents: 1,
            max_nodes: 1_000_000,
            max_aliases: 10_000,
            max_anchors: 10_000,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: 100_000,
        },
        duplicate_keys: DuplicateKeyPolicy::Error,
        with_snippet: false,
    }
}

/// The reader's reason, without its advice for programmers.
fn in_our_words(reason: &str) -> String {
    [
        (", set DuplicateKeyPolicy in Options if acceptable", ""),
        ("budget breached: Documents { documents: 2 }", "there is a second document"),
        ("expected mapping start", "a mapping belongs here, at the top `policies:` with the list of rows,"),
        ("expected sequence start", "a list belongs here, as in [a, b],"),
        ("unexpected end of input", "there is nothing: write `policies: []` for an empty set,"),
    ]
    .into_iter()
    .fold(reason.to_owned(), |text, (theirs, ours)| text.replace(theirs, ours))
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: &str = "effect: allow\n    clusters: [prod]\n    callers: [\"token:a\"]\n    users: [alice]\n";

    fn refusal(text: &str) -> String {
        PolicyFile::read(text.as_bytes()).unwrap_err()
    }

    #[test]
    fn an_empty_set_is_read_from_yaml_and_json() {
        for text in ["policies: []\n", "{\"policies\": []}", "revision: 3\npolicies: []\n"] {
            assert!(PolicyFile::read(text.as_bytes()).unwrap().policies.is_empty(), "{text}");
        }
    }

    #[test]
    fn what_is_broken_is_named_with_its_line() {
        let unknown = format!("policies:\n  - name: x\n    efect: allow\n    {ROW}");
        for text in ["policies: [\n", "policies: []\nother: 1\n", "policies: []\npolicies: []\n", &unknown] {
            let reason = refusal(text);
            assert!(reason.contains("line"), "{reason}");
            assert!(!reason.contains('\n'), "{reason}");
        }
        let reason = refusal("{\"policies\": [],\n \"policies\": []}");
        assert!(reason.contains("line 2") && reason.contains("duplicate"), "{reason}");
    }

    #[test]
    fn nothing_at_all_and_two_documents_are_refused() {
        for (text, reason) in [
            ("", "there is nothing"),
            ("\n", "there is nothing"),
            ("[]", "a mapping belongs here"),
            ("policies:\n", "a list belongs here"),
            ("policies: []\n---\npolicies: []\n", "a second document"),
            ("policies: []\npolicies: []\n", "duplicate mapping key: policies at line 2"),
        ] {
            assert!(refusal(text).contains(reason), "{text}: {}", refusal(text));
        }
        assert!(PolicyFile::read(b"policies: [\xff]").is_err());
    }

    #[test]
    fn aliases_that_multiply_are_refused_quickly() {
        let level = |level: u32| {
            let aliases = vec![format!("*a{}", level - 1); 9].join(", ");
            format!("a{level}: &a{level} [{aliases}]\n")
        };
        let levels: String = (1..12).map(level).collect();
        let text = format!("a0: &a0 [x, x, x, x, x, x, x, x, x]\n{levels}");
        let started = std::time::Instant::now();
        refusal(&format!("{text}policies: []\n"));
        refusal(&format!("policies:\n  - {}\n", text.replace('\n', "\n    ")));
        assert!(started.elapsed().as_secs() < 2);
    }

    #[test]
    fn deep_nesting_is_refused() {
        refusal(&format!("policies: {}", "[".repeat(100_000)));
        refusal(&format!("{{\"policies\": {}", "[".repeat(100_000)));
    }
}
