//! Policies, tokens, blocked keys: each change has its event and its revision.

use serde_json::json;

use super::*;
use crate::audit::{Event, EventKind};
use crate::policy::PolicyRow;
use crate::store::policies::{Expected, PolicyEdit, Replacement, Seen};

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

fn held(name: &str, user: &str) -> PolicyRow {
    PolicyRow { effect: crate::policy::Effect::Deny, hold: true, ..policy(name, user) }
}

fn seen(seen: Seen) -> Expected {
    Expected { seen, tokens: None }
}

fn short(name: &str) -> ShortName {
    ShortName::parse(name).unwrap()
}

#[tokio::test]
async fn a_row_is_written_and_removed_by_itself() {
    let ledger = Ledger::new().await;
    let root = origin("cli:root");
    let edit = async |edit, expected| ledger.edit_policies(edit, expected, NOW, &root).await;
    ledger
        .replace_policies(&[policy("a", "alice"), policy("b", "bob")], None, None, NOW, &root)
        .await
        .unwrap();
    let change = edit(PolicyEdit::Put(Box::new(policy("c", "carol"))), seen(Seen::Absent)).await.unwrap();
    assert_eq!((change.revision, change.added), (2, vec!["c".to_owned()]));
    let change = edit(PolicyEdit::Put(Box::new(policy("a", "anna"))), seen(Seen::Row(2))).await.unwrap();
    assert_eq!((change.revision, change.changed), (3, vec!["a".to_owned()]));
    assert_eq!(
        last_event(&ledger).await.detail,
        json!({
            "revision": 3, "added": [], "removed": [],
            "changed": [{ "old": policy("a", "alice"), "new": policy("a", "anna") }],
        })
    );
    let change = edit(PolicyEdit::Remove(short("b")), seen(Seen::Present)).await.unwrap();
    assert_eq!((change.revision, change.removed), (4, vec!["b".to_owned()]));
    let event = last_event(&ledger).await;
    assert_eq!(
        (event.kind, event.detail["removed"].clone()),
        (EventKind::PolicyReplaced, json!([policy("b", "bob")]))
    );
    let rows = vec![policy("a", "anna"), policy("c", "carol")];
    assert_eq!(ledger.policies(None).await.unwrap(), Some((4, rows)));
    let same = edit(PolicyEdit::Put(Box::new(policy("a", "anna"))), seen(Seen::Nothing)).await.unwrap();
    assert_eq!(same, PolicyChange { revision: 4, ..PolicyChange::default() });
}

#[tokio::test]
async fn a_row_is_changed_only_as_it_was_seen() {
    let ledger = Ledger::new().await;
    let root = origin("cli:root");
    let edit = async |edit, sight| ledger.edit_policies(edit, seen(sight), NOW, &root).await;
    for (name, user) in [("a", "alice"), ("b", "bob"), ("a", "anna")] {
        edit(PolicyEdit::Put(Box::new(policy(name, user))), Seen::Nothing).await.unwrap();
    }
    let row = ledger.policy(&short("a")).await.unwrap().unwrap();
    assert_eq!((row.since, row.current, row.row), (3, 3, policy("a", "anna")));
    assert_eq!(ledger.policy(&short("b")).await.unwrap().unwrap().since, 2);
    assert_eq!(ledger.policy(&short("c")).await.unwrap(), None);
    for (name, sight) in [
        ("a", Seen::Row(2)),
        ("a", Seen::Row(4)),
        ("b", Seen::Row(1)),
        ("c", Seen::Row(3)),
        ("c", Seen::Present),
    ] {
        for change in [PolicyEdit::Put(Box::new(policy(name, "mallory"))), PolicyEdit::Remove(short(name))] {
            let moved = edit(change, sight).await;
            assert!(
                matches!(&moved, Err(StoreError::RowMoved { name: row, .. }) if row == name),
                "{name} {sight:?}: {moved:?}"
            );
        }
    }
    let missing = edit(PolicyEdit::Remove(short("c")), Seen::Nothing).await;
    assert!(matches!(missing, Err(StoreError::RowMoved { since: None, .. })), "{missing:?}");
    let exists = edit(PolicyEdit::Put(Box::new(policy("a", "mallory"))), Seen::Absent).await;
    assert!(matches!(exists, Err(StoreError::RowExists(_))), "{exists:?}");
    assert_eq!(ledger.revisions().await.unwrap().policy, 3, "nothing was changed");
    // Whoever saw the set at a revision at which the row said what it says now has seen the row.
    edit(PolicyEdit::Put(Box::new(policy("b", "bella"))), Seen::Row(3)).await.unwrap();
}

#[tokio::test]
async fn of_two_who_change_one_row_at_once_one_is_told() {
    let ledger = Ledger::new().await;
    let (root, beside) = (origin("cli:root"), ledger.beside().await);
    ledger
        .edit_policies(PolicyEdit::Put(Box::new(policy("a", "alice"))), seen(Seen::Absent), NOW, &root)
        .await
        .unwrap();
    let put = |user| PolicyEdit::Put(Box::new(policy("a", user)));
    let (one, other) = tokio::join!(
        ledger.edit_policies(put("bob"), seen(Seen::Row(1)), NOW, &root),
        beside.edit_policies(put("carol"), seen(Seen::Row(1)), NOW, &root),
    );
    assert_eq!(usize::from(one.is_ok()) + usize::from(other.is_ok()), 1, "{one:?} {other:?}");
    assert_eq!(ledger.revisions().await.unwrap().policy, 2);
}

#[tokio::test]
async fn a_held_row_goes_by_name_only() {
    let ledger = Ledger::new().await;
    let root = origin("cli:root");
    let (stop, other) = (held("stop", "mallory"), policy("a", "alice"));
    ledger.replace_policies(&[stop.clone(), other.clone()], None, None, NOW, &root).await.unwrap();
    let replace = async |rows: &[PolicyRow], released: &[&str]| {
        let released = released.iter().map(|name| short(name)).collect();
        let replacement = Replacement { rows: rows.to_vec(), released, restores: None };
        ledger.edit_policies(PolicyEdit::Replace(replacement), Expected::default(), NOW, &root).await
    };
    let changed = PolicyRow { hold: false, ..stop.clone() };
    for rows in [&[][..], std::slice::from_ref(&other), &[changed], &[held("stop", "bob")]] {
        let refused = replace(rows, &[]).await;
        assert!(matches!(&refused, Err(StoreError::RowsHeld(names)) if names == &["stop"]), "{refused:?}");
        assert!(refused.unwrap_err().to_string().contains("`stop`"));
    }
    assert_eq!(replace(std::slice::from_ref(&stop), &[]).await.unwrap().removed, ["a"]);
    let typo = replace(&[], &["stopp"]).await;
    assert!(matches!(&typo, Err(StoreError::Conflict(why)) if why.contains("`stopp`")), "{typo:?}");
    assert_eq!(replace(std::slice::from_ref(&other), &["stop"]).await.unwrap().removed, ["stop"]);
    let in_vain = replace(&[], &["a"]).await;
    assert!(matches!(in_vain, Err(StoreError::Conflict(_))), "{in_vain:?}");
    let edit = async |edit| ledger.edit_policies(edit, Expected::default(), NOW, &root).await.unwrap();
    edit(PolicyEdit::Put(Box::new(stop))).await;
    edit(PolicyEdit::Put(Box::new(held("stop", "bob")))).await;
    assert_eq!(edit(PolicyEdit::Remove(short("stop"))).await.removed, ["stop"]);
}

#[tokio::test]
async fn a_set_that_is_put_back_says_which_it_was() {
    let ledger = Ledger::new().await;
    let root = origin("cli:root");
    ledger.replace_policies(&[policy("a", "alice")], None, None, NOW, &root).await.unwrap();
    ledger.replace_policies(&[], None, None, NOW, &root).await.unwrap();
    let replacement =
        Replacement { rows: vec![policy("a", "alice")], restores: Some(1), ..Replacement::default() };
    let change =
        ledger.edit_policies(PolicyEdit::Replace(replacement), seen(Seen::Set(2)), NOW, &root).await.unwrap();
    assert_eq!((change.revision, change.added), (3, vec!["a".to_owned()]));
    assert_eq!(last_event(&ledger).await.detail["restores"], 1);
}

#[tokio::test]
async fn a_row_is_changed_only_under_the_tokens_that_were_seen() {
    let ledger = Ledger::new().await;
    let expected = Expected { seen: Seen::Absent, tokens: Some(7) };
    let edit = PolicyEdit::Put(Box::new(policy("a", "alice")));
    let stale = ledger.edit_policies(edit, expected, NOW, &origin("token:admin")).await;
    assert!(matches!(stale, Err(StoreError::Stale)), "{stale:?}");
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
