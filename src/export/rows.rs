//! What each kind of row says. JSON has these members, CSV these columns.

use serde::Serialize;
use serde_json::Value;

use crate::audit::Event;
use crate::pki::fingerprint;
use crate::store::{Recorded, Refusal};
use crate::time::{Lifetime, Time};

/// In the order of CSV.
pub(super) const CERTIFICATE_COLUMNS: &[&str] = &[
    "number",
    "issued_at",
    "serial",
    "status",
    "cluster",
    "user",
    "groups",
    "not_before",
    "not_after",
    "asked_ttl",
    "credential_id",
    "fingerprint_sha256",
    "key_kind",
    "spki_sha256",
    "policies",
    "policy_revision",
    "requested_by",
    "requester_groups",
    "on_behalf_of",
    "on_behalf_of_proof",
    "reason",
    "request_id",
    "client_request_id",
    "address",
    "renewed_from",
];

/// In the order of CSV.
pub(super) const REFUSAL_COLUMNS: &[&str] = &[
    "number",
    "at",
    "code",
    "detail",
    "violations",
    "cluster",
    "user",
    "groups",
    "on_behalf_of",
    "on_behalf_of_proof",
    "reason",
    "key_kind",
    "spki_sha256",
    "asked_ttl",
    "policies",
    "policy_revision",
    "requested_by",
    "requester_groups",
    "request_id",
    "client_request_id",
    "address",
];

/// In the order of CSV.
pub(super) const EVENT_COLUMNS: &[&str] = &[
    "number",
    "at",
    "kind",
    "caller",
    "caller_groups",
    "request_id",
    "client_request_id",
    "address",
    "detail",
];

/// What the ledger says of a certificate.
#[derive(Debug, Serialize)]
pub struct CertificateRow<'a> {
    number: i64,
    issued_at: Time,
    serial: String,
    status: &'static str,
    cluster: &'a str,
    user: &'a str,
    groups: &'a [String],
    not_before: Time,
    not_after: Time,
    asked_ttl: Option<Lifetime>,
    credential_id: String,
    fingerprint_sha256: String,
    key_kind: &'a str,
    spki_sha256: String,
    policies: &'a [String],
    policy_revision: i64,
    requested_by: &'a str,
    requester_groups: &'a [String],
    on_behalf_of: Option<&'a str>,
    on_behalf_of_proof: bool,
    reason: Option<&'a str>,
    request_id: String,
    client_request_id: Option<&'a str>,
    address: Option<String>,
    renewed_from: Option<String>,
}

impl<'a> CertificateRow<'a> {
    /// The row `recorded`, as it stands at `now`.
    #[must_use]
    pub fn of(recorded: &'a Recorded, now: Time) -> Self {
        Self {
            number: recorded.number,
            issued_at: recorded.issued_at,
            serial: recorded.serial.to_string(),
            status: status(recorded, now),
            cluster: &recorded.cluster,
            user: &recorded.user,
            groups: &recorded.groups,
            not_before: recorded.not_before,
            not_after: recorded.not_after,
            asked_ttl: recorded.asked_ttl,
            credential_id: credential_id(recorded),
            fingerprint_sha256: fingerprint::written(&recorded.sha256),
            key_kind: &recorded.key_kind,
            spki_sha256: fingerprint::written(&recorded.spki_sha256),
            policies: &recorded.policies,
            policy_revision: recorded.policy_revision,
            requested_by: &recorded.origin.caller,
            requester_groups: &recorded.origin.caller_groups,
            on_behalf_of: recorded.on_behalf_of.as_deref(),
            on_behalf_of_proof: recorded.on_behalf_of_proof,
            reason: recorded.reason.as_deref(),
            request_id: recorded.origin.request_id.to_string(),
            client_request_id: recorded.origin.client_request_id.as_deref(),
            address: recorded.origin.address.map(|address| address.to_string()),
            renewed_from: recorded.renews.map(|renews| renews.serial.to_string()),
        }
    }

    /// `active` or `expired`.
    #[must_use]
    pub const fn status(&self) -> &'static str {
        self.status
    }
}

/// What the ledger says of a refusal.
#[derive(Debug, Serialize)]
pub struct RefusalRow<'a> {
    number: i64,
    at: Time,
    code: &'a str,
    detail: &'a str,
    violations: &'a [Value],
    cluster: Option<&'a str>,
    user: Option<&'a str>,
    groups: &'a [String],
    on_behalf_of: Option<&'a str>,
    on_behalf_of_proof: bool,
    reason: Option<&'a str>,
    key_kind: Option<&'a str>,
    spki_sha256: Option<String>,
    asked_ttl: Option<Lifetime>,
    #[serde(skip_serializing_if = "Option::is_none")]
    policies: Option<&'a [String]>,
    policy_revision: i64,
    requested_by: &'a str,
    requester_groups: &'a [String],
    request_id: String,
    client_request_id: Option<&'a str>,
    address: Option<String>,
}

impl<'a> RefusalRow<'a> {
    /// The refusal; which rows decided only where `sees_rows`.
    #[must_use]
    pub fn of(refusal: &'a Refusal, sees_rows: bool) -> Self {
        let record = &refusal.record;
        Self {
            number: refusal.number,
            at: record.at,
            code: &record.code,
            detail: &record.detail,
            violations: record.violations.as_array().map_or(&[], Vec::as_slice),
            cluster: record.cluster.as_deref(),
            user: record.user.as_deref(),
            groups: &record.groups,
            on_behalf_of: record.on_behalf_of.as_deref(),
            on_behalf_of_proof: record.proof.is_some(),
            reason: record.reason.as_deref(),
            key_kind: record.key_kind.as_deref(),
            spki_sha256: record.spki_sha256.as_ref().map(fingerprint::written),
            asked_ttl: record.asked_ttl,
            policies: sees_rows.then_some(record.policies.as_slice()),
            policy_revision: record.policy_revision,
            requested_by: &record.origin.caller,
            requester_groups: &record.origin.caller_groups,
            request_id: record.origin.request_id.to_string(),
            client_request_id: record.origin.client_request_id.as_deref(),
            address: record.origin.address.map(|address| address.to_string()),
        }
    }

    /// Whether it says which rows decided.
    #[must_use]
    pub const fn shows_rows(&self) -> bool {
        self.policies.is_some()
    }
}

/// What the audit log says of an event.
#[derive(Debug, Serialize)]
pub struct EventRow<'a> {
    number: i64,
    at: Time,
    kind: &'static str,
    caller: &'a str,
    caller_groups: &'a [String],
    request_id: String,
    client_request_id: Option<&'a str>,
    address: Option<String>,
    detail: &'a Value,
}

impl<'a> EventRow<'a> {
    /// The event.
    #[must_use]
    pub fn of(event: &'a Event) -> Self {
        Self {
            number: event.number,
            at: event.at,
            kind: event.kind.as_str(),
            caller: &event.origin.caller,
            caller_groups: &event.origin.caller_groups,
            request_id: event.origin.request_id.to_string(),
            client_request_id: event.origin.client_request_id.as_deref(),
            address: event.origin.address.map(|address| address.to_string()),
            detail: &event.detail,
        }
    }
}

/// `active` or `expired` at `now`; notAfter is inclusive (RFC 5280, section 4.1.2.5).
#[must_use]
pub fn status(recorded: &Recorded, now: Time) -> &'static str {
    if now > recorded.not_after { "expired" } else { "active" }
}

/// As kube-apiserver (1.32 and later) stamps it on every request:
/// `authentication.kubernetes.io/credential-id`.
#[must_use]
pub fn credential_id(recorded: &Recorded) -> String {
    format!("X509SHA256={}", fingerprint::written(&recorded.sha256))
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::audit::{Origin, RequestId};
    use crate::store::{RefusalToRecord, Revisions};

    fn refusal() -> Refusal {
        let origin = Origin {
            caller: "token:portal".to_owned(),
            caller_groups: Vec::new(),
            request_id: RequestId([7; 16]),
            client_request_id: None,
            address: None,
        };
        let record = RefusalToRecord {
            at: Time::from_unix(0),
            origin,
            cluster: Some("prod".to_owned()),
            user: Some("alice".to_owned()),
            groups: Vec::new(),
            on_behalf_of: None,
            proof: None,
            reason: None,
            key_kind: None,
            spki_sha256: None,
            asked_ttl: None,
            code: "policy_denied".to_owned(),
            detail: "no".to_owned(),
            violations: Value::Array(Vec::new()),
            policy_revision: 3,
            policies: vec!["secret-row".to_owned()],
            seen: Revisions::default(),
        };
        Refusal { number: 1, record }
    }

    #[test]
    fn only_an_auditor_sees_which_rows_refused() {
        let refusal = refusal();
        let seen = |sees_rows| serde_json::to_string(&RefusalRow::of(&refusal, sees_rows)).unwrap();
        assert!(seen(true).contains("secret-row"));
        assert!(!seen(false).contains("secret-row"));
    }
}
