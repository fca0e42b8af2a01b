//! The names of the configured ways to authenticate.

use std::collections::{BTreeMap, BTreeSet};

use crate::caller::CallerKind;
use crate::pki::name::ShortName;

/// Who vouches for callers, by name. A name stands for one of them alone, and for no cluster, so that
/// `group:NAME:…` has one meaning; service accounts are named after their cluster.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    clusters: BTreeSet<ShortName>,
    kinds: BTreeMap<ShortName, CallerKind>,
}

impl Sources {
    /// None yet, beside these clusters.
    #[must_use]
    pub fn beside(clusters: impl IntoIterator<Item = ShortName>) -> Self {
        Self { clusters: clusters.into_iter().collect(), kinds: BTreeMap::new() }
    }

    /// Takes `name` for one more way of this kind.
    ///
    /// # Errors
    /// A sentence: the name is taken, or is (not) that of a cluster.
    pub fn add(&mut self, kind: CallerKind, name: &ShortName) -> Result<(), String> {
        let is_cluster = self.clusters.contains(name);
        if is_cluster != (kind == CallerKind::ServiceAccount) {
            return Err(if is_cluster {
                format!("`{name}` is the name of a cluster: choose another")
            } else {
                format!("there is no cluster named `{name}`")
            });
        }
        match self.kinds.insert(name.clone(), kind) {
            None => Ok(()),
            Some(_) => Err(format!("`{name}` is given to two ways to authenticate: choose another")),
        }
    }

    /// Makes sure that a cluster that comes later may have this name.
    ///
    /// # Errors
    /// A sentence: it is the name of a source.
    pub fn check_cluster(&self, name: &ShortName) -> Result<(), String> {
        match self.kinds.get(name) {
            None | Some(CallerKind::ServiceAccount) => Ok(()),
            Some(_) => Err(format!(
                "`{name}` is the name of a way to authenticate that this process runs with: choose another for the \
                 cluster, or restart the service once the other is gone from the configuration"
            )),
        }
    }

    /// Whether `name` is a source of callers of this kind.
    #[must_use]
    pub fn are(&self, kind: CallerKind, name: &ShortName) -> bool {
        self.kinds.get(name) == Some(&kind)
    }

    /// Whether callers of `name` may show groups. A service account shows none.
    #[must_use]
    pub fn show_groups(&self, name: &ShortName) -> bool {
        self.kinds.get(name).is_some_and(|kind| *kind != CallerKind::ServiceAccount)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> ShortName {
        ShortName::parse(text).unwrap()
    }

    #[test]
    fn a_name_stands_for_one_source_and_for_no_cluster() {
        let mut sources = Sources::beside([name("prod")]);
        assert_eq!(sources.add(CallerKind::Oidc, &name("corp")), Ok(()));
        assert_eq!(sources.add(CallerKind::ServiceAccount, &name("prod")), Ok(()));
        for (kind, taken) in [
            (CallerKind::Oidc, "corp"),
            (CallerKind::Proxy, "corp"),
            (CallerKind::Oidc, "prod"),
            (CallerKind::Proxy, "prod"),
            (CallerKind::ServiceAccount, "prod"),
            (CallerKind::ServiceAccount, "test"),
        ] {
            assert!(sources.add(kind, &name(taken)).is_err(), "{kind:?} {taken}");
        }
    }

    #[test]
    fn a_source_is_of_one_kind() {
        let mut sources = Sources::beside([name("prod")]);
        sources.add(CallerKind::Oidc, &name("corp")).unwrap();
        sources.add(CallerKind::ServiceAccount, &name("prod")).unwrap();
        assert!(
            sources.are(CallerKind::Oidc, &name("corp")) && !sources.are(CallerKind::Proxy, &name("corp"))
        );
        assert!(sources.show_groups(&name("corp")) && !sources.show_groups(&name("prod")));
        assert!(!sources.show_groups(&name("other")));
    }

    #[test]
    fn a_cluster_that_comes_later_has_a_name_of_its_own() {
        let mut sources = Sources::beside([name("prod")]);
        sources.add(CallerKind::ServiceAccount, &name("prod")).unwrap();
        sources.add(CallerKind::Oidc, &name("corp")).unwrap();
        sources.add(CallerKind::Proxy, &name("ci")).unwrap();
        for free in ["prod", "test"] {
            assert_eq!(sources.check_cluster(&name(free)), Ok(()), "{free}");
        }
        for taken in ["corp", "ci"] {
            assert!(sources.check_cluster(&name(taken)).unwrap_err().contains(taken), "{taken}");
        }
    }
}
