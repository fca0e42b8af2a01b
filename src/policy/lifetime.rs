//! How long a certificate lives: the least of every limit, and a word about what was cut.

use super::claims::Grant;
use super::decision::{Claim, Refusal, Violation};
use super::index::RowSet;
use super::set::{ClusterRules, PolicySet};
use crate::time::{Lifetime, Time};

/// How much earlier than the decision a certificate begins, for clocks that are behind; in seconds.
const EARLIER: i64 = 300;

/// From when to when a certificate is valid.
#[derive(Debug)]
pub(super) struct Terms {
    pub(super) not_before: Time,
    pub(super) not_after: Time,
    pub(super) warning: Option<String>,
}

impl Terms {
    /// At most `lifetime`, counted from `now`: what was approved.
    pub(super) fn shorten(&mut self, lifetime: Lifetime, now: Time) {
        let not_after = now.after(lifetime);
        if not_after < self.not_after {
            self.not_after = not_after;
            self.warning = Some(format!("the lifetime is {lifetime}: no more was approved"));
        }
    }
}

/// The terms on `cluster` for a request that everything in `grants` allows and that `reviews` hold.
pub(super) fn terms(
    set: &PolicySet,
    cluster: &ClusterRules,
    grants: &[&Grant<'_>],
    reviews: &RowSet,
    asked: Option<Lifetime>,
    now: Time,
) -> Result<Terms, Refusal> {
    let wanted = asked.unwrap_or(cluster.default_ttl).min(Lifetime::MOST);
    let granted = grants.iter().map(|grant| grant.lifetime);
    let reviewed = set.in_set(reviews).filter_map(|rule| rule.max_ttl);
    let cap = granted.chain(reviewed).fold(cluster.max_ttl, Lifetime::min);
    if wanted.min(cap) < Lifetime::LEAST {
        return Err(too_short(wanted, cap));
    }
    let left = left(cluster, now)?;
    let given = wanted.min(cap).min(left);
    let limit = || if left < cap { end_of(cluster) } else { giver(set, cluster, grants, reviews, cap) };
    let warning = (given < wanted).then(|| cut(asked.is_some(), wanted, given, &limit()));
    Ok(Terms {
        not_before: now.before(EARLIER).max(cluster.ca_not_before),
        not_after: now.after(given),
        warning,
    })
}

/// What is left of the CA, bounded by what is ever given.
fn left(cluster: &ClusterRules, now: Time) -> Result<Lifetime, Refusal> {
    if now > cluster.ca_not_after {
        return Err(Refusal::CaExpired);
    }
    if now < cluster.ca_not_before {
        return Err(Refusal::CaNotYetValid);
    }
    let seconds = cluster.ca_not_after.seconds_since(now);
    let left = u32::try_from(seconds).map_or(Lifetime::MOST, Lifetime::from_seconds);
    if left < Lifetime::LEAST { Err(Refusal::CaExpiring) } else { Ok(left) }
}

fn too_short(wanted: Lifetime, cap: Lifetime) -> Refusal {
    let least = Lifetime::LEAST;
    let reason = if cap < least {
        format!("the policy gives at most {cap}, and no certificate lives under {least}")
    } else {
        format!("no certificate lives under {least}: ask for more")
    };
    Refusal::Policy(vec![Violation {
        claim: Claim::Lifetime,
        value: wanted.to_string(),
        rule: None,
        reason,
        allowed: Vec::new(),
    }])
}

fn cut(asked: bool, wanted: Lifetime, given: Lifetime, limit: &str) -> String {
    let what = if asked { "the lifetime" } else { "the default lifetime" };
    format!("{what} was cut from {wanted} to {given}: {limit}")
}

fn end_of(cluster: &ClusterRules) -> String {
    format!("the CA of cluster {} ends at {}", cluster.name, cluster.ca_not_after)
}

fn giver(
    set: &PolicySet,
    asked: &ClusterRules,
    grants: &[&Grant<'_>],
    reviews: &RowSet,
    cap: Lifetime,
) -> String {
    let mut rows = RowSet::default();
    let cuts = |place: &usize| set.rules.get(*place).is_some_and(|rule| rule.max_ttl == Some(cap));
    reviews.iter().filter(cuts).for_each(|place| rows.insert(place));
    let mut by_cluster = asked.max_ttl == cap;
    for grant in grants.iter().filter(|grant| grant.lifetime == cap) {
        by_cluster |= grant.cluster.max_ttl == cap;
        rows.unite(&grant.rows);
    }
    if by_cluster {
        return format!("cluster {} gives at most {cap}", asked.name);
    }
    let names: Vec<String> = set.names(&rows).iter().map(|name| format!("`{name}`")).collect();
    format!("policy {} gives at most {cap}", names.join(", "))
}
