//! Every route against every credential: none, malformed, wrong, expired, revoked, replaced, of
//! another role, another caller's, and the right one.
//!
//! The routes are those of `ROUTES`. Each needs a line of [`rules::RULES`], which says how it is asked
//! rightly and whose things it shows; a route without one fails here. A new way to authenticate is a
//! line of [`STRANGERS`] for each of its credentials that do not hold, and one of [`CALLERS`] for one
//! that does.

mod browsers;
mod rules;
mod ways;
mod world;

use std::collections::BTreeSet;
use std::future::ready;

use countersign::http::{Access, ROUTES, Route};
use serde_json::Value;

use self::rules::{Others, RULES, Rule};
use self::world::World;
use crate::app::{Client, TestApp};
use crate::issuer::with;

const ROLES: [&str; 4] = ["requester", "auditor", "admin", "approver"];

/// A credential that holds for nobody.
type Stranger = fn(&World) -> Client;

/// Every credential that opens nothing, by what is wrong with it.
const STRANGERS: &[(&str, Stranger)] = &[
    ("none", |world| world.app.nobody()),
    ("an empty header", |world| world.app.with_authorization("")),
    ("a scheme without a token", |world| world.app.with_authorization("Bearer ")),
    ("no token", |world| world.app.with_authorization("Bearer x")),
    ("a password", |world| world.app.with_authorization("Basic YWRtaW46YWRtaW4=")),
    ("another scheme", |world| world.app.with_authorization("Negotiate YIIB")),
    ("a token that is no JWT of anybody", |world| {
        world.app.with_authorization("Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbiJ9.")
    }),
    ("a token with a wrong checksum", |world| {
        world
            .app
            .with_authorization("Bearer cs1_0123456789ab_0000000000000000000000000000000000000000000000000")
    }),
    ("a token that was never given", |world| world.never_given.clone()),
    ("a token's id with another secret", |world| world.wrong_secret.clone()),
    ("two tokens in one header", |world| {
        let two = format!("{}, {}", world.authorization, world.authorization);
        world.app.with_authorization(&two)
    }),
    ("an expired token", |world| world.expired.clone()),
    ("a revoked token", |world| world.revoked.clone()),
    ("a secret that was replaced and whose grace is over", |world| world.replaced.clone()),
    ("an expired JWT", |world| ways::signed_in(&world.app, &with(&admin(), "exp", crate::app::NOON.unix()))),
    ("a JWT for another service", |world| ways::signed_in(&world.app, &with(&admin(), "aud", "grafana"))),
    ("a JWT that another issuer signed", |world| ways::signed_in_elsewhere(&world.app, &admin())),
    ("a JWT of an issuer that nobody knows", |world| {
        ways::signed_in(&world.app, &with(&admin(), "iss", "https://evil.example"))
    }),
    ("a JWT that lacks what is required", |world| {
        ways::signed_in(&world.app, &with(&admin(), "hd", "evil.example"))
    }),
    ("a name that is another subject's", |world| {
        ways::signed_in(&world.app, &with(&admin(), "sub", "another"))
    }),
    ("a pod's token for the API server", |world| {
        ways::pod(&world.app, &with(&robot(), "aud", "https://kubernetes.default.svc"))
    }),
    ("a pod's expired token", |world| ways::pod(&world.app, &with(&robot(), "exp", crate::app::NOON.unix()))),
    ("a pod's token of no cluster here", |world| ways::signed_in(&world.app, &robot())),
    ("a client certificate of somebody", |world| world.companies.foreigner(&world.app)),
    ("a client certificate that has expired", |world| {
        world.companies.former_device(&world.app, "only-admin")
    }),
    ("a certificate of ours that has expired", |world| world.past.clone()),
    ("a certificate of ours whose key is blocked", |world| world.lost.clone()),
    ("a certificate of a CA of ours that is not in the ledger", |world| world.unrecorded.clone()),
    ("a subject whose name was given free and is another's", |world| world.former.clone()),
    ("a proxy's word with another certificate of its CA", |world| {
        world.companies.gated_by_another(&world.app, "only-admin", &ROLES)
    }),
    ("a proxy's word without its secret", |world| {
        ways::through_proxy(&world.app, "only-admin", &ROLES, "0123456789abcdef0123456789abcdeF")
    }),
    ("a proxy's word from elsewhere", |world| {
        ways::proxied(&world.app, "only-admin", &ROLES).at_address("10.0.1.7")
    }),
    ("a proxy's word, twice", |world| {
        ways::proxied(&world.app, "only-admin", &ROLES).with_header("x-forwarded-user", "only-admin")
    }),
];

/// What a sound JWT says of who may everything.
fn admin() -> Value {
    ways::person("only-admin", &ROLES)
}

/// What a sound token says of a service account that may much.
fn robot() -> Value {
    ways::account("only-admin", &["admin"])
}

/// Somebody of one name with these roles.
type Caller = for<'w> fn(&'w World, &'w str, &'w [&'w str]) -> world::Making<'w>;

/// Every way to authenticate that opens something.
const CALLERS: &[(&str, Caller)] = &[
    ("an API token", |world, name, roles| Box::pin(world.app.client(name, roles, true))),
    ("OpenID Connect", |world, name, roles| {
        Box::pin(ready(ways::signed_in(&world.app, &ways::person(name, roles))))
    }),
    ("a service account", |world, name, roles| {
        Box::pin(ready(ways::pod(&world.app, &ways::account(name, roles))))
    }),
    ("a client certificate", |world, name, _| Box::pin(ready(world.companies.device(&world.app, name)))),
    ("a trusted proxy", |world, name, roles| Box::pin(ready(ways::proxied(&world.app, name, roles)))),
    ("a proxy with a certificate", |world, name, roles| {
        Box::pin(ready(world.companies.gated(&world.app, name, roles)))
    }),
];

fn named(route: &Route) -> String {
    format!("{} {}", route.method, route.path)
}

fn rule(route: &Route) -> &'static Rule {
    let rule = RULES.iter().find(|rule| (rule.method, rule.path) == (route.method, route.path));
    rule.unwrap_or_else(|| panic!("{} has no rule in tests/api/access/rules.rs", named(route)))
}

/// A world of its own for a route that changes something.
async fn fresh_for(route: &Route) -> Option<World> {
    if route.method == "GET" { None } else { Some(World::new().await) }
}

#[test]
fn every_route_has_a_rule_and_every_rule_a_route() {
    let routes: BTreeSet<_> = ROUTES.iter().map(named).collect();
    let rules: BTreeSet<_> = RULES.iter().map(|rule| format!("{} {}", rule.method, rule.path)).collect();
    assert_eq!(rules, routes);
    assert_eq!(RULES.len(), ROUTES.len());
    for route in ROUTES {
        let (who, admitted) = (rule(route).role, route.access.roles());
        assert!(admitted.is_empty() || admitted.contains(&who), "{}: {who}", named(route));
    }
}

#[tokio::test]
async fn what_does_not_hold_opens_nothing() {
    let world = World::new().await;
    for route in ROUTES {
        let open = route.access == Access::Open;
        for (what, stranger) in STRANGERS {
            let answer = world.ask(&stranger(&world), rule(route)).await;
            assert_eq!(answer.status == 401, !open, "{}: {what}: {}", named(route), answer.text());
            if !open {
                assert!(answer.header("www-authenticate").starts_with("Bearer"), "{}: {what}", named(route));
            }
        }
    }
    let events = world.auditor.get("/v1/audit?limit=1").await.expect(200);
    assert_eq!(events["items"][0]["number"], world.newest, "nobody changed anything");
}

/// Every way to show two callers in one request. Two of one kind take the same place in it.
async fn pairs(world: &World) -> Vec<(String, Client)> {
    let mut all = vec![("a certificate of ours", world.certificate().clone())];
    for (kind, caller) in CALLERS {
        all.push((kind, caller(world, "only-admin-twice", &ROLES).await));
    }
    all.push(("a wrong token", world.wrong_secret.clone()));
    let mut pairs = Vec::new();
    for (number, (one, first)) in all.iter().enumerate() {
        for (other, second) in all.iter().skip(number + 1) {
            if let Some(both) = first.beside(second) {
                pairs.push((format!("{one}, {other}"), both));
            }
        }
    }
    pairs
}

#[tokio::test]
async fn two_credentials_in_one_request_are_400_on_every_route() {
    let world = World::new().await;
    let pairs = pairs(&world).await;
    assert_eq!(pairs.len(), 4 * 4 + 3, "four bearers with four others, and a proxy with three certificates");
    for route in ROUTES.iter().filter(|route| route.access != Access::Open) {
        for (what, both) in &pairs {
            let answer = world.ask(both, rule(route)).await;
            assert_eq!(answer.status, 400, "{}: {what}: {}", named(route), answer.text());
            assert_eq!(answer.json()["code"], "several_credentials", "{}: {what}", named(route));
        }
    }
}

#[tokio::test]
async fn a_role_opens_its_own_routes_only() {
    let world = World::new().await;
    for (kind, caller) in CALLERS {
        let nothing = caller(&world, "nothing", &[]).await;
        let mut of_role = Vec::new();
        for role in &ROLES {
            let name = format!("only-{role}");
            of_role.push((role, caller(&world, &name, std::slice::from_ref(role)).await));
        }
        for route in ROUTES {
            let roles = route.access.roles();
            for (role, client) in &of_role {
                let lacking = world.lacks_role(client, rule(route)).await;
                let expected = !roles.is_empty() && !roles.contains(role);
                assert_eq!(lacking, expected, "{kind}, {role}: {}", named(route));
            }
            let lacking = world.lacks_role(&nothing, rule(route)).await;
            assert_eq!(lacking, !roles.is_empty(), "{kind}, no role: {}", named(route));
        }
    }
}

#[tokio::test]
async fn the_right_credential_opens_every_route() {
    let shared = World::new().await;
    for route in ROUTES {
        let (fresh, rule) = (fresh_for(route).await, rule(route));
        let world = fresh.as_ref().unwrap_or(&shared);
        let answer = world.ask(world.owner(rule), rule).await;
        assert_eq!(answer.status.as_u16(), rule.status, "{}: {}", named(route), answer.text());
    }
}

#[tokio::test]
async fn what_is_another_callers_is_not_there() {
    let shared = World::new().await;
    for (number, route) in ROUTES.iter().enumerate() {
        let (fresh, rule) = (fresh_for(route).await, rule(route));
        let world = fresh.as_ref().unwrap_or(&shared);
        if rule.role != "certificate" && rule.others != Others::Everybodys {
            let name = format!("only-{}-{number}", rule.role);
            for (kind, caller) in CALLERS {
                let other = caller(world, &name, &[rule.role]).await;
                keeps_from(&other, world, rule, kind).await;
            }
        }
        keeps_from(world.other(rule), world, rule, "another").await;
        let own = world.ask(world.owner(rule), rule).await;
        if matches!(rule.others, Others::NotThere | Others::NotAllowed) {
            assert_eq!(own.status.as_u16(), rule.status, "{}: is still there", named(route));
        }
    }
}

/// Asks as `other`, and looks that nothing of the owner's comes of it.
async fn keeps_from(other: &Client, world: &World, rule: &Rule, kind: &str) {
    let answer = world.ask(other, rule).await;
    let (status, text) = (answer.status.as_u16(), answer.text());
    let what = format!("{kind}: {} {}: {text}", rule.method, rule.path);
    match rule.others {
        Others::NotThere => assert_eq!(status, 404, "{what}"),
        Others::NotAllowed => assert_eq!(status, 403, "{what}"),
        Others::Empty => {
            assert_eq!(status, 200, "{what}");
            assert!(!text.contains("alice"), "{what}");
        }
        // What alice's request leaves to the other, and nothing of alice's.
        Others::Everybodys => assert_eq!(status, rule.status, "{what}"),
    }
}

#[tokio::test]
async fn a_credential_ends_in_the_second_that_it_says() {
    let app = TestApp::new().await;
    let alice = app.alice().await;
    app.at(90 * 86_400 - 1);
    alice.get("/v1/whoami").await.expect(200);
    app.at(90 * 86_400);
    alice.get("/v1/whoami").await.refused(401, "unauthenticated");
}
