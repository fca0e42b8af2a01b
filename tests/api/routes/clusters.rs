//! `GET /v1/clusters` and the two CA files.

use crate::app::TestApp;
use crate::csr::x509;

#[tokio::test]
async fn a_caller_sees_the_clusters_and_their_cas() {
    let app = TestApp::new().await;
    let alice = app.alice().await;
    let list = alice.get("/v1/clusters").await.expect(200);
    let names: Vec<_> = list["items"].as_array().unwrap().iter().map(|item| item["name"].clone()).collect();
    assert_eq!(names, ["prod", "test"]);
    for file in ["client-ca.pem", "server-ca.pem"] {
        let answer = alice.get(&format!("/v1/clusters/prod/{file}")).await;
        assert_eq!(answer.status, 200);
        assert!(x509(answer.text(), &["-subject"]).contains("prod CA"));
        assert!(!answer.text().contains("PRIVATE"));
    }
    alice.get("/v1/clusters/nowhere/client-ca.pem").await.refused(404, "not_found");
    app.nobody().get("/v1/clusters").await.refused(401, "unauthenticated");
}
