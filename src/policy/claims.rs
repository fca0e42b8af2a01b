//! One request's claims, each decided on its own on each cluster that would trust the certificate.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use super::Clusters;
use super::index::{Index, Probe, Reach, RowSet};
use super::pattern::Variable;
use super::question::{Moment, Question};
use super::reserved::NameClass;
use super::rule::{Asker, Reading};
use super::set::{ClusterIndex, ClusterRules, PolicySet};
use super::windows::Windows;
use crate::caller::Caller;
use crate::pki::name::{Name, ShortName};
use crate::time::Lifetime;

/// With more different lifetimes than this, rows are looked at one by one.
const MOST_TIERS: usize = 32;

/// What a certificate would say, one piece at a time.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wish<'a> {
    /// The user name alone.
    User,
    /// One group.
    Group(&'a Name),
}

/// What allows a claim on one cluster.
#[derive(Clone, Debug)]
pub(super) struct Grant<'a> {
    /// The most that a matching row gives.
    pub(super) lifetime: Lifetime,
    /// Every matching row that gives that much.
    pub(super) rows: RowSet,
    pub(super) cluster: &'a ClusterRules,
}

/// Why nothing allows a claim; the most serious first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    LooksReserved,
    NeverIssued,
    NodeIdentity,
    Reserved,
    /// No row matches.
    NoRow,
    /// Rows match that take other kinds of keys.
    OtherKey,
}

/// Why an allow row that matches by its patterns gives nothing; what passes soonest comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Condition {
    /// It has given what it may.
    Limit,
    /// Its windows are closed.
    Window,
    /// The caller is not in all the groups that it wants.
    RequiredGroups,
    /// It leaves the name out.
    Except,
}

impl Condition {
    /// Every one, in order.
    pub(super) const ALL: [Self; 4] = [Self::Limit, Self::Window, Self::RequiredGroups, Self::Except];
}

/// What the policy says of one claim, over all clusters.
#[derive(Clone, Debug)]
pub(super) struct Ruling<'a> {
    pub(super) denied_by: RowSet,
    /// The review rows that hold it, if it is allowed.
    pub(super) held_by: RowSet,
    /// One grant for each cluster, or the most serious fault and the cluster that has it.
    pub(super) outcome: Result<Vec<Grant<'a>>, (Fault, &'a ShortName)>,
}

impl Ruling<'_> {
    pub(super) fn allows(&self) -> bool {
        self.denied_by.is_empty() && self.outcome.is_ok()
    }
}

/// A request beside the policy set: what does not depend on the names that it asks for.
#[derive(Clone, Debug)]
pub(super) struct Case<'a> {
    pub(super) set: &'a PolicySet,
    pub(super) question: Question<'a>,
    pub(super) asker: Asker<'a>,
    pub(super) moment: Moment<'a>,
    clusters: Vec<(&'a ClusterRules, &'a ClusterIndex)>,
    /// Allow rows whose `callers` match.
    by_caller: RowSet,
    /// Allow rows whose `callers` and `on_behalf_of` match.
    allow: RowSet,
    deny: RowSet,
    review: RowSet,
    /// Allow rows that have given what they may.
    spent: RowSet,
    /// Conditions of allow rows up to this one are taken as met.
    lifted: Option<Condition>,
}

impl<'a> Case<'a> {
    /// `None` where the asked cluster is not one that the set was compiled for.
    pub(super) fn new(
        set: &'a PolicySet,
        clusters: &'a Clusters,
        caller: &'a Caller,
        question: Question<'a>,
        moment: Moment<'a>,
    ) -> Option<Self> {
        let known = |rules: &'a ClusterRules| set.clusters.get(&rules.name).map(|index| (rules, index));
        let clusters =
            clusters.trusting(question.cluster).into_iter().map(known).collect::<Option<Vec<_>>>()?;
        clusters.first()?;
        let asker = Asker { caller, person: question.on_behalf_of };
        let person = asker.person.map(Name::as_str);
        let by_caller = set.allow.for_caller(caller);
        let allow = set.allow.for_person(person, false, is(set, asker, set.allow.reading)).and(&by_caller);
        let of_all = |index: &Index| {
            let for_person = index.for_person(person, true, is(set, asker, index.reading));
            for_person.and(&index.for_caller(caller))
        };
        Some(Self {
            set,
            question,
            asker,
            moment,
            clusters,
            by_caller,
            allow,
            deny: of_all(&set.deny),
            review: of_all(&set.review),
            spent: set.places(moment.spent.iter().map(|spent| &spent.row)),
            lifted: None,
        })
    }

    /// The same, with the conditions of allow rows up to this one taken as met.
    pub(super) fn but_for(&self, condition: Condition) -> Self {
        Self { lifted: Some(condition), ..self.clone() }
    }

    /// Whether an allow row for this caller and person has more conditions than patterns.
    pub(super) fn has_conditions(&self) -> bool {
        let index = &self.set.allow;
        let excepts = !(index.except_users.is_empty() && index.except_groups.is_empty());
        excepts || self.allow.meets(&index.conditional)
    }

    /// Whether the allow row at `place` has given what it may.
    pub(super) fn is_spent(&self, place: usize) -> bool {
        self.spent.contains(place)
    }

    fn heeds(&self, condition: Condition) -> bool {
        self.lifted.is_none_or(|lifted| condition > lifted)
    }

    /// Takes out of `rows` those of `index` whose conditions are not met; returns how long the
    /// windows of the others stay open, by place.
    fn keep_holding(&self, index: &Index, rows: &mut RowSet) -> Vec<(usize, Lifetime)> {
        let mut open = Vec::new();
        if !rows.meets(&index.conditional) {
            return open;
        }
        let heeds = |condition| index.reading == Reading::Wide || self.heeds(condition);
        let mut known: HashMap<*const Windows, Option<Lifetime>> = HashMap::new();
        for place in rows.clone().and(&index.conditional).iter() {
            let Some(rule) = self.set.rules.get(place) else { continue };
            let left = rule.when.as_ref().filter(|_| heeds(Condition::Window)).map(|windows| {
                *known.entry(Arc::as_ptr(windows)).or_insert_with(|| windows.open_for(self.moment.now))
            });
            let spent = heeds(Condition::Limit) && self.spent.contains(place);
            let admits = !heeds(Condition::RequiredGroups) || rule.admits(self.asker.caller);
            match left {
                _ if spent || !admits => rows.remove(place),
                Some(None) => rows.remove(place),
                Some(Some(left)) => open.push((place, left)),
                None => {}
            }
        }
        open
    }

    /// The same, with no regard to whom the request names; `None` where that makes no difference.
    pub(super) fn for_anybody(&self) -> Option<Self> {
        let differs = self.allow != self.by_caller;
        differs.then(|| Self { allow: self.by_caller.clone(), ..self.clone() })
    }

    /// Where the certificate is asked for.
    pub(super) fn asked_cluster(&self) -> Option<&'a ClusterRules> {
        self.clusters.first().map(|(rules, _)| *rules)
    }

    /// The allow rows of the asked cluster for this caller and person whose conditions are met,
    /// whatever the names.
    pub(super) fn rows(&self) -> RowSet {
        let rows = self.clusters.first().map(|(_, index)| self.allow.clone().and(&index.rows));
        let mut rows = rows.unwrap_or_default();
        self.keep_holding(&self.set.allow, &mut rows);
        rows
    }

    /// The allow rows whose `callers` match.
    pub(super) fn own_rows(&self) -> &RowSet {
        &self.by_caller
    }

    /// Every cluster that would trust the certificate, the asked one first.
    pub(super) fn trusting(&self) -> impl Iterator<Item = &'a ClusterRules> {
        self.clusters.iter().map(|(rules, _)| *rules)
    }

    /// Whether `name` is ordinary on every cluster.
    pub(super) fn is_ordinary(&self, name: &Name) -> bool {
        self.clusters.iter().all(|(_, index)| index.reserved.class(name) == NameClass::Ordinary)
    }

    /// The request as a request for `user`.
    pub(super) fn for_user(&self, user: &Name) -> Vec<Scope<'a>> {
        self.clusters.iter().map(|(rules, index)| Scope::new(self, rules, index, user)).collect()
    }
}

/// Decides one claim on every cluster.
pub(super) fn rule<'a>(scopes: &[Scope<'a>], wish: Wish<'_>) -> Ruling<'a> {
    let mut ruling = Ruling {
        denied_by: RowSet::default(),
        held_by: RowSet::default(),
        outcome: Ok(Vec::with_capacity(scopes.len())),
    };
    for scope in scopes {
        ruling.denied_by.unite(&scope.speaking(&scope.set.deny, &scope.deny, wish));
        ruling.held_by.unite(&scope.speaking(&scope.set.review, &scope.review, wish));
        match (scope.grant(wish), &mut ruling.outcome) {
            (Ok(grant), Ok(grants)) => grants.push(grant),
            (Ok(_), Err(_)) => {}
            (Err(fault), Err(worst)) if worst.0 <= fault => {}
            (Err(fault), _) => ruling.outcome = Err((fault, &scope.cluster.name)),
        }
    }
    ruling
}

/// One user name on one cluster.
#[derive(Clone, Debug)]
pub(super) struct Scope<'a> {
    set: &'a PolicySet,
    asker: Asker<'a>,
    cluster: &'a ClusterRules,
    index: &'a ClusterIndex,
    class: NameClass,
    /// Whether `except_groups` of allow rows are looked at.
    excepting: bool,
    /// How long the windows of allow rows stay open, by place.
    open: Vec<(usize, Lifetime)>,
    /// The rows in `open`.
    closing: RowSet,
    /// Allow rows that match in everything but groups and key.
    pub(super) unkeyed: RowSet,
    /// Those that take the key.
    allow: RowSet,
    /// The best of those with a bare star in `groups`.
    any_group: Option<Grant<'a>>,
    deny: RowSet,
    review: RowSet,
}

impl<'a> Scope<'a> {
    fn new(case: &Case<'a>, cluster: &'a ClusterRules, index: &'a ClusterIndex, user: &Name) -> Self {
        let (set, asker) = (case.set, case.asker);
        let class = index.reserved.class(user);
        let by_user = |rows: &Index, within: &RowSet| {
            let mut found = RowSet::default();
            let probe = probe(user.as_str(), rows.reading, class, within);
            rows.users.find(probe, &mut found, is(set, asker, rows.reading));
            found.and(within).and(&index.rows)
        };
        let taking = set.taking(case.question.key);
        let speaking = |index: &Index, within: &RowSet| {
            let mut rows = by_user(index, within);
            take_out_excepted_users(set, asker, index, user, class, &mut rows);
            case.keep_holding(index, &mut rows);
            rows
        };
        let review = speaking(&set.review, &case.review);
        let mut unkeyed = by_user(&set.allow, &case.allow);
        if class != NameClass::Ordinary {
            unkeyed.keep(&set.spelled_out);
        }
        let excepting = case.heeds(Condition::Except);
        if excepting {
            take_out_excepted_users(set, asker, &set.allow, user, class, &mut unkeyed);
        }
        let open = case.keep_holding(&set.allow, &mut unkeyed);
        let allow = taking.map(|rows| unkeyed.clone().and(rows)).unwrap_or_default();
        let mut closing = RowSet::default();
        for (place, _) in &open {
            closing.insert(*place);
        }
        let any_group = None;
        let mut scope = Self {
            set,
            asker,
            cluster,
            index,
            class,
            excepting,
            open,
            closing,
            unkeyed,
            allow,
            any_group,
            deny: speaking(&set.deny, &case.deny),
            review: taking.map(|rows| review.and(rows)).unwrap_or_default(),
        };
        scope.any_group = scope.best(&scope.allow.clone().and(set.allow.groups.any()));
        scope
    }

    /// Every one of `rows`, which are of `index` and match the user, that speaks of the claim.
    fn speaking(&self, index: &Index, rows: &RowSet, wish: Wish<'_>) -> RowSet {
        if rows.is_empty() {
            return RowSet::default();
        }
        let mut found = RowSet::default();
        match wish {
            Wish::User => found.unite(&index.bare),
            Wish::Group(group) => {
                let class = self.index.reserved.class(group);
                let probe = probe(group.as_str(), index.reading, class, rows);
                index.groups.find(probe, &mut found, is(self.set, self.asker, index.reading));
                found.keep(rows);
                found.take_out(&self.excepted(index, group, class, &found));
            }
        }
        found.and(rows)
    }

    /// Those of `rows` that leave the group out.
    fn excepted(&self, index: &Index, group: &Name, class: NameClass, rows: &RowSet) -> RowSet {
        let mut found = RowSet::default();
        if !index.except_groups.is_empty() {
            let reading = index.except_reading;
            let probe = probe(group.as_str(), reading, class, rows);
            index.except_groups.find(probe, &mut found, is(self.set, self.asker, reading));
        }
        found
    }

    fn grant(&self, wish: Wish<'_>) -> Result<Grant<'a>, Fault> {
        let class = match wish {
            Wish::User => self.class,
            Wish::Group(group) => self.index.reserved.class(group),
        };
        match class {
            NameClass::LooksReserved => return Err(Fault::LooksReserved),
            NameClass::NeverIssued => return Err(Fault::NeverIssued),
            NameClass::NodeIdentity if !self.cluster.node_identities => return Err(Fault::NodeIdentity),
            NameClass::NodeIdentity | NameClass::Reserved | NameClass::Ordinary => {}
        }
        let granted = match wish {
            Wish::User => self.best(&self.allow),
            Wish::Group(group) => self.grant_group(group, class),
        };
        granted.ok_or_else(|| self.fault(wish, class))
    }

    fn grant_group(&self, group: &Name, class: NameClass) -> Option<Grant<'a>> {
        let excepted = self.excepted_by_allow(group, class);
        let mut narrow = self.naming(group, class).and(&self.allow);
        narrow.take_out(&excepted);
        let narrow = self.best(&narrow);
        let any = self.best_of_any(&excepted);
        let any = any
            .as_deref()
            .filter(|_| class == NameClass::Ordinary && self.set.allow.star.covers(group.as_str()));
        longest(narrow, any)
    }

    /// Allow rows that leave the group out.
    fn excepted_by_allow(&self, group: &Name, class: NameClass) -> RowSet {
        if !self.excepting {
            return RowSet::default();
        }
        self.excepted(&self.set.allow, group, class, &self.unkeyed)
    }

    /// The best of the rows with a bare star in `groups` that do not leave the group out.
    fn best_of_any(&self, excepted: &RowSet) -> Option<Cow<'_, Grant<'a>>> {
        let any = self.set.allow.groups.any();
        if !excepted.meets(any) {
            return self.any_group.as_ref().map(Cow::Borrowed);
        }
        let mut rows = self.allow.clone().and(any);
        rows.take_out(excepted);
        self.best(&rows).map(Cow::Owned)
    }

    /// Allow rows with a pattern for the group that is not the bare star.
    fn naming(&self, group: &Name, class: NameClass) -> RowSet {
        let index = &self.set.allow;
        let mut found = RowSet::default();
        let probe = probe(group.as_str(), index.reading, class, &self.unkeyed);
        index.groups.find_narrow(probe, &mut found, is(self.set, self.asker, index.reading));
        if class != NameClass::Ordinary {
            found.keep(&self.set.spelled_out);
        }
        found
    }

    fn fault(&self, wish: Wish<'_>, class: NameClass) -> Fault {
        let but_for_the_key = match wish {
            Wish::User => !self.unkeyed.is_empty(),
            Wish::Group(group) => {
                let mut found = self.naming(group, class);
                if class == NameClass::Ordinary && self.set.allow.star.covers(group.as_str()) {
                    found.unite(self.set.allow.groups.any());
                }
                found.take_out(&self.excepted_by_allow(group, class));
                !found.and(&self.unkeyed).is_empty()
            }
        };
        match class {
            _ if but_for_the_key => Fault::OtherKey,
            NameClass::Ordinary => Fault::NoRow,
            _ => Fault::Reserved,
        }
    }

    /// The most that one of `rows` gives, and which of them give it.
    fn best(&self, rows: &RowSet) -> Option<Grant<'a>> {
        if rows.is_few() || self.set.tiers.len() > MOST_TIERS {
            return self.best_of_few(rows);
        }
        if !rows.meets(&self.closing) {
            return self.best_of_many(rows);
        }
        let mut lasting = rows.clone();
        lasting.take_out(&self.closing);
        let closing = self.best_of_few(&rows.clone().and(&self.closing));
        longest(self.best_of_many(&lasting), closing.as_ref())
    }

    /// Of rows without windows.
    fn best_of_many(&self, rows: &RowSet) -> Option<Grant<'a>> {
        let most = self.cluster.max_ttl;
        let mut best: Option<Grant<'a>> = None;
        for (own, tier) in &self.set.tiers {
            let lifetime = own.map_or(most, |own| own.min(most));
            match &mut best {
                Some(best) if best.lifetime > lifetime => break,
                Some(best) => best.rows.unite_within(tier, Some(rows)),
                None => {
                    let rows = tier.clone().and(rows);
                    best = (!rows.is_empty()).then_some(Grant { lifetime, rows, cluster: self.cluster });
                }
            }
        }
        best
    }

    fn best_of_few(&self, rows: &RowSet) -> Option<Grant<'a>> {
        let mut best: Option<Grant<'a>> = None;
        for place in rows.iter() {
            let Some(rule) = self.set.rules.get(place) else { continue };
            let open = rule.when.as_ref().and_then(|_| self.open_for(place));
            let lifetime = rule.lifetime(self.cluster.max_ttl, open);
            match &mut best {
                Some(best) if best.lifetime > lifetime => {}
                Some(best) if best.lifetime == lifetime => best.rows.insert(place),
                _ => {
                    let mut rows = RowSet::default();
                    rows.insert(place);
                    best = Some(Grant { lifetime, rows, cluster: self.cluster });
                }
            }
        }
        best
    }

    /// How long the windows of the allow row at `place` stay open, where it has some.
    fn open_for(&self, place: usize) -> Option<Lifetime> {
        let found = self.open.binary_search_by_key(&place, |(row, _)| *row).ok()?;
        self.open.get(found).map(|(_, left)| *left)
    }
}

/// The one that gives more; where they give the same, both together.
fn longest<'a>(one: Option<Grant<'a>>, other: Option<&Grant<'a>>) -> Option<Grant<'a>> {
    match (one, other) {
        (None, other) => other.cloned(),
        (Some(one), Some(other)) if other.lifetime > one.lifetime => Some(other.clone()),
        (Some(mut one), Some(other)) if other.lifetime == one.lifetime => {
            one.rows.unite(&other.rows);
            Some(one)
        }
        (one, _) => one,
    }
}

fn take_out_excepted_users(
    set: &PolicySet,
    asker: Asker<'_>,
    index: &Index,
    user: &Name,
    class: NameClass,
    rows: &mut RowSet,
) {
    if index.except_users.is_empty() {
        return;
    }
    let mut found = RowSet::default();
    let reading = index.except_reading;
    index.except_users.find(probe(user.as_str(), reading, class, rows), &mut found, is(set, asker, reading));
    rows.take_out(&found);
}

/// Looks for the name in a list that is read so. What gives a reserved name is a pattern that spells
/// it out, and no other.
fn probe<'a>(value: &'a str, reading: Reading, class: NameClass, within: &'a RowSet) -> Probe<'a> {
    let open = reading == Reading::Wide || class == NameClass::Ordinary;
    let reach = if open { Reach::Every } else { Reach::Literal };
    Probe { value, star: reading.star(), reach, within: Some(within) }
}

fn is<'a>(
    set: &'a PolicySet,
    asker: Asker<'a>,
    reading: Reading,
) -> impl Fn(usize, &Variable, &str) -> bool + use<'a> {
    move |row, variable, text| {
        set.rules.get(row).is_some_and(|rule| rule.variable_is(variable, text, asker, reading))
    }
}
