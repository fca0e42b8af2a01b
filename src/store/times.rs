//! From times to numbers. A certificate or refusal is never more than 60 seconds older than the
//! newest one before it, so a period of time is a stretch of numbers, give or take a minute.
//!
//! The one exception is a clock that stood in the future until an operator vouched for the right
//! time: what was recorded meanwhile lies out of order, and periods that touch it are not narrowed.

use super::cells::Cells;
use super::connection::Connection;
use super::statement::Statement;
use super::{StoreError, events};
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
    let row = bounds(events::kind_number(kind), &periods).optional(connection).await?;
    let row = row.ok_or_else(|| StoreError::Corrupt("a list of numbers has no row".to_owned()))?;
    let cell = |place: usize| row.at::<i64>(place).map_err(StoreError::from);
    (0..periods.len())
        .map(|place| Ok(Numbers { above: cell(2 * place)?, below: cell(2 * place + 1)? }))
        .collect()
}

async fn disorders(connection: &mut Connection) -> Result<Vec<Disorder>, StoreError> {
    let mut select = Statement::new("SELECT number, at, detail FROM events WHERE kind = ");
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

/// For each period the number of a record before it and that of one behind it. The last one that
/// is over a minute older than `from` has nothing of the period before it.
pub(super) fn bounds(kind: i64, periods: &[Period]) -> Statement<'static> {
    let mut select = Statement::new("SELECT ");
    for (place, period) in periods.iter().enumerate() {
        select.push(if place == 0 { "" } else { ", " });
        push_bound(&mut select, kind, period.from.map(|from| from.saturating_sub(SLACK)), &BEFORE);
        select.push(", ");
        push_bound(&mut select, kind, period.until.map(|until| until.saturating_add(SLACK)), &BEHIND);
    }
    select
}

/// The words around a bound, and what stands for none.
struct Words {
    compare: &'static str,
    order: &'static str,
    none: i64,
}

const BEFORE: Words =
    Words { compare: " AND at < ", order: " ORDER BY at DESC, number DESC LIMIT 1), ", none: 0 };
const BEHIND: Words =
    Words { compare: " AND at > ", order: " ORDER BY at, number LIMIT 1), ", none: i64::MAX };

fn push_bound(select: &mut Statement<'_>, kind: i64, at: Option<i64>, words: &Words) {
    let Some(at) = at else {
        select.push("CAST(").bind(words.none).push(" AS BIGINT)");
        return;
    };
    select.push("COALESCE((SELECT number FROM events WHERE kind = ").bind(kind);
    select.push(words.compare).bind(at).push(words.order);
    select.push("CAST(").bind(words.none).push(" AS BIGINT))");
}
