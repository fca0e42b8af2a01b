//! Whose a name is.

use super::*;

const ALICE: &str = "oidc:corp:alice";

fn subject(text: &str) -> Subject {
    Subject { issuer: "https://idp.example".to_owned(), subject: text.to_owned() }
}

async fn bind(ledger: &Store, name: &str, sub: &str) -> Option<Binding> {
    match ledger.bind_identity(name, &subject(sub), NOW, &origin(name)).await.unwrap() {
        Holder::This(binding) => Some(binding),
        Holder::Another => None,
        other => panic!("{other:?}"),
    }
}

async fn release(ledger: &Store) -> Option<IdentityRecord> {
    ledger.release_identity(ALICE, None, NOW, &origin("cli:root")).await.unwrap()
}

#[tokio::test]
async fn a_name_is_the_first_subjects_until_it_is_released() {
    let ledger = Ledger::new().await;
    let first = bind(&ledger, ALICE, "1").await.unwrap();
    assert_eq!(bind(&ledger, ALICE, "1").await.unwrap(), first);
    assert_eq!(bind(&ledger, ALICE, "2").await, None);
    let elsewhere = Subject { issuer: "https://other.example".to_owned(), subject: "1".to_owned() };
    let held = ledger.bind_identity(ALICE, &elsewhere, NOW, &origin(ALICE)).await.unwrap();
    assert_eq!(held, Holder::Another);
    let before = ledger.revisions().await.unwrap();
    assert_eq!(release(&ledger).await.unwrap().subject, "1");
    assert_eq!(ledger.revisions().await.unwrap().tokens, before.tokens + 1);
    assert_eq!(ledger.snapshot().await.unwrap().released, [first.number].into());
    assert_eq!(release(&ledger).await, None);
    let second = bind(&ledger, ALICE, "2").await.unwrap();
    assert!(second.own.holds(ALICE, second.number + 1) && !second.own.holds(ALICE, first.number + 1));
    assert_eq!(bind(&ledger, ALICE, "1").await, None);
}

#[tokio::test]
async fn binding_a_name_makes_nobody_decide_again() {
    let ledger = Ledger::new().await;
    let before = ledger.revisions().await.unwrap();
    bind(&ledger, ALICE, "1").await.unwrap();
    assert_eq!(ledger.revisions().await.unwrap(), before);
}

#[tokio::test]
async fn a_name_that_comes_back_brings_its_records() {
    let ledger = Ledger::new().await;
    let first = bind(&ledger, ALICE, "1").await.unwrap();
    release(&ledger).await.unwrap();
    let again = bind(&ledger, ALICE, "1").await.unwrap();
    assert!(again.own.holds(ALICE, first.number + 1) && again.own.holds(ALICE, again.number + 1));
    release(&ledger).await.unwrap();
    bind(&ledger, ALICE, "2").await.unwrap();
    release(&ledger).await.unwrap();
    let third = bind(&ledger, ALICE, "1").await.unwrap();
    let between = third.number - 1;
    assert!(third.own.holds(ALICE, first.number + 1) && !third.own.holds(ALICE, between));
}

#[tokio::test]
async fn a_subject_has_the_records_of_all_its_names() {
    let ledger = Ledger::new().await;
    let first = bind(&ledger, ALICE, "1").await.unwrap();
    let second = bind(&ledger, "oidc:corp:al", "1").await.unwrap();
    assert!(second.own.holds(ALICE, first.number + 1) && second.own.holds("oidc:corp:al", second.number + 1));
    let names: Vec<_> = ledger.identities(None, Span::all(Order::OldestFirst, 10)).await.unwrap();
    assert_eq!(names.iter().map(|row| row.caller.as_str()).collect::<Vec<_>>(), [ALICE, "oidc:corp:al"]);
}

#[tokio::test]
async fn looking_whose_a_name_is_binds_nothing() {
    let ledger = Ledger::new().await;
    let before = ledger.revisions().await.unwrap();
    assert_eq!(ledger.holder(ALICE, &subject("1")).await.unwrap(), Holder::Nobody);
    assert!(ledger.identities(None, Span::all(Order::OldestFirst, 10)).await.unwrap().is_empty());
    assert_eq!(ledger.revisions().await.unwrap(), before);
    let bound = bind(&ledger, ALICE, "1").await.unwrap();
    assert_eq!(ledger.holder(ALICE, &subject("1")).await.unwrap(), Holder::This(bound));
    assert_eq!(ledger.holder(ALICE, &subject("2")).await.unwrap(), Holder::Another);
}

#[tokio::test]
async fn a_subject_has_eight_names_at_most() {
    let ledger = Ledger::new().await;
    for number in 0..8 {
        bind(&ledger, &format!("oidc:corp:a{number}"), "1").await.unwrap();
    }
    let one_more = ledger.bind_identity(ALICE, &subject("1"), NOW, &origin(ALICE)).await.unwrap();
    assert_eq!(one_more, Holder::TooMany);
    assert!(bind(&ledger, ALICE, "2").await.is_some());
    ledger.release_identity("oidc:corp:a3", None, NOW, &origin("cli:root")).await.unwrap().unwrap();
    assert!(bind(&ledger, "oidc:corp:a9", "1").await.is_some());
}

#[tokio::test]
async fn two_names_are_one_subjects_if_it_ever_had_both() {
    let ledger = Ledger::new().await;
    bind(&ledger, ALICE, "1").await.unwrap();
    bind(&ledger, "oidc:corp:al", "1").await.unwrap();
    bind(&ledger, "oidc:corp:bob", "2").await.unwrap();
    release(&ledger).await.unwrap();
    for (one, other, both) in [
        (ALICE, "oidc:corp:al", true),
        ("oidc:corp:al", ALICE, true),
        (ALICE, "oidc:corp:bob", false),
        ("token:portal", ALICE, false),
    ] {
        assert_eq!(ledger.had_both(one, other).await.unwrap(), both, "{one} {other}");
    }
}

#[tokio::test]
async fn only_one_of_many_subjects_gets_a_name() {
    let ledger = Ledger::new().await;
    let beside = ledger.beside().await;
    let tries = (0..8).map(|number| {
        let store = if number % 2 == 0 { ledger.store.clone() } else { beside.clone() };
        tokio::spawn(async move { bind(&store, ALICE, &number.to_string()).await })
    });
    let mut bound = 0;
    for one in tries.collect::<Vec<_>>() {
        bound += usize::from(one.await.unwrap().is_some());
    }
    assert_eq!(bound, 1);
    beside.close().await;
}

#[tokio::test]
async fn a_release_under_another_token_revision_is_stale() {
    let ledger = Ledger::new().await;
    bind(&ledger, ALICE, "1").await.unwrap();
    let stale = ledger.release_identity(ALICE, Some(99), NOW, &origin("token:admin")).await;
    assert!(matches!(stale, Err(StoreError::Stale)), "{stale:?}");
}

#[tokio::test]
async fn records_are_found_by_whose_they_are() {
    let ledger = Ledger::new().await;
    ledger.record(sample(1).build()).await.unwrap();
    let number = ledger.all().await[0].number;
    let own = |caller: &str, above, below| {
        Own::of(vec![
            Tenure { caller: caller.to_owned(), above, below },
            Tenure { caller: "oidc:corp:x".to_owned(), above: 0, below: i64::MAX },
        ])
    };
    for (own, found) in [
        (own("token:portal", 0, i64::MAX), 1),
        (own("token:portal", number, i64::MAX), 0),
        (own("token:portal", number - 1, number + 1), 1),
        (own("token:portal", 0, number), 0),
        (own("token:other", 0, i64::MAX), 0),
        (Own::always("token:portal".to_owned()), 1),
        (Own::of(vec![Tenure { caller: "token:portal".to_owned(), above: number, below: i64::MAX }]), 0),
        (Own::of(Vec::new()), 0),
    ] {
        let filter = CertificateFilter { own: Some(own.clone()), ..CertificateFilter::default() };
        assert_eq!(ledger.certificates(&filter, everything()).await.unwrap().len(), found, "{own:?}");
        let filter = CertificateFilter { user: Some("alice".to_owned()), ..filter };
        assert_eq!(ledger.certificates(&filter, everything()).await.unwrap().len(), found, "{own:?}");
    }
}
