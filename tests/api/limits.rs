//! How often callers may ask, and what becomes of those that are none.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use countersign::app::{FailureLimits, RateLimits};
use countersign::auth::AuthSettings;
use countersign::auth::mtls::NameFrom;
use serde_json::Value;

use crate::app::{Answer, Client, Limits, TestApp};
use crate::company::Company;
use crate::csr::csr;

fn number(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
}

/// So many of each in a second; those of all callers are as many as is given.
async fn rated(of_one: u32, of_all: u32) -> TestApp {
    let rates = RateLimits {
        signings: number(of_one),
        reads: number(of_one),
        all_signings: number(of_all),
        all_reads: number(of_all),
    };
    TestApp::limited(Limits { rates, ..Limits::default() }).await
}

/// Asks until it is told that it asks too often.
async fn until_limited(client: &Client) -> Answer {
    for _ in 0..1_000 {
        let answer = client.get("/v1/whoami").await;
        if answer.status != 200 {
            return answer;
        }
    }
    panic!("there is no limit");
}

#[tokio::test]
async fn a_caller_past_its_limit_is_told_when_to_come_back_and_others_go_on() {
    let app = rated(3, 1_000_000).await;
    let (alice, bob) = (app.alice().await, app.bob().await);
    let answer = until_limited(&alice).await;
    assert_eq!(answer.header("retry-after"), "1");
    let problem = answer.refused(429, "rate_limited");
    assert!(problem["detail"].as_str().unwrap().contains("this caller"), "{problem}");
    bob.get("/v1/whoami").await.expect(200);
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    alice.get("/v1/whoami").await.expect(200);
    let counted = "countersign_requests_limited_total{rate=\"reading\",of=\"caller\"} 1";
    assert!(app.app.metrics.render().contains(counted));
}

#[tokio::test]
async fn reading_takes_nothing_from_signing() {
    let app = rated(3, 1_000_000).await;
    let alice = app.alice().await;
    until_limited(&alice).await.refused(429, "rate_limited");
    alice.sign("?cluster=prod", csr("/CN=alice")).await.expect(201);
}

#[tokio::test]
async fn signings_are_counted_whatever_comes_of_them_and_nothing_of_them_is_recorded() {
    let app = rated(2, 1_000_000).await;
    let (alice, auditor) = (app.alice().await, app.auditor().await);
    let pem = csr("/CN=root");
    alice.sign("?cluster=prod&dry_run=1", pem.clone()).await.refused(403, "policy_denied");
    alice.sign("?cluster=prod", pem.clone()).await.refused(403, "policy_denied");
    let mut limited = 0;
    for _ in 0..20 {
        limited += usize::from(alice.sign("?cluster=prod", pem.clone()).await.status == 429);
    }
    assert!(limited >= 10, "{limited}");
    let list = auditor.get("/v1/refusals").await.expect(200);
    assert_eq!(list["items"].as_array().unwrap().len(), 21 - limited, "{list}");
}

#[tokio::test]
async fn all_callers_together_have_a_limit_too() {
    let app = rated(1_000, 3).await;
    let mut callers = Vec::new();
    for number in 0..20 {
        callers.push(app.client(&format!("caller-{number}"), &[], false).await);
    }
    let mut answers = Vec::new();
    for caller in callers {
        answers.push(caller.get("/v1/whoami").await);
    }
    let limited = answers.into_iter().find(|answer| answer.status == 429).expect("a limit");
    let problem = limited.refused(429, "rate_limited");
    assert!(problem["detail"].as_str().unwrap().contains("all callers"), "{problem}");
}

#[tokio::test]
async fn what_asks_for_no_caller_is_not_counted() {
    let app = rated(1, 1).await;
    for _ in 0..50 {
        assert_eq!(app.nobody().get("/livez").await.status, 200);
    }
}

async fn failing(failures: FailureLimits) -> TestApp {
    TestApp::limited(Limits { failures, ..Limits::default() }).await
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[tokio::test]
async fn a_failed_authentication_waits_a_little_and_stays_401() {
    let wait = Duration::from_millis(150);
    let app = failing(FailureLimits { wait, ..FailureLimits::default() }).await;
    let began = Instant::now();
    app.nobody().get("/v1/whoami").await.refused(401, "unauthenticated");
    assert!(began.elapsed() >= wait);
    assert!(FailureLimits::default().wait <= Duration::from_millis(200));
}

#[tokio::test]
async fn no_more_than_a_few_wait_at_once() {
    let wait = Duration::from_hours(1);
    let app = failing(FailureLimits { wait, ..FailureLimits::default() }).await;
    let alice = app.alice().await;
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let nobody = app.nobody();
        all.spawn(async move { nobody.get("/v1/whoami").await.status });
    }
    for _ in 64..100 {
        assert_eq!(all.join_next().await.unwrap().unwrap(), 401);
    }
    alice.get("/v1/whoami").await.expect(200);
    let one_more = tokio::time::timeout(Duration::from_millis(50), all.join_next());
    assert!(one_more.await.is_err(), "64 wait");
}

#[tokio::test]
async fn past_its_limit_an_address_gets_429_and_a_good_credential_is_let_in() {
    let failures = FailureLimits { per_minute: NonZeroU32::new(5), ..Limits::default().failures };
    let app = failing(failures).await;
    let (alice, here, there) = (app.alice().await, address("203.0.113.7"), address("203.0.113.8"));
    let wrong = |from| app.with_authorization("Bearer x").from(from);
    for _ in 0..5 {
        wrong(here).get("/v1/whoami").await.refused(401, "unauthenticated");
    }
    let answer = wrong(here).get("/v1/whoami").await;
    assert!((1..=12).contains(&answer.header("retry-after").parse::<u32>().unwrap()));
    assert_eq!(answer.header("www-authenticate"), "");
    answer.refused(429, "too_many_failed_authentications");
    alice.from(here).get("/v1/whoami").await.expect(200);
    wrong(there).get("/v1/whoami").await.refused(401, "unauthenticated");
    for _ in 0..20 {
        wrong(address("127.0.0.1")).get("/v1/whoami").await.refused(401, "unauthenticated");
    }
}

#[tokio::test]
async fn what_shows_several_credentials_is_400_and_counted_with_what_fails() {
    let ci = Company::new("CI");
    let failures = FailureLimits { per_minute: NonZeroU32::new(5), ..Limits::default().failures };
    let mtls = vec![ci.mtls("ci", NameFrom::Cn)];
    let app = failing(failures).await.knowing(|_| AuthSettings { mtls, ..AuthSettings::default() });
    let robot = ci.client("robot", vec![]);
    let guessing = app.with_authorization("Bearer guess").showing(&robot).from(address("203.0.113.7"));
    for _ in 0..5 {
        guessing.get("/v1/whoami").await.refused(400, "several_credentials");
    }
    guessing.get("/v1/whoami").await.refused(429, "too_many_failed_authentications");
    let events = failures_on_record(&app).await;
    assert_eq!(events.len(), 1, "{events:?}");
    let detail = &events[0]["detail"];
    assert_eq!((&detail["reason"], &detail["count"]), (&"several_credentials".into(), &6.into()));
    assert_eq!(detail["method"], "bearer");
}

async fn failures_on_record(app: &TestApp) -> Vec<Value> {
    app.app.write_notes().await;
    let list = app.auditor().await.get("/v1/audit?kind=authentication.failed").await.expect(200);
    list["items"].as_array().unwrap().clone()
}

#[tokio::test]
async fn repeated_failures_are_one_event_with_a_count_and_never_a_token() {
    let app = TestApp::new().await;
    let token = "cs1_0123456789ab_0000000000000000000000000000000000000000000000000";
    let mut last = String::new();
    for _ in 0..7 {
        let client = app.with_authorization(&format!("Bearer {token}")).from(address("203.0.113.7"));
        last = client.get("/v1/whoami").await.expect(401)["request_id"].as_str().unwrap().to_owned();
    }
    app.nobody().from(address("203.0.113.7")).get("/v1/audit").await.expect(401);
    app.revoke_new("gone").await.from(address("203.0.113.9")).get("/v1/whoami").await.expect(401);
    let events = failures_on_record(&app).await;
    assert_eq!(events.len(), 3, "{events:?}");
    let of = |reason: &str| events.iter().find(|event| event["detail"]["reason"] == reason).unwrap();
    let malformed = of("malformed");
    assert_eq!((&malformed["detail"]["count"], &malformed["caller"]), (&7.into(), &"nobody".into()));
    assert_eq!((&malformed["address"], &malformed["request_id"]), (&"203.0.113.7".into(), &last.into()));
    assert_eq!(of("missing")["detail"]["method"], "none");
    assert_eq!(of("revoked")["address"], "203.0.113.9");
    let text = serde_json::to_string(&events).unwrap();
    assert!(!text.contains("cs1_") && !text.contains("0000000000000000000000"), "{text}");
}
