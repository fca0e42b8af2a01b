//! Why a request is decided as it is: every row compared with it field by field, without the index.
//! It shares no search with the decision, and the property tests hold the two against each other.

use serde::Serialize;

use super::Effect;
use super::claims::{Case, Grant};
use super::decision::Claim;
use super::index::RowSet;
use super::lifetime::{SetBy, set_by, terms};
use super::limits::LimitKind;
use super::pattern::Pattern;
use super::question::{Moment, Question, Verdict};
use super::reserved::{NameClass, ReservedNames};
use super::rule::{Asker, Reading, Rule};
use super::set::{ClusterRules, Clusters, PolicySet};
use crate::caller::Caller;
use crate::pki::name::{Name, ShortName};
use crate::time::{Lifetime, Time};

/// How many rows are shown over all claims.
const SHOWN: usize = 5_000;
/// How many are shown of each claim, however many claims there are.
const SHOWN_OF_EACH: usize = 20;

/// How many rows stand beside a refused claim.
const NEAR: usize = 5;
/// How many rows of the caller are compared for that, and how many patterns of them.
const COMPARED: usize = 256;
const COMPARED_PATTERNS: usize = 10_000;

/// Who is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Somebody who may read the policy set: every row.
    Reader,
    /// The caller itself: allow rows whose `callers` match it, review rows that hold, and what a deny
    /// row with `explain` denies.
    Requester,
}

/// A field of a row that a request is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Field {
    /// The row is not enabled.
    Enabled,
    /// `clusters` does not name the cluster.
    Clusters,
    /// `callers` does not match the caller.
    Callers,
    /// `on_behalf_of` does not match the named person, or nobody is named, or the row names nobody.
    OnBehalfOf,
    /// `users` does not match the user name.
    Users,
    /// `groups` does not match the group, or the row has none.
    Groups,
    /// `except_users` has the user name.
    ExceptUsers,
    /// `except_groups` has the group; or the row denies all groups but some, and is asked about none.
    ExceptGroups,
    /// The caller is not in all of `required_groups`.
    RequiredGroups,
    /// The named person's own token did not come with the request.
    Proof,
    /// It is none of the times in `when`.
    When,
    /// So many certificates of the row live for this user name already.
    MaxActive,
    /// So many were issued by the row for this user name in an hour.
    PerHour,
    /// `keys` does not have the kind of key.
    Keys,
    /// The name is reserved, and the row gives it by a `*` or a variable only.
    Reserved,
}

impl Field {
    const ALL: [Self; 15] = [
        Self::Enabled,
        Self::Clusters,
        Self::Callers,
        Self::OnBehalfOf,
        Self::Users,
        Self::Groups,
        Self::ExceptUsers,
        Self::ExceptGroups,
        Self::RequiredGroups,
        Self::Proof,
        Self::When,
        Self::MaxActive,
        Self::PerHour,
        Self::Keys,
        Self::Reserved,
    ];

    /// As it is written in a row, but for `reserved`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Clusters => "clusters",
            Self::Callers => "callers",
            Self::OnBehalfOf => "on_behalf_of",
            Self::Users => "users",
            Self::Groups => "groups",
            Self::ExceptUsers => "except_users",
            Self::ExceptGroups => "except_groups",
            Self::RequiredGroups => "required_groups",
            Self::Proof => "proof",
            Self::When => "when",
            Self::MaxActive => "max_active",
            Self::PerHour => "per_hour",
            Self::Keys => "keys",
            Self::Reserved => "reserved",
        }
    }

    const fn bit(self) -> u16 {
        match self {
            Self::Enabled => 1,
            Self::Clusters => 1 << 1,
            Self::Callers => 1 << 2,
            Self::OnBehalfOf => 1 << 3,
            Self::Users => 1 << 4,
            Self::Groups => 1 << 5,
            Self::ExceptUsers => 1 << 6,
            Self::ExceptGroups => 1 << 7,
            Self::RequiredGroups => 1 << 8,
            Self::When => 1 << 9,
            Self::MaxActive => 1 << 10,
            Self::PerHour => 1 << 11,
            Self::Keys => 1 << 12,
            Self::Reserved => 1 << 13,
            Self::Proof => 1 << 14,
        }
    }
}

/// Fields on which a row does not match.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Fields(u16);

impl Fields {
    fn with(self, field: Option<Field>) -> Self {
        Self(self.0 | field.map_or(0, Field::bit))
    }

    fn unless(self, matches: bool, field: Field) -> Self {
        self.with((!matches).then_some(field))
    }

    fn and(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    fn has(self, field: Field) -> bool {
        self.0 & field.bit() != 0
    }

    fn is_empty(self) -> bool {
        self.0 == 0
    }

    fn count(self) -> u32 {
        self.0.count_ones()
    }

    fn list(self) -> Vec<Field> {
        Field::ALL.into_iter().filter(|field| self.has(*field)).collect()
    }
}

/// One row beside one claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Considered {
    /// The row's name.
    pub policy: ShortName,
    /// What it does to what it matches.
    pub effect: Effect,
    /// Whether it matches in every field.
    pub matches: bool,
    /// The fields on which it does not match.
    pub fails_on: Vec<Field>,
    /// The longest lifetime that it gives on this cluster; none for a row that does not allow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_ttl: Option<Lifetime>,
}

/// What becomes of one claim on one cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ClaimOutcome {
    /// An allow row matches, and nothing stands against it.
    Allowed,
    /// The same, but a review row matches too.
    Held,
    /// A deny row matches.
    Denied,
    /// No allow row matches.
    NoRow,
    /// The name looks like a reserved one.
    LooksReserved,
    /// No row may give the name.
    NeverIssued,
    /// The cluster takes no node and bootstrap identities.
    NodeIdentities,
}

impl ClaimOutcome {
    /// As it is written in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Held => "held",
            Self::Denied => "denied",
            Self::NoRow => "no_row",
            Self::LooksReserved => "looks_reserved",
            Self::NeverIssued => "never_issued",
            Self::NodeIdentities => "node_identities",
        }
    }
}

/// One claim on one cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClaimExplained {
    /// The user name or a group.
    pub claim: Claim,
    /// The name.
    pub value: String,
    /// The asked cluster, or another of its trust group.
    pub cluster: ShortName,
    /// What becomes of it.
    pub outcome: ClaimOutcome,
    /// The deciding rows, by name: of an allowed or held claim those that give it for longest, of a denied
    /// one those that deny it and may be told.
    pub policies: Vec<ShortName>,
    /// The review rows that hold it, by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub held_by: Vec<ShortName>,
    /// The most that an allow row gives.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_ttl: Option<Lifetime>,
    /// The rows that were considered: those that match first, then those that fail on fewest fields.
    pub rows: Vec<Considered>,
    /// How many more there were, that match no better.
    pub rows_left_out: usize,
}

/// The lifetime of what would be issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lifespan {
    /// The first second in which the certificate would be valid.
    pub not_before: Time,
    /// The last one.
    pub not_after: Time,
    /// What the lifetime comes from.
    pub set_by: SetBy,
    /// What was cut, in a sentence.
    pub warning: Option<String>,
}

/// A decision with its reasons.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// What [`PolicySet::decide`] says.
    pub verdict: Verdict,
    /// The user name, then every group, each on every cluster that trusts the CA.
    pub claims: Vec<ClaimExplained>,
    /// The rows that decide together, sorted by name; none where nothing would be issued.
    pub policies: Vec<ShortName>,
    /// None where nothing would be issued.
    pub lifetime: Option<Lifespan>,
}

impl PolicySet {
    /// What would be decided at this moment, and why. The work grows with the rows times the claims, so this
    /// is no part of a decision; what is shown is bounded.
    #[must_use]
    pub fn explain(
        &self,
        clusters: &Clusters,
        caller: &Caller,
        question: Question<'_>,
        moment: Moment<'_>,
        audience: Audience,
    ) -> Explanation {
        let asker = Asker { caller, person: question.on_behalf_of };
        let clusters_asked = clusters.trusting(question.cluster).into_iter();
        let sites: Vec<Site<'_>> =
            clusters_asked.filter_map(|cluster| Site::new(self, cluster, asker, question, moment)).collect();
        let bases: Vec<Vec<Fields>> = sites.iter().map(Site::bases).collect();
        let entries = question.groups.len().saturating_add(1).saturating_mul(sites.len().max(1));
        let told = Told { audience, room: (SHOWN / entries).max(SHOWN_OF_EACH) };
        let (mut claims, mut granted) = (Vec::with_capacity(entries), Vec::with_capacity(entries));
        let mut reviews = RowSet::default();
        for group in std::iter::once(None).chain(question.groups.iter().map(Some)) {
            for (site, bases) in sites.iter().zip(&bases) {
                let Reasoned { claim, grant, held_by } = site.explain(group, bases, told);
                claims.push(claim);
                reviews.unite(&held_by);
                granted.extend(grant.map(|grant| (group.is_none(), grant)));
            }
        }
        if granted.len() < claims.len() {
            granted.clear();
        }
        let lifetime = sites.first().and_then(|site| site.lifespan(&granted, &reviews));
        let verdict = self.verdict(clusters, caller, question, moment);
        let policies = if lifetime.is_some() { self.together(&granted) } else { Vec::new() };
        Explanation { verdict, claims, policies, lifetime }
    }

    /// The rows of the groups, and those of the user name where no row of a group gives it for as long.
    fn together(&self, granted: &[(bool, Grant<'_>)]) -> Vec<ShortName> {
        let mut rows = RowSet::default();
        for (_, grant) in granted.iter().filter(|(of_user, _)| !of_user) {
            rows.unite(&grant.rows);
        }
        let of_groups = rows.clone();
        for (_, grant) in granted.iter().filter(|(of_user, grant)| *of_user && !grant.rows.meets(&of_groups))
        {
            rows.unite(&grant.rows);
        }
        self.names(&rows)
    }
}

/// What becomes of one claim, and what it adds to the whole.
struct Reasoned<'a> {
    claim: ClaimExplained,
    /// None where it is refused.
    grant: Option<Grant<'a>>,
    /// The review rows that match.
    held_by: RowSet,
}

#[derive(Clone, Copy)]
struct Told {
    audience: Audience,
    /// How many rows of one claim are shown.
    room: usize,
}

impl Told {
    fn of(self, rule: &Rule, fails: Fields) -> bool {
        match (self.audience, rule.effect) {
            (Audience::Reader, _) => true,
            (Audience::Requester, Effect::Allow) => rule.enabled && !fails.has(Field::Callers),
            (Audience::Requester, Effect::Review) => fails.is_empty(),
            (Audience::Requester, Effect::Deny) => rule.explain && fails.is_empty(),
        }
    }
}

/// A request on one cluster, to compare rows with.
pub(super) struct Site<'a> {
    set: &'a PolicySet,
    cluster: &'a ClusterRules,
    reserved: &'a ReservedNames,
    asker: Asker<'a>,
    question: Question<'a>,
    moment: Moment<'a>,
    user_class: NameClass,
}

impl<'a> Site<'a> {
    /// None for a cluster that the set was not compiled for.
    pub(super) fn new(
        set: &'a PolicySet,
        cluster: &'a ClusterRules,
        asker: Asker<'a>,
        question: Question<'a>,
        moment: Moment<'a>,
    ) -> Option<Self> {
        let reserved = &set.clusters.get(&cluster.name)?.reserved;
        let user_class = reserved.class(question.user);
        Some(Self { set, cluster, reserved, asker, question, moment, user_class })
    }

    /// Where `rule` does not match, whatever the claim.
    pub(super) fn base(&self, rule: &Rule) -> Fields {
        let (user, class) = (self.question.user, self.user_class);
        let matched = self.matched(rule, &rule.users, user, class, Field::Users);
        let excepted = self.excepts(rule, &rule.except_users, user, class);
        Fields::default()
            .unless(rule.enabled, Field::Enabled)
            .unless(rule.covers_cluster(&self.cluster.name), Field::Clusters)
            .unless(rule.callers.iter().any(|entry| entry.matches(self.asker.caller)), Field::Callers)
            .unless(self.speaks_of_person(rule), Field::OnBehalfOf)
            .unless(!excepted, Field::ExceptUsers)
            .unless(rule.admits_groups(self.asker.caller), Field::RequiredGroups)
            .unless(rule.is_proven(self.asker.caller), Field::Proof)
            .unless(rule.open_for(self.moment.now).is_some(), Field::When)
            .unless(rule.takes_key(self.question.key), Field::Keys)
            .with(self.used_up(rule))
            .with(matched)
    }

    /// Where it does not match one claim: a group, or the user name alone.
    pub(super) fn of_claim(&self, rule: &Rule, group: Option<(&Name, NameClass)>) -> Fields {
        let fails = Fields::default();
        match (group, &rule.groups) {
            (Some((name, class)), Some(groups)) => {
                let excepted = self.excepts(rule, &rule.except_groups, name, class);
                let matched = self.matched(rule, groups, name, class, Field::Groups);
                fails.with(matched).unless(!excepted, Field::ExceptGroups)
            }
            (Some(_), None) => fails.with(Some(Field::Groups)),
            (None, Some(groups)) if rule.effect != Effect::Allow => fails
                .unless(groups.iter().any(Pattern::is_any), Field::Groups)
                .unless(rule.except_groups.is_empty(), Field::ExceptGroups),
            (None, _) => fails,
        }
    }

    /// The limit of the row that is used up.
    fn used_up(&self, rule: &Rule) -> Option<Field> {
        let spent = self.moment.spent.iter().find(|spent| spent.row == rule.name)?;
        Some(match spent.limit {
            LimitKind::Active(_) => Field::MaxActive,
            LimitKind::PerHour(_) => Field::PerHour,
        })
    }

    /// Whether the row leaves the name out. What a deny row leaves out it gives back, so there a
    /// reserved name has to be spelled out.
    fn excepts(&self, rule: &Rule, patterns: &[Pattern], name: &Name, class: NameClass) -> bool {
        let reading = Reading::of_except(rule.effect);
        let open = reading == Reading::Wide || class == NameClass::Ordinary;
        let mut patterns = patterns.iter().filter(|pattern| open || pattern.is_literal());
        patterns.any(|pattern| self.one(rule, pattern, name, reading))
    }

    pub(super) fn class(&self, name: &Name) -> NameClass {
        self.reserved.class(name)
    }

    fn bases(&self) -> Vec<Fields> {
        self.set.rules.iter().map(|rule| self.base(rule)).collect()
    }

    fn speaks_of_person(&self, rule: &Rule) -> bool {
        match (&rule.people, self.asker.person) {
            (None, None) => true,
            (None, Some(_)) => rule.effect != Effect::Allow,
            (Some(_), None) => false,
            (Some(patterns), Some(person)) => self.any(rule, patterns, person),
        }
    }

    fn any(&self, rule: &Rule, patterns: &[Pattern], name: &Name) -> bool {
        let reading = Reading::of(rule.effect);
        patterns.iter().any(|pattern| self.one(rule, pattern, name, reading))
    }

    fn one(&self, rule: &Rule, pattern: &Pattern, name: &Name, reading: Reading) -> bool {
        pattern.matches(name.as_str(), |variable, text| rule.variable_is(variable, text, self.asker, reading))
    }

    /// The longest lifetime that the row gives now, or in its windows where they are closed.
    fn lifetime(&self, rule: &Rule) -> Lifetime {
        rule.lifetime(self.cluster.max_ttl, rule.open_for(self.moment.now))
    }

    /// A reserved name comes out of an allow row only where it spells everything out.
    fn matched(
        &self,
        rule: &Rule,
        patterns: &[Pattern],
        name: &Name,
        class: NameClass,
        field: Field,
    ) -> Option<Field> {
        if !self.any(rule, patterns, name) {
            return Some(field);
        }
        let spells_out = || {
            let literal = |pattern: &Pattern| pattern.is_literal() && pattern.as_str() == name.as_str();
            !rule.is_starred() && patterns.iter().any(literal)
        };
        let free = rule.effect != Effect::Allow || class == NameClass::Ordinary || spells_out();
        (!free).then_some(Field::Reserved)
    }

    fn explain(&self, group: Option<&Name>, bases: &[Fields], told: Told) -> Reasoned<'a> {
        let class = group.map_or(self.user_class, |group| self.class(group));
        let compared = self.compared(group.map(|group| (group, class)), bases);
        let Matching { allow, review, deny } = self.matching(&compared);
        let grant = self.grant(&allow);
        let outcome = self.outcome(class, &deny, &review, grant.is_some());
        let is_granted = matches!(outcome, ClaimOutcome::Allowed | ClaimOutcome::Held);
        let policies = match (outcome, &grant) {
            (ClaimOutcome::Allowed | ClaimOutcome::Held, Some(grant)) => self.set.names(&grant.rows),
            (ClaimOutcome::Denied, _) => self.tellable(&deny, told),
            _ => Vec::new(),
        };
        let (rows, rows_left_out) = self.shown(compared, told);
        let claim = ClaimExplained {
            claim: if group.is_some() { Claim::Group } else { Claim::User },
            value: group.unwrap_or(self.question.user).to_string(),
            cluster: self.cluster.name.clone(),
            outcome,
            policies,
            held_by: if is_granted { self.set.names(&review) } else { Vec::new() },
            max_ttl: grant.as_ref().map(|grant| grant.lifetime),
            rows,
            rows_left_out,
        };
        Reasoned { claim, grant: grant.filter(|_| is_granted), held_by: review }
    }

    /// Every row by its place, with the fields on which it fails.
    fn compared(&self, group: Option<(&Name, NameClass)>, bases: &[Fields]) -> Vec<(usize, Fields)> {
        let rows = self.set.rules.iter().zip(bases);
        rows.map(|(rule, base)| base.and(self.of_claim(rule, group))).enumerate().collect()
    }

    fn matching(&self, compared: &[(usize, Fields)]) -> Matching {
        let mut matching = Matching::default();
        for (place, _) in compared.iter().filter(|(_, fails)| fails.is_empty()) {
            match self.set.rules.get(*place).map(|rule| rule.effect) {
                Some(Effect::Allow) => matching.allow.insert(*place),
                Some(Effect::Review) => matching.review.insert(*place),
                Some(Effect::Deny) => matching.deny.insert(*place),
                None => {}
            }
        }
        matching
    }

    fn outcome(&self, class: NameClass, deny: &RowSet, review: &RowSet, granted: bool) -> ClaimOutcome {
        match class {
            NameClass::LooksReserved => ClaimOutcome::LooksReserved,
            NameClass::NeverIssued => ClaimOutcome::NeverIssued,
            NameClass::NodeIdentity if !self.cluster.node_identities => ClaimOutcome::NodeIdentities,
            _ if !deny.is_empty() => ClaimOutcome::Denied,
            _ if granted && !review.is_empty() => ClaimOutcome::Held,
            _ if granted => ClaimOutcome::Allowed,
            _ => ClaimOutcome::NoRow,
        }
    }

    /// The most that one of `allow` gives, and which of them give it.
    fn grant(&self, allow: &RowSet) -> Option<Grant<'a>> {
        let gives = |place: usize| self.set.rules.get(place).map(|rule| self.lifetime(rule));
        let lifetime = allow.iter().filter_map(gives).max()?;
        let mut rows = RowSet::default();
        allow.iter().filter(|place| gives(*place) == Some(lifetime)).for_each(|place| rows.insert(place));
        Some(Grant { lifetime, rows, cluster: self.cluster })
    }

    fn tellable(&self, deny: &RowSet, told: Told) -> Vec<ShortName> {
        let rules = self.set.in_set(deny).filter(|rule| told.of(rule, Fields::default()));
        let mut names: Vec<ShortName> = rules.map(|rule| rule.name.clone()).collect();
        names.sort();
        names
    }

    /// Those that match best, and how many are left out.
    fn shown(&self, compared: Vec<(usize, Fields)>, told: Told) -> (Vec<Considered>, usize) {
        let mut seen: Vec<(u32, &Rule, Fields)> = compared
            .into_iter()
            .filter_map(|(place, fails)| Some((fails.count(), self.set.rules.get(place)?, fails)))
            .filter(|(_, rule, fails)| told.of(rule, *fails))
            .collect();
        let left_out = seen.len().saturating_sub(told.room);
        if left_out > 0 {
            seen.select_nth_unstable_by_key(told.room, |(count, rule, _)| (*count, &rule.name));
            seen.truncate(told.room);
        }
        seen.sort_by_key(|(count, rule, _)| (*count, &rule.name));
        (seen.into_iter().map(|(_, rule, fails)| self.considered(rule, fails)).collect(), left_out)
    }

    fn considered(&self, rule: &Rule, fails: Fields) -> Considered {
        let allows = rule.effect == Effect::Allow;
        Considered {
            policy: rule.name.clone(),
            effect: rule.effect,
            matches: fails.is_empty(),
            fails_on: fails.list(),
            max_ttl: allows.then(|| self.lifetime(rule)),
        }
    }

    fn lifespan(&self, granted: &[(bool, Grant<'a>)], reviews: &RowSet) -> Option<Lifespan> {
        let grants: Vec<&Grant<'_>> = granted.iter().map(|(_, grant)| grant).collect();
        let (asked, now) = (self.question.ttl, self.moment.now);
        let given = terms(self.set, self.cluster, &grants, reviews, asked, now)
            .ok()
            .filter(|_| !grants.is_empty())?;
        Some(Lifespan {
            not_before: given.not_before,
            not_after: given.not_after,
            set_by: set_by(self.set, self.cluster, &grants, reviews, asked, now),
            warning: given.warning,
        })
    }
}

/// The rows that match one claim in every field.
#[derive(Default)]
struct Matching {
    allow: RowSet,
    review: RowSet,
    deny: RowSet,
}

/// An allow row of the caller that does not give what was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Near {
    /// The row's name.
    pub policy: ShortName,
    /// The fields on which it does not match.
    pub fails_on: Vec<Field>,
}

/// The allow rows of one caller on one cluster, compared for a refusal. The work is bounded: of the
/// first rows, by their place, so that rows of other callers do not matter.
pub(super) struct Nearby<'a> {
    site: Site<'a>,
    rows: Vec<(&'a Rule, Fields)>,
}

impl<'a> Nearby<'a> {
    pub(super) fn new(case: &Case<'a>, cluster: &'a ClusterRules) -> Option<Self> {
        let site = Site::new(case.set, cluster, case.asker, case.question, case.moment)?;
        let mut patterns = 0_usize;
        let rows = case.set.in_set(case.own_rows()).take(COMPARED).take_while(|rule| {
            patterns = patterns.saturating_add(rule.patterns());
            patterns <= COMPARED_PATTERNS
        });
        let rows = rows.map(|rule| (rule, site.base(rule))).collect();
        Some(Self { site, rows })
    }

    pub(super) fn is_on(&self, cluster: &ShortName) -> bool {
        self.site.cluster.name == *cluster
    }

    /// Those that fail on the fewest fields for `group`, or for the user name alone.
    pub(super) fn nearest(&self, group: Option<&Name>) -> Vec<Near> {
        let group = group.map(|group| (group, self.site.class(group)));
        let compared = self.rows.iter().map(|(rule, base)| {
            let fails = base.and(self.site.of_claim(rule, group));
            (fails.count(), &rule.name, fails)
        });
        let mut compared: Vec<_> = compared.collect();
        compared.sort_by_key(|(count, name, _)| (*count, *name));
        let near = compared.into_iter().take(NEAR);
        near.map(|(_, name, fails)| Near { policy: name.clone(), fails_on: fails.list() }).collect()
    }
}
