//! Reading and changing the policy set, as a whole or row by row.

use std::sync::Arc;

use crate::audit::Origin;
use crate::auth::Principal;
use crate::pki::name::ShortName;
use crate::policy::{Difference, PolicyRow, PolicySet};
use crate::replay::{self, Drift, Options, Sets, report::Plan};
use crate::store::StoreError;
use crate::store::policies::{Expected, HeldSince, PolicyChange, PolicyEdit, Replacement, Seen};
use crate::time::Time;

use super::{ATTEMPTS, App, AppError};

/// How many certificates, and how many questions, a plan shows one by one.
const SHOWN: usize = 1_000;

/// What `If-Match` says, and `If-None-Match` of a write to one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfMatch {
    /// No such header.
    Absent,
    /// `If-None-Match: *`: there is no such row yet.
    Nothing,
    /// `*`: whatever the revision.
    Any,
    /// The `ETag` of that revision.
    Revision(i64),
    /// Something that is no `ETag` of ours, and so matches nothing.
    Other,
}

impl App {
    /// The set of `revision`, or the current one; for an admin or an auditor.
    ///
    /// # Errors
    /// `RoleMissing`; `NotFound` for a revision that never was; `LedgerUnavailable`.
    pub async fn policies(
        &self,
        principal: &Principal,
        revision: Option<i64>,
    ) -> Result<(i64, Vec<PolicyRow>), AppError> {
        if !principal.roles.admin && !principal.roles.auditor {
            return Err(AppError::RoleMissing("auditor"));
        }
        let found = self.store.policies(revision).await?;
        found.ok_or_else(|| AppError::NotFound("there is no such revision of the policy set".to_owned()))
    }

    /// One row of the current set, for an admin or an auditor.
    ///
    /// # Errors
    /// `RoleMissing`; `NotFound`; `LedgerUnavailable`.
    pub async fn policy(&self, principal: &Principal, name: &str) -> Result<HeldSince, AppError> {
        if !principal.roles.admin && !principal.roles.auditor {
            return Err(AppError::RoleMissing("auditor"));
        }
        let missing = || AppError::NotFound("there is no policy of that name".to_owned());
        let name = ShortName::parse(name).map_err(|_| missing())?;
        self.store.policy(&name).await?.ok_or_else(missing)
    }

    /// Whether this caller may replace the set that `if_match` names. Asked before the body is read.
    ///
    /// # Errors
    /// `RoleMissing`, `IfMatchRequired`, `RevisionMismatch`.
    pub async fn may_replace_policies(
        &self,
        principal: &Principal,
        if_match: IfMatch,
    ) -> Result<Seen, AppError> {
        if !principal.roles.admin {
            return Err(AppError::RoleMissing("admin"));
        }
        let current = self.store.revisions().await?.policy;
        match if_match {
            IfMatch::Absent => Err(AppError::IfMatchRequired),
            IfMatch::Any => Ok(Seen::Nothing),
            IfMatch::Revision(revision) if revision == current => Ok(Seen::Set(revision)),
            IfMatch::Revision(_) | IfMatch::Nothing | IfMatch::Other => {
                Err(AppError::RevisionMismatch { current })
            }
        }
    }

    /// Whether this caller may change the row `name` as `if_match` knows it. Asked before the body
    /// is read; the transaction asks again.
    ///
    /// # Errors
    /// `RoleMissing`, `IfMatchRequired`, `PolicyMoved`, `PolicyExists`.
    pub async fn may_edit_policy(
        &self,
        principal: &Principal,
        name: &ShortName,
        if_match: IfMatch,
    ) -> Result<Seen, AppError> {
        if !principal.roles.admin {
            return Err(AppError::RoleMissing("admin"));
        }
        let seen = match if_match {
            IfMatch::Absent => return Err(AppError::IfMatchRequired),
            IfMatch::Nothing => Seen::Absent,
            IfMatch::Any => Seen::Present,
            IfMatch::Revision(revision) => Seen::Row(revision),
            // No revision is negative.
            IfMatch::Other => Seen::Row(-1),
        };
        let held = self.store.policy(name).await?;
        let moved = |since| Err(StoreError::RowMoved { name: name.to_string(), since }.into());
        match (seen, held) {
            (Seen::Absent, Some(_)) => Err(StoreError::RowExists(name.to_string()).into()),
            (Seen::Row(_) | Seen::Present, None) => moved(None),
            (Seen::Row(revision), Some(held)) if !(held.since..=held.current).contains(&revision) => {
                moved(Some(held.since))
            }
            _ => Ok(seen),
        }
    }

    /// Replaces the whole set by `rows`, in one transaction.
    ///
    /// # Errors
    /// As [`App::may_replace_policies`]; `PolicyInvalid` with everything that is wrong; `PolicyHeld`.
    pub async fn replace_policies(
        &self,
        principal: &Principal,
        origin: &Origin,
        if_match: IfMatch,
        rows: Vec<PolicyRow>,
    ) -> Result<PolicyChange, AppError> {
        let seen = self.may_replace_policies(principal, if_match).await?;
        self.compiled(rows.clone()).await?;
        let edit = PolicyEdit::Replace(Replacement { rows, ..Replacement::default() });
        self.edit_policies(principal, origin, edit, seen).await
    }

    /// Writes the row `row`, in one transaction. It must be named as the path names it.
    ///
    /// # Errors
    /// As [`App::may_edit_policy`]; `PolicyInvalid` with everything that is wrong.
    pub async fn put_policy(
        &self,
        principal: &Principal,
        origin: &Origin,
        (name, if_match): (&ShortName, IfMatch),
        row: PolicyRow,
    ) -> Result<PolicyChange, AppError> {
        let seen = self.may_edit_policy(principal, name, if_match).await?;
        if row.name != *name {
            let reason = format!("the path names the policy `{name}`, and the body `{}`", row.name);
            return Err(AppError::PolicyInvalid(vec![reason]));
        }
        self.compiled(vec![row.clone()]).await?;
        self.edit_policies(principal, origin, PolicyEdit::Put(Box::new(row)), seen).await
    }

    /// Takes the row `name` away, in one transaction.
    ///
    /// # Errors
    /// As [`App::may_edit_policy`].
    pub async fn remove_policy(
        &self,
        principal: &Principal,
        origin: &Origin,
        name: &ShortName,
        if_match: IfMatch,
    ) -> Result<PolicyChange, AppError> {
        let seen = self.may_edit_policy(principal, name, if_match).await?;
        self.edit_policies(principal, origin, PolicyEdit::Remove(name.clone()), seen).await
    }

    /// What the set `rows` would change: rows, live certificates, and how many of the last `replay`
    /// decisions. Nothing is changed.
    ///
    /// # Errors
    /// `PolicyInvalid` with everything that is wrong; `LedgerUnavailable`.
    pub async fn plan_policies(
        &self,
        origin: &Origin,
        rows: Vec<PolicyRow>,
        replay: u64,
    ) -> Result<Plan, AppError> {
        let planned = Arc::new(self.compiled(rows.clone()).await?);
        let state = self.refresh().await?;
        // Whoever plans reads records of others, whatever the role.
        let (path, question) = ("/v1/policies/plan", format!("replay={replay}"));
        self.reads.note(origin, path, &question, self.clock.now(), &self.metrics);
        let difference = Difference::between(&state.snapshot.rows, &rows);
        let sets = Sets::new(planned, Arc::clone(&state.policies), &state.served.rules, self.clock.now());
        let options = Options { replay, shown: SHOWN };
        Ok(replay::plan(&self.store, sets, difference, options, |_| {}).await?)
    }

    /// Today's set, to look for live certificates that it would no longer give.
    ///
    /// # Errors
    /// `LedgerUnavailable`.
    pub async fn drift(&self, now: Time) -> Result<Drift, AppError> {
        let state = self.refresh().await?;
        Ok(Drift::new(Arc::clone(&state.policies), &state.served.rules, now))
    }

    /// `rows` as a set of their own, checked as rows that somebody writes.
    ///
    /// # Errors
    /// `PolicyInvalid` with everything that is wrong.
    pub(super) async fn compiled(&self, rows: Vec<PolicyRow>) -> Result<PolicySet, AppError> {
        let rules = Arc::clone(&self.state().served.rules);
        tokio::task::spawn_blocking(move || PolicySet::compile(0, rows, &rules))
            .await
            .map_err(|_| AppError::Internal("compiling the policies broke off".to_owned()))?
            .map_err(|errors| AppError::PolicyInvalid(errors.iter().map(ToString::to_string).collect()))
    }

    /// The transaction sees to it that no token was made or revoked since the caller's was looked
    /// at; where one was, it is looked at again.
    async fn edit_policies(
        &self,
        principal: &Principal,
        origin: &Origin,
        edit: PolicyEdit,
        seen: Seen,
    ) -> Result<PolicyChange, AppError> {
        for _ in 0..ATTEMPTS {
            let state = self.refresh().await?;
            let now = self.clock.now();
            self.recheck(principal, &state, now)?;
            let expected = Expected { seen, tokens: Some(state.snapshot.revisions.tokens) };
            match self.store.edit_policies(edit.clone(), expected, now, origin).await {
                Err(StoreError::Stale) => {}
                Err(error) => return Err(error.into()),
                Ok(change) => return Ok(self.taken_over(change).await),
            }
        }
        Err(AppError::PolicyChanging)
    }

    /// The change is committed, whatever comes of taking it over here; the next look does.
    async fn taken_over(&self, change: PolicyChange) -> PolicyChange {
        if let Err(error) = self.refresh().await {
            tracing::warn!(%error, "a new policy set is not yet taken over here");
        }
        change
    }
}
