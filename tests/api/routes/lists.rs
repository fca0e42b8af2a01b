//! What every list has: periods, both orders, followers, CSV, NDJSON and tags.

use axum::http::Method;
use serde_json::Value;

use crate::app::{Answer, Client, TestApp};
use crate::csr::csr;

/// Alice and bob, an hour apart, eight hours each; carol is refused.
async fn filled() -> (TestApp, Client, Client) {
    let app = TestApp::new().await;
    let (alice, bob, auditor) = (app.alice().await, app.bob().await, app.auditor().await);
    alice.sign("?cluster=prod", csr("/CN=alice/O=dev")).await.expect(201);
    alice.sign("?cluster=prod", csr("/CN=carol")).await.expect(403);
    app.at(3_600);
    bob.sign("?cluster=test", csr("/CN=bob/O=team-a")).await.expect(201);
    (app, alice, auditor)
}

fn users(list: &Value) -> Vec<&str> {
    list["items"].as_array().unwrap().iter().map(|item| item["user"].as_str().unwrap()).collect()
}

async fn accepted(client: &Client, path: &str, kind: &str) -> Answer {
    client.send(Method::GET, path, &[("accept", kind)], Vec::new()).await
}

#[tokio::test]
async fn periods_find_what_was_issued_valid_or_expired_in_them() {
    let (_app, _, auditor) = filled().await;
    for (filter, expected) in [
        ("issued_after=2026-06-01T09:00:00Z&issued_before=2026-06-01T10:00:00Z", vec!["alice"]),
        ("issued_after=2026-06-01T10:00:00Z", vec!["bob"]),
        ("expires_before=2026-06-01T17:00:01Z", vec!["alice"]),
        ("expires_after=2026-06-01T17:00:01Z", vec!["bob"]),
        ("valid_at=2026-06-01T09:00:00Z", vec!["alice"]),
        ("valid_at=2026-06-01T17:30:00Z", vec!["bob"]),
        ("valid_from=2026-06-01T00:00:00Z&valid_to=2026-06-30T00:00:00Z", vec!["bob", "alice"]),
        ("valid_from=2026-06-01T00:00:00Z&valid_to=2026-06-30T00:00:00Z&order=asc", vec!["alice", "bob"]),
        ("valid_from=2026-05-01T00:00:00Z&valid_to=2026-05-30T00:00:00Z", vec![]),
    ] {
        let list = auditor.get(&format!("/v1/certificates?{filter}")).await.expect(200);
        assert_eq!(users(&list), expected, "{filter}");
        assert_eq!(list["as_of"], "2026-06-01T10:00:00Z", "{filter}");
    }
    for wrong in ["valid_from=2026-06-01T00:00:00Z", "order=up", "after_number=x", "valid_at=june"] {
        auditor.get(&format!("/v1/certificates?{wrong}")).await.refused(400, "parameter_invalid");
    }
}

#[tokio::test]
async fn a_follower_of_certificates_goes_on_behind_what_it_saw() {
    let (app, alice, auditor) = filled().await;
    let first = auditor.get("/v1/certificates?after_number=0&limit=1").await.expect(200);
    assert_eq!(users(&first), ["alice"]);
    let seen = first["items"][0]["number"].as_i64().unwrap();
    let rest = format!("/v1/certificates?after_number={seen}");
    assert_eq!(users(&auditor.get(&rest).await.expect(200)), ["bob"]);
    app.at(3_601);
    alice.sign("?cluster=test", csr("/CN=alice")).await.expect(201);
    assert_eq!(users(&auditor.get(&rest).await.expect(200)), ["bob", "alice"]);
}

#[tokio::test]
async fn ndjson_has_every_row_and_says_at_its_end_how_many() {
    let (_app, alice, auditor) = filled().await;
    for (path, count) in [("/v1/certificates", 2), ("/v1/refusals", 1), ("/v1/audit?order=asc", 7)] {
        let answer = accepted(&auditor, path, "application/x-ndjson").await;
        assert_eq!(answer.header("content-type"), "application/x-ndjson");
        let lines: Vec<Value> =
            answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), count + 1, "{path}");
        assert_eq!(lines[count], serde_json::json!({"end": true, "count": count}), "{path}");
    }
    let page = auditor.get("/v1/certificates").await.expect(200);
    let streamed = auditor.get("/v1/certificates?format=ndjson&limit=1").await;
    let line: Value = serde_json::from_str(streamed.text().lines().next().unwrap()).unwrap();
    assert_eq!(line, page["items"][0]);
    // A requester's own, and nothing where it asks for another's.
    let own = alice.get("/v1/certificates?format=ndjson").await;
    assert!(own.text().contains("\"user\":\"alice\"") && !own.text().contains("bob"), "{}", own.text());
    let others = alice.get("/v1/certificates?format=ndjson&caller=token:bob").await;
    assert_eq!(others.text(), "{\"end\":true,\"count\":0}\n");
    alice.get("/v1/audit?format=ndjson").await.refused(403, "role_missing");
}

#[tokio::test]
async fn csv_has_a_header_and_an_end_and_no_formula() {
    let app = TestApp::with_policies(
        "policies:\n  - { name: any, effect: allow, clusters: [\"*\"], callers: [\"token:alice\"], users: [\"*\"], groups: [\"*\"] }",
    )
    .await;
    let (alice, auditor) = (app.alice().await, app.auditor().await);
    alice.sign("?cluster=prod", csr("/CN=@SUM(A1)/O==1")).await.expect(201);
    let answer = accepted(&auditor, "/v1/certificates", "text/csv").await;
    let lines: Vec<&str> = answer.text().split("\r\n").collect();
    assert!(lines[0].starts_with("number,issued_at,serial,status,cluster,user,groups,"), "{}", lines[0]);
    assert!(lines[1].contains(",'@SUM(A1),\"[\"\"=1\"\"]\","), "{}", lines[1]);
    assert!(lines[2].starts_with("end,1,,,"), "{}", lines[2]);
    assert_eq!(lines[2].matches(',').count(), lines[0].matches(',').count());
    assert_eq!(lines[3], "");
    let none = alice.get("/v1/refusals?format=csv&caller=token:bob").await;
    assert!(
        none.text().starts_with("number,at,code,") && none.text().contains("\r\nend,0,"),
        "{}",
        none.text()
    );
}

#[tokio::test]
async fn a_list_that_has_not_changed_is_304() {
    let (app, alice, auditor) = filled().await;
    let tag = auditor.get("/v1/certificates").await.header("etag").to_owned();
    let again = async || {
        auditor.send(Method::GET, "/v1/certificates", &[("if-none-match", tag.as_str())], Vec::new()).await
    };
    app.at(3_700);
    assert_eq!(again().await.status, 304);
    alice.sign("?cluster=prod", csr("/CN=alice")).await.expect(201);
    assert_eq!(again().await.status, 200);
}

#[tokio::test]
async fn no_more_exports_run_than_there_may() {
    let (app, _, auditor) = filled().await;
    let held = ["token:x", "token:y"].map(|caller| app.app.exports.take(caller).unwrap());
    auditor.get("/v1/certificates?format=csv").await.refused(503, "exports_busy");
    drop(held);
    assert_eq!(auditor.get("/v1/certificates?format=csv").await.status, 200);
}

#[tokio::test]
async fn a_caller_that_reads_an_export_slowly_keeps_no_other_out() {
    let (app, alice, auditor) = filled().await;
    let own = app.app.exports.take("token:auditor").unwrap();
    auditor.get("/v1/refusals?format=ndjson").await.refused(503, "exports_busy");
    assert_eq!(alice.get("/v1/certificates?format=csv").await.status, 200);
    assert_eq!(auditor.get("/v1/certificates").await.status, 200, "a page is no export");
    drop(own);
    assert_eq!(auditor.get("/v1/refusals?format=ndjson").await.status, 200);
}
