//! When each token was last used: noted in memory, written once a minute.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::App;
use crate::time::Time;

/// The last use of each secret since it was last written, by its id. Bounded, because only what
/// authenticated is noted.
#[derive(Debug, Default)]
pub(super) struct TokenUses(Mutex<HashMap<String, Time>>);

impl TokenUses {
    /// That the secret `id` was used.
    pub(super) fn note(&self, id: &str, now: Time) {
        let mut uses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match uses.get_mut(id) {
            Some(last) => *last = (*last).max(now),
            None => drop(uses.insert(id.to_owned(), now)),
        }
    }

    fn take(&self) -> Vec<(String, Time)> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_iter().collect()
    }
}

impl App {
    /// Writes what was noted. To be called once a minute, and at the end.
    pub async fn write_token_uses(&self) {
        let uses = self.token_uses.take();
        if uses.is_empty() {
            return;
        }
        // The next use of the same token is noted again; only a token that rests looks unused.
        if let Err(error) = self.store.record_token_uses(uses).await {
            tracing::warn!(%error, "when tokens were last used could not be written");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_use_of_each_is_kept_until_it_is_taken() {
        let uses = TokenUses::default();
        for (id, at) in [("a", 5), ("a", 9), ("b", 7), ("a", 8)] {
            uses.note(id, Time::from_unix(at));
        }
        let mut taken = uses.take();
        taken.sort();
        assert_eq!(taken, [("a".to_owned(), Time::from_unix(9)), ("b".to_owned(), Time::from_unix(7))]);
        assert!(uses.take().is_empty());
    }
}
