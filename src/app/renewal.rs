//! What holds for a request that shows a certificate of ours: it renews that certificate, for the same
//! user and for no more groups, and no chain of renewals lives longer than its cluster says.
//!
//! These rules hang on the credential and not on a route, so there is no path on which they are
//! forgotten. What they let through is decided, signed and recorded as everything else is.

use crate::auth::{Credential, OwnCertificate, Principal};
use crate::pki::csr::CertRequest;
use crate::pki::name::Name;
use crate::policy::{Claim, Decision, Violation};
use crate::store::Renews;
use crate::time::{Lifetime, Time};

use super::{AppError, State};

/// The certificate that `principal` showed; none where it came in another way.
pub(super) fn shown(principal: &Principal) -> Option<&OwnCertificate> {
    match &principal.credential {
        Credential::Certificate(own) => Some(own),
        _ => None,
    }
}

/// What the record of a renewal says of its chain.
pub(super) fn renews(principal: &Principal) -> Option<Renews> {
    shown(principal).map(|own| Renews { serial: own.serial, first_issued: own.first_issued })
}

/// The names may be those of the certificate, or fewer groups.
///
/// # Errors
/// `PolicyDenied` with each name that is not.
pub(super) fn check_names(principal: &Principal, request: &CertRequest) -> Result<(), AppError> {
    let Some(own) = shown(principal) else { return Ok(()) };
    let violation = |claim, name: &Name, reason: String, allowed: Vec<String>| Violation {
        allowed,
        ..Violation::bare(claim, name.to_string(), Some("renewal".to_owned()), reason)
    };
    let mut violations = Vec::new();
    if request.user().as_str() != own.user {
        let reason = "a certificate is renewed for its own user".to_owned();
        violations.push(violation(Claim::User, request.user(), reason, vec![own.user.clone()]));
    }
    let more = request.groups().iter().filter(|group| !own.groups.iter().any(|has| has == group.as_str()));
    for group in more {
        let reason = "the certificate that is renewed is not in this group: ask for a new one".to_owned();
        violations.push(violation(Claim::Group, group, reason, own.groups.iter().take(5).cloned().collect()));
    }
    if violations.is_empty() { Ok(()) } else { Err(AppError::PolicyDenied { violations, rows: Vec::new() }) }
}

/// The decision within what is left of the chain. What people would have to look at is not renewed.
///
/// # Errors
/// `NotRenewable`.
pub(super) fn limited(
    principal: &Principal,
    state: &State,
    decision: Decision,
    now: Time,
) -> Result<Decision, AppError> {
    let Some(own) = shown(principal) else { return Ok(decision) };
    if own.reviewed {
        return Err(not_renewable("people approved this certificate for once: ask for a new one"));
    }
    if matches!(decision, Decision::Held(_)) {
        return Err(not_renewable(
            "a review row holds this, and a renewal does not wait for people: ask for a new one",
        ));
    }
    let longest = state.served.cluster(Some(&own.cluster))?.max_renew;
    let end = own.first_issued.after(longest);
    if end < now.after(Lifetime::LEAST) {
        let begun = own.first_issued;
        return Err(not_renewable(&format!(
            "its chain of renewals began at {begun} and may last {longest}: ask for a new certificate"
        )));
    }
    Ok(decision.ending_by(end, &format!("this chain of renewals ends at {end}")))
}

fn not_renewable(reason: &str) -> AppError {
    AppError::NotRenewable(reason.to_owned())
}
