//! Who was authenticated, by what and from where: noted in memory, written in folded form.
//!
//! The first one of a credential and an address is written within a minute, and from then on one event an
//! hour, with how many there were. Signing waits for none of it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};

use crate::audit::{EventKind, Origin};
use crate::auth::Principal;
use crate::time::Time;

use super::App;

/// How many pairs of a credential and an address are kept.
const MOST: usize = 10_000;
/// How many seconds one event stands for.
const FOLDED: i64 = 3_600;

/// What was authenticated since it was last written.
#[derive(Debug, Default)]
pub(super) struct Logins(Mutex<HashMap<Key, Note>>);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    caller: String,
    method: &'static str,
    address: Option<IpAddr>,
}

#[derive(Debug)]
struct Note {
    /// Of the first one that is not written yet.
    origin: Origin,
    since: Time,
    count: u64,
    /// When this pair was last written.
    written: Option<Time>,
}

impl Logins {
    pub(super) fn note(&self, principal: &Principal, from: &Origin, now: Time) {
        let (method, address) = (principal.credential.method(), from.address);
        let key = Key { caller: principal.caller.to_string(), method, address };
        let mut notes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(note) = notes.get_mut(&key) {
            if note.count == 0 {
                (note.origin, note.since) = (origin(principal, &key, from), now);
            }
            note.count = note.count.saturating_add(1);
        } else if notes.len() < MOST {
            let origin = origin(principal, &key, from);
            notes.insert(key, Note { origin, since: now, count: 1, written: None });
        } else {
            tracing::warn!(
                caller.name = key.caller,
                "more callers than are kept: one authentication is not audited"
            );
        }
    }

    /// What is due, as events. What was not seen for an hour is forgotten.
    fn take(&self, now: Time) -> Vec<(Origin, Value)> {
        let mut notes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut events = Vec::new();
        notes.retain(|key, note| {
            let due = note.written.is_none_or(|written| now.seconds_since(written) >= FOLDED);
            if due && note.count == 0 {
                return false;
            }
            if due {
                events.push(note.event(key));
                (note.count, note.written) = (0, Some(now));
            }
            true
        });
        events
    }

    /// Makes everything due, since there is no later.
    fn finish(&self) {
        let mut notes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        notes.values_mut().for_each(|note| note.written = None);
    }
}

impl Note {
    fn event(&self, key: &Key) -> (Origin, Value) {
        let detail = json!({ "method": key.method, "count": self.count, "since": self.since });
        (self.origin.clone(), detail)
    }
}

fn origin(principal: &Principal, key: &Key, from: &Origin) -> Origin {
    let caller_groups = principal.caller.groups.iter().map(ToString::to_string).collect();
    Origin { caller: key.caller.clone(), caller_groups, ..from.clone() }
}

impl App {
    /// Writes who was authenticated, where it is due.
    pub(super) async fn write_logins(&self) {
        let now = self.clock.now();
        let events = self.logins.take(now);
        if events.is_empty() {
            return;
        }
        let count = events.len();
        if let Err(error) = self.store.record_notes(EventKind::Authenticated, events, now).await {
            tracing::error!(%error, events = count, "authentications could not be audited");
        }
    }

    /// Makes what is noted of authentications due. To be called at the end.
    pub fn finish_logins(&self) {
        self.logins.finish();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::RequestId;
    use crate::auth::{Credential, Identity, Roles};
    use crate::caller::Caller;

    fn principal(caller: &str) -> Principal {
        let caller = Caller::parse(caller).unwrap();
        Principal {
            identity: Identity::of(&caller),
            owner: caller.to_string(),
            caller,
            roles: Roles::default(),
            on_behalf_of: false,
            credential: Credential::Token { id: "id".to_owned() },
            expires_at: Time::from_unix(9),
        }
    }

    fn from(number: u8) -> Origin {
        Origin {
            caller: String::new(),
            caller_groups: Vec::new(),
            request_id: RequestId([number; 16]),
            client_request_id: None,
            address: Some(IpAddr::from([203, 0, 113, number % 2])),
        }
    }

    #[test]
    fn those_of_one_credential_and_address_are_one_event_an_hour() {
        let (logins, alice) = (Logins::default(), principal("token:alice"));
        let at = Time::from_unix;
        let counts = |events: Vec<(Origin, Value)>| {
            let mut counts: Vec<_> =
                events.iter().map(|(_, detail)| detail["count"].as_u64().unwrap()).collect();
            counts.sort_unstable();
            counts
        };
        for number in 0..5 {
            logins.note(&alice, &from(number), at(1_000));
        }
        let first = logins.take(at(1_060));
        assert!(
            first
                .iter()
                .all(|(origin, detail)| origin.caller == "token:alice" && detail["method"] == "token")
        );
        assert_eq!(counts(first), [2, 3]);
        for _ in 0..7 {
            logins.note(&alice, &from(1), at(1_100));
        }
        assert_eq!(counts(logins.take(at(4_659))), [0; 0]);
        let [(origin, detail)] = &logins.take(at(4_660))[..] else { panic!("one event") };
        assert_eq!((&detail["count"], &detail["since"]), (&7.into(), &"1970-01-01T00:18:20Z".into()));
        assert_eq!(origin.request_id, RequestId([1; 16]));
        assert_eq!(logins.0.lock().unwrap().len(), 1, "who was not seen for an hour is forgotten");
    }

    #[test]
    fn at_the_end_everything_is_due() {
        let logins = Logins::default();
        logins.note(&principal("token:alice"), &from(1), Time::from_unix(0));
        assert_eq!(logins.take(Time::from_unix(1)).len(), 1);
        logins.note(&principal("token:alice"), &from(1), Time::from_unix(2));
        assert_eq!(logins.take(Time::from_unix(3)).len(), 0);
        logins.finish();
        assert_eq!(logins.take(Time::from_unix(4)).len(), 1);
    }

    #[test]
    fn memory_is_bounded() {
        let logins = Logins::default();
        for number in 0..MOST + 10 {
            logins.note(&principal(&format!("token:t{number}")), &from(1), Time::from_unix(0));
        }
        assert_eq!(logins.take(Time::from_unix(1)).len(), MOST);
    }
}
