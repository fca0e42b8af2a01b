//! Names and lists of names are stored once; records hold their numbers. That keeps a record small.

use std::collections::{BTreeSet, HashMap};

use aws_lc_rs::digest::{SHA256, digest};
use sqlx::{AnyConnection, Row};

use super::StoreError;
use super::statement::{Statement, chunks};

/// How many names the writer remembers before it starts anew. Bounds its memory.
const REMEMBERED: usize = 50_000;

/// Numbers of names and lists. What was committed is never changed or deleted, so it may be
/// remembered from one transaction to the next; what a rolled back one learned may not.
#[derive(Debug, Default)]
pub(super) struct Names {
    committed: Numbers,
    /// Learned in the transaction that is open.
    fresh: Numbers,
}

#[derive(Debug, Default)]
struct Numbers {
    names: HashMap<String, i64>,
    lists: HashMap<String, i64>,
}

impl Names {
    /// The number of a name that was stored before by [`Names::store`].
    pub(super) fn name(&self, name: &str) -> Result<i64, StoreError> {
        self.known_name(name).ok_or_else(|| unknown(name))
    }

    /// The number of a list, given as its JSON text.
    pub(super) fn list(&self, json: &str) -> Result<i64, StoreError> {
        self.known_list(json).ok_or_else(|| unknown(json))
    }

    fn known_name(&self, name: &str) -> Option<i64> {
        self.committed.names.get(name).or_else(|| self.fresh.names.get(name)).copied()
    }

    fn known_list(&self, json: &str) -> Option<i64> {
        self.committed.lists.get(json).or_else(|| self.fresh.lists.get(json)).copied()
    }

    /// The transaction was committed: what it learned holds. Forgets everything once there is too
    /// much of it.
    pub(super) fn committed(&mut self) {
        self.committed.names.extend(self.fresh.names.drain());
        self.committed.lists.extend(self.fresh.lists.drain());
        if self.committed.names.len() + self.committed.lists.len() > REMEMBERED {
            self.committed = Numbers::default();
        }
    }

    /// The transaction was rolled back: what it learned may be given to others.
    pub(super) fn rolled_back(&mut self) {
        self.fresh = Numbers::default();
    }

    /// Stores what is not known yet, and learns the numbers of all.
    pub(super) async fn store(
        &mut self,
        connection: &mut AnyConnection,
        names: BTreeSet<&str>,
        lists: BTreeSet<&str>,
    ) -> Result<(), StoreError> {
        let names: Vec<&str> = names.into_iter().filter(|name| self.known_name(name).is_none()).collect();
        for chunk in chunks(&names) {
            self.store_names(connection, chunk).await?;
        }
        let lists: Vec<(&str, [u8; 32])> = lists
            .into_iter()
            .filter(|list| self.known_list(list).is_none())
            .map(|list| (list, sha256(list.as_bytes())))
            .collect();
        for chunk in chunks(&lists) {
            self.store_lists(connection, chunk).await?;
        }
        Ok(())
    }

    async fn store_names(
        &mut self,
        connection: &mut AnyConnection,
        names: &[&str],
    ) -> Result<(), StoreError> {
        let mut insert = Statement::new("INSERT INTO names (name) VALUES ");
        insert.tuples(names.iter().map(|name| [(*name).into()]));
        insert.push(" ON CONFLICT (name) DO NOTHING");
        insert.execute(&mut *connection).await?;
        let mut select = Statement::new("SELECT id, name FROM names WHERE name IN (");
        select.list(names.iter().map(|name| (*name).into())).push(")");
        for row in select.all(connection).await? {
            self.fresh.names.insert(row.try_get("name")?, row.try_get("id")?);
        }
        Ok(())
    }

    async fn store_lists(
        &mut self,
        connection: &mut AnyConnection,
        lists: &[(&str, [u8; 32])],
    ) -> Result<(), StoreError> {
        let mut insert = Statement::new("INSERT INTO name_lists (sha256, names) VALUES ");
        insert.tuples(lists.iter().map(|(list, sha256)| [sha256.into(), (*list).into()]));
        insert.push(" ON CONFLICT (sha256) DO NOTHING");
        insert.execute(&mut *connection).await?;
        let mut select = Statement::new("SELECT id, names FROM name_lists WHERE sha256 IN (");
        select.list(lists.iter().map(|(_, sha256)| sha256.into())).push(")");
        for row in select.all(connection).await? {
            self.fresh.lists.insert(row.try_get("names")?, row.try_get("id")?);
        }
        Ok(())
    }
}

/// The number of one name, stored if it is new.
pub(super) async fn name_id(connection: &mut AnyConnection, name: &str) -> Result<i64, StoreError> {
    let mut names = Names::default();
    names.store(connection, BTreeSet::from([name]), BTreeSet::new()).await?;
    names.name(name)
}

/// How a list is stored: a JSON array in its own order.
pub(super) fn list_json<'n>(names: impl IntoIterator<Item = &'n str>) -> String {
    serde_json::Value::from_iter(names).to_string()
}

pub(super) fn sha256(octets: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    for (to, from) in hash.iter_mut().zip(digest(&SHA256, octets).as_ref()) {
        *to = *from;
    }
    hash
}

fn unknown(name: &str) -> StoreError {
    StoreError::Corrupt(format!("names: `{}` was stored and is not there", name.escape_debug()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_json_in_its_own_order() {
        assert_eq!(list_json(["dev", "a\"b"]), r#"["dev","a\"b"]"#);
        assert_eq!(list_json([]), "[]");
    }

    #[test]
    fn sha256_is_sha256() {
        assert_eq!(sha256(b"")[..4], [0xe3, 0xb0, 0xc4, 0x42]);
    }
}
