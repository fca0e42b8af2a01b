//! `GET /v1/audit`.

use crate::app::TestApp;
use crate::csr::csr;

#[tokio::test]
async fn a_follower_reads_every_event_in_commit_order() {
    let app = TestApp::new().await;
    let (alice, auditor) = (app.alice().await, app.auditor().await);
    alice.sign("?cluster=prod", csr("/CN=alice")).await.expect(201);
    alice.sign("?cluster=prod", csr("/CN=bob")).await.expect(403);
    let (mut kinds, mut after) = (Vec::new(), 0);
    loop {
        let list = auditor.get(&format!("/v1/audit?after={after}&limit=2")).await.expect(200);
        let items = list["items"].as_array().unwrap();
        let Some(newest) = items.last() else { break };
        assert!(items.iter().all(|item| item["number"].as_i64().unwrap() > after));
        after = newest["number"].as_i64().unwrap();
        kinds.extend(items.iter().map(|item| item["kind"].as_str().unwrap().to_owned()));
    }
    assert_eq!(
        kinds,
        ["policy.replaced", "token.created", "token.created", "certificate.issued", "request.refused"]
    );
}

#[tokio::test]
async fn the_log_is_for_auditors() {
    let app = TestApp::new().await;
    app.alice().await.get("/v1/audit").await.refused(403, "role_missing");
    app.admin().await.get("/v1/audit").await.refused(403, "role_missing");
}

#[tokio::test]
async fn no_event_holds_a_token() {
    let app = TestApp::new().await;
    app.alice().await;
    let log = app.auditor().await.get("/v1/audit").await;
    assert!(log.text().contains("token.created") && !log.text().contains("cs1_"), "{}", log.text());
}

#[tokio::test]
async fn what_an_auditor_reads_is_one_event_of_its_kind_and_own_records_are_none() {
    let app = TestApp::new().await;
    let (alice, auditor) = (app.alice().await, app.auditor().await);
    alice.get("/v1/certificates").await.expect(200);
    for path in ["/v1/certificates?user=alice", "/v1/certificates?user=bob", "/v1/certificates?user=alice"] {
        auditor.get(path).await.expect(200);
    }
    auditor.get("/v1/users/alice").await.refused(404, "not_found");
    app.app.write_reads().await;
    app.app.write_reads().await;
    let log = auditor.get("/v1/audit?kind=ledger.read&order=asc").await.expect(200);
    let events = log["items"].as_array().unwrap();
    assert_eq!(events.len(), 2, "{log}");
    assert!(events.iter().all(|event| event["caller"] == "token:auditor"));
    assert_eq!(events[0]["detail"]["path"], "/v1/certificates");
    assert_eq!(events[0]["detail"]["reads"], 3);
    assert_eq!(events[0]["detail"]["questions"], serde_json::json!(["user=alice", "user=bob"]));
    assert_eq!(events[1]["detail"]["questions"], serde_json::json!(["alice"]));
}

#[tokio::test]
async fn a_read_goes_on_where_it_cannot_be_audited() {
    let app = TestApp::new().await;
    let auditor = app.auditor().await;
    auditor.get("/v1/certificates").await.expect(200);
    auditor.get("/v1/certificates").await.expect(200);
    app.app.store.close().await;
    app.app.write_reads().await;
    assert!(app.app.metrics.render().contains("countersign_ledger_reads_not_audited_total 2"));
}

#[tokio::test]
async fn an_authentication_whose_event_cannot_be_written_is_counted() {
    let app = TestApp::new().await;
    let (alice, bob) = (app.alice().await, app.bob().await);
    for client in [&alice, &bob, &alice] {
        client.get("/v1/whoami").await.expect(200);
    }
    app.app.store.close().await;
    app.app.write_notes().await;
    assert!(app.app.metrics.render().contains("countersign_authentications_not_audited_total 3"));
}
