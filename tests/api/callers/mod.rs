//! Callers that are no API tokens.

mod forged_tokens;
mod held_with_proof;
mod identities;
mod oidc;
mod on_behalf_of;
pub mod service_accounts;

use std::path::Path;

use countersign::auth::{AuthSettings, RoleBinding};
use serde_json::Value;

use crate::app::{Client, TestApp};
use crate::issuer::{IDP, ISSUER};

/// What callers of an issuer may have.
const POLICIES: &str = r#"
policies:
  - { name: own, effect: allow, clusters: [prod], callers: ["oidc:corp:*"], users: ["{caller}"], groups: ["{caller.groups}"], max_ttl: 8h }
  - { name: teams, effect: allow, clusters: [prod], callers: ["oidc:corp:*"], users: ["{caller}"], groups: ["{caller.claim.team}"] }
  - { name: robots, effect: allow, clusters: [prod], callers: ["sa:prod:ci:*"], users: ["ci-robot"] }
"#;

/// The source `corp`, which takes what [`crate::issuer::alice`] says.
pub fn corp(folder: &Path) -> String {
    let keys = folder.join("corp.json");
    std::fs::write(&keys, IDP.jwks().to_string()).unwrap();
    format!(
        "name = \"corp\"\nissuer = \"{ISSUER}\"\njwks_file = \"{}\"\naudience = \"countersign\"\n\
         algorithms = [\"RS256\", \"ES256\"]\nusername_claim = \"preferred_username\"\ngroups_claim = \"groups\"\n\
         required_claims = {{ hd = \"corp.example\" }}\nclaims = [\"team\"]\nmax_token_age = \"1h\"\n",
        keys.display()
    )
}

pub fn binding(role: &str, callers: &[&str]) -> RoleBinding {
    let callers = callers.iter().map(ToString::to_string).collect();
    RoleBinding { role: role.to_owned(), callers, on_behalf_of: false }
}

fn settings(folder: &Path) -> AuthSettings {
    AuthSettings {
        oidc: vec![toml::from_str(&corp(folder)).unwrap()],
        roles: vec![
            binding("requester", &["oidc:corp:*"]),
            binding("auditor", &["oidc:corp:carol"]),
            binding("admin", &["group:corp:admins"]),
        ],
        ..AuthSettings::default()
    }
}

async fn app() -> TestApp {
    TestApp::with_ways(POLICIES, settings).await
}

/// One who shows a token of [`IDP`] that says `claims`.
fn holder(app: &TestApp, claims: &Value) -> Client {
    app.with_authorization(&format!("Bearer {}", IDP.token(claims)))
}
