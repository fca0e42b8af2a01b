//! Which callers are one person, as far as the ledger can tell.

use std::collections::{BTreeSet, HashMap};

use crate::store::connection::Connection;

use crate::policy::Person;
use crate::store::{StoreError, identities};

/// The other names of callers whose subject had more than one.
#[derive(Default)]
pub(super) struct People(HashMap<String, Vec<String>>);

impl People {
    /// What is to be known of these callers.
    pub(super) async fn load(
        connection: &mut Connection,
        callers: BTreeSet<&str>,
    ) -> Result<Self, StoreError> {
        let mut others = HashMap::new();
        for caller in callers {
            if identities::may_be_bound(caller) {
                others.insert(caller.to_owned(), identities::names_beside(connection, caller).await?);
            }
        }
        Ok(Self(others))
    }

    /// The one behind a caller and the owner of its credential, under every name that its subject has or
    /// had.
    pub(super) fn person(&self, caller: &str, owner: Option<&str>) -> Person {
        std::iter::once(caller)
            .chain(owner)
            .flat_map(|caller| {
                let others = self.0.get(caller).into_iter().flatten().map(String::as_str);
                std::iter::once(caller).chain(others)
            })
            .map(Person::behind)
            .fold(Person::default(), Person::or)
    }
}
