//! Rows, patterns and the decision. Pure: no I/O, no clock, no framework.
//!
//! [`PolicySet::decide`] and [`PolicySet::decide_reviewed`] are the only places that make an [`Approved`].

mod approvers;
mod callers;
mod check;
mod claims;
pub mod decision;
pub mod file;
mod index;
mod lifetime;
mod nearest;
pub mod pattern;
pub mod permissions;
pub mod person;
mod refusal;
pub mod reserved;
pub mod review;
pub mod row;
mod rule;
pub mod set;

#[cfg(test)]
mod look_alikes;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod testing;

pub use approvers::Approver;
pub use decision::{Approved, Ask, Claim, Decision, Held, Refusal, Refused, Violation};
pub use file::PolicyFile;
pub use permissions::{Permission, ReviewNeeded};
pub use person::Person;
pub use review::{Approval, Evidence, Objection, ReviewRow, Standing, Version};
pub use row::{Effect, PolicyRow};
pub use set::{ClusterRules, Clusters, PolicySet, RowError};
