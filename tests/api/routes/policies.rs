//! `/v1/policies` and `/v1/policies/{name}`.

use axum::http::Method;
use serde_json::json;

use crate::app::{Answer, Client, TestApp};
use crate::csr::csr;

const ONE: &str =
    r#"policies: [{ name: one, effect: allow, clusters: [prod], callers: ["token:alice"], users: [alice] }]"#;

async fn put(client: &Client, if_match: &str, body: &str) -> Answer {
    let headers: &[_] = if if_match.is_empty() { &[] } else { &[("if-match", if_match)] };
    client.send(Method::PUT, "/v1/policies", headers, body.as_bytes().to_vec()).await
}

#[tokio::test]
async fn what_is_read_can_be_written_back() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let answer = admin.get("/v1/policies").await;
    let etag = answer.header("etag").to_owned();
    let set = answer.expect(200);
    assert_eq!(set["policies"].as_array().unwrap().len(), 3);
    let body = json!({ "policies": set["policies"] }).to_string();
    let change = put(&admin, &etag, &body).await.expect(200);
    assert_eq!(
        (&change["revision"], &change["changed"]),
        (&json!(1), &json!([])),
        "the same set is no new revision"
    );
    let row = admin.get("/v1/policies/people").await.expect(200);
    assert_eq!(row, *set["policies"].as_array().unwrap().iter().find(|row| row["name"] == "people").unwrap());
}

#[tokio::test]
async fn a_write_names_the_revision_that_it_changes() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    put(&admin, "", ONE).await.refused(428, "if_match_required");
    put(&admin, "\"7\"", "not even read").await.refused(412, "revision_mismatch");
    put(&admin, "garbage", ONE).await.refused(412, "revision_mismatch");
    let change = put(&admin, "\"1\"", ONE).await.expect(200);
    assert_eq!(change["revision"], 2);
    assert_eq!(change["removed"], json!(["no-admins", "people", "portal"]));
    put(&admin, "\"1\"", ONE).await.refused(412, "revision_mismatch");
    let old = admin.get("/v1/policies?revision=1").await.expect(200);
    assert_eq!(old["policies"].as_array().unwrap().len(), 3);
    admin.get("/v1/policies?revision=9").await.refused(404, "not_found");
}

#[tokio::test]
async fn a_broken_set_changes_nothing_and_names_the_row() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    for (body, part) in [
        ("policies: [", "line"),
        ("policies: []\nextra: 1", "extra"),
        ("policies: [{ name: one }]", "effect"),
        (&ONE.replace("users: [alice]", "users: []"), "users"),
        (&ONE.replace("[prod]", "[prdo]"), "prdo"),
        (&ONE.replace("[prod]", "[prod], colour: red"), "colour"),
        (&ONE.replace("allow", "review"), "review"),
        (&ONE.replace("users: [alice]", "users: [\"{nobody}\"]"), "nobody"),
        (
            &ONE.replace(
                "}]",
                "}, { name: one, effect: deny, clusters: [prod], callers: [\"token:a\"], users: [b] }]",
            ),
            "one",
        ),
    ] {
        let problem = put(&admin, "\"1\"", body).await.refused(422, "policy_invalid");
        assert!(problem["detail"].as_str().unwrap().contains(part), "{part}: {problem}");
    }
    assert_eq!(admin.get("/v1/policies").await.expect(200)["revision"], 1);
}

#[tokio::test]
async fn only_an_admin_writes_and_only_admins_and_auditors_read() {
    let app = TestApp::new().await;
    put(&app.auditor().await, "\"1\"", ONE).await.refused(403, "role_missing");
    let alice = app.alice().await;
    put(&alice, "\"1\"", ONE).await.refused(403, "role_missing");
    alice.get("/v1/policies").await.refused(403, "role_missing");
    app.client("auditor-2", &["auditor"], false).await.get("/v1/policies").await.expect(200);
}

#[tokio::test]
async fn a_change_of_policy_is_audited_with_old_and_new() {
    let app = TestApp::new().await;
    put(&app.admin().await, "\"1\"", ONE).await.expect(200);
    let events = app.auditor().await.get("/v1/audit?kind=policy.replaced").await.expect(200);
    let newest = &events["items"][0];
    assert_eq!(newest["caller"], "token:admin");
    assert!(newest["detail"].to_string().contains("no-admins"), "{newest}");
}

#[tokio::test]
async fn a_token_that_was_revoked_behind_the_service_changes_nothing() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    app.revoke("admin").await;
    put(&admin, "*", ONE).await.refused(401, "unauthenticated");
    assert_eq!(app.app.store.revisions().await.unwrap().policy, 1);
}

#[tokio::test]
async fn a_refused_set_is_on_record() {
    let app = TestApp::new().await;
    put(&app.admin().await, "*", &ONE.replace("[alice]", "[]")).await.refused(422, "policy_invalid");
    let list = app.auditor().await.get("/v1/refusals?code=policy_invalid").await.expect(200);
    assert_eq!(list["items"].as_array().unwrap().len(), 1, "{list}");
}

#[tokio::test]
async fn a_stored_set_that_is_not_understood_allows_nothing_and_keeps_no_token_alive() {
    let app = TestApp::new().await;
    let (alice, auditor) = (app.alice().await, app.auditor().await);
    // Another configuration, which does not reserve `oidc:`, would take this row.
    app.apply(r#"policies: [{ name: wide, effect: allow, clusters: ["*"], callers: ["token:alice"], users: ["*"], groups: ["oidc:root"] }]"#).await;
    app.revoke("auditor").await;
    alice.sign("?cluster=prod", csr("/CN=alice")).await.refused(403, "policy_denied");
    auditor.get("/v1/audit").await.refused(401, "unauthenticated");
    let problem = app.nobody().get("/readyz").await.refused(503, "not_ready");
    assert!(problem["detail"].as_str().unwrap().contains("wide"), "{problem}");
    app.apply(crate::app::POLICIES).await;
    alice.sign("?cluster=prod", csr("/CN=alice")).await.expect(201);
    assert_eq!(app.nobody().get("/readyz").await.status, 200);
}

const ROW: &str = r#"{"name": "one", "effect": "allow", "clusters": ["prod"], "callers": ["token:alice"], "users": ["alice"]}"#;
const HELD: &str = r#"{"name": "stop", "effect": "deny", "clusters": ["*"], "callers": ["token:*"], "users": ["mallory"], "hold": true}"#;

async fn put_one(client: &Client, name: &str, headers: &[(&str, &str)], row: &str) -> Answer {
    client.send(Method::PUT, &format!("/v1/policies/{name}"), headers, row.as_bytes().to_vec()).await
}

async fn delete(client: &Client, name: &str, if_match: &str) -> Answer {
    let headers: &[_] = if if_match.is_empty() { &[] } else { &[("if-match", if_match)] };
    client.send(Method::DELETE, &format!("/v1/policies/{name}"), headers, Vec::new()).await
}

#[tokio::test]
async fn a_row_is_made_read_changed_and_taken_away() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let made = put_one(&admin, "one", &[("if-none-match", "*")], ROW).await;
    assert_eq!((made.header("etag"), made.header("location")), ("\"2\"", "/v1/policies/one"));
    assert_eq!(made.expect(201)["added"], json!(["one"]));
    let read = admin.get("/v1/policies/one").await;
    let etag = read.header("etag").to_owned();
    let mut row = read.expect(200);
    row["max_ttl"] = json!("1h");
    let changed = put_one(&admin, "one", &[("if-match", &etag)], &row.to_string()).await.expect(200);
    assert_eq!((&changed["changed"], &changed["revision"]), (&json!(["one"]), &json!(3)));
    put_one(&admin, "one", &[("if-match", &etag)], ROW).await.refused(412, "revision_mismatch");
    let gone = delete(&admin, "one", "\"3\"").await.expect(200);
    assert_eq!((&gone["removed"], &gone["revision"]), (&json!(["one"]), &json!(4)));
    admin.get("/v1/policies/one").await.refused(404, "not_found");
    let old = admin.get("/v1/policies?revision=3").await.expect(200);
    assert_eq!(old["policies"].as_array().unwrap().len(), 4, "old revisions stay readable");
}

#[tokio::test]
async fn a_row_is_written_under_a_precondition_that_holds() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let broken = "this is not even read";
    put_one(&admin, "one", &[], broken).await.refused(428, "if_match_required");
    delete(&admin, "people", "").await.refused(428, "if_match_required");
    for (name, headers, code) in [
        ("people", &[("if-none-match", "*")][..], "policy_exists"),
        ("people", &[("if-match", "\"0\"")], "revision_mismatch"),
        ("people", &[("if-match", "\"9\"")], "revision_mismatch"),
        ("people", &[("if-match", "garbage")], "revision_mismatch"),
        ("one", &[("if-match", "*")], "revision_mismatch"),
        ("one", &[("if-match", "\"1\"")], "revision_mismatch"),
    ] {
        put_one(&admin, name, headers, broken).await.refused(412, code);
    }
    for headers in [&[("if-none-match", "\"1\"")][..], &[("if-none-match", "*"), ("if-match", "*")]] {
        put_one(&admin, "one", headers, broken).await.refused(400, "parameter_invalid");
    }
    delete(&admin, "one", "*").await.refused(412, "revision_mismatch");
    delete(&admin, "people", "\"9\"").await.refused(412, "revision_mismatch");
    put_one(&admin, "People", &[("if-match", "*")], broken).await.refused(400, "parameter_invalid");
    assert_eq!(app.app.store.revisions().await.unwrap().policy, 1);
}

#[tokio::test]
async fn two_who_change_different_rows_are_not_in_each_others_way() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let mut people = admin.get("/v1/policies/people").await.expect(200);
    let mut portal = admin.get("/v1/policies/portal").await.expect(200);
    people["max_ttl"] = json!("1h");
    portal["max_ttl"] = json!("2h");
    put_one(&admin, "people", &[("if-match", "\"1\"")], &people.to_string()).await.expect(200);
    put_one(&admin, "portal", &[("if-match", "\"1\"")], &portal.to_string()).await.expect(200);
    put_one(&admin, "people", &[("if-match", "\"1\"")], &portal.to_string())
        .await
        .refused(412, "revision_mismatch");
    let known =
        admin.send(Method::GET, "/v1/policies/people", &[("if-none-match", "\"3\"")], Vec::new()).await;
    assert_eq!(known.status, 304, "the set of revision 3 has the row as it is");
    let known =
        admin.send(Method::GET, "/v1/policies/people", &[("if-none-match", "\"1\"")], Vec::new()).await;
    assert_eq!(known.status, 200);
}

#[tokio::test]
async fn a_broken_row_changes_nothing() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    for (row, part) in [
        (ROW.replace("one", "two"), "two"),
        (ROW.replace("prod", "prdo"), "prdo"),
        (ROW.replace("allow", "permit"), "permit"),
        (format!("policies: [{ROW}]"), "policies"),
        ("{".to_owned(), "JSON"),
    ] {
        let problem =
            put_one(&admin, "one", &[("if-none-match", "*")], &row).await.refused(422, "policy_invalid");
        assert!(problem["detail"].as_str().unwrap().contains(part), "{part}: {problem}");
    }
    let plan = ROW.replace("one", "plan");
    put_one(&admin, "plan", &[("if-none-match", "*")], &plan).await.refused(405, "method_not_allowed");
    let whole = format!("policies: [{plan}]");
    put(&admin, "*", &whole).await.refused(422, "policy_invalid");
    assert_eq!(app.app.store.revisions().await.unwrap().policy, 1);
}

#[tokio::test]
async fn a_change_of_one_row_is_audited_with_old_and_new() {
    let app = TestApp::new().await;
    let (admin, auditor) = (app.admin().await, app.auditor().await);
    let newest = async || {
        let events = auditor.get("/v1/audit?kind=policy.replaced").await.expect(200);
        assert_eq!(events["items"][0]["caller"], "token:admin");
        events["items"][0]["detail"].clone()
    };
    put_one(&admin, "one", &[("if-none-match", "*")], ROW).await.expect(201);
    assert_eq!(newest().await["added"][0]["users"], json!(["alice"]));
    put_one(&admin, "one", &[("if-match", "*")], &ROW.replace(r#"["alice"]"#, r#"["bob"]"#))
        .await
        .expect(200);
    let detail = newest().await;
    let pair = &detail["changed"][0];
    assert_eq!((&pair["old"]["users"], &pair["new"]["users"]), (&json!(["alice"]), &json!(["bob"])));
    delete(&admin, "one", "*").await.expect(200);
    let detail = newest().await;
    assert_eq!((&detail["removed"][0]["name"], &detail["revision"]), (&json!("one"), &json!(4)));
}

#[tokio::test]
async fn a_held_row_goes_by_its_own_name_only() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    put_one(&admin, "stop", &[("if-none-match", "*")], HELD).await.expect(201);
    let problem = put(&admin, "*", ONE).await.refused(409, "policy_held");
    assert!(problem["detail"].as_str().unwrap().contains("`stop`"), "{problem}");
    put(&admin, "*", &ONE.replace("}]", &format!("}}, {HELD}]"))).await.expect(200);
    put(&admin, "*", "policies: []").await.refused(409, "policy_held");
    put_one(&admin, "stop", &[("if-match", "*")], &HELD.replace("mallory", "eve")).await.expect(200);
    delete(&admin, "stop", "*").await.expect(200);
    put(&admin, "*", "policies: []").await.expect(200);
    let wrong = HELD.replace("deny", "allow");
    let problem =
        put_one(&admin, "stop", &[("if-none-match", "*")], &wrong).await.refused(422, "policy_invalid");
    assert!(problem["detail"].as_str().unwrap().contains("hold"), "{problem}");
}

#[tokio::test]
async fn a_token_that_was_revoked_behind_the_service_changes_no_row() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    app.revoke("admin").await;
    put_one(&admin, "one", &[("if-none-match", "*")], ROW).await.refused(401, "unauthenticated");
    delete(&admin, "people", "*").await.refused(401, "unauthenticated");
    assert_eq!(app.app.store.revisions().await.unwrap().policy, 1);
}
