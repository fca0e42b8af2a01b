//! Refused requests are recorded before they are answered.

use crate::audit::Origin;
use crate::pki::csr::Asked;
use crate::pki::pem::BodyError;
use crate::policy::Ask;
use crate::store::{HeldRequest, RefusalError, RefusalToRecord};
use crate::time::Lifetime;

use super::command::SignCommand;
use super::issue::Addressed;
use super::proof::PersonProof;
use super::{ATTEMPTS, App, AppError, State};

/// The longest text that a record keeps of what a request said, in bytes.
const LONGEST_TEXT: usize = 500;

/// What a refused request asked for, as far as it could be read.
#[derive(Clone, Debug, Default)]
pub(super) struct Wish {
    cluster: Option<String>,
    user: Option<String>,
    groups: Vec<String>,
    on_behalf_of: Option<String>,
    proof: Option<serde_json::Value>,
    reason: Option<String>,
    key: Option<(String, [u8; 32])>,
    ttl: Option<Lifetime>,
    recorded: bool,
}

impl Wish {
    /// Of a request whose CSR was read.
    pub(super) fn read(command: &SignCommand, ask: &Ask) -> Self {
        let key = ask.request.key();
        Self {
            cluster: Some(ask.cluster.to_string()),
            user: Some(ask.request.user().to_string()),
            groups: ask.request.groups().iter().map(ToString::to_string).collect(),
            on_behalf_of: ask.on_behalf_of.as_ref().map(ToString::to_string),
            key: Some((key.kind().as_str().to_owned(), key.spki_sha256())),
            ..Self::of(command)
        }
    }

    /// Of a request whose CSR is not sound; its names and its key, where they could be read.
    pub(super) fn unread(command: &SignCommand, addressed: Addressed) -> Self {
        let asked = Asked::read(&command.csr);
        let (user, groups) = asked.names.unzip();
        let groups = groups.unwrap_or_default().iter().map(ToString::to_string).collect();
        Self {
            user: user.map(|user| user.to_string()),
            groups,
            cluster: Some(addressed.cluster.to_string()),
            on_behalf_of: addressed.on_behalf_of.map(|person| person.to_string()),
            key: asked.key.map(|key| (key.kind, key.spki_sha256)),
            ..Self::of(command)
        }
    }

    /// Of a held request, which somebody may not approve.
    pub(super) fn held(request: &HeldRequest) -> Self {
        Self {
            cluster: Some(request.cluster.clone()),
            user: Some(request.user.clone()),
            groups: request.groups.clone(),
            on_behalf_of: request.on_behalf_of.clone(),
            proof: request.proof.clone(),
            reason: None,
            key: Some((request.key_kind.clone(), request.spki_sha256)),
            ttl: request.asked_ttl,
            recorded: true,
        }
    }

    fn of(command: &SignCommand) -> Self {
        Self {
            proof: command.proof.as_ref().map(PersonProof::record),
            reason: command.reason.as_deref().map(bounded),
            ttl: command.ttl,
            recorded: !command.dry_run,
            ..Self::default()
        }
    }
}

impl App {
    /// Records the refusal of a request that came to no decision, and gives back what to answer:
    /// `error`, or why it could not be recorded.
    pub(super) async fn refuse(&self, origin: &Origin, wish: &Wish, error: AppError) -> AppError {
        // A dry run is not recorded, but nobody is to try a person's token out by it.
        let is_counted = wish.recorded || matches!(error, AppError::ProofNotAccepted(_));
        if !is_counted || !error.is_refusal() {
            return error;
        }
        if let Err(error) = self.count_refusal(origin) {
            return error;
        }
        if !wish.recorded {
            return error;
        }
        let mut state = self.state();
        for _ in 0..ATTEMPTS {
            match self.record_refusal(origin, wish, &state, &error).await {
                Ok(()) => return error,
                Err(RefusalError::Stale) => match self.refresh().await {
                    Ok(fresh) => state = fresh,
                    Err(failure) => return failure,
                },
                Err(failure) => return failure.into(),
            }
        }
        AppError::PolicyChanging
    }

    /// Records the refusal of a request that was no signing, or never became one, and gives back
    /// what to answer.
    pub async fn refuse_early(&self, origin: &Origin, error: AppError) -> AppError {
        self.refuse(origin, &Wish { recorded: true, ..Wish::default() }, error).await
    }

    /// The same for a request to sign in whose body no CSR was found: `command` has an empty one.
    pub async fn refuse_unread(&self, command: &SignCommand, error: BodyError) -> AppError {
        match self.addressed(command) {
            Ok(addressed) => {
                self.refuse(&command.origin, &Wish::unread(command, addressed), error.into()).await
            }
            Err(unknown) => unknown,
        }
    }

    /// Counts one refusal of this caller. Past its limit the caller is not told why it is refused:
    /// what is told is recorded.
    ///
    /// # Errors
    /// `TooManyRefusals`.
    pub(super) fn count_refusal(&self, origin: &Origin) -> Result<(), AppError> {
        self.refusal_cap.take(&origin.caller).map_err(|retry_after| {
            self.metrics.refusal_not_recorded();
            AppError::TooManyRefusals { retry_after }
        })
    }

    pub(super) async fn record_refusal(
        &self,
        origin: &Origin,
        wish: &Wish,
        state: &State,
        error: &AppError,
    ) -> Result<(), RefusalError> {
        let wish = wish.clone();
        let (key_kind, spki_sha256) = wish.key.unzip();
        let refusal = RefusalToRecord {
            at: self.clock.now(),
            origin: origin.clone(),
            cluster: wish.cluster,
            user: wish.user,
            groups: wish.groups,
            on_behalf_of: wish.on_behalf_of,
            proof: wish.proof,
            reason: wish.reason,
            key_kind,
            spki_sha256,
            asked_ttl: wish.ttl,
            code: error.code().to_owned(),
            detail: bounded(&error.to_string()),
            violations: serde_json::to_value(error.violations()).unwrap_or_default(),
            policy_revision: state.snapshot.revisions.policy,
            policies: error.deciding_rows().iter().map(ToString::to_string).collect(),
            seen: state.snapshot.revisions,
        };
        self.store.record_refusal(refusal).await?;
        self.metrics.refused(error.code());
        Ok(())
    }
}

/// At most [`LONGEST_TEXT`] bytes of `text`, cut between characters. A NUL, which PostgreSQL keeps
/// in no text, is shown as what it is.
fn bounded(text: &str) -> String {
    let mut end = text.len().min(LONGEST_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().replace('\0', "\u{2400}")
}
