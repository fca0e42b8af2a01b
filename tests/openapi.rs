//! The API's description says what the service does: the same paths, roles, parameters and codes.
#![expect(clippy::unwrap_used, reason = "what helps a test fails by panicking")]

mod support;

use std::collections::{BTreeMap, BTreeSet};

use countersign::http::{Access, CODES, ROUTES};
use serde_json::Value;
use support::openapi::{check_response, document};

/// Every operation as (method, path).
fn operations() -> BTreeMap<(String, String), Value> {
    let document = document();
    let mut operations = BTreeMap::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            operations.insert((method.to_uppercase(), path.clone()), operation.clone());
        }
    }
    operations
}

fn words(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect()
}

#[test]
fn every_route_is_described_and_nothing_else() {
    let described: BTreeSet<_> = operations().into_keys().collect();
    let routed: BTreeSet<_> =
        ROUTES.iter().map(|route| (route.method.to_owned(), route.path.to_owned())).collect();
    assert_eq!(described, routed);
    assert_eq!(routed.len(), ROUTES.len(), "a route stands twice in the list");
}

#[test]
fn every_route_says_who_may_come_in() {
    let operations = operations();
    for route in ROUTES {
        let operation = &operations[&(route.method.to_owned(), route.path.to_owned())];
        if route.access == Access::Open {
            assert!(operation.get("x-roles").is_none(), "{}", route.path);
        } else {
            assert_eq!(words(&operation["x-roles"]), route.access.roles(), "{}", route.path);
            assert!(operation["responses"].get("401").is_some(), "{}", route.path);
        }
        // Who lacks the role is refused, and a certificate of ours wherever nothing is renewed; and every
        // caller has a limit, as have those that are none.
        for status in ["403", "429"] {
            assert_eq!(
                operation["responses"].get(status).is_some(),
                route.access != Access::Open,
                "{} {status}",
                route.path
            );
        }
        // An unknown token is looked for in the ledger, which may not answer.
        let asks_ledger = operation["responses"].get("503").is_some();
        assert!(asks_ledger || route.access == Access::Open, "{}", route.path);
    }
}

/// Which schemes open an operation; none where nothing is asked.
fn schemes(security: &Value) -> Vec<&str> {
    let wanted = security.as_array().unwrap().iter().map(|one| one.as_object().unwrap());
    wanted.flat_map(|one| one.keys().map(String::as_str)).collect()
}

#[test]
fn every_route_says_by_which_credential() {
    let operations = operations();
    let all: Vec<_> = schemes(&document()["security"]);
    assert_eq!(all, ["token", "certificate"]);
    for route in ROUTES {
        let security = operations[&(route.method.to_owned(), route.path.to_owned())].get("security");
        let expected = match route.access {
            Access::Open => Some(vec![]),
            Access::Renewal => Some(vec!["certificate"]),
            _ => None,
        };
        assert_eq!(security.map(schemes), expected, "{} {}", route.method, route.path);
    }
}

#[test]
fn every_scheme_of_security_is_defined_and_used() {
    let document = document();
    let defined: BTreeSet<_> =
        document["components"]["securitySchemes"].as_object().unwrap().keys().map(String::as_str).collect();
    let operations = operations();
    let own = operations.values().filter_map(|operation| operation.get("security"));
    let used: BTreeSet<_> = own.chain([&document["security"]]).flat_map(schemes).collect();
    assert_eq!(defined, used);
}

#[test]
fn every_query_parameter_is_described_and_nothing_else() {
    let document = document();
    let operations = operations();
    for route in ROUTES {
        let operation = &operations[&(route.method.to_owned(), route.path.to_owned())];
        let none = Vec::new();
        let described: BTreeSet<_> = operation["parameters"]
            .as_array()
            .unwrap_or(&none)
            .iter()
            .map(|parameter| match parameter["$ref"].as_str() {
                Some(pointer) => document.pointer(pointer.trim_start_matches('#')).unwrap(),
                None => parameter,
            })
            .filter(|parameter| parameter["in"] == "query")
            .map(|parameter| parameter["name"].as_str().unwrap())
            .collect();
        assert_eq!(described, route.parameters.iter().copied().collect(), "{} {}", route.method, route.path);
    }
}

#[test]
fn every_code_is_listed_with_its_status_and_title() {
    let document = document();
    let listed: BTreeMap<_, _> = document["x-codes"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(code, entry)| {
            (code.as_str(), (entry["status"].as_u64().unwrap(), entry["title"].as_str().unwrap()))
        })
        .collect();
    let ours: BTreeMap<_, _> =
        CODES.iter().map(|(code, status, title)| (*code, (u64::from(*status), *title))).collect();
    assert_eq!(listed, ours);
    let allowed: BTreeSet<_> =
        words(&document["components"]["schemas"]["Code"]["enum"]).into_iter().collect();
    assert_eq!(allowed, ours.into_keys().collect());
}

#[test]
fn every_reference_leads_somewhere() {
    fn walk(value: &Value, document: &Value) {
        if let Some(pointer) = value.get("$ref").and_then(Value::as_str) {
            let found = pointer.strip_prefix('#').and_then(|pointer| document.pointer(pointer));
            assert!(found.is_some(), "{pointer}");
        }
        match value {
            Value::Object(members) => members.values().for_each(|member| walk(member, document)),
            Value::Array(items) => items.iter().for_each(|item| walk(item, document)),
            _ => {}
        }
    }
    let document = document();
    walk(document, document);
}

#[test]
fn no_object_of_ours_takes_unknown_members() {
    let document = document();
    let open = ["LedgerFacts", "HeldFacts", "TokenFacts"];
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        if schema.get("properties").is_some() && !open.contains(&name.as_str()) {
            let closed = schema["additionalProperties"] == false || schema["unevaluatedProperties"] == false;
            assert!(closed, "{name}");
        }
    }
}

const PROBLEM: &str = r#"{"detail":"d","type":"urn:countersign:problem:not_found","title":"t","status":404,"code":"not_found","request_id":"00000000000000000000000000000000"}
"#;

#[test]
fn an_answer_that_is_as_described_passes() {
    check_response("GET", "/livez", 200, Some("text/plain; charset=utf-8"), b"alive\n");
    check_response("HEAD", "/livez", 200, Some("text/plain; charset=utf-8"), b"");
    check_response("GET", "/v1/policies", 304, None, b"");
    check_response("GET", "/v1/policies/{name}", 404, Some("application/problem+json"), PROBLEM.as_bytes());
    check_response("GET", "/nowhere", 404, Some("application/problem+json"), PROBLEM.as_bytes());
    check_response(
        "GET",
        "/v1/policies",
        200,
        Some("application/json"),
        br#"{"revision":3,"policies":[{"name":"a","effect":"allow","clusters":["*"],"callers":["token:a"],"users":["b"],"max_ttl":"8h"}]}"#,
    );
}

#[test]
#[should_panic(expected = "no status 418")]
fn a_status_that_is_not_described_fails() {
    check_response("GET", "/livez", 418, Some("text/plain"), b"");
}

#[test]
#[should_panic(expected = "not application/json")]
fn a_media_type_that_is_not_described_fails() {
    check_response("GET", "/livez", 200, Some("application/json"), b"{}");
}

#[test]
#[should_panic(expected = "extra")]
fn an_unknown_member_fails() {
    check_response(
        "GET",
        "/v1/policies",
        200,
        Some("application/json"),
        br#"{"revision":3,"policies":[],"extra":1}"#,
    );
}

#[test]
#[should_panic(expected = "says status 404")]
fn a_problem_whose_status_is_not_the_answer_s_fails() {
    check_response("GET", "/v1/policies", 400, Some("application/problem+json"), PROBLEM.as_bytes());
}

#[test]
#[should_panic(expected = "one line")]
fn a_problem_on_two_lines_fails() {
    let text = PROBLEM.replace(',', ",\n");
    check_response("GET", "/v1/policies/{name}", 404, Some("application/problem+json"), text.as_bytes());
}

fn ledger() -> Value {
    serde_json::json!({
        "number": 1, "issued_at": "2026-06-01T09:00:00Z", "serial": "4f".repeat(16), "status": "active",
        "cluster": "prod", "user": "alice", "groups": ["dev"], "not_before": "2026-06-01T08:55:00Z",
        "not_after": "2026-06-01T17:00:00Z", "asked_ttl": "8h",
        "credential_id": format!("X509SHA256={}", "ab".repeat(32)), "fingerprint_sha256": "ab".repeat(32),
        "key_kind": "p-256", "spki_sha256": "cd".repeat(32), "policies": ["dev"], "policy_revision": 1,
        "requested_by": "token:portal", "requester_groups": [], "on_behalf_of": null, "on_behalf_of_proof": false,
        "reason": null, "request_id": "00".repeat(16), "client_request_id": null, "address": "127.0.0.1",
        "renewed_from": null,
    })
}

#[test]
fn a_ledger_row_and_a_whole_record_pass() {
    let list = serde_json::json!({"items": [ledger()], "next_cursor": null}).to_string();
    check_response("GET", "/v1/certificates", 200, Some("application/json"), list.as_bytes());
    let mut record = ledger();
    record["renew_after"] = "2026-06-01T14:20:00Z".into();
    record["certificate"] = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n".into();
    record["chain"] = serde_json::json!([]);
    record["kubeconfig"] = Value::Null;
    let body = record.to_string();
    check_response("GET", "/v1/certificates/{serial}", 200, Some("application/json"), body.as_bytes());
}

#[test]
#[should_panic(expected = "surprise")]
fn a_ledger_row_with_an_unknown_member_fails() {
    let mut row = ledger();
    row["surprise"] = 1.into();
    let list = serde_json::json!({"items": [row], "next_cursor": null}).to_string();
    check_response("GET", "/v1/certificates", 200, Some("application/json"), list.as_bytes());
}
