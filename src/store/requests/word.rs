//! What an approver says: yes or no.

use serde_json::json;

use super::closing::{Closing, close, lapse_due};
use super::evidence::{self, Documents};
use super::people::People;
use super::{HeldId, HeldRequest, HeldState, reading};
use crate::audit::{EventKind, Origin};
use crate::policy::{Approval, Approver, Evidence, Objection};
use crate::store::change::append_event;
use crate::store::connection::Connection;
use crate::store::state::State;
use crate::store::statement::Statement;
use crate::store::{Store, StoreError};
use crate::time::Time;

/// An approver's word.
#[derive(Clone, Debug)]
pub struct Word {
    /// Of which request.
    pub id: HeldId,
    /// Whose.
    pub approver: Approver,
    /// The token's id and who answers for it; none on the command line.
    pub credential: Option<(String, String)>,
    /// The token revision under which the approver was checked, where there is a token. Compared
    /// under the lock.
    pub seen_tokens: Option<i64>,
    /// What he says with it.
    pub comment: Option<String>,
    /// When.
    pub at: Time,
    /// From where.
    pub origin: Origin,
}

/// What came of a word.
#[derive(Debug)]
pub enum Said {
    /// It was taken; this is how the request stands now.
    Taken(Box<HeldRequest>),
    /// There is no such request, or no row of it names the approver.
    NotFound,
    /// It is no longer asked for a word.
    NotPending(HeldState),
    /// A review row is no longer what held it, so it is void now.
    Voided,
    /// His approval does not count.
    Objection(Box<HeldRequest>, Objection),
}

impl Store {
    /// Approves a pending request, with the event `request.approved`. The last approval that it wants
    /// makes it approved, in the same transaction.
    ///
    /// # Errors
    /// `Stale` unless the token revision is the one that was seen; `Unavailable`, `Corrupt`.
    pub async fn approve_request(&self, word: Word) -> Result<Said, StoreError> {
        self.change(move |connection| Box::pin(approve(connection, word))).await
    }

    /// Denies an open request, approved or not, with the event `request.denied`.
    ///
    /// # Errors
    /// As for [`Store::approve_request`].
    pub async fn deny_request(&self, word: Word) -> Result<Said, StoreError> {
        self.change(move |connection| Box::pin(deny(connection, word))).await
    }
}

async fn approve(connection: &mut Connection, word: Word) -> Result<Said, StoreError> {
    let mut state = begin(connection, &word).await?;
    let (request, evidence) = match asked(connection, &word).await? {
        Ok(found) => found,
        Err(said) => return end(connection, &state, said).await,
    };
    if request.state != HeldState::Pending {
        return end(connection, &state, Said::NotPending(request.state)).await;
    }
    let documents = Documents::load(connection, std::slice::from_ref(&request)).await?;
    if !documents.are_in_force(&request.reviews) {
        let void = Closing::voided(&request, "a review row is no longer what held it", word.at, &word.origin);
        close(connection, &mut state, void).await?;
        return end(connection, &state, Said::Voided).await;
    }
    let owner = word.credential.as_ref().map(|(_, owner)| owner.as_str());
    let approver = word.approver.clone();
    let caller = approver.to_string();
    let people = People::load(connection, owner.into_iter().chain([caller.as_str()]).collect()).await?;
    let approval = Approval { person: people.person(&caller, owner), approver };
    if let Some(objection) = evidence.objection(&approval) {
        return end(connection, &state, Said::Objection(Box::new(request), objection)).await;
    }
    insert(connection, &mut state, &request, &word).await?;
    if let Some((_, evidence)) = evidence::load(connection, word.id, word.at).await?
        && evidence.is_enough()
    {
        set_approved(connection, request.number).await?;
    }
    taken(connection, &state, &word).await
}

async fn deny(connection: &mut Connection, word: Word) -> Result<Said, StoreError> {
    let mut state = begin(connection, &word).await?;
    let (request, _) = match asked(connection, &word).await? {
        Ok(found) => found,
        Err(said) => return end(connection, &state, said).await,
    };
    if !request.state.is_open() {
        return end(connection, &state, Said::NotPending(request.state)).await;
    }
    let closing = Closing {
        number: request.number,
        id: word.id,
        to: HeldState::Denied,
        detail: json!({ "id": word.id.to_string(), "comment": word.comment }),
        at: word.at,
        origin: &word.origin,
        certificate: None,
    };
    close(connection, &mut state, closing).await?;
    taken(connection, &state, &word).await
}

async fn begin(connection: &mut Connection, word: &Word) -> Result<State, StoreError> {
    let mut state = State::lock(connection).await?;
    if word.seen_tokens.is_some_and(|seen| seen != state.revisions.tokens) {
        return Err(StoreError::Stale);
    }
    lapse_due(connection, &mut state, word.at).await?;
    Ok(state)
}

/// The request, if the approver is asked.
async fn asked(
    connection: &mut Connection,
    word: &Word,
) -> Result<Result<(HeldRequest, Evidence), Said>, StoreError> {
    let found = evidence::load(connection, word.id, word.at).await?;
    Ok(found.filter(|(_, evidence)| evidence.concerns(&word.approver)).ok_or(Said::NotFound))
}

/// What lapsed meanwhile stays written, whatever came of the word.
async fn end(connection: &mut Connection, state: &State, said: Said) -> Result<Said, StoreError> {
    state.save(connection).await?;
    Ok(said)
}

async fn taken(connection: &mut Connection, state: &State, word: &Word) -> Result<Said, StoreError> {
    let request = reading::by_id(connection, word.id, word.at).await?;
    let request =
        request.ok_or_else(|| StoreError::Corrupt(format!("requests: {} is not there", word.id)))?;
    end(connection, state, Said::Taken(Box::new(request))).await
}

async fn insert(
    connection: &mut Connection,
    state: &mut State,
    request: &HeldRequest,
    word: &Word,
) -> Result<(), StoreError> {
    let detail = json!({ "id": word.id.to_string(), "comment": word.comment });
    let kind = EventKind::RequestApproved;
    let number = append_event(connection, state, word.at, kind, &word.origin, &detail).await?;
    let (token_id, owner) = word.credential.as_ref().map(|(id, owner)| (id.as_str(), owner.as_str())).unzip();
    let mut insert =
        Statement::new("INSERT INTO request_approvals (number, request, token_id, owner, comment) VALUES ");
    insert.tuples([[
        number.into(),
        request.number.into(),
        token_id.into(),
        owner.into(),
        word.comment.as_deref().into(),
    ]]);
    insert.execute(connection).await?;
    Ok(())
}

async fn set_approved(connection: &mut Connection, number: i64) -> Result<(), StoreError> {
    let mut update = Statement::new("UPDATE requests SET state = ");
    update.bind(HeldState::Approved.number()).push(" WHERE state = 1 AND number = ").bind(number);
    update.execute(connection).await?;
    Ok(())
}
