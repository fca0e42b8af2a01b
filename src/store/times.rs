//! From times to numbers. A certificate or refusal is never more than 60 seconds older than the
//! newest one before it, so a period of time is a stretch of numbers, give or take a minute.
//!
//! The one exception is a clock that stood in the future until an operator vouched for the right
//! time: what was recorded meanwhile lies out of order, and periods that touch it are not narrowed.

use std::collections::{BTreeMap, BTreeSet};

use super::cells::Cells;
use super::connection::Connection;
use super::statement::Statement;
use super::{Order, StoreError, events};
use crate::audit::EventKind;
use crate::time::Time;

/// How far times may step back, in seconds: the 60 of the recording transaction, and one.
const SLACK: i64 = 61;

/// From `from`, inclusive, until `until`, inclusive, in seconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Period {
    pub(super) from: Option<i64>,
    pub(super) until: Option<i64>,
}

/// The numbers between these two, both exclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Numbers {
    pub(super) above: i64,
    pub(super) below: i64,
}

impl Numbers {
    pub(super) fn within(self, other: Self) -> Self {
        Self { above: self.above.max(other.above), below: self.below.min(other.below) }
    }

    /// How many there are.
    pub(super) fn count(self) -> i64 {
        self.below.saturating_sub(self.above).saturating_sub(1).max(0)
    }

    /// The first `length` of them in this order, and those behind, if there are any.
    pub(super) fn cut(self, length: i64, order: Order) -> (Self, Option<Self>) {
        let Self { above, below } = self;
        if self.count() <= length {
            return (self, None);
        }
        match order {
            Order::NewestFirst => {
                let first = below.saturating_sub(length);
                (Self { above: first.saturating_sub(1), below }, Some(Self { above, below: first }))
            }
            Order::OldestFirst => {
                let last = above.saturating_add(length);
                (Self { above, below: last.saturating_add(1) }, Some(Self { above: last, below }))
            }
        }
    }

    /// What holds both.
    pub(super) fn and(self, other: Self) -> Self {
        Self { above: self.above.min(other.above), below: self.below.max(other.below) }
    }
}

/// A stretch of time whose records are out of order.
#[derive(Clone, Copy, Debug)]
struct Disorder {
    from: i64,
    until: i64,
}

impl Disorder {
    fn touches(self, at: i64) -> bool {
        at > self.from.saturating_sub(2 * SLACK) && at <= self.until.saturating_add(2 * SLACK)
    }
}

/// Stretches of numbers that hold every record of `kind` in each of `periods`.
pub(super) async fn numbers(
    connection: &mut Connection,
    kind: EventKind,
    periods: &[Period],
) -> Result<Vec<Numbers>, StoreError> {
    if periods.iter().all(|period| *period == Period::default()) {
        return Ok(periods.iter().map(|_| Numbers { above: 0, below: i64::MAX }).collect());
    }
    let disorders = disorders(connection).await?;
    let orderly = |at: &i64| !disorders.iter().any(|disorder| disorder.touches(*at));
    let periods: Vec<Period> = periods
        .iter()
        .map(|period| Period { from: period.from.filter(orderly), until: period.until.filter(orderly) })
        .collect();
    let looks: BTreeSet<Look> = periods.iter().flat_map(|period| period.looks()).flatten().collect();
    let looks: Vec<Look> = looks.into_iter().collect();
    let mut found = BTreeMap::new();
    if !looks.is_empty() {
        let row = look_up(events::kind_number(kind), &looks).optional(connection).await?;
        let row = row.ok_or_else(|| StoreError::Corrupt("a list of numbers has no row".to_owned()))?;
        for (place, look) in looks.into_iter().enumerate() {
            found.insert(look, row.at::<i64>(place)?);
        }
    }
    let number =
        |look: Option<Look>, none: i64| look.and_then(|look| found.get(&look).copied()).unwrap_or(none);
    let stretch = |period: &Period| {
        let [before, behind] = period.looks();
        Numbers { above: number(before, NONE_BEFORE), below: number(behind, NONE_BEHIND) }
    };
    Ok(periods.iter().map(stretch).collect())
}

async fn disorders(connection: &mut Connection) -> Result<Vec<Disorder>, StoreError> {
    let mut select = Statement::new("SELECT number, at, detail FROM events WHERE kind > 1 AND kind = ");
    select.bind(events::kind_number(EventKind::ClockAccepted));
    let rows = select.all(connection).await?;
    let mut disorders = Vec::new();
    for row in &rows {
        let cells = Cells::new(row, "events", "number");
        let detail: Option<serde_json::Value> = cells.optional_json("detail")?;
        let before = detail.and_then(|detail| detail.get("newest_before")?.as_str().map(Time::parse));
        match before {
            None => {}
            Some(Ok(until)) => {
                disorders.push(Disorder { from: cells.integer("at")?, until: until.unix() });
            }
            Some(Err(why)) => return Err(cells.wrong("detail", &why)),
        }
    }
    Ok(disorders)
}

/// A time whose number is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Look {
    /// One of the last second in which there were older ones.
    Before(i64),
    /// One of the first second in which there were younger ones.
    Behind(i64),
}

/// Where there is no record before a time, or behind one.
const NONE_BEFORE: i64 = 0;
const NONE_BEHIND: i64 = i64::MAX;

impl Period {
    /// For a record before it and for one behind it. The last one that is over a minute older than `from`
    /// has nothing of the period before it.
    fn looks(self) -> [Option<Look>; 2] {
        [
            self.from.map(|from| Look::Before(from.saturating_sub(SLACK))),
            self.until.map(|until| Look::Behind(until.saturating_add(SLACK))),
        ]
    }
}

/// A column for each of `looks`.
pub(super) fn look_up(kind: i64, looks: &[Look]) -> Statement<'static> {
    let mut select = Statement::new("SELECT ");
    for (place, look) in looks.iter().enumerate() {
        let (compare, at, order, none) = match *look {
            Look::Before(at) => (" AND at < ", at, " ORDER BY at DESC LIMIT 1)", NONE_BEFORE),
            Look::Behind(at) => (" AND at > ", at, " ORDER BY at LIMIT 1)", NONE_BEHIND),
        };
        select.push(if place == 0 { "" } else { ", " });
        select.push("COALESCE((SELECT number FROM events WHERE kind = ").bind(kind).push(compare).bind(at);
        select.push(order).push(", CAST(").bind(none).push(" AS BIGINT))");
    }
    select
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_share_no_number_and_leave_none_out() {
        for order in [Order::NewestFirst, Order::OldestFirst] {
            for length in 1..13 {
                let (mut rest, mut found) = (Some(Numbers { above: 5, below: 17 }), Vec::new());
                while let Some(numbers) = rest {
                    let (first, behind) = numbers.cut(length, order);
                    assert!(first.count() <= length && first.count() > 0, "{first:?}");
                    let numbers = first.above + 1..first.below;
                    if order == Order::OldestFirst {
                        found.extend(numbers);
                    } else {
                        found.extend(numbers.rev());
                    }
                    rest = behind;
                }
                if order == Order::NewestFirst {
                    found.reverse();
                }
                assert_eq!(found, (6..17).collect::<Vec<_>>(), "{length} {order:?}");
            }
        }
        let none = Numbers { above: 7, below: 7 };
        assert_eq!((none.count(), none.cut(3, Order::NewestFirst)), (0, (none, None)));
    }
}
