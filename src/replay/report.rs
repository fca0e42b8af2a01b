//! What a plan says, as it goes out.

use serde::Serialize;
use serde_json::Value;

use crate::pki::name::ShortName;
use crate::policy::{Difference, Effect, Verdict};
use crate::time::{Lifetime, Time};

/// What a new set would change.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// The revision that it was compared with.
    pub revision: i64,
    /// Row by row.
    #[serde(flatten)]
    pub difference: Difference,
    /// Held rows that the new set leaves out or changes: it would not be taken.
    pub held: Vec<ShortName>,
    /// Live certificates that it would no longer allow.
    pub certificates: Lost,
    /// The last decisions, decided again.
    pub replay: Replayed,
}

/// Live certificates under the new set.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Lost {
    /// How many certificates are valid now.
    pub live: u64,
    /// How many of them the new set says nothing of: their cluster is not configured here.
    pub not_decided: u64,
    /// How many it would not allow.
    pub no_longer_allowed: u64,
    /// How many of these the set that holds would not allow either.
    pub already: u64,
    /// Those that are no longer allowed, by user name.
    pub by_user: Vec<Share>,
    /// The same by group.
    pub by_group: Vec<Share>,
    /// The same one by one, by user name and then by their end.
    pub items: Vec<LostCertificate>,
    /// Whether all of them are among `items`.
    pub is_complete: bool,
}

/// What one name has of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Share {
    /// The name of the user or group.
    pub name: String,
    /// How many certificates.
    pub certificates: u64,
    /// The latest notAfter of them.
    pub until: Time,
}

/// One certificate that is no longer allowed.
#[derive(Clone, Debug, Serialize)]
pub struct LostCertificate {
    /// Its serial.
    pub serial: String,
    /// Its cluster.
    pub cluster: String,
    /// Its user name.
    pub user: String,
    /// Its groups.
    pub groups: Vec<String>,
    /// Its end.
    pub not_after: Time,
    /// Who asked for it.
    pub requested_by: String,
    /// The person that was named.
    pub on_behalf_of: Option<String>,
    /// Whether the set that holds would not allow it either.
    pub already: bool,
    /// How it was decided.
    pub was: Explanation,
    /// How it would be.
    pub would_be: Explanation,
}

/// The last decisions under the new set.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Replayed {
    /// How many decisions were read.
    pub decisions: u64,
    /// How many of them are not the policy's: what was asked could not be read, or another rule
    /// refused it.
    pub not_decided: u64,
    /// How many distinct questions they were.
    pub distinct: u64,
    /// How many would be decided otherwise.
    pub flips: u64,
    /// How many of these the set that holds would decide otherwise too.
    pub already: u64,
    /// What would be decided otherwise, each question once.
    pub items: Vec<Flip>,
    /// Whether all of them are among `items`.
    pub is_complete: bool,
}

/// One question that would be decided otherwise.
#[derive(Clone, Debug, Serialize)]
pub struct Flip {
    /// The cluster.
    pub cluster: String,
    /// The user name.
    pub user: String,
    /// The groups.
    pub groups: Vec<String>,
    /// The kind of key.
    pub key_kind: String,
    /// Who asked.
    pub requested_by: String,
    /// The groups of who asked.
    pub requester_groups: Vec<String>,
    /// The person that was named.
    pub on_behalf_of: Option<String>,
    /// How many decisions were taken on it, of those that would be taken otherwise.
    pub decisions: u64,
    /// The number of the latest of them.
    pub number: i64,
    /// When that was taken.
    pub at: Time,
    /// Whether the set that holds would decide otherwise too.
    pub already: bool,
    /// How the latest was decided.
    pub was: Explanation,
    /// How it would be.
    pub would_be: Explanation,
}

/// A decision in words.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explanation {
    /// What became of it.
    pub effect: Effect,
    /// The revision that decided; none where that is the new one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy_revision: Option<i64>,
    /// The rows that decided.
    pub policies: Vec<String>,
    /// Every claim that was refused, as a refusal says it.
    pub violations: Value,
    /// The lifetime that it would be given at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lifetime: Option<Lifetime>,
}

impl Explanation {
    /// Of a certificate that was issued.
    #[must_use]
    pub fn issued(policy_revision: i64, policies: Vec<String>) -> Self {
        let violations = Value::Array(Vec::new());
        let policy_revision = Some(policy_revision);
        Self { effect: Effect::Allow, policy_revision, policies, violations, lifetime: None }
    }

    /// Of a refusal.
    #[must_use]
    pub fn refused(policy_revision: i64, policies: Vec<String>, violations: Value) -> Self {
        let policy_revision = Some(policy_revision);
        Self { effect: Effect::Deny, policy_revision, policies, violations, lifetime: None }
    }

    /// Of what would be decided.
    #[must_use]
    pub fn of(verdict: &Verdict) -> Self {
        Self {
            effect: verdict.effect(),
            policy_revision: None,
            policies: verdict.rows().iter().map(ToString::to_string).collect(),
            violations: serde_json::to_value(verdict.violations()).unwrap_or_default(),
            lifetime: verdict.lifetime(),
        }
    }
}
