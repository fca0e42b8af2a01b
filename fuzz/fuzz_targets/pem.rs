//! The bytes of a body, read as PEM, base64 or DER of one CSR.
#![no_main]

use countersign::pki::pem::{BodyError, Keyless, csr_der, encode, holds_private_key};
use countersign_fuzz::in_time;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    let read = in_time(|| read(body));
    if holds_private_key(body) {
        assert!(matches!(read, Err(BodyError::PrivateKey)));
    }
    if let Err(error) = &read {
        assert!(!error.code().is_empty() && !error.to_string().contains('\n'));
    }
    if let Ok(der) = read {
        assert!(!holds_private_key(&der), "a key came through");
        let pem = encode("CERTIFICATE REQUEST", &der);
        // A line of PEM may begin as a key does, in the middle of what is no CSR either.
        let looks_like_a_key = matches!(self::read(pem.as_bytes()), Err(BodyError::PrivateKey));
        if pem.len() <= 65_536 && !looks_like_a_key {
            assert_eq!(self::read(pem.as_bytes()).as_ref(), Ok(&der), "what was found is found again");
            assert_eq!(self::read(pem.replace('\n', "\r\n\t").as_bytes()).ok(), short(&pem, der));
        }
    }
});

fn read(body: &[u8]) -> Result<Vec<u8>, BodyError> {
    csr_der(&Keyless::search(body)?)
}

/// White space around every line makes a body longer than what is read.
fn short(pem: &str, der: Vec<u8>) -> Option<Vec<u8>> {
    let lines = pem.matches('\n').count();
    (pem.len() + 2 * lines <= 65_536).then_some(der)
}
