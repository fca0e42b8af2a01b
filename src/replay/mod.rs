//! Decisions of the ledger, taken again under a policy set. Nothing is signed and nothing written.
//!
//! A ledger says the same over and over: each distinct question is decided once, by the one
//! decision that there is. The CAs' ends are left out: they are no matter of policy.
//!
//! - `decider`: questions and what is said to them.
//! - `walk`: reads the ledger's decisions, page by page, while the page before is decided.
//! - [`plan`](plan()): what a new set would change. [`Drift`]: what today's set has changed already.

mod decider;
mod drift;
mod plan;
pub mod report;
mod walk;

pub use decider::Sets;
pub use drift::Drift;
pub use plan::{Options, Step, plan};
