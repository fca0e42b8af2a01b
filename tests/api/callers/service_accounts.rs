//! Tokens of service accounts: the keys say of which cluster they are, since clusters share their `iss`.

use std::path::Path;

use countersign::auth::kubernetes::KubernetesSettings;
use countersign::auth::{AuthSettings, Ways};
use countersign::pki::name::ShortName;
use serde_json::{Value, json};

use super::{POLICIES, binding};
use crate::app::{NOON, TestApp};
use crate::csr::Key;
use crate::issuer::{IDP, Issuer, OTHER, with};

const USUAL: &str = "https://kubernetes.default.svc.cluster.local";

/// What a token of this service account says.
pub fn pod(namespace: &str, name: &str) -> Value {
    json!({
        "iss": USUAL,
        "sub": format!("system:serviceaccount:{namespace}:{name}"),
        "aud": ["countersign"],
        "iat": NOON.unix() - 10,
        "nbf": NOON.unix() - 10,
        "exp": NOON.unix() + 3_590,
        "jti": "7f2c",
        "kubernetes.io": {
            "namespace": namespace,
            "pod": { "name": "builder-1", "uid": "p" },
            "serviceaccount": { "name": name, "uid": "u" },
        },
    })
}

/// Each cluster with the issuer of its tokens.
pub fn clusters(folder: &Path, issuers: &[(&str, &Issuer)]) -> Vec<KubernetesSettings> {
    let of = |(cluster, issuer): &(&str, &Issuer)| {
        let keys = folder.join(format!("{cluster}.json"));
        std::fs::write(&keys, issuer.jwks().to_string()).unwrap();
        let text = format!(
            "cluster = \"{cluster}\"\njwks_file = \"{}\"\naudience = \"countersign\"",
            keys.display()
        );
        toml::from_str(&text).unwrap()
    };
    issuers.iter().map(of).collect()
}

fn settings(folder: &Path, issuers: &[(&str, &Issuer)]) -> AuthSettings {
    AuthSettings {
        kubernetes: clusters(folder, issuers),
        roles: vec![binding("requester", &["sa:prod:ci:*"])],
        ..AuthSettings::default()
    }
}

async fn app() -> TestApp {
    TestApp::with_ways(POLICIES, |folder| settings(folder, &[("prod", &*IDP), ("test", &*OTHER)])).await
}

fn holder(app: &TestApp, issuer: &Issuer, claims: &Value) -> crate::app::Client {
    app.with_authorization(&format!("Bearer {}", issuer.token(claims)))
}

#[tokio::test]
async fn the_keys_say_of_which_cluster_a_token_is() {
    let app = app().await;
    for (issuer, caller, roles) in
        [(&*IDP, "sa:prod:ci:builder", json!(["requester"])), (&*OTHER, "sa:test:ci:builder", json!([]))]
    {
        let whoami = holder(&app, issuer, &pod("ci", "builder")).get("/v1/whoami").await.expect(200);
        assert_eq!((&whoami["caller"], &whoami["roles"]), (&json!(caller), &roles));
        assert_eq!(whoami["groups"], json!([]));
    }
    let robot = holder(&app, &IDP, &pod("ci", "builder"));
    robot.sign("?cluster=prod", Key::p256().csr("/CN=ci-robot")).await.expect(201);
    robot.sign("?cluster=prod", Key::p256().csr("/CN=alice")).await.refused(403, "policy_denied");
    let elsewhere = holder(&app, &OTHER, &pod("ci", "builder"));
    elsewhere.sign("?cluster=prod", Key::p256().csr("/CN=ci-robot")).await.refused(403, "role_missing");
}

#[tokio::test]
async fn a_token_for_the_api_server_or_of_nobody_is_refused() {
    let app = app().await;
    let good = pod("ci", "builder");
    let forged = [
        with(&good, "aud", json!([USUAL])),
        with(&good, "aud", json!("https://kubernetes.default.svc")),
        with(&good, "iss", "https://kubernetes.default.svc"),
        with(&good, "sub", "system:serviceaccount:kube-system:builder"),
        with(&good, "sub", "system:serviceaccount:ci:other"),
        with(&good, "sub", "builder"),
        with(&good, "kubernetes.io", json!({ "namespace": "ci" })),
        with(&good, "kubernetes.io", Value::Null),
        with(&good, "exp", NOON.unix() + 365 * 86_400),
        with(&good, "exp", Value::Null),
    ];
    for claims in forged {
        holder(&app, &IDP, &claims).get("/v1/whoami").await.refused(401, "unauthenticated");
    }
}

#[test]
fn one_key_under_two_sources_does_not_start() {
    let folder = tempfile::tempdir().unwrap();
    let names = ["prod", "test"].map(|name| ShortName::parse(name).unwrap());
    let error =
        Ways::open(&settings(folder.path(), &[("prod", &*IDP), ("test", &*IDP)]), names.clone()).unwrap_err();
    assert!(error.contains("auth.kubernetes prod") && error.contains("key in common"), "{error}");
    let mut both = settings(folder.path(), &[("prod", &*IDP)]);
    both.oidc = super::settings(folder.path()).oidc;
    let error = Ways::open(&both, names.clone()).unwrap_err();
    assert!(error.contains("auth.oidc corp"), "{error}");
    assert!(Ways::open(&settings(folder.path(), &[("prod", &*IDP), ("test", &*OTHER)]), names).is_ok());
}
