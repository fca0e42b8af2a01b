//! What a certificate costs on disk.

use super::*;

const COUNT: u64 = 5_000;

/// What the database takes.
async fn octets(ledger: &Ledger) -> u64 {
    if ledger.is_sqlite() {
        let file = ledger.place.folder().join("ledger.db");
        return std::fs::metadata(file).unwrap().len();
    }
    ledger.run("CHECKPOINT").await.unwrap();
    ledger.count("SELECT pg_database_size(current_database())").await.try_into().unwrap()
}

async fn fill(ledger: &Ledger, der: usize) {
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
}

/// Of a file that is closed, and of a server that goes on.
async fn octets_per_certificate([empty, full]: [Ledger; 2], der: usize) -> u64 {
    fill(&full, der).await;
    if full.is_sqlite() {
        empty.close().await;
        full.close().await;
    }
    octets(&full).await.saturating_sub(octets(&empty).await).div_ceil(COUNT)
}

#[tokio::test]
async fn a_p256_certificate_costs_at_most_1200_octets_in_a_file_and_1300_on_a_server() {
    let ledgers = [Ledger::new().await, Ledger::new().await];
    // With a reason, and of a caller with groups, which the requests of bench/run do not have.
    let most = if ledgers[0].is_sqlite() { 1_200 } else { 1_300 };
    let octets = octets_per_certificate(ledgers, 450).await;
    println!("{octets} octets on disk");
    assert!(octets <= most, "{octets}");
}

#[tokio::test]
async fn one_that_an_rsa_ca_signed_costs_no_more_in_a_file() {
    let octets = octets_per_certificate([Ledger::on_sqlite().await, Ledger::on_sqlite().await], 640).await;
    println!("{octets} octets on disk");
    assert!(octets <= 1_200, "{octets}");
}
