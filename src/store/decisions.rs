//! What decisions were taken on, for who takes them again. Rows are light: names are numbers, which
//! are looked up once each, so that a million decisions are read in seconds.

use std::collections::HashMap;

use super::cells::Cells;
use super::row::Row;
use super::search::{Path, Search};
use super::statement::{Statement, repeated};
use super::{CertificateFilter, RefusalFilter, Span, Store, StoreError};
use crate::time::Time;

/// A certificate or refusal, as far as a policy looks at it. What is not there could not be read.
#[derive(Clone, Debug)]
pub struct Decision {
    /// Its place in commit order.
    pub number: i64,
    /// When it was taken.
    pub at: Time,
    /// The number of the caller's name.
    pub caller: i64,
    /// The caller's groups, as one JSON array.
    pub caller_groups: Option<String>,
    /// The number of the cluster's name.
    pub cluster: Option<i64>,
    /// The user name.
    pub user: Option<String>,
    /// The number of the list of groups.
    pub groups: i64,
    /// As in [`crate::pki::key::KeyKind::as_str`], for a key that is accepted.
    pub key_kind: Option<String>,
    /// The person that a portal named.
    pub on_behalf_of: Option<String>,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A certificate with this notAfter.
    Issued(Time),
    /// A refusal with this code.
    Refused(String),
}

impl Store {
    /// A page of the certificates that match.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`.
    pub async fn issued_decisions(
        &self,
        filter: &CertificateFilter,
        span: Span,
    ) -> Result<Vec<Decision>, StoreError> {
        let filter = filter.clone();
        self.read(move |connection| {
            Box::pin(async move {
                let search = filter.timed_search(connection).await?;
                let path = search.path(&mut *connection, span).await?;
                let rows = search.rows(connection, path, span, certificates).await?;
                decisions(&rows, span, |cells| Ok(Outcome::Issued(cells.time("not_after")?)))
            })
        })
        .await
    }

    /// A page of all refusals.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`.
    pub async fn refused_decisions(&self, span: Span) -> Result<Vec<Decision>, StoreError> {
        self.read(move |connection| {
            Box::pin(async move {
                let filter = RefusalFilter::default();
                let search = filter.search();
                let path = search.path(&mut *connection, span).await?;
                let rows = search.rows(connection, path, span, refusals).await?;
                decisions(&rows, span, |cells| Ok(Outcome::Refused(cells.text("code")?)))
            })
        })
        .await
    }

    /// The names of these numbers.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`.
    pub async fn names_of(&self, numbers: &[i64]) -> Result<HashMap<i64, String>, StoreError> {
        let read = |cells: &Cells<'_>| cells.text("name");
        self.looked_up("SELECT id, name FROM names WHERE id IN (", numbers, read).await
    }

    /// The lists of names of these numbers.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`.
    pub async fn name_lists_of(&self, numbers: &[i64]) -> Result<HashMap<i64, Vec<String>>, StoreError> {
        let read = |cells: &Cells<'_>| cells.json("names");
        self.looked_up("SELECT id, names FROM name_lists WHERE id IN (", numbers, read).await
    }

    async fn looked_up<T>(
        &self,
        select: &'static str,
        numbers: &[i64],
        read: impl Fn(&Cells<'_>) -> Result<T, StoreError>,
    ) -> Result<HashMap<i64, T>, StoreError> {
        let mut found = HashMap::with_capacity(numbers.len());
        for chunk in repeated(numbers) {
            let mut select = Statement::new(select);
            select.list(chunk.into_iter().map(Into::into)).push(")");
            for row in select.all(&self.connections().readers).await? {
                found.insert(row.try_get("id")?, read(&Cells::new(&row, "names", "id"))?);
            }
        }
        Ok(found)
    }
}

const CERTIFICATES: &str = "SELECT c.number, e.at, c.caller_id, e.caller_groups, c.cluster_id, c.user_name, \
     c.groups_id, c.key_kind, c.on_behalf_of, c.not_after FROM (";
const OF_CERTIFICATES: &str = ") k CROSS JOIN certificates c LEFT JOIN events e ON e.number = c.number \
     WHERE c.number = k.number";
const REFUSALS: &str = "SELECT r.number, e.at, r.caller_id, e.caller_groups, r.cluster_id, r.user_name, \
     r.groups_id, r.key_kind, r.on_behalf_of, r.code FROM (";
const OF_REFUSALS: &str = ") k CROSS JOIN refusals r LEFT JOIN events e ON e.number = r.number \
     WHERE r.number = k.number";

fn certificates<'f>(search: &Search<'f>, path: Path, span: Span) -> Statement<'f> {
    let mut select = Statement::new(CERTIFICATES);
    search.push_numbers(&mut select, path, span);
    select.push(OF_CERTIFICATES);
    select
}

fn refusals<'f>(search: &Search<'f>, path: Path, span: Span) -> Statement<'f> {
    let mut select = Statement::new(REFUSALS);
    search.push_numbers(&mut select, path, span);
    select.push(OF_REFUSALS);
    select
}

fn decisions(
    rows: &[Row],
    span: Span,
    outcome: fn(&Cells<'_>) -> Result<Outcome, StoreError>,
) -> Result<Vec<Decision>, StoreError> {
    let mut decisions = rows.iter().map(|row| read(row, outcome)).collect::<Result<Vec<Decision>, _>>()?;
    span.sort(&mut decisions, |decision| decision.number);
    Ok(decisions)
}

fn read(row: &Row, outcome: fn(&Cells<'_>) -> Result<Outcome, StoreError>) -> Result<Decision, StoreError> {
    let cells = Cells::new(row, "records", "number");
    Ok(Decision {
        number: cells.integer("number")?,
        at: cells.time("at")?,
        caller: cells.integer("caller_id")?,
        caller_groups: cells.optional_text("caller_groups")?,
        cluster: cells.optional_integer("cluster_id")?,
        user: cells.optional_text("user_name")?,
        groups: cells.integer("groups_id")?,
        key_kind: cells.optional_text("key_kind")?,
        on_behalf_of: cells.optional_text("on_behalf_of")?,
        outcome: outcome(&cells)?,
    })
}
