//! Whether any character of Unicode can stand unseen for a part of a reserved name.

use std::collections::BTreeSet;

use unicode_normalization::UnicodeNormalization as _;
use unicode_security::skeleton;

use super::reserved::{NameClass, ReservedNames};
use crate::pki::name::Name;

const RESERVED: [&str; 2] = ["system:masters", "kubeadm:cluster-admins"];

/// What readers see of a character, said another way than `fold` says it: its own skeleton (UTS 39
/// section 4) and that of what compatibility leaves of it (UAX 15); where these are no ASCII
/// letters, that of the letter in another case. Readings that are not ASCII do not matter here.
fn readings(c: char) -> BTreeSet<String> {
    let own = c.to_string();
    let plain: String = own.nfkc().collect();
    let mut readings: BTreeSet<String> =
        [&own, &plain].into_iter().filter_map(|text| reading(text)).collect();
    for other in [plain.to_lowercase(), own.to_uppercase()] {
        if !readings.iter().any(|reading| reading.contains(|c: char| c.is_ascii_alphabetic())) {
            readings.extend(reading(&other));
        }
    }
    readings
}

fn reading(text: &str) -> Option<String> {
    let seen: String = skeleton(text).collect();
    seen.is_ascii().then(|| skeleton(&seen.trim().to_ascii_lowercase()).collect())
}

/// A reserved name with `c` in the place of what it reads as, or between, wherever that fits.
fn spellings(c: char) -> Vec<String> {
    let mut found = Vec::new();
    for (reading, name) in readings(c).iter().flat_map(|reading| RESERVED.map(|name| (reading, name))) {
        let whole: String = skeleton(name).collect();
        for at in (0..=whole.len()).filter(|at| whole[*at..].starts_with(reading)) {
            found.push(format!("{}{c}{}", &whole[..at], &whole[at + reading.len()..]));
        }
    }
    found
}

/// All that a name can hold within, without ideographs and what has no meaning yet.
fn every_character() -> impl Iterator<Item = char> {
    let ideographs = [0x3400..0xa000, 0xac00..0xd7a4, 0xe000..0xf900, 0x1_7000..0x1_8d00, 0x2_0000..0xe_0000];
    let rest = move |c: &u32| !ideographs.iter().any(|range| range.contains(c));
    let characters = (0x80..0xe_1000).filter(rest).filter_map(char::from_u32);
    characters.filter(|c| Name::parse(&format!("a{c}a")).is_ok())
}

#[test]
fn no_character_of_unicode_passes_for_a_part_of_a_reserved_name() {
    let reserved = ReservedNames::new(&[]);
    let (mut tried, mut passed) = (0, BTreeSet::new());
    for spelling in every_character().flat_map(spellings) {
        let Ok(name) = Name::parse(&spelling) else { continue };
        tried += 1;
        if reserved.class(&name) != NameClass::LooksReserved {
            passed.insert(spelling);
        }
    }
    assert_eq!(passed, BTreeSet::new());
    assert!(tried > 2_000, "{tried}");
}
