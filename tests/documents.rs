//! The documents lead somewhere: every relative link to a file, and to a heading of it. What they show of a
//! configuration is one.
#![cfg(test)]

use std::fs;
use std::path::{Path, PathBuf};

use countersign::config::Config;
use countersign::http::ROUTES;
use toml::{Table, Value};

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

/// Whether the text has the path, whole or as `/v1/keys/{id}/block` and then `/free` beside it.
fn names_path(text: &str, path: &str) -> bool {
    let splits = path.match_indices('/').map(|(place, _)| path.split_at(place));
    text.contains(&format!("{path}`"))
        || splits.skip(1).any(|(head, tail)| text.contains(head) && text.contains(&format!("`{tail}`")))
}

#[test]
fn every_route_is_in_the_table_of_the_api() {
    let text = fs::read_to_string(root().join("docs/api.md")).expect("the document is there");
    for route in ROUTES {
        assert!(names_path(&text, route.path), "{} {} is not there", route.method, route.path);
    }
    assert!(!names_path(&text, "/v1/nothing") && !names_path(&text, "/v1/tokens/{name}/burn"));
}

/// The paths at which the lines of ARCHITECTURE.md's map begin.
fn mapped() -> Vec<String> {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("the document is there");
    let map = text.split("```").nth(1).expect("the map is its first block");
    let lines = map.lines().filter(|line| !line.starts_with(' '));
    let words = lines.flat_map(|line| line.split_whitespace().enumerate());
    let paths = words.filter(|(place, word)| *place == 0 || word.starts_with("src/"));
    paths.map(|(_, word)| word.to_owned()).collect()
}

#[test]
fn the_map_shows_every_module_and_nothing_that_is_not_there() {
    let mapped = mapped();
    for path in &mapped {
        assert!(root().join(path).exists(), "{path} is not there");
    }
    let text = fs::read_to_string(root().join("src/lib.rs")).expect("the library is there");
    let modules = text.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    for module in modules {
        let shown =
            [format!("src/{module}/"), format!("src/{module}.rs")].iter().any(|path| mapped.contains(path));
        assert!(shown, "{module} is not on the map");
    }
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

/// What an example of a configuration is put into: a service with TLS and one cluster.
const SERVICE: &str = r#"
database = "sqlite:countersign.db"
[tls]
certificate = "tls.crt"
key = "tls.key"
[[clusters]]
name = "prod"
server = "https://10.0.0.1:6443"
server_ca = "ca.crt"
client_ca = "ca.crt"
client_ca_key = "ca.key"
"#;

/// The text of each fenced block of TOML.
fn examples(text: &str) -> Vec<&str> {
    text.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect()
}

/// Puts an example over the rest: tables into tables, and into those tables of a list that have their name.
fn put_over(rest: &mut Table, example: Table) {
    for (key, value) in example {
        let merged = match (rest.remove(&key), value) {
            (Some(Value::Table(mut old)), Value::Table(new)) => {
                put_over(&mut old, new);
                Value::Table(old)
            }
            (Some(Value::Array(mut old)), Value::Array(new)) => {
                for item in new {
                    put_among(&mut old, item);
                }
                Value::Array(old)
            }
            (_, value) => value,
        };
        rest.insert(key, merged);
    }
}

fn put_among(items: &mut Vec<Value>, item: Value) {
    let named = items.iter_mut().find(|old| old.get("name").is_some() && old.get("name") == item.get("name"));
    match (named, item) {
        (Some(Value::Table(old)), Value::Table(new)) => put_over(old, new),
        (_, item) => items.push(item),
    }
}

/// Whether the example is a part of a configuration. Files are read at start, and not here.
fn is_configuration(example: &str) -> Result<Config, String> {
    let mut whole: Table = SERVICE.parse().map_err(|error: toml::de::Error| error.to_string())?;
    put_over(&mut whole, example.parse().map_err(|error: toml::de::Error| error.to_string())?);
    Config::parse(&whole.to_string(), [], Path::new(""))
}

#[test]
fn every_example_of_a_configuration_is_taken() {
    let mut seen = 0;
    for document in documents() {
        let text = fs::read_to_string(&document).expect("it is text");
        for example in examples(&text) {
            seen += 1;
            let taken = is_configuration(example);
            assert!(taken.is_ok(), "{}: {}\n{example}", document.display(), taken.unwrap_err());
        }
    }
    assert!(seen > 15, "{seen}");
}

#[test]
fn an_example_that_is_no_configuration_is_told_apart() {
    let corp = "[[auth.oidc]]\nname = \"corp\"\nissuer = \"https://idp.example\"\n";
    assert!(is_configuration(&format!("{corp}audience = \"countersign\"")).is_ok());
    for wrong in [
        format!("{corp}audiance = \"countersign\""),
        corp.to_owned(),
        format!(
            "{corp}audience = \"countersign\"\n[[roles]]\nrole = \"requester\"\ncallers = [\"oidc:crop:*\"]"
        ),
        "[[auth.oidc]]\nname = \"x\"\nissuer = \"https://gitlab.com\"\naudience = \"countersign\"".to_owned(),
    ] {
        assert!(is_configuration(&wrong).is_err(), "{wrong}");
    }
}
