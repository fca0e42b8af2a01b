//! Certificates by the length of their validity, in classes that grow fourfold.
//!
//! Within one class a time of validity means a stretch of numbers of which at least a quarter is
//! valid then. So the work of "what was valid in June" grows with its answer and not with the
//! ledger, even where one certificate of ten years lies among millions of eight hours.

use super::times::Period;

/// How many classes there are.
pub(super) const CLASSES: usize = 10;

/// The longest validity of each class but the last, in seconds from notBefore to notAfter. The
/// classes of the index `certificates_by_lifetime`.
const LONGEST: [i64; CLASSES - 1] =
    [4_000, 16_000, 64_000, 256_000, 1_024_000, 4_096_000, 16_384_000, 65_536_000, 262_144_000];

/// How long before its decision a certificate may begin, in seconds: five minutes, and room.
const EARLY: i64 = 3_600;

/// The class of a row, word for word as in the index.
pub(super) const CLASS: &str = "(CASE WHEN c.not_after - c.not_before <= 4000 THEN 0 \
     WHEN c.not_after - c.not_before <= 16000 THEN 1 WHEN c.not_after - c.not_before <= 64000 THEN 2 \
     WHEN c.not_after - c.not_before <= 256000 THEN 3 WHEN c.not_after - c.not_before <= 1024000 THEN 4 \
     WHEN c.not_after - c.not_before <= 4096000 THEN 5 WHEN c.not_after - c.not_before <= 16384000 THEN 6 \
     WHEN c.not_after - c.not_before <= 65536000 THEN 7 WHEN c.not_after - c.not_before <= 262144000 THEN 8 \
     ELSE 9 END)";

/// What is asked of notBefore and notAfter, in seconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Validity {
    /// notBefore is this or earlier.
    pub(super) begun_by: Option<i64>,
    /// notAfter is this or later.
    pub(super) lasts_to: Option<i64>,
    /// notAfter is earlier than this.
    pub(super) ended_by: Option<i64>,
}

impl Validity {
    pub(super) fn is_any(self) -> bool {
        self == Self::default()
    }

    /// When the certificates of a class that fit were issued.
    pub(super) fn issued(self, class: usize) -> Period {
        let shortest = class.checked_sub(1).and_then(|below| LONGEST.get(below)).copied().unwrap_or(0);
        let from = LONGEST.get(class).zip(self.lasts_to).map(|(longest, to)| to.saturating_sub(*longest));
        let begun = self.begun_by.map(|by| by.saturating_add(EARLY));
        let ended = self.ended_by.map(|by| by.saturating_sub(shortest).saturating_add(EARLY));
        let until = begun.into_iter().chain(ended).min();
        Period { from, until }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_classes_are_those_of_the_index() {
        for migration in [
            include_str!("../../migrations/sqlite/0003_reading.sql"),
            include_str!("../../migrations/postgres/0003_reading.sql"),
        ] {
            assert!(migration.contains(&CLASS.replace("c.", "")), "{}", CLASS.replace("c.", ""));
        }
        for (class, longest) in LONGEST.iter().enumerate() {
            assert!(CLASS.contains(&format!("<= {longest} THEN {class} ")), "{longest}");
        }
    }

    #[test]
    fn a_class_says_when_its_valid_certificates_were_issued() {
        let at = Validity { begun_by: Some(1_000_000), lasts_to: Some(1_000_000), ended_by: None };
        assert_eq!(at.issued(0), Period { from: Some(996_000), until: Some(1_003_600) });
        assert_eq!(at.issued(2), Period { from: Some(936_000), until: Some(1_003_600) });
        assert_eq!(at.issued(9), Period { from: None, until: Some(1_003_600) });
        let ended = Validity { ended_by: Some(1_000_000), ..Validity::default() };
        assert_eq!(ended.issued(2), Period { from: None, until: Some(1_000_000 - 16_000 + 3_600) });
    }
}
