//! The multi-row INSERTs of a transaction that writes.

mod certificate;
mod refusal;

pub(super) use certificate::{CertificateInsert, InsertError, insert_certificates, insert_renewals};
pub(super) use refusal::{RefusalInsert, insert_refusals};

use super::StoreError;
use super::events::kind_number;
use super::names::list_json;
use super::statement::{Statement, Value, chunks};
use crate::audit::{EventKind, Origin};
use crate::store::connection::Connection;
use crate::time::{Lifetime, Time};

/// A row of `events`.
#[derive(Debug)]
pub(super) struct EventInsert<'o> {
    number: i64,
    at: Time,
    kind: EventKind,
    caller_id: i64,
    origin: &'o Origin,
    caller_groups: Option<String>,
    address: Option<String>,
    detail: Option<String>,
}

impl<'o> EventInsert<'o> {
    pub(super) fn new(number: i64, at: Time, kind: EventKind, caller_id: i64, origin: &'o Origin) -> Self {
        let groups = &origin.caller_groups;
        let caller_groups = (!groups.is_empty()).then(|| list_json(groups.iter().map(String::as_str)));
        let address = origin.address.map(|address| address.to_string());
        Self { number, at, kind, caller_id, origin, caller_groups, address, detail: None }
    }

    /// With what changed, for an event that has no other row.
    pub(super) fn with_detail(mut self, detail: &serde_json::Value) -> Self {
        self.detail = Some(detail.to_string());
        self
    }

    fn row(&self) -> [Value<'_>; 9] {
        [
            self.number.into(),
            self.at.into(),
            kind_number(self.kind).into(),
            self.caller_id.into(),
            self.caller_groups.as_deref().into(),
            (&self.origin.request_id.0).into(),
            self.origin.client_request_id.as_deref().into(),
            self.address.as_deref().into(),
            self.detail.as_deref().into(),
        ]
    }
}

pub(super) async fn insert_events(
    connection: &mut Connection,
    events: &[EventInsert<'_>],
) -> Result<(), StoreError> {
    for chunk in chunks(events) {
        let mut insert = Statement::new(
            "INSERT INTO events (number, at, kind, caller_id, caller_groups, request_id, \
             client_request_id, address, detail) VALUES ",
        );
        insert.tuples(chunk.iter().map(EventInsert::row));
        insert.execute(&mut *connection).await?;
    }
    Ok(())
}

fn seconds(lifetime: Option<Lifetime>) -> Option<i64> {
    lifetime.map(|lifetime| i64::from(lifetime.seconds()))
}
