//! Reading and replacing the policy set.

use std::sync::Arc;

use crate::audit::Origin;
use crate::auth::{self, Principal};
use crate::policy::{PolicyRow, PolicySet};
use crate::store::StoreError;
use crate::store::policies::PolicyChange;

use super::{ATTEMPTS, App, AppError};

/// What `If-Match` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfMatch {
    /// No such header.
    Absent,
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

    /// Whether this caller may replace the set that `if_match` names. Asked before the body is read.
    ///
    /// # Errors
    /// `RoleMissing`, `IfMatchRequired`, `RevisionMismatch`.
    pub async fn may_replace_policies(
        &self,
        principal: &Principal,
        if_match: IfMatch,
    ) -> Result<(), AppError> {
        if !principal.roles.admin {
            return Err(AppError::RoleMissing("admin"));
        }
        let current = self.store.revisions().await?.policy;
        match if_match {
            IfMatch::Absent => Err(AppError::IfMatchRequired),
            IfMatch::Revision(revision) if revision != current => Err(AppError::RevisionMismatch { current }),
            IfMatch::Other => Err(AppError::RevisionMismatch { current }),
            IfMatch::Any | IfMatch::Revision(_) => Ok(()),
        }
    }

    /// Replaces the whole set by `rows`, in one transaction.
    ///
    /// # Errors
    /// As [`App::may_replace_policies`]; `PolicyInvalid` with everything that is wrong.
    pub async fn replace_policies(
        &self,
        principal: &Principal,
        origin: &Origin,
        if_match: IfMatch,
        rows: Vec<PolicyRow>,
    ) -> Result<PolicyChange, AppError> {
        self.may_replace_policies(principal, if_match).await?;
        let (checked, rules) = (rows.clone(), Arc::clone(&self.rules));
        tokio::task::spawn_blocking(move || PolicySet::compile(0, checked, &rules))
            .await
            .map_err(|_| AppError::Internal("compiling the policies broke off".to_owned()))?
            .map_err(|errors| AppError::PolicyInvalid(errors.iter().map(ToString::to_string).collect()))?;
        let change = self.replace_under_a_live_token(principal, origin, if_match, &rows).await?;
        // It is committed, whatever comes of this; the next look takes it over.
        if let Err(error) = self.refresh().await {
            tracing::warn!(%error, "a new policy set is not yet taken over here");
        }
        Ok(change)
    }

    /// The transaction sees to it that no token was made or revoked since the caller's was looked
    /// at; where one was, it is looked at again.
    async fn replace_under_a_live_token(
        &self,
        principal: &Principal,
        origin: &Origin,
        if_match: IfMatch,
        rows: &[PolicyRow],
    ) -> Result<PolicyChange, AppError> {
        let expected = match if_match {
            IfMatch::Revision(revision) => Some(revision),
            _ => None,
        };
        for _ in 0..ATTEMPTS {
            let state = self.refresh().await?;
            let now = self.clock.now();
            auth::recheck(principal, &state.snapshot.tokens, now)?;
            let seen = Some(state.snapshot.revisions.tokens);
            match self.store.replace_policies(rows, expected, seen, now, origin).await {
                Err(StoreError::Stale) => {}
                other => return Ok(other?),
            }
        }
        Err(AppError::PolicyChanging)
    }
}
