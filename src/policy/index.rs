//! Finds the rows that could match, so that deciding costs what could match and not what there is.

use std::collections::HashMap;

// Faster than the library's own. What is hashed into the tables is the policy's; a request only looks.
use foldhash::fast::RandomState;

use super::Effect;
use super::callers::{CallerPattern, Subject};
use super::pattern::{Pattern, Star, Variable};
pub(super) use super::row_set::RowSet;
use super::rule::{Reading, Rule};
use crate::caller::{Caller, CallerKind};
use crate::pki::name::ShortName;

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
    literals: HashMap<String, RowSet, RandomState>,
    /// Rows with a bare star.
    any: RowSet,
    /// By what the other patterns begin with, or by what they end with where that is longer.
    starts: Tree,
    ends: Tree,
    /// Where each pattern of `open` is, so that rows that share one stand together.
    places: HashMap<Shared, (usize, usize)>,
}

/// A tree over bytes; the first node is its root.
#[derive(Clone, Debug, Default)]
struct Tree {
    nodes: Vec<Node>,
}

#[derive(Clone, Debug, Default)]
struct Node {
    children: Vec<(u8, usize)>,
    /// Rows with this start and then one star.
    tails: RowSet,
    /// Patterns that go on in another way.
    open: Vec<Open>,
}

/// A pattern, and every row that has it and for which its variable stands for the same.
#[derive(Clone, Debug)]
struct Open {
    pattern: Pattern,
    /// One of `rows`: what holds for it holds for all.
    row: usize,
    rows: RowSet,
}

/// What a variable stands for depends on the sources that the row's `callers` speak of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Shared {
    pattern: String,
    sources: Vec<Option<ShortName>>,
}

impl Tree {
    fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    fn node_for(&mut self, bytes: impl Iterator<Item = u8>) -> usize {
        if self.nodes.is_empty() {
            self.nodes.push(Node::default());
        }
        let mut at = 0;
        for byte in bytes {
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

    /// The nodes that `bytes` pass, each with the number of bytes before it.
    fn path<'a>(
        &'a self,
        mut bytes: impl Iterator<Item = u8> + 'a,
    ) -> impl Iterator<Item = (usize, &'a Node)> {
        let step = |node: &'a Node, byte: u8| {
            let found = node.children.binary_search_by_key(&byte, |child| child.0).ok()?;
            node.children.get(found).and_then(|child| self.nodes.get(child.1))
        };
        std::iter::successors(self.nodes.first(), move |node| step(node, bytes.next()?)).enumerate()
    }
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
    /// `callers` are those of the row.
    fn insert(&mut self, row: usize, pattern: &Pattern, callers: &[CallerPattern]) {
        if pattern.is_literal() {
            self.literals.entry(pattern.as_str().to_owned()).or_default().insert(row);
        } else if pattern.is_any() {
            self.any.insert(row);
        } else if pattern.is_open_ended() {
            let node = self.starts.node_for(pattern.literal_start().bytes());
            if let Some(node) = self.starts.nodes.get_mut(node) {
                node.tails.insert(row);
            }
        } else {
            self.insert_open(row, pattern, callers);
        }
    }

    fn insert_open(&mut self, row: usize, pattern: &Pattern, callers: &[CallerPattern]) {
        let (start, end) = (pattern.literal_start(), pattern.literal_end());
        let by_end = end.len() > start.len();
        let tree = if by_end { &mut self.ends } else { &mut self.starts };
        let shared = Shared { pattern: pattern.as_str().to_owned(), sources: sources(pattern, callers) };
        let known = self.places.get(&shared).copied();
        let node = match known {
            Some((node, _)) => node,
            None if by_end => tree.node_for(end.bytes().rev()),
            None => tree.node_for(start.bytes()),
        };
        let Some(node_there) = tree.nodes.get_mut(node) else { return };
        let next = node_there.open.len();
        if let Some(open) = known.and_then(|(_, place)| node_there.open.get_mut(place)) {
            open.rows.insert(row);
            return;
        }
        let mut rows = RowSet::default();
        rows.insert(row);
        node_there.open.push(Open { pattern: pattern.clone(), row, rows });
        self.places.insert(shared, (node, next));
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
            found.unite_within(&self.any, probe.within);
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
            found.unite_within(rows, probe.within);
        }
        if probe.reach == Reach::Literal {
            return;
        }
        let value = probe.value;
        let open_from = probe.star.reaches_back_to(value);
        for (depth, node) in self.starts.path(value.bytes()) {
            if depth >= open_from {
                found.unite_within(&node.tails, probe.within);
            }
            node.find_open(probe, found, &is);
        }
        for (_, node) in self.ends.path(value.bytes().rev()) {
            node.find_open(probe, found, &is);
        }
    }

    /// Whether no row has a pattern here.
    pub(super) fn is_empty(&self) -> bool {
        self.literals.is_empty() && self.any.is_empty() && self.starts.is_empty() && self.ends.is_empty()
    }

    /// Rows with a bare star.
    pub(super) fn any(&self) -> &RowSet {
        &self.any
    }
}

impl Node {
    fn find_open(&self, probe: Probe<'_>, found: &mut RowSet, is: &impl Fn(usize, &Variable, &str) -> bool) {
        for open in &self.open {
            if open.pattern.matches(probe.value, |variable, text| is(open.row, variable, text)) {
                found.unite_within(&open.rows, probe.within);
            }
        }
    }
}

fn sources(pattern: &Pattern, callers: &[CallerPattern]) -> Vec<Option<ShortName>> {
    if pattern.variable().is_none() {
        return Vec::new();
    }
    let mut sources: Vec<_> = callers.iter().map(|caller| caller.source.clone()).collect();
    sources.sort();
    sources.dedup();
    sources
}

/// The enabled rows of one effect.
#[derive(Clone, Debug)]
pub(super) struct Index {
    callers: HashMap<Option<ShortName>, Vec<(CallerKind, FieldIndex)>, RandomState>,
    caller_groups: HashMap<ShortName, FieldIndex, RandomState>,
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
            callers: HashMap::default(),
            caller_groups: HashMap::default(),
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
        let callers = &rule.callers;
        rule.users.iter().for_each(|pattern| self.users.insert(row, pattern, callers));
        rule.groups.iter().flatten().for_each(|pattern| self.groups.insert(row, pattern, callers));
        rule.except_users.iter().for_each(|pattern| self.except_users.insert(row, pattern, callers));
        rule.except_groups.iter().for_each(|pattern| self.except_groups.insert(row, pattern, callers));
        if rule.speaks_of_bare_name() {
            self.bare.insert(row);
        }
        if rule.is_conditional() {
            self.conditional.insert(row);
        }
        match &rule.people {
            Some(people) => people.iter().for_each(|pattern| self.people.insert(row, pattern, &rule.callers)),
            None => self.impersonal.insert(row),
        }
    }

    fn insert_caller(&mut self, row: usize, caller: &CallerPattern) {
        let index = match (caller.subject, &caller.source) {
            (Subject::Group, Some(source)) => self.caller_groups.entry(source.clone()).or_default(),
            (Subject::Group, None) => return,
            (Subject::Caller(kind), source) => kind_of(self.callers.entry(source.clone()).or_default(), kind),
        };
        index.insert(row, &caller.name, &[]);
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

    proptest! {
        #[test]
        fn the_index_finds_what_the_patterns_match(
            patterns in prop::collection::vec("[ab:é*]{1,7}", 1..12),
            value in "[ab:é]{1,6}",
        ) {
            for star in [Star::Printable, Star::Segment, Star::Anything] {
                let patterns: Vec<Pattern> =
                    patterns.iter().map(|text| Pattern::parse(text, star).expect("a pattern")).collect();
                let mut index = FieldIndex::default();
                patterns.iter().enumerate().for_each(|(row, pattern)| index.insert(row, pattern, &[]));
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
