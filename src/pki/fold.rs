//! What a text looks like, for comparing names with reserved ones.
use std::borrow::Cow;

use unicode_normalization::UnicodeNormalization as _;
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory as _};
use unicode_security::skeleton;

/// More rounds than any text needs; a bound, so that no text can keep the loop busy.
const MAX_ROUNDS: usize = 16;
/// Small capitals have no compatibility mapping in Unicode, yet read as the letter.
const SMALL_CAPITALS: &str = "ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘꞯʀꜱᴛᴜᴠᴡʏᴢ";
const SMALL_CAPITALS_READ_AS: &str = "abcdefghijklmnopqrstuvwyz";
/// What is drawn as another character, and neither NFKC nor UTS 39 lead to it, or one of them leads elsewhere.
const DRAWN_AS: [(char, char); 13] = [
    ('\u{fe30}', ':'),
    ('\u{2982}', ':'),
    ('\u{2806}', ':'),
    ('\u{2830}', ':'),
    ('\u{706}', ':'),
    ('\u{707}', ':'),
    ('\u{a6f4}', ':'),
    ('\u{10af5}', ':'),
    ('\u{10f88}', ':'),
    ('\u{12471}', ':'),
    ('\u{1da8a}', ':'),
    ('\u{27e}', 'r'),
    ('\u{1f1a5}', 'd'),
];
/// First letters of alphabets in boxes, circles and flags that have no compatibility mapping.
const BOXED_ALPHABETS: [u32; 3] = [0x1_f150, 0x1_f170, 0x1_f1e6];

/// Folds away compatibility forms (NFKC), case, white space, what cannot be seen, and look-alike
/// characters (UTS 39 section 4), so that two texts that a person would take for the same have the
/// same fold. Idempotent. Compare only folds with folds: `m` becomes `rn`, and `1`, `i` and `|` an `l`.
#[must_use]
pub fn fold(text: &str) -> String {
    if text.bytes().all(is_plain) {
        let mut folded = String::with_capacity(text.len());
        push_ascii(text, &mut folded);
        return folded;
    }
    let mut folded = round(text);
    for _ in 0..MAX_ROUNDS {
        let next = round(&folded);
        if next == folded {
            break;
        }
        folded = next;
    }
    folded
}

/// The same for two other ways to read a text: its case folded away before all else, as a capital may look like
/// another letter than its small one; and as it is drawn before all else, as `ſ` is an s and looks like an f.
/// For ASCII, both are the [`fold`].
#[must_use]
pub fn other_folds(text: &str) -> [String; 2] {
    [fold(&text.to_lowercase()), fold(&skeleton(text).collect::<String>())]
}

/// ASCII that looks like nothing else once [`push_ascii`] is done with it.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b':' | b'.' | b'-' | b'_' | b'/' | b'@' | b'+' | b' ')
}

fn round(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let seen: String = text.chars().flat_map(as_it_is_seen).collect();
    for c in seen.nfkc().filter(|c| is_visible(*c)) {
        fold_char(c, &mut out);
    }
    out
}

/// A look-alike of an ASCII character that NFKC would take away from it: the lunate sigma is drawn as a `c`.
fn as_it_is_seen(c: char) -> Vec<char> {
    let drawn = DRAWN_AS.iter().find_map(|(drawn, read)| (*drawn == c).then_some(*read));
    let c = drawn.unwrap_or(c);
    let changes = !c.is_ascii() && !std::iter::once(c).nfkc().eq([c]);
    let lost = || !std::iter::once(c).nfkc().all(|c| ascii_reading(c, &look(c)).is_some());
    if changes && look(c).is_ascii() && lost() { look(c).chars().collect() } else { vec![c] }
}

fn is_visible(c: char) -> bool {
    let blank = matches!(c, '\u{2800}' | '\u{13441}' | '\u{13442}' | '\u{16fe4}' | '\u{1d159}');
    let category = c.general_category();
    !blank && !c.is_whitespace() && !matches!(category, GeneralCategory::Format | GeneralCategory::Control)
}

/// What reads as ASCII becomes that, and a letter in a box the letter. Anything else only loses its case.
fn fold_char(c: char, out: &mut String) {
    let own = look(c);
    if let Some(reading) = ascii_reading(c, &own) {
        return push_ascii(&reading, out);
    }
    if let Some(letter) = small_capital(c).or_else(|| boxed(c)) {
        return out.push_str(&letter_fold(letter));
    }
    let lower = without_case(c.encode_utf8(&mut [0; 4]));
    out.push_str(&if lower.chars().eq([c]) { without_case(&own) } else { lower });
}

/// A character's own look, or that of its capital (Cyrillic `т` is a small `Т`). A letter that looks like a
/// digit is rather the letter that it looks like in another case.
fn ascii_reading(c: char, own: &str) -> Option<Cow<'_, str>> {
    let is_letter = |text: &str| text.is_ascii() && text.contains(|c: char| c.is_ascii_alphabetic());
    if is_letter(own) || (own.is_ascii() && !c.is_alphabetic()) {
        return Some(Cow::Borrowed(own));
    }
    let capital: String = c.to_uppercase().map(look).collect();
    let small: String = c.to_lowercase().map(look).collect();
    if let Some(letter) = [&capital, &small].into_iter().find(|text| is_letter(text)) {
        return Some(Cow::Owned(letter.clone()));
    }
    [Cow::Borrowed(own), Cow::Owned(capital)].into_iter().find(|text| text.is_ascii())
}

fn without_case(text: &str) -> String {
    text.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect()
}

/// The prototype of one character (UTS 39 section 4); empty for what cannot be seen.
fn look(c: char) -> String {
    skeleton(c.encode_utf8(&mut [0; 4])).collect()
}

fn push_ascii(text: &str, out: &mut String) {
    for c in text.chars().filter(|c| !c.is_whitespace()) {
        match c.to_ascii_lowercase() {
            'm' => out.push_str("rn"),
            '0' => out.push('o'),
            '1' | 'i' | '|' => out.push('l'),
            other => out.push(other),
        }
    }
}

fn letter_fold(letter: char) -> String {
    let mut out = String::new();
    push_ascii(letter.encode_utf8(&mut [0; 4]), &mut out);
    out
}

fn small_capital(c: char) -> Option<char> {
    let mut pairs = SMALL_CAPITALS.chars().zip(SMALL_CAPITALS_READ_AS.chars());
    pairs.find_map(|(capital, letter)| (capital == c).then_some(letter))
}

fn boxed(c: char) -> Option<char> {
    let offset =
        BOXED_ALPHABETS.iter().find_map(|first| u32::from(c).checked_sub(*first).filter(|o| *o < 26))?;
    char::from_u32(u32::from(b'a').checked_add(offset)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MASTERS: [&str; 94] = [
        "system:masters",
        "SYSTEM:MASTERS",
        "System:Masters",
        "sYsTeM:mAsTeRs",
        "system:rnasters",
        "systern:masters",
        "SYSTERN:RNASTERS",
        " system:masters",
        "system:masters ",
        "system: masters",
        "s y s t e m : m a s t e r s",
        "system:\tmasters",
        "system:masters\n",
        "system:\u{a0}masters",
        "system:\u{2003}masters",
        "system:\u{3000}masters",
        "system:\u{2028}masters",
        "system:\u{200b}masters",
        "sys\u{200d}tem:masters",
        "sys\u{200c}tem:masters",
        "sys\u{ad}tem:masters",
        "sys\u{2060}tem:masters",
        "sys\u{feff}tem:masters",
        "\u{202e}system:masters",
        "\u{2066}system:masters\u{2069}",
        "system\u{fe0f}:masters",
        "system\u{34f}:masters",
        "system\u{115f}:masters",
        "system\u{3164}:masters",
        "system\u{ffa0}:masters",
        "system\u{180e}:masters",
        "system\u{e0061}:masters",
        "system\u{e0100}:masters",
        "system\u{2800}:masters",
        "system\0:masters",
        "system\u{7f}:masters",
        "ѕystem:masters",
        "ѕуѕtеm:masters",
        "ѕуѕтеm:mаѕтеrѕ",
        "ЅУЅТЕМ:МАЅТЕRЅ",
        "sуstem:masters",
        "systеm:masters",
        "system:mаsters",
        "systeм:мasters",
        "sysтem:masтers",
        "SYSΤEΜ:ΜASΤERS",
        "ＳＹＳＴＥＭ：ＭＡＳＴＥＲＳ",
        "ｓｙｓｔｅｍ：ｍａｓｔｅｒｓ",
        "system：masters",
        "system∶masters",
        "system꞉masters",
        "systemːmasters",
        "system։masters",
        "system׃masters",
        "system˸masters",
        "system﹕masters",
        "system︓masters",
        "system︰masters",
        "system⦂masters",
        "system⠆masters",
        "system⠰masters",
        "system܆masters",
        "system܇masters",
        "system꛴masters",
        "system\u{10af5}masters",
        "system\u{12471}masters",
        "system\u{13441}:masters",
        "sy\u{1bc}tem:masters",
        "system:masteɾs",
        "𝐬𝐲𝐬𝐭𝐞𝐦:𝐦𝐚𝐬𝐭𝐞𝐫𝐬",
        "𝐒𝐘𝐒𝐓𝐄𝐌:𝐌𝐀𝐒𝐓𝐄𝐑𝐒",
        "𝑠𝑦𝑠𝑡𝑒𝑚:𝑚𝑎𝑠𝑡𝑒𝑟𝑠",
        "𝓼𝔂𝓼𝓽𝓮𝓶:𝓶𝓪𝓼𝓽𝓮𝓻𝓼",
        "𝔰𝔶𝔰𝔱𝔢𝔪:𝔪𝔞𝔰𝔱𝔢𝔯𝔰",
        "𝕤𝕪𝕤𝕥𝕖𝕞:𝕞𝕒𝕤𝕥𝕖𝕣𝕤",
        "𝖘𝖞𝖘𝖙𝖊𝖒:𝖒𝖆𝖘𝖙𝖊𝖗𝖘",
        "𝗌𝗒𝗌𝗍𝖾𝗆:𝗆𝖺𝗌𝗍𝖾𝗋𝗌",
        "𝚜𝚢𝚜𝚝𝚎𝚖:𝚖𝚊𝚜𝚝𝚎𝚛𝚜",
        "ⓢⓨⓢⓣⓔⓜ:ⓜⓐⓢⓣⓔⓡⓢ",
        "ⓈⓎⓈⓉⒺⓂ:ⓂⒶⓈⓉⒺⓇⓈ",
        "🅂🅈🅂🅃🄴🄼:🄼🄰🅂🅃🄴🅁🅂",
        "🅢🅨🅢🅣🅔🅜:🅜🅐🅢🅣🅔🅡🅢",
        "🆂🆈🆂🆃🅴🅼:🅼🅰🆂🆃🅴🆁🆂",
        "🇸🇾🇸🇹🇪🇲:🇲🇦🇸🇹🇪🇷🇸",
        "ꜱʏꜱᴛᴇᴍ:ᴍᴀꜱᴛᴇʀꜱ",
        "ſystem:masterſ",
        "syﬆem:maﬆers",
        "syſtem:maſters",
        "ˢʸˢᵗᵉᵐ:ᵐᵃˢᵗᵉʳˢ",
        "ₛyₛₜₑₘ:ₘₐₛₜₑrₛ",
        "ꜱystem:masters",
        "ꓢystem:masters",
        "ᏚYᏚTEM:MASTERS",
        "ѕ\u{200b}у ѕ\u{ad}ТＥｍ：ⓜаꜱᴛｅ𝐫S",
    ];

    #[test]
    fn every_spelling_of_a_reserved_name_folds_to_it() {
        let reserved = fold("system:masters");
        for spelling in MASTERS {
            assert_eq!(fold(spelling), reserved, "{spelling:?}");
        }
    }

    #[test]
    fn spellings_of_zero_one_and_l_fold_together() {
        for (spelling, reserved) in [
            ("r00t", "root"),
            ("admln", "admin"),
            ("adm1n", "admin"),
            ("ADMIN", "admin"),
            ("adm|n", "admin"),
            ("admın", "admin"),
            ("аdmіn", "admin"),
            ("kubeadm:c1uster-admins", "kubeadm:cluster-admins"),
            ("kubeadm:CIuster-admins", "kubeadm:cluster-admins"),
            ("kubeadm:cluster‐admins", "kubeadm:cluster-admins"),
            ("kubeadm:cluster–admins", "kubeadm:cluster-admins"),
            ("kubeadrn:cluster-admins", "kubeadm:cluster-admins"),
        ] {
            assert_eq!(fold(spelling), fold(reserved), "{spelling:?}");
        }
    }

    #[test]
    fn ordinary_names_do_not_fold_to_reserved_ones() {
        let reserved = ["system:", "kubeadm:", "root", "admin"].map(fold);
        for name in [
            "alice@corp.com",
            "ci/deploy-1",
            "Zoë",
            "Жанна",
            "王小明",
            "山田太郎",
            "김철수",
            "Ωmega",
            "systems",
            "system-masters",
            "ecosystem:x",
            "my-system:x",
            "masters",
            "kubeadmin",
            "administrator",
            "ádmin",
            "sýstem:masters",
        ] {
            let folded = fold(name);
            assert!(!folded.is_empty());
            assert!(!folded.starts_with(&reserved[0]) && !folded.starts_with(&reserved[1]), "{name}");
            assert!(folded != reserved[2] && folded != reserved[3], "{name}");
        }
    }

    #[test]
    fn distinct_ordinary_names_keep_distinct_folds() {
        let names = ["alice", "bob", "Zoë", "Zoe", "王小明", "王小朋", "Жанна", "ci/deploy-1", "ci/deploy-2"];
        let folds: std::collections::BTreeSet<String> = names.into_iter().map(fold).collect();
        assert_eq!(folds.len(), names.len());
    }

    #[test]
    fn every_single_character_folds_to_a_fixed_point() {
        let ideographs = [0x3400..0xa000, 0xac00..0xf900, 0x1_7000..0x1_b000];
        let letters = (0..0x2_0000).filter(|c| !ideographs.iter().any(|range| range.contains(c)));
        for c in letters.filter_map(char::from_u32) {
            let once = fold(c.encode_utf8(&mut [0; 4]));
            assert_eq!(fold(&once), once, "U+{:04X}", u32::from(c));
        }
    }

    #[test]
    fn plain_ascii_takes_the_short_way_to_the_same_fold() {
        for byte in (0..=0x7f).filter(|byte| is_plain(*byte)) {
            let text = char::from(byte).to_string();
            let mut long_way = round(&text);
            long_way = round(&long_way);
            assert_eq!(fold(&text), long_way, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn ascii_reads_in_one_way_only(text in "[ -~]{0,40}") {
            prop_assert_eq!(other_folds(&text), [fold(&text), fold(&text)]);
        }

        #[test]
        fn folding_is_idempotent(text in "\\PC{0,24}|.{0,24}|[ -~]{0,40}") {
            let once = fold(&text);
            prop_assert_eq!(fold(&once), once);
        }

        #[test]
        fn ascii_case_and_white_space_never_matter(text in "[ -~]{0,40}") {
            let spaced: String = text.chars().flat_map(|c| [c, ' ']).collect();
            prop_assert_eq!(fold(&text.to_ascii_uppercase()), fold(&text));
            prop_assert_eq!(fold(&text.to_ascii_lowercase()), fold(&text));
            prop_assert_eq!(fold(&spaced), fold(&text));
        }
    }
}
