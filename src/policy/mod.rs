//! Rows, patterns and the decision. Pure: no I/O, no clock, no framework.
//!
//! [`PolicySet::decide`] is the only place that makes an [`Approved`].

mod callers;
mod check;
mod claims;
pub mod decision;
pub mod file;
mod index;
mod lifetime;
mod limits;
mod nearest;
pub mod pattern;
pub mod permissions;
mod refusal;
pub mod reserved;
pub mod row;
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
pub use file::PolicyFile;
pub use limits::{Limit, LimitKind, Spent};
pub use permissions::Permission;
pub use row::{Effect, PolicyRow};
pub use set::{ClusterRules, Clusters, PolicySet, RowError};
