//! `GET /v1/whoami`.

use crate::app::TestApp;

#[tokio::test]
async fn a_caller_sees_itself_and_what_it_may_ask_for() {
    let app = TestApp::new().await;
    let who = app.alice().await.get("/v1/whoami").await.expect(200);
    assert_eq!(who["caller"], "token:alice");
    assert_eq!(who["roles"], serde_json::json!(["requester"]));
    let permissions = who["permissions"].to_string();
    for part in ["prod", "alice", "dev", "team-*", "8h"] {
        assert!(permissions.contains(part), "{part}: {permissions}");
    }
    let who = app.auditor().await.get("/v1/whoami").await.expect(200);
    assert_eq!(who["permissions"], serde_json::json!([]));
}
