//! What would be decided, without a CSR and without anything that could be signed.

use super::decision::{Given, Refusal};
use super::limits::{Limit, Spent};
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

/// When it is decided, and what is used up then.
#[derive(Clone, Copy, Debug)]
pub struct Moment<'a> {
    /// The one reading of the clock.
    pub now: Time,
    /// Rows that have given what they may: they allow nothing.
    pub spent: &'a [Spent],
}

impl From<Time> for Moment<'_> {
    /// Nothing is used up.
    fn from(now: Time) -> Self {
        Self { now, spent: &[] }
    }
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
    /// It would wait for people.
    Held {
        /// From now until notAfter, if it were signed now.
        lifetime: Lifetime,
        /// Why that is less than was asked, where it is.
        warning: Option<String>,
        /// The rows that allow it, as [`Held::rows`](super::Held::rows) has them.
        rows: Vec<ShortName>,
        /// The review rows that hold it, sorted by name.
        reviews: Vec<ShortName>,
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
            Self::Held { .. } => Effect::Review,
            Self::Refused { .. } => Effect::Deny,
        }
    }

    /// Every refused claim; none where it is allowed or where no claim is at fault.
    #[must_use]
    pub fn violations(&self) -> &[Violation] {
        match self {
            Self::Refused { refusal: Refusal::Policy(all) | Refusal::LooksReserved(all), .. } => all,
            Self::Refused { .. } | Self::Held { .. } | Self::Allowed { .. } => &[],
        }
    }

    /// The rows that decided.
    #[must_use]
    pub fn rows(&self) -> &[ShortName] {
        match self {
            Self::Allowed { rows, .. } | Self::Held { rows, .. } | Self::Refused { rows, .. } => rows,
        }
    }

    /// The review rows that hold it, sorted by name.
    #[must_use]
    pub fn reviews(&self) -> &[ShortName] {
        match self {
            Self::Held { reviews, .. } => reviews,
            Self::Allowed { .. } | Self::Refused { .. } => &[],
        }
    }

    /// What would be given, now or when it is approved.
    #[must_use]
    pub fn lifetime(&self) -> Option<Lifetime> {
        match self {
            Self::Allowed { lifetime, .. } | Self::Held { lifetime, .. } => Some(*lifetime),
            Self::Refused { .. } => None,
        }
    }
}

impl PolicySet {
    /// What would be decided at `now`, by the same code as a decision that is signed.
    #[must_use]
    pub fn would(&self, clusters: &Clusters, caller: &Caller, question: Question<'_>, now: Time) -> Verdict {
        self.verdict(clusters, caller, question, now.into())
    }

    pub(super) fn verdict(
        &self,
        clusters: &Clusters,
        caller: &Caller,
        question: Question<'_>,
        moment: Moment<'_>,
    ) -> Verdict {
        match self.judge(clusters, caller, question, moment) {
            Ok(Given { terms, rows, reviews, .. }) => {
                let (lifetime, warning) = (terms.lifetime(moment.now), terms.warning);
                if reviews.is_empty() {
                    return Verdict::Allowed { lifetime, warning, rows };
                }
                let reviews = reviews.into_iter().map(|row| row.name).collect();
                Verdict::Held { lifetime, warning, rows, reviews }
            }
            Err(stopped) => {
                let (refusal, rows) = stopped.explained();
                Verdict::Refused { refusal, rows }
            }
        }
    }

    /// Whether [`PolicySet::would`] allows it, at once or when people approve it, without the time that finding words for a refusal
    /// takes.
    #[must_use]
    pub fn allows(&self, clusters: &Clusters, caller: &Caller, question: Question<'_>, now: Time) -> bool {
        self.judge(clusters, caller, question, now.into()).is_ok()
    }

    /// The limits of the rows that would decide, as [`Approved::limits`](super::Approved::limits) has
    /// them; none where it would be refused.
    #[must_use]
    pub fn limits_on(
        &self,
        clusters: &Clusters,
        caller: &Caller,
        question: Question<'_>,
        moment: Moment<'_>,
    ) -> Vec<Limit> {
        let given = self.judge(clusters, caller, question, moment);
        given.map(|given| given.limits).unwrap_or_default()
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
    use crate::policy::testing::{HOUR, NOW, ask, cluster, clusters, portal, set, set_on, short, unheld};
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
            match unheld(set(&rows).decide(&clusters(), &portal(), ask, NOW)) {
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
