//! Every code that openapi.yaml lists is what some request gets.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::num::NonZeroU32;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::Method;
use bytes::Bytes;
use countersign::app::{FailureLimits, RateLimits};
use countersign::http::CODES;
use hyper::body::Frame;

use crate::app::{Answer, Client, Limits, NOON, POLICIES, TestApp, operator};
use crate::csr::{Key, csr};
use crate::database::{hold_write_lock, sqlite};
use crate::hostile::{CN, EXTENSIONS, IA5, O, PASSWORD, Parts, UTF8};
use crate::routes::renew;

/// What is answered before there is an application, under a load that no test should make, or by one
/// engine only, and the test that sees it.
const ELSEWHERE: [(&str, &str); 4] = [
    (
        "too_many_connections",
        "src/http/server/tests.rs::one_connection_too_many_is_told_so_while_all_are_being_answered",
    ),
    ("header_fields_too_large", "src/http/server/tests.rs::headers_are_bounded_in_number_and_size"),
    ("signing_busy", "src/app/signers.rs::more_work_than_may_wait_is_refused_and_what_waits_is_done"),
    ("clock_off", "tests/api/routes/sign.rs::a_clock_that_is_not_the_databases_signs_nothing"),
];

/// Codes that were seen, each with its own status.
#[derive(Default)]
struct Seen(BTreeSet<&'static str>);

impl Seen {
    #[track_caller]
    fn refused(&mut self, code: &'static str, answer: Answer) {
        let (_, status, _) = CODES.iter().find(|(listed, _, _)| *listed == code).expect(code);
        answer.refused(*status, code);
        self.0.insert(code);
    }
}

#[tokio::test]
async fn every_code_is_what_some_request_gets() {
    let mut seen = Seen::default();
    forms(&mut seen).await;
    callers(&mut seen).await;
    limits(&mut seen).await;
    tokens(&mut seen).await;
    bodies(&mut seen).await;
    subjects(&mut seen).await;
    names(&mut seen).await;
    keys(&mut seen).await;
    retries(&mut seen).await;
    policies(&mut seen).await;
    reviews(&mut seen).await;
    times(&mut seen).await;
    broken_ledger(&mut seen).await;
    changing_policy(&mut seen).await;
    full_queue(&mut seen).await;
    for (code, test) in ELSEWHERE {
        assert!(seen.0.insert(code), "{code} is seen here: take it off the list");
        assert!(exists(test), "there is no test {test}");
    }
    let listed: BTreeSet<_> = CODES.iter().map(|(code, _, _)| *code).collect();
    assert_eq!(seen.0, listed, "each code needs a request that gets it");
}

fn exists(test: &str) -> bool {
    let (file, name) = test.split_once("::").unwrap();
    let code = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
    code.contains(&format!("fn {name}("))
}

async fn forms(seen: &mut Seen) {
    let app = TestApp::new().await;
    let (alice, admin, auditor) = (app.alice().await, app.admin().await, app.auditor().await);
    seen.refused("bad_request", admin.get("/v1/policies/%ff").await);
    seen.refused("parameter_invalid", auditor.get("/v1/certificates?limit=0").await);
    seen.refused("parameter_repeated", auditor.get("/v1/certificates?limit=1&limit=1").await);
    seen.refused("parameter_unknown", auditor.get("/v1/certificates?limt=1").await);
    seen.refused("cursor_invalid", auditor.get("/v1/certificates?cursor=x").await);
    seen.refused("ttl_invalid", alice.sign("?cluster=prod&ttl=1m", csr("/CN=alice")).await);
    seen.refused("cluster_required", alice.sign("", csr("/CN=alice")).await);
    seen.refused("cluster_unknown", alice.sign("?cluster=prd", csr("/CN=alice")).await);
    seen.refused("not_found", alice.get("/v1/sing").await);
    seen.refused("method_not_allowed", alice.get("/v1/sign").await);
    let headers = [("accept", "text/html")];
    let html = alice.send(Method::POST, "/v1/sign?cluster=prod", &headers, csr("/CN=alice").into()).await;
    seen.refused("not_acceptable", html);
    let serial = "4f".repeat(16);
    seen.refused("not_found", alice.get(&format!("/v1/certificates/{serial}")).await);
    let _held = ["token:x", "token:y"].map(|caller| app.app.exports.take(caller).unwrap());
    seen.refused("exports_busy", auditor.get("/v1/certificates?format=csv").await);
}

async fn callers(seen: &mut Seen) {
    let app = TestApp::with_refusals(3).await;
    let alice = app.alice().await;
    seen.refused("unauthenticated", app.nobody().get("/v1/whoami").await);
    seen.refused("role_missing", alice.get("/v1/audit").await);
    let carol = "?cluster=prod&on_behalf_of=carol";
    seen.refused("on_behalf_of_not_allowed", alice.sign(carol, csr("/CN=alice")).await);
    let (portal, token) = (app.portal().await, [("on-behalf-of-token", "x")]);
    let path = "/v1/sign?cluster=prod";
    let unproven = portal.send(Method::POST, path, &token, csr("/CN=alice").into()).await;
    seen.refused("proof_not_accepted", unproven);
    seen.refused("policy_denied", alice.sign("?cluster=prod", csr("/CN=bob")).await);
    seen.refused("too_many_refusals", alice.sign("?cluster=prod", csr("/CN=bob")).await);
    let app = TestApp::with_policies(renew::POLICIES).await;
    let alice = app.alice().await;
    let issued = alice.sign("?cluster=prod", csr("/CN=alice")).await.expect(201);
    let issued = issued["certificate"].as_str().unwrap();
    seen.refused("certificate_required", renew::renew(&alice, "/CN=alice").await);
    seen.refused("several_credentials", alice.showing(issued).get("/v1/whoami").await);
    let holder = app.nobody().showing(issued);
    seen.refused("renewal_only", holder.get("/v1/whoami").await);
    let elsewhere = holder.clone().with_header("sec-fetch-site", "cross-site");
    seen.refused("cross_site", renew::renew(&elsewhere, "/CN=alice").await);
    app.apply(&format!("{}{}", renew::POLICIES, renew::HOLDS)).await;
    seen.refused("not_renewable", renew::renew(&holder, "/CN=alice").await);
}

async fn limits(seen: &mut Seen) {
    let one = NonZeroU32::MIN;
    let rates = RateLimits { reads: one, ..RateLimits::default() };
    let failures = FailureLimits { per_minute: Some(one), ..Limits::default().failures };
    let app = TestApp::limited(Limits { rates, failures, ..Limits::default() }).await;
    let alice = app.alice().await;
    alice.get("/v1/whoami").await.expect(200);
    seen.refused("rate_limited", alice.get("/v1/whoami").await);
    let wrong = app.with_authorization("Bearer x").from("203.0.113.7".parse().unwrap());
    wrong.get("/v1/whoami").await.expect(401);
    seen.refused("too_many_failed_authentications", wrong.get("/v1/whoami").await);
}

async fn tokens(seen: &mut Seen) {
    let app = TestApp::new().await;
    let admin = app.owned("admin", "token:x", &["admin"], false).await;
    app.owned("other", "token:x", &["admin"], false).await;
    let create =
        async |body: &str| admin.send(Method::POST, "/v1/tokens", &[], body.as_bytes().to_vec()).await;
    seen.refused("token_not_allowed", create(r#"{"name": "robot", "roles": ["auditor"]}"#).await);
    seen.refused("token_exists", create(r#"{"name": "other", "roles": ["admin"]}"#).await);
    app.revoke("other").await;
    let rotate = admin.send(Method::POST, "/v1/tokens/other/rotate", &[], Vec::new()).await;
    seen.refused("token_revoked", rotate);
}

async fn bodies(seen: &mut Seen) {
    let app = TestApp::new().await;
    let alice = app.alice().await;
    let pem = csr("/CN=alice");
    let sign = async |body: Vec<u8>| alice.sign("?cluster=prod", body).await;
    seen.refused("json_invalid", sign(b"{".to_vec()).await);
    seen.refused("body_empty", sign(b" \n".to_vec()).await);
    seen.refused("body_utf16", sign(pem.encode_utf16().flat_map(u16::to_le_bytes).collect()).await);
    seen.refused("body_form_encoded", sign(b"csr=%2Fhome%2Falice.csr".to_vec()).await);
    seen.refused("body_too_large", sign(vec![b'x'; 65_537]).await);
    seen.refused("private_key_in_body", sign(Key::p256().private_pem().into()).await);
    seen.refused("body_has_two_requests", sign(pem.repeat(2).into()).await);
    seen.refused("body_not_a_csr", sign(b"hello".to_vec()).await);
    seen.refused("pem_malformed", sign(pem.replace("-----END", "-----FIN").into()).await);
    let post = async |headers: &[(&str, &str)], body: Body| {
        alice.send_body(Method::POST, "/v1/sign?cluster=prod", headers, body).await
    };
    let encoded = [("content-encoding", "gzip")];
    seen.refused("content_encoding_unsupported", post(&encoded, Body::from(pem)).await);
    seen.refused("body_unreadable", post(&[], Body::new(Cut { sent: false, broken: true })).await);
    seen.refused("body_timeout", post(&[], Body::new(Cut { sent: false, broken: false })).await);
}

/// A body that begins, and then breaks off or never ends.
struct Cut {
    sent: bool,
    broken: bool,
}

impl hyper::body::Body for Cut {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        if !self.sent {
            self.sent = true;
            return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"-----BEGIN")))));
        }
        if self.broken { Poll::Ready(Some(Err(ErrorKind::ConnectionReset.into()))) } else { Poll::Pending }
    }
}

async fn subjects(seen: &mut Seen) {
    let app = TestApp::new().await;
    let alice = app.alice().await;
    let parts = || Parts::of(&csr("/CN=alice"));
    let cn = (CN, UTF8, &b"alice"[..]);
    let groups = (0..101).fold(String::new(), |groups, number| groups + &format!("/O=team-{number}"));
    let password: (&[u8], &[&[u8]]) = (PASSWORD, &[b"\x0c\x01a"]);
    for (code, pem) in [
        ("csr_malformed", parts().version(0).pem().replacen("MI", "MA", 1)),
        ("csr_version_not_accepted", parts().version(1).pem()),
        ("csr_subject_empty", parts().subject(&[]).pem()),
        ("csr_cn_missing", parts().subject(&[(O, UTF8, b"dev")]).pem()),
        ("csr_cn_repeated", parts().subject(&[cn, cn]).pem()),
        ("csr_rdn_multi_valued", csr("/CN=alice+O=dev")),
        ("csr_subject_attribute_not_accepted", csr("/CN=alice/UID=7")),
        ("csr_string_type_not_accepted", parts().subject(&[(CN, IA5, b"alice")]).pem()),
        ("csr_too_many_groups", csr(&format!("/CN=alice{groups}"))),
        ("csr_attributes_not_accepted", parts().attributes(&[password; 2]).pem()),
        (
            "csr_extension_requests_not_accepted",
            parts().attributes(&[(EXTENSIONS, &[b"\x30\x00", b"\x30\x00"])]).pem(),
        ),
        ("signature_invalid", parts().broken_signature().pem()),
        ("key_malformed", parts().broken_key().pem()),
    ] {
        seen.refused(code, alice.sign("?cluster=prod", pem).await);
    }
}

async fn names(seen: &mut Seen) {
    let app = TestApp::new().await;
    let alice = app.alice().await;
    let long = "a".repeat(254);
    for (code, name) in [
        ("name_empty", ""),
        ("name_too_long", &long),
        ("name_space_at_end", "alice "),
        ("name_character_not_accepted", "al\u{200b}ice"),
        ("name_not_nfc", "zoe\u{308}"),
    ] {
        let pem = Parts::of(&csr("/CN=alice")).subject(&[(CN, UTF8, name.as_bytes())]).pem();
        seen.refused(code, alice.sign("?cluster=prod", pem).await);
    }
    seen.refused("name_looks_reserved", alice.sign("?cluster=prod", csr("/CN=alice/O=System:Masters")).await);
}

async fn keys(seen: &mut Seen) {
    let app = TestApp::new().await;
    let (alice, admin) = (app.alice().await, app.admin().await);
    let made = |arguments: &[&str]| Key::made(arguments).csr("/CN=alice");
    let old = Key::p256();
    for (code, pem) in [
        ("key_kind_not_accepted", made(&["ecparam", "-genkey", "-name", "secp256k1", "-noout", "-out"])),
        (
            "key_size_not_accepted",
            made(&["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024", "-out"]),
        ),
        (
            "key_weak",
            made(&[
                "genpkey",
                "-algorithm",
                "RSA",
                "-pkeyopt",
                "rsa_keygen_bits:2048",
                "-pkeyopt",
                "rsa_keygen_pubexp:3",
                "-out",
            ]),
        ),
        ("key_is_a_ca_key", Key::at(app.folder.path().join("prod.key")).csr("/CN=alice")),
        ("signature_algorithm_not_accepted", old.csr_with("/CN=alice", &["-sha1"])),
    ] {
        seen.refused(code, alice.sign("?cluster=prod", pem).await);
    }
    alice.sign("?cluster=prod", old.csr("/CN=alice")).await.expect(201);
    seen.refused("key_owned", app.bob().await.sign("?cluster=prod", old.csr("/CN=bob")).await);
    let row = alice.get("/v1/certificates").await.expect(200);
    let path = format!("/v1/blocked-keys/{}", row["items"][0]["spki_sha256"].as_str().unwrap());
    admin.send(Method::PUT, &path, &[], br#"{"reason": "lost"}"#.to_vec()).await.expect(201);
    seen.refused("key_blocked", alice.sign("?cluster=prod", old.csr("/CN=alice")).await);
}

async fn retries(seen: &mut Seen) {
    let app = TestApp::new().await;
    let alice = app.alice().await;
    let pem = csr("/CN=alice");
    let keyed = async |key: &str, query: &str| {
        let (path, headers) = (format!("/v1/sign?cluster=prod{query}"), [("idempotency-key", key)]);
        alice.send(Method::POST, &path, &headers, pem.clone().into()).await
    };
    seen.refused("idempotency_key_invalid", keyed("", "").await);
    let (first, second) = tokio::join!(keyed("both", ""), keyed("both", ""));
    let (late, early) = if first.status == 409 { (first, second) } else { (second, first) };
    early.expect(201);
    seen.refused("idempotency_in_flight", late);
    seen.refused("idempotency_key_reused", keyed("both", "&ttl=1h").await);
    keyed("short", "&ttl=10m").await.expect(201);
    app.at(601);
    seen.refused("idempotency_expired", keyed("short", "&ttl=10m").await);
}

async fn policies(seen: &mut Seen) {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    let put = async |headers: &[(&str, &str)], body: &str| {
        admin.send(Method::PUT, "/v1/policies", headers, body.as_bytes().to_vec()).await
    };
    seen.refused("if_match_required", put(&[], POLICIES).await);
    seen.refused("revision_mismatch", put(&[("if-match", "\"9\"")], POLICIES).await);
    seen.refused("policy_invalid", put(&[("if-match", "*")], "policies: [{}]").await);
    let row = |name: &str| {
        let names = r#""clusters": ["prod"], "callers": ["token:x"], "users": ["x"]"#;
        format!(r#"{{"name": "{name}", "effect": "deny", "hold": true, {names}}}"#)
    };
    let put_one = async |name: &str| {
        let path = format!("/v1/policies/{name}");
        admin.send(Method::PUT, &path, &[("if-none-match", "*")], row(name).into()).await
    };
    seen.refused("policy_exists", put_one("people").await);
    put_one("stop").await.expect(201);
    seen.refused("policy_held", put(&[("if-match", "*")], POLICIES).await);
}

async fn reviews(seen: &mut Seen) {
    let rows = r#"
policies:
  - { name: people, effect: allow, clusters: [prod], callers: ["token:alice"], users: [alice] }
  - { name: all, effect: review, clusters: [prod], callers: ["token:alice"], users: ["*"], approvers: ["token:*"], approvals: 2 }
"#;
    let app = TestApp::with_pending(rows, 1).await;
    let (alice, carol) = (app.alice().await, app.approver("carol").await);
    let own = app.owned("own", "token:alice", &["approver"], false).await;
    let held = alice.sign("?cluster=prod", csr("/CN=alice")).await.expect(202);
    let path = format!("/v1/requests/{}", held["id"].as_str().unwrap());
    let post = async |client: &Client, rest: &str| {
        client.send(Method::POST, &format!("{path}{rest}"), &[], Vec::new()).await
    };
    seen.refused("too_many_pending", alice.sign("?cluster=prod", csr("/CN=alice")).await);
    seen.refused("request_not_approved", post(&alice, "/certificate").await);
    seen.refused("approval_not_allowed", post(&own, "/approve").await);
    post(&carol, "/approve").await.expect(200);
    seen.refused("already_approved", post(&carol, "/approve").await);
    post(&app.approver("dave").await, "/approve").await.expect(200);
    app.apply(&rows.replace("approvals: 2", "approvals: 1")).await;
    seen.refused("request_voided", post(&alice, "/certificate").await);
    seen.refused("request_closed", post(&alice, "/certificate").await);
}

async fn times(seen: &mut Seen) {
    let app = TestApp::new().await;
    let alice = app.alice().await;
    let sign = async || alice.sign("?cluster=prod", csr("/CN=alice")).await;
    app.at(-2 * 86_400);
    seen.refused("ca_not_yet_valid", sign().await);
    app.at(0);
    sign().await.expect(201);
    app.at(-61);
    seen.refused("clock_behind", sign().await);
    app.at(88 * 86_400 + 23 * 3_600 + 55 * 60);
    seen.refused("ca_expiring", sign().await);
    app.at(89 * 86_400 + 1);
    seen.refused("ca_expired", sign().await);
    seen.refused("not_ready", app.nobody().get("/readyz").await);
}

/// Rows that the service itself would never write, and errors of the database.
async fn broken_ledger(seen: &mut Seen) {
    let app = TestApp::on_sqlite().await;
    let (alice, auditor) = (app.alice().await, app.auditor().await);
    let issued = alice.sign("?cluster=prod", csr("/CN=alice")).await.expect(201);
    let path = format!("/v1/certificates/{}", issued["serial"].as_str().unwrap());
    sqlite(&app, TWIN);
    seen.refused("serial_ambiguous", auditor.get(&path).await);
    sqlite(&app, "DROP TRIGGER certificates_are_kept; UPDATE certificates SET serial = zeroblob(16)");
    seen.refused("internal", auditor.get("/v1/certificates").await);
    app.break_certificates(true).await;
    seen.refused("ledger_unavailable", alice.sign("?cluster=prod", csr("/CN=alice")).await);
}

/// The first certificate again, as if the other CA had given the same serial.
const TWIN: &str = "
    INSERT INTO events SELECT number + 1000, at, kind, caller_id, caller_groups, request_id, client_request_id, address,
        detail FROM events WHERE kind = 1;
    INSERT INTO certificates SELECT number + 1000, (SELECT id FROM authorities WHERE id <> authority_id), cluster_id,
        caller_id, serial, user_name, groups_id, on_behalf_of, reason, key_kind, spki_sha256, 0, not_before, not_after,
        asked_ttl, policy_revision, policies_id, sha256_head, der FROM certificates;";

/// Somebody changes the policy all the time, so that each attempt to record comes too late.
async fn changing_policy(seen: &mut Seen) {
    let app = Arc::new(TestApp::new().await);
    let alice = app.alice().await;
    let stop = Arc::new(AtomicBool::new(false));
    let rows = countersign::policy::file::PolicyFile::read(POLICIES.as_bytes()).unwrap().policies;
    let changing: Vec<_> = (0..8)
        .map(|number| {
            let (app, stop, mut rows) = (Arc::clone(&app), Arc::clone(&stop), rows.clone());
            tokio::spawn(async move {
                for round in 0_u64.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    rows[0].description = Some(format!("{number} {round}"));
                    app.app.store.replace_policies(&rows, None, None, NOON, &operator()).await.unwrap();
                }
            })
        })
        .collect();
    let deadline = Instant::now() + Duration::from_mins(1);
    let answer = loop {
        assert!(Instant::now() < deadline, "no change came between check and record");
        let answer = alice.sign("?cluster=prod", csr("/CN=alice")).await;
        if answer.status != 201 {
            break answer;
        }
    };
    stop.store(true, Ordering::Relaxed);
    for one in changing {
        one.await.unwrap();
    }
    seen.refused("policy_changing", answer);
}

/// Somebody else holds the write lock, and more requests come than may wait for it.
async fn full_queue(seen: &mut Seen) {
    let app = TestApp::on_sqlite().await;
    let alice = Arc::new(app.alice().await);
    let lock = hold_write_lock(&app);
    let mut waiting = tokio::task::JoinSet::new();
    let busy = loop {
        let alice = Arc::clone(&alice);
        waiting.spawn(async move { alice.sign("?cluster=prod", "junk").await });
        tokio::task::yield_now().await;
        if let Some(answer) = waiting.try_join_next() {
            let answer = answer.unwrap();
            if answer.json()["code"] == "ledger_busy" {
                break answer;
            }
        }
        assert!(waiting.len() < 20_000, "the queue takes everything");
    };
    drop(lock);
    seen.refused("ledger_busy", busy);
}
