//! Why the ledger did not do what it was asked. Nothing was released.

use crate::time::Time;

/// Why the store did not do it. Nothing was released.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database does not answer, is full, read-only or locked: 503, try again.
    #[error("the ledger cannot be reached: {0}")]
    Unavailable(String),
    /// The writer's queue is full: 503, try again.
    #[error("too many requests wait for the ledger: try again")]
    Busy,
    /// A row or schema that this program did not write. Names table, row and column.
    #[error("the ledger holds something unexpected, run `countersign check`: {0}")]
    Corrupt(String),
    /// A migration was run that this program does not know.
    #[error("the database's schema is newer than this program, run a newer one: {0}")]
    NewerSchema(String),
    /// The policy set is at another revision than the one that was expected: 412.
    #[error("the policy set is at revision {current} now: read it again")]
    RevisionMoved {
        /// The revision that holds.
        current: i64,
    },
    /// A token was made or revoked since the caller was checked: check it again.
    #[error("the tokens changed meanwhile")]
    Stale,
    /// A name, lock or mark that exists already (409); the text says which.
    #[error("{0}")]
    Conflict(String),
}

/// Why an issuance was not recorded.
#[derive(Debug)]
pub enum RecordError {
    /// The policy set, a token or the blocked keys changed since the snapshot: decide again.
    Stale,
    /// This serial exists under this CA: sign again under another.
    SerialTaken,
    /// The key is certified for another user.
    KeyOwned,
    /// The key is on the blocklist.
    KeyBlocked,
    /// The idempotency key was used meanwhile: look it up again.
    IdempotencyKeyTaken,
    /// The held request that is collected is not approved any more: look at it again.
    RequestMoved,
    /// The time of the record is over 60 s before the newest one.
    ClockBehind {
        /// The newest record's time.
        newest: Time,
    },
    /// The time of the record is over 60 s from the database's own clock.
    ClockOff {
        /// The database's time.
        database: Time,
    },
    /// The database did not take it.
    Store(StoreError),
}

/// Why a refusal was not recorded.
#[derive(Debug)]
pub enum RefusalError {
    /// As for an issuance: decide again.
    Stale,
    /// The time of the record is over 60 s before the newest one.
    ClockBehind {
        /// The newest record's time.
        newest: Time,
    },
    /// The time of the record is over 60 s from the database's own clock.
    ClockOff {
        /// The database's time.
        database: Time,
    },
    /// The database did not take it.
    Store(StoreError),
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::ColumnDecode { .. }
            | sqlx::Error::ColumnNotFound(_)
            | sqlx::Error::Decode(_)
            | sqlx::Error::RowNotFound => Self::Corrupt(error.to_string()),
            sqlx::Error::PoolTimedOut => Self::Unavailable("no connection became free in time".to_owned()),
            sqlx::Error::PoolClosed => Self::closed(),
            other => Self::Unavailable(other.to_string()),
        }
    }
}

impl StoreError {
    /// The store was closed, or its writer is gone.
    pub(super) fn closed() -> Self {
        Self::Unavailable("it is closed".to_owned())
    }
}
