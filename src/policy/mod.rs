//! Rows, patterns and the decision. Pure: no I/O, no clock, no framework.
//!
//! [`PolicySet::decide`] and [`PolicySet::decide_reviewed`] are the only places that make an [`Approved`].
//! [`PolicySet::would`] gives the same decision as words, for questions that nobody signs.

mod approvers;
pub mod bindings;
pub mod callers;
pub mod cases;
mod check;
pub mod choices;
mod claims;
pub mod decision;
pub mod difference;
pub mod explain;
pub mod file;
mod index;
mod lifetime;
mod limits;
pub mod lint;
mod nearest;
pub mod pattern;
pub mod permissions;
pub mod person;
pub mod question;
mod refusal;
pub mod reserved;
pub mod review;
pub mod row;
mod row_set;
mod rule;
pub mod set;
mod supposed;
mod windows;

#[cfg(test)]
mod conditions;
#[cfg(test)]
mod look_alikes;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod testing;

pub use approvers::Approver;
pub use decision::{Approved, Ask, Claim, Decision, Held, Refusal, Refused, Violation};
pub use difference::Difference;
pub use explain::{Audience, Explanation};
pub use file::PolicyFile;
pub use lifetime::SetBy;
pub use limits::{Limit, LimitKind, Spent};
pub use permissions::{Permission, ReviewNeeded};
pub use person::Person;
pub use question::{Moment, Question, Verdict};
pub use review::{Approval, Evidence, Objection, ReviewRow, Standing, Version};
pub use row::{Effect, PolicyRow};
pub use set::{ClusterRules, Clusters, PolicySet, RowError};
pub use supposed::{SupposedProof, claims_once};
