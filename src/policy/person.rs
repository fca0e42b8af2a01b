//! Who somebody is, whatever he came in as. Pure.

use std::collections::BTreeSet;

use crate::pki::name::fold;

/// Somebody, by every name that is known of him. Two are one person where they share a name: the
/// token `alice`, the account `cli:alice`, what `oidc:corp:Alice` owns and the user `alice` of a
/// certificate. That may take two people for one, who then do not approve for each other; it never
/// takes one for two by the way in which he came in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Person {
    names: BTreeSet<String>,
}

impl Person {
    /// The one of this name: the user of a certificate, or whom a portal names.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self { names: BTreeSet::from([fold(name)]) }
    }

    /// The one behind a caller as it is recorded, `token:alice` or `cli:root`, or behind the owner of
    /// its credential.
    #[must_use]
    pub fn behind(caller: &str) -> Self {
        Self::named(own_name(caller))
    }

    /// This one or that one.
    #[must_use]
    pub fn or(mut self, other: Self) -> Self {
        self.names.extend(other.names);
        self
    }

    /// Whether they may be the same.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        !self.names.is_disjoint(&other.names)
    }
}

/// What stands behind kind and source; all of a text that is no caller.
fn own_name(caller: &str) -> &str {
    match caller.split_once(':') {
        Some(("token" | "cli", name)) => name,
        Some(("oidc" | "sa" | "cert" | "proxy", rest)) => rest.split_once(':').map_or(rest, |(_, name)| name),
        _ => caller,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_name_is_one_person_however_it_came_in() {
        let alice = Person::named("alice");
        for caller in ["token:alice", "cli:alice", "oidc:corp:alice", "proxy:edge:Alice", "cert:prod:alice"] {
            assert!(Person::behind(caller).is(&alice), "{caller}");
        }
        for caller in ["token:alice-2", "oidc:alice:bob", "sa:prod:alice:bob", "platform team"] {
            assert!(!Person::behind(caller).is(&alice), "{caller}");
        }
    }

    #[test]
    fn an_owner_is_the_person_behind_every_token_of_his() {
        let one = Person::behind("token:laptop").or(Person::behind("oidc:corp:alice"));
        let other = Person::behind("token:phone").or(Person::behind("oidc:corp:alice"));
        assert!(one.is(&other) && one.is(&Person::named("alice")));
        assert!(!Person::behind("token:laptop").is(&Person::behind("token:phone")));
    }

    #[test]
    fn look_alikes_are_one_person() {
        assert!(Person::named("ALICE").is(&Person::named("alice")));
        assert!(Person::named("аlice").is(&Person::named("alice")), "a Cyrillic letter");
    }
}
