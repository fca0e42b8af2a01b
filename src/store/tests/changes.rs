//! Policies, tokens, blocked keys: each change has its event and its revision.

use serde_json::json;

use super::*;
use crate::audit::{Event, EventKind};
use crate::policy::PolicyRow;

fn policy(name: &str, user: &str) -> PolicyRow {
    serde_json::from_value(json!({
        "name": name, "effect": "allow", "clusters": ["prod"], "callers": ["token:portal"], "users": [user],
    }))
    .unwrap()
}

async fn last_event(store: &Store) -> Event {
    store.events(&EventFilter::default(), Page { before: None, limit: 1 }).await.unwrap().remove(0)
}

#[tokio::test]
async fn every_policy_revision_stays_readable() {
    let ledger = Ledger::new().await;
    let admin = origin("token:admin");
    let replace =
        async |rows: &[PolicyRow]| ledger.replace_policies(rows, None, None, NOW, &admin).await.unwrap();
    let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(ledger.policies(None).await.unwrap(), Some((0, vec![])));

    let first = [policy("b", "bob"), policy("a", "alice")];
    let change = replace(&first).await;
    assert_eq!((change.revision, change.added), (1, names(&["a", "b"])));
    let second = [policy("a", "alice"), policy("b", "robert"), policy("c", "carol")];
    let change = replace(&second).await;
    assert_eq!((change.revision, change.added, change.changed), (2, names(&["c"]), names(&["b"])));
    let event = last_event(&ledger).await;
    assert_eq!(event.kind, EventKind::PolicyReplaced);
    assert_eq!(event.origin, admin);
    assert_eq!(
        event.detail,
        json!({ "revision": 2, "added": [second[2]], "changed": [{ "old": first[0], "new": second[1] }], "removed": [] })
    );
    let change = replace(&[policy("b", "bob")]).await;
    assert_eq!((change.revision, change.changed, change.removed), (3, names(&["b"]), names(&["a", "c"])));
    let change = replace(&[]).await;
    assert_eq!((change.revision, change.removed), (4, names(&["b"])));
    let change = replace(&first).await;
    assert_eq!(change.revision, 5);

    for (revision, rows) in [
        (0, vec![]),
        (1, vec![policy("a", "alice"), policy("b", "bob")]),
        (2, second.to_vec()),
        (3, vec![policy("b", "bob")]),
        (4, vec![]),
        (5, vec![policy("a", "alice"), policy("b", "bob")]),
    ] {
        assert_eq!(ledger.policies(Some(revision)).await.unwrap(), Some((revision, rows)));
    }
    assert_eq!(ledger.policies(Some(6)).await.unwrap(), None);
    assert_eq!(ledger.policies(Some(-1)).await.unwrap(), None);
    assert_eq!(ledger.count("SELECT count(*) FROM policy_revisions JOIN events USING (number)").await, 5);
}

#[tokio::test]
async fn the_same_policies_again_make_no_revision_and_no_event() {
    let ledger = Ledger::new().await;
    let rows = [policy("a", "alice"), policy("b", "bob")];
    ledger.replace_policies(&rows, Some(0), None, NOW, &origin("cli:root")).await.unwrap();
    let again = [policy("b", "bob"), policy("a", "alice")];
    let change = ledger.replace_policies(&again, Some(1), None, NOW, &origin("cli:root")).await.unwrap();
    assert_eq!(change, PolicyChange { revision: 1, ..PolicyChange::default() });
    assert_eq!(last_event(&ledger).await.number, 1);
}

#[tokio::test]
async fn policies_are_replaced_only_at_the_expected_revision() {
    let ledger = Ledger::new().await;
    let moved =
        ledger.replace_policies(&[policy("a", "alice")], Some(3), None, NOW, &origin("cli:root")).await;
    assert!(matches!(moved, Err(StoreError::RevisionMoved { current: 0 })), "{moved:?}");
    let twice = [policy("a", "alice"), policy("a", "bob")];
    let twice = ledger.replace_policies(&twice, None, None, NOW, &origin("cli:root")).await;
    assert!(matches!(&twice, Err(StoreError::Conflict(why)) if why.contains("`a`")), "{twice:?}");
    assert_eq!(ledger.revisions().await.unwrap(), Revisions::default());
}

#[tokio::test]
async fn policies_are_replaced_only_under_the_tokens_that_were_seen() {
    let ledger = Ledger::new().await;
    let root = origin("cli:root");
    ledger.create_token(&token("admin"), &root).await.unwrap();
    let seen = ledger.revisions().await.unwrap().tokens;
    let replace = async |user: &str, expected, seen| {
        ledger.replace_policies(&[policy("a", user)], expected, Some(seen), NOW, &origin("token:admin")).await
    };
    assert_eq!(replace("alice", Some(0), seen).await.unwrap().revision, 1);
    ledger.revoke_token(&ShortName::parse("admin").unwrap(), NOW, &root).await.unwrap();
    for expected in [None, Some(1), Some(9)] {
        let stale = replace("mallory", expected, seen).await;
        assert!(matches!(stale, Err(StoreError::Stale)), "{stale:?}");
    }
    assert_eq!(ledger.policies(None).await.unwrap(), Some((1, vec![policy("a", "alice")])));
    assert_eq!(last_event(&ledger).await.kind, EventKind::TokenRevoked);
    let now = ledger.revisions().await.unwrap().tokens;
    assert_eq!(replace("bob", Some(1), now).await.unwrap().revision, 2);
}

#[tokio::test]
async fn a_large_policy_set_is_replaced_whole() {
    let ledger = Ledger::new().await;
    let rows = |user: &str| (0..1_000).map(|row| policy(&format!("row-{row:04}"), user)).collect::<Vec<_>>();
    ledger.replace_policies(&rows("alice"), None, None, NOW, &origin("cli:root")).await.unwrap();
    let change = ledger.replace_policies(&rows("bob"), None, None, NOW, &origin("cli:root")).await.unwrap();
    assert_eq!(change.changed.len(), 1_000);
    assert_eq!(ledger.policies(None).await.unwrap(), Some((2, rows("bob"))));
    assert_eq!(ledger.policies(Some(1)).await.unwrap(), Some((1, rows("alice"))));
}

#[tokio::test]
async fn a_token_name_is_never_given_twice() {
    let ledger = Ledger::new().await;
    let root = origin("cli:root");
    let name = ShortName::parse("portal").unwrap();
    ledger.create_token(&token("portal"), &root).await.unwrap();
    let event = last_event(&ledger).await;
    assert_eq!(event.kind, EventKind::TokenCreated);
    assert_eq!(event.detail["name"], "portal");
    assert!(!event.detail.to_string().contains("sha256"));
    assert_eq!(ledger.revoke_token(&name, NOW, &root).await.unwrap(), Some(true));
    assert_eq!(last_event(&ledger).await.kind, EventKind::TokenRevoked);
    assert_eq!(ledger.revoke_token(&name, NOW, &root).await.unwrap(), Some(false));
    let again = TokenRecord { id: "other".to_owned(), ..token("portal") };
    let again = ledger.create_token(&again, &root).await;
    assert!(matches!(&again, Err(StoreError::Conflict(why)) if why.contains("`portal`")), "{again:?}");
    let nobody = ShortName::parse("nobody").unwrap();
    assert_eq!(ledger.revoke_token(&nobody, NOW, &root).await.unwrap(), None);
    let revoked = TokenRecord { revoked_at: Some(NOW), ..token("portal") };
    assert_eq!(ledger.tokens().await.unwrap(), [revoked]);
    assert_eq!(ledger.revisions().await.unwrap().tokens, 2);
}

#[tokio::test]
async fn a_key_is_blocked_once_and_can_be_unblocked() {
    let ledger = Ledger::new().await;
    let root = origin("cli:root");
    assert!(ledger.block_key([0xab; 32], "leaked", NOW, &root).await.unwrap());
    assert!(!ledger.block_key([0xab; 32], "other", NOW, &root).await.unwrap());
    let event = last_event(&ledger).await;
    assert_eq!((event.number, event.kind), (1, EventKind::KeyBlocked));
    assert_eq!(event.detail, json!({ "spki_sha256": "ab".repeat(32), "reason": "leaked" }));
    let blocked = keys::BlockedKey {
        spki_sha256: [0xab; 32],
        reason: "leaked".to_owned(),
        at: NOW,
        by: "cli:root".to_owned(),
    };
    assert_eq!(ledger.blocked_keys().await.unwrap(), [blocked]);
    assert!(ledger.unblock_key([0xab; 32], NOW, &root).await.unwrap());
    assert_eq!(last_event(&ledger).await.kind, EventKind::KeyUnblocked);
    assert!(!ledger.unblock_key([0xab; 32], NOW, &root).await.unwrap());
    assert!(ledger.blocked_keys().await.unwrap().is_empty());
    assert_eq!(ledger.revisions().await.unwrap().blocked_keys, 2);
    assert_eq!(
        ledger
            .record(Sample { seen: ledger.revisions().await.unwrap(), ..sample(1) }.build())
            .await
            .unwrap()
            .number,
        3
    );
}

#[tokio::test]
async fn a_command_beside_the_server_is_seen_by_it() {
    let ledger = Ledger::new().await;
    let command = ledger.beside().await;
    let root = origin("cli:root");
    command.replace_policies(&[policy("a", "alice")], None, None, NOW, &root).await.unwrap();
    command.create_token(&token("portal"), &root).await.unwrap();
    command.block_key([1; 32], "leaked", NOW, &root).await.unwrap();
    command.close().await;
    let revisions = Revisions { policy: 1, tokens: 1, blocked_keys: 1 };
    assert_eq!(ledger.revisions().await.unwrap(), revisions);
    let snapshot = ledger.snapshot().await.unwrap();
    assert_eq!(snapshot.revisions, revisions);
    assert_eq!(snapshot.rows, [policy("a", "alice")]);
    assert_eq!(snapshot.tokens["id-portal"], token("portal"));
    assert!(snapshot.blocked_keys.contains(&[1; 32]));
    assert!(matches!(ledger.record(sample(1).build()).await, Err(RecordError::Stale)));
}
