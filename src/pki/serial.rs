//! Serial numbers of certificates.
use std::fmt;

/// 16 octets, top bit clear and next bit set, so that the number is positive and of fixed width
/// (RFC 5280 section 4.1.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Serial([u8; 16]);

impl Serial {
    /// From 16 random octets; the two top bits are fixed, 126 stay random.
    #[must_use]
    pub const fn from_random(octets: [u8; 16]) -> Self {
        let mut fixed = octets;
        if let Some(first) = fixed.first_mut() {
            *first = (*first & 0x3f) | 0x40;
        }
        Self(fixed)
    }

    /// From the octets of a stored row; none if they are not what [`Serial::from_random`] makes.
    #[must_use]
    pub fn from_stored(octets: &[u8]) -> Option<Self> {
        let octets = <[u8; 16]>::try_from(octets).ok()?;
        let [first, ..] = octets;
        (first & 0xc0 == 0x40).then_some(Self(octets))
    }

    /// From hex of either case, plain or with a colon between all octets, as openssl prints it. For
    /// finding a certificate: also what no certificate of ours can have, which is then found nowhere.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let pairs: Vec<&[u8]> = match text.len() {
            32 => text.as_bytes().chunks(2).collect(),
            47 => text.as_bytes().split(|byte| *byte == b':').collect(),
            _ => return None,
        };
        let octets = pairs.into_iter().map(octet).collect::<Option<Vec<u8>>>()?;
        octets.try_into().ok().map(Self)
    }

    /// The 16 octets, most significant first.
    #[must_use]
    pub const fn octets(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Octet by octet through the formatter this is slow, and every answer says it several times.
        let mut digits = [0; 32];
        hex::encode_to_slice(self.0, &mut digits).map_err(|_| fmt::Error)?;
        f.write_str(std::str::from_utf8(&digits).map_err(|_| fmt::Error)?)
    }
}

fn octet(pair: &[u8]) -> Option<u8> {
    let &[high, low] = pair else { return None };
    let digit = |byte: u8| u8::try_from(char::from(byte).to_digit(16)?).ok();
    Some(digit(high)? << 4 | digit(low)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn random_octets_become_positive_and_of_fixed_width() {
        for first in [0x00, 0x7f, 0x80, 0xff] {
            let serial = Serial::from_random([first; 16]);
            assert_eq!(serial.octets()[0] & 0xc0, 0x40);
            assert_eq!(serial.octets()[1..], [first; 15]);
        }
    }

    #[test]
    fn colons_and_upper_case_are_read() {
        let serial = Serial::from_random([0xab; 16]);
        let plain = serial.to_string();
        let colons = plain.as_bytes().chunks(2).map(|p| String::from_utf8_lossy(p).to_uppercase());
        let colons = colons.collect::<Vec<_>>().join(":");
        assert_eq!(colons.len(), 47);
        assert_eq!(Serial::parse(&colons), Some(serial));
        assert_eq!(Serial::parse(&plain.to_uppercase()), Some(serial));
    }

    #[test]
    fn what_is_no_serial_is_not_read() {
        let good = "6bababababababababababababababab";
        assert!(Serial::parse(good).is_some());
        for nobodys in ["00", "ab", "ff"] {
            assert_eq!(Serial::parse(&nobodys.repeat(16)).unwrap().to_string(), nobodys.repeat(16));
        }
        let bad = [
            "",
            "00",
            "6babababababababababababababab+b",
            "6bababababababababababababababa",
            "6bababababababababababababababab0",
            " 6babababababababababababababababab",
            "6b:ababababababababababababababab",
            "6b::ab:ab:ab:ab:ab:ab:ab:ab:ab:ab:ab:ab:ab:ab:a",
            "6bababababababababababababababé",
        ];
        for text in bad {
            assert_eq!(Serial::parse(text), None, "{text}");
        }
        assert_eq!(Serial::from_stored(&[0x40; 15]), None);
        assert_eq!(Serial::from_stored(&[0x80; 16]), None);
    }

    proptest! {
        #[test]
        fn a_written_serial_reads_back(octets: [u8; 16]) {
            let serial = Serial::from_random(octets);
            prop_assert_eq!(Serial::parse(&serial.to_string()), Some(serial));
            prop_assert_eq!(Serial::from_stored(serial.octets()), Some(serial));
        }

        #[test]
        fn any_text_is_read_or_not_without_a_panic(text in ".{0,60}") {
            let _ = Serial::parse(&text);
        }
    }
}
