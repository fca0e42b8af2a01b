//! What a certificate costs on disk.

use super::*;

const COUNT: u64 = 5_000;

/// What a ledger takes that has none.
async fn octets_without() -> u64 {
    let ledger = Ledger::on_sqlite().await;
    let file = ledger.place.folder().join("ledger.db");
    ledger.close().await;
    std::fs::metadata(file).unwrap().len()
}

async fn octets_per_certificate(der: usize) -> u64 {
    let ledger = Ledger::on_sqlite().await;
    let file = ledger.place.folder().join("ledger.db");
    let mut tasks = Vec::new();
    for task in 0..50 {
        let store = ledger.store.clone();
        tasks.push(tokio::spawn(async move {
            for number in (0..COUNT).filter(|number| number % 50 == task) {
                let user = format!("user-{:04}@example.com", number % 1_000);
                let mut octets = vec![0; der];
                octets[..8].copy_from_slice(&number.to_be_bytes());
                let sample = Sample {
                    user: &user,
                    groups: &["dev", "viewers"],
                    rows: &["base", "developers"],
                    der: octets,
                    // Spread as random serials are.
                    ..sample(number.wrapping_mul(0x9e37_79b9_7f4a_7c15))
                };
                store.record(sample.build()).await.unwrap();
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    ledger.close().await;
    let size = std::fs::metadata(file).unwrap().len();
    size.saturating_sub(octets_without().await).div_ceil(COUNT)
}

#[tokio::test]
async fn a_p256_certificate_costs_at_most_1200_octets() {
    // Signed by a P-256 CA, and by an RSA-2048 one.
    for der in [450, 640] {
        let octets = octets_per_certificate(der).await;
        println!("{octets} octets on disk for a certificate of {der}");
        assert!(octets <= 1_200, "{octets} for {der}");
    }
}
