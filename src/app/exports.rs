//! How many exports run at once: all together, and of one caller.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many exports run at once: the ledger's other readers keep connections of their own.
const AT_ONCE: usize = 2;

/// The places of exports. One caller has one at most, so that a client that reads slowly keeps nobody
/// else out.
#[derive(Debug)]
pub struct Exports {
    places: Arc<Semaphore>,
    callers: Mutex<HashSet<String>>,
}

/// A place, given back when it is dropped.
#[derive(Debug)]
pub struct Export {
    all: Arc<Exports>,
    caller: String,
    _place: OwnedSemaphorePermit,
}

impl Default for Exports {
    fn default() -> Self {
        Self { places: Arc::new(Semaphore::new(AT_ONCE)), callers: Mutex::default() }
    }
}

impl Exports {
    /// A place for an export of `caller`; none where it has one, or where all are taken.
    pub fn take(self: &Arc<Self>, caller: &str) -> Option<Export> {
        let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        if callers.contains(caller) {
            return None;
        }
        let place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        callers.insert(caller.to_owned());
        Some(Export { all: Arc::clone(self), caller: caller.to_owned(), _place: place })
    }
}

impl Drop for Export {
    fn drop(&mut self) {
        self.all.callers.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.caller);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_caller_has_one_place_and_all_have_two() {
        let exports = Arc::new(Exports::default());
        let first = exports.take("token:a");
        assert!(first.is_some());
        assert!(exports.take("token:a").is_none());
        let second = exports.take("token:b");
        assert!(second.is_some());
        assert!(exports.take("token:c").is_none());
        drop(first);
        assert!(exports.take("token:b").is_none());
        assert!(exports.take("token:a").is_some());
    }
}
