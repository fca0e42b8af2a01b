//! How long a certificate lives: the least of every limit, and a word about what was cut.

use super::claims::Grant;
use super::decision::{Claim, Refusal, Violation};
use super::index::RowSet;
use super::set::{ClusterRules, PolicySet};
use crate::pki::name::ShortName;
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

/// What a lifetime comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetBy {
    /// It is what was asked.
    Request,
    /// It is the cluster's default, as nothing was asked.
    Default,
    /// The most that the asked cluster gives.
    Cluster,
    /// The most that these rows give, sorted by name.
    Rows(Vec<ShortName>),
    /// The same where a window of theirs ends then: later they give more.
    Window(Vec<ShortName>),
    /// What is left of the CA.
    Authority,
}

impl Terms {
    /// From `now` until notAfter.
    pub(super) fn lifetime(&self, now: Time) -> Lifetime {
        let seconds = self.not_after.seconds_since(now);
        Lifetime::from_seconds(u32::try_from(seconds).unwrap_or_default())
    }

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
    let (wanted, cap) = (wanted(cluster, asked), cap(set, cluster, grants, reviews));
    if wanted.min(cap) < Lifetime::LEAST {
        return Err(too_short(wanted, cap, closing(set, grants, cap)));
    }
    let given = wanted.min(cap).min(left(cluster, now)?);
    let set_by = || set_by(set, cluster, grants, reviews, asked, now);
    let warning =
        (given < wanted).then(|| cut(asked.is_some(), wanted, given, &why(cluster, cap, &set_by())));
    Ok(Terms {
        not_before: now.before(EARLIER).max(cluster.ca_not_before),
        not_after: now.after(given),
        warning,
    })
}

/// What the lifetime that [`terms`] gives comes from.
pub(super) fn set_by(
    set: &PolicySet,
    cluster: &ClusterRules,
    grants: &[&Grant<'_>],
    reviews: &RowSet,
    asked: Option<Lifetime>,
    now: Time,
) -> SetBy {
    let (wanted, cap) = (wanted(cluster, asked), cap(set, cluster, grants, reviews));
    let left = left(cluster, now).unwrap_or(Lifetime::MOST);
    match asked {
        _ if left < cap && left < wanted => SetBy::Authority,
        _ if cap < wanted => giver(set, cluster, grants, reviews, cap),
        Some(_) => SetBy::Request,
        None => SetBy::Default,
    }
}

fn wanted(cluster: &ClusterRules, asked: Option<Lifetime>) -> Lifetime {
    asked.unwrap_or(cluster.default_ttl).min(Lifetime::MOST)
}

fn cap(set: &PolicySet, cluster: &ClusterRules, grants: &[&Grant<'_>], reviews: &RowSet) -> Lifetime {
    let reviewed = set.in_set(reviews).filter_map(|rule| rule.max_ttl);
    grants.iter().map(|grant| grant.lifetime).chain(reviewed).fold(cluster.max_ttl, Lifetime::min)
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

/// `closing`: the row whose window ends so soon, where it is one.
fn too_short(wanted: Lifetime, cap: Lifetime, closing: Option<&ShortName>) -> Refusal {
    let least = Lifetime::LEAST;
    let reason = if let (true, Some(row)) = (cap < least, closing) {
        format!("the window of policy `{row}` ends in {cap}, and no certificate lives under {least}")
    } else if cap < least {
        format!("the policy gives at most {cap}, and no certificate lives under {least}")
    } else {
        format!("no certificate lives under {least}: ask for more")
    };
    let rule = closing.filter(|_| cap < least).map(ToString::to_string);
    Refusal::Policy(vec![Violation::bare(Claim::Lifetime, wanted.to_string(), rule, reason)])
}

fn cut(asked: bool, wanted: Lifetime, given: Lifetime, limit: &str) -> String {
    let what = if asked { "the lifetime" } else { "the default lifetime" };
    format!("{what} was cut from {wanted} to {given}: {limit}")
}

/// The end of the sentence that says what was cut.
fn why(cluster: &ClusterRules, cap: Lifetime, set_by: &SetBy) -> String {
    match set_by {
        SetBy::Authority => format!("the CA of cluster {} ends at {}", cluster.name, cluster.ca_not_after),
        SetBy::Rows(rows) => format!("policy {} gives at most {cap}", listed(rows)),
        SetBy::Window(rows) => {
            format!("policy {} gives at most {cap}, until its window ends", listed(rows))
        }
        SetBy::Cluster | SetBy::Request | SetBy::Default => {
            format!("cluster {} gives at most {cap}", cluster.name)
        }
    }
}

fn listed(rows: &[ShortName]) -> String {
    rows.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn giver(
    set: &PolicySet,
    asked: &ClusterRules,
    grants: &[&Grant<'_>],
    reviews: &RowSet,
    cap: Lifetime,
) -> SetBy {
    let mut rows = RowSet::default();
    let cuts = |place: &usize| set.rules.get(*place).is_some_and(|rule| rule.max_ttl == Some(cap));
    reviews.iter().filter(cuts).for_each(|place| rows.insert(place));
    let mut by_cluster = asked.max_ttl == cap;
    for grant in grants.iter().filter(|grant| grant.lifetime == cap) {
        by_cluster |= grant.cluster.max_ttl == cap;
        rows.unite(&grant.rows);
    }
    match set.names(&rows) {
        _ if by_cluster => SetBy::Cluster,
        names if closing(set, grants, cap).is_some() => SetBy::Window(names),
        names => SetBy::Rows(names),
    }
}

/// The first row that would give more than `cap` if its windows stayed open.
fn closing<'a>(set: &'a PolicySet, grants: &[&Grant<'_>], cap: Lifetime) -> Option<&'a ShortName> {
    let closing = |grant: &Grant<'_>| {
        let mut rules = set.in_set(&grant.rows).filter(|rule| rule.when.is_some());
        rules.find(|rule| rule.lifetime(grant.cluster.max_ttl, None) > cap).map(|rule| &rule.name)
    };
    grants.iter().filter(|grant| grant.lifetime == cap).find_map(|grant| closing(grant))
}
