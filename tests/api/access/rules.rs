//! How each route is asked rightly, and what another caller than the right one is told.

use countersign::http::ROUTES;

/// What becomes of a request for what is another caller's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Others {
    /// It is 404, as if it were not there.
    NotThere,
    /// It is 403: that it is there is no secret.
    NotAllowed,
    /// A list or a sum, without anything of the other.
    Empty,
    /// It belongs to nobody: whoever has the role gets the same.
    Everybodys,
}

/// One route. Words in braces stand for what [`super::World`] holds of alice's.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    pub method: &'static str,
    pub path: &'static str,
    /// Who may: alice for a requester, carol for an approver; `certificate` for what alice was issued.
    pub role: &'static str,
    /// What is told to a caller of the same role whose it is not.
    pub others: Others,
    /// What is answered to the right one.
    pub status: u16,
    /// What comes after the path.
    pub query: &'static str,
    /// `{csr}` is a fresh one for alice.
    pub body: &'static str,
    /// Whether a write says that it knows what it changes.
    pub if_match: bool,
}

use Others::{Empty, Everybodys, NotAllowed, NotThere};

/// Every route.
pub const RULES: &[Rule] = &[
    rule("POST", "/v1/sign", "requester", NotAllowed, 201).query("?cluster=prod").body("{csr}"),
    rule("POST", "/v1/renew", "certificate", NotAllowed, 201).body("{csr}"),
    rule("GET", "/v1/requests", "requester", Empty, 200),
    rule("GET", "/v1/requests/{id}", "requester", NotThere, 200),
    rule("DELETE", "/v1/requests/{id}", "requester", NotThere, 204),
    rule("POST", "/v1/requests/{id}/approve", "approver", NotThere, 200),
    rule("POST", "/v1/requests/{id}/deny", "approver", NotThere, 200),
    rule("POST", "/v1/requests/{id}/certificate", "requester", NotThere, 201),
    rule("GET", "/v1/certificates", "requester", Empty, 200),
    rule("GET", "/v1/certificates/{serial}", "requester", NotThere, 200),
    rule("GET", "/v1/refusals", "requester", Empty, 200),
    rule("POST", "/v1/policies/evaluate", "requester", NotAllowed, 200)
        .body(r#"{"caller": "token:alice", "user": "alice", "groups": ["dev"], "cluster": "prod"}"#),
    rule("GET", "/v1/policies", "auditor", Everybodys, 200),
    rule("PUT", "/v1/policies", "admin", Everybodys, 200).body("policies: []").if_match(),
    rule("POST", "/v1/policies/plan", "auditor", Everybodys, 200).body("policies: []"),
    rule("GET", "/v1/policies/{name}", "auditor", Everybodys, 200),
    rule("PUT", "/v1/policies/{name}", "admin", Everybodys, 200).body(ROW).if_match(),
    rule("DELETE", "/v1/policies/{name}", "admin", Everybodys, 200).if_match(),
    rule("GET", "/v1/blocked-keys", "auditor", Everybodys, 200),
    rule("PUT", "/v1/blocked-keys/{spki_sha256}", "admin", Everybodys, 200).body(r#"{"reason": "lost"}"#),
    rule("DELETE", "/v1/blocked-keys/{spki_sha256}", "admin", Everybodys, 204),
    rule("GET", "/v1/tokens", "auditor", Everybodys, 200),
    rule("POST", "/v1/tokens", "admin", Everybodys, 201).body(r#"{"name": "new", "roles": ["admin"]}"#),
    rule("GET", "/v1/tokens/{name}", "auditor", Everybodys, 200),
    rule("DELETE", "/v1/tokens/{name}", "admin", Everybodys, 204),
    rule("POST", "/v1/tokens/{name}/rotate", "requester", NotThere, 201),
    rule("GET", "/v1/identities", "auditor", Everybodys, 200),
    rule("DELETE", "/v1/identities/{caller}", "admin", Everybodys, 204),
    rule("GET", "/v1/clusters", "requester", Everybodys, 200),
    rule("GET", "/v1/clusters/{name}/client-ca.pem", "requester", Everybodys, 200),
    rule("GET", "/v1/clusters/{name}/server-ca.pem", "requester", Everybodys, 200),
    rule("GET", "/v1/audit", "auditor", Everybodys, 200),
    rule("GET", "/v1/stats", "requester", Empty, 200).query("?by=caller"),
    rule("GET", "/v1/users/{user}", "requester", NotThere, 200),
    rule("GET", "/v1/whoami", "requester", Empty, 200),
    rule("GET", "/livez", "requester", Everybodys, 200),
    rule("GET", "/readyz", "requester", Everybodys, 200),
    rule("GET", "/openapi.yaml", "requester", Everybodys, 200),
];

/// The row `people`, changed.
const ROW: &str = r#"{"name": "people", "effect": "deny", "clusters": ["prod"], "callers": ["token:alice"],
    "users": ["alice"]}"#;

const fn rule(
    method: &'static str,
    path: &'static str,
    role: &'static str,
    others: Others,
    status: u16,
) -> Rule {
    Rule { method, path, role, others, status, query: "", body: "", if_match: false }
}

impl Rule {
    const fn query(self, query: &'static str) -> Self {
        Self { query, ..self }
    }

    const fn body(self, body: &'static str) -> Self {
        Self { body, ..self }
    }

    const fn if_match(self) -> Self {
        Self { if_match: true, ..self }
    }
}

#[test]
fn what_belongs_to_somebody_has_a_rule_of_its_own() {
    for route in ROUTES.iter().filter(|route| route.path.contains("{id}") || route.path.contains("{serial}"))
    {
        let rule = RULES.iter().find(|rule| (rule.method, rule.path) == (route.method, route.path)).unwrap();
        assert_eq!(rule.others, NotThere, "{} {}", route.method, route.path);
    }
}
