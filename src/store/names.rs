//! Names and lists of names are stored once; records hold their numbers. That keeps a record small.
//! So are the certificates of CAs.

use std::collections::{BTreeSet, HashMap};

use aws_lc_rs::digest::{SHA256, digest};
use foldhash::fast::RandomState;

use super::cells::Cells;
use super::connection::Connection;
use super::statement::{Statement, chunks};
use super::{StoreError, authorities};

/// How many names and lists the writer remembers before it starts anew. With [`REMEMBERED_OCTETS`],
/// bounds its memory.
const REMEMBERED: usize = 50_000;

/// How long the remembered names may be, together.
const REMEMBERED_OCTETS: usize = 4 * 1_024 * 1_024;

/// Numbers of names and lists. What was committed is never changed or deleted, so it may be
/// remembered from one transaction to the next; what a rolled back one learned may not.
#[derive(Debug, Default)]
pub(super) struct Names {
    committed: Numbers,
    /// Learned in the transaction that is open.
    fresh: Numbers,
    /// By the SHA-256 of their SPKI. The writer only reads them, so they are committed.
    authorities: HashMap<[u8; 32], i64, RandomState>,
}

#[derive(Debug, Default)]
struct Numbers {
    names: HashMap<String, i64, RandomState>,
    /// By the SHA-256 of their JSON text, which may be 25 KB long.
    lists: HashMap<[u8; 32], i64, RandomState>,
    /// The length of all `names`.
    octets: usize,
}

impl Numbers {
    fn learn_name(&mut self, name: String, id: i64) {
        self.octets = self.octets.saturating_add(name.len());
        self.names.insert(name, id);
    }

    /// Takes over what `other` knows and this one does not.
    fn extend(&mut self, other: Self) {
        self.octets = self.octets.saturating_add(other.octets);
        self.names.extend(other.names);
        self.lists.extend(other.lists);
    }

    fn is_too_much(&self) -> bool {
        self.names.len().saturating_add(self.lists.len()) > REMEMBERED || self.octets > REMEMBERED_OCTETS
    }
}

impl Names {
    /// The number of a name that was stored before by [`Names::store`].
    pub(super) fn name(&self, name: &str) -> Result<i64, StoreError> {
        self.known_name(name).ok_or_else(|| unknown(name))
    }

    /// The number of a list, given as its JSON text.
    pub(super) fn list(&self, json: &str) -> Result<i64, StoreError> {
        self.known_list(&sha256(json.as_bytes())).ok_or_else(|| unknown(json))
    }

    /// The number of a CA, if it was registered when [`Names::learn_authorities`] last looked.
    pub(super) fn authority(&self, spki_sha256: &[u8; 32]) -> Option<i64> {
        self.authorities.get(spki_sha256).copied()
    }

    /// Looks the CAs up again if one of `wanted` is not known: it may be new.
    pub(super) async fn learn_authorities(
        &mut self,
        connection: &mut Connection,
        wanted: impl IntoIterator<Item = [u8; 32]>,
    ) -> Result<(), StoreError> {
        if wanted.into_iter().any(|authority| !self.authorities.contains_key(&authority)) {
            self.authorities = authorities::ids(connection).await?.into_iter().collect();
        }
        Ok(())
    }

    fn known_name(&self, name: &str) -> Option<i64> {
        self.committed.names.get(name).or_else(|| self.fresh.names.get(name)).copied()
    }

    fn known_list(&self, sha256: &[u8; 32]) -> Option<i64> {
        self.committed.lists.get(sha256).or_else(|| self.fresh.lists.get(sha256)).copied()
    }

    /// The transaction was committed: what it learned holds. Forgets everything once there is too
    /// much of it.
    pub(super) fn committed(&mut self) {
        self.committed.extend(std::mem::take(&mut self.fresh));
        if self.committed.is_too_much() {
            self.committed = Numbers::default();
        }
    }

    /// The transaction was rolled back: what it learned may be given to others.
    pub(super) fn rolled_back(&mut self) {
        self.fresh = Numbers::default();
    }

    /// Stores what is not known yet, the names that lists hold among it, and learns the numbers of all.
    pub(super) async fn store(
        &mut self,
        connection: &mut Connection,
        names: BTreeSet<&str>,
        lists: BTreeSet<&str>,
    ) -> Result<(), StoreError> {
        let lists: Vec<List<'_>> = lists
            .into_iter()
            .map(|json| (json, sha256(json.as_bytes())))
            .filter(|(_, sha256)| self.known_list(sha256).is_none())
            .map(|(json, sha256)| List::read(json, sha256))
            .collect::<Result<_, _>>()?;
        let in_lists = lists.iter().flat_map(|list| &list.names).map(String::as_str);
        let names: BTreeSet<&str> = names.into_iter().chain(in_lists).collect();
        let names: Vec<&str> = names.into_iter().filter(|name| self.known_name(name).is_none()).collect();
        for chunk in chunks(&names) {
            self.store_names(connection, chunk).await?;
        }
        for chunk in chunks(&lists) {
            self.store_lists(connection, chunk).await?;
        }
        self.store_members(connection, &lists).await
    }

    async fn store_names(&mut self, connection: &mut Connection, names: &[&str]) -> Result<(), StoreError> {
        let mut insert = Statement::new("INSERT INTO names (name) VALUES ");
        insert.tuples(names.iter().map(|name| [(*name).into()]));
        insert.push(" ON CONFLICT (name) DO NOTHING");
        insert.execute(&mut *connection).await?;
        let mut select = Statement::new("SELECT id, name FROM names WHERE name IN (");
        select.list(names.iter().map(|name| (*name).into())).push(")");
        for row in select.all(connection).await? {
            self.fresh.learn_name(row.try_get("name")?, row.try_get("id")?);
        }
        Ok(())
    }

    async fn store_lists(
        &mut self,
        connection: &mut Connection,
        lists: &[List<'_>],
    ) -> Result<(), StoreError> {
        let mut insert = Statement::new("INSERT INTO name_lists (sha256, names) VALUES ");
        insert.tuples(lists.iter().map(|list| [(&list.sha256).into(), list.json.into()]));
        insert.push(" ON CONFLICT (sha256) DO NOTHING");
        insert.execute(&mut *connection).await?;
        let mut select = Statement::new("SELECT id, sha256 FROM name_lists WHERE sha256 IN (");
        select.list(lists.iter().map(|list| (&list.sha256).into())).push(")");
        for row in select.all(connection).await? {
            let cells = Cells::new(&row, "name_lists", "id");
            self.fresh.lists.insert(cells.octets("sha256")?, cells.integer("id")?);
        }
        Ok(())
    }

    /// Which list has which name, for filters by group and by policy.
    async fn store_members(&self, connection: &mut Connection, lists: &[List<'_>]) -> Result<(), StoreError> {
        let mut members: BTreeSet<(i64, i64)> = BTreeSet::new();
        for list in lists {
            let id = self.list(list.json)?;
            for name in &list.names {
                members.insert((self.name(name)?, id));
            }
        }
        let members: Vec<(i64, i64)> = members.into_iter().collect();
        for chunk in chunks(&members) {
            let mut insert = Statement::new("INSERT INTO name_list_members (name_id, list_id) VALUES ");
            insert.tuples(chunk.iter().map(|(name_id, list_id)| [(*name_id).into(), (*list_id).into()]));
            insert.push(" ON CONFLICT (name_id, list_id) DO NOTHING");
            insert.execute(&mut *connection).await?;
        }
        Ok(())
    }
}

/// A list that is to be stored.
struct List<'l> {
    json: &'l str,
    sha256: [u8; 32],
    names: Vec<String>,
}

impl<'l> List<'l> {
    fn read(json: &'l str, sha256: [u8; 32]) -> Result<Self, StoreError> {
        let names = serde_json::from_str(json)
            .map_err(|_| StoreError::Corrupt(format!("name_lists: `{}` is no list", json.escape_debug())))?;
        Ok(Self { json, sha256, names })
    }
}

/// The number of one name, stored if it is new.
pub(super) async fn name_id(connection: &mut Connection, name: &str) -> Result<i64, StoreError> {
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

    fn name(number: usize, length: usize) -> String {
        format!("{number:0>length$}")
    }

    #[test]
    fn names_are_remembered_until_their_text_is_too_long() {
        let mut names = Names::default();
        let few = REMEMBERED_OCTETS / 253;
        for number in 0..few {
            names.fresh.learn_name(name(number, 253), 7);
            names.committed();
        }
        assert_eq!(names.name(&name(0, 253)).unwrap(), 7);
        names.fresh.learn_name(name(few, 253), 7);
        names.committed();
        assert!(names.name(&name(0, 253)).is_err());
        assert_eq!((names.committed.names.len(), names.committed.octets), (0, 0));
    }

    #[test]
    fn names_and_lists_are_remembered_until_they_are_too_many() {
        let mut names = Names::default();
        for number in 0..REMEMBERED / 2 {
            names.fresh.learn_name(name(number, 8), 7);
            names.fresh.lists.insert(sha256(name(number, 100).as_bytes()), 8);
            names.committed();
        }
        assert_eq!(names.list(&name(0, 100)).unwrap(), 8);
        names.fresh.lists.insert([0; 32], 8);
        names.committed();
        assert!(names.name(&name(0, 8)).is_err() && names.list(&name(0, 100)).is_err());
    }

    #[test]
    fn what_a_rolled_back_transaction_learned_is_forgotten() {
        let mut names = Names::default();
        names.fresh.learn_name("dev".to_owned(), 7);
        names.rolled_back();
        names.committed();
        assert!(names.name("dev").is_err());
    }

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
