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
