//! The blocks of a PEM file that the operator wrote, RFC 7468.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

/// One block. Its bytes are wiped when it is dropped: it may be a private key.
pub(super) struct Block {
    /// What stands after `BEGIN`.
    pub label: String,
    /// The lines `Name: value` before the content, RFC 1421. openssl writes `Proc-Type` here.
    pub headers: Vec<String>,
    /// The decoded content.
    pub der: Zeroizing<Vec<u8>>,
}

/// What is wrong with the file's text. Never holds any of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PemProblem {
    /// Not UTF-8, or with control characters.
    #[error(
        "it is not a text file: convert DER with `openssl x509 -inform DER` or `openssl pkey -inform DER`"
    )]
    NotText,
    /// No block.
    #[error("it holds no PEM block (`-----BEGIN ...-----`): write one, or name another file")]
    NoBlock,
    /// A line outside of every block that looks like a part of one.
    #[error("line {0} looks like a part of a PEM block but is in none: repair or remove it")]
    Stray(usize),
    /// `BEGIN` without its `END`.
    #[error("the block that begins in line {0} has no matching END line: the file is cut or damaged")]
    Unfinished(usize),
    /// Content that is not base64.
    #[error("the block that begins in line {0} is not base64: the file is damaged")]
    NotBase64(usize),
}

/// Every block of the file, at least one. Text around the blocks is skipped, as openssl writes it
/// there.
///
/// # Errors
/// See [`PemProblem`].
pub(super) fn blocks(file: &[u8]) -> Result<Vec<Block>, PemProblem> {
    let text = std::str::from_utf8(file).map_err(|_| PemProblem::NotText)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut found = Vec::new();
    let mut lines = text.lines().enumerate().map(|(index, line)| (index.saturating_add(1), line.trim()));
    while let Some((number, line)) = lines.next() {
        if let Some(label) = label(line, "-----BEGIN ") {
            found.push(block(label, number, &mut lines, text.len())?);
        } else if line.contains(|c: char| c.is_control() && c != '\t') {
            return Err(PemProblem::NotText);
        } else if line.contains("----") || is_base64(line) {
            return Err(PemProblem::Stray(number));
        }
    }
    if found.is_empty() { Err(PemProblem::NoBlock) } else { Ok(found) }
}

fn block<'a>(
    label_text: &str,
    begin: usize,
    lines: &mut impl Iterator<Item = (usize, &'a str)>,
    size: usize,
) -> Result<Block, PemProblem> {
    let mut headers = Vec::new();
    // Never grows, so that no copy of a key stays behind in freed memory.
    let mut base64 = Zeroizing::new(String::with_capacity(size));
    loop {
        let (_, line) = lines.next().ok_or(PemProblem::Unfinished(begin))?;
        if line.contains(':') && base64.is_empty() {
            headers.push(line.to_owned());
        } else if line.starts_with("-----") {
            if label(line, "-----END ") != Some(label_text) {
                return Err(PemProblem::Unfinished(begin));
            }
            break;
        } else {
            base64.push_str(line);
        }
    }
    Ok(Block { label: label_text.to_owned(), headers, der: decode(&base64, begin)? })
}

fn decode(base64: &str, begin: usize) -> Result<Zeroizing<Vec<u8>>, PemProblem> {
    let mut der = Zeroizing::new(vec![0; base64.len()]);
    let length = STANDARD
        .decode_slice(base64, der.as_mut_slice())
        .ok()
        .filter(|length| *length > 0)
        .ok_or(PemProblem::NotBase64(begin))?;
    der.truncate(length);
    Ok(der)
}

fn label<'a>(line: &'a str, prefix: &str) -> Option<&'a str> {
    line.strip_prefix(prefix)?.strip_suffix("-----")
}

/// A line of a block's content that lost its BEGIN. No word of English is that long.
fn is_base64(line: &str) -> bool {
    let content = line.trim_end_matches('=');
    content.len() >= 48 && content.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: &str = "-----BEGIN THING-----\nAQID\n-----END THING-----\n";

    fn problem(text: &str) -> Option<PemProblem> {
        blocks(text.as_bytes()).err()
    }

    #[test]
    fn text_around_a_block_and_windows_line_ends_are_read() {
        let text =
            format!("\u{feff}Bag Attributes\n  friendlyName: x\n{BLOCK}\n\n# done\n").replace('\n', "\r\n");
        let found = blocks(text.as_bytes()).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].label.as_str(), found[0].der.as_slice()), ("THING", &[1, 2, 3][..]));
    }

    #[test]
    fn headers_are_kept_apart_from_the_content() {
        let text = "-----BEGIN A-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES\n\nAQID\n-----END A-----";
        let found = blocks(text.as_bytes()).unwrap();
        assert_eq!(found[0].headers, ["Proc-Type: 4,ENCRYPTED", "DEK-Info: AES"]);
        assert_eq!(found[0].der.as_slice(), [1, 2, 3]);
    }

    #[test]
    fn a_damaged_file_says_in_which_line() {
        assert_eq!(problem(""), Some(PemProblem::NoBlock));
        assert_eq!(problem("hello"), Some(PemProblem::NoBlock));
        assert_eq!(problem("\u{0}\u{1}"), Some(PemProblem::NotText));
        assert_eq!(blocks(&[0x30, 0x82, 0xff]).err(), Some(PemProblem::NotText));
        assert_eq!(
            problem(&format!("{BLOCK}-----BEGIN THING-----\nAQID\n")),
            Some(PemProblem::Unfinished(4))
        );
        assert_eq!(problem("-----BEGIN A-----\nAQID\n-----END B-----"), Some(PemProblem::Unfinished(1)));
        assert_eq!(problem("-----BEGIN A-----\nA?ID\n-----END A-----"), Some(PemProblem::NotBase64(1)));
        assert_eq!(problem("-----BEGIN A-----\n-----END A-----"), Some(PemProblem::NotBase64(1)));
        assert_eq!(problem(&format!("{BLOCK}----BEGIN A-----\n")), Some(PemProblem::Stray(4)));
        assert_eq!(problem(&format!("{BLOCK}{}\n", "A".repeat(64))), Some(PemProblem::Stray(4)));
    }
}
