//! The CAs that the ledger knows, and what of the policy table a record may speak of.

use std::collections::{BTreeSet, HashMap};

use crate::ca::stored::KnownCa;
use crate::store::inspection::{Overview, StoredPolicy};
use crate::time::Time;

use super::Report;
use super::lists::MisfiledLists;

/// A CA as the ledger has it, and as the configuration has it where that is a newer certificate of
/// the same key.
pub(super) struct Authority {
    pub spki_sha256: Vec<u8>,
    /// Each has the same key. None where what is stored is no CA's certificate.
    pub certificates: Vec<KnownCa>,
    /// Instants before which nothing of this CA is valid.
    pub begins: Vec<Time>,
    pub is_configured: bool,
}

/// What every record is held against.
pub(super) struct Context {
    pub authorities: HashMap<i64, Authority>,
    pub cluster_authorities: BTreeSet<(i64, i64)>,
    pub only_authority: Option<[u8; 32]>,
    pub policy_revision: i64,
    pub lists: MisfiledLists,
    policies: HashMap<String, Vec<(i64, Option<i64>)>>,
}

impl Context {
    pub(super) fn new(
        overview: &Overview,
        configured: Vec<(KnownCa, Time)>,
        lists: MisfiledLists,
        report: &mut Report<'_>,
    ) -> Self {
        let mut authorities: HashMap<i64, Authority> = overview
            .authorities
            .iter()
            .map(|(id, stored)| {
                let mut authority = Authority {
                    spki_sha256: stored.spki_sha256.clone(),
                    certificates: Vec::new(),
                    begins: Vec::new(),
                    is_configured: false,
                };
                let about = format!("CA of {}", stored.clusters.join(", "));
                match KnownCa::read(&stored.der) {
                    Ok(known) if known.spki_sha256() == *stored.spki_sha256 => {
                        authority.begins.push(known.not_before());
                        authority.certificates.push(known);
                    }
                    Ok(known) => report.wrong(
                        about,
                        format!(
                            "the ledger knows it by the key {}, its certificate has {}",
                            hex::encode(&stored.spki_sha256),
                            hex::encode(known.spki_sha256())
                        ),
                    ),
                    Err(problem) => report.wrong(about, format!("the certificate in the ledger: {problem}")),
                }
                (*id, authority)
            })
            .collect();
        for (known, begins) in configured {
            let same = |authority: &&mut Authority| known.spki_sha256() == *authority.spki_sha256;
            if let Some(authority) = authorities.values_mut().find(same) {
                authority.is_configured = true;
                authority.begins.extend([begins, known.not_before()]);
                authority.certificates.push(known);
            }
        }
        let mut policies: HashMap<String, Vec<(i64, Option<i64>)>> = HashMap::new();
        for policy in &overview.policies {
            policies.entry(policy.name.clone()).or_default().push((policy.from, policy.until));
        }
        Self {
            lists,
            authorities,
            cluster_authorities: overview.cluster_authorities.clone(),
            only_authority: overview.only_authority,
            policy_revision: overview.revisions.policy,
            policies,
        }
    }

    /// What is wrong with the revision and the rows that a record names.
    pub(super) fn policy_flaws(&self, revision: i64, rows: &[String]) -> Vec<String> {
        if !(0..=self.policy_revision).contains(&revision) {
            return vec![format!(
                "policy_revision is {revision}, and the latest is {}",
                self.policy_revision
            )];
        }
        let holds = |name: &String| {
            self.policies.get(name).is_some_and(|spans| {
                spans
                    .iter()
                    .any(|(from, until)| *from <= revision && until.is_none_or(|until| revision < until))
            })
        };
        let unknown = rows.iter().filter(|name| !holds(name));
        unknown.map(|name| format!("the policy `{name}` was not in force in revision {revision}")).collect()
    }
}

/// The policy table itself: bodies that are read, spans that do not overlap, revisions without gap.
pub(super) fn check_policies(overview: &Overview, report: &mut Report<'_>) {
    let current = overview.revisions.policy;
    let mut last: HashMap<&str, &StoredPolicy> = HashMap::new();
    for policy in &overview.policies {
        let about = format!("policy {}", policy.name);
        if let Some(flaw) = &policy.flaw {
            report.wrong(&about, flaw);
        }
        let within = policy.from >= 1 && policy.from <= current;
        if !within || policy.until.is_some_and(|until| until > current) {
            report.wrong(&about, format!("it speaks of a revision after the latest, {current}"));
        }
        let before = last.insert(&policy.name, policy);
        if before.is_some_and(|before| before.until.is_none_or(|until| until > policy.from)) {
            report.wrong(&about, format!("two rows of it hold in revision {}", policy.from));
        }
    }
    if !overview.policy_revisions.iter().copied().eq(1..=current) {
        report.wrong(
            "policies",
            format!("the revisions with an event in the audit log are not exactly 1 to {current}"),
        );
    }
}

/// The counters of changes, held against the audit log.
pub(super) fn check_counters(overview: &Overview, report: &mut Report<'_>) {
    let (state, changes) = (overview.revisions, overview.changes);
    for (what, says, told) in [
        ("policy_revision", state.policy, changes.policy),
        ("token_revision", state.tokens, changes.tokens),
        ("blocked_key_revision", state.blocked_keys, changes.blocked_keys),
    ] {
        if says != told {
            report
                .wrong("state", format!("{what} is {says}, and the audit log tells of {told} such changes"));
        }
    }
    for number in &overview.lost_idempotency {
        report.wrong(
            format!("number {number}"),
            "an idempotency key stands for it, and its caller has neither certificate nor request of that number",
        );
    }
}
