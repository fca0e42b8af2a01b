//! What kind of text some bytes are.

/// The position of the first `needle`.
pub(super) fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    memchr::memmem::find(haystack, needle)
}

/// Whether the byte can be part of text in an encoding that keeps ASCII.
pub(super) fn is_text(byte: u8) -> bool {
    matches!(byte, b'\t'..=b'\r' | b' '..=b'~')
}

/// Everything but ASCII white space.
pub(super) fn without_space(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().copied().filter(|byte| !is_space(*byte)).collect()
}

pub(super) fn is_space(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == 0x0b
}

/// A byte-order mark, or ASCII with a zero before or after every character.
pub(super) fn is_utf16(bytes: &[u8]) -> bool {
    let marked = bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff");
    let start = bytes.get(..bytes.len().min(64)).unwrap_or(bytes);
    let pairs = || start.chunks_exact(2);
    let little = pairs().all(|pair| matches!(pair, [c, 0] if is_text(*c)));
    let big = pairs().all(|pair| matches!(pair, [0, c] if is_text(*c)));
    marked || (start.len() >= 4 && (little || big))
}

/// What curl sends with `-F` or `--data-urlencode`, or for `-d csr="$(cat file)"`.
pub(super) fn is_form(text: &[u8]) -> bool {
    let has = |needle: &[u8]| find(text, needle).is_some();
    let escaped =
        has(b"BEGIN%20") || has(b"BEGIN+") || has(b"-----BEGIN%") || has(b"%2D%2D") || has(b"%2d%2d");
    escaped || has(b"=-----BEGIN") || has(b"Content-Disposition: form-data") || is_field(text)
}

/// `csr=` and something that goes on.
fn is_field(text: &[u8]) -> bool {
    let text = text.trim_ascii();
    let name = text.iter().take_while(|byte| byte.is_ascii_lowercase() || **byte == b'_').count();
    let rest = text.get(name..).unwrap_or_default();
    (1..=16).contains(&name) && matches!(rest, [b'=', next, ..] if *next != b'=')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn utf16_is_known_with_and_without_its_mark() {
        for text in ["-----BEGIN", "MIIB"] {
            let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
            let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
            for bytes in
                [&little, &big, &[b"\xff\xfe", &little[..]].concat(), &[b"\xfe\xff", &big[..]].concat()]
            {
                assert!(is_utf16(bytes), "{bytes:02x?}");
            }
            assert!(!is_utf16(text.as_bytes()));
        }
        assert!(!is_utf16(b"") && !is_utf16(b"a") && !is_utf16(&[0x30, 0]) && !is_utf16(&[0x30, 0x82, 0, 0]));
    }

    #[test]
    fn base64_with_padding_is_not_a_form() {
        assert!(!is_form(b"abcd==") && !is_form(b"abcde=") && !is_form(b"abc=\n"));
        assert!(is_form(b"csr=MIIB") && is_form(b"csr=-----BEGIN") && is_form(b"x_y=1&z=2"));
    }
}
