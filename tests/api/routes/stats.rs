//! `GET /v1/stats` and `GET /v1/users/{user}`.

use crate::app::{Client, TestApp};
use crate::csr::csr;

/// Alice has two certificates on two days, bob one; alice was refused once.
async fn filled() -> (TestApp, Client, Client) {
    let app = TestApp::new().await;
    let (alice, bob, auditor) = (app.alice().await, app.bob().await, app.auditor().await);
    alice.sign("?cluster=prod", csr("/CN=alice/O=dev")).await.expect(201);
    alice.sign("?cluster=prod", csr("/CN=alice/O=admins")).await.expect(403);
    app.at(86_400);
    alice.sign("?cluster=test", csr("/CN=alice/O=team-a")).await.expect(201);
    bob.sign("?cluster=test&ttl=1h", csr("/CN=bob")).await.expect(201);
    (app, alice, auditor)
}

async fn counts(client: &Client, query: &str) -> Vec<(String, i64, i64)> {
    let stats = client.get(&format!("/v1/stats?{query}")).await.expect(200);
    assert_eq!(stats["as_of"], "2026-06-02T09:00:00Z");
    let item = |item: &serde_json::Value| {
        let key = item["key"].as_str().unwrap_or("-").to_owned();
        (key, item["certificates"].as_i64().unwrap(), item["refusals"].as_i64().unwrap())
    };
    stats["items"].as_array().unwrap().iter().map(item).collect()
}

#[tokio::test]
async fn records_are_counted_by_what_they_have_in_common() {
    let (_app, alice, auditor) = filled().await;
    for (query, expected) in [
        ("", vec![("2026-06-01", 1, 1), ("2026-06-02", 2, 0)]),
        ("by=expiry_day", vec![("2026-06-01", 1, 0), ("2026-06-02", 2, 0)]),
        ("by=cluster", vec![("prod", 1, 1), ("test", 2, 0)]),
        ("by=group", vec![("-", 1, 0), ("admins", 0, 1), ("dev", 1, 0), ("team-a", 1, 0)]),
        ("by=caller", vec![("token:alice", 2, 1), ("token:bob", 1, 0)]),
        ("by=policy", vec![("no-admins", 0, 1), ("people", 3, 0)]),
        ("by=outcome", vec![("issued", 3, 0), ("policy_denied", 0, 1)]),
        ("by=cluster&user=alice", vec![("prod", 1, 1), ("test", 1, 0)]),
        ("by=group&caller=token:alice&cluster=prod", vec![("admins", 0, 1), ("dev", 1, 0)]),
        ("by=day&before=2026-06-02T00:00:00Z", vec![("2026-06-01", 1, 1)]),
        ("by=outcome&status=active", vec![("issued", 2, 0)]),
        ("by=outcome&code=policy_denied", vec![("policy_denied", 0, 1)]),
        ("by=caller&valid_at=2026-06-02T09:00:00Z&group=team-a", vec![("token:alice", 1, 0)]),
        ("by=expiry_day&expires_after=2026-06-02T12:00:00Z", vec![("2026-06-02", 1, 0)]),
    ] {
        let found = counts(&auditor, query).await;
        let found: Vec<_> = found.iter().map(|(key, one, two)| (key.as_str(), *one, *two)).collect();
        assert_eq!(found, expected, "{query}");
    }
    assert_eq!(counts(&alice, "by=caller").await, [("token:alice".to_owned(), 2, 1)]);
    alice.get("/v1/stats?by=policy").await.refused(403, "role_missing");
    alice.get("/v1/stats?policy=people").await.refused(403, "role_missing");
    auditor.get("/v1/stats?by=hour").await.refused(400, "parameter_invalid");
    auditor.get("/v1/stats?cluster=prd").await.refused(400, "cluster_unknown");
    auditor.get("/v1/stats?limit=5").await.refused(400, "parameter_unknown");
}

#[tokio::test]
async fn a_user_is_told_with_what_is_live_and_what_was() {
    let (app, alice, auditor) = filled().await;
    let user = auditor.get("/v1/users/alice").await.expect(200);
    assert_eq!(user["as_of"], "2026-06-02T09:00:00Z");
    assert_eq!((&user["certificates"], &user["refusals"]), (&2.into(), &1.into()));
    let live = user["live"].as_array().unwrap();
    assert_eq!((live.len(), &live[0]["groups"][0]), (1, &"team-a".into()));
    let groups: Vec<_> = user["groups"].as_array().unwrap().iter().map(|group| &group["name"]).collect();
    assert_eq!(groups, ["dev", "team-a"]);
    assert_eq!(user["groups"][0]["valid_until"], "2026-06-01T17:00:00Z");
    assert_eq!(user["requested_by"][0]["name"], "token:alice");
    assert_eq!(user["latest_refusals"][0]["groups"][0], "admins");
    assert!(user["latest_refusals"][0]["policies"].is_array());
    let own = alice.get("/v1/users/alice").await.expect(200);
    assert!(own["latest_refusals"][0].get("policies").is_none());
    alice.get("/v1/users/bob").await.refused(404, "not_found");
    auditor.get("/v1/users/alic").await.refused(404, "not_found");
    for nobody in ["alice%00", "%20alice", "al%E2%80%8Bice"] {
        auditor.get(&format!("/v1/users/{nobody}")).await.refused(400, "parameter_invalid");
    }
    app.admin().await.get("/v1/users/alice").await.refused(403, "role_missing");
}

#[tokio::test]
async fn several_charts_at_once_wait_for_each_other_and_not_for_exports() {
    let (app, _, auditor) = filled().await;
    let _exports = ["token:x", "token:y"].map(|caller| app.app.exports.take(caller).unwrap());
    let counting = app.app.counting.try_acquire().unwrap();
    let charts = async { tokio::join!(counts(&auditor, "by=day"), counts(&auditor, "by=caller")) };
    let end_of_others = async {
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        drop(counting);
    };
    let (charts, ()) = tokio::join!(charts, end_of_others);
    assert_eq!((charts.0.len(), charts.1.len()), (2, 2));
}
