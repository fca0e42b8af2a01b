//! Names of users, groups and configured things.
use std::fmt;

use unicode_normalization::is_nfc;
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};

pub use super::fold::{fold, other_folds};

/// The most bytes that a user or group name may have.
const MAX_BYTES: usize = 253;
/// The most bytes that a [`ShortName`] may have.
const MAX_SHORT_BYTES: usize = 63;

/// A user or group name as a certificate can carry it: 1 to 253 bytes of UTF-8 in NFC, no space at
/// either end, and nothing that cannot be seen or that has no meaning yet. Two names are equal
/// when their bytes are.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(String);

impl Name {
    /// Checks the text and takes it as it is.
    ///
    /// # Errors
    /// A [`NameError`] with the first rule that the text breaks.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text.len() > MAX_BYTES {
            return Err(NameError::TooLong { bytes: text.len() });
        }
        if text.starts_with(char::is_whitespace) || text.ends_with(char::is_whitespace) {
            return Err(NameError::SpaceAtEnd);
        }
        // Of ASCII only the control characters are refused, and all of it is NFC.
        if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return Ok(Self(text.to_owned()));
        }
        if let Some((character, kind)) = text.chars().find_map(|c| Some((c, refused_category(c)?))) {
            return Err(NameError::Forbidden { character, kind });
        }
        if !is_nfc(text) {
            return Err(NameError::NotNfc);
        }
        Ok(Self(text.to_owned()))
    }

    /// The name, byte for byte as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What the name looks like, see [`fold`]. For comparing with the fold of a reserved name;
    /// never for equality of two names.
    #[must_use]
    pub fn folded(&self) -> String {
        fold(&self.0)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a name is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// No byte at all.
    #[error("the name is empty: give it 1 to {MAX_BYTES} bytes")]
    Empty,
    /// Over 253 bytes of UTF-8.
    #[error("the name has {bytes} bytes: shorten it to at most {MAX_BYTES}")]
    TooLong {
        /// The length that was found.
        bytes: usize,
    },
    /// White space of any kind at either end.
    #[error("the name begins or ends with a space: remove it")]
    SpaceAtEnd,
    /// A character of a category that names do not hold.
    #[error("the name holds U+{:04X}, a {kind} character: remove it", u32::from(*.character))]
    Forbidden {
        /// The first such character.
        character: char,
        /// Its category, in words.
        kind: &'static str,
    },
    /// Not in Unicode normalization form C (UAX 15).
    #[error("the name is not in Unicode form NFC: write accented letters as single characters")]
    NotNfc,
    /// Not what a [`ShortName`] is.
    #[error(
        "this name must be 1 to {MAX_SHORT_BYTES} of a-z, 0-9, `.` and `-`, and begin with a letter or a digit: choose another"
    )]
    NotShort,
}

impl NameError {
    /// A stable word for programs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Empty => "name_empty",
            Self::TooLong { .. } => "name_too_long",
            Self::SpaceAtEnd => "name_space_at_end",
            Self::Forbidden { .. } => "name_character_not_accepted",
            Self::NotNfc => "name_not_nfc",
            Self::NotShort => "short_name_invalid",
        }
    }
}

/// A cluster, token, source or row name: `[a-z0-9][a-z0-9.-]{0,62}`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShortName(String);

impl ShortName {
    /// Checks the text and takes it as it is.
    ///
    /// # Errors
    /// [`NameError::NotShort`] when the text is anything else.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let starts_well = text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
        let all_known =
            text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'.' || b == b'-');
        if starts_well && all_known && text.len() <= MAX_SHORT_BYTES {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameError::NotShort)
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ShortName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl serde::Serialize for ShortName {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for ShortName {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(d)?).map_err(serde::de::Error::custom)
    }
}

/// Whether a name may hold this character, wherever it stands: it is seen, or it is a space.
#[must_use]
pub fn is_accepted(character: char) -> bool {
    refused_category(character).is_none()
}

fn refused_category(c: char) -> Option<&'static str> {
    match c.general_category() {
        GeneralCategory::Control => Some("control"),
        GeneralCategory::Format => Some("format"),
        GeneralCategory::PrivateUse => Some("private-use"),
        GeneralCategory::Unassigned => Some("unassigned"),
        GeneralCategory::Surrogate => Some("surrogate"),
        GeneralCategory::LineSeparator => Some("line-separator"),
        GeneralCategory::ParagraphSeparator => Some("paragraph-separator"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use unicode_normalization::UnicodeNormalization as _;

    #[test]
    fn ordinary_names_are_taken_byte_for_byte() {
        let longest = "a".repeat(253);
        let names = [
            "a",
            "alice@corp.com",
            "ci/deploy-1",
            "Zoë",
            "王小明",
            "Jean-Luc O'Neil",
            "system:masters",
            "a  b",
            "😀",
            &longest,
        ];
        for text in names {
            assert_eq!(Name::parse(text).unwrap().as_str(), text);
        }
    }

    #[test]
    fn names_that_break_a_rule_say_which() {
        let long = "é".repeat(127);
        let cases = [
            ("", "name_empty"),
            (long.as_str(), "name_too_long"),
            (" alice", "name_space_at_end"),
            ("alice ", "name_space_at_end"),
            ("alice\u{a0}", "name_space_at_end"),
            ("\u{3000}alice", "name_space_at_end"),
            ("alice\n", "name_space_at_end"),
            ("al\0ice", "name_character_not_accepted"),
            ("al\nice", "name_character_not_accepted"),
            ("al\u{85}ice", "name_character_not_accepted"),
            ("al\u{7f}ice", "name_character_not_accepted"),
            ("al\u{200d}ice", "name_character_not_accepted"),
            ("al\u{200b}ice", "name_character_not_accepted"),
            ("al\u{ad}ice", "name_character_not_accepted"),
            ("al\u{202e}ice", "name_character_not_accepted"),
            ("al\u{2066}ice", "name_character_not_accepted"),
            ("al\u{feff}ice", "name_character_not_accepted"),
            ("al\u{e0041}ice", "name_character_not_accepted"),
            ("al\u{2028}ice", "name_character_not_accepted"),
            ("al\u{2029}ice", "name_character_not_accepted"),
            ("al\u{e000}ice", "name_character_not_accepted"),
            ("al\u{10fffd}ice", "name_character_not_accepted"),
            ("al\u{378}ice", "name_character_not_accepted"),
            ("al\u{ffff}ice", "name_character_not_accepted"),
            ("Zoe\u{308}", "name_not_nfc"),
            ("\u{212b}ngstrom", "name_not_nfc"),
        ];
        for (text, code) in cases {
            assert_eq!(Name::parse(text).unwrap_err().code(), code, "{text:?}");
        }
    }

    #[test]
    fn a_refused_character_is_named_by_its_number() {
        let error = Name::parse("a\u{202e}b").unwrap_err().to_string();
        assert_eq!(error, "the name holds U+202E, a format character: remove it");
    }

    #[test]
    fn short_names_are_lower_case_and_bounded() {
        let longest = "a".repeat(63);
        for text in ["a", "9", "prod", "prod-eu.1", "0-", &longest] {
            assert_eq!(ShortName::parse(text).unwrap().as_str(), text);
        }
        let too_long = "a".repeat(64);
        for text in ["", "-a", ".a", "Prod", "prod_eu", "a:b", "a b", "a\n", "é", "*", &too_long] {
            assert_eq!(ShortName::parse(text), Err(NameError::NotShort), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn an_accepted_name_keeps_every_rule(text in "\\PC{0,20}|.{0,20}|[a-z ]{0,300}") {
            if let Ok(name) = Name::parse(&text) {
                prop_assert_eq!(name.as_str(), &text);
                prop_assert!((1..=253).contains(&text.len()));
                prop_assert_eq!(text.trim(), &text);
                prop_assert_eq!(text.nfc().collect::<String>(), text.clone());
                prop_assert!(!text.chars().any(char::is_control));
            }
        }

        #[test]
        fn short_names_are_what_the_pattern_says(text in "[a-z0-9.-]{0,70}|.{0,5}") {
            let bytes = text.as_bytes();
            let expected = (1..=63).contains(&bytes.len())
                && bytes.iter().all(|b| b"abcdefghijklmnopqrstuvwxyz0123456789.-".contains(b))
                && !b".-".contains(&bytes[0]);
            prop_assert_eq!(ShortName::parse(&text).is_ok(), expected);
        }
    }
}
