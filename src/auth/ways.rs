//! The configured ways to authenticate, beside API tokens, and what roles their callers have.

use super::doors::{self, Doors};
use super::mtls::MtlsSettings;
use super::network::Network;
use super::proxy::ProxySettings;
use super::roles::{RoleBinding, RoleBindings};
use super::sources::Sources;
use crate::pki::name::ShortName;

/// What the configuration says of callers.
#[derive(Clone, Debug, Default)]
pub struct AuthSettings {
    /// The `[[roles]]` tables.
    pub roles: Vec<RoleBinding>,
    /// The `[[auth.mtls]]` tables.
    pub mtls: Vec<MtlsSettings>,
    /// The `[[auth.proxy]]` tables.
    pub proxies: Vec<ProxySettings>,
    /// Whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<Network>,
}

/// The same, checked and opened.
#[derive(Debug, Default)]
pub struct Ways {
    /// The roles of callers that are no tokens.
    pub roles: RoleBindings,
    /// Certificates and proxies that name callers.
    pub doors: Doors,
    /// Whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<Network>,
}

impl AuthSettings {
    /// Checks what can be checked without a file. `clusters` are the configured ones.
    ///
    /// # Errors
    /// The key's path and what is wrong with its value.
    pub fn check(&self, clusters: impl IntoIterator<Item = ShortName>) -> Result<RoleBindings, String> {
        let mut sources = Sources::beside(clusters);
        doors::add(&mut sources, &self.mtls, &self.proxies)?;
        RoleBindings::new(&self.roles, &sources)
    }
}

impl Ways {
    /// Opens every way, beside these clusters.
    ///
    /// # Errors
    /// The key's path and what is wrong with its value.
    pub fn open(
        settings: &AuthSettings,
        clusters: impl IntoIterator<Item = ShortName>,
    ) -> Result<Self, String> {
        Ok(Self {
            roles: settings.check(clusters)?,
            doors: Doors::open(&settings.mtls, &settings.proxies)?,
            trusted_proxies: settings.trusted_proxies.clone(),
        })
    }
}
