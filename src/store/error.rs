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
    /// The policy row says something else than what was seen, or is gone: 412.
    #[error("{}", row_moved(name, *since))]
    RowMoved {
        /// The row's name.
        name: String,
        /// The revision since when it says what it says now; none where it is gone.
        since: Option<i64>,
    },
    /// There is a policy row of this name already: 412.
    #[error("there is a policy `{0}` already: read it, then change it with If-Match")]
    RowExists(String),
    /// A whole set leaves out or changes policy rows that are held: 409.
    #[error("{}", rows_held(.0))]
    RowsHeld(Vec<String>),
    /// A token was made or revoked since the caller was checked: check it again.
    #[error("the tokens changed meanwhile")]
    Stale,
    /// A name, lock or mark that exists already (409); the text says which.
    #[error("{0}")]
    Conflict(String),
}

fn row_moved(name: &str, since: Option<i64>) -> String {
    match since {
        Some(since) => {
            format!("policy `{name}` was changed at revision {since}: read it again, then change it")
        }
        None => format!("there is no policy `{name}`: to make one, send If-None-Match: *"),
    }
}

fn rows_held(names: &[String]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    let first = names.first().map_or("", String::as_str);
    let (are, them) = if names.len() == 1 { ("policy", "it") } else { ("policies", "them") };
    format!(
        "this set leaves out or changes the held {are} {}: keep {them} as written, or change {them} by name, with \
         `countersign policy apply --release {first}` or with PUT or DELETE /v1/policies/{first}",
        quoted.join(", ")
    )
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
    /// A limit of a deciding row was used up meanwhile: count and decide again.
    LimitReached,
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
