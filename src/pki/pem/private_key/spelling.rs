//! Ways in which bytes are written as text, beside plain base64: base64url, hex, and bytes that a
//! program took for text and wrote as UTF-8. What comes out is only searched, so all is lenient.
use super::super::text::{find, is_space, runs};

/// The fewest bytes in hex that are looked at: no private key is shorter.
const MIN_HEX_BYTES: usize = 32;
/// How many words of one run of hex are tried as the beginning of a key.
const MAX_HEX_STARTS: usize = 3;
/// What stands before and after the words of a line of PEM (RFC 7468 section 2).
const PEM_HYPHENS: &[u8] = b"-----";
/// What a decoder puts in the place of a byte that is no UTF-8.
const REPLACEMENT: char = '\u{fffd}';
/// The bytes that most often were there, in the head of a DER file: lengths of one and of two bytes.
const REPLACED: [u8; 2] = [0x81, 0x82];
/// Windows-1252 from 0x80 on, where it differs from Latin-1; a space where it has no character.
const WINDOWS_1252: &str = "€ ‚ƒ„…†‡ˆ‰Š‹Œ Ž  ‘’“”•–—˜™š›œ žŸ";

/// Each run of base64url (RFC 4648 section 5) of at least `shortest` bytes, as plain base64 with its
/// white space. The hyphens around a line of PEM are none of it.
pub(super) fn url_safe_runs(text: &[u8], shortest: usize) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for piece in between(text, PEM_HYPHENS) {
        // Most texts have neither, and looking for two characters is far quicker than for runs.
        if memchr::memchr2(b'-', b'_', piece).is_some() {
            let runs = runs(piece, is_base64url, shortest);
            let runs = runs.filter(|run| memchr::memchr2(b'-', b'_', run).is_some());
            found.extend(runs.map(|run| run.iter().map(|byte| plain(*byte)).collect::<Vec<u8>>()));
        }
    }
    found
}

fn is_base64url(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') || is_space(byte)
}

/// What is left of `text` without each `mark`.
fn between<'t>(text: &'t [u8], mark: &'static [u8]) -> impl Iterator<Item = &'t [u8]> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let now = rest?;
        let Some(place) = find(now, mark) else { return rest.take() };
        let (piece, after) = now.split_at_checked(place)?;
        rest = after.get(mark.len()..);
        Some(piece)
    })
}

fn plain(byte: u8) -> u8 {
    match byte {
        b'-' => b'+',
        b'_' => b'/',
        other => other,
    }
}

/// The bytes of each run of hex, with or without spaces, colons or hyphens in it. A run may begin
/// with a word that only looks like hex, so it is read from a few of its words on.
pub(super) fn hex_runs(text: &[u8]) -> Vec<Vec<u8>> {
    let is_part = |byte: u8| byte.is_ascii_hexdigit() || is_gap(byte);
    runs(text, is_part, MIN_HEX_BYTES * 2).flat_map(hex_run).collect()
}

fn is_gap(byte: u8) -> bool {
    is_space(byte) || matches!(byte, b':' | b'-')
}

fn hex_run(run: &[u8]) -> Vec<Vec<u8>> {
    let mut digits: Vec<u8> = Vec::with_capacity(run.len());
    let mut starts = Vec::new();
    for word in run.split(|byte| is_gap(*byte)).filter(|word| !word.is_empty()) {
        // DER begins with 30, PEM with hyphens.
        if starts.len() < MAX_HEX_STARTS
            && (digits.is_empty() || matches!(word, [b'3', b'0', ..] | [b'2', b'd' | b'D', ..]))
        {
            starts.push(digits.len());
        }
        digits.extend(word.iter().filter_map(|digit| nibble(*digit)));
    }
    let read = |start: usize| digits.get(start..).map(pairs).filter(|bytes| bytes.len() >= MIN_HEX_BYTES);
    starts.into_iter().filter_map(read).collect()
}

fn nibble(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

fn pairs(nibbles: &[u8]) -> Vec<u8> {
    nibbles.chunks_exact(2).map(|pair| pair.iter().fold(0, |byte, nibble| byte << 4 | nibble)).collect()
}

/// The bytes that were read as Latin-1, Windows-1252 or broken UTF-8 and are written as UTF-8 here.
/// Where a byte was replaced it is guessed, once for each guess.
pub(super) fn as_if_text(bytes: &[u8]) -> Vec<Vec<u8>> {
    let Ok(text) = std::str::from_utf8(bytes) else { return Vec::new() };
    if text.is_ascii() {
        return Vec::new();
    }
    let guesses = if text.contains(REPLACEMENT) { &REPLACED[..] } else { &REPLACED[..1] };
    guesses.iter().map(|guess| text.chars().map(|c| byte_of(c, *guess)).collect()).collect()
}

fn byte_of(character: char, replaced: u8) -> u8 {
    if character == REPLACEMENT {
        return replaced;
    }
    let windows = || (0x80..=0x9f).zip(WINDOWS_1252.chars()).find(|(_, known)| *known == character);
    u8::try_from(character).ok().or_else(|| windows().map(|(byte, _)| byte)).unwrap_or(b'?')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_1252_has_its_32_places() {
        assert_eq!(WINDOWS_1252.chars().count(), 32);
        for (character, byte) in
            [('€', 0x80), ('‚', 0x82), ('Ž', 0x8e), ('‘', 0x91), ('œ', 0x9c), ('Ÿ', 0x9f)]
        {
            assert_eq!(byte_of(character, 0), byte, "{character}");
        }
        assert_eq!((byte_of('é', 0), byte_of('王', 0), byte_of('\u{fffd}', 7)), (0xe9, b'?', 7));
    }

    #[test]
    fn hex_is_read_with_and_without_gaps() {
        let bytes: Vec<u8> = (0x30..0x60).collect();
        let plain = hex::encode(&bytes);
        let colons: Vec<String> = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
        for text in [
            plain.clone(),
            format!("\\x{plain}"),
            format!("0x{plain}"),
            colons.join(":"),
            colons.join(" "),
            colons.join("-"),
            format!("a key {plain}"),
            format!("{}\n{}\n", &plain[..60], &plain[60..]),
        ] {
            assert!(hex_runs(text.as_bytes()).contains(&bytes), "{text}");
        }
        assert!(hex_runs(&plain.as_bytes()[..62]).is_empty());
    }
}
