use super::*;

use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokio::net::TcpListener;

const NOW: Time = Time::from_unix(1_800_000_000);

/// An issuer that takes connections and never says a word; how many it took.
async fn silent() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let taken = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&taken);
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
            counted.fetch_add(1, Ordering::SeqCst);
        }
    });
    (url, taken)
}

fn oidc(name: &str, issuer: &str) -> OidcSettings {
    toml::from_str(&format!("name = \"{name}\"\nissuer = \"{issuer}\"\naudience = \"countersign\"")).unwrap()
}

/// What anybody can write who knows the name of an issuer.
fn garbage(issuer: &str) -> String {
    let parts = [r#"{"alg":"RS256","kid":"x"}"#.to_owned(), format!("{{\"iss\":\"{issuer}\"}}")];
    let [header, payload] = parts.map(|part| URL_SAFE_NO_PAD.encode(part));
    format!("{header}.{payload}.AAAA")
}

#[tokio::test]
async fn nobody_waits_for_the_look_of_another_at_an_issuer_that_hangs() {
    let (url, taken) = silent().await;
    let issuers = Arc::new(Issuers::open(&[oidc("corp", &url)], &[]).unwrap());
    let token = garbage(&url);
    let (of_first, first) = (Arc::clone(&issuers), token.clone());
    let first = tokio::spawn(async move { of_first.verify(&first, NOW).await.map(drop) });
    while taken.load(Ordering::SeqCst) == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    first.abort();
    let begun = Instant::now();
    for _ in 0..100 {
        assert_eq!(issuers.verify(&token, NOW).await.map(drop), Err(JwtError::KeyUnknown));
    }
    issuers.refresh().await;
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    assert_eq!(taken.load(Ordering::SeqCst), 1, "who hangs up does not end the look that goes on");
}

#[tokio::test]
async fn a_start_waits_once_for_all_issuers_that_hang() {
    let mut settings = Vec::new();
    for name in ["one", "two", "three"] {
        settings.push(oidc(name, &silent().await.0));
    }
    let issuers = Issuers::open(&settings, &[]).unwrap();
    let begun = Instant::now();
    issuers.first_look().await.unwrap();
    assert!(begun.elapsed() < AT_START + Duration::from_secs(3), "{:?}", begun.elapsed());
    assert_eq!(issuers.problems().len(), 3);
}
