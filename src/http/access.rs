//! Who may come in.

use crate::app::AppError;
use crate::auth::{Credential, Roles};

/// What a route asks of its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nothing.
    Open,
    /// A credential, whatever its roles.
    Caller,
    /// A certificate of ours, and nothing else does.
    Renewal,
    /// The role requester.
    Requester,
    /// The role requester (own records) or auditor (all records).
    Records,
    /// The role requester (for itself), auditor or admin (for anyone).
    Evaluator,
    /// The role requester (own requests), approver (those that name it) or auditor (all).
    Requests,
    /// The role approver.
    Approver,
    /// The role auditor.
    Auditor,
    /// The role auditor or admin.
    PolicyReader,
    /// The role admin.
    Admin,
}

impl Access {
    /// The roles of which each one opens the route; none where every credential does.
    #[must_use]
    pub const fn roles(self) -> &'static [&'static str] {
        match self {
            Self::Open | Self::Caller | Self::Renewal => &[],
            Self::Requester => &["requester"],
            Self::Records => &["requester", "auditor"],
            Self::Evaluator => &["requester", "auditor", "admin"],
            Self::Requests => &["requester", "auditor", "approver"],
            Self::Approver => &["approver"],
            Self::Auditor => &["auditor"],
            Self::PolicyReader => &["auditor", "admin"],
            Self::Admin => &["admin"],
        }
    }

    /// Lets a certificate of ours through to renewal and to nothing else, and nothing else to that.
    ///
    /// # Errors
    /// [`AppError::RenewalOnly`], [`AppError::CertificateRequired`].
    pub fn takes(self, credential: &Credential) -> Result<(), AppError> {
        match (self == Self::Renewal, matches!(credential, Credential::Certificate(_))) {
            (true, true) | (false, false) => Ok(()),
            (true, false) => Err(AppError::CertificateRequired),
            (false, true) => Err(AppError::RenewalOnly),
        }
    }

    /// Lets `roles` through or says which one is missing.
    ///
    /// # Errors
    /// [`AppError::RoleMissing`].
    pub fn admit(self, roles: Roles) -> Result<(), AppError> {
        let (admitted, missing) = match self {
            Self::Open | Self::Caller | Self::Renewal => (true, ""),
            Self::Requester => (roles.requester, "requester"),
            Self::Records => (roles.requester || roles.auditor, "requester or auditor"),
            Self::Evaluator => {
                (roles.requester || roles.auditor || roles.admin, "requester, auditor or admin")
            }
            Self::Requests => {
                (roles.requester || roles.auditor || roles.approver, "requester, auditor or approver")
            }
            Self::Approver => (roles.approver, "approver"),
            Self::Auditor => (roles.auditor, "auditor"),
            Self::PolicyReader => (roles.auditor || roles.admin, "auditor or admin"),
            Self::Admin => (roles.admin, "admin"),
        };
        if admitted { Ok(()) } else { Err(AppError::RoleMissing(missing)) }
    }
}
