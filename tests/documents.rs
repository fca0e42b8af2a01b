//! The documents lead somewhere: every relative link to a file, and to a heading of it.
#![cfg(test)]

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn documents() -> Vec<PathBuf> {
    let folders = [root().to_owned(), root().join("docs"), root().join("docs/authentication")];
    let files = folders.iter().flat_map(|folder| fs::read_dir(folder).expect("the folder is there"));
    files
        .map(|entry| entry.expect("it can be read").path())
        .filter(|path| path.extension().is_some_and(|end| end == "md"))
        .collect()
}

/// What stands in `](…)`.
fn links(text: &str) -> Vec<&str> {
    text.split("](").skip(1).filter_map(|rest| rest.split(')').next()).collect()
}

/// The anchors of a document's headings, as GitHub makes them.
fn anchors(text: &str) -> Vec<String> {
    let headings = text.lines().filter_map(|line| line.strip_prefix('#'));
    headings.map(|line| anchor(line.trim_start_matches('#').trim())).collect()
}

fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

fn leads_somewhere(document: &Path, link: &str) -> bool {
    let (path, heading) = link.split_once('#').unwrap_or((link, ""));
    let folder = document.parent().expect("a file is in a folder");
    let target = if path.is_empty() { document.to_owned() } else { folder.join(path) };
    let found = || anchors(&fs::read_to_string(&target).unwrap_or_default()).iter().any(|one| one == heading);
    target.exists() && (heading.is_empty() || found())
}

#[test]
fn every_relative_link_leads_somewhere() {
    let mut seen = 0;
    for document in documents() {
        let text = fs::read_to_string(&document).expect("it is text");
        for link in links(&text).into_iter().filter(|link| !link.contains("://")) {
            seen += 1;
            assert!(leads_somewhere(&document, link), "{}: {link} leads nowhere", document.display());
        }
    }
    assert!(seen > 20, "{seen}");
}

#[test]
fn a_link_that_leads_nowhere_is_told_apart() {
    let readme = root().join("README.md");
    assert!(leads_somewhere(&readme, "docs/configuration.md#the-key-file"));
    assert!(!leads_somewhere(&readme, "docs/configuration.md#the-key-fil"));
    assert!(!leads_somewhere(&readme, "docs/nothing.md"));
}

/// The variants of `enum Command`, as they are typed.
fn commands() -> Vec<String> {
    let text = fs::read_to_string(root().join("src/cli/mod.rs")).expect("the commands are there");
    let (_, body) = text.split_once("enum Command {").expect("an enum of commands");
    let (body, _) = body.split_once("\n}").expect("its end");
    let lines = body.lines().map(str::trim).filter(|line| line.starts_with(char::is_uppercase));
    lines
        .map(|line| line.split(['(', ',']).next().unwrap_or(line).to_lowercase())
        .map(|name| if name == "configuration" { "config".to_owned() } else { name })
        .collect()
}

#[test]
fn every_command_is_in_the_table() {
    let text = fs::read_to_string(root().join("docs/configuration.md")).expect("the document is there");
    let commands = commands();
    assert!(commands.len() > 10, "{commands:?}");
    for command in commands {
        let listed = |line: &str| {
            line.starts_with(&format!("| `{command} ")) || line.starts_with(&format!("| `{command}`"))
        };
        assert!(text.lines().any(listed), "`countersign {command}` is in no row");
    }
}
