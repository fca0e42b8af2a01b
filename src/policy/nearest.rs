//! What comes nearest to a refused name, of what the caller may have. The work for one name is
//! bounded, whatever the policy set, and a refusal looks for the first ten refused names only.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashSet};

/// How many are told.
const TOLD: usize = 5;
/// Names that differ in more places are all equally far.
const FAR: usize = 4;
/// Names whose differences span more bytes than this are far too.
const COMPARED: usize = 24;
/// How many are measured: those whose differences span the fewest bytes.
const MEASURED: usize = 100;
/// How many are tried before one gives up on finding enough.
const TRIED: usize = 16;
/// So many bytes are compared at once.
const STRIDE: usize = 16;

/// Something that a caller may ask for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Offer<'a> {
    pub(super) text: Cow<'a, str>,
    /// Whether it is a pattern and not a name.
    pub(super) open: bool,
}

/// What one caller may ask for in one field, each offer once.
#[derive(Clone, Debug, Default)]
pub(super) struct Offers<'a> {
    all: Vec<Offer<'a>>,
}

impl<'a> FromIterator<Offer<'a>> for Offers<'a> {
    fn from_iter<I: IntoIterator<Item = Offer<'a>>>(offers: I) -> Self {
        let mut seen = HashSet::new();
        Self { all: offers.into_iter().filter(|offer| seen.insert(offer.clone())).collect() }
    }
}

impl<'a> Offers<'a> {
    /// At most five, the nearest to `asked` first; names only where `stands`. Of those that are
    /// equally near, the first by their text.
    pub(super) fn nearest(&self, asked: &str, stands: impl Fn(&str) -> bool) -> Vec<String> {
        let mut tried = self.near(asked);
        if tried.len() <= TRIED {
            tried.extend(self.first().into_iter().map(|offer| (distance(asked, &offer.text), offer)));
        }
        tried
            .into_iter()
            .filter(|(_, offer)| offer.text != asked)
            .take(TRIED)
            .filter(|(_, offer)| offer.open || stands(&offer.text))
            .take(TOLD)
            .map(|(_, offer)| offer.text.clone().into_owned())
            .collect()
    }

    /// What is not far, of those measured.
    fn near(&self, asked: &str) -> BTreeSet<(usize, &Offer<'a>)> {
        let measured = self.to_measure(asked).into_iter();
        measured
            .map(|offer| (distance(asked, &offer.text), offer))
            .filter(|(distance, _)| *distance <= FAR)
            .collect()
    }

    fn to_measure(&self, asked: &str) -> Vec<&Offer<'a>> {
        let spans =
            self.all.iter().enumerate().map(|(place, offer)| (span(asked, &offer.text), place, offer));
        let mut close: Vec<_> =
            spans.filter_map(|(span, place, offer)| Some((span?, place, offer))).collect();
        if close.len() > MEASURED {
            close.select_nth_unstable_by_key(MEASURED, |(span, place, _)| (*span, *place));
            close.truncate(MEASURED);
        }
        close.into_iter().map(|(_, _, offer)| offer).collect()
    }

    /// The first by their text.
    fn first(&self) -> BTreeSet<&Offer<'a>> {
        let mut first = BTreeSet::new();
        for offer in &self.all {
            if first.len() > TRIED && first.last().is_some_and(|last| *last <= offer) {
                continue;
            }
            first.insert(offer);
            if first.len() > TRIED.saturating_add(1) {
                first.pop_last();
            }
        }
        first
    }
}

/// How many bytes the differences span, unless that makes them far.
fn span(one: &str, other: &str) -> Option<usize> {
    if one.len().abs_diff(other.len()) > FAR {
        return None;
    }
    let (one, other) = differing(one.as_bytes(), other.as_bytes());
    Some(one.len().max(other.len())).filter(|span| *span <= COMPARED)
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
    let start = alike_at_start(one, other);
    let (one, other) = (one.get(start..).unwrap_or_default(), other.get(start..).unwrap_or_default());
    let end = alike_at_end(one, other);
    let cut = |text: &'a [u8]| text.get(..text.len().saturating_sub(end)).unwrap_or_default();
    (cut(one), cut(other))
}

fn alike_at_start(one: &[u8], other: &[u8]) -> usize {
    let ((strides, _), (others, _)) = (one.as_chunks::<STRIDE>(), other.as_chunks::<STRIDE>());
    let start = alike(strides.iter(), others.iter()).saturating_mul(STRIDE);
    let rest = |text: &'_ [u8]| text.len().min(start);
    let (one, other) = (one.split_at(rest(one)).1, other.split_at(rest(other)).1);
    start.saturating_add(alike(one.iter(), other.iter()))
}

fn alike_at_end(one: &[u8], other: &[u8]) -> usize {
    let ((_, strides), (_, others)) = (one.as_rchunks::<STRIDE>(), other.as_rchunks::<STRIDE>());
    let end = alike(strides.iter().rev(), others.iter().rev()).saturating_mul(STRIDE);
    let bytes = |text: &'_ [u8]| text.len().saturating_sub(end);
    let (one, other) = (one.split_at(bytes(one)).0, other.split_at(bytes(other)).0);
    end.saturating_add(alike(one.iter().rev(), other.iter().rev()))
}

fn alike<T: PartialEq>(one: impl Iterator<Item = T>, other: impl Iterator<Item = T>) -> usize {
    one.zip(other).take_while(|(mine, theirs)| mine == theirs).count()
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

    fn offers<'a>(texts: &[&'a str]) -> Offers<'a> {
        texts.iter().map(|text| Offer { text: Cow::Borrowed(*text), open: text.contains('*') }).collect()
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
        let told = known.nearest("dev", |_| true);
        assert_eq!(told.len(), 5);
        assert_eq!(told[..2], ["devs", "dev-*"]);
    }

    #[test]
    fn a_name_that_does_not_stand_is_not_told() {
        assert_eq!(offers(&["devs", "dev-*"]).nearest("dev", |_| false), ["dev-*"]);
    }

    #[test]
    fn what_is_alike_at_both_ends_is_cut_off_whatever_the_length() {
        for length in [0, 1, 15, 16, 17, 31, 32, 33, 120] {
            let (before, after) = ("a".repeat(length), "z".repeat(length));
            let (one, other) = (format!("{before}bc{after}"), format!("{before}d{after}"));
            assert_eq!(differing(one.as_bytes(), other.as_bytes()), (&b"bc"[..], &b"d"[..]), "{length}");
            assert_eq!(differing(one.as_bytes(), one.as_bytes()), (&b""[..], &b""[..]), "{length}");
        }
    }

    #[test]
    fn one_changed_byte_is_found_among_ten_thousand_with_bounded_work() {
        let texts: Vec<String> = (0..10_000).map(|place| format!("team-{place:04}")).collect();
        let known = offers(&texts.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(known.nearest("team-98x7", |_| true)[..2], ["team-9807", "team-9817"]);
        assert!(known.to_measure("team-98x7").len() <= MEASURED);
        let tried = std::cell::Cell::new(0);
        let told = known.nearest("team-98x7", |_| {
            tried.set(tried.get() + 1);
            false
        });
        assert!(told.is_empty());
        assert_eq!(tried.get(), TRIED);
    }

    #[test]
    fn the_order_of_offers_does_not_matter() {
        let mut texts = ["zz", "dev", "dex", "dev-a-long-name", "another-long-name", "dev"];
        let told = offers(&texts).nearest("de", |_| true);
        texts.reverse();
        assert_eq!(told, offers(&texts).nearest("de", |_| true));
        assert_eq!(told, ["dev", "dex", "zz", "another-long-name", "dev-a-long-name"]);
    }

    #[test]
    fn an_offer_of_many_rows_leaves_room_for_others() {
        let texts: Vec<&str> = std::iter::repeat_n("dev", 1_000).chain(["ops-dev"]).collect();
        assert_eq!(offers(&texts).nearest("devs", |_| true), ["dev", "ops-dev"]);
        let texts: Vec<&str> = std::iter::repeat_n("dev", 1_000).chain(["dabs"]).collect();
        assert_eq!(offers(&texts).nearest("devs", |_| true), ["dev", "dabs"]);
    }
}
