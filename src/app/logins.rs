//! Who was authenticated, by what and from where: noted in memory, written in folded form.
//!
//! The first one of a credential and a network is written within a minute, and from then on one event an
//! hour, with how many there were. Signing waits for none of it. Memory is bounded, and nobody takes the
//! place of others: who comes from more networks than are kept apart is one event without an address,
//! and where there is no room at all, whoever comes is one event without a name.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};

use crate::audit::{EventKind, Origin};
use crate::auth::Principal;
use crate::time::Time;

use super::App;
use super::failures::network;

/// How many pairs of a credential and a network are kept.
const MOST: usize = 10_000;
/// How many networks of one credential are kept apart.
const MOST_NETWORKS: usize = 64;
/// How many seconds one event stands for.
const FOLDED: i64 = 3_600;
/// Who an event names that stands for callers who found no place.
const SEVERAL: &str = "several";

/// What was authenticated since it was last written.
#[derive(Debug, Default)]
pub(super) struct Logins(Mutex<BTreeMap<Key, Note>>);

/// What is told apart. Those of one credential stand beside each other, first the one without an
/// address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
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

impl Key {
    fn of(principal: &Principal, from: &Origin) -> Self {
        let method = principal.credential.method();
        Self { caller: principal.caller.to_string(), method, address: from.address.map(network) }
    }

    /// This one if it has a place in `notes` or there is one for it, or else the one that it is folded
    /// into.
    fn placed(self, notes: &BTreeMap<Self, Note>) -> Self {
        if notes.contains_key(&self) {
            return self;
        }
        let without_address = Self { address: None, ..self.clone() };
        let same = |key: &Self| key.caller == self.caller && key.method == self.method;
        let known = notes.range(&without_address..).take_while(|(key, _)| same(key));
        let key = if known.take(MOST_NETWORKS).count() < MOST_NETWORKS { self } else { without_address };
        if notes.len() < MOST || notes.contains_key(&key) {
            return key;
        }
        Self { caller: SEVERAL.to_owned(), address: None, ..key }
    }
}

impl Logins {
    pub(super) fn note(&self, principal: &Principal, from: &Origin, now: Time) {
        let mut notes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = Key::of(principal, from).placed(&notes);
        if let Some(note) = notes.get_mut(&key) {
            if note.count == 0 {
                (note.origin, note.since) = (origin(principal, &key, from), now);
            }
            note.count = note.count.saturating_add(1);
        } else {
            let origin = origin(principal, &key, from);
            notes.insert(key, Note { origin, since: now, count: 1, written: None });
        }
    }

    /// What is due, as events, each with its number. What was not seen for an hour is forgotten.
    fn take(&self, now: Time) -> Vec<(Origin, Value, u64)> {
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
    fn event(&self, key: &Key) -> (Origin, Value, u64) {
        let detail = json!({ "method": key.method, "count": self.count, "since": self.since });
        (self.origin.clone(), detail, self.count)
    }
}

/// What the event of `key` says of where it came from; no more than all those say that it stands for.
fn origin(principal: &Principal, key: &Key, from: &Origin) -> Origin {
    let groups = principal.caller.groups.iter().filter(|_| key.caller != SEVERAL);
    Origin {
        caller: key.caller.clone(),
        caller_groups: groups.map(ToString::to_string).collect(),
        address: from.address.filter(|_| key.address.is_some()),
        ..from.clone()
    }
}

impl App {
    /// Writes who was authenticated, where it is due.
    pub(super) async fn write_logins(&self) {
        let now = self.clock.now();
        let noted = self.logins.take(now);
        if noted.is_empty() {
            return;
        }
        let count = noted.iter().map(|(_, _, count)| count).sum();
        let events = noted.into_iter().map(|(origin, detail, _)| (origin, detail)).collect();
        if let Err(error) = self.store.record_notes(EventKind::Authenticated, events, now).await {
            self.metrics.logins_not_audited(count);
            tracing::error!(%error, authentications = count, "authentications could not be audited");
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
        let counts = |events: Vec<(Origin, Value, u64)>| {
            let mut counts: Vec<_> = events.iter().map(|(_, _, count)| *count).collect();
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
                .all(|(origin, detail, _)| origin.caller == "token:alice" && detail["method"] == "token")
        );
        assert_eq!(counts(first), [2, 3]);
        for _ in 0..7 {
            logins.note(&alice, &from(1), at(1_100));
        }
        assert_eq!(counts(logins.take(at(4_659))), [0; 0]);
        let [(origin, detail, 7)] = &logins.take(at(4_660))[..] else { panic!("one event") };
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

    fn at(address: &str) -> Origin {
        Origin { address: address.parse().ok(), ..from(1) }
    }

    /// The events by caller and address, each with its number.
    fn told(logins: &Logins) -> Vec<(String, Option<IpAddr>, u64)> {
        let taken = logins.take(Time::from_unix(1)).into_iter();
        taken.map(|(origin, _, count)| (origin.caller, origin.address, count)).collect()
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let (logins, alice) = (Logins::default(), principal("token:alice"));
        for number in 0..MOST {
            logins.note(&alice, &at(&format!("2001:db8::{number:x}")), Time::from_unix(0));
        }
        logins.note(&alice, &at("2001:db8:0:1::1"), Time::from_unix(0));
        let told = told(&logins);
        let counts: Vec<_> = told.iter().map(|(_, _, count)| *count).collect();
        assert_eq!(counts, [10_000, 1]);
        assert_eq!(told[0].1, "2001:db8::".parse().ok(), "as the first one had it");
    }

    #[test]
    fn who_comes_from_everywhere_takes_no_place_of_others() {
        let logins = Logins::default();
        let (everywhere, alice) = (principal("token:everywhere"), principal("token:alice"));
        for number in 0..20_000_u32 {
            let address = std::net::Ipv4Addr::from_bits(0x0a00_0000 + number);
            logins.note(&everywhere, &at(&address.to_string()), Time::from_unix(0));
        }
        logins.note(&alice, &at("192.0.2.1"), Time::from_unix(0));
        let told = told(&logins);
        assert_eq!(told.len(), MOST_NETWORKS + 2);
        assert_eq!(told[0], ("token:alice".to_owned(), "192.0.2.1".parse().ok(), 1));
        let rest = 20_000 - u64::try_from(MOST_NETWORKS).unwrap();
        assert!(told.contains(&("token:everywhere".to_owned(), None, rest)));
    }

    #[test]
    fn what_finds_no_place_is_one_event_of_nobody_in_particular() {
        let logins = Logins::default();
        for number in 0..MOST + 10 {
            logins.note(&principal(&format!("token:t{number}")), &from(1), Time::from_unix(0));
        }
        logins.note(&principal("token:t1"), &from(1), Time::from_unix(0));
        let told = told(&logins);
        assert_eq!(told.len(), MOST + 1);
        assert_eq!(told.iter().map(|(_, _, count)| count).sum::<u64>(), 10_011, "none is lost");
        assert!(told.contains(&(SEVERAL.to_owned(), None, 10)));
    }
}
