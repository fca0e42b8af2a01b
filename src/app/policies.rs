//! Reading and replacing the policy set.

use crate::audit::Origin;
use crate::auth::Principal;
use crate::policy::{PolicyRow, PolicySet};
use crate::store::policies::PolicyChange;

use super::{App, AppError};

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
        PolicySet::compile(0, rows.clone(), &self.rules)
            .map_err(|errors| AppError::PolicyInvalid(errors.iter().map(ToString::to_string).collect()))?;
        let expected = match if_match {
            IfMatch::Revision(revision) => Some(revision),
            _ => None,
        };
        let change = self.store.replace_policies(&rows, expected, self.clock.now(), origin).await?;
        self.refresh().await?;
        Ok(change)
    }
}
