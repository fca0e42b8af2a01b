//! From the bytes of a body to the DER of exactly one CSR: PEM in all its spellings, base64, or DER.
mod armor;
mod private_key;
mod text;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use self::armor::Block;
pub use self::private_key::holds_private_key;
use super::der::{self, Reader};

/// The largest body that is looked at, in bytes.
const MAX_BYTES: usize = 64 * 1024;
/// Characters in a line of PEM (RFC 7468 section 2).
const LINE: usize = 64;
const UTF8_MARK: &[u8] = b"\xef\xbb\xbf";
const BEGIN: &[u8] = b"-----BEGIN";

/// Bytes in which no private key was found. Made only by [`Keyless::search`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keyless<B>(B);

impl<B: AsRef<[u8]>> Keyless<B> {
    /// Looks for a private key in all of `body`.
    ///
    /// # Errors
    /// [`BodyError::PrivateKey`]. What was found is dropped.
    pub fn search(body: B) -> Result<Self, BodyError> {
        if holds_private_key(body.as_ref()) { Err(BodyError::PrivateKey) } else { Ok(Self(body)) }
    }

    /// All of the bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.0.as_ref()
    }
}

/// The DER of the one CSR in a body that is not JSON. Read are PEM with any or no line endings and
/// with text around it, base64 of such a PEM, DER, and base64 of DER. The DER is not checked
/// further than telling it from a certificate or a key. Linear in the size of the body.
///
/// # Errors
/// A [`BodyError`]; [`BodyError::PrivateKey`] where binary follows text.
pub fn csr_der<B: AsRef<[u8]>>(body: &Keyless<B>) -> Result<Vec<u8>, BodyError> {
    let body = body.bytes();
    if body.len() > MAX_BYTES {
        return Err(BodyError::TooLong { bytes: body.len() });
    }
    if text::is_utf16(body) {
        return Err(BodyError::Utf16);
    }
    let body = body.strip_prefix(UTF8_MARK).unwrap_or(body);
    if body.trim_ascii().is_empty() {
        return Err(BodyError::Empty);
    }
    if is_der(body) {
        tell_apart(body)?;
        return Ok(body.to_vec());
    }
    if private_key::stands_in_binary(body) {
        return Err(BodyError::PrivateKey);
    }
    let der = from_text(body)?;
    tell_apart(&der)?;
    Ok(der)
}

/// A PEM block of `der` under `label` (RFC 7468): lines of 64 characters that end in LF.
#[must_use]
pub fn encode(label: &str, der: &[u8]) -> String {
    let base64 = STANDARD.encode(der);
    let mut pem = String::with_capacity(base64.len().saturating_add(base64.len() / LINE).saturating_add(128));
    for part in ["-----BEGIN ", label, "-----\n"] {
        pem.push_str(part);
    }
    let mut rest = base64.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at_checked(LINE).unwrap_or((rest, ""));
        pem.push_str(line);
        pem.push('\n');
        rest = after;
    }
    for part in ["-----END ", label, "-----\n"] {
        pem.push_str(part);
    }
    pem
}

/// Why a body holds no CSR that can be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// Nothing but white space.
    #[error("the body is empty: send the CSR in it, as with curl --data-binary @alice.csr")]
    Empty,
    /// Over 64 KiB.
    #[error("the body has {bytes} bytes, more than {MAX_BYTES}: send the CSR alone")]
    TooLong {
        /// The length that was found.
        bytes: usize,
    },
    /// A private key in any encoding that is read.
    #[error("this body holds a private key: consider it lost and make a new one; only the CSR is sent")]
    PrivateKey,
    /// Two bytes for a character, as Windows PowerShell's `>` writes.
    #[error(
        "the body is UTF-16 text: save the CSR as ASCII or UTF-8, in PowerShell with `Out-File -Encoding ascii`"
    )]
    Utf16,
    /// A form of curl instead of the file.
    #[error("the body is a form: send the CSR's file as it is, with curl --data-binary @alice.csr")]
    FormEncoded,
    /// More than one PEM block with a request.
    #[error("the body holds more than one CSR: send them one by one")]
    SeveralRequests,
    /// A certificate instead of a request.
    #[error("the body holds a certificate: send the CSR that `openssl req -new` makes")]
    Certificate,
    /// A public key instead of a request.
    #[error("the body holds a public key: send a CSR, which `openssl req -new -key FILE` makes")]
    PublicKey,
    /// Nothing that looks like a CSR.
    #[error("the body holds no CSR: send what `openssl req -new` makes, in PEM or DER")]
    NotACsr,
    /// A PEM block that cannot be read.
    #[error(
        "the PEM block is malformed, {0}: send the file as `openssl req -new` wrote it, with curl --data-binary @alice.csr"
    )]
    Pem(&'static str),
}

impl BodyError {
    /// A stable word for programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Empty => "body_empty",
            Self::TooLong { .. } => "body_too_large",
            Self::PrivateKey => "private_key_in_body",
            Self::Utf16 => "body_utf16",
            Self::FormEncoded => "body_form_encoded",
            Self::SeveralRequests => "body_has_two_requests",
            Self::Certificate | Self::PublicKey | Self::NotACsr => "body_not_a_csr",
            Self::Pem(_) => "pem_malformed",
        }
    }

    /// Whether the body is a try at a CSR, a fact to keep, and not merely a request gone wrong.
    #[must_use]
    pub const fn is_about_the_csr(&self) -> bool {
        match self {
            Self::SeveralRequests | Self::Certificate | Self::PublicKey | Self::NotACsr | Self::Pem(_) => {
                true
            }
            Self::Empty | Self::TooLong { .. } | Self::PrivateKey | Self::Utf16 | Self::FormEncoded => false,
        }
    }
}

/// DER begins with the byte that is the digit 0 in text; text holds no control bytes.
fn is_der(body: &[u8]) -> bool {
    body.first() == Some(&der::SEQUENCE) && !body.iter().all(|byte| text::is_text(*byte))
}

fn from_text(body: &[u8]) -> Result<Vec<u8>, BodyError> {
    if text::is_form(body) {
        return Err(BodyError::FormEncoded);
    }
    if text::find(body, BEGIN).is_some() {
        return from_pem(body);
    }
    if text::find(body, b"BEGIN CERTIFICATE REQUEST").is_some()
        || text::find(body, b"BEGIN NEW CERTIFICATE REQUEST").is_some()
    {
        return Err(BodyError::Pem("its first line needs five hyphens at both ends"));
    }
    let decoded = STANDARD.decode(text::without_space(body)).map_err(|_| BodyError::NotACsr)?;
    let decoded = decoded.strip_prefix(UTF8_MARK).unwrap_or(&decoded);
    if is_der(decoded) {
        Ok(decoded.to_vec())
    } else if text::is_utf16(decoded) {
        Err(BodyError::Utf16)
    } else if text::find(decoded, BEGIN).is_some() {
        from_pem(decoded)
    } else {
        Err(BodyError::NotACsr)
    }
}

fn from_pem(text: &[u8]) -> Result<Vec<u8>, BodyError> {
    let blocks = armor::blocks(text)?;
    let mut requests = blocks.iter().filter(|block| block.is_request());
    match (requests.next(), requests.next()) {
        (Some(_), Some(_)) => Err(BodyError::SeveralRequests),
        (Some(request), None) if blocks.iter().all(Block::may_stand_beside) => from_block(request),
        _ => Err(other_content(&blocks)),
    }
}

fn other_content(blocks: &[Block<'_>]) -> BodyError {
    if blocks.iter().any(Block::is_certificate) {
        BodyError::Certificate
    } else if blocks.iter().any(Block::is_public_key) {
        BodyError::PublicKey
    } else {
        BodyError::NotACsr
    }
}

fn from_block(block: &Block<'_>) -> Result<Vec<u8>, BodyError> {
    if block.content.contains(&b'%') {
        return Err(BodyError::FormEncoded);
    }
    if text::find(block.content, br"\n").is_some() {
        return Err(BodyError::Pem(r"it has `\n` in two characters where lines end"));
    }
    let base64 = text::without_space(block.content);
    let der = STANDARD.decode(&base64).map_err(|_| BodyError::Pem("it is not base64"));
    // A form turns `+` into a space, and what is left may still be base64.
    let whole = der.as_ref().is_ok_and(|der| der::only(der, der::SEQUENCE).is_ok());
    if !whole && block.content.contains(&b' ') && !block.content.contains(&b'\n') {
        return Err(BodyError::FormEncoded);
    }
    der
}

/// Certificates and public keys get a sentence of their own, whatever label they came under.
fn tell_apart(der: &[u8]) -> Result<(), BodyError> {
    let Ok(outer) = Reader::new(der).expect(der::SEQUENCE) else { return Ok(()) };
    let Ok(inner) = outer.open().expect(der::SEQUENCE) else { return Ok(()) };
    let mut fields = inner.open();
    match fields.any().map(|field| field.tag) {
        Ok(der::CONTEXT_0) => Err(BodyError::Certificate),
        Ok(der::OID) => Err(BodyError::PublicKey),
        Ok(der::INTEGER) if second_is_algorithm(&mut fields) => Err(BodyError::Certificate),
        _ => Ok(()),
    }
}

/// A certificate of version 1 has an `AlgorithmIdentifier` where a request has its subject.
fn second_is_algorithm(fields: &mut Reader<'_>) -> bool {
    fields.expect(der::SEQUENCE).and_then(|second| second.open().expect(der::OID)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::samples;
    use proptest::prelude::*;

    struct Sample {
        der: Vec<u8>,
        pem: String,
    }

    impl Sample {
        fn new() -> Self {
            let der = samples::csr(&samples::private_key_of("p-256"), &["-subj", "/CN=alice/O=dev"]);
            let pem = encode("CERTIFICATE REQUEST", &der);
            Self { der, pem }
        }
    }

    fn read(body: &[u8]) -> Result<Vec<u8>, BodyError> {
        csr_der(&Keyless::search(body)?)
    }

    fn code(body: impl AsRef<[u8]>) -> &'static str {
        read(body.as_ref()).map_or_else(|error| error.code(), |_| "accepted")
    }

    fn utf16(text: &str) -> Vec<u8> {
        text.encode_utf16().flat_map(u16::to_le_bytes).collect()
    }

    #[test]
    fn a_written_block_is_what_openssl_writes() {
        let Sample { der, pem } = Sample::new();
        let openssl = samples::openssl(&["req", "-inform", "DER"], &der);
        assert_eq!(pem.as_bytes(), openssl);
        assert_eq!(encode("X", &[]), "-----BEGIN X-----\n-----END X-----\n");
        assert_eq!(encode("X", &[0; 48]).lines().nth(1), Some(&*"A".repeat(64)));
    }

    #[test]
    fn one_request_is_found_in_every_spelling() {
        let Sample { der, pem } = Sample::new();
        let base64 = STANDARD.encode(&der);
        let wrapped: String = STANDARD
            .encode(&pem)
            .as_bytes()
            .chunks(76)
            .flat_map(|line| [std::str::from_utf8(line).unwrap(), "\n"])
            .collect();
        let with_text = samples::openssl(&["req", "-text", "-inform", "DER"], &der);
        let spellings: Vec<Vec<u8>> = vec![
            der.clone(),
            pem.clone().into(),
            pem.replace('\n', "\r\n").into(),
            pem.replace('\n', "\r").into(),
            pem.replace('\n', "").into(),
            pem.replace('\n', " ").into(),
            pem.replace('\n', "\n\n").into(),
            pem.replace('\n', " \n\t").into(),
            pem.replace("CERTIFICATE", "NEW CERTIFICATE").into(),
            pem.trim_end().into(),
            format!("\u{feff}{pem}").into(),
            format!("\n\n  {pem}\n\n").into(),
            format!("Subject: CN = alice\n{pem}-- \nregards").into(),
            format!("0\n{pem}").into(),
            with_text,
            samples::openssl(&["req", "-pubkey", "-inform", "DER"], &der),
            format!("-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n{pem}")
                .into(),
            [b"Gr\xfc\xdfe\n", pem.as_bytes()].concat(),
            base64.clone().into(),
            format!("{base64}\n").into(),
            base64.as_bytes().chunks(76).flat_map(|line| [line, b"\r\n"].concat()).collect(),
            STANDARD.encode(&pem).into(),
            wrapped.into(),
            STANDARD.encode(format!("\u{feff}{pem}")).into(),
            STANDARD.encode(pem.replace('\n', "\r\n")).into(),
        ];
        for (number, body) in spellings.iter().enumerate() {
            assert_eq!(read(body).as_ref(), Ok(&der), "spelling {number}");
        }
    }

    #[test]
    fn bodies_without_a_request_say_what_they_are() {
        let Sample { der, pem } = Sample::new();
        let key = samples::private_key_of("p-256");
        let certificate = samples::csr(&key, &["-x509", "-subj", "/CN=alice"]);
        let public_key = samples::spki(&key);
        let as_request = |der: &[u8]| encode("CERTIFICATE REQUEST", der);
        let mut trailing = der.clone();
        trailing.push(0);
        let cases: Vec<(Vec<u8>, Result<(), BodyError>)> = vec![
            (b"".into(), Err(BodyError::Empty)),
            (b" \r\n\t".into(), Err(BodyError::Empty)),
            (b"\xef\xbb\xbf\n".into(), Err(BodyError::Empty)),
            (vec![b'a'; 65_537], Err(BodyError::TooLong { bytes: 65_537 })),
            (key, Err(BodyError::PrivateKey)),
            (utf16(&pem), Err(BodyError::Utf16)),
            ([&[0xff, 0xfe][..], &utf16(&pem)].concat(), Err(BodyError::Utf16)),
            (STANDARD.encode([&[0xff, 0xfe][..], &utf16(&pem)].concat()).into(), Err(BodyError::Utf16)),
            ([&pem[..], &pem].concat().into(), Err(BodyError::SeveralRequests)),
            (pem.repeat(3).replace('\n', "").into(), Err(BodyError::SeveralRequests)),
            (certificate.clone(), Err(BodyError::Certificate)),
            (encode("CERTIFICATE", &certificate).into(), Err(BodyError::Certificate)),
            (as_request(&certificate).into(), Err(BodyError::Certificate)),
            (STANDARD.encode(&certificate).into(), Err(BodyError::Certificate)),
            (format!("{pem}{}", encode("CERTIFICATE", &certificate)).into(), Err(BodyError::Certificate)),
            (public_key.clone(), Err(BodyError::PublicKey)),
            (encode("PUBLIC KEY", &public_key).into(), Err(BodyError::PublicKey)),
            (as_request(&public_key).into(), Err(BodyError::PublicKey)),
            (b"hello".into(), Err(BodyError::NotACsr)),
            (b"alice.csr".into(), Err(BodyError::NotACsr)),
            (b"aGVsbG8gd29ybGQ=".into(), Err(BodyError::NotACsr)),
            (encode("X509 CRL", &[0x30, 0]).into(), Err(BodyError::NotACsr)),
            (vec![0xff; 100], Err(BodyError::NotACsr)),
            (trailing, Ok(())),
        ];
        for (body, expected) in cases {
            assert_eq!(read(&body).map(|_| ()), expected, "{}", String::from_utf8_lossy(&body));
        }
    }

    #[test]
    fn blocks_that_cannot_be_read_are_malformed() {
        let Sample { pem, .. } = Sample::new();
        let middle = pem.len() / 2;
        for body in [
            pem.replace("-----END", ""),
            pem.replace("END CERTIFICATE REQUEST", "END CERTIFICATE"),
            pem.replace("REQUEST-----\nM", "REQUEST\nM"),
            pem.replace("-----BEGIN ", "-----BEGIN"),
            pem.replace("-----BEGIN", "----BEGIN"),
            pem.replace("-----", "—"),
            pem[..middle].to_owned(),
            format!("{}*{}", &pem[..middle], &pem[middle..]),
            format!("{}={}", &pem[..middle], &pem[middle..]),
            pem.replace('\n', r"\n"),
            pem.replace("REQUEST-----\nM", "REQUEST-----\nProc-Type: 4,ENCRYPTED\n\nM"),
            "-----BEGIN".to_owned(),
            "-----BEGIN ".repeat(5000),
            "-----BEGIN X-----\n-----END X-----\n".repeat(17),
        ] {
            assert_eq!(code(&body), "pem_malformed", "{body}");
        }
    }

    #[test]
    fn forms_of_curl_are_named() {
        let Sample { pem, .. } = Sample::new();
        let urlencoded: String = pem
            .chars()
            .map(|c| match c {
                ' ' => "%20".to_owned(),
                '\n' => "%0A".to_owned(),
                '+' => "%2B".to_owned(),
                '/' => "%2F".to_owned(),
                '=' => "%3D".to_owned(),
                c => c.to_string(),
            })
            .collect();
        let boundary = "--------------------------d74496d66958873e";
        for body in [
            format!("csr={urlencoded}"),
            urlencoded.clone(),
            urlencoded.replace("%20", "+"),
            urlencoded.replace('-', "%2D"),
            format!("csr={pem}"),
            format!("csr={}", pem.replace('\n', "")),
            format!("ttl=8h&csr={pem}"),
            format!("csr={}", STANDARD.encode(&pem)),
            format!(
                "{boundary}\r\nContent-Disposition: form-data; name=\"csr\"\r\n\r\n{pem}\r\n{boundary}--\r\n"
            ),
        ] {
            let error = read(body.as_bytes()).unwrap_err();
            assert_eq!(error, BodyError::FormEncoded, "{body}");
            assert!(error.to_string().contains("--data-binary @"));
        }
    }

    #[test]
    fn a_plus_that_became_a_space_is_named() {
        // Over and over until the base64 holds a `+`; four of them leave base64 that can be decoded.
        for pluses in [1, 4] {
            let sample =
                std::iter::repeat_with(Sample::new).find(|s| s.pem.matches('+').count() >= pluses).unwrap();
            let body = sample.pem.replace('\n', "").replacen('+', " ", pluses);
            assert_eq!(code(&body), "body_form_encoded", "{body}");
        }
    }

    #[test]
    fn only_tries_at_a_csr_are_about_one() {
        let about = [
            BodyError::SeveralRequests,
            BodyError::Certificate,
            BodyError::PublicKey,
            BodyError::NotACsr,
            BodyError::Pem("x"),
        ];
        let not = [
            BodyError::Empty,
            BodyError::TooLong { bytes: 1 },
            BodyError::PrivateKey,
            BodyError::Utf16,
            BodyError::FormEncoded,
        ];
        assert!(about.iter().all(BodyError::is_about_the_csr));
        assert!(!not.iter().any(BodyError::is_about_the_csr));
    }

    proptest! {
        #[test]
        fn any_body_is_read_without_a_panic(bytes: Vec<u8>, text in "(-----(BEGIN|END) (CERTIFICATE REQUEST|X)?|-----|[A-Za-z0-9+/=\\n %]{0,9}){0,20}") {
            let _ = read(&bytes);
            let _ = read(text.as_bytes());
        }

        #[test]
        fn what_is_written_reads_back(content in prop::collection::vec(any::<u8>(), 0..300)) {
            let der = super::der::build::tlv(super::der::SEQUENCE, &content);
            let pem = encode("CERTIFICATE REQUEST", &der);
            if !holds_private_key(&der) && tell_apart(&der).is_ok() {
                prop_assert_eq!(read(pem.as_bytes()), Ok(der));
            }
        }
    }
}
