//! What must hold of every set and every request, and the decision written a second time, slowly.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::explain::{Audience, ClaimOutcome, Field};
use super::testing::{NOW, clusters, name, oidc, portal, row, unheld};
use super::{
    Approved, Ask, Clusters, Decision, Effect, LimitKind, Moment, PolicyRow, PolicySet, Refused, Spent,
};
use crate::caller::{Caller, CallerGroup, CallerKind, Claims};
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

const PATTERNS: [&str; 20] = [
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
    "{caller.claim.team}",
    "dev-{caller.claim.team}",
];

/// Each with the seconds that it stays open at [`NOW`], a Friday, 09:00 in Berlin.
const WINDOWS: [(&str, Option<u32>); 5] = [
    ("mon-fri 08:00-18:00 Europe/Berlin", Some(9 * 3_600)),
    ("thu-fri 22:00-10:30 Europe/Berlin", Some(5_400)),
    ("fri 08:59-09:01 Europe/Berlin", Some(60)),
    ("fri 08:00-09:00 Europe/Berlin", None),
    ("sat-sun 00:00-24:00 Europe/Berlin", None),
];

const REQUIRED: [&str; 5] =
    ["group:corp:dev", "group:corp:dev", "group:corp:ops", "group:other:dev", "group:corp:system:masters"];

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

/// What a row may say beside its patterns, by field.
fn conditions() -> impl Strategy<Value = Vec<(&'static str, Value)>> {
    let some = |chance| prop::bool::weighted(chance);
    let windows: Vec<&str> = WINDOWS.iter().map(|(text, _)| *text).collect();
    (
        (some(0.2), pick(&PATTERNS[1..], 1..3)),
        (some(0.3), pick(&PATTERNS[1..], 1..3)),
        (some(0.2), pick(&REQUIRED, 1..3)),
        (some(0.15), prop::sample::select(windows)),
        (some(0.15), 1_u32..4),
        (some(0.15), 1_u32..4),
    )
        .prop_map(|(users, groups, required, when, active, hourly)| {
            let given = [
                ("except_users", users.0, json!(users.1)),
                ("except_groups", groups.0, json!(groups.1)),
                ("required_groups", required.0, json!(required.1)),
                ("when", when.0, json!([when.1])),
                ("max_active", active.0, json!(active.1)),
                ("per_hour", hourly.0, json!(hourly.1)),
            ];
            given.into_iter().filter(|(_, given, _)| *given).map(|(field, _, value)| (field, value)).collect()
        })
}

fn a_row() -> impl Strategy<Value = Value> {
    (a_row_of_patterns(), prop::option::weighted(0.4, conditions()))
        .prop_map(|(row, conditions)| under(row, conditions.into_iter().flatten()))
}

/// A row that gives many names to many callers, so that its conditions are what decides.
fn a_wide_row() -> impl Strategy<Value = Value> {
    (pick(&CALLERS, 3..8), conditions()).prop_map(|(callers, conditions)| {
        let row = json!({"effect": "allow", "clusters": ["*"], "callers": callers, "users": ["*"], "groups": ["*"]});
        under(row, conditions)
    })
}

/// The row under those of the conditions that fit it.
fn under(mut row: Value, conditions: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
    let denies = row["effect"] == "deny";
    for (field, value) in conditions {
        let fits = match field {
            "except_groups" => row.get("groups").is_some(),
            "max_active" | "per_hour" => !denies,
            _ => true,
        };
        if fits {
            row[field] = value;
        }
    }
    row
}

fn a_row_of_patterns() -> impl Strategy<Value = Value> {
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
    let many = prop::collection::vec(a_row(), 0..16);
    (many, prop::option::of(a_wide_row())).prop_map(|(rows, wide)| {
        let rows = rows.into_iter().chain(wide).enumerate().map(|(place, mut json)| {
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
        claims: Claims::new(),
        proven: None,
    };
    let claiming = |mut caller: Caller, teams: &[&str]| {
        caller.claims.insert("team".to_owned(), teams.iter().map(ToString::to_string).collect());
        caller
    };
    prop::sample::select(vec![
        claiming(oidc("corp", "alice", &["dev", "ops"]), &["1", "bob", "system:masters"]),
        claiming(oidc("corp", "bob", &[]), &[]),
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

/// Some of the rows with limits, as if they were used up.
fn used_up(rows: &[PolicyRow], which: u16) -> Vec<Spent> {
    let limited = rows.iter().filter(|row| row.max_active.or(row.per_hour).is_some());
    let some = limited.enumerate().filter(|(place, _)| which & (1 << (place % 16)) != 0);
    some.map(|(_, row)| Spent { row: row.name.clone(), limit: LimitKind::Active(1), until: NOW }).collect()
}

fn violations(refused: &Refused) -> &[super::Violation] {
    match &refused.refusal {
        super::Refusal::Policy(told) | super::Refusal::LooksReserved(told) => told,
        _ => &[],
    }
}

/// Some of the deny rows, made to hold instead.
fn reviewing(mut rows: Vec<PolicyRow>, which: u16) -> Vec<PolicyRow> {
    let deny = rows.iter_mut().filter(|row| row.effect == Effect::Deny);
    for (_, row) in deny.enumerate().filter(|(place, _)| which & (1 << (place % 16)) != 0) {
        row.effect = Effect::Review;
        row.approvers = Some(vec!["token:carol".to_owned()]);
        row.max_ttl = Some(Lifetime::from_seconds(5_400));
    }
    rows
}

/// Whether the enabled row's `callers` match.
fn is_for(row: &PolicyRow, caller: &Caller) -> bool {
    let set = PolicySet::compile(1, vec![row.clone()], &world()).expect("a set");
    set.allow.for_caller(caller).contains(0)
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
        spent: &[Spent],
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
                        && !excepted(row, caller, ask, claim, &cluster.reserved)
                        && admits(row, caller)
                        && open(row).is_some()
                        && spent.iter().all(|spent| spent.row != row.name)
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
                    let own = row.max_ttl.map_or(u32::MAX, Lifetime::seconds);
                    own.min(cluster.max_ttl.seconds()).min(open(row).unwrap_or(0))
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
        (seconds >= 600).then_some((seconds, deciding))
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

    fn star(wide: bool) -> impl Fn(char) -> bool + Copy {
        move |c| wide || (' '..='~').contains(&c)
    }

    /// Seconds until no window is open.
    fn open(row: &PolicyRow) -> Option<u32> {
        let Some(texts) = &row.when else { return Some(u32::MAX) };
        WINDOWS.iter().find(|(text, _)| texts[0] == *text).expect("a known window").1
    }

    fn admits(row: &PolicyRow, caller: &Caller) -> bool {
        let shown: Vec<String> = caller.groups.iter().map(ToString::to_string).collect();
        row.required_groups.iter().flatten().all(|group| {
            let source = format!("group:{}:", group.split(':').nth(1).expect("a source"));
            let unknown = !shown.iter().any(|text| text.starts_with(&source));
            shown.contains(group) || (row.effect == Effect::Deny && unknown)
        })
    }

    fn excepted(
        row: &PolicyRow,
        caller: &Caller,
        ask: &Ask,
        claim: Option<&str>,
        reserved: &[String],
    ) -> bool {
        let wide = row.effect == Effect::Allow;
        let takes_out = |patterns: &Option<Vec<String>>, name: &str| {
            let strict = !wide && is_reserved(name, reserved);
            patterns.iter().flatten().any(|pattern| given(row, pattern, name, caller, ask, wide, strict))
        };
        takes_out(&row.except_users, ask.request.user().as_str())
            || claim.is_some_and(|group| takes_out(&row.except_groups, group))
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
                .is_some_and(|pattern| wild(pattern, name, |c| denies || (star(denies)(c) && c != ':')))
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
                let wide = row.effect == Effect::Deny;
                patterns.iter().any(|pattern| given(row, pattern, person.as_str(), caller, ask, wide, false))
            }
        }
    }

    fn names(row: &PolicyRow, caller: &Caller, ask: &Ask, claim: Option<&str>, reserved: &[String]) -> bool {
        let gives = |patterns: &[String], name: &str| {
            let strict = row.effect == Effect::Allow && is_reserved(name, reserved);
            let starred = row.users.iter().chain(&row.callers).any(|pattern| pattern.contains('*'));
            let wide = row.effect == Effect::Deny;
            !(strict && starred)
                && patterns.iter().any(|pattern| given(row, pattern, name, caller, ask, wide, strict))
        };
        let by_group = match (claim, &row.groups, row.effect) {
            (Some(group), Some(groups), _) => gives(groups, group),
            (Some(_), None, _) => false,
            (None, Some(groups), Effect::Deny) => {
                groups.iter().any(|group| group == "*") && row.except_groups.is_none()
            }
            (None, _, _) => true,
        };
        by_group && gives(&row.users, ask.request.user().as_str())
    }

    /// `wide`: in doubt it matches. `strict`: the name is reserved, and what gives it spells it out.
    fn given(
        row: &PolicyRow,
        pattern: &str,
        name: &str,
        caller: &Caller,
        ask: &Ask,
        wide: bool,
        strict: bool,
    ) -> bool {
        if strict {
            return pattern == name;
        }
        let ours = |source: Option<&ShortName>| {
            let text = source.map_or(":".into(), |source| format!(":{source}:"));
            wide || source.is_none() || row.callers.iter().any(|entry| entry.contains(&text))
        };
        if pattern.contains("{on_behalf_of}") {
            let filled = |person: &crate::pki::name::Name| pattern.replace("{on_behalf_of}", person.as_str());
            return ask.on_behalf_of.as_ref().map(filled).as_deref() == Some(name);
        }
        if pattern.contains("{caller}") {
            return ours(caller.source.as_ref()) && pattern.replace("{caller}", &caller.name) == name;
        }
        let anything = |variable: &str| {
            let (before, after) = pattern.split_once(variable).expect("a variable");
            name.len() >= before.len() + after.len() && name.starts_with(before) && name.ends_with(after)
        };
        if pattern.contains("{caller.claim.team}") {
            return match caller.claims.get("team") {
                None => wide && anything("{caller.claim.team}"),
                Some(teams) => {
                    let source = ours(caller.source.as_ref());
                    source && teams.iter().any(|team| pattern.replace("{caller.claim.team}", team) == name)
                }
            };
        }
        if pattern.contains("{caller.groups}") {
            if wide && caller.groups.is_empty() {
                return anything("{caller.groups}");
            }
            return caller.groups.iter().any(|group| {
                let own = wide || caller.source.as_ref() == Some(&group.source);
                own && ours(Some(&group.source)) && pattern.replace("{caller.groups}", &group.name) == name
            });
        }
        !pattern.contains('{') && wild(pattern, name, star(wide))
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
    fn the_decision_is_its_definition(
        rows in rows(), caller in callers(), ask in asks(), together in any::<bool>(), which in any::<u16>(),
    ) {
        let mut world = world();
        if together {
            world.rules.iter_mut().for_each(|rules| rules.trust_group = ShortName::parse("fleet").ok());
        }
        let spent = used_up(&rows, which);
        let set = PolicySet::compile(1, rows.clone(), &world).expect("a set");
        let fast = unheld(set.decide_without(&world, &caller, ask.clone(), NOW, &spent)).ok().map(|approved| {
            let seconds = approved.not_after().seconds_since(NOW);
            let names: Vec<String> = approved.rows().iter().map(ToString::to_string).collect();
            (u32::try_from(seconds).expect("seconds"), names)
        });
        prop_assert_eq!(fast, slowly::decide(&rows, &world, &caller, &ask, &spent));
    }

    #[test]
    fn a_decision_names_the_limits_of_its_rows_and_no_others(rows in rows(), caller in callers(), ask in asks()) {
        if let Ok(approved) = decide(&rows, &caller, &ask) {
            let limited = |name: &&ShortName| {
                rows.iter().any(|row| row.name == **name && row.max_active.or(row.per_hour).is_some())
            };
            let expected: Vec<&ShortName> = approved.rows().iter().filter(limited).collect();
            let named: Vec<&ShortName> = approved.limits().iter().map(|limit| &limit.row).collect();
            prop_assert_eq!(named, expected);
        }
    }

    #[test]
    fn used_up_rows_decide_like_rows_that_are_not_there(
        rows in rows(), caller in callers(), ask in asks(), which in any::<u16>(),
    ) {
        let spent = used_up(&rows, which);
        let set = PolicySet::compile(1, rows.clone(), &world()).expect("a set");
        let others: Vec<PolicyRow> =
            rows.iter().filter(|row| spent.iter().all(|spent| spent.row != row.name)).cloned().collect();
        let one = unheld(set.decide_without(&world(), &caller, ask.clone(), NOW, &spent));
        match (one, decide(&others, &caller, &ask)) {
            (Ok(one), Ok(other)) => {
                prop_assert_eq!(one.rows(), other.rows());
                prop_assert_eq!(one.not_after(), other.not_after());
            }
            (one, other) => prop_assert_eq!(one.is_ok(), other.is_ok()),
        }
    }

    #[test]
    fn the_explanation_is_the_decision(
        rows in rows(), caller in callers(), ask in asks(), together in any::<bool>(), which in any::<u16>(),
    ) {
        let mut world = world();
        if together {
            world.rules.iter_mut().for_each(|rules| rules.trust_group = ShortName::parse("fleet").ok());
        }
        let rows = reviewing(rows, which);
        let set = PolicySet::compile(1, rows.clone(), &world).expect("a set");
        let spent = used_up(&rows, which);
        let decided = set.decide_without(&world, &caller, ask.clone(), NOW, &spent);
        let moment = Moment { now: NOW, spent: &spent };
        let explained = set.explain(&world, &caller, ask.question(), moment, Audience::Reader);
        let is_allowed = |outcome| matches!(outcome, ClaimOutcome::Allowed | ClaimOutcome::Held);
        let allowed = explained.claims.iter().all(|claim| is_allowed(claim.outcome));
        let mut held_by: Vec<&ShortName> = explained.claims.iter().flat_map(|claim| &claim.held_by).collect();
        held_by.sort();
        held_by.dedup();
        match decided {
            Ok(Decision::Held(held)) => {
                prop_assert!(allowed, "{:?}", explained);
                prop_assert_eq!(&explained.policies, held.rows());
                prop_assert_eq!(held_by, held.reviews().iter().map(|row| &row.name).collect::<Vec<_>>());
                prop_assert_eq!(explained.verdict.lifetime(), Some(held.lifetime()));
                let lifetime = explained.lifetime.expect("a lifetime");
                prop_assert_eq!(lifetime.not_after, held.not_after());
                prop_assert_eq!(lifetime.warning.as_slice(), held.warnings());
            }
            Ok(Decision::Approved(approved)) => {
                prop_assert!(held_by.is_empty());
                prop_assert!(allowed, "{:?}", explained);
                prop_assert_eq!(&explained.policies, approved.rows());
                let lifetime = explained.lifetime.expect("a lifetime");
                prop_assert_eq!(lifetime.not_before, approved.not_before());
                prop_assert_eq!(lifetime.not_after, approved.not_after());
                prop_assert_eq!(lifetime.warning.as_slice(), approved.warnings());
            }
            Err(refused) => {
                let too_short = violations(&refused).iter().any(|told| told.claim == super::Claim::Lifetime);
                prop_assert_eq!(allowed, too_short, "{:?}", explained);
                prop_assert!(explained.lifetime.is_none() && explained.policies.is_empty());
                let mut denied: Vec<ShortName> = explained.claims.iter()
                    .flat_map(|claim| &claim.rows)
                    .filter(|row| row.matches && row.effect == Effect::Deny)
                    .map(|row| row.policy.clone())
                    .collect();
                denied.sort();
                denied.dedup();
                prop_assert_eq!(&denied, &refused.rows);
                let told = explained.verdict.violations().iter()
                    .filter(|told| matches!(told.claim, super::Claim::User | super::Claim::Group))
                    .map(|told| (told.claim, told.value.clone()));
                let mut unmet: Vec<_> = explained.claims.iter()
                    .filter(|claim| !is_allowed(claim.outcome))
                    .map(|claim| (claim.claim, claim.value.clone()))
                    .collect();
                unmet.dedup();
                prop_assert_eq!(unmet, told.collect::<Vec<_>>());
                prop_assert_eq!(explained.verdict.violations(), violations(&refused));
            }
        }
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

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_requester_is_explained_nothing_of_other_callers(rows in rows(), caller in callers(), ask in asks()) {
        let set = PolicySet::compile(1, rows.clone(), &world()).expect("a set");
        let told = set.explain(&world(), &caller, ask.question(), NOW.into(), Audience::Requester);
        for row in told.claims.iter().flat_map(|claim| &claim.rows) {
            prop_assert!(row.effect == Effect::Allow, "no row of these explains itself");
            prop_assert!(!row.fails_on.contains(&Field::Callers) && !row.fails_on.contains(&Field::Enabled));
        }
        let mine: Vec<PolicyRow> = rows.into_iter().filter(|row| row.effect != Effect::Allow || is_for(row, &caller)).collect();
        let alone = PolicySet::compile(1, mine, &world()).expect("a set");
        let again = alone.explain(&world(), &caller, ask.question(), NOW.into(), Audience::Requester);
        prop_assert_eq!(told.claims, again.claims);
        prop_assert_eq!(told.policies, again.policies);
    }

    #[test]
    fn what_is_considered_for_a_refusal_is_what_the_explanation_says(
        rows in rows(), caller in callers(), ask in asks(), which in any::<u16>(),
    ) {
        let spent = used_up(&rows, which);
        let moment = Moment { now: NOW, spent: &spent };
        let set = PolicySet::compile(1, rows, &world()).expect("a set");
        let explained = set.explain(&world(), &caller, ask.question(), moment, Audience::Requester);
        for told in explained.verdict.violations() {
            let of = explained.claims.iter().find(|claim| (claim.claim, &claim.value) == (told.claim, &told.value));
            let expected = of.filter(|claim| claim.outcome == ClaimOutcome::NoRow).map(|claim| {
                claim.rows.iter().take(5).map(|row| (row.policy.clone(), row.fails_on.clone())).collect::<Vec<_>>()
            });
            let considered: Vec<_> =
                told.considered.iter().map(|near| (near.policy.clone(), near.fails_on.clone())).collect();
            prop_assert_eq!(considered, expected.unwrap_or_default());
        }
    }
}

/// How often the strategies above reach an approval at all: a property of nothing holds always.
#[test]
fn the_properties_are_tried_on_approvals_too() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let (mut approved, mut under_conditions) = (0, 0);
    for _ in 0..1_000 {
        let rows = rows().new_tree(&mut runner).expect("rows").current();
        let caller = callers().new_tree(&mut runner).expect("a caller").current();
        let ask = asks().new_tree(&mut runner).expect("a wish").current();
        let Ok(decided) = decide(&rows, &caller, &ask) else { continue };
        approved += 1;
        let plain = |row: &PolicyRow| {
            let lists = [&row.except_users, &row.except_groups, &row.required_groups, &row.when];
            lists.into_iter().all(Option::is_none) && row.max_active.or(row.per_hour).is_none()
        };
        let named = rows.iter().filter(|row| decided.rows().contains(&row.name));
        under_conditions += usize::from(!named.clone().all(plain));
    }
    assert!(approved >= 60 && under_conditions >= 30, "{approved} and {under_conditions} of 1,000");
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
    let shapes: [(&str, Shape); 8] = [
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
        ("one window each", |place| {
            json!({"users": ["*"], "groups": [format!("team-{place}")], "max_active": 3,
                "when": ["mon-fri 08:00-18:00 Europe/Berlin"]})
        }),
        ("one exception each", |place| {
            let except = format!("team-{place}1*");
            json!({"users": ["al*"], "groups": [format!("team-{place}*")], "except_groups": [except, "root"]})
        }),
        (
            "all but one each",
            |place| json!({"users": ["*"], "groups": ["*"], "except_groups": [format!("root-{place}")]}),
        ),
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

#[test]
fn the_conditions_of_ten_thousand_rows_are_told_of_in_bounded_time() {
    let rows = (0..10_000).map(|place| {
        row(json!({"name": format!("row-{place}"), "effect": "allow", "groups": ["*"], "max_active": 1,
            "except_groups": [format!("y-{place}*"), "z*"], "required_groups": ["group:corp:dev"],
            "when": ["sat-sun 00:00-24:00 Europe/Berlin"]}))
    });
    let (refused, taken) = refused_in(rows.collect());
    println!("{taken:?}");
    assert!(taken.as_millis() < 5_000, "{taken:?}");
    let super::Refusal::Policy(told) = refused.refusal else { panic!("no policy refusal") };
    assert!(told.iter().all(|violation| violation.rule.as_deref() == Some("row-0")), "{told:?}");
}
