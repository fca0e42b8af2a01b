//! What is asked: every filter alone, and the pairs that an auditor puts together.

use anyhow::{Context as _, Result};
use countersign::filters::{self, Texts};
use countersign::store::{CertificateFilter, EventFilter, Order, RefusalFilter, Span, Store, Typed};
use countersign::time::Time;

use crate::load::{caller, cluster, group, policy, serial, sha256, user};
use crate::shape::{self, CALLERS, CODES, GROUPS, POLICIES, RARE_USER};

/// Which list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum List {
    Certificates,
    Refusals,
    Events,
}

impl List {
    pub const fn path(self) -> &'static str {
        match self {
            Self::Certificates => "/v1/certificates",
            Self::Refusals => "/v1/refusals",
            Self::Events => "/v1/audit",
        }
    }
}

/// One list with its filters.
#[derive(Clone, Debug)]
pub struct Case {
    pub list: List,
    /// What a table says.
    pub name: String,
    /// Name and value of each filter.
    pub filters: Vec<(&'static str, String)>,
}

/// A case as the ledger itself is asked.
pub enum Asked {
    Certificates(CertificateFilter),
    Refusals(RefusalFilter),
    Events(EventFilter),
}

impl Case {
    /// Its list and its filters.
    pub fn words(&self) -> String {
        format!("{} {}", self.list.path(), self.name)
    }

    /// Reads the filters as the service does.
    pub fn asked(&self, now: Time) -> Result<Asked> {
        let mut texts =
            Texts::new(self.filters.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        Ok(match self.list {
            List::Certificates => Asked::Certificates(filters::certificates(&mut texts, now)?),
            List::Refusals => Asked::Refusals(filters::refusals(&mut texts, |_| true)?),
            List::Events => Asked::Events(filters::events(&mut texts)?),
        })
    }
}

impl Asked {
    /// The numbers of a page.
    pub async fn numbers(&self, store: &Store, span: Span) -> Result<Vec<i64>> {
        Ok(match self {
            Self::Certificates(filter) => {
                store.certificates(filter, span).await?.iter().map(|row| row.number).collect()
            }
            Self::Refusals(filter) => {
                store.refusals(filter, span).await?.iter().map(|row| row.number).collect()
            }
            Self::Events(filter) => store.events(filter, span).await?.iter().map(|row| row.number).collect(),
        })
    }

    /// What the service asks its database last.
    pub async fn typed(&self, store: &Store, span: Span) -> Result<Typed> {
        Ok(match self {
            Self::Certificates(filter) => store.typed_certificates(filter, span).await?,
            Self::Refusals(filter) => store.typed_refusals(filter, span).await?,
            Self::Events(filter) => store.typed_events(filter, span).await?,
        })
    }

    /// A number in the middle of what matches. None where there is nothing.
    pub async fn middle(&self, store: &Store) -> Result<Option<i64>> {
        let ends = [Order::OldestFirst, Order::NewestFirst];
        let mut found = Vec::new();
        for order in ends {
            found.extend(self.numbers(store, Span::all(order, 1)).await?);
        }
        Ok(found.first().zip(found.last()).map(|(first, last)| i64::midpoint(*first, *last)))
    }
}

/// All of them, over a ledger of so many records that was made at `now`, in seconds since 1970, with certificates
/// like `signed`.
#[expect(clippy::too_many_lines, reason = "a list: mostly a line for each case")]
pub fn all(records: u64, now: u64, signed: &[u8]) -> Result<Vec<Case>> {
    let back = |days: u64| at(now.saturating_sub(days * 86_400));
    let (common, rare) = (user(0), user(RARE_USER));
    let place = (records / 2..records).find(|place| shape::kind(*place) == shape::Kind::Certificate);
    let place = place.context("no certificate")?;
    let mut cases = Vec::new();
    let mut list = List::Certificates;
    let mut add = |list: List, name: &str, filters: &[(&'static str, String)]| {
        cases.push(Case { list, name: name.to_owned(), filters: filters.to_vec() });
    };
    add(list, "none", &[]);
    add(list, "user, busy", &[("user", common.clone())]);
    add(list, "user, rare", &[("user", rare.clone())]);
    add(list, "user, unknown", &[("user", "nobody".to_owned())]);
    add(list, "group, common", &[("group", group(0))]);
    add(list, "group, rare", &[("group", group(GROUPS - 1))]);
    add(list, "cluster", &[("cluster", cluster(1))]);
    add(list, "cluster, rare", &[("cluster", cluster(7))]);
    add(list, "caller, busy", &[("caller", caller(0))]);
    add(list, "caller, rare", &[("caller", caller(CALLERS - 60))]);
    add(list, "on_behalf_of", &[("on_behalf_of", common.clone())]);
    add(list, "policy", &[("policy", policy(0))]);
    add(list, "policy, rare", &[("policy", policy(POLICIES - 1))]);
    add(list, "serial", &[("serial", hex::encode(serial(place)))]);
    add(list, "credential_id", &[("credential_id", format!("X509SHA256={}", sha256(signed, place)))]);
    add(list, "status=active", &[("status", "active".to_owned())]);
    add(list, "status=expired", &[("status", "expired".to_owned())]);
    add(list, "issued_after", &[("issued_after", back(30)?)]);
    add(list, "issued_before", &[("issued_before", back(365)?)]);
    add(list, "issued_after + issued_before", &[("issued_after", back(400)?), ("issued_before", back(399)?)]);
    add(list, "expires_after", &[("expires_after", at(now + 7 * 86_400)?)]);
    add(list, "expires_before", &[("expires_before", back(400)?)]);
    add(
        list,
        "expires_after + expires_before",
        &[("expires_after", at(now)?), ("expires_before", at(now + 7 * 86_400)?)],
    );
    add(list, "valid_at", &[("valid_at", back(200)?)]);
    add(list, "valid_from + valid_to", &[("valid_from", back(200)?), ("valid_to", back(193)?)]);
    let active = || ("status", "active".to_owned());
    let (since, until) = (("issued_after", back(120)?), ("issued_before", back(90)?));
    for (name, first) in [
        ("user", ("user", common.clone())),
        ("group", ("group", group(0))),
        ("group, rare", ("group", group(GROUPS - 1))),
        ("cluster", ("cluster", cluster(1))),
        ("caller", ("caller", caller(0))),
        ("caller, rare", ("caller", caller(CALLERS - 60))),
        ("on_behalf_of", ("on_behalf_of", common.clone())),
        ("policy", ("policy", policy(0))),
    ] {
        add(list, &format!("{name} + status=active"), &[first.clone(), active()]);
        add(list, &format!("{name} + issued in a month"), &[first.clone(), since.clone(), until.clone()]);
        add(list, &format!("{name} + valid_at"), &[first, ("valid_at", back(200)?)]);
    }
    for (name, pair) in [
        ("user + group", [("user", common.clone()), ("group", group(0))]),
        ("user + cluster", [("user", common.clone()), ("cluster", cluster(0))]),
        ("user + caller", [("user", common.clone()), ("caller", caller(0))]),
        ("user + policy", [("user", common.clone()), ("policy", policy(0))]),
        ("group + cluster", [("group", group(0)), ("cluster", cluster(0))]),
        ("group + caller", [("group", group(0)), ("caller", caller(0))]),
        ("group + policy", [("group", group(0)), ("policy", policy(0))]),
        ("group + cluster, rare both", [("group", group(GROUPS - 1)), ("cluster", cluster(7))]),
        ("group + caller, rare both", [("group", group(GROUPS - 1)), ("caller", caller(CALLERS - 60))]),
        ("group + policy, rare both", [("group", group(GROUPS - 1)), ("policy", policy(POLICIES - 1))]),
        ("cluster + caller", [("cluster", cluster(0)), ("caller", caller(0))]),
        ("cluster + policy", [("cluster", cluster(0)), ("policy", policy(0))]),
        ("caller + on_behalf_of", [("caller", caller(0)), ("on_behalf_of", common.clone())]),
        ("caller + policy", [("caller", caller(0)), ("policy", policy(0))]),
        ("status=expired + issued_after", [("status", "expired".to_owned()), ("issued_after", back(30)?)]),
    ] {
        add(list, name, &pair);
    }
    list = List::Refusals;
    let code = || ("code", CODES.first().copied().unwrap_or_default().to_owned());
    let period = [("after", back(120)?), ("before", back(90)?)];
    add(list, "none", &[]);
    add(list, "after", &period[..1]);
    add(list, "before", &period[1..]);
    for (name, first) in [
        ("user", ("user", common.clone())),
        ("group", ("group", group(0))),
        ("group, rare", ("group", group(GROUPS - 1))),
        ("cluster", ("cluster", cluster(1))),
        ("caller", ("caller", caller(0))),
        ("on_behalf_of", ("on_behalf_of", common.clone())),
        ("policy", ("policy", policy(0))),
        ("code", code()),
    ] {
        add(list, name, std::slice::from_ref(&first));
        add(list, &format!("{name} + in a month"), &[vec![first.clone()], period.to_vec()].concat());
        if name != "code" {
            add(list, &format!("{name} + code"), &[first, code()]);
        }
    }
    list = List::Events;
    let period = [("at_after", back(120)?), ("at_before", back(90)?)];
    add(list, "none", &[]);
    add(list, "at_after", &period[..1]);
    add(list, "at_before", &period[1..]);
    for (name, first) in [
        ("kind=certificate.issued", ("kind", "certificate.issued".to_owned())),
        ("kind=request.refused", ("kind", "request.refused".to_owned())),
        ("kind=token.created", ("kind", "token.created".to_owned())),
        ("caller", ("caller", caller(0))),
        ("caller, rare", ("caller", caller(CALLERS - 60))),
    ] {
        add(list, name, std::slice::from_ref(&first));
        add(list, &format!("{name} + in a month"), &[vec![first.clone()], period.to_vec()].concat());
        if name.starts_with("kind") {
            add(list, &format!("{name} + caller"), &[first.clone(), ("caller", caller(0))]);
            add(list, &format!("{name} + caller, rare"), &[first, ("caller", caller(CALLERS - 60))]);
        }
    }
    Ok(cases)
}

fn at(seconds: u64) -> Result<String> {
    Ok(Time::from_unix(i64::try_from(seconds)?).to_string())
}
