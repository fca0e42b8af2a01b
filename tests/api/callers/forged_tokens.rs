//! JWTs that are no credential, one by one: each is 401, on every kind of route.

use axum::http::Method;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde_json::{Value, json};

use super::app;
use crate::app::NOON;
use crate::csr::Key;
use crate::issuer::{IDP, OTHER, alice, encode, with, without};

/// What was done, and the token that came of it.
type Forged = (String, String);

fn header(name: &str, value: impl Into<Value>) -> Value {
    with(&json!({ "alg": "ES256", "kid": "ec", "typ": "JWT" }), name, value)
}

/// `{"alg": alg}` signed with `secret` as HMAC-SHA256, whatever `alg` says.
fn hmac(header: &Value, claims: &Value, secret: &[u8]) -> String {
    use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};
    let signed = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
    format!("{signed}.{}", encode(sign(&Key::new(HMAC_SHA256, secret), signed.as_bytes())))
}

fn pem(der: &[u8]) -> String {
    format!("-----BEGIN RSA PUBLIC KEY-----\n{}\n-----END RSA PUBLIC KEY-----\n", STANDARD.encode(der))
}

/// The three parts of a token.
fn parts(token: &str) -> [&str; 3] {
    let mut parts = token.split('.');
    [parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap()]
}

fn named(forged: impl IntoIterator<Item = (&'static str, String)>) -> Vec<Forged> {
    forged.into_iter().map(|(name, token)| (name.to_owned(), token)).collect()
}

fn of_algorithm() -> Vec<Forged> {
    let (good, none) = (alice(), |alg: &str| encode(json!({ "alg": alg, "typ": "JWT" }).to_string()));
    let [_, payload, signature] = parts(&IDP.token(&good)).map(str::to_owned);
    let hs256 = json!({ "alg": "HS256", "kid": "rsa", "typ": "JWT" });
    let mut forged = named([
        ("the public key's PEM as an HMAC secret", hmac(&hs256, &good, pem(&IDP.rsa_der()).as_bytes())),
        ("the public key's DER as an HMAC secret", hmac(&hs256, &good, &IDP.rsa_der())),
        ("the modulus as an HMAC secret", hmac(&hs256, &good, &IDP.modulus())),
        ("the modulus in base64 as an HMAC secret", hmac(&hs256, &good, encode(IDP.modulus()).as_bytes())),
        ("the JWK as an HMAC secret", hmac(&hs256, &good, IDP.rsa_jwk().to_string().as_bytes())),
        ("the key set as an HMAC secret", hmac(&hs256, &good, IDP.jwks().to_string().as_bytes())),
        ("an empty HMAC secret", hmac(&hs256, &good, b"")),
        ("HS384", hmac(&with(&hs256, "alg", "HS384"), &good, &IDP.rsa_der())),
        ("RS256 made with HMAC", hmac(&json!({ "alg": "RS256", "kid": "rsa" }), &good, &IDP.rsa_der())),
        ("RS256 over the elliptic key", IDP.es256(&json!({ "alg": "RS256", "kid": "ec" }), &good)),
        ("ES256 over the RSA key", IDP.rs256(&json!({ "alg": "ES256", "kid": "rsa" }), &good)),
        ("PS256, which is not configured", IDP.ps256(&json!({ "alg": "PS256", "kid": "rsa" }), &good)),
        ("PS256 called RS256", IDP.ps256(&json!({ "alg": "RS256", "kid": "rsa" }), &good)),
        ("RS512 over a key for RS256", IDP.rs256(&json!({ "alg": "RS512", "kid": "rsa" }), &good)),
        ("ES384 over a P-256 key", IDP.es256(&header("alg", "ES384"), &good)),
        ("EdDSA over a P-256 key", IDP.es256(&header("alg", "EdDSA"), &good)),
        ("alg in lower case", IDP.es256(&header("alg", "es256"), &good)),
        ("alg as a list", IDP.es256(&header("alg", json!(["ES256"])), &good)),
        ("alg that is null", IDP.es256(&header("alg", Value::Null), &good)),
        ("no alg", IDP.es256(&without(&header("x", 1), "alg"), &good)),
    ]);
    for alg in ["none", "None", "NONE", "nOnE", ""] {
        forged.push((format!("alg {alg:?} without a signature"), format!("{}.{payload}.", none(alg))));
        forged
            .push((format!("alg {alg:?} with a signature"), format!("{}.{payload}.{signature}", none(alg))));
    }
    forged
}

fn of_keys() -> Vec<Forged> {
    let good = alice();
    let evil = "https://evil.example/keys.json";
    let mut forged = named([
        ("the key of another issuer", OTHER.token(&good)),
        ("the key of another issuer, in jwk", OTHER.es256(&header("jwk", OTHER.ec_jwk()), &good)),
        ("the key of another issuer, by jku", OTHER.es256(&header("jku", evil), &good)),
        ("the key of another issuer, by x5u", OTHER.es256(&header("x5u", evil), &good)),
        ("the key of another issuer, in x5c", OTHER.es256(&header("x5c", json!(["MIIB"])), &good)),
        ("the kid of the other key", IDP.es256(&header("kid", "rsa"), &good)),
        ("a kid that nobody has", IDP.es256(&header("kid", "new"), &good)),
        ("an empty kid", IDP.es256(&header("kid", ""), &good)),
        ("a kid that is a number", IDP.es256(&header("kid", 1), &good)),
        ("a kid that is a list", IDP.es256(&header("kid", json!(["ec"])), &good)),
        ("a kid that is null", IDP.es256(&header("kid", Value::Null), &good)),
        ("a kid that is far too long", IDP.es256(&header("kid", "k".repeat(600)), &good)),
        ("crit", IDP.es256(&header("crit", json!(["exp"])), &good)),
        ("crit that is empty", IDP.es256(&header("crit", json!([])), &good)),
        ("an unencoded payload", IDP.es256(&with(&header("b64", false), "crit", json!(["b64"])), &good)),
        ("the type of an encrypted token", IDP.es256(&header("typ", "JWE"), &good)),
        ("the type of a logout token", IDP.es256(&header("typ", "logout+jwt"), &good)),
        ("a type that is a number", IDP.es256(&header("typ", 1), &good)),
    ]);
    for kid in [
        "../../../../../../dev/null",
        "/dev/null",
        "ec' OR '1'='1",
        "ec\u{0}",
        "file:///etc/passwd",
        evil,
        "|/bin/true",
    ] {
        let secret = json!({ "alg": "HS256", "kid": kid, "typ": "JWT" });
        forged.push((format!("HMAC under the kid {kid:?}"), hmac(&secret, &good, b"")));
        forged.push((format!("the kid {kid:?}"), IDP.es256(&header("kid", kid), &good)));
    }
    forged
}

fn of_signature() -> Vec<Forged> {
    let good = IDP.token(&alice());
    let other = IDP.token(&with(&alice(), "preferred_username", "bob"));
    let ([head, payload, signature], [_, of_other, signature_of_other]) = (parts(&good), parts(&other));
    let padded =
        |part: &str| URL_SAFE.encode(base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(part).unwrap());
    let der = [0x30, 0x06, 0x02, 0x01, 0x01, 0x02, 0x01, 0x01];
    let flattened = json!({ "protected": head, "payload": payload, "signature": signature }).to_string();
    let [rsa_head, rsa_payload, rsa_signature] =
        parts(&IDP.rs256(&json!({ "alg": "RS256", "kid": "rsa" }), &alice())).map(str::to_owned);
    named([
        ("no signature", format!("{head}.{payload}.")),
        ("two parts", format!("{head}.{payload}")),
        ("zeros as a signature", format!("{head}.{payload}.{}", encode([0; 64]))),
        ("ones as a signature", format!("{head}.{payload}.{}", encode([0xff; 64]))),
        ("a signature in DER", format!("{head}.{payload}.{}", encode(der))),
        ("half a signature", format!("{head}.{payload}.{}", &signature[..43])),
        ("a longer signature", format!("{head}.{payload}.{signature}AAAA")),
        ("the signature of another token", format!("{head}.{payload}.{signature_of_other}")),
        ("the payload of another token", format!("{head}.{of_other}.{signature}")),
        ("the payload twice", format!("{head}.{payload}{payload}.{signature}")),
        ("another header", format!("{}.{payload}.{signature}", encode(header("typ", "at+jwt").to_string()))),
        ("five parts", format!("{head}.{payload}.{signature}.x.y")),
        ("four parts", format!("{head}.{payload}.{signature}.")),
        ("padding", format!("{head}.{}.{signature}", padded(payload) + "=")),
        ("another alphabet", format!("{head}.{payload}.{}", signature.replace(['-', '_'], "+"))),
        ("a space", format!("{head}.{payload}. {signature}")),
        ("two tokens", format!("{good},{good}")),
        ("JSON serialization", flattened),
        ("an RSA signature of zeros", format!("{rsa_head}.{rsa_payload}.{}", encode([0; 256]))),
        ("an empty RSA signature", format!("{rsa_head}.{rsa_payload}.")),
        ("an RSA signature with a zero before it", format!("{rsa_head}.{rsa_payload}.AA{rsa_signature}")),
        ("a token in a token", IDP.es256_text(&header("cty", "JWT").to_string(), &good)),
        ("far too much", IDP.token(&with(&alice(), "x", "x".repeat(20_000)))),
    ])
    .into_iter()
    // A signature without either character is none of another alphabet.
    .filter(|(name, _)| name != "another alphabet" || signature.contains(['-', '_']))
    .collect()
}

fn of_json() -> Vec<Forged> {
    let head = header("x", 1).to_string();
    let good = alice().to_string();
    let text = |claims: String| IDP.es256_text(&head, &claims);
    let inner = good.strip_suffix('}').unwrap();
    named([
        ("exp twice", text(format!("{inner},\"exp\":{}}}", NOON.unix() + 700))),
        ("sub twice", text(format!("{inner},\"sub\":\"1234\"}}"))),
        ("aud twice", text(format!("{{\"aud\":\"other\",{}", &good[1..]))),
        ("a member twice, once escaped", text(format!("{inner},\"s\\u0075b\":\"root\"}}"))),
        ("a member of a member twice", text(format!("{inner},\"a\":{{\"b\":1,\"b\":2}}}}"))),
        ("alg twice", IDP.es256_text("{\"alg\":\"none\",\"alg\":\"ES256\",\"kid\":\"ec\"}", &good)),
        ("a list as the payload", text(format!("[{good}]"))),
        ("a text as the payload", text("\"alice\"".to_owned())),
        ("nothing as the payload", text(String::new())),
        ("two objects", text(format!("{good}{good}"))),
        ("a byte order mark", text(format!("\u{feff}{good}"))),
        ("a comment", text(format!("{good}/**/"))),
        ("a comma at the end", text(format!("{inner},}}"))),
        (
            "a payload far too deep",
            text(format!("{inner},\"a\":{}{}}}", "[".repeat(1_000), "]".repeat(1_000))),
        ),
        ("a list as the header", IDP.es256_text(&format!("[{head}]"), &good)),
    ])
}

fn of_claims() -> Vec<Forged> {
    let good = alice();
    let now = NOON.unix();
    let mut forged = Vec::new();
    let wrong: [(&str, Vec<Value>); 10] = [
        (
            "iss",
            vec![
                json!("https://idp.example/"),
                json!("https://other.example"),
                json!("HTTPS://idp.example"),
                json!(["https://idp.example"]),
                json!(1),
                Value::Null,
            ],
        ),
        (
            "aud",
            vec![
                json!("other"),
                json!(["other"]),
                json!([]),
                json!(["countersign", 1]),
                json!({ "0": "countersign" }),
                json!("countersign\u{0}"),
                json!(true),
                Value::Null,
            ],
        ),
        (
            "exp",
            vec![
                json!(now),
                json!(now - 1),
                json!(0),
                json!(-1),
                json!(now + 3_600),
                json!("2100000000"),
                json!(1e300),
                json!(true),
                json!([now + 600]),
                json!({}),
                Value::Null,
            ],
        ),
        ("iat", vec![json!(now + 61), json!(now - 3_600), json!("1780304390"), json!(false), Value::Null]),
        ("nbf", vec![json!(now + 61), json!(now.to_string()), json!(true), Value::Null]),
        (
            "sub",
            vec![json!(""), json!(1234), json!(["1234"]), json!("x".repeat(256)), json!("a\nb"), Value::Null],
        ),
        (
            "preferred_username",
            vec![
                json!(""),
                json!(1),
                json!(["alice"]),
                json!(" alice"),
                json!("alice\u{202e}"),
                json!("x".repeat(300)),
                Value::Null,
            ],
        ),
        (
            "groups",
            vec![
                json!(1),
                json!({ "dev": true }),
                json!(["dev", 1]),
                json!([""]),
                json!(["a\u{1b}"]),
                json!(vec!["g"; 501]),
                Value::Null,
            ],
        ),
        (
            "hd",
            vec![
                json!("evil.example"),
                json!(["corp.example"]),
                json!("Corp.example"),
                json!(true),
                Value::Null,
            ],
        ),
        ("_claim_names", vec![json!({ "groups": "src1" }), json!("groups")]),
    ];
    for (name, values) in wrong {
        for value in values {
            let shown = value.to_string();
            let shown: String = shown.chars().take(40).collect();
            forged.push((format!("{name} is {shown}"), IDP.token(&with(&good, name, value))));
        }
    }
    for name in ["iss", "aud", "exp", "iat", "sub", "preferred_username", "hd"] {
        forged.push((format!("no {name}"), IDP.token(&without(&good, name))));
    }
    forged
}

#[tokio::test]
async fn every_forged_token_is_refused_on_every_kind_of_route() {
    let forged: Vec<Forged> = [of_algorithm(), of_keys(), of_signature(), of_json(), of_claims()].concat();
    assert!(forged.len() >= 120, "{}", forged.len());
    let app = app().await;
    let csr = Key::p256().csr("/CN=alice/O=dev");
    for (what, token) in forged {
        // What no header can carry comes in no header.
        if !token.bytes().all(|octet| (b' '..=b'~').contains(&octet)) {
            continue;
        }
        let client = app.with_authorization(&format!("Bearer {token}"));
        let answer = client.get("/v1/whoami").await;
        assert_eq!(answer.status.as_u16(), 401, "{what}: {}", answer.text());
        assert!(answer.header("www-authenticate").starts_with("Bearer"), "{what}");
        for part in token.split('.').filter(|part| part.len() > 20) {
            assert!(!answer.text().contains(part), "{what}: the answer repeats the token");
        }
        assert_eq!(client.sign("?cluster=prod", csr.clone()).await.status.as_u16(), 401, "{what}");
        assert_eq!(
            client.send(Method::PUT, "/v1/policies", &[], Vec::new()).await.status.as_u16(),
            401,
            "{what}"
        );
    }
    // None of them was taken for somebody, and the sound one still is.
    let auditor = app.auditor().await;
    assert_eq!(auditor.get("/v1/identities").await.expect(200)["items"], json!([]));
    let good = app.with_authorization(&format!("Bearer {}", IDP.token(&alice())));
    good.sign("?cluster=prod", csr).await.expect(201);
}
