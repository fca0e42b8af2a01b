//! Questions out of the ledger, each decided once.

use std::collections::HashMap;
use std::sync::Arc;

use crate::caller::{Caller, CallerGroup};
use crate::pki::key::KeyKind;
use crate::pki::name::{Name, ShortName};
use crate::policy::{Clusters, PolicySet, Question, Verdict};
use crate::store::decisions::{Decision, Outcome};
use crate::store::{Store, StoreError};
use crate::time::Time;

/// Refusals that a policy set speaks, and none of its neighbours: a key, a clock, a role.
const BY_POLICY: [&str; 2] = ["policy_denied", "name_looks_reserved"];

/// Two policy sets, and what both are decided on.
#[derive(Clone, Debug)]
pub struct Sets {
    planned: Arc<PolicySet>,
    current: Arc<PolicySet>,
    clusters: Arc<Clusters>,
    now: Time,
}

impl Sets {
    /// A set that may come and the one that holds, compiled for the same `clusters`, at `now`.
    #[must_use]
    pub fn new(planned: Arc<PolicySet>, current: Arc<PolicySet>, clusters: &Clusters, now: Time) -> Self {
        Self { planned, current, clusters: Arc::new(clusters.without_ends()), now }
    }

    /// The set that holds, against itself.
    #[must_use]
    pub fn only(current: Arc<PolicySet>, clusters: &Clusters, now: Time) -> Self {
        Self::new(Arc::clone(&current), current, clusters, now)
    }

    /// When it is decided.
    pub(super) fn now(&self) -> Time {
        self.now
    }

    /// The set that holds.
    pub(super) fn current(&self) -> &PolicySet {
        &self.current
    }

    /// Whether it matters when something is asked.
    fn have_windows(&self) -> bool {
        self.planned.has_windows() || self.current.has_windows()
    }

    /// Whether it matters which claims this caller makes: nobody recorded them.
    fn read_claims_of(&self, caller: &Caller) -> bool {
        self.planned.reads_claims_of(caller) || self.current.reads_claims_of(caller)
    }
}

/// What is decided on, in numbers that this process knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Matter {
    caller: i64,
    caller_groups: u32,
    cluster: i64,
    user: u32,
    groups: i64,
    key: KeyKind,
    person: u32,
    /// When it was asked, where that matters.
    at: Option<Time>,
}

/// Whether each set allows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fate {
    pub(super) planned: bool,
    pub(super) current: bool,
}

/// A question with everything that it refers to.
struct Asked {
    caller: Arc<Caller>,
    cluster: ShortName,
    user: Name,
    groups: Arc<[Name]>,
    key: KeyKind,
    person: Option<Name>,
    at: Time,
}

impl Asked {
    fn question(&self) -> Question<'_> {
        Question {
            cluster: &self.cluster,
            user: &self.user,
            groups: &self.groups,
            key: self.key,
            ttl: None,
            on_behalf_of: self.person.as_ref(),
        }
    }
}

/// Decides what the ledger's decisions were taken on.
pub(super) struct Decider {
    sets: Sets,
    names: HashMap<i64, String>,
    lists: HashMap<i64, Option<Arc<[Name]>>>,
    callers: HashMap<(i64, u32), Option<Arc<Caller>>>,
    /// Users, people and lists of a caller's groups, in the order in which they were met.
    texts: Texts,
    /// `None`: not to be decided here.
    fates: HashMap<Matter, Option<Fate>>,
}

impl Decider {
    pub(super) fn new(sets: Sets) -> Self {
        Self {
            sets,
            names: HashMap::new(),
            lists: HashMap::new(),
            callers: HashMap::new(),
            texts: Texts::default(),
            fates: HashMap::new(),
        }
    }

    /// The same, with no question decided yet.
    pub(super) fn anew(self) -> Self {
        Self { fates: HashMap::new(), ..self }
    }

    /// The user name and the groups of a matter that was decided.
    pub(super) fn names_in(&self, matter: &Matter) -> Option<(String, Arc<[Name]>)> {
        let user = self.texts.text(matter.user)?.to_owned();
        Some((user, self.lists.get(&matter.groups)?.clone()?))
    }

    /// How many distinct questions there were.
    pub(super) fn distinct(&self) -> usize {
        self.fates.len()
    }

    /// Looks up the names that `decisions` speak of and that were not met before.
    pub(super) async fn learn(&mut self, store: &Store, decisions: &[Decision]) -> Result<(), StoreError> {
        let of_decisions = decisions.iter().flat_map(|one| [Some(one.caller), one.cluster]).flatten();
        let new = unknown(of_decisions, &self.names);
        self.names.extend(store.names_of(&new).await?);
        let new = unknown(decisions.iter().map(|one| one.groups), &self.lists);
        for (number, list) in store.name_lists_of(&new).await? {
            let parsed = list.iter().map(|name| Name::parse(name).ok()).collect();
            self.lists.insert(number, parsed);
        }
        Ok(())
    }

    /// What each set says; `None` where the policy has nothing to say: of a request that could not
    /// be read, that another rule refused, or for a cluster that is not configured here; and where
    /// a set looks at claims of the caller, of which there is no record.
    pub(super) fn fate(&mut self, decision: &Decision) -> Option<(Matter, Fate)> {
        if matches!(&decision.outcome, Outcome::Refused(code) if !BY_POLICY.contains(&code.as_str())) {
            return None;
        }
        let matter = self.matter(decision)?;
        if let Some(fate) = self.fates.get(&matter) {
            return fate.map(|fate| (matter, fate));
        }
        let fate = self.asked(&matter).map(|asked| self.decide(&asked));
        self.fates.insert(matter, fate);
        fate.map(|fate| (matter, fate))
    }

    /// What the planned set says, in words.
    pub(super) fn verdict(&mut self, matter: &Matter) -> Option<Verdict> {
        let asked = self.asked(matter)?;
        let Sets { planned, clusters, .. } = &self.sets;
        Some(planned.would(clusters, &asked.caller, asked.question(), asked.at))
    }

    fn decide(&self, asked: &Asked) -> Fate {
        let Sets { planned, current, clusters, .. } = &self.sets;
        let allows = |set: &PolicySet| set.allows(clusters, &asked.caller, asked.question(), asked.at);
        let by_planned = allows(planned);
        let by_current = if Arc::ptr_eq(planned, current) { by_planned } else { allows(current) };
        Fate { planned: by_planned, current: by_current }
    }

    fn matter(&mut self, decision: &Decision) -> Option<Matter> {
        Some(Matter {
            caller: decision.caller,
            caller_groups: self.texts.number(decision.caller_groups.as_deref().unwrap_or_default()),
            cluster: decision.cluster?,
            user: self.texts.number(decision.user.as_deref()?),
            groups: decision.groups,
            key: KeyKind::parse(decision.key_kind.as_deref()?)?,
            person: self.texts.number(decision.on_behalf_of.as_deref().unwrap_or_default()),
            at: self.sets.have_windows().then_some(decision.at),
        })
    }

    fn asked(&mut self, matter: &Matter) -> Option<Asked> {
        let caller = self.caller(matter.caller, matter.caller_groups)?;
        let cluster = ShortName::parse(self.names.get(&matter.cluster)?).ok()?;
        if self.sets.clusters.rules.iter().all(|rules| rules.name != cluster) {
            return None;
        }
        let person = match self.texts.text(matter.person)? {
            "" => None,
            person => Some(Name::parse(person).ok()?),
        };
        Some(Asked {
            caller,
            cluster,
            user: Name::parse(self.texts.text(matter.user)?).ok()?,
            groups: self.lists.get(&matter.groups)?.clone()?,
            key: matter.key,
            person,
            at: matter.at.unwrap_or(self.sets.now),
        })
    }

    fn caller(&mut self, number: i64, groups: u32) -> Option<Arc<Caller>> {
        if let Some(known) = self.callers.get(&(number, groups)) {
            return known.clone();
        }
        let caller = self.read_caller(number, groups).filter(|caller| !self.sets.read_claims_of(caller));
        let caller = caller.map(Arc::new);
        self.callers.insert((number, groups), caller.clone());
        caller
    }

    fn read_caller(&self, number: i64, groups: u32) -> Option<Caller> {
        let mut caller = Caller::parse(self.names.get(&number)?).ok()?;
        let groups = Some(self.texts.text(groups)?).filter(|text| !text.is_empty());
        let groups: Vec<String> = groups.map(serde_json::from_str).transpose().ok()?.unwrap_or_default();
        caller.groups = groups.iter().map(|group| CallerGroup::parse(group).ok()).collect::<Option<_>>()?;
        Some(caller)
    }
}

/// Texts by numbers, each once.
#[derive(Default)]
struct Texts {
    numbers: HashMap<Arc<str>, u32>,
    texts: Vec<Arc<str>>,
}

impl Texts {
    fn number(&mut self, text: &str) -> u32 {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let number = u32::try_from(self.texts.len()).unwrap_or(u32::MAX);
        let text: Arc<str> = text.into();
        self.texts.push(Arc::clone(&text));
        self.numbers.insert(text, number);
        number
    }

    fn text(&self, number: u32) -> Option<&str> {
        self.texts.get(usize::try_from(number).ok()?).map(AsRef::as_ref)
    }
}

/// Each number once that `known` does not have.
fn unknown<T>(numbers: impl Iterator<Item = i64>, known: &HashMap<i64, T>) -> Vec<i64> {
    let mut unknown: Vec<i64> = numbers.filter(|number| !known.contains_key(number)).collect();
    unknown.sort_unstable();
    unknown.dedup();
    unknown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{ClusterRules, PolicyRow};
    use crate::time::Lifetime;
    use serde_json::json;

    const NOW: Time = Time::from_unix(1_780_304_400);
    const CALLER: i64 = 1;
    const PROD: i64 = 2;
    const GONE: i64 = 3;
    const LIST: i64 = 1;

    /// `prod`, whose CA has ended.
    fn clusters() -> Clusters {
        let rules = ClusterRules {
            name: ShortName::parse("prod").unwrap(),
            default_ttl: Lifetime::from_seconds(3_600),
            max_ttl: Lifetime::from_seconds(7_200),
            reserved: Vec::new(),
            node_identities: false,
            trust_group: None,
            ca_not_before: NOW.before(7_200),
            ca_not_after: NOW.before(3_600),
            ca_keys: Vec::new(),
        };
        Clusters { rules: vec![rules] }
    }

    fn set(groups: &serde_json::Value) -> Arc<PolicySet> {
        set_of(&json!({"groups": groups}))
    }

    /// One row with these fields.
    fn set_of(fields: &serde_json::Value) -> Arc<PolicySet> {
        let mut row = json!({
            "name": "people", "effect": "allow", "clusters": ["prod"], "callers": ["oidc:corp:*"],
            "users": ["{caller}"],
        });
        row.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let row: PolicyRow = serde_json::from_value(row).unwrap();
        Arc::new(PolicySet::compile(1, vec![row], &clusters()).unwrap())
    }

    /// Knows alice of the identity provider, two clusters and the list of `ops`.
    fn decider(planned: Arc<PolicySet>, current: Arc<PolicySet>) -> Decider {
        let mut decider = Decider::new(Sets::new(planned, current, &clusters(), NOW));
        let names = [(CALLER, "oidc:corp:alice"), (PROD, "prod"), (GONE, "gone")];
        decider.names.extend(names.map(|(number, name)| (number, name.to_owned())));
        decider.lists.insert(LIST, Some([Name::parse("ops").unwrap()].into()));
        decider
    }

    fn issued() -> Decision {
        Decision {
            number: 7,
            at: NOW,
            caller: CALLER,
            caller_groups: Some(r#"["group:corp:ops"]"#.to_owned()),
            cluster: Some(PROD),
            user: Some("alice".to_owned()),
            groups: LIST,
            key_kind: Some("p-256".to_owned()),
            on_behalf_of: None,
            outcome: Outcome::Issued(NOW),
        }
    }

    fn fate(decision: &Decision) -> Option<Fate> {
        let (narrow, wide) = (set(&json!(["dev"])), set(&json!(["{caller.groups}"])));
        decider(narrow, wide).fate(decision).map(|(_, fate)| fate)
    }

    #[test]
    fn the_groups_of_the_caller_count_as_they_were_recorded() {
        assert_eq!(fate(&issued()), Some(Fate { planned: false, current: true }));
        let without = Decision { caller_groups: None, ..issued() };
        assert_eq!(fate(&without), Some(Fate { planned: false, current: false }));
    }

    #[test]
    fn what_is_not_the_policys_is_not_decided() {
        let refused = |code: &str| Outcome::Refused(code.to_owned());
        for decision in [
            Decision { outcome: refused("key_blocked"), ..issued() },
            Decision { user: None, outcome: refused("policy_denied"), ..issued() },
            Decision { cluster: None, ..issued() },
            Decision { cluster: Some(GONE), ..issued() },
            Decision { cluster: Some(99), ..issued() },
            Decision { key_kind: Some("rsa-1024".to_owned()), ..issued() },
            Decision { user: Some("no name ".to_owned()), ..issued() },
            Decision { caller_groups: Some(r#"["ops"]"#.to_owned()), ..issued() },
            Decision { groups: 99, ..issued() },
        ] {
            assert_eq!(fate(&decision), None, "{decision:?}");
        }
        assert!(fate(&Decision { outcome: refused("policy_denied"), ..issued() }).is_some());
    }

    #[test]
    fn what_was_asked_in_a_window_is_decided_in_it() {
        let friday = "2026-06-05T15:00:00Z";
        let office = set_of(&json!({"groups": ["ops"], "when": ["mon-fri 08:00-18:00 UTC"]}));
        for (at, allowed) in [(friday, true), ("2026-06-06T15:00:00Z", false)] {
            let mut decider = decider(Arc::clone(&office), set(&json!(["ops"])));
            let asked = Decision { at: Time::parse(at).unwrap(), ..issued() };
            assert_eq!(decider.fate(&asked).unwrap().1, Fate { planned: allowed, current: true }, "{at}");
            decider.fate(&Decision { at: NOW, ..issued() }).unwrap();
            assert_eq!(decider.distinct(), 2);
        }
    }

    #[test]
    fn what_depends_on_claims_that_nobody_recorded_is_not_decided() {
        let claims = set_of(&json!({"groups": ["ops", "{caller.claim.team}"]}));
        assert_eq!(decider(claims, set(&json!(["ops"]))).fate(&issued()), None);
        let of_others = set_of(&json!({"callers": ["oidc:other:*"], "groups": ["{caller.claim.team}"]}));
        assert!(decider(of_others, set(&json!(["ops"]))).fate(&issued()).is_some());
    }

    #[test]
    fn a_question_is_decided_once_however_often_it_was_asked() {
        let mut decider = decider(set(&json!(["dev"])), set(&json!(["dev"])));
        for number in 1..=3 {
            decider.fate(&Decision { number, ..issued() }).unwrap();
        }
        assert_eq!(decider.distinct(), 1);
        decider.fate(&Decision { on_behalf_of: Some("bob".to_owned()), ..issued() }).unwrap();
        assert_eq!(decider.distinct(), 2);
        assert_eq!(decider.anew().distinct(), 0);
    }

    #[test]
    fn a_verdict_is_the_planned_sets() {
        let mut decider = decider(set(&json!(["dev"])), set(&json!(["{caller.groups}"])));
        let (matter, _) = decider.fate(&issued()).unwrap();
        assert_eq!(decider.verdict(&matter).unwrap().violations()[0].value, "ops");
    }
}
