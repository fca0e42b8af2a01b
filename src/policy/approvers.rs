//! Who may approve: entries of `approvers`, and the one who approves.

use std::fmt;

use super::callers::{CallerPattern, CallerPatternError, Subject};
use super::pattern::Star;
use crate::caller::{Caller, CallerGroup, CallerKind};

/// What an approver on the command line begins with.
const OPERATOR: &str = "cli:";

/// The longest name of a user of the operating system, in bytes.
const LONGEST_USER: usize = 64;

/// Who approves: a caller with the role, or a user of the operating system on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Approver {
    /// Over HTTP, with the groups that its credential showed.
    Caller(Caller),
    /// On the command line.
    Operator(String),
}

impl Approver {
    /// Reads what [`fmt::Display`] wrote, with the groups that were recorded beside it. None for
    /// what is neither a caller nor an operator: such an approval counts for nothing.
    #[must_use]
    pub fn parse(text: &str, groups: &[String]) -> Option<Self> {
        if let Some(user) = text.strip_prefix(OPERATOR) {
            return Some(Self::Operator(user.to_owned()));
        }
        let groups = groups.iter().map(|group| CallerGroup::parse(group).ok()).collect::<Option<_>>()?;
        Some(Self::Caller(Caller { groups, ..Caller::parse(text).ok()? }))
    }
}

impl fmt::Display for Approver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Caller(caller) => caller.fmt(f),
            Self::Operator(user) => write!(f, "{OPERATOR}{user}"),
        }
    }
}

/// One entry of `approvers`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ApproverPattern {
    Caller(CallerPattern),
    /// Spelled out: whoever runs the command line with this account.
    Operator(String),
}

impl ApproverPattern {
    /// Reads an entry as in `callers`, or `cli:USER`. As in an allow row a star crosses no colon:
    /// the entry gives a right.
    ///
    /// # Errors
    /// As for [`CallerPattern::parse`]; a `cert`, which never has a role; a user that is a pattern.
    pub(super) fn parse(text: &str) -> Result<Self, ApproverPatternError> {
        if let Some(user) = text.strip_prefix(OPERATOR) {
            return operator(user);
        }
        let pattern = CallerPattern::parse(text, Star::Segment)?;
        if pattern.subject == Subject::Caller(CallerKind::Certificate) {
            return Err(ApproverPatternError::Certificate);
        }
        Ok(Self::Caller(pattern))
    }

    pub(super) fn names(&self, approver: &Approver) -> bool {
        match (self, approver) {
            (Self::Caller(pattern), Approver::Caller(caller)) => pattern.matches(caller),
            (Self::Operator(named), Approver::Operator(user)) => named == user,
            _ => false,
        }
    }

    /// Whether it names one approver and no more.
    pub(super) fn is_one(&self) -> bool {
        match self {
            Self::Operator(_) => true,
            Self::Caller(pattern) => pattern.subject != Subject::Group && !pattern.name.has_star(),
        }
    }

    pub(super) fn caller(&self) -> Option<&CallerPattern> {
        match self {
            Self::Caller(pattern) => Some(pattern),
            Self::Operator(_) => None,
        }
    }
}

/// Why a text is no entry of `approvers`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ApproverPatternError {
    #[error("a certificate of ours opens renewal only, so it approves nothing")]
    Certificate,
    #[error(
        "an approver on the command line is one user of the operating system, spelled out as in cli:root"
    )]
    Operator,
    #[error(transparent)]
    Caller(#[from] CallerPatternError),
}

fn operator(user: &str) -> Result<ApproverPattern, ApproverPatternError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '@' | '$');
    if user.is_empty() || user.len() > LONGEST_USER || !user.chars().all(plain) {
        return Err(ApproverPatternError::Operator);
    }
    Ok(ApproverPattern::Operator(user.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::testing::{oidc, portal};

    fn names(pattern: &str, approver: &Approver) -> bool {
        ApproverPattern::parse(pattern).expect(pattern).names(approver)
    }

    #[test]
    fn a_caller_is_named_by_itself_a_pattern_or_a_group() {
        let token = Approver::Caller(portal());
        let person = Approver::Caller(oidc("corp", "alice", &["sec", "ops"]));
        assert!(names("token:portal", &token) && names("token:*", &token) && names("token:por*", &token));
        assert!(!names("token:other", &token) && !names("oidc:corp:portal", &token));
        assert!(names("oidc:corp:alice", &person) && names("group:corp:sec", &person));
        assert!(!names("group:other:sec", &person) && !names("oidc:other:*", &person));
        assert!(!names("token:alice", &person) && !names("cli:alice", &person));
    }

    #[test]
    fn a_star_crosses_no_colon() {
        let person = Approver::Caller(oidc("gh", "repo:app", &[]));
        assert!(!names("oidc:gh:*", &person) && names("oidc:gh:repo:*", &person));
    }

    #[test]
    fn a_user_of_the_operating_system_is_spelled_out() {
        let root = Approver::Operator("root".to_owned());
        assert!(names("cli:root", &root));
        assert!(!names("cli:rooty", &root) && !names("token:*", &root) && !names("token:root", &root));
        for wrong in ["cli:", "cli:*", "cli:r*", "cli:{caller}", "cli:a:b", "cli:a b", "cli:ä"] {
            assert_eq!(ApproverPattern::parse(wrong), Err(ApproverPatternError::Operator), "{wrong}");
        }
    }

    #[test]
    fn a_certificate_approves_nothing() {
        let error = ApproverPattern::parse("cert:prod:alice");
        assert_eq!(error, Err(ApproverPatternError::Certificate));
        assert!(matches!(ApproverPattern::parse("alice"), Err(ApproverPatternError::Caller(_))));
    }

    #[test]
    fn what_was_recorded_is_read_back() {
        let groups = ["group:corp:sec".to_owned()];
        let person = Approver::Caller(oidc("corp", "alice", &["sec"]));
        assert_eq!(Approver::parse(&person.to_string(), &groups), Some(person));
        let root = Approver::Operator("root".to_owned());
        assert_eq!(Approver::parse("cli:root", &[]), Some(root));
        assert_eq!(Approver::parse("alice", &[]), None);
        assert_eq!(Approver::parse("token:a", &["sec".to_owned()]), None);
    }
}
