//! The table `[auth]`: the ways to authenticate beside API tokens.

use std::path::Path;

use serde::Deserialize;

use crate::auth::kubernetes::KubernetesSettings;
use crate::auth::mtls::MtlsSettings;
use crate::auth::oidc::OidcSettings;
use crate::auth::proxy::ProxySettings;
use crate::auth::{AuthSettings, Network, RoleBinding};

/// The table as it is written: one list for each way; none is on by itself.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct AuthTable {
    oidc: Vec<OidcSettings>,
    kubernetes: Vec<KubernetesSettings>,
    mtls: Vec<MtlsSettings>,
    proxy: Vec<ProxySettings>,
}

impl AuthTable {
    /// Together with who has which role and which proxies are believed. Every file name is taken from
    /// `folder`.
    pub(super) fn with(
        self,
        roles: Vec<RoleBinding>,
        trusted_proxies: Vec<Network>,
        folder: &Path,
    ) -> AuthSettings {
        AuthSettings {
            oidc: self.oidc.into_iter().map(|settings| settings.resolved_from(folder)).collect(),
            kubernetes: self.kubernetes.into_iter().map(|settings| settings.resolved_from(folder)).collect(),
            mtls: self.mtls.into_iter().map(|settings| settings.resolved_from(folder)).collect(),
            proxies: self.proxy.into_iter().map(|settings| settings.resolved_from(folder)).collect(),
            roles,
            trusted_proxies,
        }
    }

    /// Makes sure that what needs TLS has it. To be asked where the service has none.
    ///
    /// # Errors
    /// Which way needs it.
    pub(super) fn check_without_tls(&self) -> Result<(), String> {
        if !self.mtls.is_empty() {
            return Err("auth.mtls: client certificates need TLS in the service: set [tls]".to_owned());
        }
        if self.proxy.iter().any(|proxy| proxy.ca.is_some()) {
            return Err(
                "auth.proxy: a proxy with a certificate needs TLS in the service: set [tls]".to_owned()
            );
        }
        Ok(())
    }
}
