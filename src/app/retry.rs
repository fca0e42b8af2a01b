//! `Idempotency-Key`: the same wish under the same key gives the same certificate.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest;

use crate::pki::name::Name;
use crate::policy::Ask;
use crate::store::{HeldRequest, HeldState, Idempotency, Kept, Recorded};
use crate::time::Time;

use super::command::SignCommand;
use super::proof::PersonProof;
use super::{App, AppError, renewal};

/// The keys of requests that this process is working on, by caller.
#[derive(Clone, Debug, Default)]
pub(super) struct InFlight(Arc<Mutex<HashSet<(String, String)>>>);

/// Holds one key until it is dropped.
#[derive(Debug)]
pub(super) struct Held {
    in_flight: InFlight,
    entry: (String, String),
}

impl Drop for Held {
    fn drop(&mut self) {
        self.in_flight.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.entry);
    }
}

impl InFlight {
    fn hold(&self, entry: (String, String)) -> Option<Held> {
        let fresh = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(entry.clone());
        fresh.then(|| Held { in_flight: self.clone(), entry })
    }
}

/// What a key stands for when a request comes in.
pub(super) enum Claimed {
    /// This request's own, until the guard is dropped; nothing to guard without a key.
    Now(Option<Held>),
    /// The certificate that it gave before.
    Before(Box<Recorded>),
    /// The request that was held under it before, and still is.
    Held(Box<HeldRequest>),
}

/// The key of `command` with the digest of its wish. CSR bytes are left out: a repeated
/// `openssl req` signs the same wish with other bytes. A dry run keeps nothing.
pub(super) fn idempotency(command: &SignCommand, ask: &Ask) -> Option<Idempotency> {
    let key = command.idempotency_key.clone().filter(|_| !command.dry_run)?;
    let groups: Vec<&str> = ask.request.groups().iter().map(Name::as_str).collect();
    // Another certificate that is shown is another wish, also where its holder has the same name.
    let route = renewal::shown(&command.principal)
        .map_or_else(|| "POST /v1/sign".to_owned(), |own| format!("POST /v1/renew {}", own.serial));
    let proof = command.proof.as_ref().map(PersonProof::record);
    let wish = serde_json::json!([
        route,
        ask.request.key().spki_sha256(),
        ask.request.user().as_str(),
        groups,
        ask.cluster,
        ask.ttl.map(crate::time::Lifetime::seconds),
        ask.on_behalf_of.as_ref().map(Name::as_str),
        proof,
        command.reason,
    ]);
    let digest = digest::digest(&digest::SHA256, wish.to_string().as_bytes());
    let mut fingerprint = [0; 32];
    fingerprint.copy_from_slice(digest.as_ref());
    Some(Idempotency { key: command.principal.identity.idempotency_key(key), fingerprint })
}

impl App {
    /// Takes the key for this request, or finds what it gave before.
    pub(super) async fn claim(
        &self,
        command: &SignCommand,
        idempotency: Option<&Idempotency>,
        now: Time,
    ) -> Result<Claimed, AppError> {
        let Some(wanted) = idempotency else { return Ok(Claimed::Now(None)) };
        let entry = (command.origin.caller.clone(), wanted.key.clone());
        let held = self.in_flight.hold(entry).ok_or(AppError::IdempotencyInFlight)?;
        match Box::pin(self.store.idempotent(&command.origin.caller, &wanted.key, now)).await? {
            None => Ok(Claimed::Now(Some(held))),
            Some((kept, _)) if kept.fingerprint != wanted.fingerprint => Err(AppError::IdempotencyKeyReused),
            Some((_, Kept::Certificate(certificate))) => live(certificate, now),
            Some((_, Kept::Request(request))) => Box::pin(self.held_before(request, now)).await,
        }
    }

    /// What came of a request that was held, or that it still is.
    async fn held_before(&self, request: Box<HeldRequest>, now: Time) -> Result<Claimed, AppError> {
        if request.state.is_open() {
            return Ok(Claimed::Held(request));
        }
        let collected = request.certificate.filter(|_| request.state == HeldState::Collected);
        let Some(number) = collected else { return Err(AppError::RequestClosed(request.state)) };
        let certificate = self.store.certificate(number).await?.ok_or(AppError::IdempotencyExpired)?;
        live(Box::new(certificate), now)
    }
}

fn live(certificate: Box<Recorded>, now: Time) -> Result<Claimed, AppError> {
    if certificate.not_after < now {
        return Err(AppError::IdempotencyExpired);
    }
    Ok(Claimed::Before(certificate))
}
