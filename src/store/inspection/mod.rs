//! The ledger as it lies there, for a checker that trusts nothing: plain cells, page by page, up to
//! the last number of the moment at which the check began. A row that cannot be read says why and
//! does not stop the others.

mod certificates;
mod events;
mod lists;
mod overview;
mod refusals;

pub use certificates::StoredCertificate;
pub use events::StoredEvent;
pub use lists::StoredList;
pub use overview::{Overview, StoredAuthority, StoredPolicy};
pub use refusals::StoredRefusal;

use super::StoreError;
use crate::time::Time;

/// A row of a page.
#[derive(Debug)]
pub struct Inspected<T> {
    /// Its place in commit order.
    pub number: i64,
    /// What it holds, or the cell that cannot be read.
    pub row: Result<T, StoreError>,
}

/// The event that stands under the number of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventOfRecord {
    /// Its time.
    pub at: Time,
    /// As in `crate::audit::EventKind`, by its number.
    pub kind: i64,
    /// The number of the caller's name.
    pub caller_id: i64,
}
