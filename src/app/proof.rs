//! A person's own token beside the request of who acts for that person.

use std::fmt;

use serde_json::{Value, json};

use crate::audit::Origin;
use crate::auth::{self, AuthError, Credential, JwtError};
use crate::caller::{CallerKind, Proven};
use crate::pki::name::ShortName;
use crate::store::Subject;
use crate::time::Time;

use super::command::SignCommand;
use super::{App, AppError, State};

/// What came in `On-Behalf-Of-Token`.
#[derive(Clone)]
pub struct PersonToken(pub String);

impl fmt::Debug for PersonToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PersonToken")
    }
}

/// That a person is behind a request, by a token of that person's own.
#[derive(Clone, Debug)]
pub struct PersonProof {
    /// Who it is.
    pub(super) proven: Proven,
    source: ShortName,
    subject: Subject,
    credential: Credential,
    expires_at: Time,
}

impl PersonProof {
    /// Whether it is of the same subject as what was recorded. A name may have been given to somebody else.
    fn is_of(&self, record: &Value) -> bool {
        record["issuer"] == self.subject.issuer.as_str() && record["subject"] == self.subject.subject.as_str()
    }

    /// For the record, and for telling two wishes apart.
    pub(super) fn record(&self) -> Value {
        json!({
            "source": self.source,
            "issuer": self.subject.issuer,
            "subject": self.subject.subject,
            "groups": self.proven.groups,
        })
    }
}

impl App {
    /// Reads the person's token, where there is one: whom it is of is whom the request names. A held
    /// request that came with one is collected with one, since its approvers were told so.
    ///
    /// # Errors
    /// `OnBehalfOfNotAllowed`; `ProofNotAccepted` where the token is no credential, of a source that
    /// proves nobody, of another person than the request names or was held for, or is missing.
    pub(super) async fn prove(&self, command: &mut SignCommand) -> Result<(), AppError> {
        let Some(PersonToken(token)) = command.person_token.take() else {
            return match command.held_proof {
                None => Ok(()),
                Some(_) => Err(AppError::ProofNotAccepted("it is missing, and this request came with one")),
            };
        };
        if !command.principal.on_behalf_of {
            return Err(AppError::OnBehalfOfNotAllowed);
        }
        // Whom it names now, the approvers were not told of, and may be one of them.
        if command.collects.is_some() && command.on_behalf_of.is_none() {
            return Err(AppError::ProofNotAccepted("the request that was approved names nobody"));
        }
        let proof = self.person_behind(&token, command.dry_run, &command.origin).await?;
        let name = &proof.proven.name;
        if command.on_behalf_of.as_ref().is_some_and(|named| named != name) {
            return Err(AppError::ProofNotAccepted("it is of another person than on_behalf_of names"));
        }
        if command.held_proof.as_ref().is_some_and(|held| !proof.is_of(held)) {
            return Err(AppError::ProofNotAccepted("it is of another subject than the request came with"));
        }
        command.on_behalf_of = Some(name.clone());
        command.proof = Some(proof);
        Ok(())
    }

    /// A dry run leaves a name that is nobody's as it is.
    async fn person_behind(
        &self,
        token: &str,
        dry_run: bool,
        origin: &Origin,
    ) -> Result<PersonProof, AppError> {
        let now = self.clock.now();
        let (vouched, proof) = self.ways.issuers.verify(token, now).await.map_err(|error| {
            tracing::info!(request.id = %origin.request_id, auth.error = %error, "a person's token is not accepted");
            self.metrics.authentication_failed(error.code());
            not_accepted(&error)
        })?;
        let caller = vouched.caller;
        let source = caller.source.clone().filter(|_| caller.kind == CallerKind::Oidc);
        let source = source.filter(|_| self.ways.issuers.proves_persons(&proof));
        let source = source.ok_or(AppError::ProofNotAccepted("its source proves no persons"))?;
        let subject = Subject { issuer: vouched.issuer, subject: vouched.standing.subject };
        let binding = match self.binding(&caller, &subject, !dry_run, now, origin).await {
            Err(AppError::Unauthenticated(_)) => {
                return Err(AppError::ProofNotAccepted("its user name is not its subject's"));
            }
            bound => bound?,
        };
        let groups = caller.groups.into_iter().map(|group| group.name).collect();
        Ok(PersonProof {
            proven: Proven { name: caller.name, groups },
            source,
            subject,
            credential: Credential::Oidc { proof, binding: binding.map(|bound| bound.number) },
            expires_at: vouched.standing.expires_at,
        })
    }

    /// Whether the person's token still holds, under `state`.
    pub(super) fn recheck_proof(
        &self,
        command: &SignCommand,
        state: &State,
        now: Time,
    ) -> Result<(), AppError> {
        let Some(proof) = &command.proof else { return Ok(()) };
        let still =
            auth::still_holds(&proof.credential, proof.expires_at, &state.snapshot, &self.ways.issuers, now);
        still.map_err(|_: AuthError| AppError::ProofNotAccepted("it no longer holds"))
    }
}

fn not_accepted(error: &JwtError) -> AppError {
    AppError::ProofNotAccepted(match error {
        JwtError::Expired => "it has expired",
        JwtError::NotYet => "it is not valid yet",
        JwtError::Audience => "it is for another audience",
        JwtError::IssuerUnknown => "it is of an issuer that is not configured",
        _ => "the operator's log has the reason under this request_id",
    })
}
