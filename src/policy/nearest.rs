//! What comes nearest to a refused name, of what the caller may have.

use std::collections::BTreeSet;

/// How many are told.
const TOLD: usize = 5;
/// Names that differ in more places are all equally far.
const FAR: usize = 4;
/// Names whose differences span more bytes than this are far too; it bounds the work for a request of
/// a hundred long groups.
const COMPARED: usize = 24;
/// How many are tried before one gives up on finding enough.
const TRIED: usize = 64;

/// Something that a caller may ask for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Offer {
    pub(super) text: String,
    /// Whether it is a pattern and not a name.
    pub(super) open: bool,
}

/// At most five of `offers`, the nearest to `asked` first; names only where `stands`.
pub(super) fn nearest(asked: &str, offers: &BTreeSet<Offer>, stands: impl Fn(&str) -> bool) -> Vec<String> {
    let mut by_distance: Vec<(usize, &Offer)> =
        offers.iter().map(|offer| (distance(asked, &offer.text), offer)).collect();
    by_distance.sort_unstable();
    by_distance
        .into_iter()
        .take(TRIED)
        .filter(|(_, offer)| offer.text != asked && (offer.open || stands(&offer.text)))
        .take(TOLD)
        .map(|(_, offer)| offer.text.clone())
        .collect()
}

/// Insertions, deletions and replacements of bytes from one to the other, up to one more than
/// [`FAR`].
fn distance(one: &str, other: &str) -> usize {
    let (one, other) = differing(one.as_bytes(), other.as_bytes());
    if one.len().abs_diff(other.len()) > FAR || one.len().max(other.len()) > COMPARED {
        return FAR.saturating_add(1);
    }
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (place, byte) in one.iter().enumerate() {
        row = next_row(&row, place, *byte, other);
        if row.iter().all(|cost| *cost > FAR) {
            return FAR.saturating_add(1);
        }
    }
    row.last().map_or(0, |cost| (*cost).min(FAR.saturating_add(1)))
}

/// Both without what they begin and end with alike.
fn differing<'a>(one: &'a [u8], other: &'a [u8]) -> (&'a [u8], &'a [u8]) {
    let start = one.iter().zip(other).take_while(|(mine, theirs)| mine == theirs).count();
    let (one, other) = (one.get(start..).unwrap_or_default(), other.get(start..).unwrap_or_default());
    let end = one.iter().rev().zip(other.iter().rev()).take_while(|(mine, theirs)| mine == theirs).count();
    let cut = |text: &'a [u8]| text.get(..text.len().saturating_sub(end)).unwrap_or_default();
    (cut(one), cut(other))
}

fn next_row(above: &[usize], place: usize, byte: u8, other: &[u8]) -> Vec<usize> {
    let mut left = place.saturating_add(1);
    let mut row = Vec::with_capacity(above.len());
    row.push(left);
    for (pair, theirs) in above.windows(2).zip(other) {
        let [diagonal, up] = pair else { continue };
        let replaced = diagonal.saturating_add(usize::from(*theirs != byte));
        left = replaced.min(up.saturating_add(1)).min(left.saturating_add(1));
        row.push(left);
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offers(texts: &[&str]) -> BTreeSet<Offer> {
        texts.iter().map(|text| Offer { text: (*text).to_owned(), open: text.contains('*') }).collect()
    }

    #[test]
    fn the_distance_counts_changed_bytes() {
        for (one, other, expected) in [
            ("dev", "dev", 0),
            ("dev", "dex", 1),
            ("dev", "de", 1),
            ("kitten", "sitting", 3),
            ("abc", "xyz", 3),
            ("aab", "ab", 1),
            ("", "ab", 2),
        ] {
            assert_eq!(distance(one, other), expected, "{one} {other}");
        }
        assert_eq!(distance("a", "abcdefgh"), FAR + 1);
        assert_eq!(distance("abcdefgh", "stuvwxyz"), FAR + 1);
    }

    #[test]
    fn the_nearest_come_first_and_five_at_most() {
        let known = offers(&["devs", "prod", "dev-*", "zzz", "ops", "qa", "test", "develop"]);
        let told = nearest("dev", &known, |_| true);
        assert_eq!(told.len(), 5);
        assert_eq!(told[..2], ["devs", "dev-*"]);
    }

    #[test]
    fn a_name_that_does_not_stand_is_not_told() {
        assert_eq!(nearest("dev", &offers(&["devs", "dev-*"]), |_| false), ["dev-*"]);
    }
}
