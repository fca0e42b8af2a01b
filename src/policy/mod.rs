//! Rows, patterns and the decision. Pure: no I/O, no clock, no framework.
//!
//! [`PolicySet::decide`] is the only place that makes an [`Approved`]. [`PolicySet::would`] gives the
//! same decision as words, for questions that nobody signs.

mod callers;
mod check;
pub mod choices;
mod claims;
pub mod decision;
pub mod explain;
pub mod file;
mod index;
mod lifetime;
mod limits;
mod nearest;
pub mod pattern;
pub mod permissions;
pub mod question;
mod refusal;
pub mod reserved;
pub mod row;
mod row_set;
mod rule;
pub mod set;
mod windows;

#[cfg(test)]
mod conditions;
#[cfg(test)]
mod look_alikes;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod testing;

pub use decision::{Approved, Ask, Claim, Refusal, Refused, Violation};
pub use explain::{Audience, Explanation};
pub use file::PolicyFile;
pub use lifetime::SetBy;
pub use limits::{Limit, LimitKind, Spent};
pub use permissions::Permission;
pub use question::{Moment, Question, Verdict};
pub use row::{Effect, PolicyRow};
pub use set::{ClusterRules, Clusters, PolicySet, RowError};
