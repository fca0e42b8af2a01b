//! Callers of `[[auth.mtls]]` and `[[auth.proxy]]`, whom roles of the configuration let in.

use std::sync::Arc;

use countersign::auth::mtls::{MtlsSettings, NameFrom};
use countersign::auth::proxy::ProxySettings;
use countersign::auth::{AuthSettings, RoleBinding, Ways};
use countersign::pki::name::ShortName;
use rcgen::SanType;

use crate::app::{Client, NOON, TestApp, cluster, cluster_of, operator};
use crate::company::{Company, SECRET};
use crate::csr::csr;

const POLICIES: &str = r#"
policies:
  - { name: robots, effect: allow, clusters: [prod], callers: ["proxy:ci:*"], users: ["{caller}"], groups: [dev] }
  - { name: people, effect: allow, clusters: [prod], callers: ["group:sso:devs"], users: ["alice"], groups: [dev] }
"#;

fn binding(role: &str, callers: &[&str]) -> RoleBinding {
    RoleBinding {
        role: role.to_owned(),
        callers: callers.iter().map(ToString::to_string).collect(),
        on_behalf_of: false,
    }
}

fn settings(mtls: Vec<MtlsSettings>, proxies: Vec<ProxySettings>) -> AuthSettings {
    AuthSettings { mtls, proxies, ..AuthSettings::default() }
}

async fn who(client: &Client, headers: &[(&str, &str)]) -> crate::app::Answer {
    client.send(axum::http::Method::GET, "/v1/whoami", headers, Vec::new()).await
}

fn dns(name: &str) -> SanType {
    SanType::DnsName(name.try_into().unwrap())
}

// Certificates.

#[tokio::test]
async fn a_certificate_of_a_configured_authority_is_a_caller_with_its_roles() {
    let (ci, other) = (Company::new("CI"), Company::new("Other"));
    let auth = AuthSettings {
        roles: vec![binding("requester", &["proxy:ci:*"])],
        ..settings(vec![ci.mtls("ci", NameFrom::Cn)], vec![])
    };
    let app = TestApp::with_auth(&auth, POLICIES).await;
    let robot = app.nobody().showing(&ci.client("deployer", vec![]));
    let caller = who(&robot, &[]).await.expect(200);
    assert_eq!(
        (caller["caller"].as_str(), &caller["roles"]),
        (Some("proxy:ci:deployer"), &serde_json::json!(["requester"]))
    );
    let issued = robot.sign("?cluster=prod", csr("/CN=deployer/O=dev")).await.expect(201);
    assert_eq!(issued["requested_by"], "proxy:ci:deployer");
    robot.sign("?cluster=prod", csr("/CN=alice/O=dev")).await.refused(403, "policy_denied");
    robot.get("/v1/audit").await.refused(403, "role_missing");
    let stranger = app.nobody().showing(&other.client("deployer", vec![]));
    who(&stranger, &[]).await.refused(401, "unauthenticated");
    app.at(3_601);
    who(&robot, &[]).await.refused(401, "unauthenticated");
}

#[tokio::test]
async fn a_certificate_that_names_nobody_or_two_is_401() {
    let ci = Company::new("CI");
    for (from, certificate, expected) in [
        (NameFrom::Cn, ci.client("", vec![dns("a.example")]), None),
        (NameFrom::Cn, ci.client(" spaced", vec![]), None),
        (NameFrom::Dns, ci.client("ignored", vec![dns("a.example")]), Some("proxy:ci:a.example")),
        (NameFrom::Dns, ci.client("ignored", vec![dns("a.example"), dns("b.example")]), None),
        (NameFrom::Dns, ci.client("ignored", vec![]), None),
        (
            NameFrom::Uri,
            ci.client("", vec![SanType::URI("spiffe://corp/ns/a".try_into().unwrap())]),
            Some("proxy:ci:spiffe://corp/ns/a"),
        ),
        (
            NameFrom::Email,
            ci.client("x", vec![SanType::Rfc822Name("a@corp.example".try_into().unwrap())]),
            Some("proxy:ci:a@corp.example"),
        ),
    ] {
        let app = TestApp::with_auth(&settings(vec![ci.mtls("ci", from)], vec![]), POLICIES).await;
        let answer = who(&app.nobody().showing(&certificate), &[]).await;
        match expected {
            Some(caller) => assert_eq!(answer.expect(200)["caller"], caller),
            None => drop(answer.refused(401, "unauthenticated")),
        }
    }
}

#[tokio::test]
async fn a_certificate_beside_authorization_is_400_where_it_counts_and_nothing_where_it_does_not() {
    let (ci, other) = (Company::new("CI"), Company::new("Other"));
    let app = TestApp::with_auth(&settings(vec![ci.mtls("ci", NameFrom::Cn)], vec![]), POLICIES).await;
    let alice = app.alice().await;
    who(&alice.showing(&ci.client("deployer", vec![])), &[]).await.refused(400, "several_credentials");
    let known = who(&alice.showing(&other.client("deployer", vec![])), &[]).await.expect(200);
    assert_eq!(known["caller"], "token:alice");
    let wrong = app.with_authorization("Bearer cs1_wrong");
    who(&wrong, &[]).await.refused(401, "unauthenticated");
    who(&wrong.showing(&ci.client("deployer", vec![])), &[]).await.refused(400, "several_credentials");
}

#[tokio::test]
async fn an_authority_that_signs_for_a_cluster_is_none_of_callers() {
    let app = TestApp::new().await;
    let ca = app.folder.path().join("prod.crt");
    let source = MtlsSettings { name: ShortName::parse("ci").unwrap(), ca, name_from: NameFrom::Cn };
    let error = app.app.state().served.open_ways(&settings(vec![source], vec![])).unwrap_err();
    assert!(error.contains("ci") && error.contains("prod"), "{error}");
}

#[tokio::test]
async fn an_authority_that_signed_a_cluster_s_ca_is_none_of_callers_though_no_file_names_both() {
    let root = Company::new("Root");
    let signing = root.below("Cluster");
    let app = TestApp::signing_with(&[("prod", &signing)], POLICIES).await;
    for auth in
        [settings(vec![root.mtls("ci", NameFrom::Cn)], vec![]), settings(vec![], vec![root.proxy("ci")])]
    {
        let error = app.app.state().served.open_ways(&auth).unwrap_err();
        assert!(error.contains("`ci`") && error.contains("`prod`"), "{error}");
    }
    let sibling = root.below("CI");
    let beside = settings(vec![sibling.mtls("ci", NameFrom::Cn)], vec![]);
    app.app.state().served.open_ways(&beside).unwrap();
}

#[tokio::test]
async fn a_cluster_whose_ca_an_authority_of_callers_signed_is_not_taken_at_a_reload() {
    let root = Company::new("Root");
    let app = TestApp::with_auth(&settings(vec![root.mtls("ci", NameFrom::Cn)], vec![]), POLICIES).await;
    let added = cluster_of(app.folder.path(), "new", &root.below("Cluster"));
    let error = app.app.reload_clusters(vec![added], &operator()).await.unwrap_err().to_string();
    assert!(error.contains("`ci`") && error.contains("`new`"), "{error}");
    assert!(app.app.state().served.find("new").is_none() && app.app.state().served.find("prod").is_some());
}

#[tokio::test]
async fn a_cluster_that_comes_later_has_neither_the_name_nor_the_authority_of_a_source() {
    let ci = Company::new("CI");
    let app = TestApp::with_auth(&settings(vec![ci.mtls("ci", NameFrom::Cn)], vec![]), POLICIES).await;
    let (folder, before) = (app.folder.path(), app.app.state());
    let reload = async |cluster| app.app.reload_clusters(vec![cluster], &operator()).await;
    let error = reload(cluster(folder, "ci", NOON)).await.unwrap_err().to_string();
    assert!(error.contains("`ci`") && error.contains("restart"), "{error}");
    assert!(Arc::ptr_eq(&app.app.state(), &before), "what held goes on");
    let changes = reload(cluster(folder, "next", NOON)).await.unwrap();
    assert_eq!((changes.added.len(), changes.removed.len()), (1, 2));
}

#[tokio::test]
async fn a_source_has_a_name_and_an_authority_of_its_own() {
    let ci = Company::new("CI");
    let prod = [ShortName::parse("prod").unwrap()];
    let open = |mtls, proxies| Ways::open(&settings(mtls, proxies), prod.clone()).map(drop);
    assert!(open(vec![ci.mtls("prod", NameFrom::Cn)], vec![]).unwrap_err().contains("name of a cluster"));
    let twice = vec![ci.mtls("ci", NameFrom::Cn), ci.mtls("ci", NameFrom::Dns)];
    assert!(open(twice, vec![]).unwrap_err().contains("two ways"));
    let below = ci.below("SSO");
    for of_proxy in [ci.proxy("sso"), below.proxy("sso")] {
        let shared = open(vec![ci.mtls("ci", NameFrom::Cn)], vec![of_proxy]);
        assert!(shared.unwrap_err().contains("trust one CA"));
    }
}

// Proxies.

/// A service behind proxies of both kinds, its proxy's certificate, and one of the same CA for another.
async fn behind() -> (TestApp, Client, Client) {
    let company = Company::new("Company");
    let other = Company::new("Second");
    let proxies = vec![company.proxy("sso"), other.proxy_with_secret("edge")];
    let roles = vec![binding("requester", &["group:sso:devs"]), binding("auditor", &["proxy:sso:olga"])];
    let app = TestApp::with_auth(&AuthSettings { roles, ..settings(vec![], proxies) }, POLICIES).await;
    let proxy = app.nobody().showing(&company.client("proxy.example", vec![]));
    let colleague = app.nobody().showing(&company.client("mallory", vec![dns("evil.example")]));
    (app, proxy, colleague)
}

const ALICE: [(&str, &str); 2] = [("x-forwarded-user", "alice"), ("x-forwarded-groups", "devs, everybody,")];

#[tokio::test]
async fn a_proxy_with_its_certificate_names_the_caller_and_its_groups() {
    let (app, proxy, _) = behind().await;
    let alice = who(&proxy, &ALICE).await.expect(200);
    assert_eq!(alice["caller"], "proxy:sso:alice");
    assert_eq!(alice["groups"], serde_json::json!(["group:sso:devs", "group:sso:everybody"]));
    assert_eq!(alice["roles"], serde_json::json!(["requester"]));
    let headers = [ALICE[0], ALICE[1], ("accept", "application/json")];
    let path = "/v1/sign?cluster=prod";
    let body = csr("/CN=alice/O=dev").into_bytes();
    let issued = proxy.send(axum::http::Method::POST, path, &headers, body).await.expect(201);
    assert_eq!(issued["requested_by"], "proxy:sso:alice");
    let olga = who(&proxy, &[("x-forwarded-user", "olga")]).await.expect(200);
    assert_eq!((&olga["roles"], &olga["groups"]), (&serde_json::json!(["auditor"]), &serde_json::json!([])));
    drop(app);
}

#[tokio::test]
async fn a_stranger_s_headers_are_as_if_they_were_not_there() {
    let (app, _, colleague) = behind().await;
    who(&app.nobody(), &ALICE).await.refused(401, "unauthenticated");
    who(&colleague, &ALICE).await.refused(401, "unauthenticated");
    let bob = app.bob().await;
    assert_eq!(who(&bob, &ALICE).await.expect(200)["caller"], "token:bob");
    assert_eq!(who(&bob.showing_of(&colleague), &ALICE).await.expect(200)["caller"], "token:bob");
}

#[tokio::test]
async fn a_repeated_or_unreadable_header_of_a_proxy_is_401() {
    let (_app, proxy, _) = behind().await;
    for headers in [
        vec![("x-forwarded-user", "alice"), ("x-forwarded-user", "bob")],
        vec![("x-forwarded-user", "alice"), ("X-Forwarded-User", "alice")],
        vec![("x-forwarded-user", "alice"), ("x-forwarded-groups", "a"), ("x-forwarded-groups", "b")],
        vec![("x-forwarded-groups", "devs")],
        vec![("x-forwarded-user", "")],
        vec![("x-forwarded-user", " ")],
        vec![("x-forwarded-user", "al\u{202e}ice")],
        vec![("x-forwarded-user", "alice"), ("x-forwarded-groups", "dev\u{200b}s")],
    ] {
        who(&proxy, &headers).await.refused(401, "unauthenticated");
    }
    let none = who(&proxy, &[]).await.refused(401, "unauthenticated");
    assert!(none["detail"].as_str().unwrap().contains("certificate"), "it is no caller itself: {none}");
}

#[tokio::test]
async fn a_proxy_s_word_beside_a_credential_is_400() {
    let (app, proxy, _) = behind().await;
    let bob = app.bob().await.showing_of(&proxy);
    who(&bob, &ALICE).await.refused(400, "several_credentials");
    assert_eq!(who(&bob, &[]).await.expect(200)["caller"], "token:bob", "its certificate alone is no caller");
}

#[tokio::test]
async fn a_proxy_with_a_secret_is_believed_from_its_address_only() {
    let (app, _, _) = behind().await;
    let secret = ("x-proxy-secret", SECRET);
    let inside = app.nobody().at_address("10.0.0.7");
    let known = who(&inside, &[ALICE[0], ALICE[1], secret]).await.expect(200);
    assert_eq!(known["caller"], "proxy:edge:alice");
    assert_eq!(known["roles"], serde_json::json!([]), "roles are bound to another source");
    for (client, headers) in [
        (app.nobody().at_address("10.0.1.7"), vec![ALICE[0], secret]),
        (app.nobody(), vec![ALICE[0], secret]),
        (inside.clone(), vec![ALICE[0]]),
        (inside.clone(), vec![ALICE[0], ("x-proxy-secret", "0123456789abcdef0123456789abcdeF")]),
        (inside.clone(), vec![ALICE[0], ("x-proxy-secret", "")]),
        (inside.clone(), vec![ALICE[0], secret, secret]),
        (app.nobody().at_address("203.0.113.1"), vec![ALICE[0], secret, ("x-forwarded-for", "10.0.0.7")]),
    ] {
        who(&client, &headers).await.refused(401, "unauthenticated");
    }
}

#[tokio::test]
async fn what_a_proxy_is_not_believed_is_audited_as_a_proxy_s_and_told_to_nobody() {
    let (app, proxy, colleague) = behind().await;
    let inside = app.nobody().at_address("10.0.0.7");
    let (secret, wrong) =
        (("x-proxy-secret", SECRET), ("x-proxy-secret", "0123456789abcdef0123456789abcdeF"));
    let untold = who(&app.nobody(), &[]).await.refused(401, "unauthenticated");
    for (client, headers) in [
        (&inside, vec![ALICE[0], wrong]),
        (&inside, vec![wrong]),
        (&inside, vec![ALICE[0], secret, secret]),
        (&app.nobody().at_address("10.0.1.7"), vec![ALICE[0], secret]),
        (&inside, vec![ALICE[0]]),
        (&inside, vec![secret]),
    ] {
        let refused = who(client, &headers).await.refused(401, "unauthenticated");
        assert_eq!(refused["detail"], untold["detail"], "{headers:?}");
    }
    who(&colleague, &ALICE).await.refused(401, "unauthenticated");
    who(&proxy, &[ALICE[1]]).await.refused(401, "unauthenticated");
    who(&app.with_authorization("Bearer x").showing_of(&proxy), &[ALICE[1]])
        .await
        .refused(401, "unauthenticated");
    who(&app.with_authorization("Bearer x"), &ALICE).await.refused(401, "unauthenticated");
    app.app.write_notes().await;
    let list = app.auditor().await.get("/v1/audit?kind=authentication.failed").await.expect(200);
    let told = |event: &serde_json::Value| {
        let detail = &event["detail"];
        let word = |name: &str| detail[name].as_str().unwrap().to_owned();
        (word("method"), word("reason"), detail["count"].as_u64().unwrap(), event["address"].clone())
    };
    let mut told: Vec<_> = list["items"].as_array().unwrap().iter().map(told).collect();
    told.sort_by_key(|one| format!("{one:?}"));
    let none = serde_json::Value::Null;
    let row =
        |method: &str, reason: &str, count, address| (method.to_owned(), reason.to_owned(), count, address);
    assert_eq!(
        told,
        [
            row("bearer", "malformed", 1, none.clone()),
            row("none", "missing", 1, none.clone()),
            row("proxy", "certificate_unknown", 1, none.clone()),
            row("proxy", "missing", 2, "10.0.0.7".into()),
            row("proxy", "proxy_headers", 2, none),
            row("proxy", "proxy_secret", 1, "10.0.1.7".into()),
            row("proxy", "proxy_secret", 3, "10.0.0.7".into()),
        ]
    );
}

#[tokio::test]
async fn two_proxies_that_name_a_caller_are_400() {
    let (_app, proxy, _) = behind().await;
    let both = proxy.at_address("10.0.0.7");
    let headers = [ALICE[0], ("x-proxy-secret", SECRET)];
    who(&both, &headers).await.refused(400, "several_credentials");
}

// Addresses.

#[tokio::test]
async fn the_client_s_address_comes_from_listed_proxies_only() {
    let auth =
        AuthSettings { trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()], ..AuthSettings::default() };
    let app = TestApp::with_auth(&auth, crate::app::POLICIES).await;
    let alice = app.alice().await;
    for (peer, forwarded, recorded) in [
        ("10.1.2.3", "198.51.100.1, 203.0.113.7", "203.0.113.7"),
        ("192.0.2.1", "203.0.113.7", "192.0.2.1"),
        ("10.1.2.3", "nonsense", "10.1.2.3"),
    ] {
        let headers = [("x-forwarded-for", forwarded), ("accept", "application/json")];
        let path = "/v1/sign?cluster=prod";
        let from = alice.at_address(peer);
        let issued =
            from.send(axum::http::Method::POST, path, &headers, csr("/CN=alice").into()).await.expect(201);
        let path = format!("/v1/certificates/{}", issued["serial"].as_str().unwrap());
        assert_eq!(alice.get(&path).await.expect(200)["address"], recorded, "{peer} {forwarded}");
    }
}
