//! Finds the rows that could match, so that deciding costs what could match and not what there is.

use std::collections::HashMap;

use super::Effect;
use super::callers::{CallerPattern, Subject};
use super::pattern::{Pattern, Star, Variable};
use super::rule::{Reading, Rule};
use crate::caller::{Caller, CallerKind};
use crate::pki::name::ShortName;

/// A set of rows, by their place in the policy set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RowSet {
    words: Vec<u64>,
}

impl RowSet {
    pub(super) fn insert(&mut self, row: usize) {
        let (word, bit) = place(row);
        if self.words.len() <= word {
            self.words.resize(word.saturating_add(1), 0);
        }
        if let Some(bits) = self.words.get_mut(word) {
            *bits |= bit;
        }
    }

    pub(super) fn remove(&mut self, row: usize) {
        let (word, bit) = place(row);
        if let Some(bits) = self.words.get_mut(word) {
            *bits &= !bit;
        }
    }

    pub(super) fn contains(&self, row: usize) -> bool {
        let (word, bit) = place(row);
        self.words.get(word).is_some_and(|bits| bits & bit != 0)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.words.iter().all(|bits| *bits == 0)
    }

    pub(super) fn meets(&self, other: &Self) -> bool {
        self.words.iter().zip(&other.words).any(|(mine, theirs)| mine & theirs != 0)
    }

    pub(super) fn unite(&mut self, other: &Self) {
        if self.words.len() < other.words.len() {
            self.words.resize(other.words.len(), 0);
        }
        self.words.iter_mut().zip(&other.words).for_each(|(mine, theirs)| *mine |= theirs);
    }

    /// Keeps what is in `other` too.
    pub(super) fn keep(&mut self, other: &Self) {
        self.words.truncate(other.words.len());
        self.words.iter_mut().zip(&other.words).for_each(|(mine, theirs)| *mine &= theirs);
    }

    /// Keeps what is not in `other`.
    pub(super) fn take_out(&mut self, other: &Self) {
        self.words.iter_mut().zip(&other.words).for_each(|(mine, theirs)| *mine &= !theirs);
    }

    pub(super) fn and(mut self, other: &Self) -> Self {
        self.keep(other);
        self
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.words.iter().enumerate().flat_map(|(word, bits)| {
            let mut left = *bits;
            std::iter::from_fn(move || {
                let bit = usize::try_from(left.trailing_zeros()).ok().filter(|bit| *bit < 64)?;
                left &= left.wrapping_sub(1);
                Some(word.saturating_mul(64).saturating_add(bit))
            })
        })
    }
}

fn place(row: usize) -> (usize, u64) {
    (row / 64, 1_u64 << (row % 64))
}

/// Which patterns may match a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// All of them.
    Every,
    /// Those that spell the name out.
    Literal,
}

/// The patterns of one field over all rows of one effect.
#[derive(Clone, Debug, Default)]
pub(super) struct FieldIndex {
    literals: HashMap<String, Vec<usize>>,
    /// Rows with a bare star.
    any: RowSet,
    /// A tree over the bytes that other patterns begin with; the first node is its root.
    nodes: Vec<Node>,
}

#[derive(Clone, Debug, Default)]
struct Node {
    children: Vec<(u8, usize)>,
    /// Rows with this start and then one star.
    tails: RowSet,
    /// Rows that go on in another way.
    open: Vec<(usize, Pattern)>,
}

/// What is looked for in a field.
#[derive(Clone, Copy, Debug)]
pub(super) struct Probe<'a> {
    pub(super) value: &'a str,
    /// What a star means in this field.
    pub(super) star: Star,
    pub(super) reach: Reach,
    /// Rows beyond these need not be looked at, and may be found or not.
    pub(super) within: Option<&'a RowSet>,
}

impl FieldIndex {
    fn insert(&mut self, row: usize, pattern: &Pattern) {
        if pattern.is_literal() {
            self.literals.entry(pattern.as_str().to_owned()).or_default().push(row);
        } else if pattern.is_any() {
            self.any.insert(row);
        } else {
            let node = self.node_for(pattern.literal_start());
            match self.nodes.get_mut(node) {
                Some(node) if pattern.is_open_ended() => node.tails.insert(row),
                Some(node) => node.open.push((row, pattern.clone())),
                None => {}
            }
        }
    }

    fn node_for(&mut self, start: &str) -> usize {
        if self.nodes.is_empty() {
            self.nodes.push(Node::default());
        }
        let mut at = 0;
        for byte in start.bytes() {
            let next = self.nodes.len();
            let Some(node) = self.nodes.get_mut(at) else { return at };
            at = match node.children.binary_search_by_key(&byte, |child| child.0) {
                Ok(found) => node.children.get(found).map_or(at, |child| child.1),
                Err(gap) => {
                    node.children.insert(gap, (byte, next));
                    self.nodes.push(Node::default());
                    next
                }
            };
        }
        at
    }

    /// Adds the rows with a pattern that matches. `is` tells whether a variable of a row has a value.
    pub(super) fn find(
        &self,
        probe: Probe<'_>,
        found: &mut RowSet,
        is: impl Fn(usize, &Variable, &str) -> bool,
    ) {
        self.find_narrow(probe, found, is);
        if probe.reach == Reach::Every && probe.star.covers(probe.value) {
            found.unite(&self.any);
        }
    }

    /// As [`FieldIndex::find`], without the rows that only have a bare star.
    pub(super) fn find_narrow(
        &self,
        probe: Probe<'_>,
        found: &mut RowSet,
        is: impl Fn(usize, &Variable, &str) -> bool,
    ) {
        if let Some(rows) = self.literals.get(probe.value) {
            for row in rows {
                found.insert(*row);
            }
        }
        if probe.reach == Reach::Literal {
            return;
        }
        let open_from = probe.star.reaches_back_to(probe.value);
        let wanted = |row: usize| probe.within.is_none_or(|within| within.contains(row));
        for (depth, node) in self.path(probe.value) {
            if depth >= open_from {
                found.unite(&node.tails);
            }
            for (row, pattern) in node.open.iter().filter(|(row, _)| wanted(*row)) {
                if pattern.matches(probe.value, |variable, text| is(*row, variable, text)) {
                    found.insert(*row);
                }
            }
        }
    }

    /// Whether no row has a pattern here.
    pub(super) fn is_empty(&self) -> bool {
        self.literals.is_empty() && self.any.is_empty() && self.nodes.is_empty()
    }

    /// Rows with a bare star.
    pub(super) fn any(&self) -> &RowSet {
        &self.any
    }

    /// The nodes that `value` passes, each with the number of bytes before it.
    fn path<'a>(&'a self, value: &'a str) -> impl Iterator<Item = (usize, &'a Node)> {
        let step = |node: &'a Node, byte: u8| {
            let found = node.children.binary_search_by_key(&byte, |child| child.0).ok()?;
            node.children.get(found).and_then(|child| self.nodes.get(child.1))
        };
        let mut bytes = value.bytes();
        std::iter::successors(self.nodes.first(), move |node| step(node, bytes.next()?)).enumerate()
    }
}

/// The enabled rows of one effect.
#[derive(Clone, Debug)]
pub(super) struct Index {
    callers: HashMap<Option<ShortName>, Vec<(CallerKind, FieldIndex)>>,
    caller_groups: HashMap<ShortName, FieldIndex>,
    /// How the lists below are read.
    pub(super) reading: Reading,
    pub(super) star: Star,
    pub(super) users: FieldIndex,
    /// Every group pattern but the bare star, which [`FieldIndex::any`] holds.
    pub(super) groups: FieldIndex,
    people: FieldIndex,
    /// Of what rows do not speak, and how those lists are read.
    pub(super) except_users: FieldIndex,
    pub(super) except_groups: FieldIndex,
    pub(super) except_reading: Reading,
    /// Rows without `on_behalf_of`.
    impersonal: RowSet,
    /// Rows that speak of the user name alone, or of it and every group.
    pub(super) bare: RowSet,
    /// Rows with `required_groups`, `when`, or a limit.
    pub(super) conditional: RowSet,
    /// Every row of the index.
    pub(super) all: RowSet,
}

impl Index {
    pub(super) fn new(effect: Effect) -> Self {
        let reading = Reading::of(effect);
        Self {
            callers: HashMap::new(),
            caller_groups: HashMap::new(),
            reading,
            star: reading.star(),
            users: FieldIndex::default(),
            groups: FieldIndex::default(),
            people: FieldIndex::default(),
            except_users: FieldIndex::default(),
            except_groups: FieldIndex::default(),
            except_reading: Reading::of_except(effect),
            impersonal: RowSet::default(),
            bare: RowSet::default(),
            conditional: RowSet::default(),
            all: RowSet::default(),
        }
    }

    pub(super) fn insert(&mut self, row: usize, rule: &Rule) {
        self.all.insert(row);
        rule.callers.iter().for_each(|caller| self.insert_caller(row, caller));
        rule.users.iter().for_each(|pattern| self.users.insert(row, pattern));
        rule.groups.iter().flatten().for_each(|pattern| self.groups.insert(row, pattern));
        rule.except_users.iter().for_each(|pattern| self.except_users.insert(row, pattern));
        rule.except_groups.iter().for_each(|pattern| self.except_groups.insert(row, pattern));
        if rule.speaks_of_bare_name() {
            self.bare.insert(row);
        }
        if rule.is_conditional() {
            self.conditional.insert(row);
        }
        match &rule.people {
            Some(people) => people.iter().for_each(|pattern| self.people.insert(row, pattern)),
            None => self.impersonal.insert(row),
        }
    }

    fn insert_caller(&mut self, row: usize, caller: &CallerPattern) {
        let index = match (caller.subject, &caller.source) {
            (Subject::Group, Some(source)) => self.caller_groups.entry(source.clone()).or_default(),
            (Subject::Group, None) => return,
            (Subject::Caller(kind), source) => kind_of(self.callers.entry(source.clone()).or_default(), kind),
        };
        index.insert(row, &caller.name);
    }

    /// The rows whose `callers` match.
    pub(super) fn for_caller(&self, caller: &Caller) -> RowSet {
        let mut found = RowSet::default();
        let star = self.reading.caller_star();
        let probe = |value| Probe { value, star, reach: Reach::Every, within: None };
        let kinds = self.callers.get(&caller.source).map_or(&[][..], Vec::as_slice);
        for (_, index) in kinds.iter().filter(|(kind, _)| *kind == caller.kind) {
            index.find(probe(&caller.name), &mut found, |_, _, _| false);
        }
        for group in &caller.groups {
            if let Some(index) = self.caller_groups.get(&group.source) {
                index.find(probe(&group.name), &mut found, |_, _, _| false);
            }
        }
        found
    }

    /// The rows whose `on_behalf_of` matches the named person. `unnamed_too`: a row without
    /// `on_behalf_of` matches whoever is named. Where nobody is named, only such rows match.
    pub(super) fn for_person(
        &self,
        person: Option<&str>,
        unnamed_too: bool,
        is: impl Fn(usize, &Variable, &str) -> bool,
    ) -> RowSet {
        let mut found = RowSet::default();
        if let Some(person) = person {
            let probe = Probe { value: person, star: self.star, reach: Reach::Every, within: None };
            self.people.find(probe, &mut found, is);
        }
        if person.is_none() || unnamed_too {
            found.unite(&self.impersonal);
        }
        found
    }
}

fn kind_of(kinds: &mut Vec<(CallerKind, FieldIndex)>, kind: CallerKind) -> &mut FieldIndex {
    let at = kinds.iter().position(|(known, _)| *known == kind).unwrap_or(kinds.len());
    if at == kinds.len() {
        kinds.push((kind, FieldIndex::default()));
    }
    #[expect(clippy::indexing_slicing, reason = "the place was found or made just above")]
    &mut kinds[at].1
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_row_set_is_a_set() {
        let mut set = RowSet::default();
        for row in [0, 63, 64, 200] {
            set.insert(row);
        }
        assert_eq!(set.iter().collect::<Vec<_>>(), [0, 63, 64, 200]);
        assert!(set.contains(63) && !set.contains(62) && !set.contains(1_000));
        let mut other = RowSet::default();
        other.insert(63);
        other.insert(500);
        assert_eq!(set.clone().and(&other).iter().collect::<Vec<_>>(), [63]);
        set.unite(&other);
        assert_eq!(set.iter().collect::<Vec<_>>(), [0, 63, 64, 200, 500]);
        assert!(!set.is_empty() && RowSet::default().is_empty());
    }

    proptest! {
        #[test]
        fn the_index_finds_what_the_patterns_match(
            patterns in prop::collection::vec("[ab:é*]{1,5}", 1..12),
            value in "[ab:é]{1,6}",
        ) {
            for star in [Star::Printable, Star::Segment, Star::Anything] {
                let patterns: Vec<Pattern> =
                    patterns.iter().map(|text| Pattern::parse(text, star).expect("a pattern")).collect();
                let mut index = FieldIndex::default();
                patterns.iter().enumerate().for_each(|(row, pattern)| index.insert(row, pattern));
                let mut found = RowSet::default();
                let probe = Probe { value: &value, star, reach: Reach::Every, within: None };
                index.find(probe, &mut found, |_, _, _| false);
                let one_by_one: Vec<usize> = (0..patterns.len())
                    .filter(|row| patterns[*row].matches(&value, |_, _| false))
                    .collect();
                prop_assert_eq!(found.iter().collect::<Vec<_>>(), one_by_one);
            }
        }
    }
}
