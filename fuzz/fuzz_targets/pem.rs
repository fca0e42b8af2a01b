//! The bytes of a body, read as PEM, base64 or DER of one CSR.
#![no_main]

use countersign::pki::pem::{BodyError, csr_der, encode, holds_private_key};
use countersign_fuzz::in_time;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    let read = in_time(|| csr_der(body));
    if holds_private_key(body) {
        assert!(matches!(read, Err(BodyError::PrivateKey | BodyError::TooLong { .. })));
    }
    if let Err(error) = &read {
        assert!(!error.code().is_empty() && !error.to_string().contains('\n'));
    }
    if let Ok(der) = read {
        assert!(!holds_private_key(&der), "a key came through");
        let pem = encode("CERTIFICATE REQUEST", &der);
        if pem.len() <= 65_536 {
            assert_eq!(csr_der(pem.as_bytes()).as_ref(), Ok(&der), "what was found is found again");
            assert_eq!(csr_der(pem.replace('\n', "\r\n\t").as_bytes()).ok(), short(&pem, der));
        }
    }
});

/// White space around every line makes a body longer than what is read.
fn short(pem: &str, der: Vec<u8>) -> Option<Vec<u8>> {
    let lines = pem.matches('\n').count();
    (pem.len() + 2 * lines <= 65_536).then_some(der)
}
