//! Keyset pages, newest first, by number. Rows that are added while somebody pages neither repeat
//! nor lose one.

/// At most `limit` rows with numbers below `before`.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    /// The number of the last row of the page before; exclusive. None: from the newest row on.
    pub before: Option<i64>,
    /// How many rows at most.
    pub limit: u32,
}

impl Page {
    /// The bound for `number < $n`: above every number where there is none.
    pub(super) fn bound(self) -> i64 {
        self.before.unwrap_or(i64::MAX)
    }
}
