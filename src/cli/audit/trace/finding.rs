//! What the ledger says of a certificate that an API server saw, and what is remarkable about it.

use std::collections::HashMap;

use anyhow::Result;
use serde::Serialize;
use serde_json::Value;

use super::super::source::{Source, Stretch, What, read};
use super::log::Use;
use crate::time::Time;

/// What happened to keys and tokens: the time at which each was blocked or revoked, if it still is.
#[derive(Debug, Default)]
pub(super) struct Since {
    /// By the SHA-256 of the SPKI in hex.
    blocked: HashMap<String, Time>,
    /// By the token's name.
    revoked: HashMap<String, Time>,
}

/// One certificate of the log.
#[derive(Debug, Serialize)]
pub(super) struct Finding {
    credential_id: String,
    user: String,
    requests: u64,
    refused_requests: u64,
    first: Time,
    last: Time,
    serial: Value,
    cluster: Value,
    groups: Value,
    requested_by: Value,
    on_behalf_of: Value,
    policies: Value,
    policy_revision: Value,
    not_before: Value,
    not_after: Value,
    pub(super) flags: Vec<&'static str>,
}

impl Since {
    /// Out of the audit log, in which the latest word on a key or token stands.
    pub(super) async fn load(source: &Source) -> Result<Self> {
        let mut since = Self::default();
        for kind in ["key.blocked", "key.unblocked", "token.revoked"] {
            let mut rows: Vec<Value> = Vec::new();
            let mut take = |row: &str| {
                rows.push(read(row)?);
                Ok(())
            };
            let given = [("kind".to_owned(), kind.to_owned())];
            let stretch = Stretch { ascending: true, ..Stretch::default() };
            source.rows(What::Events, &given, stretch, &mut take).await?;
            for row in &rows {
                since.add(kind, row);
            }
        }
        Ok(since)
    }

    fn add(&mut self, kind: &str, event: &Value) {
        let detail = |member: &str| event.pointer(&format!("/detail/{member}")).and_then(Value::as_str);
        let Some(at) = time(event.get("at")) else { return };
        match kind {
            "key.blocked" => {
                self.blocked.extend(detail("spki_sha256").map(|key| (key.to_owned(), at)));
            }
            "key.unblocked" => {
                let key = detail("spki_sha256").unwrap_or_default();
                if self.blocked.get(key).is_some_and(|blocked| *blocked <= at) {
                    self.blocked.remove(key);
                }
            }
            _ => self.revoked.extend(detail("name").map(|name| (name.to_owned(), at))),
        }
    }
}

impl Finding {
    pub(super) async fn of(source: &Source, id: [u8; 32], used: &Use, since: &Since) -> Result<Self> {
        let credential_id = format!("X509SHA256={}", hex::encode(id));
        let given = [("credential_id".to_owned(), credential_id.clone())];
        let record = first(source, What::Certificates, &given, None).await?;
        let mut flags = Vec::new();
        match &record {
            None => flags.push("not_in_ledger"),
            Some(record) => {
                flags.extend(of_use(record, used));
                flags.extend(of_record(record, since));
                if was_refused(source, record).await? {
                    flags.push("refused_since");
                }
            }
        }
        let member = |name: &str| record.as_ref().and_then(|row| row.get(name)).cloned().unwrap_or_default();
        Ok(Self {
            credential_id,
            user: used.user.clone(),
            requests: used.requests,
            refused_requests: used.refused,
            first: used.first,
            last: used.last,
            serial: member("serial"),
            cluster: member("cluster"),
            groups: member("groups"),
            requested_by: member("requested_by"),
            on_behalf_of: member("on_behalf_of"),
            policies: member("policies"),
            policy_revision: member("policy_revision"),
            not_before: member("not_before"),
            not_after: member("not_after"),
            flags,
        })
    }

    /// As a table takes it.
    pub(super) fn json(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }
}

/// What does not fit between the record and what was done with the certificate.
fn of_use(record: &Value, used: &Use) -> Vec<&'static str> {
    let mut flags = Vec::new();
    let (from, until) = (time(record.get("not_before")), time(record.get("not_after")));
    if from.is_some_and(|from| used.first < from) || until.is_some_and(|until| until < used.last) {
        flags.push("outside_validity");
    }
    if used.other_names || record.get("user").and_then(Value::as_str) != Some(&used.user) {
        flags.push("name_differs");
    }
    flags
}

/// What was taken back since the certificate was issued.
fn of_record(record: &Value, since: &Since) -> Vec<&'static str> {
    let mut flags = Vec::new();
    let text = |member: &str| record.get(member).and_then(Value::as_str).unwrap_or_default();
    if since.blocked.contains_key(text("spki_sha256")) {
        flags.push("key_blocked");
    }
    let token = text("requested_by").strip_prefix("token:").unwrap_or_default();
    if since.revoked.contains_key(token) {
        flags.push("token_revoked");
    }
    flags
}

/// Whether the same caller was later refused the same user by the policy.
async fn was_refused(source: &Source, record: &Value) -> Result<bool> {
    let text = |member: &str| record.get(member).and_then(Value::as_str).unwrap_or_default().to_owned();
    let given = [
        ("user".to_owned(), text("user")),
        ("caller".to_owned(), text("requested_by")),
        ("code".to_owned(), "policy_denied".to_owned()),
    ];
    let after_number = record.get("number").and_then(Value::as_i64);
    Ok(first(source, What::Refusals, &given, after_number).await?.is_some())
}

async fn first(
    source: &Source,
    what: What,
    given: &[(String, String)],
    after_number: Option<i64>,
) -> Result<Option<Value>> {
    let mut found = None;
    let mut take = |row: &str| {
        found = Some(read(row)?);
        Ok(())
    };
    let stretch = Stretch { after_number, ascending: after_number.is_some(), limit: Some(1) };
    source.rows(what, given, stretch, &mut take).await?;
    Ok(found)
}

fn time(value: Option<&Value>) -> Option<Time> {
    Time::parse(value?.as_str()?).ok()
}
