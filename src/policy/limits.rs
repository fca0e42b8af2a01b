//! How often an allow row gives: what the ledger counts before such a decision stands.

use crate::pki::name::ShortName;
use crate::time::Time;

/// How many certificates one row gives to one user name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// The row.
    pub row: ShortName,
    /// How many of them may live at once.
    pub max_active: Option<u32>,
    /// How many in an hour.
    pub per_hour: Option<u32>,
}

/// One of a row's two limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitKind {
    /// `max_active`.
    Active(u32),
    /// `per_hour`.
    PerHour(u32),
}

/// A row that has given to a user name what it may: it allows nothing more for now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spent {
    /// The row.
    pub row: ShortName,
    /// The limit that is used up.
    pub limit: LimitKind,
    /// The first moment at which it may give again.
    pub until: Time,
}
