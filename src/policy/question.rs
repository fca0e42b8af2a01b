//! What would be decided, without a CSR and without anything that could be signed.

use super::decision::{Given, Refusal};
use super::set::{Clusters, PolicySet};
use super::{Effect, Violation};
use crate::caller::Caller;
use crate::pki::key::KeyKind;
use crate::pki::name::{Name, ShortName};
use crate::time::{Lifetime, Time};

/// A request in names: all that a decision looks at. Of the key it is only the kind.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The cluster whose CA would sign.
    pub cluster: &'a ShortName,
    /// The user name.
    pub user: &'a Name,
    /// The groups, each once.
    pub groups: &'a [Name],
    /// The kind of key.
    pub key: KeyKind,
    /// The asked lifetime; none for the cluster's default.
    pub ttl: Option<Lifetime>,
    /// The person that a portal asks for.
    pub on_behalf_of: Option<&'a Name>,
}

/// What [`PolicySet::decide`] would say to a [`Question`]. There is no way from here to an
/// [`Approved`](super::Approved).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It would be signed.
    Allowed {
        /// From now until notAfter.
        lifetime: Lifetime,
        /// Why that is less than was asked, where it is.
        warning: Option<String>,
        /// The deciding rows, as [`Approved::rows`](super::Approved::rows) has them.
        rows: Vec<ShortName>,
    },
    /// It would be refused.
    Refused {
        /// Why.
        refusal: Refusal,
        /// The deny rows that matched, sorted: not for the requester.
        rows: Vec<ShortName>,
    },
}

impl Verdict {
    /// What becomes of the request.
    #[must_use]
    pub fn effect(&self) -> Effect {
        match self {
            Self::Allowed { .. } => Effect::Allow,
            Self::Refused { .. } => Effect::Deny,
        }
    }

    /// Every refused claim; none where it is allowed or where no claim is at fault.
    #[must_use]
    pub fn violations(&self) -> &[Violation] {
        match self {
            Self::Refused { refusal: Refusal::Policy(all) | Refusal::LooksReserved(all), .. } => all,
            Self::Refused { .. } | Self::Allowed { .. } => &[],
        }
    }

    /// The rows that decided.
    #[must_use]
    pub fn rows(&self) -> &[ShortName] {
        match self {
            Self::Allowed { rows, .. } | Self::Refused { rows, .. } => rows,
        }
    }
}

impl PolicySet {
    /// What would be decided at `now`, by the same code as a decision that is signed.
    #[must_use]
    pub fn would(&self, clusters: &Clusters, caller: &Caller, question: Question<'_>, now: Time) -> Verdict {
        match self.judge(clusters, caller, question, now) {
            Ok(Given { terms, rows }) => {
                let seconds = u32::try_from(terms.not_after.seconds_since(now)).unwrap_or(u32::MAX);
                Verdict::Allowed { lifetime: Lifetime::from_seconds(seconds), warning: terms.warning, rows }
            }
            Err(stopped) => {
                let (refusal, rows) = stopped.explained();
                Verdict::Refused { refusal, rows }
            }
        }
    }

    /// Whether [`PolicySet::would`] allows it, without the time that finding words for a refusal
    /// takes.
    #[must_use]
    pub fn allows(&self, clusters: &Clusters, caller: &Caller, question: Question<'_>, now: Time) -> bool {
        self.judge(clusters, caller, question, now).is_ok()
    }
}

impl Clusters {
    /// The same clusters with CAs that never begin and never end, for what is decided by the policy
    /// alone.
    #[must_use]
    pub fn without_ends(&self) -> Self {
        let mut clusters = self.clone();
        for rules in &mut clusters.rules {
            rules.ca_not_before = Time::from_unix(i64::MIN);
            rules.ca_not_after = Time::from_unix(i64::MAX);
        }
        clusters
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::testing::{HOUR, NOW, ask, cluster, clusters, portal, set, set_on, short};
    use crate::policy::{Ask, Claim};
    use serde_json::json;

    fn would(rows: &serde_json::Value, ask: &Ask) -> Verdict {
        set(rows).would(&clusters(), &portal(), ask.question(), NOW)
    }

    #[test]
    fn a_question_is_decided_as_a_request_is() {
        let rows = json!([
            {"name": "dev", "groups": ["dev"], "max_ttl": "1h", "keys": ["p-256"]},
            {"name": "no-root", "effect": "deny", "groups": ["root"], "explain": true},
            {"name": "carol", "users": ["{on_behalf_of}"], "on_behalf_of": ["carol"]},
        ]);
        let of = |user: &str, groups: &[&str]| ask(user, groups);
        let person = Ask { on_behalf_of: Some(Name::parse("carol").unwrap()), ..of("carol", &[]) };
        let elsewhere = Ask { cluster: short("nowhere"), ..of("alice", &[]) };
        let long = Ask { ttl: Some(Lifetime::from_seconds(9 * HOUR)), ..of("alice", &["dev"]) };
        for ask in [
            of("alice", &["dev"]),
            of("alice", &["dev", "root"]),
            of("alice", &["ops"]),
            of("bob", &[]),
            of("System:masters", &[]),
            person,
            elsewhere,
            long,
        ] {
            let verdict = would(&rows, &ask);
            let allows = set(&rows).allows(&clusters(), &portal(), ask.question(), NOW);
            assert_eq!(allows, verdict.effect() == Effect::Allow);
            match set(&rows).decide(&clusters(), &portal(), ask, NOW) {
                Ok(approved) => {
                    let Verdict::Allowed { lifetime, warning, rows } = verdict else { panic!("{verdict:?}") };
                    assert_eq!(NOW.after(lifetime), approved.not_after());
                    assert_eq!(warning.as_slice(), approved.warnings());
                    assert_eq!(rows, approved.rows());
                }
                Err(refused) => {
                    let expected = Verdict::Refused { refusal: refused.refusal, rows: refused.rows };
                    assert_eq!(verdict, expected);
                }
            }
        }
    }

    #[test]
    fn a_refusal_names_its_claims_and_the_rows_that_denied() {
        let rows = json!([{"groups": ["*"]}, {"name": "no-root", "effect": "deny", "groups": ["root"]}]);
        let verdict = would(&rows, &ask("alice", &["root"]));
        assert_eq!(verdict.effect(), Effect::Deny);
        assert_eq!(verdict.rows(), [short("no-root")]);
        assert_eq!(verdict.violations()[0].claim, Claim::Group);
        assert!(would(&rows, &ask("alice", &["dev"])).violations().is_empty());
    }

    #[test]
    fn without_ends_only_the_policy_decides() {
        let mut old = cluster("prod");
        old.ca_not_after = NOW.before(1);
        let clusters = Clusters { rules: vec![old] };
        let set = set_on(&json!([{}]), &clusters);
        let ask = ask("alice", &[]);
        let ended = set.would(&clusters, &portal(), ask.question(), NOW);
        assert!(matches!(ended, Verdict::Refused { refusal: Refusal::CaExpired, .. }));
        assert!(set.allows(&clusters.without_ends(), &portal(), ask.question(), NOW));
    }
}
