//! Rows, clusters and requests for the tests of this module.

use serde_json::{Value, json};

use super::{Approved, Ask, ClusterRules, Clusters, Decision, PolicyRow, PolicySet, Refused};
use crate::caller::{Caller, CallerGroup, CallerKind, Claims};
use crate::pki::csr::CertRequest;
use crate::pki::key::KeyKind;
use crate::pki::name::{Name, ShortName};
use crate::time::{Lifetime, Time};

pub(super) const HOUR: u32 = 3_600;
pub(super) const NOW: Time = Time::from_unix(1_800_000_000);

pub(super) fn short(text: &str) -> ShortName {
    ShortName::parse(text).expect("a short name")
}

/// `prod` and `dev` with CAs of ten years; `prod` reserves `corp:` and `root`.
pub(super) fn clusters() -> Clusters {
    let mut prod = cluster("prod");
    prod.reserved = vec!["corp:".into(), "root".into()];
    Clusters { rules: vec![prod, cluster("dev")] }
}

pub(super) fn cluster(name: &str) -> ClusterRules {
    ClusterRules {
        name: short(name),
        default_ttl: Lifetime::from_seconds(8 * HOUR),
        max_ttl: Lifetime::from_seconds(24 * HOUR),
        reserved: Vec::new(),
        node_identities: false,
        trust_group: None,
        ca_not_before: NOW.before(1_000_000),
        ca_not_after: NOW.after(Lifetime::MOST),
        ca_keys: vec![[7; 32]],
    }
}

/// A row; what is left out is `prod`, `token:portal` and the user `alice`.
pub(super) fn row(mut json: Value) -> PolicyRow {
    for (field, value) in [("clusters", "prod"), ("callers", "token:portal"), ("users", "alice")] {
        if json.get(field).is_none() {
            json[field] = json!([value]);
        }
    }
    serde_json::from_value(json).expect("a row")
}

/// Revision 3 of these rows over [`clusters`]; rows without a name get one by their place.
pub(super) fn set(rows: &Value) -> PolicySet {
    set_on(rows, &clusters())
}

pub(super) fn set_on(rows: &Value, clusters: &Clusters) -> PolicySet {
    let rows = rows.as_array().expect("a list").iter().enumerate().map(|(place, json)| {
        let mut json = json.clone();
        if json.get("name").is_none() {
            json["name"] = json!(format!("row-{place}"));
        }
        if json.get("effect").is_none() {
            json["effect"] = json!("allow");
        }
        row(json)
    });
    PolicySet::compile(3, rows.collect(), clusters).expect("a set")
}

pub(super) fn portal() -> Caller {
    Caller::token(&short("portal"))
}

pub(super) fn oidc(source: &str, name: &str, groups: &[&str]) -> Caller {
    let groups = groups.iter().map(|group| CallerGroup { source: short(source), name: (*group).to_owned() });
    Caller {
        kind: CallerKind::Oidc,
        source: Some(short(source)),
        name: name.to_owned(),
        groups: groups.collect(),
        claims: Claims::new(),
        proven: None,
    }
}

/// What a set decides that holds nothing.
pub(super) fn unheld(decision: Result<Decision, Box<Refused>>) -> Result<Approved, Box<Refused>> {
    decision.map(|decision| match decision {
        Decision::Approved(approved) => approved,
        Decision::Held(held) => panic!("it is held: {held:?}"),
    })
}

/// A wish on `prod` with a P-256 key and no lifetime.
pub(super) fn ask(user: &str, groups: &[&str]) -> Ask {
    Ask {
        cluster: short("prod"),
        request: CertRequest::for_tests(user, groups, KeyKind::P256),
        ttl: None,
        on_behalf_of: None,
    }
}

pub(super) fn name(text: &str) -> Name {
    Name::parse(text).expect("a name")
}
