//! What kind of text some bytes are.

use std::sync::LazyLock;

use memchr::memmem::Finder;

/// What only a form holds, apart from escapes. Made once: making one takes longer than using it.
static FORM: LazyLock<[Finder<'static>; 3]> =
    LazyLock::new(|| ["BEGIN+", "=-----BEGIN", "Content-Disposition: form-data"].map(Finder::new));

/// How many bytes are looked at together: half a line of PEM.
const CHUNK: usize = 32;

/// The position of the first `needle`.
pub(super) fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    memchr::memmem::find(haystack, needle)
}

/// Whether the byte can be part of text in an encoding that keeps ASCII.
pub(super) fn is_text(byte: u8) -> bool {
    matches!(byte, b'\t'..=b'\r' | b' '..=b'~')
}

/// The runs of bytes for which `is_part` holds, of at least `shortest` bytes. Looks at few of the bytes
/// of a text whose runs are shorter.
pub(super) fn runs(
    text: &[u8],
    is_part: impl Fn(u8) -> bool,
    shortest: usize,
) -> impl Iterator<Item = &[u8]> {
    let mut rest = text;
    std::iter::from_fn(move || {
        loop {
            // A run that covers the next `shortest` bytes begins after the last of them that is no part.
            let window = rest.get(..shortest)?;
            let Some(last) = window.iter().rposition(|byte| !is_part(*byte)) else { break };
            rest = rest.get(last.saturating_add(1)..)?;
        }
        let end = position(rest, |byte| !is_part(byte)).unwrap_or(rest.len());
        let (run, after) = rest.split_at_checked(end)?;
        rest = after;
        Some(run)
    })
}

/// The position of the first byte that is one of `sought`.
fn position(bytes: &[u8], sought: impl Fn(u8) -> bool) -> Option<usize> {
    // Without a branch for each byte, many are looked at together.
    let is_in = |chunk: &[u8]| chunk.iter().fold(false, |found, byte| found | sought(*byte));
    let before = bytes.chunks_exact(CHUNK).take_while(|chunk| !is_in(chunk)).count().saturating_mul(CHUNK);
    let within = bytes.get(before..)?.iter().position(|byte| sought(*byte))?;
    Some(before.saturating_add(within))
}

/// What stands between white space.
pub(super) fn words(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        rest = rest.get(rest.iter().position(|byte| !is_space(*byte))?..)?;
        let (word, after) = rest.split_at_checked(position(rest, is_space).unwrap_or(rest.len()))?;
        rest = after;
        Some(word)
    })
}

/// Everything but ASCII white space.
pub(super) fn without_space(bytes: &[u8]) -> Vec<u8> {
    let mut left = Vec::with_capacity(bytes.len());
    words(bytes).for_each(|word| left.extend_from_slice(word));
    left
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
    let escaped = memchr::memchr(b'%', text).is_some()
        && (has(b"BEGIN%20") || has(b"-----BEGIN%") || has(b"%2D%2D") || has(b"%2d%2d"));
    escaped || FORM.iter().any(|finder| finder.find(text).is_some()) || is_field(text)
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
    fn runs_are_those_of_a_split_that_are_long_enough() {
        let is_part = |byte: u8| byte.is_ascii_digit();
        for text in ["", "1", "x", "12x345y6", "123", "x123", "123x", "1x2x3", "xx1234xx567", "12345678"] {
            for shortest in 1..6 {
                let found: Vec<&[u8]> = runs(text.as_bytes(), is_part, shortest).collect();
                let split = text.as_bytes().split(|byte| !is_part(*byte));
                let expected: Vec<&[u8]> = split.filter(|run| run.len() >= shortest).collect();
                assert_eq!(found, expected, "{text} {shortest}");
            }
        }
    }

    #[test]
    fn words_are_those_of_a_split() {
        let long = "x".repeat(CHUNK);
        for text in [
            String::new(),
            " ".to_owned(),
            "a".to_owned(),
            " a  b\x0b\nc ".to_owned(),
            format!("{long}{long}\n{long}"),
            format!("{long}y {long}\ty\r\n\x0c"),
            format!("{} b", &long[1..]),
        ] {
            let split = text.as_bytes().split(|byte| is_space(*byte)).filter(|word| !word.is_empty());
            let expected: Vec<&[u8]> = split.collect();
            assert_eq!(words(text.as_bytes()).collect::<Vec<_>>(), expected, "{text:?}");
            assert_eq!(without_space(text.as_bytes()), expected.concat());
        }
    }

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
