//! What a new set would change: live certificates, and the last decisions.

use std::collections::{BTreeMap, HashMap};

use super::decider::{Decider, Matter, Sets};
use super::drift::{certificate, only};
use super::report::{Explanation, Flip, Lost, LostCertificate, Plan, Replayed, Share};
use super::walk::{Decided, Pages, walk};
use crate::policy::Difference;
use crate::store::decisions::Outcome;
use crate::store::{CertificateFilter, CertificateStatus, Order, RefusalFilter, Span, Store, StoreError};
use crate::time::Time;

/// How much is looked at and shown.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How many of the last decisions are decided again.
    pub replay: u64,
    /// How many certificates, and how many questions, are shown one by one.
    pub shown: usize,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// So many live certificates were decided.
    Live(u64),
    /// So many of the last decisions were decided again.
    Replayed(u64),
}

/// Decides the ledger's live certificates and last decisions under the planned set, which differs
/// from the one that holds by `difference`.
///
/// # Errors
/// `Unavailable`, `Corrupt`.
pub async fn plan(
    store: &Store,
    sets: Sets,
    difference: Difference,
    options: Options,
    mut tell: impl FnMut(Step) + Send,
) -> Result<Plan, StoreError> {
    let revision = sets.current().revision();
    let now = sets.now();
    let decider = Decider::new(sets);
    let (decider, certificates) = live(store, decider, now, options, &mut tell).await?;
    let replay = replay(store, decider.anew(), options, &mut tell).await?;
    Ok(Plan { revision, held: difference.held(), difference, certificates, replay })
}

/// A certificate that is no longer allowed, by its number.
struct Found {
    number: i64,
    matter: Matter,
    already: bool,
}

async fn live(
    store: &Store,
    decider: Decider,
    now: Time,
    options: Options,
    tell: &mut (impl FnMut(Step) + Send),
) -> Result<(Decider, Lost), StoreError> {
    let status = Some((CertificateStatus::Active, now));
    let filter = CertificateFilter { status, ..CertificateFilter::default() };
    let pages = Pages::certificates(&filter, Span::all(Order::NewestFirst, 0));
    let (mut lost, mut found, mut shares) = (Lost::default(), Vec::new(), Shares::default());
    let mut decider = walk(store, decider, pages, |page| {
        lost.live = lost.live.saturating_add(count(page.len()));
        for (decision, fate) in page {
            let Some((matter, fate)) = fate else {
                lost.not_decided = lost.not_decided.saturating_add(1);
                continue;
            };
            if fate.planned {
                continue;
            }
            let already = !fate.current;
            lost.no_longer_allowed = lost.no_longer_allowed.saturating_add(1);
            lost.already = lost.already.saturating_add(u64::from(already));
            shares.add(&matter, &decision.outcome);
            if found.len() < options.shown {
                found.push(Found { number: decision.number, matter, already });
            }
        }
        tell(Step::Live(lost.live));
        true
    })
    .await?;
    lost.is_complete = count(found.len()) == lost.no_longer_allowed;
    (lost.by_user, lost.by_group) = shares.named(&decider);
    for found in found {
        lost.items.extend(lost_certificate(store, &mut decider, &found).await?);
    }
    lost.items.sort_by(|one, other| (&one.user, one.not_after).cmp(&(&other.user, other.not_after)));
    Ok((decider, lost))
}

async fn lost_certificate(
    store: &Store,
    decider: &mut Decider,
    found: &Found,
) -> Result<Option<LostCertificate>, StoreError> {
    let Some(row) = certificate(store, found.number).await? else { return Ok(None) };
    let Some(verdict) = decider.verdict(&found.matter) else { return Ok(None) };
    Ok(Some(LostCertificate {
        serial: row.serial.to_string(),
        cluster: row.cluster.clone(),
        user: row.user.clone(),
        groups: row.groups.clone(),
        not_after: row.not_after,
        requested_by: row.origin.caller.clone(),
        on_behalf_of: row.on_behalf_of.clone(),
        already: found.already,
        was: Explanation::issued(row.policy_revision, row.policies.clone()),
        would_be: Explanation::of(&verdict),
    }))
}

/// Certificates and the latest end, by matter: many share one.
#[derive(Default)]
struct Shares(HashMap<Matter, (u64, Time)>);

impl Shares {
    fn add(&mut self, matter: &Matter, outcome: &Outcome) {
        let Outcome::Issued(until) = *outcome else { return };
        let share = self.0.entry(*matter).or_insert((0, until));
        *share = (share.0.saturating_add(1), share.1.max(until));
    }

    /// By user and by group, each sorted by name.
    fn named(self, decider: &Decider) -> (Vec<Share>, Vec<Share>) {
        let (mut users, mut groups) = (BTreeMap::new(), BTreeMap::new());
        for (matter, share) in self.0 {
            let Some((user, list)) = decider.names_in(&matter) else { continue };
            add_share(&mut users, user, share);
            list.iter().for_each(|group| add_share(&mut groups, group.to_string(), share));
        }
        (listed(users), listed(groups))
    }
}

fn add_share(shares: &mut BTreeMap<String, (u64, Time)>, name: String, (more, until): (u64, Time)) {
    let share = shares.entry(name).or_insert((0, until));
    *share = (share.0.saturating_add(more), share.1.max(until));
}

fn listed(shares: BTreeMap<String, (u64, Time)>) -> Vec<Share> {
    let share = |(name, (certificates, until))| Share { name, certificates, until };
    shares.into_iter().map(share).collect()
}

/// A question whose decisions flip: how many, and the latest.
struct Flipped {
    decisions: u64,
    number: i64,
    already: bool,
}

/// Flips by question and by what was decided.
type Flips = HashMap<(Matter, bool), Flipped>;

async fn replay(
    store: &Store,
    decider: Decider,
    options: Options,
    tell: &mut (impl FnMut(Step) + Send),
) -> Result<Replayed, StoreError> {
    let pages = Pages::latest(store, options.replay).await?;
    let (mut replayed, mut flips) = (Replayed::default(), Flips::new());
    let mut decider = walk(store, decider, pages, |page| {
        replayed.decisions = replayed.decisions.saturating_add(count(page.len()));
        for decided in &page {
            tally(decided, &mut replayed, &mut flips);
        }
        tell(Step::Replayed(replayed.decisions));
        true
    })
    .await?;
    replayed.distinct = count(decider.distinct());
    replayed.is_complete = flips.len() <= options.shown;
    let mut flips: Vec<_> = flips.into_iter().collect();
    // What the plan itself changes first, then what happens most.
    flips.sort_by_key(|(_, flip)| (flip.already, std::cmp::Reverse((flip.decisions, flip.number))));
    for ((matter, was_allowed), flipped) in flips.into_iter().take(options.shown) {
        replayed.items.extend(flip(store, &mut decider, &matter, was_allowed, &flipped).await?);
    }
    Ok(replayed)
}

fn tally((decision, fate): &Decided, replayed: &mut Replayed, flips: &mut Flips) {
    let Some((matter, fate)) = *fate else {
        replayed.not_decided = replayed.not_decided.saturating_add(1);
        return;
    };
    let was_allowed = matches!(decision.outcome, Outcome::Issued(_));
    if fate.planned == was_allowed {
        return;
    }
    let already = fate.current != was_allowed;
    replayed.flips = replayed.flips.saturating_add(1);
    replayed.already = replayed.already.saturating_add(u64::from(already));
    let first = Flipped { decisions: 0, number: decision.number, already };
    let flip = flips.entry((matter, was_allowed)).or_insert(first);
    flip.decisions = flip.decisions.saturating_add(1);
}

async fn flip(
    store: &Store,
    decider: &mut Decider,
    matter: &Matter,
    was_allowed: bool,
    flipped: &Flipped,
) -> Result<Option<Flip>, StoreError> {
    let Some(verdict) = decider.verdict(matter) else { return Ok(None) };
    let would_be = Explanation::of(&verdict);
    if was_allowed { issued(store, flipped, would_be).await } else { refused(store, flipped, would_be).await }
}

async fn issued(store: &Store, flipped: &Flipped, would_be: Explanation) -> Result<Option<Flip>, StoreError> {
    let found = certificate(store, flipped.number).await?;
    Ok(found.map(|row| Flip {
        cluster: row.cluster.clone(),
        user: row.user.clone(),
        groups: row.groups.clone(),
        key_kind: row.key_kind.clone(),
        requested_by: row.origin.caller.clone(),
        requester_groups: row.origin.caller_groups.clone(),
        on_behalf_of: row.on_behalf_of.clone(),
        decisions: flipped.decisions,
        number: flipped.number,
        at: row.issued_at,
        already: flipped.already,
        was: Explanation::issued(row.policy_revision, row.policies.clone()),
        would_be,
    }))
}

async fn refused(
    store: &Store,
    flipped: &Flipped,
    would_be: Explanation,
) -> Result<Option<Flip>, StoreError> {
    let found = store.refusals(&RefusalFilter::default(), only(flipped.number)).await?;
    Ok(found.into_iter().next().map(|refusal| {
        let row = refusal.record;
        Flip {
            cluster: row.cluster.unwrap_or_default(),
            user: row.user.unwrap_or_default(),
            groups: row.groups,
            key_kind: row.key_kind.unwrap_or_default(),
            requested_by: row.origin.caller,
            requester_groups: row.origin.caller_groups,
            on_behalf_of: row.on_behalf_of,
            decisions: flipped.decisions,
            number: flipped.number,
            at: row.at,
            already: flipped.already,
            was: Explanation::refused(row.policy_revision, row.policies, row.violations),
            would_be,
        }
    }))
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
