//! Requests that were refused.

use sqlx::any::AnyRow;

use super::batch::{Verdict, Work};
use super::cells::Cells;
use super::snapshot::Revisions;
use super::statement::Statement;
use super::{Page, RefusalError, StoreError, events};
use crate::audit::Origin;
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

    /// A page of the refusals that match, newest first.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`.
    pub async fn refusals(&self, filter: &RefusalFilter, page: Page) -> Result<Vec<Refusal>, StoreError> {
        let rows = select(filter, page).all(&self.connections().readers).await?;
        rows.iter().map(read).collect()
    }
}

const COLUMNS: &str = "SELECT r.number, r.user_name, r.on_behalf_of, r.reason, r.key_kind, \
     r.spki_sha256, r.asked_ttl, r.code, r.detail, r.violations, r.policy_revision, \
     cluster.name AS cluster, g.names AS group_names, p.names AS policy_names, e.at, \
     caller.name AS caller, e.caller_groups, e.request_id, e.client_request_id, e.address";

/// Outer joins, so that no engine begins with another table than the one that is paged.
const JOINS: &str = " LEFT JOIN events e ON e.number = r.number \
     LEFT JOIN names caller ON caller.id = e.caller_id \
     LEFT JOIN names cluster ON cluster.id = r.cluster_id \
     LEFT JOIN name_lists g ON g.id = r.groups_id \
     LEFT JOIN name_lists p ON p.id = r.policies_id";

pub(super) fn select(filter: &RefusalFilter, page: Page) -> Statement<'_> {
    let mut select = Statement::new(COLUMNS);
    let order = push_from(&mut select, filter, page);
    push_names(&mut select, filter);
    if let Some(code) = &filter.code {
        select.push(" AND r.code = ").bind(code);
    }
    if let Some(after) = filter.after {
        select.push(" AND e.at >= ").bind(after);
    }
    if let Some(before) = filter.before {
        select.push(" AND e.at < ").bind(before);
    }
    select.push(order).bind(page.limit);
    select
}

/// Where paging begins: along the members of a group or policy, which have their numbers in order,
/// unless another filter leaves fewer rows. A caller does: whoever may see its own rows only must
/// not have those of all others read. Returns the end of the statement.
fn push_from<'f>(select: &mut Statement<'f>, filter: &'f RefusalFilter, page: Page) -> &'static str {
    let few = filter.user.is_some() || filter.caller.is_some() || filter.on_behalf_of.is_some();
    let (members, name) = match (&filter.group, &filter.policy) {
        (Some(group), _) if !few => (" FROM refusal_groups m", group),
        (None, Some(policy)) if !few => (" FROM refusal_policies m", policy),
        _ => {
            select.push(" FROM refusals r").push(JOINS).push(" WHERE r.number < ").bind(page.bound());
            return " ORDER BY r.number DESC LIMIT ";
        }
    };
    select.push(members).push(" CROSS JOIN refusals r").push(JOINS);
    select.push(" WHERE r.number = m.number AND m.name_id = (SELECT id FROM names WHERE name = ");
    select.bind(name).push(") AND m.number < ").bind(page.bound());
    " ORDER BY m.number DESC LIMIT "
}

fn push_names<'f>(select: &mut Statement<'f>, filter: &'f RefusalFilter) {
    if let Some(user) = &filter.user {
        select.push(" AND r.user_name = ").bind(user);
    }
    if let Some(on_behalf_of) = &filter.on_behalf_of {
        select.push(" AND r.on_behalf_of = ").bind(on_behalf_of);
    }
    if let Some(cluster) = &filter.cluster {
        select.push(" AND r.cluster_id = (SELECT id FROM names WHERE name = ").bind(cluster).push(")");
    }
    if let Some(caller) = &filter.caller {
        select.push(" AND r.caller_id = (SELECT id FROM names WHERE name = ").bind(caller).push(")");
    }
    if let Some(group) = &filter.group {
        select.push(" AND EXISTS (SELECT 1 FROM refusal_groups x WHERE x.number = r.number AND ");
        select.push("x.name_id = (SELECT id FROM names WHERE name = ").bind(group).push("))");
    }
    if let Some(policy) = &filter.policy {
        select.push(" AND EXISTS (SELECT 1 FROM refusal_policies x WHERE x.number = r.number AND ");
        select.push("x.name_id = (SELECT id FROM names WHERE name = ").bind(policy).push("))");
    }
}

fn read(row: &AnyRow) -> Result<Refusal, StoreError> {
    let cells = Cells::new(row, "refusals", "number");
    let policy_revision = cells.integer("policy_revision")?;
    let record = RefusalToRecord {
        at: cells.time("at")?,
        origin: events::origin(&cells)?,
        cluster: cells.optional_text("cluster")?,
        user: cells.optional_text("user_name")?,
        groups: cells.json("group_names")?,
        on_behalf_of: cells.optional_text("on_behalf_of")?,
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
