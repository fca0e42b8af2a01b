//! Every way to authenticate beside API tokens, and what a caller of each shows.

use std::path::Path;

use countersign::auth::AuthSettings;
use countersign::auth::mtls::NameFrom;
use serde_json::{Value, json};

use super::ROLES;
use crate::app::{Client, TestApp};
use crate::callers::{binding, corp, service_accounts};
use crate::company::{Company, SECRET};
use crate::issuer::{IDP, Issuer, OTHER, claims, with};

/// The companies whose certificates and proxies are believed.
pub struct Companies {
    devices: Company,
    edge: Company,
    gate: Company,
    /// One that nobody knows.
    foreign: Company,
}

impl Companies {
    pub fn new() -> Self {
        Self {
            devices: Company::new("Devices"),
            edge: Company::new("Edge"),
            gate: Company::new("Gate"),
            foreign: Company::new("Foreign"),
        }
    }

    /// All of them at once. Each role is bound to a group, a namespace or a name that is called after it.
    pub fn settings(&self, folder: &Path) -> AuthSettings {
        let bound = |role: &&str| {
            let callers = [
                format!("group:corp:{role}"),
                format!("group:edge:{role}"),
                format!("group:gate:{role}"),
                format!("sa:test:{role}:*"),
                format!("proxy:devices:only-{role}*"),
            ];
            binding(role, &callers.each_ref().map(String::as_str))
        };
        AuthSettings {
            oidc: vec![toml::from_str(&corp(folder)).unwrap()],
            kubernetes: service_accounts::clusters(folder, &[("test", &*OTHER)]),
            mtls: vec![self.devices.mtls("devices", NameFrom::Cn)],
            proxies: vec![self.edge.proxy_with_secret("edge"), self.gate.proxy("gate")],
            roles: ROLES.iter().map(bound).collect(),
            ..AuthSettings::default()
        }
    }

    /// The holder of a client certificate.
    pub fn device(&self, app: &TestApp, name: &str) -> Client {
        app.nobody().showing(&self.devices.client(name, vec![]))
    }

    /// The holder of one that has expired.
    pub fn former_device(&self, app: &TestApp, name: &str) -> Client {
        app.nobody().showing(&self.devices.expired_client(name))
    }

    /// Who comes through the proxy that is known by its certificate.
    pub fn gated(&self, app: &TestApp, name: &str, roles: &[&str]) -> Client {
        named(app.nobody().showing(&self.gate.client("proxy.example", vec![])), name, roles)
    }

    /// The same through another that has a certificate of the same company.
    pub fn gated_by_another(&self, app: &TestApp, name: &str, roles: &[&str]) -> Client {
        named(app.nobody().showing(&self.gate.client("another.example", vec![])), name, roles)
    }

    /// The holder of a certificate of a company that nobody knows.
    pub fn foreigner(&self, app: &TestApp) -> Client {
        app.nobody().showing(&self.foreign.client("only-admin", vec![]))
    }
}

fn bearer(app: &TestApp, issuer: &Issuer, claims: &Value) -> Client {
    app.with_authorization(&format!("Bearer {}", issuer.token(claims)))
}

/// What the identity provider says of who has these roles.
pub fn person(name: &str, roles: &[&str]) -> Value {
    with(&claims(name, name), "groups", json!(roles))
}

/// Who shows a token of the identity provider.
pub fn signed_in(app: &TestApp, claims: &Value) -> Client {
    bearer(app, &IDP, claims)
}

/// Who shows a token for the identity provider that another has signed.
pub fn signed_in_elsewhere(app: &TestApp, claims: &Value) -> Client {
    bearer(app, &OTHER, claims)
}

/// What the cluster says of a service account with this role.
pub fn account(name: &str, roles: &[&str]) -> Value {
    service_accounts::pod(roles.first().unwrap_or(&"none"), name)
}

/// A pod with a token of the cluster.
pub fn pod(app: &TestApp, claims: &Value) -> Client {
    bearer(app, &OTHER, claims)
}

/// Who comes through the proxy, which says so.
pub fn proxied(app: &TestApp, name: &str, roles: &[&str]) -> Client {
    through_proxy(app, name, roles, SECRET)
}

/// The same with this word for the proxy's secret.
pub fn through_proxy(app: &TestApp, name: &str, roles: &[&str], secret: &str) -> Client {
    named(app.nobody().at_address("10.0.0.7").with_header("x-proxy-secret", secret), name, roles)
}

/// The same client with what a proxy says of who it is.
fn named(client: Client, name: &str, roles: &[&str]) -> Client {
    client.with_header("x-forwarded-user", name).with_header("x-forwarded-groups", &roles.join(","))
}
