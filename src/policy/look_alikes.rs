//! Whether any character of Unicode can stand unseen for a part of a reserved name.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::json;
use unicode_normalization::UnicodeNormalization as _;
use unicode_security::skeleton;

use super::reserved::{NameClass, ReservedNames};
use super::testing::{NOW, ask, clusters, oidc, set};
use crate::pki::name::Name;

/// Two that every cluster has, and one of every character that such names are made of.
const RESERVED: [&str; 3] = ["system:masters", "kubeadm:cluster-admins", PANGRAM];
const PANGRAM: &str = "sphinx-of/black.quartz:judge_my@vow+23456789";

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
        if reading.is_empty() && name == PANGRAM {
            continue;
        }
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
    let reserved = ReservedNames::new(&[PANGRAM.to_owned()]);
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

/// Every character that reads as a given one, in ASCII; under the empty text, those that cannot be seen.
static LOOK_ALIKES: LazyLock<BTreeMap<String, Vec<char>>> = LazyLock::new(|| {
    let mut found: BTreeMap<String, Vec<char>> = BTreeMap::new();
    for c in every_character() {
        for reading in readings(c) {
            found.entry(reading).or_default().push(c);
        }
    }
    found
});

fn others(reading: &str) -> Vec<char> {
    LOOK_ALIKES.get(reading).cloned().unwrap_or_default()
}

/// A character as somebody who wants to pass would write it.
fn disguised(c: char) -> impl Strategy<Value = String> {
    let skeleton: String = skeleton(&c.to_string()).collect();
    let like = others(&skeleton).into_iter().chain([c]).collect::<Vec<_>>();
    let unseen = others("").into_iter().chain([' ']).collect::<Vec<_>>();
    let seen = prop_oneof![
        3 => Just(c.to_string()),
        1 => Just(c.to_uppercase().to_string()),
        1 => Just(skeleton),
        3 => prop::sample::select(like).prop_map(String::from),
    ];
    (seen, prop::option::weighted(0.1, prop::sample::select(unseen)))
        .prop_map(|(seen, unseen)| unseen.map_or(seen.clone(), |unseen| format!("{seen}{unseen}")))
}

fn disguises() -> impl Strategy<Value = String> {
    let names = [
        "system:masters",
        "system:nodes",
        "kubeadm:cluster-admins",
        "system:serviceaccount:a:b",
        "corp:x",
        "root",
    ];
    prop::sample::select(names.to_vec()).prop_flat_map(|name| {
        let parts: Vec<_> = name.chars().map(|c| disguised(c).boxed()).collect();
        parts.prop_map(|parts| parts.concat())
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_disguise_of_a_reserved_name_comes_through_a_star_or_a_variable(text in disguises()) {
        let Ok(name) = Name::parse(&text) else { return Ok(()) };
        let world = clusters();
        prop_assert!(ReservedNames::new(&world.rules[0].reserved).class(&name) != NameClass::Ordinary, "{}", text);
        let rows = json!([{"callers": ["oidc:corp:*"], "users": ["*", "{caller}"],
            "groups": ["*", "{caller}", "{caller.groups}"]}]);
        let caller = oidc("corp", &text, &[&text]);
        for ask in [ask(&text, &[]), ask("alice", &[&text])] {
            prop_assert!(set(&rows).decide(&world, &caller, ask, NOW).is_err(), "{}", text);
        }
    }
}
