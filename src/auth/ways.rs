//! The configured ways to authenticate, beside API tokens, and what roles their callers have.

use super::roles::{RoleBinding, RoleBindings};
use super::sources::Sources;
use crate::pki::name::ShortName;

/// What the configuration says of callers.
#[derive(Clone, Debug, Default)]
pub struct AuthSettings {
    /// The `[[roles]]` tables.
    pub roles: Vec<RoleBinding>,
}

/// The same, checked and opened.
#[derive(Debug, Default)]
pub struct Ways {
    /// The roles of callers that are no tokens.
    pub roles: RoleBindings,
}

impl AuthSettings {
    /// Checks what can be checked without a file. `clusters` are the configured ones.
    ///
    /// # Errors
    /// The key's path and what is wrong with its value.
    pub fn check(&self, clusters: impl IntoIterator<Item = ShortName>) -> Result<RoleBindings, String> {
        let sources = Sources::beside(clusters);
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
        Ok(Self { roles: settings.check(clusters)? })
    }
}
