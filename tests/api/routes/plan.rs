//! `POST /v1/policies/plan` and `GET /v1/certificates?drifted=true`.

use axum::http::Method;
use serde_json::{Value, json};

use crate::app::{Answer, Client, POLICIES, TestApp};
use crate::csr::csr;

/// As [`POLICIES`], but people get no team any more, and admins are not denied.
const NARROWER: &str = r#"
policies:
  - { name: people, effect: allow, clusters: ["*"], callers: ["token:alice", "token:bob"], users: ["{caller}"], groups: ["dev", "admins"], max_ttl: 8h }
  - { name: portal, effect: allow, clusters: [prod], callers: ["token:portal"], on_behalf_of: ["*"], users: ["{on_behalf_of}"], groups: [dev] }
"#;

async fn plan(client: &Client, query: &str, body: &str) -> Answer {
    client.send(Method::POST, &format!("/v1/policies/plan{query}"), &[], body.as_bytes().to_vec()).await
}

/// Alice has two certificates with a team and one without, Bob was refused twice, a portal got one, and
/// a CSR was no CSR.
async fn filled() -> TestApp {
    let app = TestApp::new().await;
    let (alice, bob, portal) = (app.alice().await, app.bob().await, app.portal().await);
    for _ in 0..2 {
        alice.sign("?cluster=prod", csr("/CN=alice/O=team-x")).await.expect(201);
        bob.sign("?cluster=prod", csr("/CN=bob/O=admins")).await.refused(403, "policy_denied");
    }
    alice.sign("?cluster=test&ttl=1h", csr("/CN=alice/O=dev")).await.expect(201);
    portal.sign("?cluster=prod&on_behalf_of=carol", csr("/CN=carol/O=dev")).await.expect(201);
    alice.sign("?cluster=prod", "junk").await.refused(422, "body_not_a_csr");
    app
}

fn names(rows: &Value) -> Vec<&str> {
    rows.as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_plan_shows_what_a_set_would_change() {
    let app = filled().await;
    let before = app.app.store.newest_number().await.unwrap();
    let plan = plan(&app.auditor().await, "", NARROWER).await.expect(200);
    assert_eq!(plan["revision"], 1);
    assert_eq!((names(&plan["added"]), names(&plan["removed"])), (vec![], vec!["no-admins"]));
    assert_eq!(plan["changed"][0]["old"]["groups"], json!(["dev", "team-*"]));
    assert_eq!(plan["held"], json!([]));

    let lost = &plan["certificates"];
    assert_eq!(
        (&lost["live"], &lost["no_longer_allowed"], &lost["already"]),
        (&json!(4), &json!(2), &json!(0))
    );
    assert_eq!(lost["is_complete"], true);
    let until = lost["by_user"][0]["until"].clone();
    assert_eq!(lost["by_user"], json!([{"name": "alice", "certificates": 2, "until": until}]));
    assert_eq!(lost["by_group"], json!([{"name": "team-x", "certificates": 2, "until": until}]));
    let one = &lost["items"][0];
    assert_eq!((&one["user"], &one["cluster"], &one["not_after"]), (&json!("alice"), &json!("prod"), &until));
    assert_eq!(
        one["was"],
        json!({"effect": "allow", "policy_revision": 1, "policies": ["people"], "violations": []})
    );
    assert_eq!(one["would_be"]["violations"][0]["value"], "team-x");

    let replay = &plan["replay"];
    assert_eq!((&replay["decisions"], &replay["distinct"]), (&json!(7), &json!(4)));
    assert_eq!(
        (&replay["flips"], &replay["already"], &replay["not_decided"]),
        (&json!(4), &json!(0), &json!(1))
    );
    let items = replay["items"].as_array().unwrap();
    assert_eq!(items.len(), 2, "each question once: {replay}");
    let of = |user: &str| items.iter().find(|flip| flip["user"] == user).unwrap();
    assert_eq!((&of("bob")["decisions"], &of("alice")["decisions"]), (&json!(2), &json!(2)));
    assert_eq!(of("bob")["was"]["effect"], "deny");
    assert_eq!(of("bob")["was"]["violations"][0]["rule"], "no-admins");
    assert_eq!(of("bob")["was"]["policies"], json!(["no-admins"]));
    assert_eq!(of("bob")["would_be"]["policies"], json!(["people"]));
    assert_eq!(of("bob")["would_be"]["lifetime"], "8h");
    assert_eq!(of("alice")["was"]["policies"], json!(["people"]));

    assert_eq!(
        app.app.store.newest_number().await.unwrap() - before,
        1,
        "the auditor's token, and nothing else"
    );
    assert_eq!(app.app.store.revisions().await.unwrap().policy, 1);
}

#[tokio::test]
async fn the_same_set_changes_nothing() {
    let app = filled().await;
    let plan = plan(&app.admin().await, "", POLICIES).await.expect(200);
    assert_eq!((names(&plan["added"]), names(&plan["removed"])), (vec![], vec![]));
    assert_eq!(plan["changed"], json!([]));
    assert_eq!((&plan["certificates"]["items"], &plan["replay"]["items"]), (&json!([]), &json!([])));
}

#[tokio::test]
async fn a_replay_is_of_the_last_decisions_and_says_what_flips_already() {
    let app = filled().await;
    let admin = app.admin().await;
    let replay = |plan: Value| (plan["replay"]["decisions"].clone(), plan["replay"]["flips"].clone());
    let asked = async |query: &str| replay(plan(&admin, query, NARROWER).await.expect(200));
    assert_eq!(asked("?replay=3").await, (json!(3), json!(0)), "the junk, carol, and alice on test");
    assert_eq!(asked("?replay=4").await, (json!(4), json!(1)));
    assert_eq!(asked("?replay=0").await, (json!(0), json!(0)));
    for wrong in ["?replay=-1", "?replay=1000001", "?replay=x", "?replay="] {
        plan(&admin, wrong, NARROWER).await.refused(400, "parameter_invalid");
    }
    app.apply(NARROWER).await;
    let plan = plan(&admin, "", "policies: []").await.expect(200);
    assert_eq!((&plan["revision"], &plan["certificates"]["no_longer_allowed"]), (&json!(2), &json!(4)));
    assert_eq!(plan["certificates"]["already"], 2);
    assert_eq!((&plan["replay"]["flips"], &plan["replay"]["already"]), (&json!(4), &json!(2)));
    assert_eq!(plan["replay"]["items"][0]["already"], false, "what the plan itself changes comes first");
}

#[tokio::test]
async fn a_plan_names_held_rows_and_a_broken_set_has_none() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let stop = r#"{ name: stop, effect: deny, clusters: ["*"], callers: ["token:*"], users: [mallory], hold: true }"#;
    app.apply(&format!("policies: [{stop}]")).await;
    assert_eq!(plan(&admin, "", POLICIES).await.expect(200)["held"], json!(["stop"]));
    plan(&admin, "", "policies: [{}]").await.refused(422, "policy_invalid");
    plan(&admin, "", &POLICIES.replace("[prod]", "[prdo]")).await.refused(422, "policy_invalid");
}

#[tokio::test]
async fn who_plans_is_noted_as_a_reader_of_the_ledger() {
    let app = filled().await;
    plan(&app.admin().await, "?replay=7", NARROWER).await.expect(200);
    app.app.write_reads().await;
    let events = app.auditor().await.get("/v1/audit?kind=ledger.read").await.expect(200);
    assert_eq!(
        (&events["items"][0]["caller"], &events["items"][0]["detail"]["path"]),
        (&json!("token:admin"), &json!("/v1/policies/plan"))
    );
}

#[tokio::test]
async fn a_live_certificate_that_todays_policy_would_not_give_has_drifted() {
    let app = filled().await;
    let (alice, bob, auditor) = (
        app.client("alice-2", &["requester"], false).await,
        app.client("bob-2", &["requester"], false).await,
        app.auditor().await,
    );
    let drifted = async |client: &Client, more: &str| -> Value {
        client.get(&format!("/v1/certificates?drifted=true{more}")).await.expect(200)["items"].clone()
    };
    assert_eq!(drifted(&auditor, "").await, json!([]));
    app.apply(NARROWER).await;
    let items = drifted(&auditor, "").await;
    let users: Vec<_> =
        items.as_array().unwrap().iter().map(|one| (&one["user"], &one["groups"][0])).collect();
    assert_eq!(users, [(&json!("alice"), &json!("team-x")); 2]);
    assert_eq!(drifted(&auditor, "&cluster=test").await, json!([]));
    assert_eq!(drifted(&auditor, "&user=carol").await, json!([]));
    let page = auditor.get("/v1/certificates?drifted=true&limit=1").await.expect(200);
    let cursor = page["next_cursor"].as_str().unwrap();
    let rest = auditor.get(&format!("/v1/certificates?drifted=true&cursor={cursor}")).await.expect(200);
    assert_eq!((page["items"].as_array().unwrap().len(), rest["items"].as_array().unwrap().len()), (1, 1));
    assert_ne!(page["items"][0]["serial"], rest["items"][0]["serial"]);
    assert_eq!(
        (drifted(&alice, "").await, drifted(&bob, "").await),
        (json!([]), json!([])),
        "only their own"
    );
    let csv = auditor.get("/v1/certificates?drifted=true&format=csv").await;
    assert_eq!(csv.text().matches("team-x").count(), 2);
    app.at(9 * 3_600);
    assert_eq!(drifted(&auditor, "").await, json!([]), "an expired one is no matter any more");
    for wrong in ["drifted=false", "drifted=", "drifted=true&status=expired"] {
        auditor.get(&format!("/v1/certificates?{wrong}")).await.refused(400, "parameter_invalid");
    }
}
