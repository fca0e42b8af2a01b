//! What is checked under the lock, before anything is written.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::batch::{Verdict, Work};
use super::cells::Cells;
use super::certificates::Issuance;
use super::connection::Connection;
use super::idempotency::Taken;
use super::limits::Since;
use super::names::Names;
use super::requests::Collectable;
use super::state::State;
use super::statement::{Statement, repeated};
use super::{StoreError, authorities, keys};
use crate::time::Time;

/// How far the clock may stand behind the newest record, or from the database's clock, in seconds.
const CLOCK_SLACK: i64 = 60;

/// What the checks of a batch need, read under the lock. Keys and idempotency keys that the batch
/// itself takes are added as it goes.
#[derive(Debug, Default)]
pub(super) struct Checks {
    blocked: HashSet<[u8; 32]>,
    owners: HashMap<[u8; 32], String>,
    new_owners: HashMap<[u8; 32], NewOwner>,
    idempotency_keys: Taken,
    since: Since,
    collectable: Collectable,
}

/// The user of a key that had none before this batch.
#[derive(Debug)]
struct NewOwner {
    user: String,
    /// Of the first certificate of the key.
    number: i64,
}

impl Checks {
    pub(super) async fn load(
        connection: &mut Connection,
        names: &mut Names,
        state: &State,
        works: &[&Work],
    ) -> Result<Self, StoreError> {
        let issuances: Vec<&Issuance> = works.iter().filter_map(|work| work.issuance()).collect();
        names
            .learn_authorities(connection, issuances.iter().map(|issuance| issuance.signed.authority()))
            .await?;
        let mut checks = Self {
            idempotency_keys: Taken::load(connection, &issuances).await?,
            since: Since::load(connection, &issuances).await?,
            collectable: Collectable::load(connection, &issuances).await?,
            ..Self::default()
        };
        let keys: BTreeSet<[u8; 32]> = issuances.iter().map(|issuance| key(issuance)).collect();
        let keys: Vec<[u8; 32]> = keys.into_iter().collect();
        for chunk in &repeated(&keys) {
            // At revision 0 no key was ever blocked.
            if state.revisions.blocked_keys > 0 {
                checks.load_blocked(connection, chunk).await?;
            }
            checks.load_owners(connection, chunk).await?;
        }
        Ok(checks)
    }

    async fn load_blocked(
        &mut self,
        connection: &mut Connection,
        keys: &[[u8; 32]],
    ) -> Result<(), StoreError> {
        let mut blocked = Statement::new("SELECT spki_sha256 FROM blocked_keys WHERE spki_sha256 IN (");
        blocked.list(keys.iter().map(Into::into)).push(")");
        for row in blocked.all(connection).await? {
            self.blocked.insert(Cells::new(&row, "blocked_keys", "spki_sha256").octets("spki_sha256")?);
        }
        Ok(())
    }

    async fn load_owners(
        &mut self,
        connection: &mut Connection,
        keys: &[[u8; 32]],
    ) -> Result<(), StoreError> {
        self.owners.extend(keys::owners(connection, keys).await?);
        Ok(())
    }

    /// Whether the certificate of this number is the first one of its key.
    pub(super) fn owns_key(&self, number: i64, issuance: &Issuance) -> bool {
        self.new_owners.get(&key(issuance)).is_some_and(|owner| owner.number == number)
    }

    /// Checks one piece of work and gives it a number if it passes. One that does not moves nothing.
    pub(super) fn verdict(&mut self, names: &Names, state: &mut State, work: &Work) -> Verdict {
        let refused = match work {
            Work::Issuance(issuance) => self.refuse_issuance(names, state, issuance),
            Work::Refusal(refusal) => (refusal.seen != state.revisions).then_some(Verdict::Stale),
        };
        let refused = refused
            .or_else(|| clock_behind(state, work.at()).map(Verdict::ClockBehind))
            .or_else(|| clock_off(state, work.at()).map(Verdict::ClockOff));
        if let Some(verdict) = refused {
            return verdict;
        }
        let number = state.next_number();
        if let Work::Issuance(issuance) = work {
            self.take(issuance, number);
        }
        state.newest_at = state.newest_at.max(Some(work.at()));
        Verdict::Recorded(number)
    }

    fn refuse_issuance(&self, names: &Names, state: &State, issuance: &Issuance) -> Option<Verdict> {
        let approved = issuance.signed.approved();
        if issuance.seen != state.revisions || approved.revision() != state.revisions.policy {
            return Some(Verdict::Stale);
        }
        if self.blocked.contains(&key(issuance)) {
            return Some(Verdict::KeyBlocked);
        }
        if self.owner(&key(issuance)).is_some_and(|owner| owner != approved.user().as_str()) {
            return Some(Verdict::KeyOwned);
        }
        if let Err(error) = authority(names, issuance) {
            return Some(Verdict::Failed(error));
        }
        if state.only_authority.is_some_and(|only| only != issuance.signed.authority()) {
            return Some(Verdict::Failed(authorities::bound_to_another()));
        }
        if self.collectable.refuses(issuance) {
            return Some(Verdict::RequestMoved);
        }
        if self.idempotency_keys.holds_key_of(issuance) {
            return Some(Verdict::IdempotencyKeyTaken);
        }
        self.since.used_up(issuance).then_some(Verdict::LimitReached)
    }

    fn owner(&self, key: &[u8; 32]) -> Option<&String> {
        self.owners.get(key).or_else(|| self.new_owners.get(key).map(|owner| &owner.user))
    }

    /// What later work of the same batch must not take again.
    fn take(&mut self, issuance: &Issuance, number: i64) {
        let key = key(issuance);
        if !self.owners.contains_key(&key) {
            let user = issuance.signed.approved().user().as_str();
            self.new_owners.entry(key).or_insert_with(|| NewOwner { user: user.to_owned(), number });
        }
        self.idempotency_keys.take_key_of(issuance);
        self.since.add(issuance, number);
        self.collectable.take(issuance);
    }
}

/// The number of the CA that signed.
pub(super) fn authority(names: &Names, issuance: &Issuance) -> Result<i64, StoreError> {
    names.authority(&issuance.signed.authority()).ok_or_else(|| {
        StoreError::Conflict("the CA that signed is not registered here: restart the service".to_owned())
    })
}

fn key(issuance: &Issuance) -> [u8; 32] {
    issuance.signed.approved().key().spki_sha256()
}

/// The time of the newest record, if `at` is too far before it.
pub(super) fn clock_behind(state: &State, at: Time) -> Option<Time> {
    state.newest_at.filter(|newest| newest.seconds_since(at) > CLOCK_SLACK)
}

/// The database's time, if `at` is too far from it. It was read when the lock was taken.
pub(super) fn clock_off(state: &State, at: Time) -> Option<Time> {
    state.database_time.filter(|database| database.seconds_since(at).saturating_abs() > CLOCK_SLACK)
}
