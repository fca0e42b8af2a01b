//! What must hold of every set and every request, and the decision written a second time, slowly.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::testing::{NOW, clusters, name, oidc, portal, row, unheld};
use super::{Approved, Ask, Clusters, Effect, PolicyRow, PolicySet, Refused};
use crate::caller::{Caller, CallerGroup, CallerKind};
use crate::pki::csr::CertRequest;
use crate::pki::key::KeyKind;
use crate::pki::name::{ShortName, fold};
use crate::time::Lifetime;

/// Names that are close to each other and to the patterns below.
const NAMES: [&str; 16] = [
    "alice",
    "bob",
    "a*",
    "é",
    "dev",
    "dev-1",
    "ops",
    "root",
    "corp:x",
    "kubeadm:cluster-admins",
    "system:masters",
    "System:masters",
    "system:nodes",
    "system:kube-scheduler",
    "system:serviceaccount:a:b",
    "a:b",
];

const PATTERNS: [&str; 18] = [
    "*",
    "alice",
    "bob",
    "a*",
    "*e*",
    "dev-*",
    "*-1",
    "dev",
    "ops",
    "root",
    "kubeadm:cluster-admins",
    "system:*",
    "system:nodes",
    "{caller}",
    "dev-{caller}",
    "{on_behalf_of}",
    "{caller.groups}",
    "corp:*",
];

const CALLERS: [&str; 9] = [
    "token:portal",
    "token:*",
    "oidc:corp:*",
    "oidc:corp:alice",
    "oidc:corp:a*:*",
    "oidc:other:*",
    "group:corp:dev",
    "group:corp:*",
    "sa:prod:a:*",
];

fn pick(
    from: &'static [&'static str],
    counts: std::ops::Range<usize>,
) -> impl Strategy<Value = Vec<&'static str>> {
    prop::collection::vec(prop::sample::select(from), counts)
}

fn a_row() -> impl Strategy<Value = Value> {
    (
        prop::bool::weighted(0.12),
        pick(&["prod", "dev", "*", "*", "*", "p*"], 1..3),
        pick(&CALLERS, 1..4),
        pick(&PATTERNS, 1..3),
        prop::option::weighted(0.8, pick(&PATTERNS, 1..4)),
        prop::option::weighted(0.2, pick(&["*", "alice", "b*", "{caller}"], 1..3)),
        prop::option::weighted(0.4, prop::sample::select(&["1h", "2h", "48h"][..])),
        prop::option::weighted(0.2, pick(&["p-256", "rsa-2048"], 1..2)),
        prop::bool::weighted(0.9),
    )
        .prop_map(|(denies, clusters, callers, users, groups, people, max_ttl, keys, enabled)| {
            let mut row = json!({"effect": if denies { "deny" } else { "allow" }, "clusters": clusters,
                "callers": callers, "users": users, "enabled": enabled});
            for (field, list) in
                [("groups", groups), ("on_behalf_of", people), ("keys", keys.filter(|_| !denies))]
            {
                if let Some(list) = list {
                    row[field] = json!(list);
                }
            }
            if let Some(ttl) = max_ttl.filter(|_| !denies) {
                row["max_ttl"] = json!(ttl);
            }
            row
        })
}

/// Those of the rows that a set takes, each with a name by its place.
fn rows() -> impl Strategy<Value = Vec<PolicyRow>> {
    prop::collection::vec(a_row(), 0..16).prop_map(|rows| {
        let rows = rows.into_iter().enumerate().map(|(place, mut json)| {
            json["name"] = json!(format!("row-{place}"));
            row(json)
        });
        rows.filter(|row| PolicySet::compile(1, vec![row.clone()], &world()).is_ok()).collect()
    })
}

fn callers() -> impl Strategy<Value = Caller> {
    let service = Caller {
        kind: CallerKind::ServiceAccount,
        source: ShortName::parse("prod").ok(),
        name: "a:b".into(),
        groups: vec![CallerGroup { source: ShortName::parse("corp").expect("a name"), name: "dev".into() }],
    };
    prop::sample::select(vec![
        portal(),
        oidc("corp", "alice", &["dev", "kubeadm:cluster-admins", "system:masters"]),
        oidc("corp", "a*", &["ops", "a*"]),
        oidc("corp", "kubeadm:cluster-admins", &[]),
        oidc("corp", "abc:x", &["corp:x"]),
        oidc("other", "alice", &["dev"]),
        service,
    ])
}

prop_compose! {
    fn asks()(
        cluster in prop::sample::select(&["prod", "dev"][..]),
        user in prop_oneof![4 => prop::sample::select(&NAMES[..6]), 1 => prop::sample::select(&NAMES[..])],
        groups in prop_oneof![
            4 => prop::sample::subsequence(&NAMES[..8], 0..3),
            1 => prop::sample::subsequence(&NAMES[..], 0..4),
        ],
        person in prop::option::weighted(0.2, prop::sample::select(&["alice", "bob", "é"][..])),
        rsa in prop::bool::weighted(0.2),
        ttl in prop::option::of(600_u32..200_000),
    ) -> Ask {
        let kind = if rsa { KeyKind::Rsa2048 } else { KeyKind::P256 };
        Ask {
            cluster: ShortName::parse(cluster).expect("a name"),
            request: CertRequest::for_tests(user, &groups, kind),
            ttl: ttl.map(Lifetime::from_seconds),
            on_behalf_of: person.map(name),
        }
    }
}

/// `prod` takes node identities, `dev` does not.
fn world() -> Clusters {
    let mut world = clusters();
    world.rules[0].node_identities = true;
    world
}

fn decide_on(
    rows: &[PolicyRow],
    world: &Clusters,
    caller: &Caller,
    ask: &Ask,
) -> Result<Approved, Box<Refused>> {
    let set = PolicySet::compile(1, rows.to_vec(), world).expect("a set");
    unheld(set.decide(world, caller, ask.clone(), NOW))
}

fn decide(rows: &[PolicyRow], caller: &Caller, ask: &Ask) -> Result<Approved, Box<Refused>> {
    decide_on(rows, &world(), caller, ask)
}

fn with_groups(ask: &Ask, groups: &[&str]) -> Ask {
    let request = CertRequest::for_tests(ask.request.user().as_str(), groups, ask.request.key().kind());
    Ask { request, ..ask.clone() }
}

fn group_names(ask: &Ask) -> Vec<&str> {
    ask.request.groups().iter().map(crate::pki::name::Name::as_str).collect()
}

/// The decision by its definition: every row is looked at for every claim, as text.
mod slowly {
    use super::*;

    /// Lifetime in seconds and deciding rows, or nothing.
    pub(super) fn decide(
        rows: &[PolicyRow],
        world: &Clusters,
        caller: &Caller,
        ask: &Ask,
    ) -> Option<(u32, Vec<String>)> {
        let asked = world.rules.iter().find(|rules| rules.name == ask.cluster)?;
        let mut seconds = ask.ttl.unwrap_or(asked.default_ttl).seconds();
        let mut deciding = Vec::new();
        let mut by_user: Vec<Vec<String>> = Vec::new();
        for cluster in &world.rules {
            let together = asked.trust_group.is_some() && cluster.trust_group == asked.trust_group;
            if cluster.name != asked.name && !together {
                continue;
            }
            for claim in std::iter::once(None).chain(group_names(ask).into_iter().map(Some)) {
                let speaks = |row: &&PolicyRow| {
                    row.enabled
                        && row.clusters.iter().any(|pattern| wild(pattern, cluster.name.as_str(), |_| true))
                        && person(row, caller, ask)
                        && names(row, caller, ask, claim, &cluster.reserved)
                        && row.callers.iter().any(|entry| calls(row, entry, caller))
                };
                if rows.iter().filter(speaks).any(|row| row.effect == Effect::Deny) {
                    return None;
                }
                let name = claim.unwrap_or(ask.request.user().as_str());
                if never(name) || (node(name) && !cluster.node_identities) || looks(name, &cluster.reserved) {
                    return None;
                }
                let kind = ask.request.key().kind().as_str();
                let allows = |row: &&PolicyRow| {
                    row.effect == Effect::Allow
                        && row.keys.as_ref().is_none_or(|keys| keys.iter().any(|key| key == kind))
                };
                let gives = |row: &PolicyRow| {
                    row.max_ttl.map_or(u32::MAX, Lifetime::seconds).min(cluster.max_ttl.seconds())
                };
                let matching: Vec<&PolicyRow> = rows.iter().filter(speaks).filter(allows).collect();
                let most = matching.iter().map(|row| gives(row)).max()?;
                let most_giving =
                    matching.iter().filter(|row| gives(row) == most).map(|row| row.name.to_string());
                match claim {
                    Some(_) => deciding.extend(most_giving),
                    None => by_user.push(most_giving.collect()),
                }
                seconds = seconds.min(most);
            }
        }
        by_user.retain(|rows| !rows.iter().any(|row| deciding.contains(row)));
        deciding.extend(by_user.into_iter().flatten());
        deciding.sort();
        deciding.dedup();
        Some((seconds, deciding))
    }

    fn wild(pattern: &str, value: &str, star: impl Fn(char) -> bool + Copy) -> bool {
        let Some(first) = pattern.chars().next() else { return value.is_empty() };
        let rest = &pattern[first.len_utf8()..];
        if first == '*' {
            let mut chars = value.chars();
            return wild(rest, value, star)
                || chars.next().is_some_and(|c| star(c) && wild(pattern, chars.as_str(), star));
        }
        value.strip_prefix(first).is_some_and(|value| wild(rest, value, star))
    }

    fn star(row: &PolicyRow) -> impl Fn(char) -> bool + Copy + use<> {
        let denies = row.effect == Effect::Deny;
        move |c| denies || (' '..='~').contains(&c)
    }

    fn calls(row: &PolicyRow, entry: &str, caller: &Caller) -> bool {
        let denies = row.effect == Effect::Deny;
        let own = match &caller.source {
            Some(source) => format!("{}:{source}:", caller.kind.as_str()),
            None => format!("{}:", caller.kind.as_str()),
        };
        let one = |prefix: &str, name: &str| {
            entry
                .strip_prefix(prefix)
                .is_some_and(|pattern| wild(pattern, name, |c| denies || (star(row)(c) && c != ':')))
        };
        one(&own, &caller.name)
            || caller.groups.iter().any(|group| one(&format!("group:{}:", group.source), &group.name))
    }

    fn person(row: &PolicyRow, caller: &Caller, ask: &Ask) -> bool {
        match (&row.on_behalf_of, &ask.on_behalf_of) {
            (None, None) => true,
            (None, Some(_)) => row.effect == Effect::Deny,
            (Some(_), None) => false,
            (Some(patterns), Some(person)) => {
                patterns.iter().any(|pattern| given(row, pattern, person.as_str(), caller, ask, false))
            }
        }
    }

    fn names(row: &PolicyRow, caller: &Caller, ask: &Ask, claim: Option<&str>, reserved: &[String]) -> bool {
        let gives = |patterns: &[String], name: &str| {
            let strict = row.effect == Effect::Allow && is_reserved(name, reserved);
            let starred = row.users.iter().chain(&row.callers).any(|pattern| pattern.contains('*'));
            !(strict && starred)
                && patterns.iter().any(|pattern| given(row, pattern, name, caller, ask, strict))
        };
        let by_group = match (claim, &row.groups, row.effect) {
            (Some(group), Some(groups), _) => gives(groups, group),
            (Some(_), None, _) => false,
            (None, Some(groups), Effect::Deny) => groups.iter().any(|group| group == "*"),
            (None, _, _) => true,
        };
        by_group && gives(&row.users, ask.request.user().as_str())
    }

    fn given(row: &PolicyRow, pattern: &str, name: &str, caller: &Caller, ask: &Ask, strict: bool) -> bool {
        if strict {
            return pattern == name;
        }
        let denies = row.effect == Effect::Deny;
        let ours = |source: Option<&ShortName>| {
            let text = source.map_or(":".into(), |source| format!(":{source}:"));
            denies || source.is_none() || row.callers.iter().any(|entry| entry.contains(&text))
        };
        if pattern.contains("{on_behalf_of}") {
            let filled = |person: &crate::pki::name::Name| pattern.replace("{on_behalf_of}", person.as_str());
            return ask.on_behalf_of.as_ref().map(filled).as_deref() == Some(name);
        }
        if pattern.contains("{caller}") {
            return ours(caller.source.as_ref()) && pattern.replace("{caller}", &caller.name) == name;
        }
        if pattern.contains("{caller.groups}") {
            return caller.groups.iter().any(|group| {
                let own = denies || caller.source.as_ref() == Some(&group.source);
                own && ours(Some(&group.source)) && pattern.replace("{caller.groups}", &group.name) == name
            });
        }
        !pattern.contains('{') && wild(pattern, name, star(row))
    }

    pub(super) fn never(name: &str) -> bool {
        ["system:masters", "system:anonymous", "system:authenticated", "system:unauthenticated"]
            .contains(&name)
            || name.starts_with("system:serviceaccount:")
            || name.starts_with("system:serviceaccounts")
    }

    pub(super) fn node(name: &str) -> bool {
        name.starts_with("system:node:") || name == "system:nodes" || name.starts_with("system:bootstrappers")
    }

    pub(super) fn is_reserved(name: &str, reserved: &[String]) -> bool {
        name.starts_with("system:")
            || name.starts_with("kubeadm:")
            || reserved
                .iter()
                .any(|entry| name == entry || entry.ends_with(':') && name.starts_with(entry.as_str()))
    }

    /// None of the names above looks like a node identity.
    fn looks(name: &str, reserved: &[String]) -> bool {
        let folded = fold(name);
        let outside = !is_reserved(name, reserved)
            && ["system:", "kubeadm:"].iter().any(|prefix| folded.starts_with(&fold(prefix)));
        let inside = !never(name) && folded == fold("system:masters");
        outside || inside
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_decision_is_its_definition(rows in rows(), caller in callers(), ask in asks(), together in any::<bool>()) {
        let mut world = world();
        if together {
            world.rules.iter_mut().for_each(|rules| rules.trust_group = ShortName::parse("fleet").ok());
        }
        let fast = decide_on(&rows, &world, &caller, &ask).ok().map(|approved| {
            let seconds = approved.not_after().seconds_since(NOW);
            let names: Vec<String> = approved.rows().iter().map(ToString::to_string).collect();
            (u32::try_from(seconds).expect("seconds"), names)
        });
        prop_assert_eq!(fast, slowly::decide(&rows, &world, &caller, &ask));
    }

    #[test]
    fn a_group_refused_alone_is_refused_in_company(rows in rows(), caller in callers(), ask in asks()) {
        let together = decide(&rows, &caller, &ask).is_ok();
        let alone = group_names(&ask).iter().all(|group| decide(&rows, &caller, &with_groups(&ask, &[group])).is_ok());
        let bare = decide(&rows, &caller, &with_groups(&ask, &[])).is_ok();
        prop_assert_eq!(together, alone && bare);
    }

    #[test]
    fn a_deny_row_never_allows_more(rows in rows(), caller in callers(), ask in asks()) {
        let allow: Vec<PolicyRow> = rows.iter().filter(|row| row.effect == Effect::Allow).cloned().collect();
        if let Ok(approved) = decide(&rows, &caller, &ask) {
            let without = decide(&allow, &caller, &ask).expect("allowed without the deny rows");
            prop_assert_eq!(approved.not_after(), without.not_after());
            prop_assert_eq!(approved.rows(), without.rows());
        }
    }

    #[test]
    fn no_star_and_no_variable_gives_a_reserved_name(rows in rows(), caller in callers(), ask in asks()) {
        if decide(&rows, &caller, &ask).is_err() {
            return Ok(());
        }
        let reserved = &world().rules.into_iter().find(|rules| rules.name == ask.cluster).expect("a cluster").reserved;
        let spelled = |name: &str, field: fn(&PolicyRow) -> Option<&Vec<String>>| {
            rows.iter().filter(|row| row.effect == Effect::Allow).filter_map(field).flatten().any(|text| text == name)
        };
        let user = ask.request.user().as_str();
        prop_assert!(!slowly::is_reserved(user, reserved) || spelled(user, |row| Some(&row.users)));
        for group in group_names(&ask) {
            prop_assert!(!slowly::is_reserved(group, reserved) || spelled(group, |row| row.groups.as_ref()));
        }
    }

    #[test]
    fn a_never_issued_name_never_comes_out(rows in rows(), caller in callers(), ask in asks()) {
        if let Ok(approved) = decide(&rows, &caller, &ask) {
            let names = approved.groups().iter().chain([approved.user()]);
            for name in names {
                prop_assert!(!slowly::never(name.as_str()), "{}", name);
                prop_assert!(fold(name.as_str()) != fold("system:masters"), "{}", name);
            }
        }
    }

    #[test]
    fn the_order_of_rows_and_groups_does_not_matter(rows in rows(), caller in callers(), ask in asks()) {
        let backwards: Vec<PolicyRow> = rows.iter().rev().cloned().collect();
        let groups: Vec<&str> = group_names(&ask).into_iter().rev().collect();
        let one = decide(&rows, &caller, &ask);
        let other = decide(&backwards, &caller, &with_groups(&ask, &groups));
        match (one, other) {
            (Ok(one), Ok(other)) => {
                prop_assert_eq!(one.rows(), other.rows());
                prop_assert_eq!(one.not_after(), other.not_after());
                prop_assert_eq!(one.warnings(), other.warnings());
            }
            (Err(one), Err(other)) => prop_assert_eq!(one.rows, other.rows),
            (one, other) => prop_assert!(false, "{:?} {:?}", one, other),
        }
    }

    #[test]
    fn a_refusal_names_a_claim_and_tells_nothing_of_other_callers(rows in rows(), caller in callers(), ask in asks()) {
        let mine: Vec<PolicyRow> = rows
            .iter()
            .filter(|row| PolicySet::compile(1, vec![(*row).clone()], &world()).expect("a set").allow.for_caller(&caller).contains(0))
            .cloned()
            .collect();
        if let Err(refused) = decide(&rows, &caller, &ask) {
            let (super::Refusal::Policy(told) | super::Refusal::LooksReserved(told)) = &refused.refusal else {
                return Ok(());
            };
            prop_assert!(!told.is_empty());
            if rows.iter().all(|row| row.effect == Effect::Allow) {
                let again = decide(&mine, &caller, &ask).expect_err("refused without the rows of others").refusal;
                prop_assert_eq!(&refused.refusal, &again);
            }
        }
    }
}

/// How often the strategies above reach an approval at all: a property of nothing holds always.
#[test]
fn the_properties_are_tried_on_approvals_too() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let mut approved = 0;
    for _ in 0..500 {
        let rows = rows().new_tree(&mut runner).expect("rows").current();
        let caller = callers().new_tree(&mut runner).expect("a caller").current();
        let ask = asks().new_tree(&mut runner).expect("a wish").current();
        approved += usize::from(decide(&rows, &caller, &ask).is_ok());
    }
    assert!(approved >= 15, "{approved} of 500");
}

type Shape = fn(usize) -> Value;

/// The best of many runs, in microseconds.
fn microseconds(rows: &[PolicyRow], caller: &Caller, ask: &Ask) -> u128 {
    let world = world();
    let set = PolicySet::compile(1, rows.to_vec(), &world).expect("a set");
    let run = || {
        let ask = ask.clone();
        let start = std::time::Instant::now();
        let approved = set.decide(&world, caller, ask, NOW);
        let taken = start.elapsed().as_micros();
        assert!(approved.is_ok(), "{approved:?}");
        taken
    };
    (0..300).map(|_| run()).min().expect("a run")
}

#[test]
fn a_thousand_rows_and_forty_groups_are_decided_in_no_time() {
    let groups: Vec<String> = (0..40).map(|place| format!("team-{}", place * 25)).collect();
    let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
    let ask = with_groups(&super::testing::ask("alice", &[]), &groups);
    let mut slowest = 0;
    // Some 10 µs without other load; the limits only catch a cost that grows with all rows.
    let limit = if cfg!(debug_assertions) { 10_000 } else { 100 };
    let shapes: [(&str, Shape); 5] = [
        ("one group each", |place| json!({"users": ["*"], "groups": [format!("team-{place}")]})),
        ("one caller each", |place| {
            let caller = if place == 500 { "portal".to_owned() } else { format!("t{place}") };
            json!({"callers": [format!("token:{caller}")], "users": ["*"], "groups": ["team-*"]})
        }),
        ("one user each", |place| {
            let user = if place == 500 { "alice".to_owned() } else { format!("u{place}") };
            json!({"users": [user], "groups": ["*"]})
        }),
        ("one pattern each", |place| json!({"users": ["al*"], "groups": [format!("team-{place}*")]})),
        ("many that deny", |place| {
            let effect = if place == 0 { "allow" } else { "deny" };
            let groups = if place == 0 { "*".to_owned() } else { format!("root-{place}-*") };
            json!({"effect": effect, "users": ["*"], "groups": [groups]})
        }),
    ];
    for (what, shape) in shapes {
        let rows: Vec<PolicyRow> = (0..1_000)
            .map(|place| {
                let mut json = shape(place);
                json["name"] = json!(format!("row-{place}"));
                if json.get("effect").is_none() {
                    json["effect"] = json!("allow");
                }
                row(json)
            })
            .collect();
        let taken = microseconds(&rows, &portal(), &ask);
        println!("{what}: {taken} µs");
        slowest = slowest.max(taken);
    }
    assert!(slowest < limit, "{slowest} µs");
}

/// A hundred groups of 250 bytes, each refused, and what refuses them, with the time it takes.
fn refused_in(rows: Vec<PolicyRow>) -> (Refused, std::time::Duration) {
    let groups: Vec<String> = (0..100).map(|place| format!("{}{place:03}", "x".repeat(247))).collect();
    let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
    let ask = with_groups(&super::testing::ask("alice", &[]), &groups);
    let set = PolicySet::compile(1, rows, &world()).expect("a set");
    let start = std::time::Instant::now();
    let refused = set.decide(&world(), &portal(), ask, NOW).expect_err("a refusal");
    (*refused, start.elapsed())
}

#[test]
fn a_hostile_request_is_refused_in_bounded_time_with_every_claim_named() {
    let shapes: [(&str, Shape); 5] = [
        ("long groups", |place| json!({"groups": [format!("{}{place:04}", "x".repeat(246))]})),
        ("differing early", |place| json!({"groups": [format!("{place:04}{}", "x".repeat(246))]})),
        ("short groups", |place| json!({"groups": [format!("team-{place}")]})),
        ("many users", |place| json!({"users": [format!("alic{place}")], "groups": ["dev"]})),
        ("variables", |_| json!({"groups": ["y-{caller}"]})),
    ];
    for (what, shape) in shapes {
        let mut rows: Vec<PolicyRow> = (0..10_000)
            .map(|place| {
                let mut json = shape(place);
                json["name"] = json!(format!("row-{place}"));
                json["effect"] = json!("allow");
                row(json)
            })
            .collect();
        let (refused, taken) = refused_in(rows.clone());
        println!("{what}: {taken:?}");
        assert!(taken.as_millis() < 5_000, "{what}: {taken:?}");
        rows.reverse();
        assert_eq!(refused_in(rows).0.refusal, refused.refusal, "{what}");
        let super::Refusal::Policy(told) = refused.refusal else { panic!("no policy refusal") };
        let groups = told.iter().filter(|violation| violation.claim == super::Claim::Group).count();
        assert_eq!(groups, 100, "{what}");
        assert!(told.iter().take(10).all(|violation| !violation.allowed.is_empty()), "{what}");
        assert!(told.iter().skip(10).all(|violation| violation.allowed.is_empty()), "{what}");
    }
}
