//! Rows, patterns and the decision. Pure: no I/O, no clock, no framework.
//!
//! [`PolicySet::decide`] is the only place that makes an [`Approved`]. [`PolicySet::would`] gives the
//! same decision as words, for questions that nobody signs.

pub mod bindings;
mod callers;
pub mod cases;
mod check;
mod claims;
pub mod decision;
pub mod difference;
pub mod file;
mod index;
mod lifetime;
pub mod lint;
mod nearest;
pub mod pattern;
pub mod permissions;
pub mod question;
mod refusal;
pub mod reserved;
pub mod row;
mod rule;
pub mod set;

#[cfg(test)]
mod look_alikes;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod testing;

pub use decision::{Approved, Ask, Claim, Refusal, Refused, Violation};
pub use difference::Difference;
pub use file::PolicyFile;
pub use permissions::Permission;
pub use question::{Question, Verdict};
pub use row::{Effect, PolicyRow};
pub use set::{ClusterRules, Clusters, PolicySet, RowError};
