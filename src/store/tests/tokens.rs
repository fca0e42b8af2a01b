//! Secrets of tokens: which of them hold, until when, and when they were last used.

use serde_json::json;

use super::*;
use crate::audit::EventKind;

/// Rotates the token `name` under the revision that holds.
pub(super) async fn rotate(ledger: &Ledger, name: &str, rotation: Rotation) {
    let (name, seen) = (ShortName::parse(name).unwrap(), ledger.revisions().await.unwrap().tokens);
    let rotated = ledger.rotate_token(&name, &rotation, seen, &origin("cli:root")).await.unwrap();
    assert_eq!(rotated, Rotated::Done);
}

fn later(seconds: u32) -> Time {
    NOW.after(Lifetime::from_seconds(seconds))
}

/// Id, end and whether it was replaced, of each secret.
async fn secrets(ledger: &Ledger) -> Vec<(String, Time, bool)> {
    let tokens = ledger.tokens().await.unwrap();
    tokens.into_iter().map(|secret| (secret.id, secret.expires_at, secret.replaced)).collect()
}

#[tokio::test]
async fn a_rotated_token_keeps_what_it_is_and_its_old_secret_ends_after_the_grace() {
    let ledger = Ledger::new().await;
    ledger.create_token(&token("portal"), &origin("cli:root")).await.unwrap();
    rotate(&ledger, "portal", rotation("second", NOW)).await;
    let tokens = ledger.tokens().await.unwrap();
    let old = TokenRecord { expires_at: later(3_600), replaced: true, ..token("portal") };
    let new = TokenRecord {
        id: "second".to_owned(),
        secret_sha256: [6; 32],
        created_at: NOW,
        expires_at: later(86_400),
        ..token("portal")
    };
    assert_eq!(tokens, [old, new]);
    assert_eq!(ledger.snapshot().await.unwrap().tokens.len(), 2);
    assert_eq!(ledger.revisions().await.unwrap().tokens, 2);
    let event = ledger.events(&EventFilter::default(), everything()).await.unwrap().remove(0);
    assert_eq!(event.kind, EventKind::TokenRotated);
    assert_eq!(
        event.detail,
        json!({ "id": "second", "name": "portal", "expires_at": later(86_400), "previous_until": later(3_600) })
    );
}

#[tokio::test]
async fn no_more_than_two_secrets_hold() {
    let ledger = Ledger::new().await;
    ledger.create_token(&token("portal"), &origin("cli:root")).await.unwrap();
    rotate(&ledger, "portal", rotation("second", NOW)).await;
    rotate(&ledger, "portal", rotation("third", later(60))).await;
    assert_eq!(
        secrets(&ledger).await,
        [
            ("id-portal".to_owned(), later(60), true),
            ("second".to_owned(), later(3_660), true),
            ("third".to_owned(), later(86_460), false),
        ]
    );
}

#[tokio::test]
async fn a_grace_makes_no_secret_last_longer() {
    let ledger = Ledger::new().await;
    let short = TokenRecord { expires_at: later(10), ..token("portal") };
    ledger.create_token(&short, &origin("cli:root")).await.unwrap();
    rotate(&ledger, "portal", rotation("second", NOW)).await;
    assert_eq!(secrets(&ledger).await[0], ("id-portal".to_owned(), later(10), true));
}

#[tokio::test]
async fn a_revoked_token_has_no_secret_left_and_gets_none() {
    let ledger = Ledger::new().await;
    let (root, name) = (origin("cli:root"), ShortName::parse("portal").unwrap());
    ledger.create_token(&token("portal"), &root).await.unwrap();
    rotate(&ledger, "portal", rotation("second", NOW)).await;
    ledger.revoke_token(&name, NOW, &root).await.unwrap();
    assert!(ledger.tokens().await.unwrap().iter().all(|secret| secret.revoked_at == Some(NOW)));
    let seen = ledger.revisions().await.unwrap().tokens;
    let third = ledger.rotate_token(&name, &rotation("third", NOW), seen, &root).await.unwrap();
    assert_eq!(third, Rotated::Revoked);
    let nobody = ShortName::parse("nobody").unwrap();
    let none = ledger.rotate_token(&nobody, &rotation("third", NOW), seen, &root).await.unwrap();
    assert_eq!(none, Rotated::NotFound);
    assert_eq!(ledger.revisions().await.unwrap().tokens, 3);
}

#[tokio::test]
async fn tokens_change_only_under_the_revision_that_was_seen() {
    let ledger = Ledger::new().await;
    let (root, name) = (origin("token:admin"), ShortName::parse("portal").unwrap());
    ledger.create_token_if(&token("portal"), Some(0), &root).await.unwrap();
    for stale in [
        ledger.create_token_if(&token("other"), Some(0), &root).await,
        ledger.rotate_token(&name, &rotation("second", NOW), 0, &root).await.map(|_| ()),
        ledger.revoke_token_if(&name, Some(0), NOW, &root).await.map(|_| ()),
    ] {
        assert!(matches!(stale, Err(StoreError::Stale)), "{stale:?}");
    }
    assert_eq!(ledger.tokens().await.unwrap(), [token("portal")]);
}

#[tokio::test]
async fn an_id_is_never_given_twice() {
    let ledger = Ledger::new().await;
    let root = origin("cli:root");
    for name in ["portal", "other"] {
        ledger.create_token(&token(name), &root).await.unwrap();
    }
    rotate(&ledger, "portal", rotation("second", NOW)).await;
    for id in ["id-other", "second"] {
        let seen = ledger.revisions().await.unwrap().tokens;
        let name = ShortName::parse("portal").unwrap();
        let again = ledger.rotate_token(&name, &rotation(id, NOW), seen, &root).await;
        assert!(matches!(again, Err(StoreError::Conflict(_))), "{again:?}");
        let again = TokenRecord { id: id.to_owned(), ..token("new") };
        let again = ledger.create_token(&again, &root).await;
        assert!(matches!(again, Err(StoreError::Conflict(_))), "{again:?}");
    }
}

#[tokio::test]
async fn the_last_use_never_goes_back() {
    let ledger = Ledger::new().await;
    ledger.create_token(&token("portal"), &origin("cli:root")).await.unwrap();
    let before = ledger.newest_number().await.unwrap();
    for (at, expected) in [(later(60), 60), (later(5), 60), (later(61), 61)] {
        ledger.record_token_uses(vec![("id-portal".to_owned(), at)]).await.unwrap();
        assert_eq!(ledger.tokens().await.unwrap()[0].last_used_at, Some(later(expected)));
    }
    let many = (0..200).map(|number| (format!("id-{number}"), NOW)).collect();
    ledger.record_token_uses(many).await.unwrap();
    assert_eq!(ledger.newest_number().await.unwrap(), before, "a use is no event");
}
