//! The table `[auth]`: the ways to authenticate beside API tokens.

use serde::Deserialize;

use crate::auth::kubernetes::KubernetesSettings;
use crate::auth::oidc::OidcSettings;
use crate::auth::{AuthSettings, RoleBinding};

/// The table as it is written; none is on by itself.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct AuthTable {
    oidc: Vec<OidcSettings>,
    kubernetes: Vec<KubernetesSettings>,
}

impl AuthTable {
    /// Together with who has which role.
    pub(super) fn with(self, roles: Vec<RoleBinding>) -> AuthSettings {
        AuthSettings { oidc: self.oidc, kubernetes: self.kubernetes, roles }
    }
}
