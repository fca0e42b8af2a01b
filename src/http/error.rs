//! What a client is told when something goes wrong: one line of `application/problem+json` (RFC 9457).

use axum::http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::app::AppError;
use crate::audit::RequestId;
use crate::pki::name::is_accepted;
use crate::policy::Violation;

/// Every code that an error can have, with its status and its title. The same list stands in
/// `openapi.yaml`; codes are never renamed and never change their status.
pub const CODES: &[(&str, u16, &str)] = &[
    // The request's form.
    ("bad_request", 400, "The request cannot be read"),
    ("parameter_invalid", 400, "A parameter is not as it must be"),
    ("parameter_repeated", 400, "A parameter is given twice"),
    ("parameter_unknown", 400, "There is no such parameter"),
    ("ttl_invalid", 400, "The lifetime cannot be asked for"),
    ("cursor_invalid", 400, "The cursor belongs to another list"),
    ("cluster_required", 400, "The cluster is missing"),
    ("cluster_unknown", 400, "There is no such cluster"),
    ("json_invalid", 400, "The JSON body cannot be read"),
    ("idempotency_key_invalid", 400, "The Idempotency-Key cannot be used"),
    ("body_empty", 400, "The body is empty"),
    ("body_utf16", 400, "The body is UTF-16"),
    ("body_form_encoded", 400, "The body is a form"),
    ("body_unreadable", 400, "The body did not arrive"),
    ("several_credentials", 400, "The request shows several credentials"),
    // Who asks.
    ("unauthenticated", 401, "The caller is not known"),
    ("cross_site", 403, "A page of another site made the request"),
    ("role_missing", 403, "The caller lacks the role"),
    ("renewal_only", 403, "The certificate opens renewal only"),
    ("certificate_required", 403, "Renewal needs the certificate that is renewed"),
    ("not_renewable", 403, "The certificate is not renewed"),
    ("on_behalf_of_not_allowed", 403, "The caller may not name another person"),
    ("proof_not_accepted", 403, "The person's own token is not accepted"),
    ("policy_denied", 403, "The policy does not allow it"),
    ("approval_not_allowed", 403, "The approver may not approve this"),
    ("token_not_allowed", 403, "The caller may not give such a token"),
    // What is asked for.
    ("not_found", 404, "There is nothing here"),
    ("method_not_allowed", 405, "The method does not exist here"),
    ("not_acceptable", 406, "The answer does not exist in this form"),
    ("body_timeout", 408, "The body took too long"),
    ("idempotency_in_flight", 409, "The same request is under way"),
    ("idempotency_expired", 409, "The certificate has expired"),
    ("request_not_approved", 409, "The request waits for people"),
    ("request_closed", 409, "The request is closed"),
    ("request_voided", 409, "The approvals are void"),
    ("already_approved", 409, "The request has this approval"),
    ("serial_ambiguous", 409, "Several certificates have this serial"),
    ("policy_held", 409, "A held policy goes by name only"),
    ("token_exists", 409, "The token's name was given before"),
    ("token_revoked", 409, "The token is revoked"),
    ("revision_mismatch", 412, "The policy set has changed"),
    ("policy_exists", 412, "There is a policy of this name"),
    ("body_too_large", 413, "The body is too large"),
    ("content_encoding_unsupported", 415, "The body is encoded"),
    ("private_key_in_body", 422, "The body holds a private key"),
    ("body_has_two_requests", 422, "The body holds more than one CSR"),
    ("body_not_a_csr", 422, "The body holds no CSR"),
    ("pem_malformed", 422, "The PEM block cannot be read"),
    ("csr_malformed", 422, "The CSR cannot be read"),
    ("csr_version_not_accepted", 422, "The version of the CSR is not accepted"),
    ("csr_subject_empty", 422, "The CSR has no subject"),
    ("csr_cn_missing", 422, "The CSR has no CN"),
    ("csr_cn_repeated", 422, "The CSR has more than one CN"),
    ("csr_rdn_multi_valued", 422, "The CSR has an RDN of several kinds"),
    ("csr_subject_attribute_not_accepted", 422, "The CSR's subject has an attribute that is not accepted"),
    ("csr_string_type_not_accepted", 422, "The CSR has a type of string that is not accepted"),
    ("csr_too_many_groups", 422, "The CSR asks for too many groups"),
    ("csr_attributes_not_accepted", 422, "The CSR's attributes are not accepted"),
    ("csr_extension_requests_not_accepted", 422, "The CSR's extension requests are not accepted"),
    ("signature_algorithm_not_accepted", 422, "The CSR is signed with an algorithm that is not accepted"),
    ("signature_invalid", 422, "The CSR's signature does not verify"),
    ("name_empty", 422, "A name is empty"),
    ("name_too_long", 422, "A name is too long"),
    ("name_space_at_end", 422, "A name begins or ends with a space"),
    ("name_character_not_accepted", 422, "A name has a character that is not accepted"),
    ("name_not_nfc", 422, "A name is not in NFC"),
    ("key_malformed", 422, "The key cannot be read"),
    ("key_kind_not_accepted", 422, "The kind of key is not accepted"),
    ("key_size_not_accepted", 422, "The size of the key is not accepted"),
    ("key_weak", 422, "The key is weak"),
    ("key_blocked", 422, "The key is blocked"),
    ("key_is_a_ca_key", 422, "The key belongs to a certificate authority"),
    ("key_owned", 422, "The key is certified for another user"),
    ("name_looks_reserved", 422, "A name looks like a reserved one"),
    ("idempotency_key_reused", 422, "The Idempotency-Key belongs to another request"),
    ("policy_invalid", 422, "The policies are not valid"),
    ("if_match_required", 428, "If-Match is missing"),
    ("rate_limited", 429, "Too many requests came at once"),
    ("too_many_failed_authentications", 429, "Too many credentials from this address did not hold"),
    ("too_many_refusals", 429, "Too many requests of this caller were refused"),
    ("too_many_pending", 429, "Too many requests of this caller wait for people"),
    ("header_fields_too_large", 431, "The headers are too large"),
    // This service.
    ("internal", 500, "Something broke here"),
    ("ca_expired", 503, "The certificate authority has expired"),
    ("ca_not_yet_valid", 503, "The certificate authority is not valid yet"),
    ("ca_expiring", 503, "The certificate authority is about to expire"),
    ("clock_behind", 503, "The clock is wrong"),
    ("clock_off", 503, "The clocks differ"),
    ("ledger_unavailable", 503, "The ledger does not answer"),
    ("ledger_busy", 503, "The ledger is busy"),
    ("exports_busy", 503, "Enough exports run at this moment"),
    ("signing_busy", 503, "Too many requests wait to be signed"),
    ("policy_changing", 503, "The policy is changing"),
    ("not_ready", 503, "The service is not ready"),
    ("too_many_connections", 503, "Too many connections are open"),
];

/// The longest `detail` that goes out, in characters: it may quote what the client sent.
const LONGEST_DETAIL: usize = 2_000;

/// An error as a client sees it. The layer around every request writes it out, with the request's id.
#[derive(Clone, Debug)]
pub struct Problem {
    code: &'static str,
    status: StatusCode,
    title: &'static str,
    detail: String,
    violations: Vec<Violation>,
    /// Seconds, where the code alone does not say.
    wait: Option<u32>,
    /// For the log, never for the client.
    cause: Option<String>,
}

impl Problem {
    /// The problem `code` of [`CODES`], with a sentence that says what is wrong and what to do.
    #[must_use]
    pub fn new(code: &'static str, detail: impl Into<String>) -> Self {
        let (status, title) = listed(code).unwrap_or((500, "Something broke here"));
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let detail = visible(shortened(detail.into()));
        Self { code, status, title, detail, violations: Vec::new(), wait: None, cause: None }
    }

    /// A failure of this service. `cause` goes into the log and nowhere else.
    #[must_use]
    pub fn internal(cause: impl Into<String>) -> Self {
        let detail = "something broke here: tell the operator this request_id";
        Self { cause: Some(cause.into()), ..Self::new("internal", detail) }
    }

    /// What a status stands for that was not made here: the web framework's own refusals.
    #[must_use]
    pub fn for_status(status: StatusCode) -> Self {
        let (code, detail) = match status {
            StatusCode::NOT_FOUND => ("not_found", "there is nothing at this path: see /openapi.yaml"),
            StatusCode::METHOD_NOT_ALLOWED => {
                ("method_not_allowed", "this path does not take the method: see the Allow header")
            }
            StatusCode::PAYLOAD_TOO_LARGE => ("body_too_large", "the body is too large"),
            StatusCode::UNSUPPORTED_MEDIA_TYPE => {
                ("content_encoding_unsupported", "the body's form is not supported")
            }
            other if other.is_client_error() => ("bad_request", "the request cannot be read"),
            other => return Self::internal(format!("the framework answered {other}")),
        };
        Self::new(code, detail)
    }

    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// The status that goes with the code.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// What the log should say of it, where that differs from what the client is told.
    #[must_use]
    pub fn cause(&self) -> Option<&str> {
        self.cause.as_deref()
    }

    /// The body: one line of JSON, and a newline so that a terminal's prompt stays on its own line.
    #[must_use]
    pub fn body(&self, request_id: RequestId) -> String {
        let line = serde_json::to_string(&ProblemBody {
            detail: &self.detail,
            kind: format!("urn:countersign:problem:{}", self.code),
            title: self.title,
            status: self.status.as_u16(),
            code: self.code,
            request_id: request_id.to_string(),
            violations: &self.violations,
        });
        format!("{}\n", line.unwrap_or_else(|_| "{}".to_owned()))
    }

    fn with_violations(mut self, violations: Vec<Violation>) -> Self {
        self.violations = violations;
        self
    }

    /// Seconds after which it is worth asking again.
    fn retry_after(&self) -> Option<u32> {
        self.wait.or(match self.code {
            "idempotency_in_flight" | "ledger_busy" | "signing_busy" | "policy_changing" => Some(1),
            "ca_expired" | "ca_expiring" => Some(3_600),
            "clock_behind" | "clock_off" | "too_many_pending" => Some(60),
            "request_not_approved" => Some(5),
            _ => matches!(self.status.as_u16(), 429 | 503).then_some(5),
        })
    }
}

/// RFC 9457, section 3.1. `detail` stands first, because that is what a person reads.
#[derive(Serialize)]
struct ProblemBody<'a> {
    detail: &'a str,
    #[serde(rename = "type")]
    kind: String,
    title: &'static str,
    status: u16,
    code: &'static str,
    request_id: String,
    #[serde(skip_serializing_if = "<[Violation]>::is_empty")]
    violations: &'a [Violation],
}

/// Status and headers only: the body needs the request's id, which the layer around it knows.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        let headers = response.headers_mut();
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after() {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        response.extensions_mut().insert(self);
        response
    }
}

impl From<AppError> for Problem {
    fn from(error: AppError) -> Self {
        let code = error.code();
        let detail = error.to_string();
        match error {
            AppError::Internal(cause) => Self::internal(cause),
            AppError::PolicyDenied { violations, .. } | AppError::NameLooksReserved(violations) => {
                Self::new(code, detail).with_violations(violations)
            }
            AppError::TooManyRefusals { retry_after }
            | AppError::RateLimited { retry_after, .. }
            | AppError::TooManyFailures { retry_after } => {
                Self { wait: Some(retry_after), ..Self::new(code, detail) }
            }
            AppError::Body(_) | AppError::Csr(_) if listed(code).is_none() => {
                let title = "The request cannot be accepted";
                Self {
                    code,
                    title,
                    status: StatusCode::UNPROCESSABLE_ENTITY,
                    ..Self::new("bad_request", detail)
                }
            }
            _ => Self::new(code, detail),
        }
    }
}

fn listed(code: &str) -> Option<(u16, &'static str)> {
    CODES.iter().find(|(listed, _, _)| *listed == code).map(|(_, status, title)| (*status, *title))
}

/// JSON escapes the control characters of ASCII but the last; a terminal acts on others too.
fn visible(detail: String) -> String {
    let is_plain = |character: char| match character {
        '\0'..='~' => true,
        other => is_accepted(other),
    };
    if detail.chars().all(is_plain) {
        return detail;
    }
    let shown = |c: char| if is_plain(c) { c.to_string() } else { c.escape_unicode().to_string() };
    detail.chars().map(shown).collect()
}

fn shortened(detail: String) -> String {
    match detail.char_indices().nth(LONGEST_DETAIL) {
        None => detail,
        Some((end, _)) => format!("{}…", detail.get(..end).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::collections::HashSet;

    use crate::auth::AuthError;
    use crate::policy::Claim;

    fn body(problem: &Problem) -> serde_json::Value {
        serde_json::from_str(&problem.body(RequestId([0xab; 16]))).unwrap()
    }

    #[test]
    fn every_code_is_listed_once_with_a_status_that_exists() {
        let mut seen = HashSet::new();
        for (code, status, title) in CODES {
            assert!(seen.insert(code), "{code}");
            assert!(
                code.bytes().all(|byte| byte.is_ascii_lowercase() || b"_0123456789".contains(&byte)),
                "{code}"
            );
            assert!((400..600).contains(status) && !title.is_empty(), "{code}");
        }
    }

    #[test]
    fn every_error_of_the_use_cases_has_its_status() {
        for (error, status) in [
            (AppError::Unauthenticated(AuthError::Unknown), 401),
            (AppError::RoleMissing("x"), 403),
            (AppError::CrossSite, 403),
            (AppError::OnBehalfOfNotAllowed, 403),
            (AppError::ProofNotAccepted(""), 403),
            (AppError::ClusterRequired(String::new()), 400),
            (AppError::ClusterUnknown { asked: String::new(), known: String::new() }, 400),
            (AppError::ParameterInvalid(String::new()), 400),
            (AppError::PolicyDenied { violations: Vec::new(), rows: Vec::new() }, 403),
            (AppError::NameLooksReserved(Vec::new()), 422),
            (AppError::KeyIsCa, 422),
            (AppError::KeyBlocked, 422),
            (AppError::KeyOwned, 422),
            (AppError::CaExpired(String::new()), 503),
            (AppError::CaExpiring(String::new()), 503),
            (AppError::IdempotencyKeyReused, 422),
            (AppError::IdempotencyInFlight, 409),
            (AppError::IdempotencyExpired, 409),
            (AppError::NotFound(String::new()), 404),
            (AppError::RevisionMismatch { current: 1 }, 412),
            (AppError::PolicyMoved(String::new()), 412),
            (AppError::PolicyExists(String::new()), 412),
            (AppError::PolicyHeld(String::new()), 409),
            (AppError::IfMatchRequired, 428),
            (AppError::PolicyInvalid(Vec::new()), 422),
            (AppError::TooManyRefusals { retry_after: 1 }, 429),
            (AppError::RateLimited { of_all: true, retry_after: 1 }, 429),
            (AppError::TooManyFailures { retry_after: 1 }, 429),
            (AppError::TokenNotAllowed(String::new()), 403),
            (AppError::TokenExists(String::new()), 409),
            (AppError::TokenRevoked, 409),
            (AppError::LedgerUnavailable, 503),
            (AppError::LedgerBusy, 503),
            (AppError::SigningBusy, 503),
            (AppError::PolicyChanging, 503),
            (AppError::ClockBehind, 503),
            (AppError::ClockOff, 503),
            (AppError::Internal(String::new()), 500),
        ] {
            let problem = Problem::from(error);
            assert_eq!(problem.status().as_u16(), status, "{}", problem.code());
            assert!(problem.code() == "internal" || status != 500, "{}", problem.code());
        }
    }

    #[test]
    fn a_refusal_carries_its_violations() {
        let violation = Violation {
            claim: Claim::Group,
            value: "admins".to_owned(),
            rule: None,
            reason: "no row allows it".to_owned(),
            allowed: vec!["dev".to_owned()],
            considered: Vec::new(),
        };
        let body =
            body(&Problem::from(AppError::PolicyDenied { violations: vec![violation], rows: Vec::new() }));
        assert_eq!(body["violations"][0]["claim"], "group");
        assert_eq!(body["violations"][0]["allowed"][0], "dev");
        assert_eq!(body["type"], "urn:countersign:problem:policy_denied");
        assert_eq!(body["request_id"], "ab".repeat(16));
    }

    #[test]
    fn what_broke_inside_is_for_the_log_only() {
        let problem = Problem::from(AppError::Internal("disk on fire".to_owned()));
        assert_eq!(problem.cause(), Some("disk on fire"));
        assert!(!problem.body(RequestId([0; 16])).contains("fire"));
    }

    #[test]
    fn who_is_to_come_back_is_told_when() {
        for (code, expected) in [
            ("ledger_unavailable", Some("5")),
            ("ledger_busy", Some("1")),
            ("signing_busy", Some("1")),
            ("idempotency_in_flight", Some("1")),
            ("idempotency_expired", None),
            ("policy_denied", None),
        ] {
            let response = Problem::new(code, "x").into_response();
            let seconds = response.headers().get(RETRY_AFTER).map(|value| value.to_str().unwrap());
            assert_eq!(seconds, expected, "{code}");
        }
        let told = Problem::from(AppError::TooManyRefusals { retry_after: 17 }).into_response();
        assert_eq!(told.headers()[RETRY_AFTER], "17");
        let response = Problem::new("unauthenticated", "x").into_response();
        assert_eq!(response.headers()[WWW_AUTHENTICATE], "Bearer");
    }

    #[test]
    fn a_detail_holds_nothing_that_a_terminal_acts_on() {
        for character in ['\u{7f}', '\u{9b}', '\u{200b}', '\u{202e}', '\u{2028}', '\u{e000}'] {
            let text = Problem::new("json_invalid", format!("a{character}b")).body(RequestId([0; 16]));
            assert!(!text.contains(character), "{}", character.escape_unicode());
            assert!(text.contains(r"a\\u{"), "{text}");
        }
        assert!(Problem::new("json_invalid", "Zoë नमस्ते").body(RequestId([0; 16])).contains("Zoë नमस्ते"));
    }

    #[test]
    fn a_detail_is_bounded_and_stays_on_one_line() {
        let problem = Problem::new("bad_request", format!("{}\n", "é".repeat(5_000)));
        assert_eq!(body(&problem)["detail"].as_str().unwrap().chars().count(), LONGEST_DETAIL + 1);
        assert_eq!(problem.body(RequestId([0; 16])).matches('\n').count(), 1);
    }
}
