//! Requests for the tests of other modules.

use super::CertRequest;
use crate::pki::key::{KeyKind, PublicKey};
use crate::pki::name::Name;

impl CertRequest {
    /// A request as it comes out of every check, under a new key.
    pub(crate) fn for_tests(user: &str, groups: &[&str], kind: KeyKind) -> Self {
        Self::for_tests_with_key(user, groups, PublicKey::for_tests(kind))
    }

    /// The same under a given key.
    pub(crate) fn for_tests_with_key(user: &str, groups: &[&str], key: PublicKey) -> Self {
        let name = |text: &str| Name::parse(text).unwrap();
        let groups = groups.iter().map(|group| name(group)).collect();
        Self { user: name(user), groups, key, warnings: Vec::new() }
    }
}
