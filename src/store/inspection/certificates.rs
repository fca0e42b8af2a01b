//! Certificates, with everything elsewhere that has to agree with them.

use super::{EventOfRecord, Inspected};
use crate::store::cells::Cells;
use crate::store::row::Row;
use crate::store::statement::Statement;
use crate::store::{Store, StoreError};
use crate::time::Time;

/// A row of `certificates`, and what stands beside it.
#[derive(Clone, Debug)]
pub struct StoredCertificate {
    /// As it is stored.
    pub serial: Vec<u8>,
    /// The number of its CA.
    pub authority_id: i64,
    /// The number of its cluster's name.
    pub cluster_id: i64,
    /// The cluster's name; none if the name is not there.
    pub cluster: Option<String>,
    /// The number of its caller's name.
    pub caller_id: i64,
    /// The subject's CN.
    pub user: String,
    /// The subject's O values, in order.
    pub groups: Vec<String>,
    /// The rows that decided.
    pub policies: Vec<String>,
    /// The revision that they are of.
    pub policy_revision: i64,
    /// The word for the kind of the key.
    pub key_kind: String,
    /// Of the key.
    pub spki_sha256: Vec<u8>,
    /// The certificate's notBefore.
    pub not_before: Time,
    /// The certificate's notAfter.
    pub not_after: Time,
    /// Seconds.
    pub asked_ttl: Option<i64>,
    /// The first eight octets of the credential id, as a number.
    pub sha256_head: i64,
    /// The certificate.
    pub der: Vec<u8>,
    /// The event of the same number.
    pub event: Option<EventOfRecord>,
    /// The user that the key is noted for.
    pub key_owner: Option<String>,
    /// The user that is noted beside, as it is once the first certificate of the key was deleted.
    pub noted_owner: Option<String>,
    /// Whether a later certificate than this one says so.
    pub owner_is_later: bool,
    /// The number of the list of its groups.
    pub groups_id: i64,
    /// The number of the list of its policies.
    pub policies_id: i64,
}

const SELECT: &str = "SELECT c.number, c.serial, c.authority_id, c.cluster_id, cluster.name AS cluster, \
     c.caller_id, c.user_name, c.groups_id, c.policies_id, g.names AS group_names, p.names AS policy_names, c.policy_revision, \
     c.key_kind, c.spki_sha256, c.not_before, c.not_after, c.asked_ttl, c.sha256_head, c.der, \
     e.at AS event_at, e.kind AS event_kind, e.caller_id AS event_caller_id, COALESCE(owner.user_name, k.user_name) AS key_owner, k.user_name AS noted_owner, \
     CASE WHEN owner.number > c.number THEN 1 ELSE 0 END AS owner_is_later \
     FROM certificates c LEFT JOIN events e ON e.number = c.number \
     LEFT JOIN names cluster ON cluster.id = c.cluster_id \
     LEFT JOIN name_lists g ON g.id = c.groups_id \
     LEFT JOIN name_lists p ON p.id = c.policies_id \
     LEFT JOIN key_owners k ON k.spki_sha256 = c.spki_sha256 \
     LEFT JOIN certificates owner ON owner.spki_sha256 = c.spki_sha256 AND owner.owns_key = 1 \
     WHERE c.number > ";

impl Store {
    /// The next certificates with numbers above `after`, up to `until`, ascending.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`.
    pub async fn inspect_certificates(
        &self,
        after: i64,
        until: i64,
        limit: u32,
    ) -> Result<Vec<Inspected<StoredCertificate>>, StoreError> {
        let mut select = Statement::new(SELECT);
        select.bind(after).push(" AND c.number <= ").bind(until);
        select.push(" ORDER BY c.number LIMIT ").bind(limit);
        let rows = select.all(&self.connections().readers).await?;
        rows.iter().map(|row| Ok(Inspected { number: row.try_get("number")?, row: read(row) })).collect()
    }
}

fn read(row: &Row) -> Result<StoredCertificate, StoreError> {
    let cells = Cells::new(row, "certificates", "number");
    Ok(StoredCertificate {
        serial: cells.blob("serial")?,
        authority_id: cells.integer("authority_id")?,
        cluster_id: cells.integer("cluster_id")?,
        cluster: cells.optional_text("cluster")?,
        caller_id: cells.integer("caller_id")?,
        user: cells.text("user_name")?,
        groups: cells.json("group_names")?,
        policies: cells.json("policy_names")?,
        policy_revision: cells.integer("policy_revision")?,
        key_kind: cells.text("key_kind")?,
        spki_sha256: cells.blob("spki_sha256")?,
        not_before: cells.time("not_before")?,
        not_after: cells.time("not_after")?,
        asked_ttl: cells.optional_integer("asked_ttl")?,
        sha256_head: cells.integer("sha256_head")?,
        der: cells.blob("der")?,
        event: event(&cells)?,
        key_owner: cells.optional_text("key_owner")?,
        noted_owner: cells.optional_text("noted_owner")?,
        owner_is_later: cells.integer("owner_is_later")? == 1,
        groups_id: cells.integer("groups_id")?,
        policies_id: cells.integer("policies_id")?,
    })
}

/// The event that was joined to a record, out of the columns `event_at`, `event_kind` and
/// `event_caller_id`.
pub(super) fn event(cells: &Cells<'_>) -> Result<Option<EventOfRecord>, StoreError> {
    let Some(kind) = cells.optional_integer("event_kind")? else { return Ok(None) };
    Ok(Some(EventOfRecord {
        at: cells.time("event_at")?,
        kind,
        caller_id: cells.integer("event_caller_id")?,
    }))
}
