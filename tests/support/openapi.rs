//! Holds an answer against `openapi.yaml`.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what helps a test fails by panicking"
)]

use std::sync::LazyLock;

use serde_json::{Value, json};

/// The description, read once.
pub fn document() -> &'static Value {
    static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
        let text = include_str!("../../openapi.yaml");
        serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("openapi.yaml: {error}"))
    });
    &DOCUMENT
}

/// Panics unless `openapi.yaml` describes this answer: the status and the media type of the operation, and
/// the body's schema. A path or method that is not described may only answer 404, 405 or 500 with a problem.
pub fn check_response(
    method: &str,
    path_template: &str,
    status: u16,
    content_type: Option<&str>,
    body: &[u8],
) {
    let what = format!("{method} {path_template} {status}");
    let kind =
        content_type.map(|text| text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
    if kind.as_deref() == Some("application/problem+json") && method != "HEAD" {
        check_problem(&what, status, body);
    }
    let Some(operation) = operation(method, path_template) else {
        assert!(matches!(status, 404 | 405 | 500), "{what}: no such operation in openapi.yaml");
        assert_eq!(kind.as_deref(), Some("application/problem+json"), "{what}: not a problem");
        return;
    };
    let response = operation["responses"].get(status.to_string());
    let response =
        resolve(response.unwrap_or_else(|| panic!("{what}: openapi.yaml knows no status {status}")));
    let Some(contents) = response.get("content") else {
        assert!(body.is_empty(), "{what}: openapi.yaml knows no body, but there is one");
        return;
    };
    let kind = kind.unwrap_or_else(|| panic!("{what}: no Content-Type"));
    let content = contents.get(&kind);
    let content =
        content.unwrap_or_else(|| panic!("{what}: openapi.yaml knows {}, not {kind}", names(contents)));
    if method != "HEAD" {
        check_body(&what, &kind, content.get("schema").unwrap_or(&Value::Bool(true)), body);
    }
}

/// HEAD is what GET is.
fn operation(method: &str, path: &str) -> Option<&'static Value> {
    let method = if method == "HEAD" { "get".to_owned() } else { method.to_ascii_lowercase() };
    document()["paths"].get(path)?.get(method)
}

fn check_problem(what: &str, status: u16, body: &[u8]) {
    let end = body.iter().position(|byte| *byte == b'\n');
    assert!(
        end.is_some_and(|end| end + 1 == body.len()),
        "{what}: a problem is one line that ends in a newline"
    );
    let schema = json!({"$ref": "#/components/schemas/Problem"});
    check_body(what, "application/problem+json", &schema, body);
    let problem: Value = serde_json::from_slice(body).unwrap();
    assert_eq!(problem["status"], status, "{what}: the problem says status {}", problem["status"]);
    let listed = &document()["x-codes"][problem["code"].as_str().unwrap()]["status"];
    assert_eq!(*listed, status, "{what}: the code {} goes with status {listed}", problem["code"]);
}

fn check_body(what: &str, kind: &str, schema: &Value, body: &[u8]) {
    let text = str::from_utf8(body).unwrap_or_else(|error| panic!("{what}: {error}"));
    let instance = if kind.ends_with("/json") || kind.ends_with("+json") {
        serde_json::from_str(text).unwrap_or_else(|error| panic!("{what}: {error}: {text}"))
    } else {
        Value::from(text)
    };
    // The schema stands in the whole document, so that references within it are found.
    let whole = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "components": document()["components"],
        "allOf": [schema],
    });
    let validator =
        jsonschema::validator_for(&whole).unwrap_or_else(|error| panic!("{what}: the schema: {error}"));
    let errors: Vec<_> = validator
        .iter_errors(&instance)
        .map(|error| format!("  at `{}`: {error}", error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{what} is not as openapi.yaml says:\n{}\n{text}", errors.join("\n"));
}

fn resolve(value: &'static Value) -> &'static Value {
    match value.get("$ref").and_then(Value::as_str) {
        None => value,
        Some(pointer) => {
            let found = pointer.strip_prefix('#').and_then(|pointer| document().pointer(pointer));
            found.unwrap_or_else(|| panic!("{pointer} leads nowhere"))
        }
    }
}

fn names(contents: &Value) -> String {
    contents.as_object().map(|kinds| kinds.keys().cloned().collect::<Vec<_>>().join(", ")).unwrap_or_default()
}
