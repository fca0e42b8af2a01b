//! What deciding needs, read in one view: the policy rows, the tokens, the blocked keys, and their
//! revisions.

use std::collections::{HashMap, HashSet};

use super::state::State;
use super::tokens::TokenRecord;
use super::{StoreError, identities, keys, policies, tokens};
use crate::policy::PolicyRow;

/// Compared in the recording transaction with the one row of `state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Revisions {
    /// Grows with every change of the policy set.
    pub policy: i64,
    /// Grows with every token that is made, rotated or revoked.
    pub tokens: i64,
    /// Grows with every key that is blocked or unblocked.
    pub blocked_keys: i64,
}

/// All of it, as it stood at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Of what follows.
    pub revisions: Revisions,
    /// The policy set, sorted by name.
    pub rows: Vec<PolicyRow>,
    /// Every secret of every token, those of revoked ones too, by its id.
    pub tokens: HashMap<String, TokenRecord>,
    /// SHA-256 of the SPKI of every blocked key.
    pub blocked_keys: HashSet<[u8; 32]>,
    /// The numbers of bindings of names to subjects that hold no more.
    pub released: HashSet<i64>,
}

impl super::Store {
    /// The revisions that hold now: a change of a command beside the server shows here.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`.
    pub async fn revisions(&self) -> Result<Revisions, StoreError> {
        Ok(self.state().await?.revisions)
    }

    /// Everything that deciding needs, of one moment.
    ///
    /// # Errors
    /// `Unavailable`, `Corrupt`.
    pub async fn snapshot(&self) -> Result<Snapshot, StoreError> {
        self.view(|connection| {
            Box::pin(async move {
                let engine = connection.engine();
                let revisions = State::load(engine, &mut *connection).await?.revisions;
                let rows = policies::of_revision(connection, revisions.policy).await?;
                let tokens = tokens::all(connection).await?;
                let blocked_keys = keys::all(connection).await?;
                let released = identities::released(connection).await?;
                Ok(Snapshot {
                    released,
                    revisions,
                    rows,
                    tokens: tokens.into_iter().map(|token| (token.id.clone(), token)).collect(),
                    blocked_keys: blocked_keys.into_iter().map(|key| key.spki_sha256).collect(),
                })
            })
        })
        .await
    }
}
