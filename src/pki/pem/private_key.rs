//! Finds private keys in a body, so that a requester who sends one learns that it is lost.
//!
//! This guards against mistakes, not against someone who hides a key on purpose. It looks at the
//! text, at what is left of it without JSON and URL escapes, at all base64 in it, and at DER; in
//! base64 once more at all of that. In the body itself it also looks at base64url, at hex, and at DER
//! that was read as if it were text. Every step is linear, and there are at most three levels.
mod spelling;

use std::borrow::Cow;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use memchr::memmem::Finder;

use super::text::{self, find, is_space, runs, without_space};
use crate::pki::der::{self, Reader};

/// A body, base64 in it, and base64 in that.
const MAX_DEPTH: u8 = 3;
/// The shortest base64 that is decoded: no private key is shorter.
const MIN_BASE64: usize = 32;
/// How far before `PRIVATE KEY` its line of PEM may begin, in bytes.
const LABEL_REACH: usize = 48;
/// How many words that begin as a PEM in base64 does are tried, for each run of base64.
const MAX_PEM_STARTS: usize = 2;
/// How many elements of DER are looked at, one after the other.
const MAX_ELEMENTS: usize = 64;
/// How much of a word is decoded to recognise the head of a key in DER, in base64 characters.
const HEAD: usize = 64;

const PRIVATE: &[u8] = b"PRIVATE";
/// Three hyphens.
const PEM_IN_BASE64: &[u8] = b"LS0t";
const PKCS7_TYPE: &[u8] = &[der::OID, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7];
const PKCS5: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 5];
const PKCS12_SCHEME: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 12, 1];

/// Base64 as lenient as it gets: what is decoded here is only searched.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Words that only a file with a private key holds.
const MARKS: [&[u8]; 6] = [
    b"PuTTY-User-Key-File-",
    b"openssh-key-v1",
    b"AGE-SECRET-KEY-1",
    b"Private-Key: (",
    b"privateExponent:",
    b"Private-MAC:",
];

/// Made once: making one takes longer than using it on a usual body.
static MARK_FINDERS: LazyLock<[Finder<'static>; MARKS.len()]> = LazyLock::new(|| MARKS.map(Finder::new));
static PRIVATE_FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(PRIVATE));

/// Whether these bytes hold a private key in any encoding that is read: PEM of every label
/// (RFC 7468 sections 10 and 11, PKCS #1, SEC 1, OpenSSH), DER of PKCS #8, PKCS #1, SEC 1 and
/// PKCS #12, a JWK, that of `PuTTY`, and each of these in base64, UTF-16, JSON or a URL-encoded form.
#[must_use]
pub fn holds_private_key(bytes: &[u8]) -> bool {
    search(bytes, MAX_DEPTH)
}

fn search(bytes: &[u8], depth: u8) -> bool {
    if depth == 0 {
        return false;
    }
    let text = if is_escaped(bytes) { Cow::Owned(unescaped(bytes)) } else { Cow::Borrowed(bytes) };
    is_key_in_der(bytes)
        || has_mark(&text)
        || has_pem_label(&text)
        || is_jwk(&text)
        || base64_holds_key(&text, depth)
        || (depth == MAX_DEPTH && other_spelling_holds_key(bytes, &text))
}

/// Spellings that nothing else is put into again.
fn other_spelling_holds_key(bytes: &[u8], text: &[u8]) -> bool {
    let within = MAX_DEPTH.saturating_sub(1);
    spelling::url_safe_runs(text, MIN_BASE64).iter().any(|run| run_holds_key(run, within))
        || spelling::hex_runs(text).iter().any(|decoded| search(decoded, within))
        || spelling::as_if_text(bytes).iter().any(|der| stands_in_binary(der))
        || spelling::as_if_text(text).iter().any(|der| stands_in_binary(der))
}

fn is_escaped(bytes: &[u8]) -> bool {
    next_escape(bytes).is_some()
}

fn next_escape(bytes: &[u8]) -> Option<usize> {
    memchr::memchr3(b'%', b'\\', 0, bytes)
}

/// Without what UTF-16, JSON and URLs put between or in front of ASCII characters.
fn unescaped(bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(place) = next_escape(rest) {
        let (plain, escape) = rest.split_at_checked(place).unwrap_or((rest, &[]));
        text.extend_from_slice(plain);
        let Some((first, after)) = escape.split_first() else { break };
        let (byte, after) = match (first, after) {
            (b'%', [high, low, after @ ..]) if high.is_ascii_hexdigit() => (hex(&[*high, *low]), after),
            (b'\\', [b'u', b'0', b'0', high, low, after @ ..]) => (hex(&[*high, *low]), after),
            (b'\\', [b'n' | b'r' | b't', after @ ..]) => (Some(b'\n'), after),
            (b'\\', [escaped, after @ ..]) => (Some(*escaped), after),
            _ => (Some(*first), after),
        };
        text.extend(byte.filter(|byte| *byte != 0));
        rest = after;
    }
    text.extend_from_slice(rest);
    text
}

fn hex(digits: &[u8]) -> Option<u8> {
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

fn has_mark(text: &[u8]) -> bool {
    MARK_FINDERS.iter().any(|finder| finder.find(text).is_some())
}

/// `BEGIN` or `END`, then at most a few words in capitals, then `PRIVATE KEY`. Spaces may have
/// become `+` or line endings on the way.
fn has_pem_label(text: &[u8]) -> bool {
    PRIVATE_FINDER.find_iter(text).any(|position| {
        let (before, after) = text.split_at_checked(position).unwrap_or_default();
        let start = before.len().saturating_sub(LABEL_REACH);
        let opened = ends_in_label(before.get(start..).unwrap_or_default());
        opened && matches!(after.get(PRIVATE.len()..), Some([gap, b'K', b'E', b'Y', ..]) if is_gap(*gap))
    })
}

fn ends_in_label(before: &[u8]) -> bool {
    let in_label = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || is_gap(*byte);
    let outside = before.iter().rposition(|byte| !in_label(byte)).map_or(0, |last| last.saturating_add(1));
    let label = before.get(outside..).unwrap_or_default();
    find(label, b"BEGIN").is_some() || find(label, b"END").is_some()
}

fn is_gap(byte: u8) -> bool {
    is_space(byte) || byte == b'+' || byte == b'_'
}

/// A JSON Web Key with its private member (RFC 7518 sections 6.2.2 and 6.3.2).
fn is_jwk(text: &[u8]) -> bool {
    // Both members have four at the least.
    if memchr::memchr_iter(b'"', text).take(4).count() < 4 {
        return false;
    }
    let compact = without_space(text);
    find(&compact, b"\"kty\":").is_some() && find(&compact, b"\"d\":\"").is_some()
}

fn base64_holds_key(text: &[u8], depth: u8) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/') || is_space(byte);
    runs(text, is_part, MIN_BASE64).any(|run| run_holds_key(run, depth))
}

/// Words may stand before the base64, so it is tried from the start and from each word that
/// begins as DER or as PEM does: all of a possible PEM, only the head of a possible DER.
fn run_holds_key(run: &[u8], depth: u8) -> bool {
    let words = Words::read(run);
    let whole =
        |start: usize| decode(words.from(start)).is_some_and(|bytes| search(&bytes, depth.saturating_sub(1)));
    let pem_starts = words.starts.iter().filter(|start| words.from(**start).starts_with(PEM_IN_BASE64));
    whole(0)
        || pem_starts.take(MAX_PEM_STARTS).any(|start| whole(*start))
        || words.starts.iter().any(|start| words.head_is_key(*start))
}

/// The base64 of a run without its white space.
struct Words {
    characters: Vec<u8>,
    /// Where words began.
    starts: Vec<usize>,
}

impl Words {
    fn read(run: &[u8]) -> Self {
        let mut words = Self { characters: Vec::with_capacity(run.len()), starts: Vec::new() };
        for word in text::words(run) {
            words.starts.push(words.characters.len());
            words.characters.extend_from_slice(word);
        }
        words
    }

    fn from(&self, start: usize) -> &[u8] {
        self.characters.get(start..).unwrap_or_default()
    }

    /// DER of a key begins with a SEQUENCE, whose base64 begins with `M`.
    fn head_is_key(&self, start: usize) -> bool {
        let word = self.from(start);
        let head = word.get(..word.len().min(HEAD)).unwrap_or(word);
        head.starts_with(b"M") && decode(head).is_some_and(|bytes| is_key_head(&bytes))
    }
}

/// A last character that stands alone holds no whole byte.
fn decode(base64: &[u8]) -> Option<Vec<u8>> {
    let whole = if base64.len() % 4 == 1 { base64.len().saturating_sub(1) } else { base64.len() };
    let base64 = base64.get(..whole)?;
    if base64.len() < MIN_BASE64 { None } else { LENIENT.decode(base64).ok() }
}

/// DER at the start, or one element after the other.
fn is_key_in_der(bytes: &[u8]) -> bool {
    let mut reader = Reader::new(bytes);
    let following = std::iter::from_fn(|| reader.any().ok());
    is_key_head(bytes) || following.take(MAX_ELEMENTS).any(|element| is_key_head(element.raw))
}

/// Whether a private key in DER stands anywhere in a body that is not DER itself, as after a PEM
/// block that was put into one file with it. Text cannot look like one.
pub fn stands_in_binary(body: &[u8]) -> bool {
    memchr::memchr_iter(der::SEQUENCE, body).filter_map(|place| body.get(place..)).any(is_key_head)
}

/// Whether these bytes are the beginning of a private key in DER or BER.
fn is_key_head(bytes: &[u8]) -> bool {
    let Some(fields) = enter(bytes) else { return false };
    match fields {
        // PKCS #8 (RFC 5958 section 2): version, algorithm.
        [2, 1, 0 | 1, rest @ ..] if matches!(enter(rest), Some([der::OID, ..])) => true,
        // PKCS #1 (RFC 8017 appendix A.1.2) and DSA: version, a long modulus. SEC 1 (RFC 5915
        // section 3): version, the private key.
        [2, 1, 0 | 1, der::INTEGER, 0x40..=0xff, ..] | [2, 1, 1, der::OCTET_STRING, 20..=66, ..] => true,
        // PKCS #12 (RFC 7292 section 4): version, content of a PKCS #7 type.
        [2, 1, 3, rest @ ..] => enter(rest).is_some_and(|content| content.starts_with(PKCS7_TYPE)),
        // Encrypted PKCS #8 (RFC 5958 section 3): a scheme of PKCS #5 or PKCS #12.
        fields => enter(fields).is_some_and(|scheme| {
            matches!(scheme, [der::OID, _, oid @ ..] if oid.starts_with(PKCS5) || oid.starts_with(PKCS12_SCHEME))
        }),
    }
}

/// What a SEQUENCE holds; its end is not looked for.
fn enter(bytes: &[u8]) -> Option<&[u8]> {
    match bytes {
        [der::SEQUENCE, 0..=0x80, content @ ..]
        | [der::SEQUENCE, 0x81, _, content @ ..]
        | [der::SEQUENCE, 0x82, _, _, content @ ..]
        | [der::SEQUENCE, 0x83, _, _, _, content @ ..] => Some(content),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::samples;
    use proptest::prelude::*;

    const BASE64: base64::engine::GeneralPurpose = base64::engine::general_purpose::STANDARD;

    fn utf16(text: &[u8]) -> Vec<u8> {
        let text = std::str::from_utf8(text).unwrap();
        [0xff, 0xfe].into_iter().chain(text.encode_utf16().flat_map(u16::to_le_bytes)).collect()
    }

    fn without_lines(pem: &[u8]) -> Vec<u8> {
        pem.iter().copied().filter(|byte| !b"\r\n".contains(byte)).collect()
    }

    fn url_encoded(bytes: &[u8]) -> Vec<u8> {
        bytes.iter().flat_map(|byte| format!("%{byte:02X}").into_bytes()).collect()
    }

    /// The text as clients may send it.
    fn spellings(pem: &[u8]) -> Vec<Vec<u8>> {
        let base64 = BASE64.encode(pem).into_bytes();
        let lines: Vec<u8> = base64.chunks(76).flat_map(|line| [line, b"\r\n"].concat()).collect();
        let json = serde_json::json!({"csr": String::from_utf8_lossy(pem)}).to_string().into_bytes();
        let yaml = [b"users:\n- user:\n    client-key-data: ", &base64[..], b"\n"].concat();
        let commented = [b"here is my key\n\n", &lines[..]].concat();
        vec![
            pem.to_vec(),
            without_lines(pem),
            [b"\xef\xbb\xbf", pem].concat(),
            utf16(pem),
            utf16(pem)[2..].to_vec(),
            base64.clone(),
            lines,
            BASE64.encode(&base64).into_bytes(),
            BASE64.encode(utf16(pem)).into_bytes(),
            json,
            serde_json::json!({"csr": String::from_utf8_lossy(&base64)}).to_string().into_bytes(),
            yaml,
            commented,
            [b"csr=", &url_encoded(pem)[..]].concat(),
            String::from_utf8_lossy(pem).replace(' ', "+").into_bytes(),
        ]
    }

    fn pem_keys() -> Vec<Vec<u8>> {
        let (rsa, ec) = (samples::private_key_of("rsa-2048"), samples::private_key_of("p-256"));
        let ecparam = ["ecparam", "-genkey", "-name", "prime256v1"];
        let encrypted = ["pkcs8", "-topk8", "-passout", "pass:secret"];
        vec![
            samples::openssl(&["rsa", "-traditional"], &rsa),
            samples::openssl(&["rsa", "-traditional", "-aes128", "-passout", "pass:secret"], &rsa),
            samples::openssl(&["ec"], &ec),
            samples::openssl(&ecparam, b""),
            samples::openssl(&encrypted, &rsa),
            samples::openssl(&[&encrypted[..], &["-v1", "PBE-SHA1-3DES"]].concat(), &ec),
            samples::openssl(&["pkey", "-text"], &rsa),
            samples::private_key_of("ed25519"),
            rsa,
            ec,
        ]
    }

    #[test]
    fn keys_in_pem_are_found_in_every_spelling() {
        for pem in pem_keys() {
            for (number, spelling) in spellings(&pem).iter().enumerate() {
                let shown = String::from_utf8_lossy(&pem[..40]);
                assert!(holds_private_key(spelling), "spelling {number} of {shown}");
            }
        }
    }

    #[test]
    fn keys_in_der_are_found_plain_and_in_base64() {
        for kind in ["rsa-2048", "rsa-4096", "p-256", "p-384", "p-521", "ed25519"] {
            let pem = samples::private_key_of(kind);
            let mut all = vec![
                samples::openssl(&["pkcs8", "-topk8", "-nocrypt", "-outform", "DER"], &pem),
                samples::openssl(&["pkcs8", "-topk8", "-passout", "pass:x", "-outform", "DER"], &pem),
                samples::openssl(
                    &["pkcs8", "-topk8", "-scrypt", "-passout", "pass:x", "-outform", "DER"],
                    &pem,
                ),
            ];
            if kind != "ed25519" {
                all.push(samples::openssl(&["pkey", "-traditional", "-outform", "DER"], &pem));
            }
            for der in all {
                let base64 = BASE64.encode(&der);
                let lines: Vec<&str> =
                    base64.as_bytes().chunks(64).map(|l| std::str::from_utf8(l).unwrap()).collect();
                assert!(holds_private_key(&der), "{kind}");
                assert!(holds_private_key(base64.as_bytes()), "{kind}");
                assert!(holds_private_key(lines.join("\n").as_bytes()), "{kind}");
                assert!(holds_private_key(format!("my key: {}", lines.join(" ")).as_bytes()), "{kind}");
                assert!(holds_private_key(format!("my key is {base64}").as_bytes()), "{kind}");
                assert!(holds_private_key(&utf16(base64.as_bytes())), "{kind}");
                assert!(holds_private_key(format!("{{\"csr\":\"{base64}\"}}").as_bytes()), "{kind}");
            }
        }
    }

    /// DER as clients write it by mistake, in text that is not base64.
    fn odd_spellings(der: &[u8]) -> Vec<Vec<u8>> {
        let url_safe = base64::engine::general_purpose::URL_SAFE.encode(der);
        let url_safe_without_padding = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(der);
        let hex = hex::encode(der);
        let hex_lines: Vec<&str> =
            hex.as_bytes().chunks(60).map(|line| std::str::from_utf8(line).unwrap()).collect();
        let hex_bytes: Vec<String> = der.iter().map(|byte| format!("{byte:02X}")).collect();
        let latin1: String = der.iter().map(|byte| char::from(*byte)).collect();
        let lossy = String::from_utf8_lossy(der).into_owned();
        let texts = [
            url_safe.clone(),
            url_safe_without_padding,
            format!("my key: {url_safe}"),
            hex.clone(),
            hex.to_uppercase(),
            hex_lines.join("\n"),
            hex_bytes.join(":"),
            hex_bytes.join("-"),
            format!("\\x{hex}"),
            latin1,
            lossy,
        ];
        let json = texts[..9].iter().map(|text| serde_json::json!({"csr": text}).to_string());
        json.chain(texts.iter().cloned()).map(String::into_bytes).collect()
    }

    #[test]
    fn keys_in_der_are_found_in_base64url_in_hex_and_as_if_text() {
        for kind in ["rsa-2048", "rsa-4096", "p-256", "p-384", "p-521", "ed25519"] {
            let pem = samples::private_key_of(kind);
            let mut all = vec![samples::openssl(&["pkcs8", "-topk8", "-nocrypt", "-outform", "DER"], &pem)];
            if kind != "ed25519" {
                all.push(samples::openssl(&["pkey", "-traditional", "-outform", "DER"], &pem));
            }
            for (form, der) in all.iter().enumerate() {
                for (number, spelling) in odd_spellings(der).iter().enumerate() {
                    assert!(holds_private_key(spelling), "spelling {number} of form {form} of {kind}");
                }
            }
            for spelling in [hex::encode(&pem), base64::engine::general_purpose::URL_SAFE.encode(&pem)] {
                assert!(holds_private_key(spelling.as_bytes()), "{kind}");
            }
        }
    }

    #[test]
    fn requests_in_odd_spellings_are_not_private_keys() {
        for kind in ["rsa-2048", "rsa-4096", "p-256", "p-384", "p-521", "ed25519"] {
            let key = samples::private_key_of(kind);
            let der = samples::csr(&key, &["-subj", "/CN=alice/O=dev"]);
            for der in [der, samples::csr(&key, &["-x509", "-subj", "/CN=alice"]), samples::spki(&key)] {
                for (number, spelling) in odd_spellings(&der).iter().enumerate() {
                    assert!(!holds_private_key(spelling), "spelling {number} of {kind}");
                }
            }
        }
    }

    #[test]
    fn keys_of_other_programs_are_found() {
        let rsa = samples::private_key_of("rsa-2048");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &rsa).unwrap();
        let path = file.path().to_str().unwrap();
        let certificate = ["req", "-x509", "-key", path, "-subj", "/CN=a"];
        let certificate = samples::openssl(&certificate, b"");
        std::fs::write(path, [certificate, rsa].concat()).unwrap();
        let pkcs12 = samples::openssl(&["pkcs12", "-export", "-passout", "pass:x", "-in", path], b"");
        let openssh = b"-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQ==\n";
        let putty = b"PuTTY-User-Key-File-3: ssh-ed25519\r\nEncryption: none\r\n";
        for body in [
            pkcs12.clone(),
            BASE64.encode(&pkcs12).into_bytes(),
            openssh.to_vec(),
            b"b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQ==".to_vec(),
            putty.to_vec(),
            b"---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\nComment: x".to_vec(),
            b"-----BEGIN DSA PRIVATE KEY-----\nMIIB".to_vec(),
            b"-----BEGIN PGP PRIVATE KEY BLOCK-----".to_vec(),
            br#"{"kty":"EC","crv":"P-256","x":"f83O","y":"x_FE","d":"jpsQ"}"#.to_vec(),
            br#"{ "kty" : "RSA", "n" : "0vx7", "e" : "AQAB", "d" : "X4cT" }"#.to_vec(),
            br#"{"csr":"{\"kty\":\"OKP\",\"d\":\"nWGx\"}"}"#.to_vec(),
            b"AGE-SECRET-KEY-1QQQQ".to_vec(),
        ] {
            assert!(holds_private_key(&body), "{}", String::from_utf8_lossy(&body));
        }
    }

    #[test]
    fn a_key_beside_a_request_is_found() {
        let key = samples::private_key_of("p-256");
        let der = samples::csr(&key, &["-subj", "/CN=alice"]);
        let pem = crate::pki::pem::encode("CERTIFICATE REQUEST", &der).into_bytes();
        let key_der = samples::openssl(&["pkcs8", "-topk8", "-nocrypt", "-outform", "DER"], &key);
        let base64 = BASE64.encode(&key_der).into_bytes();
        let sec1 = samples::openssl(&["ec"], &key);
        for body in [
            [&pem[..], &key].concat(),
            [&key[..], &pem].concat(),
            without_lines(&[&pem[..], &sec1].concat()),
            BASE64.encode([&pem[..], &sec1].concat()).into_bytes(),
            [&der[..], &key_der].concat(),
            BASE64.encode([&der[..], &key_der].concat()).into_bytes(),
            [&pem[..], &base64].concat(),
            [&pem[..], b"key ", &base64].concat(),
        ] {
            assert!(holds_private_key(&body), "{}", String::from_utf8_lossy(&body));
        }
    }

    #[test]
    fn requests_certificates_and_public_keys_are_not_private_keys() {
        for kind in ["rsa-2048", "rsa-4096", "p-256", "p-384", "p-521", "ed25519"] {
            let key = samples::private_key_of(kind);
            let der = samples::csr(&key, &["-subj", "/CN=alice/O=PRIVATE KEY/OU=BEGIN"]);
            let certificate = samples::csr(&key, &["-x509", "-subj", "/CN=alice"]);
            for (label, der) in [
                ("CERTIFICATE REQUEST", der.clone()),
                ("CERTIFICATE", certificate),
                ("PUBLIC KEY", samples::spki(&key)),
            ] {
                assert!(!holds_private_key(&der), "{kind} {label}");
                for (number, spelling) in
                    spellings(crate::pki::pem::encode(label, &der).as_bytes()).iter().enumerate()
                {
                    assert!(!holds_private_key(spelling), "spelling {number} of {kind} {label}");
                }
            }
            let text = samples::openssl(&["req", "-text", "-inform", "DER"], &der);
            assert!(!holds_private_key(&text), "{kind}");
        }
    }

    #[test]
    fn talk_about_private_keys_is_not_one() {
        for text in [
            "",
            "the PRIVATE KEY never leaves this machine",
            "-----END CERTIFICATE REQUEST-----\",\"reason\":\"lost my PRIVATE KEY\"}",
            "-----END CERTIFICATE REQUEST-----\nPRIVATE KEY lost",
            "{\"kty\":\"EC\",\"x\":\"f83O\"}",
            "-----BEGIN PUBLIC KEY-----",
            "MMMM MMMM MMMM",
        ] {
            assert!(!holds_private_key(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn the_longest_hostile_bodies_are_searched_in_time() {
        let words = [
            "M",
            "M ",
            "MII",
            "MIIE ",
            "LS0t",
            "LS0t ",
            "\\u0",
            "%4d",
            "BEGIN PRIVATE ",
            "END ",
            "0\u{80}",
            "= M",
            "30",
            "30 ",
            "30:",
            "M-",
            "M_ ",
            "\u{fffd}0",
        ];
        for word in words {
            let body: Vec<u8> = word.bytes().cycle().take(65_536).collect();
            let nested = BASE64.encode(&body[..49_152]);
            let start = std::time::Instant::now();
            let _ = (holds_private_key(&body), holds_private_key(nested.as_bytes()));
            assert!(start.elapsed().as_secs() < 5, "{word:?} took {:?}", start.elapsed());
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_searched_without_a_panic(bytes: Vec<u8>, text in "[ -~\\n]{0,200}") {
            let _ = holds_private_key(&bytes);
            let _ = holds_private_key(text.as_bytes());
        }
    }
}
