//! The examples of docs/policy.md: each is a policy set with cases, and each case is decided here as
//! `countersign policy test` decides it.
#![expect(clippy::unwrap_used, clippy::panic, reason = "what helps a test fails by panicking")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use countersign::policy::cases::{CaseFile, CaseResult};
use countersign::policy::{PolicyFile, PolicySet};

fn examples() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/policies");
    let mut folders: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    folders
}

/// Every case of one example, decided under its rows.
fn decided(folder: &Path) -> Vec<CaseResult> {
    let read = |file: &str| std::fs::read(folder.join(file)).unwrap();
    let cases =
        CaseFile::read(&read("cases.yaml")).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let rows = PolicyFile::read(&read(cases.policies.as_deref().unwrap()));
    let rows = rows.unwrap_or_else(|error| panic!("{}: {error}", folder.display())).policies;
    let clusters = cases.clusters().unwrap();
    let set = PolicySet::compile(1, rows, &clusters)
        .unwrap_or_else(|errors| panic!("{}: {errors:?}", folder.display()));
    cases.run(&set, &clusters).unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
}

#[test]
fn every_case_of_every_example_is_decided_as_it_says() {
    let results: Vec<_> = examples()
        .iter()
        .flat_map(|folder| decided(folder).into_iter().map(|result| (folder.clone(), result)))
        .collect();
    let wrong: Vec<_> = results.iter().filter(|(_, result)| result.failure.is_some()).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(results.len() > 60, "{}", results.len());
}

#[test]
fn every_example_shows_what_is_allowed_and_what_is_not() {
    for folder in examples() {
        let cases = std::fs::read_to_string(folder.join("cases.yaml")).unwrap();
        assert!(cases.contains("expect: allow") && cases.contains("expect: deny"), "{}", folder.display());
    }
}

#[test]
fn every_example_is_in_the_guide() {
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/policy.md");
    let guide = std::fs::read_to_string(guide).unwrap();
    let named: BTreeSet<PathBuf> = examples()
        .into_iter()
        .filter(|folder| {
            guide.contains(&format!(
                "examples/policies/{}/policies.yaml",
                folder.file_name().unwrap().display()
            ))
        })
        .collect();
    assert_eq!(named.into_iter().collect::<Vec<_>>(), examples());
}
