//! A strict reader of DER (X.690 section 10): definite, minimal lengths and low tag numbers only.
//! It never recurses and never copies; whoever reads a level of nesting opens it.

pub(super) const BOOLEAN: u8 = 0x01;
pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const OID: u8 = 0x06;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const SET: u8 = 0x31;
pub(super) const CONTEXT_0: u8 = 0xa0;
pub(super) const CONTEXT_1: u8 = 0xa1;
pub(super) const CONTEXT_2: u8 = 0xa2;

/// The longest OBJECT IDENTIFIER that is read, in octets; other readers have such a limit too.
const LONGEST_OID: usize = 63;

/// The bytes are not the DER that was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotDer;

/// One tag, length and value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Element<'a> {
    pub tag: u8,
    pub value: &'a [u8],
    /// Tag, length and value as they were written.
    pub raw: &'a [u8],
}

impl<'a> Element<'a> {
    /// A reader of what this element holds.
    pub fn open(&self) -> Reader<'a> {
        Reader { rest: self.value }
    }
}

/// Reads one element after the other.
#[derive(Clone, Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next element, whatever its tag.
    pub fn any(&mut self) -> Result<Element<'a>, NotDer> {
        let (tag, after_tag) = self.rest.split_first().ok_or(NotDer)?;
        if tag & 0x1f == 0x1f {
            return Err(NotDer);
        }
        let (length, after_length) = length(after_tag)?;
        let (value, rest) = after_length.split_at_checked(length).ok_or(NotDer)?;
        let size = self.rest.len().checked_sub(rest.len()).ok_or(NotDer)?;
        let raw = self.rest.get(..size).ok_or(NotDer)?;
        self.rest = rest;
        Ok(Element { tag: *tag, value, raw })
    }

    /// The next element, which must have this tag.
    pub fn expect(&mut self, tag: u8) -> Result<Element<'a>, NotDer> {
        if self.rest.first() == Some(&tag) { self.any() } else { Err(NotDer) }
    }

    /// The next element if it has this tag.
    pub fn optional(&mut self, tag: u8) -> Result<Option<Element<'a>>, NotDer> {
        if self.rest.first() == Some(&tag) { self.any().map(Some) } else { Ok(None) }
    }

    /// A non-negative INTEGER without its sign octet; minimal, as DER asks (X.690 section 8.3.2).
    pub fn unsigned(&mut self) -> Result<&'a [u8], NotDer> {
        match self.expect(INTEGER)?.value {
            [0] => Ok(&[]),
            [0, rest @ ..] if rest.first().is_some_and(|byte| *byte >= 0x80) => Ok(rest),
            value @ [1..=0x7f, ..] => Ok(value),
            _ => Err(NotDer),
        }
    }

    /// A BIT STRING of whole octets.
    pub fn octet_aligned_bits(&mut self) -> Result<&'a [u8], NotDer> {
        match self.expect(BIT_STRING)?.value {
            [0, octets @ ..] => Ok(octets),
            _ => Err(NotDer),
        }
    }

    /// The octets of an OBJECT IDENTIFIER: whole arcs, none of them padded (X.690 section 8.19).
    pub fn oid(&mut self) -> Result<&'a [u8], NotDer> {
        let octets = self.expect(OID)?.value;
        let whole = octets.last().is_some_and(|last| *last < 0x80) && octets.len() <= LONGEST_OID;
        let padded = octets.split_inclusive(|octet| *octet < 0x80).any(|arc| arc.first() == Some(&0x80));
        if whole && !padded { Ok(octets) } else { Err(NotDer) }
    }

    /// Nothing may follow.
    pub fn finish(self) -> Result<(), NotDer> {
        if self.rest.is_empty() { Ok(()) } else { Err(NotDer) }
    }
}

/// The single element that all of `bytes` is.
pub(super) fn only(bytes: &[u8], tag: u8) -> Result<Element<'_>, NotDer> {
    let mut reader = Reader::new(bytes);
    let element = reader.expect(tag)?;
    reader.finish()?;
    Ok(element)
}

/// An OBJECT IDENTIFIER in dotted form, for messages; long or odd ones are cut.
pub(super) fn dotted(oid: &[u8]) -> String {
    let mut arcs: Vec<u64> = Vec::new();
    let mut arc = 0_u64;
    for byte in oid.iter().take(32) {
        arc = arc.saturating_mul(128).saturating_add(u64::from(byte & 0x7f));
        if byte & 0x80 == 0 {
            arcs.push(std::mem::take(&mut arc));
        }
    }
    let mut arcs = arcs.into_iter();
    let first = arcs.next().unwrap_or_default();
    let root = (first / 40).min(2);
    let head = format!("{root}.{}", first.saturating_sub(root.saturating_mul(40)));
    arcs.fold(head, |text, arc| format!("{text}.{arc}"))
}

fn length(bytes: &[u8]) -> Result<(usize, &[u8]), NotDer> {
    let (length, rest) = match bytes {
        [short @ 0..=0x7f, rest @ ..] => (usize::from(*short), rest),
        [0x81, one @ 0x80..=0xff, rest @ ..] => (usize::from(*one), rest),
        [0x82, high @ 1..=0xff, low, rest @ ..] => (usize::from(u16::from_be_bytes([*high, *low])), rest),
        [0x83, high @ 1..=0xff, middle, low, rest @ ..] => {
            let wide = u32::from_be_bytes([0, *high, *middle, *low]);
            (usize::try_from(wide).map_err(|_| NotDer)?, rest)
        }
        _ => return Err(NotDer),
    };
    Ok((length, rest))
}

/// Writes DER for tests, correct or not.
#[cfg(test)]
pub(super) mod build {
    pub fn tlv(tag: u8, value: &[u8]) -> Vec<u8> {
        let mut out = vec![tag];
        match value.len() {
            n @ 0..=0x7f => out.push(u8::try_from(n).unwrap()),
            n @ 0x80..=0xff => out.extend([0x81, u8::try_from(n).unwrap()]),
            n @ 0x100..=0xffff => {
                out.push(0x82);
                out.extend(u16::try_from(n).unwrap().to_be_bytes());
            }
            n => {
                out.push(0x83);
                out.extend(&u32::try_from(n).unwrap().to_be_bytes()[1..]);
            }
        }
        out.extend(value);
        out
    }

    pub fn seq(parts: &[Vec<u8>]) -> Vec<u8> {
        tlv(super::SEQUENCE, &parts.concat())
    }

    pub fn set(parts: &[Vec<u8>]) -> Vec<u8> {
        tlv(super::SET, &parts.concat())
    }

    pub fn oid(octets: &[u8]) -> Vec<u8> {
        tlv(super::OID, octets)
    }

    pub fn bits(octets: &[u8]) -> Vec<u8> {
        tlv(super::BIT_STRING, &[&[0], octets].concat())
    }

    pub fn unsigned(magnitude: &[u8]) -> Vec<u8> {
        let start = magnitude.iter().position(|byte| *byte != 0).unwrap_or(magnitude.len());
        let trimmed = &magnitude[start..];
        let sign: &[u8] = if trimmed.first().is_none_or(|byte| *byte >= 0x80) { &[0] } else { &[] };
        tlv(super::INTEGER, &[sign, trimmed].concat())
    }

    pub const NULL: [u8; 2] = [5, 0];
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lengths_of_every_size_are_read() {
        for size in [0, 1, 127, 128, 255, 256, 65_535, 65_536] {
            let written = build::tlv(OCTET_STRING, &vec![7; size]);
            assert_eq!(only(&written, OCTET_STRING).unwrap().value.len(), size);
        }
    }

    #[test]
    fn lengths_that_are_not_minimal_or_indefinite_are_refused() {
        let bad: &[&[u8]] = &[
            &[0x04, 0x81, 0x01, 0x00],
            &[0x04, 0x82, 0x00, 0x01, 0x00],
            &[0x04, 0x83, 0x00, 0x00, 0x01, 0x00],
            &[0x04, 0x84, 0x00, 0x00, 0x00, 0x01, 0x00],
            &[0x04, 0x80, 0x00, 0x00],
            &[0x04, 0xff],
            &[0x04, 0x02, 0x00],
            &[0x1f, 0x01, 0x00],
            &[0x04],
            &[],
        ];
        for bytes in bad {
            assert_eq!(Reader::new(bytes).any(), Err(NotDer), "{bytes:02x?}");
        }
    }

    #[test]
    fn integers_are_positive_and_minimal() {
        let read = |bytes: &[u8]| Reader::new(bytes).unsigned().map(<[u8]>::to_vec);
        assert_eq!(read(&[2, 1, 0]), Ok(vec![]));
        assert_eq!(read(&[2, 2, 0, 0x80]), Ok(vec![0x80]));
        assert_eq!(read(&[2, 1, 0x7f]), Ok(vec![0x7f]));
        for bad in [&[2, 0][..], &[2, 1, 0x80], &[2, 2, 0, 1], &[2, 2, 0, 0]] {
            assert_eq!(read(bad), Err(NotDer), "{bad:02x?}");
        }
    }

    #[test]
    fn object_identifiers_have_whole_arcs_without_padding() {
        let read = |octets: &[u8]| Reader::new(&build::oid(octets)).oid().map(<[u8]>::to_vec);
        let longest = vec![0x2a; 63];
        for good in [&[0x55, 4, 3][..], &[0], &[0x88, 0x37], &[0x2a, 0x86, 0x48], &longest] {
            assert_eq!(read(good), Ok(good.to_vec()), "{good:02x?}");
        }
        let too_long = vec![0x2a; 64];
        for bad in [&[][..], &[0x80], &[0x55, 4, 0x83], &[0x55, 4, 0x80, 3], &[0x80, 0x55, 4], &too_long] {
            assert_eq!(read(bad), Err(NotDer), "{bad:02x?}");
        }
    }

    #[test]
    fn object_identifiers_are_written_with_dots() {
        assert_eq!(dotted(&[0x55, 4, 3]), "2.5.4.3");
        assert_eq!(dotted(&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1]), "1.2.840.113549.1.1.1");
        assert_eq!(dotted(&[0x88, 0x37]), "2.999");
        assert!(dotted(&vec![0xff; 60_000]).len() < 64);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>) {
            let mut reader = Reader::new(&bytes);
            while let Ok(element) = reader.any() {
                prop_assert!(element.raw.ends_with(element.value));
            }
            let _ = dotted(&bytes);
        }
    }
}
