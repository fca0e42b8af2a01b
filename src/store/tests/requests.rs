//! Held requests: what is written, under the lock, in one transaction with its event.

use serde_json::json;

use super::*;
use crate::audit::{Event, EventKind};
use crate::policy::{Approver, Held, Objection, PolicyRow};
use crate::store::requests::{Hold, RequestToHold, Said, Word};

const HOUR: Lifetime = Lifetime::from_seconds(3_600);

/// A row that `carol` and the root of the machine approve.
fn review() -> PolicyRow {
    serde_json::from_value(json!({
        "name": "ops", "effect": "review", "clusters": ["prod"], "callers": ["token:portal"], "users": ["*"],
        "approvers": ["token:carol", "token:dave", "cli:root"],
    }))
    .unwrap()
}

fn approver(name: &str) -> TokenRecord {
    TokenRecord { roles: vec!["approver".to_owned()], owner: format!("oidc:corp:{name}"), ..token(name) }
}

/// A ledger with the row and the tokens of its approvers.
async fn reviewed() -> Ledger {
    let ledger = Ledger::new().await;
    prepare(&ledger).await;
    ledger
}

async fn prepare(ledger: &Ledger) {
    let admin = origin("token:admin");
    ledger.replace_policies(&[review()], None, None, NOW, &admin).await.unwrap();
    for name in ["carol", "dave"] {
        ledger.create_token(&approver(name), &admin).await.unwrap();
    }
}

/// A wish of `alice` that `token:portal` makes, under a key of its own.
async fn wish(ledger: &Ledger, id: u8) -> RequestToHold {
    let seen = ledger.revisions().await.unwrap();
    let ask = Ask {
        cluster: ShortName::parse("prod").unwrap(),
        request: CertRequest::for_tests("alice", &["ops"], KeyKind::P256),
        ttl: None,
        on_behalf_of: None,
    };
    RequestToHold {
        own: Own::always("token:portal".to_owned()),
        id: HeldId([id; 16]),
        held: Held::for_tests(ask, HOUR, seen.policy, vec![review()]),
        csr: vec![id; 3],
        at: NOW,
        origin: origin("token:portal"),
        owner: "oidc:corp:olga".to_owned(),
        authority: CA,
        reason: Some("on call".to_owned()),
        lapses_at: NOW.after(HOUR),
        most_pending: 20,
        seen,
        proof: None,
        idempotency: None,
    }
}

async fn held(ledger: &Ledger, id: u8) -> HeldId {
    match ledger.hold(wish(ledger, id).await).await.unwrap() {
        Hold::New(request) => request.id,
        other => panic!("{other:?}"),
    }
}

async fn word(ledger: &Ledger, id: HeldId, name: &str) -> Word {
    let caller = format!("token:{name}");
    Word {
        id,
        approver: Approver::parse(&caller, &[]).unwrap(),
        credential: Some((format!("id-{name}"), format!("oidc:corp:{name}"))),
        seen_tokens: Some(ledger.revisions().await.unwrap().tokens),
        comment: Some("sound".to_owned()),
        at: NOW,
        origin: Origin { caller_groups: Vec::new(), ..origin(&caller) },
    }
}

fn operator(id: HeldId) -> Word {
    Word {
        id,
        approver: Approver::Operator("root".to_owned()),
        credential: None,
        seen_tokens: None,
        comment: None,
        at: NOW,
        origin: Origin { caller_groups: Vec::new(), ..origin("cli:root") },
    }
}

/// Holds a request and has it approved; for the tests of what nobody may change.
pub(super) async fn approved(ledger: &Ledger) -> HeldId {
    prepare(ledger).await;
    let id = held(ledger, 1).await;
    let said = ledger.approve_request(word(ledger, id, "carol").await).await.unwrap();
    assert!(matches!(&said, Said::Taken(request) if request.state == HeldState::Approved), "{said:?}");
    id
}

/// Runs every statement about requests, on a ledger in which much has happened.
pub(super) async fn everything(ledger: &Ledger) {
    ledger.accept_clock(NOW, &origin("cli:root")).await.unwrap();
    let id = approved(ledger).await;
    let collects = Sample { collects: Some(id), seen: ledger.revisions().await.unwrap(), ..sample(77) };
    ledger.record(collects.build()).await.unwrap();
    let idempotency = Some(Idempotency { key: "held".to_owned(), fingerprint: [1; 32] });
    ledger.hold(RequestToHold { idempotency, ..wish(ledger, 2).await }).await.unwrap();
    assert!(matches!(
        ledger.idempotent("token:portal", "held", NOW).await.unwrap(),
        Some((_, Kept::Request(request))) if request.id == HeldId([2; 16])
    ));
    ledger.deny_request(word(ledger, HeldId([2; 16]), "carol").await).await.unwrap();
    let id = held(ledger, 3).await;
    ledger.request_state(id, NOW).await.unwrap();
    ledger.request_with_evidence(id, NOW).await.unwrap();
    let seen = ledger.revisions().await.unwrap().tokens;
    let own = Own::always("token:portal".to_owned());
    ledger.withdraw_request(id, &own, seen, NOW, &origin("token:portal")).await.unwrap();
    let id = held(ledger, 4).await;
    assert!(ledger.void_request(id, "a test", None, NOW, &origin("token:portal")).await.unwrap());
    held(ledger, 5).await;
    assert_eq!(ledger.pending_requests(NOW).await.unwrap(), 1);
    assert_eq!(ledger.lapse_requests(NOW.after(HOUR)).await.unwrap(), 1);
    let text = || Some("x".to_owned());
    for state in [None, Some(HeldState::Lapsed), Some(HeldState::Pending)] {
        let own = Some(Own::of(vec![Tenure { caller: "token:portal".to_owned(), above: 0, below: 9 }]));
        let filter = RequestFilter { state, open: true, caller: text(), own, user: text(), cluster: text() };
        ledger.requests(&filter, everything_of(), NOW).await.unwrap();
    }
}

fn everything_of() -> Span {
    super::everything().into()
}

async fn last_event(ledger: &Ledger) -> Event {
    let page = Page { before: None, limit: 1 };
    ledger.events(&EventFilter::default(), page).await.unwrap().remove(0)
}

#[tokio::test]
async fn what_is_held_is_read_back_as_it_was_decided() {
    let ledger = reviewed().await;
    let id = held(&ledger, 7).await;
    let request = ledger.request(id, NOW).await.unwrap().unwrap();
    assert_eq!((request.state, request.csr.as_deref()), (HeldState::Pending, Some(&[7; 3][..])));
    assert_eq!((request.user.as_str(), &request.groups[..]), ("alice", &["ops".to_owned()][..]));
    assert_eq!((request.cluster.as_str(), request.authority, request.lifetime), ("prod", CA, HOUR));
    assert_eq!((request.owner.as_str(), request.origin.caller.as_str()), ("oidc:corp:olga", "token:portal"));
    assert_eq!((&request.reviews[..], request.policy_revision), (&[review()][..], 1));
    assert_eq!((request.at, request.lapses_at, request.closed), (NOW, NOW.after(HOUR), None));
    assert_eq!((request.standing[0].wanted, request.standing[0].given), (1, 0));
    let event = last_event(&ledger).await;
    assert_eq!((event.number, event.kind), (request.number, EventKind::RequestHeld));
    assert_eq!(event.detail["id"], id.to_string());
    assert_eq!(event.detail["reviews"], json!(["ops"]));
    assert!(ledger.request(HeldId([8; 16]), NOW).await.unwrap().is_none());
}

#[tokio::test]
async fn what_was_decided_on_old_state_is_not_held() {
    let ledger = reviewed().await;
    let old = wish(&ledger, 1).await;
    ledger.block_key([1; 32], "leaked", NOW, &origin("cli:root")).await.unwrap();
    assert!(matches!(ledger.hold(old).await, Err(RecordError::Stale)));
    let behind = RequestToHold { at: NOW.before(61), ..wish(&ledger, 1).await };
    ledger.record_refusal(RefusalToRecord { seen: behind.seen, ..refusal() }).await.unwrap();
    assert!(matches!(ledger.hold(behind).await, Err(RecordError::ClockBehind { newest: NOW })));
    assert!(ledger.request(HeldId([1; 16]), NOW).await.unwrap().is_none());
}

#[tokio::test]
async fn an_approval_of_a_revoked_credential_is_no_evidence() {
    let ledger = reviewed().await;
    let id = held(&ledger, 1).await;
    ledger.approve_request(word(&ledger, id, "carol").await).await.unwrap();
    let enough = async |at| ledger.request_with_evidence(id, at).await.unwrap().unwrap().1.is_enough();
    assert!(enough(NOW).await);
    ledger.revoke_token(&ShortName::parse("carol").unwrap(), NOW, &origin("cli:root")).await.unwrap();
    assert!(!enough(NOW).await);
}

#[tokio::test]
async fn a_word_under_tokens_that_changed_since_is_stale() {
    let ledger = reviewed().await;
    let id = held(&ledger, 1).await;
    let old = word(&ledger, id, "carol").await;
    ledger.create_token(&token("another"), &origin("cli:root")).await.unwrap();
    for said in [ledger.approve_request(old.clone()).await, ledger.deny_request(old).await] {
        assert!(matches!(said, Err(StoreError::Stale)), "{said:?}");
    }
    assert_eq!(ledger.request_state(id, NOW).await.unwrap(), Some(HeldState::Pending));
}

#[tokio::test]
async fn nothing_is_voided_under_state_that_changed_since() {
    let ledger = reviewed().await;
    let id = held(&ledger, 1).await;
    let seen = Some(ledger.revisions().await.unwrap());
    ledger.block_key([1; 32], "leaked", NOW, &origin("cli:root")).await.unwrap();
    let stale = ledger.void_request(id, "a test", seen, NOW, &origin("token:portal")).await;
    assert!(matches!(stale, Err(StoreError::Stale)), "{stale:?}");
    assert_eq!(ledger.request_state(id, NOW).await.unwrap(), Some(HeldState::Pending));
}

#[tokio::test]
async fn a_user_of_the_operating_system_approves_where_a_row_names_him() {
    let ledger = reviewed().await;
    let id = held(&ledger, 1).await;
    let other = Word { approver: Approver::Operator("eve".to_owned()), ..operator(id) };
    assert!(matches!(ledger.approve_request(other).await.unwrap(), Said::NotFound));
    let said = ledger.approve_request(operator(id)).await.unwrap();
    assert!(matches!(&said, Said::Taken(request) if request.state == HeldState::Approved), "{said:?}");
    let event = last_event(&ledger).await;
    assert_eq!((event.kind, event.origin.caller.as_str()), (EventKind::RequestApproved, "cli:root"));
}

#[tokio::test]
async fn a_user_of_the_operating_system_does_not_approve_under_his_own_row() {
    let ledger = Ledger::new().await;
    ledger.replace_policies(&[review()], None, None, NOW, &origin("cli:root")).await.unwrap();
    ledger.create_token(&approver("carol"), &origin("cli:root")).await.unwrap();
    let id = held(&ledger, 1).await;
    let said = ledger.approve_request(operator(id)).await.unwrap();
    assert!(matches!(&said, Said::Objection(_, Objection::OwnRow)), "{said:?}");
    assert!(matches!(ledger.deny_request(operator(id)).await.unwrap(), Said::Taken(_)));
}

#[tokio::test]
async fn an_approved_request_is_collected_once_with_its_certificate() {
    let ledger = reviewed().await;
    let id = held(&ledger, 1).await;
    let seen = ledger.revisions().await.unwrap();
    let collecting = |serial| Sample { collects: Some(id), seen, ..sample(serial) };
    let early = ledger.record(collecting(1).build()).await;
    assert!(matches!(early, Err(RecordError::RequestMoved)), "{early:?}");
    ledger.approve_request(word(&ledger, id, "carol").await).await.unwrap();
    let foreign = ledger.record(Sample { caller: "token:other", ..collecting(2) }.build()).await;
    assert!(matches!(foreign, Err(RecordError::RequestMoved)), "{foreign:?}");
    let late = ledger.record(Sample { at: NOW.after(HOUR), ..collecting(3) }.build()).await;
    assert!(matches!(late, Err(RecordError::RequestMoved)), "{late:?}");

    let hold = ledger.connections().writer.acquire().await.unwrap();
    let first = ledger.recording(Sample { seen, ..sample(4) });
    tokio::task::yield_now().await;
    ledger.queued(0).await;
    let (one, other) = (ledger.recording(collecting(5)), ledger.recording(collecting(6)));
    ledger.queued(2).await;
    drop(hold);
    first.await.unwrap().unwrap();
    let recorded = one.await.unwrap().unwrap();
    assert!(matches!(other.await.unwrap(), Err(RecordError::RequestMoved)), "in one batch");
    let request = ledger.request(id, NOW).await.unwrap().unwrap();
    assert_eq!((request.state, request.csr), (HeldState::Collected, None));
    assert_eq!(request.certificate, Some(recorded.number));
    assert_eq!(ledger.certificate(recorded.number).await.unwrap().unwrap().serial, recorded.serial);
    let event = last_event(&ledger).await;
    assert_eq!((event.kind, event.number), (EventKind::RequestCollected, recorded.number + 1));
}

#[tokio::test]
async fn a_certificate_that_the_database_does_not_take_leaves_its_request_as_it_was() {
    let ledger = reviewed().await;
    let id = approved_alone(&ledger).await;
    ledger.refuse_mallory().await;
    let seen = ledger.revisions().await.unwrap();
    let failed =
        ledger.record(Sample { collects: Some(id), seen, user: "mallory", ..sample(1) }.build()).await;
    assert!(matches!(failed, Err(RecordError::Store(_))), "{failed:?}");
    assert_eq!(ledger.request_state(id, NOW).await.unwrap(), Some(HeldState::Approved));
    ledger.admit_mallory().await;
    ledger.record(Sample { collects: Some(id), seen, ..sample(1) }.build()).await.unwrap();
    assert_eq!(ledger.request_state(id, NOW).await.unwrap(), Some(HeldState::Collected));
}

async fn approved_alone(ledger: &Ledger) -> HeldId {
    let id = held(ledger, 1).await;
    ledger.approve_request(word(ledger, id, "carol").await).await.unwrap();
    id
}
