//! Keyset pages by number, both ways. Rows that are added while somebody pages neither repeat nor
//! lose one.

use super::engine::Engine;
use super::statement::Statement;

/// At most `limit` rows with numbers below `before`, newest first.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    /// The number of the last row of the page before; exclusive. None: from the newest row on.
    pub before: Option<i64>,
    /// How many rows at most.
    pub limit: u32,
}

/// Which way a list runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Order {
    /// By number, descending.
    #[default]
    NewestFirst,
    /// By number, ascending: what a follower reads.
    OldestFirst,
}

/// A page of a stretch of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Numbers above this one only.
    pub above: i64,
    /// Numbers below this one only.
    pub below: i64,
    /// Which way.
    pub order: Order,
    /// How many rows at most.
    pub limit: u32,
}

impl Span {
    /// Everything, this way, so many rows at a time.
    #[must_use]
    pub const fn all(order: Order, limit: u32) -> Self {
        Self { above: 0, below: i64::MAX, order, limit }
    }

    /// The same stretch behind the row `number`, the last of the page before; never a longer one, whatever
    /// number a client made up.
    #[must_use]
    pub fn behind(self, number: i64) -> Self {
        match self.order {
            Order::NewestFirst => Self { below: self.below.min(number), ..self },
            Order::OldestFirst => Self { above: self.above.max(number), ..self },
        }
    }

    pub(super) const fn direction(self) -> &'static str {
        match self.order {
            Order::NewestFirst => " DESC LIMIT ",
            Order::OldestFirst => " ASC LIMIT ",
        }
    }

    /// A part of a union of numbers, which are its `key`; it ends with the page where `engine` has to be told so.
    pub(super) fn push_part<'v>(
        self,
        statement: &mut Statement<'v>,
        engine: Engine,
        key: &'static str,
        part: impl FnOnce(&mut Statement<'v>),
    ) {
        if engine.merges_unions() {
            return part(statement);
        }
        statement.push("(");
        part(statement);
        statement.push(" ORDER BY ").push(key).push(self.direction()).bind(self.limit).push(")");
    }

    /// Puts rows into this order: a joined statement promises none.
    pub(super) fn sort<T>(self, rows: &mut [T], number: impl Fn(&T) -> i64) {
        rows.sort_unstable_by_key(|row| number(row));
        if self.order == Order::NewestFirst {
            rows.reverse();
        }
    }
}

impl From<Page> for Span {
    fn from(page: Page) -> Self {
        let all = Self::all(Order::NewestFirst, page.limit);
        page.before.map_or(all, |number| all.behind(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_never_begins_outside_of_its_stretch() {
        for (order, above, below) in [(Order::NewestFirst, 5, 7), (Order::OldestFirst, 7, 9)] {
            let span = Span { above: 5, below: 9, order, limit: 1 };
            assert_eq!((span.behind(7).above, span.behind(7).below), (above, below));
        }
        for number in [i64::MIN, 0, i64::MAX] {
            for order in [Order::NewestFirst, Order::OldestFirst] {
                let span = Span { above: 5, below: 9, order, limit: 1 }.behind(number);
                assert!(span.above >= 5 && span.below <= 9, "{span:?}");
            }
        }
    }
}
