use super::*;

use std::sync::atomic::{AtomicUsize, Ordering};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;
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
    let (url, asked) = silent().await;
    let issuers = Arc::new(Issuers::open(&[oidc("corp", &url)], &[]).unwrap());
    let token = garbage(&url);
    let (of_first, first) = (Arc::clone(&issuers), token.clone());
    let first = tokio::spawn(async move { of_first.verify(&first, NOW).await.map(drop) });
    while asked.load(Ordering::SeqCst) == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    first.abort();
    let begun = Instant::now();
    for _ in 0..100 {
        assert_eq!(issuers.verify(&token, NOW).await.map(drop), Err(JwtError::KeyUnknown));
    }
    issuers.refresh().await;
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    assert_eq!(asked.load(Ordering::SeqCst), 1, "who hangs up does not end the look that goes on");
}

#[tokio::test]
async fn a_start_waits_once_for_all_issuers_that_hang() {
    let mut settings = Vec::new();
    for name in ["one", "two", "three"] {
        settings.push(oidc(name, &silent().await.0));
    }
    let issuers = Issuers::open(&settings, &[]).unwrap();
    let begun = Instant::now();
    issuers.first_look().await;
    assert!(begun.elapsed() < AT_START + Duration::from_secs(3), "{:?}", begun.elapsed());
    assert_eq!(issuers.problems().len(), 3);
}

fn key() -> (EcdsaKeyPair, Value) {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let [x, y] = [1..33, 33..65].map(|part| URL_SAFE_NO_PAD.encode(&pair.public_key().as_ref()[part]));
    (pair, json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y }))
}

/// What an issuer shows; each key has its place for its name.
fn shows(issuers: &Issuers, place: usize, keys: &[&Value]) {
    let named = keys.iter().enumerate().map(|(number, key)| {
        let mut key = (*key).clone();
        key["kid"] = number.to_string().into();
        key
    });
    let set = json!({ "keys": named.collect::<Vec<_>>() }).to_string();
    issuers.known.install(place, KeySet::read(set.as_bytes()).unwrap());
}

/// A token of the issuer at this place by the key of this name.
fn token(place: usize, kid: &str, pair: &EcdsaKeyPair) -> String {
    let header = json!({ "alg": "ES256", "kid": kid }).to_string();
    let (from, until) = (NOW.unix() - 1, NOW.unix() + 60);
    let claims =
        json!({ "iss": ISSUERS[place], "sub": "alice", "aud": "countersign", "iat": from, "exp": until });
    let signed = [header, claims.to_string()].map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
    let signature = pair.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// Nobody listens there.
const ISSUERS: [&str; 2] = ["https://127.0.0.1:9/one", "https://127.0.0.1:9/two"];

#[tokio::test]
async fn a_key_of_two_sources_verifies_for_neither_and_each_keeps_its_others() {
    let mut settings = [oidc("one", ISSUERS[0]), oidc("two", ISSUERS[1])];
    for one in &mut settings {
        one.algorithms = vec![Algorithm::ES256];
    }
    let issuers = Issuers::open(&settings, &[]).unwrap();
    let [(a, jwk_a), (b, jwk_b), (c, jwk_c)] = [key(), key(), key()];
    let says = async |place, kid, pair| issuers.verify(&token(place, kid, pair), NOW).await;
    shows(&issuers, 0, &[&jwk_a, &jwk_b]);
    let remembered = token(0, "0", &a);
    let (_, proof) = issuers.verify(&remembered, NOW).await.unwrap();
    // The second has seen a key of the first, and shows it as its own under another name.
    shows(&issuers, 1, &[&jwk_c, &jwk_a]);
    assert!(!issuers.holds(&proof), "what was verified before counts no more");
    assert_eq!(issuers.verify(&remembered, NOW).await.map(drop), Err(JwtError::KeyShared));
    assert_eq!(says(1, "1", &a).await.map(drop), Err(JwtError::KeyShared));
    assert!(says(0, "1", &b).await.is_ok() && says(1, "0", &c).await.is_ok());
    let problems = issuers.problems();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].contains("auth.oidc one and auth.oidc two have a key in common"), "{problems:?}");
    // Whose turn it is to be read says nothing of whose the key is.
    shows(&issuers, 0, &[&jwk_a, &jwk_b]);
    assert_eq!(says(0, "0", &a).await.map(drop), Err(JwtError::KeyShared));
    shows(&issuers, 1, &[&jwk_c]);
    assert!(issuers.holds(&proof) && says(0, "0", &a).await.is_ok());
    assert_eq!(issuers.problems(), [""; 0]);
}
