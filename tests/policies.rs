//! The examples of docs/policy.md: each is a policy set with cases, and each case is decided here.
#![cfg(test)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use countersign::caller::{Caller, CallerGroup};
use countersign::pki::key::KeyKind;
use countersign::pki::name::{Name, ShortName};
use countersign::policy::explain::ClaimOutcome;
use countersign::policy::{
    Audience, ClusterRules, Clusters, Effect, PolicyFile, PolicySet, Question, Verdict,
};
use countersign::time::{Lifetime, Time};
use serde::Deserialize;

const NOW: Time = Time::from_unix(1_800_000_000);

/// As `countersign policy test` reads it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseFile {
    policies: PathBuf,
    clusters: BTreeMap<ShortName, Terms>,
    cases: Vec<Case>,
}

/// What a cluster has that differs from the defaults.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Terms {
    max_ttl: Option<Lifetime>,
    default_ttl: Option<Lifetime>,
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
    expect: Effect,
    /// What is given.
    lifetime: Option<Lifetime>,
}

fn examples() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/policies");
    let mut folders: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    folders
}

fn rules((name, terms): (&ShortName, &Terms)) -> ClusterRules {
    ClusterRules {
        name: name.clone(),
        default_ttl: terms.default_ttl.unwrap_or(Lifetime::from_seconds(28_800)),
        max_ttl: terms.max_ttl.unwrap_or(Lifetime::from_seconds(86_400)),
        reserved: Vec::new(),
        node_identities: false,
        trust_group: None,
        ca_not_before: Time::from_unix(0),
        ca_not_after: NOW.after(Lifetime::MOST),
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
    let verdict = set.would(clusters, &caller, question, NOW);
    let mut wrong = Vec::new();
    if verdict.effect() != case.expect {
        wrong.push(format!("expected {:?}, found {verdict:?}", case.expect));
    }
    let given = if let Verdict::Allowed { lifetime, .. } = &verdict { Some(*lifetime) } else { None };
    if case.lifetime.is_some() && case.lifetime != given {
        wrong.push(format!("expected {:?}, found {given:?}", case.lifetime));
    }
    let explained = set.explain(clusters, &caller, question, NOW.into(), Audience::Reader);
    let refused = explained.claims.iter().any(|claim| claim.outcome != ClaimOutcome::Allowed);
    if refused != (case.expect == Effect::Deny) {
        wrong.push(format!("the explanation says something else: {:?}", explained.claims));
    }
    wrong
}

#[test]
fn every_case_of_every_example_is_decided_as_it_says() {
    let (mut wrong, mut tried) = (Vec::new(), 0);
    for folder in examples() {
        let read = |file: &Path| std::fs::read(folder.join(file)).unwrap();
        let cases: CaseFile = serde_saphyr::from_slice(&read(Path::new("cases.yaml")))
            .unwrap_or_else(|error| panic!("{folder:?}: {error}"));
        let rows =
            PolicyFile::read(&read(&cases.policies)).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
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
        assert!(cases.contains("expect: allow") && cases.contains("expect: deny"), "{folder:?}");
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
    let prod = ShortName::parse("prod").unwrap();
    let clusters = Clusters { rules: vec![rules((&prod, &Terms::default()))] };
    let set = PolicySet::compile(1, rows.unwrap().policies, &clusters).unwrap();
    let case = |text: &str| -> Case {
        serde_saphyr::from_str(&format!("{{name: x, caller: 'token:a', user: a, cluster: prod, {text}}}"))
            .unwrap()
    };
    for (text, wrong) in [
        ("expect: allow, lifetime: 1h", 0),
        ("expect: allow, lifetime: 2h", 1),
        ("expect: allow, groups: [x]", 2),
        ("expect: deny, groups: [x]", 0),
        ("expect: deny", 2),
    ] {
        assert_eq!(differences(&case(text), &set, &clusters).len(), wrong, "{text}");
    }
}
