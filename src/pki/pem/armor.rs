//! PEM blocks in a text (RFC 7468), with any or no line endings.
use super::BodyError;
use super::text::find;

const BEGIN: &[u8] = b"-----BEGIN";
const HYPHENS: &[u8] = b"-----";
/// The longest label that is read, in bytes.
const MAX_LABEL: usize = 64;
/// The most blocks of one body.
const MAX_BLOCKS: usize = 16;

/// One block: its label, and what stands between its two lines.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Block<'a> {
    pub label: &'a [u8],
    pub content: &'a [u8],
}

impl Block<'_> {
    pub fn is_request(&self) -> bool {
        matches!(self.label, b"CERTIFICATE REQUEST" | b"NEW CERTIFICATE REQUEST")
    }

    /// The request, or what `openssl req -pubkey` and `openssl ecparam` write into the same file.
    pub fn may_stand_beside(&self) -> bool {
        self.is_request() || self.is_public_key() || self.label == b"EC PARAMETERS"
    }

    pub fn is_certificate(&self) -> bool {
        matches!(
            self.label,
            b"CERTIFICATE" | b"X509 CERTIFICATE" | b"TRUSTED CERTIFICATE" | b"PKCS7" | b"CMS"
        )
    }

    pub fn is_public_key(&self) -> bool {
        self.label.ends_with(b"PUBLIC KEY")
    }
}

/// Every block of the text, in order.
///
/// # Errors
/// [`BodyError::Pem`] when a block is not closed as it was opened.
pub(super) fn blocks(text: &[u8]) -> Result<Vec<Block<'_>>, BodyError> {
    let mut blocks = Vec::new();
    let mut rest = text;
    while let Some(start) = find(rest, BEGIN) {
        if blocks.len() == MAX_BLOCKS {
            return Err(BodyError::Pem("there are more than 16"));
        }
        let opened = rest.get(start.saturating_add(BEGIN.len())..).unwrap_or_default();
        let (block, after) = block(opened)?;
        blocks.push(block);
        rest = after;
    }
    Ok(blocks)
}

fn block(opened: &[u8]) -> Result<(Block<'_>, &[u8]), BodyError> {
    let head = opened.get(..opened.len().min(MAX_LABEL)).unwrap_or(opened);
    let end = find(head, HYPHENS).ok_or(BodyError::Pem("its first line does not end in five hyphens"))?;
    let (label, content) = split_after(opened, end, HYPHENS.len());
    let label = label.strip_prefix(b" ").ok_or(BodyError::Pem("it has no label"))?;
    let closing = [b"-----END ", label, HYPHENS].concat();
    let end = find(content, HYPHENS).ok_or(BodyError::Pem("it has no END line"))?;
    let (content, closed) = content.split_at_checked(end).unwrap_or((content, &[]));
    let after = closed
        .strip_prefix(&closing[..])
        .ok_or(BodyError::Pem("its END line does not match its BEGIN line"))?;
    Ok((Block { label, content }, after))
}

fn split_after(bytes: &[u8], position: usize, gap: usize) -> (&[u8], &[u8]) {
    let before = bytes.get(..position).unwrap_or_default();
    (before, bytes.get(position.saturating_add(gap)..).unwrap_or_default())
}
