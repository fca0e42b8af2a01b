//! What is checked under the lock, before anything is written.

use std::collections::{BTreeSet, HashMap, HashSet};

use sqlx::AnyConnection;

use super::batch::{Verdict, Work};
use super::cells::Cells;
use super::certificates::Issuance;
use super::idempotency::{self, expires_before};
use super::state::State;
use super::statement::{Statement, chunks};
use super::{StoreError, authorities};
use crate::time::Time;

/// How far the clock may stand behind the newest record, or from the database's clock, in seconds.
const CLOCK_SLACK: i64 = 60;

/// What the checks of a batch need, read under the lock. Keys and idempotency keys that the batch
/// itself takes are added as it goes.
#[derive(Debug, Default)]
pub(super) struct Checks {
    blocked: HashSet<[u8; 32]>,
    owners: HashMap<[u8; 32], String>,
    authorities: HashMap<[u8; 32], i64>,
    idempotency_keys: HashSet<(String, String)>,
}

impl Checks {
    pub(super) async fn load(connection: &mut AnyConnection, works: &[&Work]) -> Result<Self, StoreError> {
        let mut keys = BTreeSet::new();
        for work in works {
            if let Work::Issuance(issuance) = work {
                keys.insert(issuance.signed.approved().key().spki_sha256());
            }
        }
        let keys: Vec<[u8; 32]> = keys.into_iter().collect();
        let mut checks = Self::default();
        if !keys.is_empty() {
            checks.authorities = authorities::ids(connection).await?;
        }
        for chunk in chunks(&keys) {
            checks.load_keys(connection, chunk).await?;
        }
        Ok(checks)
    }

    async fn load_keys(
        &mut self,
        connection: &mut AnyConnection,
        keys: &[[u8; 32]],
    ) -> Result<(), StoreError> {
        let mut blocked = Statement::new("SELECT spki_sha256 FROM blocked_keys WHERE spki_sha256 IN (");
        blocked.list(keys.iter().map(Into::into)).push(")");
        for row in blocked.all(&mut *connection).await? {
            self.blocked.insert(Cells::new(&row, "blocked_keys", "spki_sha256").octets("spki_sha256")?);
        }
        let mut owners =
            Statement::new("SELECT spki_sha256, user_name FROM key_owners WHERE spki_sha256 IN (");
        owners.list(keys.iter().map(Into::into)).push(")");
        for row in owners.all(connection).await? {
            let cells = Cells::new(&row, "key_owners", "spki_sha256");
            self.owners.insert(cells.octets("spki_sha256")?, cells.text("user_name")?);
        }
        Ok(())
    }

    /// The number of the CA that signed.
    pub(super) fn authority(&self, issuance: &Issuance) -> Result<i64, StoreError> {
        self.authorities.get(&issuance.signed.authority()).copied().ok_or_else(|| {
            StoreError::Conflict("the CA that signed is not registered here: restart the service".to_owned())
        })
    }

    /// Checks one piece of work and gives it a number if it passes. One that does not moves nothing.
    pub(super) async fn verdict(
        &mut self,
        connection: &mut AnyConnection,
        state: &mut State,
        work: &Work,
    ) -> Result<Verdict, StoreError> {
        let refused = match work {
            Work::Issuance(issuance) => self.refuse_issuance(connection, state, issuance).await?,
            Work::Refusal(refusal) if refusal.seen != state.revisions => Some(Verdict::Stale),
            Work::Refusal(_) => None,
        };
        let refused =
            refused.or_else(|| clock_behind(state, work.at())).or_else(|| clock_off(state, work.at()));
        if let Some(verdict) = refused {
            return Ok(verdict);
        }
        if let Work::Issuance(issuance) = work {
            self.take(issuance);
        }
        state.newest_at = state.newest_at.max(Some(work.at()));
        Ok(Verdict::Recorded(state.next_number()))
    }

    async fn refuse_issuance(
        &self,
        connection: &mut AnyConnection,
        state: &State,
        issuance: &Issuance,
    ) -> Result<Option<Verdict>, StoreError> {
        let approved = issuance.signed.approved();
        let key = approved.key().spki_sha256();
        if issuance.seen != state.revisions || approved.revision() != state.revisions.policy {
            return Ok(Some(Verdict::Stale));
        }
        if self.blocked.contains(&key) {
            return Ok(Some(Verdict::KeyBlocked));
        }
        if self.owners.get(&key).is_some_and(|owner| owner != approved.user().as_str()) {
            return Ok(Some(Verdict::KeyOwned));
        }
        if let Err(error) = self.authority(issuance) {
            return Ok(Some(Verdict::Failed(error)));
        }
        if state.only_authority.is_some_and(|only| only != issuance.signed.authority()) {
            return Ok(Some(Verdict::Failed(authorities::bound_to_another())));
        }
        let taken = self.has_idempotency_key(connection, issuance).await?;
        Ok(taken.then_some(Verdict::IdempotencyKeyTaken))
    }

    async fn has_idempotency_key(
        &self,
        connection: &mut AnyConnection,
        issuance: &Issuance,
    ) -> Result<bool, StoreError> {
        let Some(idempotency) = &issuance.idempotency else { return Ok(false) };
        let caller = &issuance.origin.caller;
        if self.idempotency_keys.contains(&(caller.clone(), idempotency.key.clone())) {
            return Ok(true);
        }
        let found = idempotency::find(connection, caller, &idempotency.key).await?;
        Ok(found.is_some_and(|found| found.at > expires_before(issuance.at)))
    }

    /// What later work of the same batch must not take again.
    fn take(&mut self, issuance: &Issuance) {
        let approved = issuance.signed.approved();
        let user = approved.user().as_str().to_owned();
        self.owners.entry(approved.key().spki_sha256()).or_insert(user);
        if let Some(idempotency) = &issuance.idempotency {
            self.idempotency_keys.insert((issuance.origin.caller.clone(), idempotency.key.clone()));
        }
    }
}

fn clock_behind(state: &State, at: Time) -> Option<Verdict> {
    let newest = state.newest_at?;
    (newest.seconds_since(at) > CLOCK_SLACK).then_some(Verdict::ClockBehind(newest))
}

/// The database's clock was read when the lock was taken.
fn clock_off(state: &State, at: Time) -> Option<Verdict> {
    let database = state.database_time?;
    (database.seconds_since(at).saturating_abs() > CLOCK_SLACK).then_some(Verdict::ClockOff(database))
}
