//! The rows of a certificate.

use super::seconds;
use crate::pki::name::{Name, ShortName};
use crate::store::StoreError;
use crate::store::certificates::{Issuance, sha256_head};
use crate::store::connection::Connection;
use crate::store::names::{Names, list_json};
use crate::store::statement::{Statement, Value, chunks};

/// An issuance under its number.
#[derive(Debug)]
pub(in crate::store) struct CertificateInsert<'i> {
    number: i64,
    issuance: &'i Issuance,
    authority_id: i64,
    serial: [u8; 16],
    sha256_head: i64,
    /// Whether it is the first certificate of its key.
    owns_key: bool,
    pub(in crate::store) spki_sha256: [u8; 32],
    pub(in crate::store) groups: String,
    pub(in crate::store) policies: String,
}

impl<'i> CertificateInsert<'i> {
    pub(in crate::store) fn new(
        number: i64,
        issuance: &'i Issuance,
        authority_id: i64,
        owns_key: bool,
    ) -> Self {
        let signed = &issuance.signed;
        let approved = signed.approved();
        Self {
            number,
            issuance,
            authority_id,
            serial: *signed.serial().octets(),
            sha256_head: sha256_head(&signed.sha256()),
            owns_key,
            spki_sha256: approved.key().spki_sha256(),
            groups: list_json(approved.groups().iter().map(Name::as_str)),
            policies: list_json(approved.rows().iter().map(ShortName::as_str)),
        }
    }

    /// The names that this row speaks of, besides those in its lists.
    pub(in crate::store) fn names(&self) -> impl Iterator<Item = &'i str> {
        let approved = self.issuance.signed.approved();
        [self.issuance.origin.caller.as_str(), approved.cluster().as_str()].into_iter()
    }

    fn user(&self) -> &'i str {
        self.issuance.signed.approved().user().as_str()
    }

    fn row(&self, names: &Names) -> Result<[Value<'_>; 19], StoreError> {
        let approved = self.issuance.signed.approved();
        let ask = approved.ask();
        Ok([
            self.number.into(),
            self.authority_id.into(),
            names.name(approved.cluster().as_str())?.into(),
            names.name(&self.issuance.origin.caller)?.into(),
            (&self.serial).into(),
            self.user().into(),
            names.list(&self.groups)?.into(),
            ask.on_behalf_of.as_ref().map(Name::as_str).into(),
            self.issuance.reason.as_deref().into(),
            approved.key().kind().as_str().into(),
            (&self.spki_sha256).into(),
            i64::from(self.owns_key).into(),
            approved.not_before().into(),
            approved.not_after().into(),
            seconds(ask.ttl).into(),
            approved.revision().into(),
            names.list(&self.policies)?.into(),
            self.sha256_head.into(),
            self.issuance.signed.der().into(),
        ])
    }
}

/// Why a certificate's rows were not written.
#[derive(Debug)]
pub(in crate::store) enum InsertError {
    /// Another certificate of this CA has the serial.
    SerialTaken,
    Store(StoreError),
}

impl From<StoreError> for InsertError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Writes `certificates`. Their events, names and lists must be there.
pub(in crate::store) async fn insert_certificates(
    connection: &mut Connection,
    certificates: &[CertificateInsert<'_>],
    names: &Names,
) -> Result<(), InsertError> {
    for chunk in chunks(certificates) {
        let mut insert = Statement::new(
            "INSERT INTO certificates (number, authority_id, cluster_id, caller_id, serial, user_name, \
             groups_id, on_behalf_of, reason, key_kind, spki_sha256, owns_key, not_before, not_after, asked_ttl, \
             policy_revision, policies_id, sha256_head, der) VALUES ",
        );
        insert.tuples(chunk.iter().map(|row| row.row(names)).collect::<Result<Vec<_>, _>>()?);
        // The number is the event's, which was unique, and whose the key is was looked up under the lock, so
        // only the serial can be there already.
        insert.execute(&mut *connection).await.map_err(|error| match error.as_database_error() {
            Some(database) if database.is_unique_violation() => InsertError::SerialTaken,
            _ => InsertError::Store(error.into()),
        })?;
    }
    Ok(())
}

/// Notes of each of `issued` that renews another what it says of its chain.
pub(in crate::store) async fn insert_renewals<'i>(
    connection: &mut Connection,
    issued: impl Iterator<Item = (i64, &'i Issuance)>,
) -> Result<(), StoreError> {
    let renewals: Vec<_> =
        issued.filter_map(|(number, issuance)| Some((number, issuance.renews.as_ref()?))).collect();
    for chunk in chunks(&renewals) {
        let mut insert = Statement::new("INSERT INTO renewals (number, renewed_from, first_issued) VALUES ");
        insert.tuples(chunk.iter().map(|(number, renews)| {
            [(*number).into(), renews.serial.octets().into(), renews.first_issued.into()]
        }));
        insert.execute(&mut *connection).await?;
    }
    Ok(())
}
