//! `GET /v1/certificates` and `GET /v1/certificates/{serial}`.

use axum::http::Method;

use crate::app::TestApp;
use crate::csr::csr;

#[tokio::test]
async fn a_requester_sees_its_own_and_an_auditor_all() {
    let app = TestApp::new().await;
    let (alice, bob, auditor) = (app.alice().await, app.bob().await, app.auditor().await);
    let issued = alice.sign("?cluster=prod", csr("/CN=alice/O=dev")).await.expect(201);
    bob.sign("?cluster=test", csr("/CN=bob")).await.expect(201);
    let users = |list: serde_json::Value| {
        let items = list["items"].as_array().unwrap().clone();
        items.iter().map(|item| item["user"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(users(alice.get("/v1/certificates").await.expect(200)), ["alice"]);
    assert_eq!(users(auditor.get("/v1/certificates").await.expect(200)), ["bob", "alice"]);
    assert_eq!(users(alice.get("/v1/certificates?caller=token:bob").await.expect(200)), Vec::<String>::new());
    let path = format!("/v1/certificates/{}", issued["serial"].as_str().unwrap());
    bob.get(&path).await.refused(404, "not_found");
    alice.get(&path).await.expect(200);
    app.admin().await.get(&path).await.refused(403, "role_missing");
}

#[tokio::test]
async fn each_filter_narrows_the_list() {
    let app = TestApp::new().await;
    let (alice, bob, auditor) = (app.alice().await, app.bob().await, app.auditor().await);
    let one = alice.sign("?cluster=prod&ttl=10m", csr("/CN=alice/O=dev")).await.expect(201);
    bob.sign("?cluster=test&ttl=1h", csr("/CN=bob/O=team-a")).await.expect(201);
    app.at(601);
    let serial = one["serial"].as_str().unwrap();
    let upper: Vec<String> =
        serial.as_bytes().chunks(2).map(|pair| String::from_utf8_lossy(pair).to_uppercase()).collect();
    for filter in [
        "user=alice".to_owned(),
        "group=dev".to_owned(),
        "cluster=prod".to_owned(),
        "caller=token:alice".to_owned(),
        format!("serial={serial}"),
        format!("serial={}", upper.join(":")),
        format!("credential_id={}", one["credential_id"].as_str().unwrap().replace('=', "%3D")),
        "status=expired".to_owned(),
        "user=alice&group=dev&cluster=prod&status=expired".to_owned(),
    ] {
        let list = auditor.get(&format!("/v1/certificates?{filter}")).await.expect(200);
        let serials: Vec<_> =
            list["items"].as_array().unwrap().iter().map(|item| item["serial"].clone()).collect();
        assert_eq!(serials, [one["serial"].clone()], "{filter}");
    }
    for filter in ["user=alic", "group=de", "caller=token:carol", "status=active&user=alice", "policy=portal"]
    {
        let list = auditor.get(&format!("/v1/certificates?{filter}")).await.expect(200);
        assert_eq!(list["items"].as_array().unwrap().len(), 0, "{filter}");
    }
    for wrong in ["cluster=prd", "user=alice&cluster=nope"] {
        auditor.get(&format!("/v1/certificates?{wrong}")).await.refused(400, "cluster_unknown");
    }
    for wrong in ["caller=alice", "caller=token:", "caller=cli:"] {
        auditor.get(&format!("/v1/certificates?{wrong}")).await.refused(400, "parameter_invalid");
    }
    for wrong in [
        "usr=alice",
        "user=a&user=b",
        "serial=xyz",
        "credential_id=abc",
        "status=live",
        "limit=0",
        "limit=x",
        "cursor=x",
    ] {
        assert_eq!(auditor.get(&format!("/v1/certificates?{wrong}")).await.status, 400, "{wrong}");
    }
}

#[tokio::test]
async fn pages_lose_and_repeat_nothing_and_a_cursor_keeps_its_filters() {
    let app = TestApp::new().await;
    let (alice, auditor) = (app.alice().await, app.auditor().await);
    let mut issued = Vec::new();
    for _ in 0..7 {
        issued.push(alice.sign("?cluster=prod", csr("/CN=alice")).await.expect(201)["serial"].clone());
    }
    issued.reverse();
    let (mut seen, mut path) = (Vec::new(), "/v1/certificates?user=alice&limit=3".to_owned());
    loop {
        let answer = auditor.get(&path).await;
        let link = answer.header("link").to_owned();
        let list = answer.expect(200);
        seen.extend(list["items"].as_array().unwrap().iter().map(|item| item["serial"].clone()));
        let Some(cursor) = list["next_cursor"].as_str() else { break };
        assert!(link.contains(cursor) && link.ends_with("rel=\"next\""), "{link}");
        alice.sign("?cluster=prod", csr("/CN=alice")).await.expect(201);
        auditor
            .get(&format!("/v1/certificates?user=bob&limit=3&cursor={cursor}"))
            .await
            .refused(400, "cursor_invalid");
        path = format!("/v1/certificates?user=alice&limit=3&cursor={cursor}");
    }
    assert_eq!(seen, issued);
}

#[tokio::test]
async fn one_certificate_comes_as_json_pem_or_kubeconfig() {
    let app = TestApp::new().await;
    let alice = app.alice().await;
    let serial = alice.sign("?cluster=prod", csr("/CN=alice")).await.expect(201)["serial"]
        .as_str()
        .unwrap()
        .to_owned();
    let path = format!("/v1/certificates/{serial}");
    assert!(alice.get(&format!("{path}?format=pem")).await.text().starts_with("-----BEGIN CERTIFICATE-----"));
    assert!(
        alice
            .get(&format!("{path}?format=kubeconfig"))
            .await
            .text()
            .contains("current-context: 'alice@prod'")
    );
    let answer = alice.send(Method::GET, &path, &[("accept", "application/yaml")], Vec::new()).await;
    assert!(answer.header("content-type").starts_with("application/yaml"));
    alice.get("/v1/certificates/zz").await.refused(400, "parameter_invalid");
    alice.get(&format!("/v1/certificates/{}", "40".repeat(16))).await.refused(404, "not_found");
}
