//! The configured ways to authenticate, beside API tokens, and what roles their callers have.

use super::doors::{self, Doors};
use super::issuers::Issuers;
use super::kubernetes::KubernetesSettings;
use super::mtls::MtlsSettings;
use super::network::Network;
use super::oidc::OidcSettings;
use super::proxy::ProxySettings;
use super::roles::{RoleBinding, RoleBindings};
use super::sources::Sources;
use crate::caller::CallerKind;
use crate::pki::name::ShortName;

/// What the configuration says of callers.
#[derive(Clone, Debug, Default)]
pub struct AuthSettings {
    /// The `[[auth.oidc]]` tables.
    pub oidc: Vec<OidcSettings>,
    /// The `[[auth.kubernetes]]` tables.
    pub kubernetes: Vec<KubernetesSettings>,
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
    /// Who signs JWTs.
    pub issuers: Issuers,
    /// The roles of callers that are no tokens.
    pub roles: RoleBindings,
    /// Certificates and proxies that name callers.
    pub doors: Doors,
    /// Whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<Network>,
    /// The names of all of them.
    pub sources: Sources,
}

impl AuthSettings {
    /// Checks what can be checked without a file, and gives the names of the ways and the roles of their
    /// callers. `clusters` are the configured ones.
    ///
    /// # Errors
    /// The key's path and what is wrong with its value.
    pub fn check(
        &self,
        clusters: impl IntoIterator<Item = ShortName>,
    ) -> Result<(Sources, RoleBindings), String> {
        let mut sources = Sources::beside(clusters);
        for (index, settings) in self.oidc.iter().enumerate() {
            let at = |reason: String| format!("auth.oidc[{index}].{reason}");
            settings.check().map_err(at)?;
            sources.add(CallerKind::Oidc, &settings.name).map_err(|reason| at(format!("name: {reason}")))?;
        }
        if self.oidc.iter().filter(|settings| settings.proves_persons).count() > 1 {
            return Err(
                "auth.oidc: one source has proves_persons at most, since a name says not of which it is"
                    .to_owned(),
            );
        }
        for (index, settings) in self.kubernetes.iter().enumerate() {
            let at = |reason: String| format!("auth.kubernetes[{index}].{reason}");
            settings.check().map_err(at)?;
            let added = sources.add(CallerKind::ServiceAccount, &settings.cluster);
            added.map_err(|reason| at(format!("cluster: {reason}")))?;
        }
        doors::add(&mut sources, &self.mtls, &self.proxies)?;
        let roles = RoleBindings::new(&self.roles, &sources)?;
        Ok((sources, roles))
    }
}

impl Ways {
    /// Opens every way, beside these clusters. Nothing is fetched yet.
    ///
    /// # Errors
    /// The key's path and what is wrong with its value.
    pub fn open(
        settings: &AuthSettings,
        clusters: impl IntoIterator<Item = ShortName>,
    ) -> Result<Self, String> {
        let (sources, roles) = settings.check(clusters)?;
        Ok(Self {
            sources,
            roles,
            issuers: Issuers::open(&settings.oidc, &settings.kubernetes)?,
            doors: Doors::open(&settings.mtls, &settings.proxies)?,
            trusted_proxies: settings.trusted_proxies.clone(),
        })
    }
}
