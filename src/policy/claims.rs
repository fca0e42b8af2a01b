//! One request's claims, each decided on its own on each cluster that would trust the certificate.

use super::Clusters;
use super::decision::Ask;
use super::index::{Index, Probe, Reach, RowSet};
use super::pattern::Variable;
use super::reserved::NameClass;
use super::rule::Asker;
use super::set::{ClusterIndex, ClusterRules, PolicySet};
use crate::caller::Caller;
use crate::pki::key::KeyKind;
use crate::pki::name::{Name, ShortName};
use crate::time::Lifetime;

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
    pub(super) asker: Asker<'a>,
    key: KeyKind,
    clusters: Vec<(&'a ClusterRules, &'a ClusterIndex)>,
    /// Allow rows whose `callers` match.
    by_caller: RowSet,
    /// Allow rows whose `callers` and `on_behalf_of` match.
    allow: RowSet,
    deny: RowSet,
    review: RowSet,
}

impl<'a> Case<'a> {
    /// `None` where the asked cluster is not one that the set was compiled for.
    pub(super) fn new(
        set: &'a PolicySet,
        clusters: &'a Clusters,
        caller: &'a Caller,
        ask: &'a Ask,
    ) -> Option<Self> {
        let known = |rules: &'a ClusterRules| set.clusters.get(&rules.name).map(|index| (rules, index));
        let clusters = clusters.trusting(&ask.cluster).into_iter().map(known).collect::<Option<Vec<_>>>()?;
        clusters.first()?;
        let asker = Asker { caller, person: ask.on_behalf_of.as_ref() };
        let person = asker.person.map(Name::as_str);
        let is = |row, variable, text: &str| is(set, asker, row, variable, text);
        let by_caller = set.allow.for_caller(caller);
        let allow = set.allow.for_person(person, false, is).and(&by_caller);
        let deny = set.deny.for_person(person, true, is).and(&set.deny.for_caller(caller));
        let review = set.review.for_person(person, true, is).and(&set.review.for_caller(caller));
        Some(Self { set, asker, key: ask.request.key().kind(), clusters, by_caller, allow, deny, review })
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

    /// The allow rows of the asked cluster for this caller and person, whatever the names.
    pub(super) fn rows(&self) -> RowSet {
        self.clusters.first().map(|(_, index)| self.allow.clone().and(&index.rows)).unwrap_or_default()
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
        let is = |row, variable, text: &str| is(set, asker, row, variable, text);
        let class = index.reserved.class(user);
        // What denies or holds sees every name, reserved ones too.
        let of_index = |index: &Index, within: &RowSet| {
            let mut found = RowSet::default();
            let probe =
                Probe { value: user.as_str(), star: index.star, reach: Reach::Every, within: Some(within) };
            index.users.find(probe, &mut found, is);
            found.and(within)
        };
        let mut unkeyed = RowSet::default();
        let of_allow = Probe {
            value: user.as_str(),
            star: set.allow.star,
            reach: reach(class),
            within: Some(&case.allow),
        };
        set.allow.users.find(of_allow, &mut unkeyed, is);
        if class != NameClass::Ordinary {
            unkeyed.keep(&set.spelled_out);
        }
        let unkeyed = unkeyed.and(&case.allow).and(&index.rows);
        let allow = set.taking(case.key).map(|rows| unkeyed.clone().and(rows)).unwrap_or_default();
        let deny = of_index(&set.deny, &case.deny).and(&index.rows);
        let review = of_index(&set.review, &case.review).and(&index.rows);
        let review = set.taking(case.key).map(|rows| review.and(rows)).unwrap_or_default();
        let mut scope =
            Self { set, asker, cluster, index, class, unkeyed, allow, any_group: None, deny, review };
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
            Wish::User => {
                found.unite(&index.bare);
                found.unite(index.groups.any());
            }
            Wish::Group(group) => {
                let reach = Reach::Every;
                let probe = Probe { value: group.as_str(), star: index.star, reach, within: Some(rows) };
                index.groups.find(probe, &mut found, self.is());
            }
        }
        found.and(rows)
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
        let narrow = self.best(&self.naming(group, class).and(&self.allow));
        let any = self
            .any_group
            .as_ref()
            .filter(|_| class == NameClass::Ordinary && self.set.allow.star.covers(group.as_str()));
        match (narrow, any) {
            (None, any) => any.cloned(),
            (Some(narrow), Some(any)) if any.lifetime > narrow.lifetime => Some(any.clone()),
            (Some(mut narrow), Some(any)) if any.lifetime == narrow.lifetime => {
                narrow.rows.unite(&any.rows);
                Some(narrow)
            }
            (narrow, _) => narrow,
        }
    }

    /// Allow rows with a pattern for the group that is not the bare star.
    fn naming(&self, group: &Name, class: NameClass) -> RowSet {
        let index = &self.set.allow;
        let mut found = RowSet::default();
        let within = Some(&self.unkeyed);
        let probe = Probe { value: group.as_str(), star: index.star, reach: reach(class), within };
        index.groups.find_narrow(probe, &mut found, self.is());
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
        let mut best: Option<Grant<'a>> = None;
        for place in rows.iter() {
            let Some(rule) = self.set.rules.get(place) else { continue };
            let lifetime = rule.lifetime(self.cluster.max_ttl);
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

    fn is(&self) -> impl Fn(usize, Variable, &str) -> bool {
        let (set, asker) = (self.set, self.asker);
        move |row, variable, text| is(set, asker, row, variable, text)
    }
}

/// A reserved name is matched by a pattern that spells it out, and by no other.
fn reach(class: NameClass) -> Reach {
    if class == NameClass::Ordinary { Reach::Every } else { Reach::Literal }
}

fn is(set: &PolicySet, asker: Asker<'_>, row: usize, variable: Variable, text: &str) -> bool {
    set.rules.get(row).is_some_and(|rule| rule.variable_is(variable, text, asker))
}
