//! What the ledger holds about one user, summed up.

use std::collections::BTreeMap;

use super::StoreError;
use super::cells::Cells;
use super::connection::Connection;
use super::own::Own;
use super::row::Row;
use super::statement::Statement;
use crate::time::Time;

/// What a user had of one group, or got from one caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// How many records.
    pub count: i64,
    /// The time of the first.
    pub first: Time,
    /// The time of the last.
    pub last: Time,
    /// The latest notAfter; of certificates only.
    pub valid_until: Option<Time>,
}

impl Share {
    fn and(self, other: Self) -> Self {
        Self {
            count: self.count.saturating_add(other.count),
            first: self.first.min(other.first),
            last: self.last.max(other.last),
            valid_until: self.valid_until.max(other.valid_until),
        }
    }
}

/// Everything about one user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserSummary {
    /// How many certificates there are.
    pub certificates: i64,
    /// How many refusals.
    pub refusals: i64,
    /// The groups in certificates, over time.
    pub groups: BTreeMap<String, Share>,
    /// Who got certificates for this user.
    pub callers: BTreeMap<String, Share>,
    /// Who asked and was refused.
    pub refused_callers: BTreeMap<String, Share>,
}

impl super::Store {
    /// What there is about `user`, or what of it is somebody's own.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`.
    pub async fn user_summary(&self, user: &str, own: Option<&Own>) -> Result<UserSummary, StoreError> {
        let (user, own) = (user.to_owned(), own.cloned());
        self.read(move |connection| Box::pin(async move { summary(connection, &user, own.as_ref()).await }))
            .await
    }
}

async fn summary(
    connection: &mut Connection,
    user: &str,
    own: Option<&Own>,
) -> Result<UserSummary, StoreError> {
    let mut summary = UserSummary::default();
    for row in of(GROUPS, user, own).all(&mut *connection).await? {
        let cells = Cells::new(&row, "certificates", "label");
        let share = share(&cells)?;
        summary.certificates = summary.certificates.saturating_add(share.count);
        for group in cells.json::<Vec<String>>("label")? {
            add(&mut summary.groups, group, share);
        }
    }
    for row in of(CALLERS, user, own).all(&mut *connection).await? {
        let (caller, share) = named(&row)?;
        add(&mut summary.callers, caller, share);
    }
    for row in of(REFUSED, user, own).all(&mut *connection).await? {
        let (caller, share) = named(&row)?;
        summary.refusals = summary.refusals.saturating_add(share.count);
        add(&mut summary.refused_callers, caller, share);
    }
    Ok(summary)
}

/// A statement: what it selects up to the user's name, and how it groups.
type Words = [&'static str; 2];

const GROUPS: Words = [
    "SELECT g.names AS label, count(*) AS found, min(e.at) AS first_at, max(e.at) AS last_at, \
     max(c.not_after) AS valid_until FROM certificates c JOIN events e ON e.number = c.number \
     JOIN name_lists g ON g.id = c.groups_id WHERE c.user_name = ",
    " GROUP BY g.names",
];
const CALLERS: Words = [
    "SELECT n.name AS label, count(*) AS found, min(e.at) AS first_at, max(e.at) AS last_at, \
     max(c.not_after) AS valid_until FROM certificates c JOIN events e ON e.number = c.number \
     JOIN names n ON n.id = c.caller_id WHERE c.user_name = ",
    " GROUP BY n.name",
];
const REFUSED: Words = [
    "SELECT n.name AS label, count(*) AS found, min(e.at) AS first_at, max(e.at) AS last_at, \
     CAST(NULL AS BIGINT) AS valid_until FROM refusals c JOIN events e ON e.number = c.number \
     JOIN names n ON n.id = c.caller_id WHERE c.user_name = ",
    " GROUP BY n.name",
];

fn of<'f>([select, group]: Words, user: &'f str, own: Option<&'f Own>) -> Statement<'f> {
    let mut statement = Statement::new(select);
    statement.bind(user);
    if let Some(own) = own {
        own.push_test(&mut statement);
    }
    statement.push(group);
    statement
}

fn named(row: &Row) -> Result<(String, Share), StoreError> {
    let cells = Cells::new(row, "names", "label");
    Ok((cells.text("label")?, share(&cells)?))
}

fn share(cells: &Cells<'_>) -> Result<Share, StoreError> {
    Ok(Share {
        count: cells.integer("found")?,
        first: cells.time("first_at")?,
        last: cells.time("last_at")?,
        valid_until: cells.optional_time("valid_until")?,
    })
}

fn add(shares: &mut BTreeMap<String, Share>, name: String, share: Share) {
    shares.entry(name).and_modify(|known| *known = known.and(share)).or_insert(share);
}
