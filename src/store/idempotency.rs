//! What a caller got under an `Idempotency-Key`, kept for 24 hours.

use std::collections::{BTreeSet, HashMap};

use super::StoreError;
use super::cells::Cells;
use super::certificates::{Idempotency, Issuance};
use super::connection::Connection;
use super::names::{Names, name_id};
use super::statement::{On, Statement, chunks};
use crate::time::Time;

/// How long a key is kept, in seconds.
const KEPT: i64 = 86_400;

/// A row of `idempotency_keys`.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) fingerprint: [u8; 32],
    pub(super) number: i64,
    pub(super) at: Time,
}

/// Rows of this time or before no longer count.
pub(super) fn expires_before(now: Time) -> Time {
    now.before(KEPT)
}

pub(super) async fn find<'e>(
    on: impl Into<On<'e>>,
    caller: &str,
    key: &str,
) -> Result<Option<Found>, StoreError> {
    let mut select = Statement::new(
        "SELECT fingerprint, number, at FROM idempotency_keys \
         WHERE caller_id = (SELECT id FROM names WHERE name = ",
    );
    select.bind(caller).push(") AND idempotency_key = ").bind(key);
    let Some(row) = select.optional(on).await? else { return Ok(None) };
    let cells = Cells::new(&row, "idempotency_keys", "number");
    Ok(Some(Found {
        fingerprint: cells.octets("fingerprint")?,
        number: cells.integer("number")?,
        at: cells.time("at")?,
    }))
}

/// The keys that are taken when a batch is checked: found in the ledger, then those of the batch.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// When each was taken, by caller and key.
    since: HashMap<(String, String), Time>,
}

impl Taken {
    /// Looks up the keys of all `issuances` that have one.
    pub(super) async fn load(
        connection: &mut Connection,
        issuances: &[&Issuance],
    ) -> Result<Self, StoreError> {
        let wanted: BTreeSet<(&str, &str)> =
            issuances.iter().filter_map(|issuance| caller_and_key(issuance)).collect();
        let wanted: Vec<(&str, &str)> = wanted.into_iter().collect();
        let mut taken = Self::default();
        for chunk in chunks(&wanted) {
            let mut select = Statement::new("WITH wanted (caller, idempotency_key) AS (VALUES ");
            select.tuples(chunk.iter().map(|(caller, key)| [(*caller).into(), (*key).into()]));
            // CROSS JOIN, so that SQLite begins with the few that are wanted.
            select.push(
                ") SELECT w.caller, w.idempotency_key, k.at FROM wanted w CROSS JOIN names n \
                 CROSS JOIN idempotency_keys k WHERE n.name = w.caller AND k.caller_id = n.id \
                 AND k.idempotency_key = w.idempotency_key",
            );
            for row in select.all(&mut *connection).await? {
                let cells = Cells::new(&row, "idempotency_keys", "idempotency_key");
                let entry = (cells.text("caller")?, cells.text("idempotency_key")?);
                taken.since.insert(entry, cells.time("at")?);
            }
        }
        Ok(taken)
    }

    /// Whether the key of `issuance`, if it has one, is taken and has not expired.
    pub(super) fn holds_key_of(&self, issuance: &Issuance) -> bool {
        let since = caller_and_key(issuance)
            .and_then(|(caller, key)| self.since.get(&(caller.to_owned(), key.to_owned())));
        since.is_some_and(|since| *since > expires_before(issuance.at))
    }

    /// Notes the key of `issuance`, if it has one, for what comes after it in the batch.
    pub(super) fn take_key_of(&mut self, issuance: &Issuance) {
        if let Some((caller, key)) = caller_and_key(issuance) {
            self.since.insert((caller.to_owned(), key.to_owned()), issuance.at);
        }
    }
}

fn caller_and_key(issuance: &Issuance) -> Option<(&str, &str)> {
    let idempotency = issuance.idempotency.as_ref()?;
    Some((&issuance.origin.caller, &idempotency.key))
}

/// Keeps the key of a request that was held under `number`.
pub(super) async fn keep_one(
    connection: &mut Connection,
    caller: &str,
    idempotency: &Idempotency,
    number: i64,
    at: Time,
) -> Result<(), StoreError> {
    let caller_id = name_id(connection, caller).await?;
    keep(connection, &[Keeping { caller_id, idempotency, number, at }]).await
}

/// Keeps the keys of those of `issued` that have one, in place of expired rows, and drops what else
/// has expired. That no live row is there was checked before.
pub(super) async fn store<'i>(
    connection: &mut Connection,
    names: &Names,
    issued: impl Iterator<Item = (i64, &'i Issuance)>,
) -> Result<(), StoreError> {
    let keyed =
        issued.filter_map(|(number, issuance)| Some((number, issuance, issuance.idempotency.as_ref()?)));
    let kept = keyed.map(|(number, issuance, idempotency)| {
        let caller_id = names.name(&issuance.origin.caller)?;
        Ok(Keeping { caller_id, idempotency, number, at: issuance.at })
    });
    keep(connection, &kept.collect::<Result<Vec<_>, StoreError>>()?).await
}

/// A key that is to be kept.
struct Keeping<'k> {
    caller_id: i64,
    idempotency: &'k Idempotency,
    number: i64,
    at: Time,
}

async fn keep(connection: &mut Connection, kept: &[Keeping<'_>]) -> Result<(), StoreError> {
    let Some(earliest) = kept.iter().map(|kept| kept.at).min() else { return Ok(()) };
    let mut delete = Statement::new("DELETE FROM idempotency_keys WHERE at <= ");
    delete.bind(expires_before(earliest));
    delete.execute(&mut *connection).await?;
    for chunk in chunks(kept) {
        let mut insert = Statement::new(
            "INSERT INTO idempotency_keys (caller_id, idempotency_key, fingerprint, number, at) VALUES ",
        );
        insert.tuples(chunk.iter().map(|one| {
            let (key, fingerprint) = (&one.idempotency.key, &one.idempotency.fingerprint);
            [one.caller_id.into(), key.into(), fingerprint.into(), one.number.into(), one.at.into()]
        }));
        insert.push(
            " ON CONFLICT (caller_id, idempotency_key) DO UPDATE SET fingerprint = excluded.fingerprint, \
             number = excluded.number, at = excluded.at",
        );
        insert.execute(&mut *connection).await?;
    }
    Ok(())
}
