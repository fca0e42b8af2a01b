//! Requests that were refused.

use super::batch::{Verdict, Work};
use super::cells::Cells;
use super::certificate_filter::{
    CALLER, CALLER_TEST, CLUSTER, CLUSTER_TEST, GROUPS, POLICIES, period, push_own, push_times,
};
use super::certificates::proof;
use super::connection::Connection;
use super::engine::Engine;
use super::lifetimes::Validity;
use super::own::Own;
use super::row::Row;
use super::search::{Lead, Path, Search, Table};
use super::snapshot::Revisions;
use super::statement::Statement;
use super::times::{Numbers, numbers};
use super::{RefusalError, Span, StoreError, events};
use crate::audit::{EventKind, Origin};
use crate::time::{Lifetime, Time};

/// A refusal to keep. Everything in it is bounded by whoever makes it: names to 253 bytes, at most
/// 100 groups.
#[derive(Clone, Debug)]
pub struct RefusalToRecord {
    /// The time of the decision.
    pub at: Time,
    /// Who asked, from where.
    pub origin: Origin,
    /// The cluster that was asked for.
    pub cluster: Option<String>,
    /// The asked user name. None where the CSR could not be read that far.
    pub user: Option<String>,
    /// The asked groups.
    pub groups: Vec<String>,
    /// The person that a portal named.
    pub on_behalf_of: Option<String>,
    /// Whose own token showed that the named person is behind it, as the event says it.
    pub proof: Option<serde_json::Value>,
    /// Why, in the requester's words.
    pub reason: Option<String>,
    /// As in [`crate::pki::key::KeyDescription::kind`].
    pub key_kind: Option<String>,
    /// SHA-256 of the asked key's SPKI.
    pub spki_sha256: Option<[u8; 32]>,
    /// The lifetime that was asked for, if one was.
    pub asked_ttl: Option<Lifetime>,
    /// The error's stable code.
    pub code: String,
    /// The error's sentence.
    pub detail: String,
    /// `violations[]` as sent.
    pub violations: serde_json::Value,
    /// The policy revision that decided.
    pub policy_revision: i64,
    /// The rows that decided, by name.
    pub policies: Vec<String>,
    /// Compared as for an issuance. Not kept: of a refusal that was read back it says the policy
    /// revision and nothing else.
    pub seen: Revisions,
}

/// A refusal as it was recorded.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// Its place in commit order.
    pub number: i64,
    /// What was recorded.
    pub record: RefusalToRecord,
}

/// Which refusals are wanted: those that match all that is given.
#[derive(Clone, Debug, Default)]
pub struct RefusalFilter {
    /// The asked user name, exactly.
    pub user: Option<String>,
    /// One of the asked groups, exactly.
    pub group: Option<String>,
    /// The cluster's name.
    pub cluster: Option<String>,
    /// Who asked, as `token:portal`.
    pub caller: Option<String>,
    /// Whose own they must be.
    pub own: Option<Own>,
    /// The person that was named.
    pub on_behalf_of: Option<String>,
    /// One of the deciding rows.
    pub policy: Option<String>,
    /// The error's code.
    pub code: Option<String>,
    /// At this time or later.
    pub after: Option<Time>,
    /// Before this time, exclusive.
    pub before: Option<Time>,
}

impl super::Store {
    /// Hands the refusal to the writer and returns its number after the commit.
    ///
    /// # Errors
    /// As [`RefusalError`] says; nothing was recorded.
    pub async fn record_refusal(&self, refusal: RefusalToRecord) -> Result<i64, RefusalError> {
        let work = Work::Refusal(Box::new(refusal));
        let (_, verdict) = self.queue().record(work).await.map_err(RefusalError::Store)?;
        match verdict {
            Verdict::Recorded(number) => Ok(number),
            Verdict::Stale => Err(RefusalError::Stale),
            Verdict::ClockBehind(newest) => Err(RefusalError::ClockBehind { newest }),
            Verdict::ClockOff(database) => Err(RefusalError::ClockOff { database }),
            Verdict::Failed(error) => Err(RefusalError::Store(error)),
            other => {
                Err(RefusalError::Store(StoreError::Corrupt(format!("a refusal was refused: {other:?}"))))
            }
        }
    }

    /// A page of the refusals that match.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`.
    pub async fn refusals(
        &self,
        filter: &RefusalFilter,
        page: impl Into<Span>,
    ) -> Result<Vec<Refusal>, StoreError> {
        let (filter, span) = (filter.clone(), page.into());
        self.read(move |connection| {
            Box::pin(async move {
                let search = filter.timed_search(connection).await?;
                let path = search.path(&mut *connection, span).await?;
                let rows = search.rows(connection, path, span, select).await?;
                let mut rows = rows.iter().map(read).collect::<Result<Vec<_>, _>>()?;
                span.sort(&mut rows, |row| row.number);
                Ok(rows)
            })
        })
        .await
    }
}

const COLUMNS: &str = "SELECT r.number, r.user_name, r.on_behalf_of, r.reason, r.key_kind, \
     r.spki_sha256, r.asked_ttl, r.code, r.detail, r.violations, r.policy_revision, \
     cluster.name AS cluster, g.names AS group_names, p.names AS policy_names, e.at, \
     caller.name AS caller, e.caller_groups, e.request_id, e.client_request_id, e.address, \
     e.detail AS event_detail";

/// Outer joins, so that no engine begins with another table than the one that is paged.
const JOINS: &str = " LEFT JOIN events e ON e.number = r.number \
     LEFT JOIN names caller ON caller.id = e.caller_id \
     LEFT JOIN names cluster ON cluster.id = r.cluster_id \
     LEFT JOIN name_lists g ON g.id = r.groups_id \
     LEFT JOIN name_lists p ON p.id = r.policies_id";

static TABLE: Table =
    Table { from: " FROM refusals c", behind_lists: " FROM name_list_members m CROSS JOIN refusals c" };

/// The rows of a page's numbers, in no order.
pub(super) fn select<'f>(search: &Search<'f>, path: Path, span: Span) -> Statement<'f> {
    let mut select = Statement::new(COLUMNS);
    select.push(" FROM (");
    search.push_numbers(&mut select, path, span);
    select.push(") k CROSS JOIN refusals r").push(JOINS).push(" WHERE r.number = k.number");
    select
}

impl RefusalFilter {
    /// The search, its times turned into numbers.
    pub(super) async fn timed_search(&self, connection: &mut Connection) -> Result<Search<'_>, StoreError> {
        let mut search = Search { engine: connection.engine(), ..self.search() };
        let period = [period(self.after, self.before)];
        if let Some(found) = numbers(connection, EventKind::RequestRefused, &period).await?.first() {
            search.numbers = *found;
        }
        search.bounded(connection).await
    }

    /// The search, over all numbers.
    pub(super) fn search(&self) -> Search<'_> {
        let mut tests = Vec::new();
        push_times(&mut tests, self.after, self.before);
        push_own(&mut tests, self.own.as_ref());
        Search {
            table: &TABLE,
            leads: self.leads(),
            tests,
            validity: Validity::default(),
            classes: Vec::new(),
            numbers: Numbers { above: 0, below: i64::MAX },
            unique: false,
            engine: Engine::Sqlite,
        }
    }

    fn leads(&self) -> Vec<Lead<'_>> {
        let mut leads = Vec::new();
        if let Some(user) = &self.user {
            leads.push(Lead::plain("c.user_name = ", "c.user_name || '' = ", user));
        }
        if let Some(person) = &self.on_behalf_of {
            leads.push(Lead::plain("c.on_behalf_of = ", "c.on_behalf_of || '' = ", person));
        }
        if let Some(name) = &self.group {
            leads.push(Lead::listed(GROUPS, name));
        }
        if let Some(name) = &self.policy {
            leads.push(Lead::listed(POLICIES, name));
        }
        if let Some(code) = &self.code {
            leads.push(Lead::plain("c.code = ", "c.code || '' = ", code));
        }
        if let Some(name) = self.caller.as_deref().or_else(|| self.own.as_ref()?.only_name()) {
            leads.push(Lead::name(CALLER, CALLER_TEST, name));
        }
        if let Some(name) = &self.cluster {
            leads.push(Lead::name(CLUSTER, CLUSTER_TEST, name));
        }
        leads
    }
}

fn read(row: &Row) -> Result<Refusal, StoreError> {
    let cells = Cells::new(row, "refusals", "number");
    let policy_revision = cells.integer("policy_revision")?;
    let record = RefusalToRecord {
        at: cells.time("at")?,
        origin: events::origin(&cells)?,
        cluster: cells.optional_text("cluster")?,
        user: cells.optional_text("user_name")?,
        groups: cells.json("group_names")?,
        on_behalf_of: cells.optional_text("on_behalf_of")?,
        proof: proof(&cells)?,
        reason: cells.optional_text("reason")?,
        key_kind: cells.optional_text("key_kind")?,
        spki_sha256: cells.optional_octets("spki_sha256")?,
        asked_ttl: cells.optional_lifetime("asked_ttl")?,
        code: cells.text("code")?,
        detail: cells.text("detail")?,
        violations: cells.json("violations")?,
        policy_revision,
        policies: cells.json("policy_names")?,
        seen: Revisions { policy: policy_revision, ..Revisions::default() },
    };
    Ok(Refusal { number: cells.integer("number")?, record })
}
