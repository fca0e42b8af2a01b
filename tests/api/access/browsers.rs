//! What a browser adds to a request by itself, when a page of another site makes it.

use countersign::http::{Access, ROUTES, Route};

use super::world::World;
use super::{CALLERS, ROLES, named, rule};
use crate::app::Client;

/// What is not in `Authorization`.
const AMBIENT: &[&str] = &["a client certificate", "a trusted proxy", "a proxy with a certificate"];

/// What a browser says of a request that a page of another site made.
const CROSS_SITE: &[&[(&str, &str)]] = &[
    &[("sec-fetch-site", "cross-site"), ("origin", "https://evil.example")],
    &[("sec-fetch-site", "same-site"), ("origin", "https://other.example")],
    &[("host", "sign.example"), ("origin", "https://evil.example")],
    &[("host", "sign.example"), ("origin", "null")],
    &[("origin", "https://sign.example")],
];

/// What is said of a request that a page of this service made, or no page.
const OWN: &[&[(&str, &str)]] = &[
    &[],
    &[("host", "sign.example")],
    &[("sec-fetch-site", "same-origin"), ("origin", "https://sign.example")],
    &[("sec-fetch-site", "none")],
    &[("host", "sign.example"), ("origin", "https://sign.example")],
];

fn with(client: &Client, headers: &[(&str, &str)]) -> Client {
    headers.iter().fold(client.clone(), |client, (name, value)| client.with_header(name, value))
}

/// Whoever has every role, by each way to authenticate.
async fn callers(world: &World) -> Vec<(&'static str, Client)> {
    let mut all = vec![("a certificate of ours", world.certificate().clone())];
    for (kind, caller) in CALLERS {
        all.push((kind, caller(world, "only-admin-here", &ROLES).await));
    }
    all
}

fn changes(route: &Route) -> bool {
    route.access != Access::Open && route.method != "GET"
}

#[tokio::test]
async fn a_page_of_another_site_changes_nothing() {
    let world = World::new().await;
    for (kind, client) in callers(&world).await {
        let ambient = kind == "a certificate of ours" || AMBIENT.contains(&kind);
        for route in ROUTES {
            for headers in CROSS_SITE {
                let client = with(&client, headers);
                let answer = world.harmlessly(&client, rule(route)).await;
                let refused = answer.status == 403 && answer.json()["code"] == "cross_site";
                assert_eq!(refused, ambient && changes(route), "{}: {kind}: {headers:?}", named(route));
            }
        }
    }
    let refusals = world.auditor.get("/v1/refusals?code=cross_site&limit=1").await.expect(200);
    assert_eq!(refusals["items"].as_array().unwrap().len(), 1, "they are on record");
}

#[tokio::test]
async fn a_page_of_this_service_and_a_program_are_let_through() {
    let world = World::new().await;
    for (kind, client) in callers(&world).await {
        for route in ROUTES.iter().filter(|route| changes(route)) {
            for headers in OWN {
                let client = with(&client, headers);
                let answer = world.harmlessly(&client, rule(route)).await;
                let what = format!("{}: {kind}: {headers:?}: {}", named(route), answer.text());
                assert!(answer.status != 401 && !answer.text().contains("cross_site"), "{what}");
            }
        }
    }
}
