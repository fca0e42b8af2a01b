//! Except lists, required groups, claims, windows and limits, as the decision takes them.

use serde_json::{Value, json};

use super::testing::{HOUR, ask, clusters, oidc, portal, set, short, unheld};
use super::{Approved, Ask, Claim, Limit, LimitKind, Refusal, Refused, Spent, Violation};
use crate::caller::Caller;
use crate::time::{Lifetime, Time};

/// A Tuesday, 10:00 in Berlin.
const TUESDAY: &str = "2026-06-02T08:00:00Z";
const OFFICE: &str = "mon-fri 08:00-18:00 Europe/Berlin";

fn time(text: &str) -> Time {
    Time::parse(text).expect("a time")
}

fn at(rows: &Value, caller: &Caller, ask: Ask, now: &str) -> Result<Approved, Box<Refused>> {
    without(rows, caller, ask, now, &[])
}

fn without(
    rows: &Value,
    caller: &Caller,
    ask: Ask,
    now: &str,
    spent: &[Spent],
) -> Result<Approved, Box<Refused>> {
    let mut clusters = clusters();
    clusters.rules.iter_mut().for_each(|rules| rules.ca_not_before = time("2020-01-01T00:00:00Z"));
    clusters.rules.iter_mut().for_each(|rules| rules.ca_not_after = time("2040-01-01T00:00:00Z"));
    unheld(set(rows).decide_without(&clusters, caller, ask, time(now), spent))
}

fn allows(rows: &Value, caller: &Caller, user: &str, groups: &[&str]) -> bool {
    at(rows, caller, ask(user, groups), TUESDAY).is_ok()
}

fn told(refused: Result<Approved, Box<Refused>>) -> Vec<Violation> {
    match refused.expect_err("a refusal").refusal {
        Refusal::Policy(violations) => violations,
        other => panic!("{other:?}"),
    }
}

/// The row, if one is named, and the sentence of the first violation.
fn why(rows: &Value, caller: &Caller, user: &str, groups: &[&str]) -> (String, String) {
    let first = told(at(rows, caller, ask(user, groups), TUESDAY)).remove(0);
    (named(&first).to_owned(), first.reason)
}

/// The row that a violation names; empty where it names none.
fn named(told: &Violation) -> &str {
    told.rule.as_deref().unwrap_or_default()
}

fn with_claim(mut caller: Caller, claim: &str, values: &[&str]) -> Caller {
    caller.claims.insert(claim.to_owned(), values.iter().map(ToString::to_string).collect());
    caller
}

#[test]
fn a_name_that_an_allow_row_leaves_out_is_not_given_by_it() {
    let rows = json!([{"name": "team", "users": ["*"], "except_users": ["root-*", "bob"], "groups": ["*"],
        "except_groups": ["*-admin"]}]);
    assert!(allows(&rows, &portal(), "alice", &["dev"]));
    assert!(!allows(&rows, &portal(), "bob", &[]));
    assert!(!allows(&rows, &portal(), "root-1", &["dev"]));
    let violations = told(at(&rows, &portal(), ask("alice", &["dev", "db-admin"]), TUESDAY));
    assert_eq!(violations.len(), 1);
    let told = (violations[0].claim, named(&violations[0]), violations[0].reason.as_str());
    assert_eq!(told, (Claim::Group, "team", "policy `team` leaves out the group `db-admin`"));
    let reason = "policy `team` leaves out the user name `bob`".to_owned();
    assert_eq!(why(&rows, &portal(), "bob", &["dev"]), ("team".to_owned(), reason));
    let another = json!([rows[0], {"users": ["bob"], "groups": ["db-admin"]}]);
    assert!(allows(&another, &portal(), "bob", &["db-admin"]), "another row gives both");
}

#[test]
fn a_star_leaves_out_whatever_it_covers_and_the_longest_of_the_rest_decides() {
    let rows = json!([
        {"name": "short", "groups": ["*"], "max_ttl": "1h"},
        {"name": "long", "groups": ["*"], "except_groups": ["ops*"], "max_ttl": "4h"},
    ]);
    let rows_for = |group: &str| {
        at(&rows, &portal(), ask("alice", &[group]), TUESDAY).expect("approved").rows().to_vec()
    };
    assert_eq!(rows_for("dev"), [short("long")]);
    assert_eq!(rows_for("ops-1"), [short("long"), short("short")], "the name is given for as long as it was");
}

#[test]
fn what_an_allow_row_leaves_out_is_read_widely() {
    let caller = oidc("corp", "alice", &["dev"]);
    let spelled =
        json!([{"callers": ["oidc:corp:alice"], "users": ["kubeadm:x"], "except_users": ["kubeadm:*"]}]);
    assert!(!allows(&spelled, &caller, "kubeadm:x", &[]), "a star sees reserved names");
    let all = json!([{"callers": ["oidc:corp:*"], "users": ["é"], "except_users": ["*"]}]);
    assert!(!allows(&all, &caller, "é", &[]), "a star covers every letter");
    let by_claim =
        json!([{"callers": ["oidc:corp:*"], "users": ["alice"], "except_users": ["{caller.claim.blocked}"]}]);
    assert!(!allows(&by_claim, &caller, "alice", &[]), "the credential does not say who is blocked");
    assert!(allows(&by_claim, &with_claim(caller.clone(), "blocked", &[]), "alice", &[]));
    assert!(allows(&by_claim, &with_claim(caller.clone(), "blocked", &["bob"]), "alice", &[]));
    assert!(!allows(&by_claim, &with_claim(caller.clone(), "blocked", &["bob", "alice"]), "alice", &[]));
    let unknown = oidc("corp", "alice", &[]);
    let by_group = json!([{"callers": ["oidc:corp:*"], "users": ["alice"], "groups": ["*"], "except_groups": ["{caller.groups}"]}]);
    assert!(!allows(&by_group, &caller, "alice", &["dev"]));
    assert!(allows(&by_group, &caller, "alice", &["ops"]));
    assert!(!allows(&by_group, &unknown, "alice", &["ops"]), "it may be in any group");
}

#[test]
fn a_name_that_a_deny_row_leaves_out_is_not_denied_by_it() {
    let rows = json!([{"users": ["*"], "groups": ["*"]},
        {"effect": "deny", "users": ["*"], "groups": ["*"], "except_groups": ["dev", "team-*"]}]);
    assert!(allows(&rows, &portal(), "alice", &["dev", "team-1"]));
    assert!(!allows(&rows, &portal(), "alice", &["dev", "ops"]));
    assert!(allows(&rows, &portal(), "alice", &[]), "it speaks of groups, and none is asked for");
    let rows = json!([{"users": ["*"]}, {"effect": "deny", "users": ["*"], "except_users": ["alice"]}]);
    assert!(allows(&rows, &portal(), "alice", &[]));
    assert!(!allows(&rows, &portal(), "bob", &[]));
}

#[test]
fn what_a_deny_row_leaves_out_is_read_strictly() {
    let allow = json!({"callers": ["oidc:corp:alice"], "users": ["é", "alice", "kubeadm:x"]});
    let deny = |except: &str| json!([allow, {"effect": "deny", "callers": ["oidc:corp:*"], "users": ["*"], "except_users": [except]}]);
    let caller = oidc("corp", "alice", &[]);
    assert!(!allows(&deny("*"), &caller, "é", &[]), "a star covers printable ASCII only");
    assert!(!allows(&deny("*"), &caller, "kubeadm:x", &[]), "and sees no reserved name");
    assert!(allows(&deny("kubeadm:x"), &caller, "kubeadm:x", &[]));
    let by_claim = deny("{caller.claim.name}");
    assert!(!allows(&by_claim, &caller, "alice", &[]), "the credential does not show a name");
    assert!(allows(&by_claim, &with_claim(caller.clone(), "name", &["alice"]), "alice", &[]));
    assert!(!allows(&by_claim, &with_claim(caller, "name", &["kubeadm:x"]), "kubeadm:x", &[]));
}

#[test]
fn a_claim_gives_its_values_as_literals_to_callers_of_its_source() {
    let rows = json!([{"callers": ["oidc:corp:*"], "users": ["{caller.claim.email}"], "groups": ["team-{caller.claim.team}"]}]);
    let alice =
        with_claim(with_claim(oidc("corp", "1", &[]), "email", &["alice@corp"]), "team", &["a*", "b"]);
    assert!(allows(&rows, &alice, "alice@corp", &["team-a*", "team-b"]));
    assert!(!allows(&rows, &alice, "alice@corp", &["team-ab"]));
    assert!(!allows(&rows, &oidc("corp", "1", &[]), "alice@corp", &[]), "not shown is not given");
    let root = with_claim(oidc("corp", "1", &[]), "email", &["kubeadm:x", "root", "system:masters"]);
    for name in ["kubeadm:x", "root", "system:masters"] {
        assert!(!allows(&rows, &root, name, &[]), "{name} is reserved");
    }
    let near = told(at(&rows, &alice, ask("alicia@corp", &[]), TUESDAY));
    assert_eq!(near[0].allowed, ["alice@corp"]);
}

#[test]
fn a_claim_that_is_not_shown_could_be_any_where_a_row_denies() {
    let rows = json!([{"callers": ["oidc:corp:alice"], "users": ["*"]},
        {"effect": "deny", "callers": ["oidc:corp:*"], "users": ["x-{caller.claim.former}"]}]);
    let alice = oidc("corp", "alice", &[]);
    assert!(!allows(&rows, &alice, "x-anything", &[]));
    assert!(allows(&rows, &alice, "bob", &[]));
    assert!(allows(&rows, &with_claim(alice.clone(), "former", &[]), "x-anything", &[]));
    assert!(allows(&rows, &with_claim(alice.clone(), "former", &["y"]), "x-anything", &[]));
    assert!(!allows(&rows, &with_claim(alice, "former", &["y", "é"]), "x-é", &[]));
    let rows = json!([{"users": ["*"], "groups": ["*"]}, {"effect": "deny", "users": ["*"], "groups": ["x-{caller.groups}"]}]);
    assert!(!allows(&rows, &portal(), "alice", &["x-dev"]), "a token shows no groups");
}

#[test]
fn every_required_group_is_needed_and_only_the_callers_own_count() {
    let rows = json!([{"name": "on-call", "callers": ["oidc:corp:*"], "groups": ["*"],
        "required_groups": ["group:corp:dev", "group:corp:on-call"]}]);
    assert!(allows(&rows, &oidc("corp", "alice", &["dev", "on-call", "x"]), "alice", &["ops"]));
    for groups in [&["dev"][..], &["dev", "on-call-2"], &["dev", "On-call"], &[]] {
        assert!(!allows(&rows, &oidc("corp", "alice", groups), "alice", &["dev", "on-call"]), "{groups:?}");
    }
    let mut elsewhere = oidc("corp", "alice", &["dev"]);
    elsewhere.groups.extend(oidc("other", "alice", &["on-call"]).groups);
    assert!(!allows(&rows, &elsewhere, "alice", &[]), "of another source");
    let reason = "policy `on-call` gives `alice` only with group:corp:on-call, which this caller's credential does not show";
    assert_eq!(
        why(&rows, &oidc("corp", "alice", &["dev"]), "alice", &[]),
        ("on-call".to_owned(), reason.to_owned())
    );
}

#[test]
fn a_group_that_the_credential_cannot_show_counts_where_a_row_denies() {
    let rows = json!([{"callers": ["oidc:corp:*", "token:*"]},
        {"effect": "deny", "callers": ["oidc:corp:*", "token:*"], "required_groups": ["group:corp:contractors"]}]);
    assert!(!allows(&rows, &oidc("corp", "alice", &["dev", "contractors"]), "alice", &[]));
    assert!(allows(&rows, &oidc("corp", "alice", &["dev"]), "alice", &[]), "its groups are shown");
    assert!(!allows(&rows, &oidc("corp", "alice", &[]), "alice", &[]), "its groups may have been left out");
    assert!(!allows(&rows, &portal(), "alice", &[]), "a token shows no groups");
}

#[test]
fn a_row_is_in_force_in_its_windows_only() {
    let rows = json!([{"name": "office", "when": [OFFICE]}]);
    assert!(at(&rows, &portal(), ask("alice", &[]), TUESDAY).is_ok());
    let violations = told(at(&rows, &portal(), ask("alice", &[]), "2026-06-05T16:00:00Z"));
    assert_eq!(named(&violations[0]), "office");
    assert_eq!(
        violations[0].reason,
        "policy `office` gives `alice` only mon-fri 08:00-18:00 Europe/Berlin: try again at 2026-06-08T06:00:00Z"
    );
    let freeze = json!([{}, {"effect": "deny", "when": ["fri 12:00-24:00 Europe/Berlin", "sat-sun 00:00-24:00 Europe/Berlin"]}]);
    assert!(at(&freeze, &portal(), ask("alice", &[]), TUESDAY).is_ok());
    assert!(at(&freeze, &portal(), ask("alice", &[]), "2026-06-06T08:00:00Z").is_err());
}

#[test]
fn a_lifetime_ends_with_the_window() {
    let rows = json!([{"name": "office", "when": [OFFICE]}]);
    let end = |now: &str, ttl| {
        let wish = Ask { ttl: Some(Lifetime::from_seconds(ttl)), ..ask("alice", &[]) };
        let approved = at(&rows, &portal(), wish, now).expect("approved");
        (approved.not_after().to_string(), approved.warnings().to_vec())
    };
    assert_eq!(end(TUESDAY, 8 * HOUR), ("2026-06-02T16:00:00Z".to_owned(), vec![]));
    let warning =
        "the lifetime was cut from 9h to 8h: policy `office` gives at most 8h, until its window ends";
    assert_eq!(end(TUESDAY, 9 * HOUR), ("2026-06-02T16:00:00Z".to_owned(), vec![warning.to_owned()]));
    assert_eq!(end("2026-06-02T15:50:00Z", 9 * HOUR).0, "2026-06-02T16:00:00Z");
    let late = told(at(&rows, &portal(), ask("alice", &[]), "2026-06-02T15:51:00Z"));
    assert_eq!((late[0].claim, named(&late[0])), (Claim::Lifetime, "office"));
    assert_eq!(
        late[0].reason,
        "the window of policy `office` ends in 9m, and no certificate lives under 10m"
    );
}

#[test]
fn a_row_without_a_window_gives_more_than_one_whose_window_ends() {
    let rows = json!([{"name": "office", "when": [OFFICE]}, {"name": "always", "max_ttl": "9h"}]);
    let approved = at(&rows, &portal(), ask("alice", &[]), TUESDAY).expect("approved");
    assert_eq!(approved.rows(), [short("always")]);
    let rows = json!([{"name": "office", "when": [OFFICE]}, {"name": "always", "max_ttl": "1h"}]);
    let approved = at(&rows, &portal(), ask("alice", &[]), TUESDAY).expect("approved");
    assert_eq!(approved.rows(), [short("office")]);
}

fn spent(row: &str, limit: LimitKind) -> Spent {
    Spent { row: short(row), limit, until: time("2026-06-02T09:30:00Z") }
}

#[test]
fn a_decision_names_the_limits_of_the_rows_that_it_rests_on() {
    let rows = json!([
        {"name": "few", "groups": ["dev"], "max_active": 3, "per_hour": 10},
        {"name": "short", "groups": ["dev"], "max_ttl": "1h", "max_active": 1},
        {"name": "ops", "groups": ["ops"], "max_active": 9},
        {"name": "many", "groups": ["qa"]},
    ]);
    let approved = at(&rows, &portal(), ask("alice", &["dev", "qa"]), TUESDAY).expect("approved");
    assert_eq!(approved.limits(), [Limit { row: short("few"), max_active: Some(3), per_hour: Some(10) }]);
    let approved = at(&rows, &portal(), ask("alice", &["qa"]), TUESDAY).expect("approved");
    assert!(approved.limits().is_empty());
}

#[test]
fn a_row_whose_limit_is_used_up_allows_nothing_and_another_row_may() {
    let rows = json!([{"name": "few", "groups": ["dev"], "max_active": 3},
        {"name": "short", "groups": ["dev"], "max_ttl": "1h"}]);
    let used_up = [spent("few", LimitKind::Active(3)), spent("gone", LimitKind::Active(1))];
    let approved = without(&rows, &portal(), ask("alice", &["dev"]), TUESDAY, &used_up).expect("approved");
    assert_eq!(approved.rows(), [short("short")]);
    assert!(approved.limits().is_empty());
    let rows = json!([rows[0]]);
    let violations = told(without(&rows, &portal(), ask("alice", &["dev"]), TUESDAY, &used_up));
    assert_eq!(violations.len(), 2);
    let reason = "policy `few` gives `alice` at most 3 certificates at a time: try again at 2026-06-02T09:30:00Z, when \
        one has ended";
    assert!(violations.iter().all(|told| named(told) == "few" && told.reason == reason), "{violations:?}");
    let hourly = [spent("few", LimitKind::PerHour(1))];
    let violations = told(without(&rows, &portal(), ask("alice", &["dev"]), TUESDAY, &hourly));
    let reason =
        "policy `few` gives `alice` at most 1 certificate an hour: try again at 2026-06-02T09:30:00Z";
    assert_eq!(violations[0].reason, reason);
}

#[test]
fn of_several_conditions_the_one_that_passes_soonest_is_told() {
    let rows = json!([
        {"name": "a", "except_users": ["alice"]},
        {"name": "b", "required_groups": ["group:corp:dev"]},
        {"name": "c", "when": ["sun 00:00-24:00 UTC"]},
        {"name": "d", "when": ["sun 00:00-24:00 UTC"], "required_groups": ["group:corp:dev"]},
    ]);
    assert_eq!(why(&rows, &portal(), "alice", &[]).0, "c");
    let rows = json!([rows[0], rows[1], rows[3]]);
    assert_eq!(why(&rows, &portal(), "alice", &[]).0, "b");
    let rows = json!([rows[0], {"name": "e", "max_active": 1}]);
    let used_up = [spent("e", LimitKind::Active(1))];
    let violations = told(without(&rows, &portal(), ask("alice", &[]), TUESDAY, &used_up));
    assert_eq!(named(&violations[0]), "e");
}

#[test]
fn the_conditions_of_other_callers_rows_and_of_deny_rows_are_not_told() {
    let rows = json!([{"callers": ["token:other"], "when": ["sun 00:00-24:00 UTC"]}]);
    let reason = "no policy gives this caller `alice` on cluster prod".to_owned();
    assert_eq!(why(&rows, &portal(), "alice", &[]), (String::new(), reason));
    let rows = json!([{"when": ["sun 00:00-24:00 UTC"]}, {"effect": "deny", "when": [OFFICE]}]);
    assert_eq!(why(&rows, &portal(), "alice", &[]), (String::new(), "denied by policy".to_owned()));
}

#[test]
fn what_comes_nearest_holds_now() {
    let rows = json!([
        {"users": ["alicia"], "when": ["sun 00:00-24:00 UTC"]},
        {"users": ["alicib", "alicic"], "except_users": ["alicic"]},
        {"users": ["alicid"], "required_groups": ["group:corp:dev"]},
        {"users": ["alici-*"], "when": ["sun 00:00-24:00 UTC"]},
    ]);
    let violations = told(at(&rows, &portal(), ask("alici", &[]), TUESDAY));
    assert_eq!(violations[0].allowed, ["alicib"]);
}

#[test]
fn what_a_caller_may_ask_for_follows_the_conditions() {
    let rows = json!([
        {"callers": ["oidc:corp:*"], "users": ["{caller}", "bob"], "except_users": ["bob"],
            "groups": ["team-*", "dev", "ops"], "except_groups": ["team-root", "ops"], "when": [OFFICE]},
        {"callers": ["oidc:corp:*"], "users": ["carol"], "required_groups": ["group:corp:carols"], "max_ttl": "24h"},
    ]);
    let permissions = |caller: &Caller, now: &str| set(&rows).permissions(&clusters(), caller, time(now));
    let alice = oidc("corp", "alice", &["dev"]);
    let told = permissions(&alice, TUESDAY).remove(0);
    assert_eq!((&told.users, &told.except_users), (&vec!["alice".to_owned()], &Vec::new()));
    assert_eq!(told.groups, ["dev", "team-*"]);
    assert_eq!(told.except_groups, ["ops", "team-root"]);
    assert_eq!(told.max_ttl, Lifetime::from_seconds(8 * HOUR), "until the window ends");
    assert!(permissions(&alice, "2026-06-06T08:00:00Z").is_empty());
    let told = permissions(&oidc("corp", "alice", &["carols"]), "2026-06-06T08:00:00Z").remove(0);
    assert_eq!(told.users, ["carol"]);
}
