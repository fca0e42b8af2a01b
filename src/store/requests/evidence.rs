//! What was approved, as evidence for a decision taken again. The only place that makes any.

use std::collections::{BTreeSet, HashMap};

use super::people::People;
use super::{HeldId, HeldRequest, RecordedApproval, reading};
use crate::policy::{Approval, Approver, Evidence, Person, PolicyRow, ReviewRow, Version};
use crate::store::cells::Cells;
use crate::store::connection::Connection;
use crate::store::statement::{Statement, chunks};
use crate::store::tokens::{self, TokenRecord};
use crate::store::{Store, StoreError, identities};
use crate::time::Time;

/// The role of a token that approves.
const ROLE: &str = "approver";

impl Store {
    /// A request with what was approved of it, of one moment.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`.
    pub async fn request_with_evidence(
        &self,
        id: HeldId,
        now: Time,
    ) -> Result<Option<(HeldRequest, Evidence)>, StoreError> {
        self.view(move |connection| Box::pin(load(connection, id, now))).await
    }
}

pub(super) async fn load(
    connection: &mut Connection,
    id: HeldId,
    now: Time,
) -> Result<Option<(HeldRequest, Evidence)>, StoreError> {
    let Some(request) = reading::by_id(connection, id, now).await? else { return Ok(None) };
    let documents = Documents::load(connection, std::slice::from_ref(&request)).await?;
    let evidence = documents.evidence(&request, now);
    Ok(Some((request, evidence)))
}

/// What tells who somebody is, and who wrote which row.
#[derive(Default)]
pub(super) struct Documents {
    /// By id.
    tokens: HashMap<String, TokenRecord>,
    /// By name, the newest first.
    versions: HashMap<String, Vec<Version>>,
    /// Names of approvers that belong to a subject, with the numbers since when.
    bound: HashMap<String, i64>,
    people: People,
}

impl Documents {
    pub(super) async fn load(
        connection: &mut Connection,
        requests: &[HeldRequest],
    ) -> Result<Self, StoreError> {
        if requests.is_empty() {
            return Ok(Self::default());
        }
        let tokens = tokens::all(connection).await?;
        let rows = requests.iter().flat_map(|request| &request.reviews);
        let names: BTreeSet<&str> = rows.map(|row| row.name.as_str()).collect();
        let written = written(connection, &names).await?;
        let approvals = requests.iter().flat_map(|request| &request.approvals);
        let approvers: BTreeSet<&str> =
            approvals.clone().map(|approval| approval.approver.as_str()).collect();
        let approvers = approvers.into_iter().filter(|approver| identities::may_be_bound(approver));
        let bound = identities::bound(connection, approvers).await?;
        let people = People::load(connection, callers(requests, &written, &tokens)).await?;
        let mut versions: HashMap<String, Vec<Version>> = HashMap::new();
        for (name, Written { from, until, row, author }) in written {
            let author = people.person(&author, owner(&author, &tokens));
            versions.entry(name).or_default().push(Version { from, until, row, author });
        }
        let tokens = tokens.into_iter().map(|token| (token.id.clone(), token)).collect();
        Ok(Self { tokens, versions, bound, people })
    }

    /// Of a request that is open, only approvals whose credential holds at `now`.
    pub(super) fn evidence(&self, request: &HeldRequest, now: Time) -> Evidence {
        let review = |row: &PolicyRow| ReviewRow {
            row: row.clone(),
            versions: self.versions.get(row.name.as_str()).cloned().unwrap_or_default(),
        };
        let counted = |approval: &&RecordedApproval| !request.state.is_open() || self.holds(approval, now);
        let asking = self.people.person(&request.origin.caller, Some(&request.owner));
        let named =
            std::iter::once(&request.user).chain(&request.on_behalf_of).map(|name| Person::named(name));
        Evidence::recorded(
            request.reviews.iter().map(review).collect(),
            request.lifetime,
            named.fold(asking, Person::or),
            request.approvals.iter().filter(counted).filter_map(|approval| self.approval(approval)).collect(),
        )
    }

    /// Whether every review row is in force as it was when the request was held.
    pub(super) fn are_in_force(&self, rows: &[PolicyRow]) -> bool {
        rows.iter().all(|row| {
            let newest = self.versions.get(row.name.as_str()).and_then(|versions| versions.first());
            newest.is_some_and(|version| version.until.is_none() && version.row == *row)
        })
    }

    /// On the command line there is no credential but the account, and one of an issuer ends soon: its
    /// name must still be the same subject's.
    fn holds(&self, approval: &RecordedApproval, now: Time) -> bool {
        let Some(id) = &approval.token_id else {
            let bound = || self.bound.get(&approval.approver).is_some_and(|since| *since < approval.number);
            return !identities::may_be_bound(&approval.approver) || bound();
        };
        self.tokens.get(id).is_some_and(|token| {
            token.revoked_at.is_none()
                && token.expires_at > now
                && Some(&token.owner) == approval.owner.as_ref()
                && token.roles.iter().any(|role| role == ROLE)
        })
    }

    fn approval(&self, recorded: &RecordedApproval) -> Option<Approval> {
        let approver = Approver::parse(&recorded.approver, &recorded.groups)?;
        let person = self.people.person(&recorded.approver, recorded.owner.as_deref());
        Some(Approval { approver, person })
    }
}

/// Everybody who asked, approved or wrote a row, and who answers for their credentials.
fn callers<'r>(
    requests: &'r [HeldRequest],
    written: &'r [(String, Written)],
    tokens: &'r [TokenRecord],
) -> BTreeSet<&'r str> {
    let mut callers = BTreeSet::new();
    for request in requests {
        callers.extend([request.origin.caller.as_str(), &request.owner]);
        for approval in &request.approvals {
            callers.extend([approval.approver.as_str()].into_iter().chain(approval.owner.as_deref()));
        }
    }
    callers.extend(written.iter().map(|(_, version)| version.author.as_str()));
    callers.extend(tokens.iter().map(|token| token.owner.as_str()));
    callers
}

/// Adds to each request what was approved of it.
pub(super) async fn load_approvals(
    connection: &mut Connection,
    requests: &mut [HeldRequest],
) -> Result<(), StoreError> {
    let mut found: HashMap<i64, Vec<RecordedApproval>> = HashMap::new();
    let numbers: Vec<i64> = requests.iter().map(|request| request.number).collect();
    for chunk in chunks(&numbers) {
        let mut select = Statement::new(APPROVALS);
        select.list(chunk.iter().map(|number| (*number).into())).push(") ORDER BY a.number");
        for row in select.all(&mut *connection).await? {
            let cells = Cells::new(&row, "request_approvals", "number");
            let approval = RecordedApproval {
                number: cells.integer("number")?,
                at: cells.time("at")?,
                approver: cells.text("approver")?,
                groups: cells.optional_json("caller_groups")?.unwrap_or_default(),
                owner: cells.optional_text("owner")?,
                token_id: cells.optional_text("token_id")?,
                comment: cells.optional_text("comment")?,
            };
            found.entry(cells.integer("request")?).or_default().push(approval);
        }
    }
    for request in requests {
        request.approvals = found.remove(&request.number).unwrap_or_default();
    }
    Ok(())
}

const APPROVALS: &str = "SELECT a.number, a.request, a.token_id, a.owner, a.comment, e.at, e.caller_groups, \
     n.name AS approver FROM request_approvals a LEFT JOIN events e ON e.number = a.number \
     LEFT JOIN names n ON n.id = e.caller_id WHERE a.request IN (";

/// One version of a row, and the caller who wrote it.
struct Written {
    from: i64,
    until: Option<i64>,
    row: PolicyRow,
    author: String,
}

/// Every version of these rows by name, the newest first.
async fn written(
    connection: &mut Connection,
    names: &BTreeSet<&str>,
) -> Result<Vec<(String, Written)>, StoreError> {
    let names: Vec<&str> = names.iter().copied().collect();
    let mut versions = Vec::new();
    for chunk in chunks(&names) {
        let mut select = Statement::new(VERSIONS);
        select.list(chunk.iter().map(|name| (*name).into())).push(") ORDER BY v.from_revision DESC");
        for row in select.all(&mut *connection).await? {
            let cells = Cells::new(&row, "policies", "name");
            let version = Written {
                from: cells.integer("from_revision")?,
                until: cells.optional_integer("until_revision")?,
                row: cells.json("body")?,
                author: cells.text("author")?,
            };
            versions.push((cells.text("name")?, version));
        }
    }
    Ok(versions)
}

const VERSIONS: &str = "SELECT v.name, v.from_revision, v.until_revision, v.body, n.name AS author \
     FROM policies v LEFT JOIN policy_revisions r ON r.revision = v.from_revision \
     LEFT JOIN events e ON e.number = r.number LEFT JOIN names n ON n.id = e.caller_id WHERE v.name IN (";

/// A token's name is never given twice, so it says whose it was.
fn owner<'t>(caller: &str, tokens: &'t [TokenRecord]) -> Option<&'t str> {
    let name = caller.strip_prefix("token:")?;
    tokens.iter().find(|token| token.name.as_str() == name).map(|token| token.owner.as_str())
}
