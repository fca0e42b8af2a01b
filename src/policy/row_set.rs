//! A set of rows: a list while they are few, else a bit for each row.

/// So many are kept as a list. What is found for one request is nearly always fewer, and then costs
/// nothing that grows with the policy set.
const FEW: usize = 128;

/// A set of rows, by their place in the policy set.
#[derive(Clone, Debug)]
pub(super) enum RowSet {
    /// Sorted.
    Few(Vec<usize>),
    Many(Vec<u64>),
}

impl Default for RowSet {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl PartialEq for RowSet {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for RowSet {}

impl RowSet {
    pub(super) fn insert(&mut self, row: usize) {
        match self {
            Self::Few(rows) if rows.last().is_none_or(|last| *last < row) => rows.push(row),
            Self::Few(rows) => {
                if let Err(gap) = rows.binary_search(&row) {
                    rows.insert(gap, row);
                }
            }
            Self::Many(words) => set(words, row),
        }
        if let Self::Few(rows) = self
            && rows.len() > FEW
        {
            let mut words = Vec::new();
            set_all(&mut words, rows);
            *self = Self::Many(words);
        }
    }

    pub(super) fn remove(&mut self, row: usize) {
        let mut one = Self::default();
        one.insert(row);
        self.take_out(&one);
    }

    pub(super) fn contains(&self, row: usize) -> bool {
        match self {
            Self::Few(rows) => rows.binary_search(&row).is_ok(),
            Self::Many(words) => {
                let (word, bit) = place(row);
                words.get(word).is_some_and(|bits| bits & bit != 0)
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Few(rows) => rows.is_empty(),
            Self::Many(words) => words.iter().all(|bits| *bits == 0),
        }
    }

    /// Whether it is kept as a list.
    pub(super) fn is_few(&self) -> bool {
        matches!(self, Self::Few(_))
    }

    pub(super) fn meets(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Few(rows), set) | (set, Self::Few(rows)) => rows.iter().any(|row| set.contains(*row)),
            (Self::Many(mine), Self::Many(theirs)) => {
                mine.iter().zip(theirs).any(|(mine, theirs)| mine & theirs != 0)
            }
        }
    }

    pub(super) fn unite(&mut self, other: &Self) {
        match (&mut *self, other) {
            (_, Self::Few(rows)) => rows.iter().for_each(|row| self.insert(*row)),
            (Self::Few(rows), Self::Many(words)) => {
                let mut all = words.clone();
                set_all(&mut all, rows);
                *self = Self::Many(all);
            }
            (Self::Many(mine), Self::Many(theirs)) => {
                mine.resize(mine.len().max(theirs.len()), 0);
                mine.iter_mut().zip(theirs).for_each(|(mine, theirs)| *mine |= theirs);
            }
        }
    }

    /// Adds what is both in `other` and in `within`. Costs as little as the smaller of the two.
    pub(super) fn unite_within(&mut self, other: &Self, within: Option<&Self>) {
        let Some(within) = within else { return self.unite(other) };
        match (other, within) {
            (Self::Few(rows), set) | (set, Self::Few(rows)) => {
                rows.iter().filter(|row| set.contains(**row)).for_each(|row| self.insert(*row));
            }
            (Self::Many(_), Self::Many(_)) => self.unite(&other.clone().and(within)),
        }
    }

    /// Keeps what is in `other` too.
    pub(super) fn keep(&mut self, other: &Self) {
        match (&mut *self, other) {
            (Self::Few(rows), other) => rows.retain(|row| other.contains(*row)),
            (Self::Many(words), Self::Few(rows)) => {
                let kept = rows.iter().copied().filter(|row| {
                    let (word, bit) = place(*row);
                    words.get(word).is_some_and(|bits| bits & bit != 0)
                });
                *self = Self::Few(kept.collect());
            }
            (Self::Many(mine), Self::Many(theirs)) => {
                mine.truncate(theirs.len());
                mine.iter_mut().zip(theirs).for_each(|(mine, theirs)| *mine &= theirs);
                if are_few(mine) {
                    *self = Self::Few(self.iter().collect());
                }
            }
        }
    }

    /// Keeps what is not in `other`.
    pub(super) fn take_out(&mut self, other: &Self) {
        let words = match (&mut *self, other) {
            (Self::Few(rows), other) => return rows.retain(|row| !other.contains(*row)),
            (Self::Many(words), Self::Few(rows)) => {
                for row in rows {
                    clear(words, *row);
                }
                words
            }
            (Self::Many(mine), Self::Many(theirs)) => {
                mine.iter_mut().zip(theirs).for_each(|(mine, theirs)| *mine &= !theirs);
                mine
            }
        };
        if are_few(words) {
            *self = Self::Few(self.iter().collect());
        }
    }

    pub(super) fn and(mut self, other: &Self) -> Self {
        self.keep(other);
        self
    }

    /// In ascending order.
    pub(super) fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        let (rows, words) = match self {
            Self::Few(rows) => (rows.as_slice(), &[][..]),
            Self::Many(words) => (&[][..], words.as_slice()),
        };
        rows.iter().copied().chain(words.iter().enumerate().flat_map(|(word, bits)| {
            let mut left = *bits;
            std::iter::from_fn(move || {
                let bit = usize::try_from(left.trailing_zeros()).ok().filter(|bit| *bit < 64)?;
                left &= left.wrapping_sub(1);
                Some(word.saturating_mul(64).saturating_add(bit))
            })
        }))
    }
}

/// Where there are more, it is known after the first words.
fn are_few(words: &[u64]) -> bool {
    let mut room = FEW;
    for word in words.iter().filter(|word| **word != 0) {
        let rows = usize::try_from(word.count_ones()).unwrap_or(FEW);
        let Some(left) = room.checked_sub(rows) else { return false };
        room = left;
    }
    true
}

fn set_all(words: &mut Vec<u64>, rows: &[usize]) {
    for row in rows {
        set(words, *row);
    }
}

fn set(words: &mut Vec<u64>, row: usize) {
    let (word, bit) = place(row);
    if words.len() <= word {
        words.resize(word.saturating_add(1), 0);
    }
    if let Some(bits) = words.get_mut(word) {
        *bits |= bit;
    }
}

fn clear(words: &mut [u64], row: usize) {
    let (word, bit) = place(row);
    if let Some(bits) = words.get_mut(word) {
        *bits &= !bit;
    }
}

fn place(row: usize) -> (usize, u64) {
    (row / 64, 1_u64 << (row % 64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn of(rows: &BTreeSet<usize>) -> RowSet {
        let mut set = RowSet::default();
        rows.iter().rev().for_each(|row| set.insert(*row));
        set
    }

    /// Sets on both sides of what is few.
    fn rows() -> impl Strategy<Value = BTreeSet<usize>> {
        prop_oneof![
            prop::collection::btree_set(0_usize..300, 0..20),
            prop::collection::btree_set(0_usize..600, 120..300),
            prop::collection::btree_set(0_usize..60_000, 0..400),
        ]
    }

    fn list(set: &RowSet) -> Vec<usize> {
        set.iter().collect()
    }

    proptest! {
        #[test]
        fn a_row_set_is_a_set(one in rows(), other in rows(), third in rows()) {
            let (mine, theirs) = (of(&one), of(&other));
            prop_assert_eq!(list(&mine), one.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(mine.is_empty(), one.is_empty());
            prop_assert_eq!(mine.is_few(), one.len() <= FEW);
            prop_assert!(other.iter().all(|row| mine.contains(*row) == one.contains(row)));
            prop_assert_eq!(mine.meets(&theirs), !one.is_disjoint(&other));
            prop_assert_eq!(mine == theirs, one == other);
            let both: BTreeSet<usize> = &one & &other;
            prop_assert_eq!(mine.clone().and(&theirs), of(&both));
            let mut left = mine.clone();
            left.take_out(&theirs);
            prop_assert_eq!(left.is_few(), one.difference(&other).count() <= FEW);
            prop_assert_eq!(left, of(&(&one - &other)));
            let mut without = mine.clone();
            other.iter().take(3).for_each(|row| without.remove(*row));
            prop_assert_eq!(list(&without), one.iter().copied().filter(|row| !other.iter().take(3).any(|out| out == row)).collect::<Vec<_>>());
            let mut united = mine.clone();
            united.unite(&theirs);
            prop_assert_eq!(united, of(&(&one | &other)));
            let mut within = of(&third);
            within.unite_within(&mine, Some(&theirs));
            prop_assert_eq!(within, of(&(&third | &both)));
            let mut within = of(&third);
            within.unite_within(&mine, None);
            prop_assert_eq!(within, of(&(&third | &one)));
        }
    }
}
