//! The rows of a refusal.

use super::seconds;
use crate::store::StoreError;
use crate::store::connection::Connection;
use crate::store::names::{Names, list_json};
use crate::store::refusals::RefusalToRecord;
use crate::store::statement::{Statement, Value, chunks};

/// A refusal under its number.
#[derive(Debug)]
pub(in crate::store) struct RefusalInsert<'r> {
    number: i64,
    refusal: &'r RefusalToRecord,
    pub(in crate::store) groups: String,
    pub(in crate::store) policies: String,
    violations: String,
}

impl<'r> RefusalInsert<'r> {
    pub(in crate::store) fn new(number: i64, refusal: &'r RefusalToRecord) -> Self {
        Self {
            number,
            refusal,
            groups: list_json(refusal.groups.iter().map(String::as_str)),
            policies: list_json(refusal.policies.iter().map(String::as_str)),
            violations: refusal.violations.to_string(),
        }
    }

    /// The names that this row speaks of, besides those in its lists.
    pub(in crate::store) fn names(&self) -> impl Iterator<Item = &'r str> {
        std::iter::once(self.refusal.origin.caller.as_str()).chain(self.refusal.cluster.as_deref())
    }

    fn row(&self, names: &Names) -> Result<[Value<'_>; 15], StoreError> {
        let refusal = self.refusal;
        let cluster_id = refusal.cluster.as_deref().map(|cluster| names.name(cluster)).transpose()?;
        Ok([
            self.number.into(),
            names.name(&refusal.origin.caller)?.into(),
            cluster_id.into(),
            refusal.user.as_deref().into(),
            names.list(&self.groups)?.into(),
            refusal.on_behalf_of.as_deref().into(),
            refusal.reason.as_deref().into(),
            refusal.key_kind.as_deref().into(),
            refusal.spki_sha256.as_ref().into(),
            seconds(refusal.asked_ttl).into(),
            (&refusal.code).into(),
            (&refusal.detail).into(),
            (&self.violations).into(),
            refusal.policy_revision.into(),
            names.list(&self.policies)?.into(),
        ])
    }
}

/// Writes `refusals`. Their events, names and lists must be there.
pub(in crate::store) async fn insert_refusals(
    connection: &mut Connection,
    refusals: &[RefusalInsert<'_>],
    names: &Names,
) -> Result<(), StoreError> {
    for chunk in chunks(refusals) {
        let mut insert = Statement::new(
            "INSERT INTO refusals (number, caller_id, cluster_id, user_name, groups_id, on_behalf_of, \
             reason, key_kind, spki_sha256, asked_ttl, code, detail, violations, policy_revision, \
             policies_id) VALUES ",
        );
        insert.tuples(chunk.iter().map(|row| row.row(names)).collect::<Result<Vec<_>, _>>()?);
        insert.execute(&mut *connection).await?;
    }
    Ok(())
}
