use super::*;

#[tokio::test]
async fn a_certificate_is_read_back_as_it_was_recorded() {
    let ledger = Ledger::new().await;
    let sample = Sample {
        groups: &["dev", "app"],
        on_behalf_of: Some("bob"),
        rows: &["base", "developers"],
        ..sample(1)
    };
    let recorded = ledger.record(sample.build()).await.unwrap();
    assert_eq!(recorded.number, 1);
    assert_eq!(recorded.issued_at, NOW);
    assert_eq!(recorded.groups, ["dev", "app"]);
    assert_eq!(recorded.policies, ["base", "developers"]);
    let loaded = ledger.all().await;
    assert_eq!(loaded.len(), 1);
    assert_eq!(*loaded[0], *recorded);
    assert_eq!(ledger.certificates_by_serial(serial(1)).await.unwrap().len(), 1);
    assert!(ledger.certificates_by_serial(serial(2)).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_refusal_is_read_back_as_it_was_recorded() {
    let ledger = Ledger::new().await;
    assert_eq!(ledger.record_refusal(refusal()).await.unwrap(), 1);
    let read = ledger.refusals(&RefusalFilter::default(), everything()).await.unwrap();
    assert_eq!(read.len(), 1);
    assert_eq!(read[0].number, 1);
    assert_eq!(format!("{:?}", read[0].record), format!("{:?}", refusal()));
}

#[tokio::test]
async fn a_record_and_its_event_have_one_number() {
    let ledger = Ledger::new().await;
    ledger.record(sample(1).build()).await.unwrap();
    ledger.record_refusal(refusal()).await.unwrap();
    let events = ledger.events_after(&EventFilter::default(), 0, 10).await.unwrap();
    let kinds: Vec<_> = events.iter().map(|event| (event.number, event.kind.as_str())).collect();
    assert_eq!(kinds, [(1, "certificate.issued"), (2, "request.refused")]);
    assert_eq!(events[0].origin, origin("token:portal"));
    assert_eq!(events[0].at, NOW);
}
