//! The examples of docs/policy.md: each is a policy set with cases, and each case is decided here.
#![expect(clippy::unwrap_used, clippy::panic, reason = "what helps a test fails by panicking")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use countersign::caller::{Caller, CallerGroup};
use countersign::pki::key::KeyKind;
use countersign::pki::name::{Name, ShortName};
use countersign::policy::{Audience, ClusterRules, Clusters, PolicyFile, PolicySet, Question, Verdict};
use countersign::time::{Lifetime, Time};
use serde::Deserialize;

/// 2026-06-01T09:00:00Z, a Monday.
const MONDAY: &str = "2026-06-01T09:00:00Z";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseFile {
    clusters: Vec<ClusterEntry>,
    cases: Vec<Case>,
}

/// A cluster, and what it has that differs from the defaults.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum ClusterEntry {
    Name(ShortName),
    With { name: ShortName, max_ttl: Lifetime, default_ttl: Lifetime },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    caller: String,
    #[serde(default)]
    caller_groups: Vec<String>,
    user: String,
    #[serde(default)]
    groups: Vec<String>,
    cluster: ShortName,
    ttl: Option<Lifetime>,
    on_behalf_of: Option<String>,
    key: Option<String>,
    /// When it is asked.
    at: Option<Time>,
    expect: String,
    /// What is given.
    lifetime: Option<Lifetime>,
    /// The deciding rows, where the case is about them.
    policies: Option<Vec<ShortName>>,
    /// The names that are refused, where the case is about them.
    refused: Option<Vec<String>>,
}

fn examples() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/policies");
    let mut folders: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    folders
}

fn rules(entry: &ClusterEntry) -> ClusterRules {
    let (name, max_ttl, default_ttl) = match entry {
        ClusterEntry::Name(name) => (name, Lifetime::from_seconds(86_400), Lifetime::from_seconds(28_800)),
        ClusterEntry::With { name, max_ttl, default_ttl } => (name, *max_ttl, *default_ttl),
    };
    ClusterRules {
        name: name.clone(),
        default_ttl,
        max_ttl,
        reserved: Vec::new(),
        node_identities: false,
        trust_group: None,
        ca_not_before: Time::from_unix(0),
        ca_not_after: Time::parse("2036-01-01T00:00:00Z").unwrap(),
        ca_keys: Vec::new(),
    }
}

/// Everything about the decision that differs from what the case says.
fn differences(case: &Case, set: &PolicySet, clusters: &Clusters) -> Vec<String> {
    let groups = case.caller_groups.iter().map(|text| CallerGroup::parse(text).unwrap()).collect();
    let caller = Caller { groups, ..Caller::parse(&case.caller).unwrap() };
    let name = |text: &String| Name::parse(text).unwrap();
    let (user, groups) = (name(&case.user), case.groups.iter().map(name).collect::<Vec<_>>());
    let person = case.on_behalf_of.as_ref().map(name);
    let question = Question {
        cluster: &case.cluster,
        user: &user,
        groups: &groups,
        key: case.key.as_ref().map_or(KeyKind::P256, |kind| KeyKind::parse(kind).unwrap()),
        ttl: case.ttl,
        on_behalf_of: person.as_ref(),
    };
    let now = case.at.unwrap_or(Time::parse(MONDAY).unwrap());
    let explained = set.explain(clusters, &caller, question, now, Audience::Reader);
    let mut wrong = Vec::new();
    let mut compare = |what: &str, expected: String, found: String| {
        if expected != found {
            wrong.push(format!("{what}: expected {expected}, found {found}"));
        }
    };
    let outcome = match &explained.verdict {
        Verdict::Allowed { .. } => "allowed",
        Verdict::Refused { .. } => "refused",
    };
    compare("outcome", case.expect.clone(), outcome.to_owned());
    if let Some(lifetime) = case.lifetime {
        let given = explained.lifetime.as_ref().map(|given| given.not_after.seconds_since(now));
        compare("lifetime", lifetime.seconds().to_string(), given.unwrap_or_default().to_string());
    }
    if let Some(policies) = &case.policies {
        compare("policies", format!("{policies:?}"), format!("{:?}", explained.policies));
    }
    if let Some(refused) = &case.refused {
        let found = explained.verdict.violations().iter().map(|told| told.value.clone());
        compare("refused", format!("{refused:?}"), format!("{:?}", found.collect::<Vec<_>>()));
    }
    wrong
}

#[test]
fn every_case_of_every_example_is_decided_as_it_says() {
    let (mut wrong, mut tried) = (Vec::new(), 0);
    for folder in examples() {
        let read = |file: &str| std::fs::read(folder.join(file)).unwrap();
        let rows =
            PolicyFile::read(&read("policies.yaml")).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
        let cases: CaseFile = serde_saphyr::from_slice(&read("cases.yaml")).unwrap();
        let clusters = Clusters { rules: cases.clusters.iter().map(rules).collect() };
        let set = PolicySet::compile(1, rows.policies, &clusters)
            .unwrap_or_else(|errors| panic!("{folder:?}: {errors:?}"));
        for case in &cases.cases {
            tried += 1;
            let found = differences(case, &set, &clusters);
            wrong.extend(found.iter().map(|found| format!("{}, {}: {found}", folder.display(), case.name)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(tried > 40, "{tried}");
}

#[test]
fn every_example_shows_what_is_allowed_and_what_is_not() {
    for folder in examples() {
        let cases = std::fs::read_to_string(folder.join("cases.yaml")).unwrap();
        assert!(cases.contains("expect: allowed") && cases.contains("expect: refused"), "{folder:?}");
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

#[test]
fn a_case_that_says_something_else_is_found() {
    let rows = PolicyFile::read(
        b"policies: [{name: a, effect: allow, clusters: [prod], callers: ['token:a'], users: [a], max_ttl: 1h}]",
    );
    let clusters = Clusters { rules: vec![rules(&ClusterEntry::Name(ShortName::parse("prod").unwrap()))] };
    let set = PolicySet::compile(1, rows.unwrap().policies, &clusters).unwrap();
    let case = |text: &str| -> Case {
        serde_saphyr::from_str(&format!("{{name: x, caller: 'token:a', user: a, cluster: prod, {text}}}"))
            .unwrap()
    };
    for (text, wrong) in [
        ("expect: allowed, lifetime: 1h, policies: [a]", 0),
        ("expect: refused", 1),
        ("expect: allowed, lifetime: 2h", 1),
        ("expect: allowed, policies: [b]", 1),
        ("expect: allowed, refused: [a]", 1),
        ("expect: refused, groups: [x], refused: [x]", 0),
    ] {
        assert_eq!(differences(&case(text), &set, &clusters).len(), wrong, "{text}");
    }
}
