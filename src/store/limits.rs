//! What the limits of policy rows leave to a user name.
//!
//! Counting takes long where there is much to count, so it is done before the recording transaction,
//! up to a number of the ledger. Under the lock only what was recorded since is counted.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::cells::Cells;
use super::certificates::Issuance;
use super::connection::Connection;
use super::statement::{Statement, chunks};
use super::{CertificateFilter, Order, Span, StoreError};
use crate::pki::name::{Name, ShortName};
use crate::policy::{Limit, LimitKind, Spent};
use crate::time::{Lifetime, Time};

/// What counts for `per_hour`, in seconds.
const HOUR: u32 = 3_600;

/// What rows with limits leave to a user name, as of a number of the ledger. The recording
/// transaction holds a certificate against it. The default is that of a decision without limits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allowance {
    /// Everything up to this number was counted.
    as_of: i64,
    /// How many certificates each row may still give.
    left: Vec<(ShortName, u32)>,
}

/// What counting came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Counted {
    /// Every row may give one more.
    Left(Allowance),
    /// These may not.
    UsedUp(Vec<Spent>),
}

/// What is ordered by time to tell when one of so many passes.
struct Way {
    select: &'static str,
    latest: &'static str,
}

static BY_END: Way = Way {
    select: "SELECT c.not_after AS at FROM (",
    latest: ") k CROSS JOIN certificates c WHERE c.number = k.number ORDER BY c.not_after DESC LIMIT ",
};
static BY_TIME: Way = Way {
    select: "SELECT e.at AS at FROM (",
    latest: ") k CROSS JOIN events e WHERE e.number = k.number ORDER BY e.at DESC LIMIT ",
};

impl super::Store {
    /// Counts what the rows of `limits` gave to `user`, as their names are stamped on the records.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`.
    pub async fn allowance(&self, user: &Name, limits: &[Limit], now: Time) -> Result<Counted, StoreError> {
        let as_of = self.newest_number().await?;
        let (mut left, mut used_up) = (Vec::new(), Vec::new());
        for limit in limits {
            let active = self.active(user, limit, as_of, now).await?;
            let hourly = self.hourly(user, limit, as_of, now).await?;
            let counted: Vec<Count> = active.into_iter().chain(hourly).collect();
            match counted.iter().filter_map(|count| count.spent(&limit.row)).max_by_key(|spent| spent.until) {
                Some(spent) => used_up.push(spent),
                None => left.extend(counted.iter().map(|count| (limit.row.clone(), count.left()))),
            }
        }
        if !used_up.is_empty() {
            return Ok(Counted::UsedUp(used_up));
        }
        Ok(Counted::Left(Allowance { as_of, left }))
    }

    /// The certificates that still live, by their end.
    async fn active(
        &self,
        user: &Name,
        limit: &Limit,
        as_of: i64,
        now: Time,
    ) -> Result<Option<Count>, StoreError> {
        let Some(most) = limit.max_active else { return Ok(None) };
        let filter = CertificateFilter { expires_after: Some(now), ..of(user, &limit.row) };
        let ends = self.latest(filter, &BY_END, as_of, most).await?;
        // A certificate is valid in the second of its notAfter.
        let passes = |end: Time| end.after(Lifetime::from_seconds(1));
        Ok(Some(Count {
            kind: LimitKind::Active(most),
            most,
            passing: ends.into_iter().map(passes).collect(),
        }))
    }

    /// The certificates of the last hour, by their time.
    async fn hourly(
        &self,
        user: &Name,
        limit: &Limit,
        as_of: i64,
        now: Time,
    ) -> Result<Option<Count>, StoreError> {
        let Some(most) = limit.per_hour else { return Ok(None) };
        let since = now.before(i64::from(HOUR) - 1);
        let filter = CertificateFilter { issued_after: Some(since), ..of(user, &limit.row) };
        let times = self.latest(filter, &BY_TIME, as_of, most).await?;
        let passes = |at: Time| at.after(Lifetime::from_seconds(HOUR));
        Ok(Some(Count {
            kind: LimitKind::PerHour(most),
            most,
            passing: times.into_iter().map(passes).collect(),
        }))
    }

    /// The latest `most` times of what the filter finds up to `as_of`.
    async fn latest(
        &self,
        filter: CertificateFilter,
        way: &'static Way,
        as_of: i64,
        most: u32,
    ) -> Result<Vec<Time>, StoreError> {
        let span = Span { below: as_of.saturating_add(1), ..Span::all(Order::NewestFirst, u32::MAX) };
        self.read(move |connection| {
            Box::pin(async move {
                let search = filter.timed_search(connection).await?;
                let path = search.path(&mut *connection, span).await?;
                let mut select = Statement::new(way.select);
                search.push_all_numbers(&mut select, path, span);
                select.push(way.latest).bind(most);
                let rows = select.all(connection).await?;
                rows.iter().map(|row| Cells::new(row, "certificates", "at").time("at")).collect()
            })
        })
        .await
    }
}

fn of(user: &Name, row: &ShortName) -> CertificateFilter {
    let (user, policy) = (Some(user.to_string()), Some(row.to_string()));
    CertificateFilter { user, policy, ..CertificateFilter::default() }
}

/// What counts against one limit of a row.
struct Count {
    kind: LimitKind,
    most: u32,
    /// When each of the latest `most` no longer counts, the last one first.
    passing: Vec<Time>,
}

impl Count {
    fn left(&self) -> u32 {
        self.most.saturating_sub(u32::try_from(self.passing.len()).unwrap_or(u32::MAX))
    }

    /// Where nothing is left: until the earliest of the latest `most` no longer counts.
    fn spent(&self, row: &ShortName) -> Option<Spent> {
        let until = self.passing.last().filter(|_| self.left() == 0)?;
        Some(Spent { row: row.clone(), limit: self.kind, until: *until })
    }
}

/// Certificates that were recorded after allowances were counted, those of the batch included.
#[derive(Debug, Default)]
pub(super) struct Since {
    /// Their numbers, by user name and row.
    numbers: HashMap<(String, String), Vec<i64>>,
}

impl Since {
    /// Looks for those that count against an allowance of `issuances`; without one, does nothing.
    pub(super) async fn load(
        connection: &mut Connection,
        issuances: &[&Issuance],
    ) -> Result<Self, StoreError> {
        let mut wanted: BTreeMap<(&str, &str), i64> = BTreeMap::new();
        for issuance in issuances {
            let as_of = issuance.allowance.as_of;
            for (row, _) in &issuance.allowance.left {
                let above = wanted.entry((user(issuance), row.as_str())).or_insert(as_of);
                *above = as_of.min(*above);
            }
        }
        let wanted: Vec<((&str, &str), i64)> = wanted.into_iter().collect();
        let mut since = Self::default();
        for chunk in chunks(&wanted) {
            let select = later(chunk);
            for row in select.all(&mut *connection).await? {
                let cells = Cells::new(&row, "certificates", "number");
                let of = (cells.text("user_name")?, cells.text("policy")?);
                since.numbers.entry(of).or_default().push(cells.integer("number")?);
            }
        }
        Ok(since)
    }

    /// Whether what was recorded since leaves nothing of the allowance of `issuance`.
    pub(super) fn used_up(&self, issuance: &Issuance) -> bool {
        let Allowance { as_of, left } = &issuance.allowance;
        left.iter().any(|(row, left)| {
            let numbers = self.numbers.get(&(user(issuance).to_owned(), row.to_string()));
            let later = numbers.into_iter().flatten().filter(|number| *number > as_of).count();
            u32::try_from(later).is_ok_and(|later| later >= *left)
        })
    }

    /// Notes `issuance` under its number, for what comes after it in the batch.
    pub(super) fn add(&mut self, issuance: &Issuance, number: i64) {
        // A row with two limits is there twice.
        let rows: BTreeSet<&ShortName> = issuance.allowance.left.iter().map(|(row, _)| row).collect();
        for row in rows {
            self.numbers.entry((user(issuance).to_owned(), row.to_string())).or_default().push(number);
        }
    }
}

/// What was recorded after these numbers for each user name and row.
pub(super) fn later<'w>(wanted: &[((&'w str, &'w str), i64)]) -> Statement<'w> {
    let mut select = Statement::new("WITH wanted (user_name, policy, above) AS (VALUES ");
    select.tuples(wanted.iter().map(|((user, row), above)| [(*user).into(), (*row).into(), (*above).into()]));
    // CROSS JOIN, so that SQLite begins with the few that are wanted.
    select.push(
        ") SELECT w.user_name, w.policy, c.number FROM wanted w CROSS JOIN names n \
         CROSS JOIN certificates c CROSS JOIN name_list_members m WHERE n.name = w.policy \
         AND c.user_name = w.user_name AND c.number > w.above AND m.name_id = n.id AND m.list_id = c.policies_id",
    );
    select
}

fn user(issuance: &Issuance) -> &str {
    issuance.signed.approved().user().as_str()
}
