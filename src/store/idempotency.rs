//! What a caller got under an `Idempotency-Key`, kept for 24 hours.

use sqlx::AnyConnection;

use super::StoreError;
use super::cells::Cells;
use super::certificates::Issuance;
use super::names::Names;
use super::statement::{On, Statement};
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

/// Keeps the issuance's key, if it has one, in place of an expired row, and drops what else has
/// expired. That no live row is there was checked before.
pub(super) async fn store(
    connection: &mut AnyConnection,
    names: &Names,
    number: i64,
    issuance: &Issuance,
) -> Result<(), StoreError> {
    let Some(idempotency) = &issuance.idempotency else { return Ok(()) };
    let mut delete = Statement::new("DELETE FROM idempotency_keys WHERE at <= ");
    delete.bind(expires_before(issuance.at));
    delete.execute(&mut *connection).await?;
    let mut insert = Statement::new(
        "INSERT INTO idempotency_keys (caller_id, idempotency_key, fingerprint, number, at) VALUES ",
    );
    insert.tuples([[
        names.name(&issuance.origin.caller)?.into(),
        (&idempotency.key).into(),
        (&idempotency.fingerprint).into(),
        number.into(),
        issuance.at.into(),
    ]]);
    insert.execute(connection).await?;
    Ok(())
}
