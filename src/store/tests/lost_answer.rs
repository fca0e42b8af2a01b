//! A connection to PostgreSQL that breaks between a COMMIT and its answer. Needs the server that
//! `COUNTERSIGN_TEST_POSTGRES` names, as `postgres` does.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;

const ANSWERS: usize = 16 * 1_024;

/// Stands between the store and its server, and hands on everything but answers to COMMIT.
struct Proxy {
    port: u16,
    loses: Arc<AtomicBool>,
}

impl Proxy {
    async fn before(server: &str) -> Self {
        let server = server.rsplit_once('@').unwrap().1.to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let loses = Arc::new(AtomicBool::new(false));
        let shared = Arc::clone(&loses);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&server).await.unwrap();
                tokio::spawn(hand_on(client, server, Arc::clone(&shared)));
            }
        });
        Self { port, loses }
    }
}

/// Ends with the first COMMIT whose answer is to be lost: the server has given it by then.
async fn hand_on(mut client: TcpStream, mut server: TcpStream, loses: Arc<AtomicBool>) {
    let (mut asked, mut answered) = (vec![0; ANSWERS], vec![0; ANSWERS]);
    loop {
        tokio::select! {
            read = client.read(&mut asked) => {
                let Ok(length @ 1..) = read else { return };
                if server.write_all(&asked[..length]).await.is_err() {
                    return;
                }
                if loses.load(Ordering::SeqCst) && is_about_commit(&asked[..length]) {
                    let mut length = 0;
                    while !is_about_commit(&answered[..length]) {
                        length += server.read(&mut answered[length..]).await.unwrap();
                    }
                    return;
                }
            }
            read = server.read(&mut answered) => {
                let Ok(length @ 1..) = read else { return };
                if client.write_all(&answered[..length]).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// The statement, or the tag of its completion: the protocol ends both with a zero.
fn is_about_commit(message: &[u8]) -> bool {
    message.windows(7).any(|word| word == b"COMMIT\0")
}

#[tokio::test]
#[ignore = "needs COUNTERSIGN_TEST_POSTGRES"]
async fn what_a_commit_without_an_answer_wrote_is_not_written_again() {
    let server = server::server().expect("COUNTERSIGN_TEST_POSTGRES names a server");
    let ledger =
        Ledger::at(Place::Database(TestDatabase::copy_of_prepared(server.clone(), prepare).await)).await;
    let Place::Database(database) = &ledger.place else { panic!() };
    let proxy = Proxy::before(&server).await;
    let url = format!("postgres://countersign@127.0.0.1:{}/{}?sslmode=disable", proxy.port, database.name());
    let store = Store::open(&postgres_settings(&url)).await.unwrap();

    let hold = store.connections().writer.acquire().await.unwrap();
    let issuances: Vec<_> = (1..=5)
        .map(|serial| {
            let store = store.clone();
            tokio::spawn(async move { store.record(sample(serial).build()).await })
        })
        .collect();
    let refusals: Vec<_> = (0..5)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { store.record_refusal(refusal()).await })
        })
        .collect();
    tokio::task::yield_now().await;
    proxy.loses.store(true, Ordering::SeqCst);
    drop(hold);

    for issuance in issuances {
        let outcome = issuance.await.unwrap();
        assert!(matches!(outcome, Err(RecordError::Store(StoreError::Unavailable(_)))), "{outcome:?}");
    }
    for refusal in refusals {
        let outcome = refusal.await.unwrap();
        assert!(matches!(outcome, Err(RefusalError::Store(StoreError::Unavailable(_)))), "{outcome:?}");
    }
    assert_eq!(ledger.all().await.len(), 5);
    assert_eq!(ledger.count("SELECT count(*) FROM refusals").await, 5);
    assert_eq!(ledger.integrity().await.unwrap(), Vec::<String>::new());

    proxy.loses.store(false, Ordering::SeqCst);
    assert_eq!(store.record(sample(6).build()).await.unwrap().number, 11);
}
