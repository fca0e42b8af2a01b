//! Issued certificates.

use super::batch::{Verdict, Work};
use super::cells::Cells;
use super::idempotency::{self, expires_before};
use super::names::sha256;
use super::requests::{self, HeldId, HeldRequest};
use super::row::Row;
use super::search::{Path, Search};
use super::snapshot::Revisions;
use super::statement::Statement;
use super::{Allowance, CertificateFilter, Own, Page, RecordError, Span, StoreError, events};
use crate::audit::Origin;
use crate::ca::Signed;
use crate::pki::serial::Serial;
use crate::time::{Lifetime, Time};

/// What the detail of an event calls the proof that a named person is behind a request.
pub(super) const PROOF: &str = "on_behalf_of_proof";

/// What is recorded with a certificate: everything that the certificate itself does not say.
#[derive(Debug)]
pub struct Issuance {
    /// What was signed, with the decision that allowed it.
    pub signed: Signed,
    /// The time of the decision.
    pub at: Time,
    /// Who asked, from where.
    pub origin: Origin,
    /// Why, in the requester's words.
    pub reason: Option<String>,
    /// What the limits of the deciding rows left. Counted on under the lock.
    pub allowance: Allowance,
    /// What the decision was made on. Compared under the lock.
    pub seen: Revisions,
    /// Where the request had an `Idempotency-Key`.
    pub idempotency: Option<Idempotency>,
    /// Where it renews another certificate.
    pub renews: Option<Renews>,
    /// The held request whose certificate this is. It is closed in the same transaction, which
    /// fails unless it is approved.
    pub collects: Option<Collects>,
    /// Whose own token showed that the named person is behind it, where one did: for the event.
    pub proof: Option<serde_json::Value>,
}

/// A held request that is collected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collects {
    /// Its id.
    pub id: HeldId,
    /// What is the collector's own: the request must be among it.
    pub own: Own,
}

/// What a certificate that renews another says of its chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Renews {
    /// The serial of the one that was shown, which is of the same CA.
    pub serial: Serial,
    /// When the first of the chain was issued.
    pub first_issued: Time,
}

/// An `Idempotency-Key` and what it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idempotency {
    /// As it was sent.
    pub key: String,
    /// SHA-256 over route, SPKI, names, cluster, ttl, `on_behalf_of` and reason.
    pub fingerprint: [u8; 32],
}

/// What a caller got under an `Idempotency-Key`.
#[derive(Clone, Debug)]
pub enum Kept {
    /// A certificate.
    Certificate(Box<Recorded>),
    /// A request that was held.
    Request(Box<HeldRequest>),
}

/// A certificate whose row is durable. Sealed: made only here, written now or loaded.
#[derive(Clone, Debug)]
pub struct Recorded {
    pub(super) row: CertificateRow,
}

/// A certificate as the ledger has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateRow {
    /// Its place in commit order.
    pub number: i64,
    /// The time of the decision.
    pub issued_at: Time,
    /// Who asked, from where.
    pub origin: Origin,
    /// The cluster that it was asked for.
    pub cluster: String,
    /// SHA-256 of the CA's SPKI.
    pub authority: [u8; 32],
    /// Unique under its CA.
    pub serial: Serial,
    /// The subject's CN.
    pub user: String,
    /// The subject's O values, in order.
    pub groups: Vec<String>,
    /// The person that a portal named.
    pub on_behalf_of: Option<String>,
    /// Whether that person's own token came with the request.
    pub on_behalf_of_proof: bool,
    /// Why, in the requester's words.
    pub reason: Option<String>,
    /// As in [`crate::pki::key::KeyKind::as_str`].
    pub key_kind: String,
    /// SHA-256 of the certified key's SPKI.
    pub spki_sha256: [u8; 32],
    /// The certificate's notBefore.
    pub not_before: Time,
    /// The certificate's notAfter, inclusive.
    pub not_after: Time,
    /// The lifetime that was asked for, if one was.
    pub asked_ttl: Option<Lifetime>,
    /// SHA-256 of the whole DER: the credential id.
    pub sha256: [u8; 32],
    /// The certificate.
    pub der: Vec<u8>,
    /// The policy revision that decided.
    pub policy_revision: i64,
    /// The rows that decided, by name.
    pub policies: Vec<String>,
    /// Where it renewed another.
    pub renews: Option<Renews>,
}

impl CertificateRow {
    /// When the first certificate of its chain of renewals was issued: this one, where it renewed none.
    #[must_use]
    pub fn first_issued(&self) -> Time {
        self.renews.map_or(self.issued_at, |renews| renews.first_issued)
    }
}

impl std::ops::Deref for Recorded {
    type Target = CertificateRow;

    fn deref(&self) -> &CertificateRow {
        &self.row
    }
}

impl super::Store {
    /// Hands the certificate to the writer and returns after the commit. What the writer has begun
    /// runs to its end even if the caller goes away.
    ///
    /// # Errors
    /// As [`RecordError`] says; nothing was recorded. After `Store(Unavailable)` for lack of time
    /// the record may still be written, for a certificate that nobody got.
    pub async fn record(&self, issuance: Issuance) -> Result<Recorded, RecordError> {
        let work = Work::Issuance(Box::new(issuance));
        let answer = self.queue().record(work).await.map_err(RecordError::Store)?;
        let (Work::Issuance(issuance), verdict) = answer else {
            return Err(RecordError::Store(StoreError::Corrupt(
                "the writer mixed up its answers".to_owned(),
            )));
        };
        match verdict {
            Verdict::Recorded(number) => Ok(Recorded { row: issuance.into_row(number) }),
            Verdict::Stale => Err(RecordError::Stale),
            Verdict::ClockBehind(newest) => Err(RecordError::ClockBehind { newest }),
            Verdict::ClockOff(database) => Err(RecordError::ClockOff { database }),
            Verdict::KeyBlocked => Err(RecordError::KeyBlocked),
            Verdict::KeyOwned => Err(RecordError::KeyOwned),
            Verdict::LimitReached => Err(RecordError::LimitReached),
            Verdict::IdempotencyKeyTaken => Err(RecordError::IdempotencyKeyTaken),
            Verdict::RequestMoved => Err(RecordError::RequestMoved),
            Verdict::SerialTaken => Err(RecordError::SerialTaken),
            Verdict::Failed(error) => Err(RecordError::Store(error)),
        }
    }

    /// A page of the certificates that match.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`.
    pub async fn certificates(
        &self,
        filter: &CertificateFilter,
        page: impl Into<Span>,
    ) -> Result<Vec<Recorded>, StoreError> {
        let (filter, span) = (filter.clone(), page.into());
        self.read(move |connection| {
            Box::pin(async move {
                let search = filter.timed_search(connection).await?;
                let path = search.path(&mut *connection, span).await?;
                // Another one that begins alike must not stand in its way.
                let limit = if filter.sha256.is_some() { u32::MAX } else { span.limit };
                let rows = search.rows(connection, path, Span { limit, ..span }, select).await?;
                let mut rows = rows.iter().map(read).collect::<Result<Vec<_>, _>>()?;
                if let Some(sha256) = filter.sha256 {
                    rows.retain(|row| row.sha256 == sha256);
                }
                span.sort(&mut rows, |row| row.number);
                Ok(rows)
            })
        })
        .await
    }

    /// Every certificate with this serial: it is unique per CA only, so there can be several.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`.
    pub async fn certificates_by_serial(&self, serial: Serial) -> Result<Vec<Recorded>, StoreError> {
        let filter = CertificateFilter { serial: Some(serial), ..CertificateFilter::default() };
        self.certificates(&filter, Page { before: None, limit: u32::MAX }).await
    }

    /// What this caller got under this key in the last 24 hours.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`.
    pub async fn idempotent(
        &self,
        caller: &str,
        key: &str,
        now: Time,
    ) -> Result<Option<(Idempotency, Kept)>, StoreError> {
        let found = idempotency::find(&self.connections().readers, caller, key).await?;
        let Some(found) = found.filter(|found| found.at > expires_before(now)) else { return Ok(None) };
        let kept = match self.certificate(found.number).await? {
            Some(certificate) => Kept::Certificate(Box::new(certificate)),
            None => Kept::Request(Box::new(self.kept_request(found.number, now).await?)),
        };
        Ok(Some((Idempotency { key: key.to_owned(), fingerprint: found.fingerprint }, kept)))
    }

    /// The certificate of this number.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`.
    pub async fn certificate(&self, number: i64) -> Result<Option<Recorded>, StoreError> {
        let mut select = Statement::new(COLUMNS);
        select.push(" FROM certificates c").push(JOINS).push(" WHERE c.number = ").bind(number);
        select.optional(&self.connections().readers).await?.as_ref().map(read).transpose()
    }

    /// The certificate with this SHA-256, and whether people reviewed it.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`.
    pub async fn shown_certificate(&self, sha256: [u8; 32]) -> Result<Option<(Recorded, bool)>, StoreError> {
        let filter = CertificateFilter { sha256: Some(sha256), ..CertificateFilter::default() };
        let found = self.certificates(&filter, Page { before: None, limit: 1 }).await?.pop();
        let Some(found) = found else { return Ok(None) };
        let mut select = Statement::new("SELECT q.number FROM requests q WHERE q.certificate = ");
        select.bind(found.number).push(" LIMIT 1");
        let reviewed = select.optional(&self.connections().readers).await?.is_some();
        Ok(Some((found, reviewed)))
    }

    async fn kept_request(&self, number: i64, now: Time) -> Result<HeldRequest, StoreError> {
        let found = self.view(move |connection| Box::pin(requests::by_number(connection, number, now)));
        found.await?.ok_or_else(|| {
            StoreError::Corrupt(format!(
                "idempotency_keys: there is neither certificate nor request {number}"
            ))
        })
    }
}

impl Issuance {
    /// The row that was just written under `number`.
    fn into_row(self, number: i64) -> CertificateRow {
        let approved = self.signed.approved();
        let ask = approved.ask();
        CertificateRow {
            number,
            issued_at: self.at,
            cluster: approved.cluster().to_string(),
            authority: self.signed.authority(),
            serial: self.signed.serial(),
            user: approved.user().to_string(),
            groups: approved.groups().iter().map(ToString::to_string).collect(),
            on_behalf_of: ask.on_behalf_of.as_ref().map(ToString::to_string),
            on_behalf_of_proof: self.proof.is_some(),
            key_kind: approved.key().kind().as_str().to_owned(),
            spki_sha256: approved.key().spki_sha256(),
            not_before: approved.not_before(),
            not_after: approved.not_after(),
            asked_ttl: ask.ttl,
            sha256: self.signed.sha256(),
            der: self.signed.der().to_vec(),
            policy_revision: approved.revision(),
            policies: approved.rows().iter().map(ToString::to_string).collect(),
            renews: self.renews,
            origin: self.origin,
            reason: self.reason,
        }
    }
}

const COLUMNS: &str = "SELECT c.number, c.serial, c.user_name, c.on_behalf_of, c.reason, c.key_kind, \
     c.spki_sha256, c.not_before, c.not_after, c.asked_ttl, c.der, c.policy_revision, \
     cluster.name AS cluster, authority.spki_sha256 AS authority, g.names AS group_names, \
     p.names AS policy_names, e.at, caller.name AS caller, e.caller_groups, e.request_id, \
     e.client_request_id, e.address, e.detail AS event_detail, r.renewed_from, r.first_issued";

/// Outer joins, though every row has its partners: so no engine begins with another table than the
/// one that is paged.
const JOINS: &str = " LEFT JOIN events e ON e.number = c.number \
     LEFT JOIN names caller ON caller.id = e.caller_id \
     LEFT JOIN names cluster ON cluster.id = c.cluster_id \
     LEFT JOIN authorities authority ON authority.id = c.authority_id \
     LEFT JOIN name_lists g ON g.id = c.groups_id \
     LEFT JOIN name_lists p ON p.id = c.policies_id \
     LEFT JOIN renewals r ON r.number = c.number";

/// The rows of a page's numbers, in no order.
pub(super) fn select<'f>(search: &Search<'f>, path: Path, span: Span) -> Statement<'f> {
    let mut select = Statement::new(COLUMNS);
    select.push(" FROM (");
    search.push_numbers(&mut select, path, span);
    select.push(") k CROSS JOIN certificates c").push(JOINS).push(" WHERE c.number = k.number");
    select
}

fn renews(cells: &Cells<'_>) -> Result<Option<Renews>, StoreError> {
    let Some(serial) = cells.optional_blob("renewed_from")? else { return Ok(None) };
    let serial =
        Serial::from_stored(&serial).ok_or_else(|| cells.wrong("renewed_from", "is no serial of ours"))?;
    Ok(Some(Renews { serial, first_issued: cells.time("first_issued")? }))
}

fn read(row: &Row) -> Result<Recorded, StoreError> {
    let cells = Cells::new(row, "certificates", "number");
    let serial = cells.octets::<16>("serial")?;
    let der = cells.blob("der")?;
    let row = CertificateRow {
        number: cells.integer("number")?,
        issued_at: cells.time("at")?,
        origin: events::origin(&cells)?,
        cluster: cells.text("cluster")?,
        authority: cells.octets("authority")?,
        serial: Serial::from_stored(&serial).ok_or_else(|| cells.wrong("serial", "is no serial of ours"))?,
        user: cells.text("user_name")?,
        groups: cells.json("group_names")?,
        on_behalf_of: cells.optional_text("on_behalf_of")?,
        on_behalf_of_proof: proof(&cells)?.is_some(),
        reason: cells.optional_text("reason")?,
        key_kind: cells.text("key_kind")?,
        spki_sha256: cells.octets("spki_sha256")?,
        not_before: cells.time("not_before")?,
        not_after: cells.time("not_after")?,
        asked_ttl: cells.optional_lifetime("asked_ttl")?,
        sha256: sha256(&der),
        der,
        policy_revision: cells.integer("policy_revision")?,
        policies: cells.json("policy_names")?,
        renews: renews(&cells)?,
    };
    Ok(Recorded { row })
}

/// What a certificate is found by of the SHA-256 of its DER: its first eight octets.
pub(super) fn sha256_head(sha256: &[u8; 32]) -> i64 {
    sha256.first_chunk().map_or(0, |head| i64::from_be_bytes(*head))
}

/// What the event of a record says of the token that showed that the named person is behind it.
pub(super) fn proof(cells: &Cells<'_>) -> Result<Option<serde_json::Value>, StoreError> {
    let detail: Option<serde_json::Value> = cells.optional_json("event_detail")?;
    let proof = detail.as_ref().and_then(|detail| detail.get(PROOF));
    Ok(proof.filter(|proof| !proof.is_null()).cloned())
}
