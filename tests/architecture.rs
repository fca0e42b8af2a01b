//! Which module may import which: the list in `src/lib.rs` is the rule, from the ground up.

#![cfg(test)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A word of production code, and the only places (files, or folders) where it may stand.
const KEPT_IN: [(&str, &[&str]); 10] = [
    ("axum::", &["http"]),
    ("sqlx::", &["store"]),
    ("rusqlite::", &["store/connection"]),
    ("anyhow::", &["cli", "main.rs"]),
    ("println!", &["cli", "main.rs"]),
    ("print!", &["cli", "main.rs"]),
    ("SystemTime", &["clock.rs"]),
    ("TcpStream::connect", &["cli", "auth/fetch"]),
    ("struct TbsCertificate", &["ca/encode.rs"]),
    ("Evidence::recorded", &["store"]),
];
const PURE: [&str; 5] = ["time", "pki", "caller", "policy", "kubeconfig"];
const IMPURE: [&str; 6] =
    ["tokio", "std::fs", "std::net::Tcp", "std::env", "std::process", "std::time::Instant"];

#[test]
fn every_module_imports_only_from_those_before_it() {
    let order = documented_order();
    let place = |module: &str| order.iter().position(|name| name == module);
    for (file, code) in sources() {
        let Some(own) = place(&module_of(&file)) else { continue };
        for imported in crate_paths(&code) {
            let Some(other) = place(&imported) else { continue };
            assert!(other <= own, "{} imports `{imported}`, which comes after it", file.display());
        }
    }
}

#[test]
fn the_list_names_every_module() {
    let listed: BTreeSet<_> = documented_order().into_iter().collect();
    let present: BTreeSet<_> = sources().iter().map(|(file, _)| module_of(file)).collect();
    assert_eq!(listed, &present - &BTreeSet::from(["lib".to_owned(), "main".to_owned()]));
}

#[test]
fn what_belongs_to_one_place_is_named_nowhere_else() {
    for (file, code) in sources() {
        for (word, places) in KEPT_IN {
            let at_home = places
                .iter()
                .any(|place| file.starts_with(place) || file.with_extension("") == Path::new(place));
            assert!(at_home || !code.contains(word), "{} names `{word}`", file.display());
        }
    }
}

#[test]
fn pure_modules_do_nothing_but_compute() {
    for (file, code) in sources().into_iter().filter(|(file, _)| PURE.contains(&module_of(file).as_str())) {
        for word in IMPURE {
            assert!(!code.contains(word), "{} names `{word}`", file.display());
        }
    }
}

#[test]
fn imports_are_found_in_every_spelling() {
    let code = production_code(
        "use crate::store::{Page, Store};\nuse crate::{app::App, http};\n// crate::cli\nlet x = crate::ca::y();",
    );
    assert_eq!(crate_paths(&code), BTreeSet::from(["store", "app", "http", "ca"].map(str::to_owned)));
}

/// The modules in the order of the list in `src/lib.rs`; a line may name several before its colon.
fn documented_order() -> Vec<String> {
    let text = fs::read_to_string(root().join("lib.rs")).unwrap();
    let lines = text.lines().filter_map(|line| line.strip_prefix("//! - [`"));
    let names = lines.map(|line| line.split("]:").next().unwrap());
    names
        .flat_map(|names| names.split(", "))
        .map(|name| name.trim_matches(['[', ']', '`']).to_owned())
        .collect()
}

/// Every source file, relative to `src`, without its comments and tests.
fn sources() -> Vec<(PathBuf, String)> {
    let (mut folders, mut files) = (vec![root()], BTreeMap::new());
    let mut of_tests = BTreeSet::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                folders.push(entry);
            } else if entry.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&entry).unwrap();
                let file = entry.strip_prefix(root()).unwrap().to_owned();
                of_tests.extend(test_modules(&text).map(|module| folder_of_modules(&file).join(module)));
                files.insert(file, production_code(&text));
            }
        }
    }
    let is_test = |file: &Path| of_tests.iter().any(|module| file.with_extension("").starts_with(module));
    files.into_iter().filter(|(file, _)| !is_test(file)).collect()
}

/// The modules that a file declares for tests only.
fn test_modules(text: &str) -> impl Iterator<Item = &str> {
    text.split("#[cfg(test)]\nmod ")
        .skip(1)
        .filter_map(|rest| rest.split_once(';').map(|(name, _)| name))
        .filter(|name| !name.contains(' '))
}

/// Where the modules of a file lie: beside `mod.rs`, else in a folder named after it.
fn folder_of_modules(file: &Path) -> PathBuf {
    let stem = file.with_extension("");
    if stem.ends_with("mod") || stem.ends_with("lib") { stem.parent().unwrap().to_owned() } else { stem }
}

fn production_code(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// The first segment after each `crate::`, those in `crate::{…}` too.
fn crate_paths(code: &str) -> BTreeSet<String> {
    code.split("crate::").skip(1).flat_map(first_segments).collect()
}

fn first_segments(after: &str) -> Vec<String> {
    let Some(group) = after.strip_prefix('{') else { return vec![identifier(after)] };
    let (mut depth, mut found) = (0_u32, vec![identifier(group)]);
    for (at, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => found.push(identifier(&group[at + 1..])),
            _ => {}
        }
    }
    found
}

fn identifier(text: &str) -> String {
    text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

fn module_of(file: &Path) -> String {
    let first = file.components().next().unwrap().as_os_str();
    Path::new(first).file_stem().unwrap().to_string_lossy().into_owned()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}
