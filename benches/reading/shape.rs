//! What the generated ledger looks like: two years of a mid-sized company. Each record follows from its
//! place alone, so that every table can be written in a pass of its own.

/// How many of each there are; the first ones are the busiest.
pub const USERS: u64 = 5_000;
pub const CALLERS: u64 = 300;
/// One who has a certificate now and then.
pub const RARE_USER: u64 = 3_500;
/// The first so many callers are portals, which name the person that they ask for.
pub const PORTALS: u64 = 30;
pub const GROUPS: u64 = 40;
pub const GROUP_LISTS: u64 = 400;
pub const POLICIES: u64 = 30;
pub const POLICY_LISTS: u64 = 60;
pub const CLUSTERS: u64 = 8;

/// Seconds over which the records lie.
pub const PERIOD: u64 = 730 * 86_400;

/// Lifetimes, in seconds, each for so many of a hundred certificates.
const LIFETIMES: [(u64, u64); 7] = [
    (30, 3_600),
    (40, 8 * 3_600),
    (15, 86_400),
    (8, 7 * 86_400),
    (4, 30 * 86_400),
    (2, 90 * 86_400),
    (1, 365 * 86_400),
];

pub const CODES: [&str; 5] =
    ["policy_denied", "name_looks_reserved", "signature_invalid", "key_weak", "csr_malformed"];

/// What a place holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Certificate,
    Refusal,
    /// A change of the tokens.
    Change,
}

/// One record in twenty-five is a refusal, and one in ten thousand a change.
pub fn kind(place: u64) -> Kind {
    if place % 10_000 == 5_000 {
        Kind::Change
    } else if place % 25 == 24 {
        Kind::Refusal
    } else {
        Kind::Certificate
    }
}

/// How many records hold so many certificates.
pub fn records(certificates: u64) -> u64 {
    let mut left = certificates;
    let mut place = 0_u64;
    while left > 0 {
        left = left.saturating_sub(u64::from(kind(place) == Kind::Certificate));
        place = place.saturating_add(1);
    }
    place
}

/// What a certificate or refusal says, as places in the lists above.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a column that is there or not")]
pub struct Record {
    pub user: u64,
    pub caller: u64,
    pub groups: u64,
    pub policies: u64,
    pub cluster: u64,
    /// Seconds.
    pub ttl: u64,
    pub asks_ttl: bool,
    pub names_person: bool,
    pub gives_reason: bool,
    pub rsa: bool,
}

impl Record {
    pub fn at(place: u64) -> Self {
        let draw = |salt| mix(place, salt);
        let caller = skewed(place, 10, 4, CALLERS);
        Self {
            user: skewed(place, 20, 3, USERS),
            caller,
            groups: skewed(place, 30, 2, GROUP_LISTS),
            policies: skewed(place, 40, 2, POLICY_LISTS),
            cluster: skewed(place, 50, 2, CLUSTERS),
            ttl: lifetime(draw(1) % 100),
            asks_ttl: draw(2) % 5 > 0,
            names_person: caller < PORTALS && draw(3) % 4 > 0,
            gives_reason: draw(4) % 10 == 0,
            rsa: draw(5) % 10 == 0,
        }
    }
}

/// When it was recorded, in seconds after the beginning: never more than a minute out of order.
pub fn seconds(place: u64, records: u64) -> u64 {
    place.saturating_mul(PERIOD) / records.max(1) + mix(place, 60) % 30
}

/// The members of a list: one to five, each once.
pub fn members(list: u64, of: u64) -> Vec<u64> {
    let mut members: Vec<u64> = (0..=list % 5).map(|place| skewed(list, 70 + place * 10, 2, of)).collect();
    members.sort_unstable();
    members.dedup();
    members
}

/// So many octets that look random, the same for the same place.
pub fn octets<const N: usize>(place: u64, salt: u64) -> [u8; N] {
    let mut octets = [0; N];
    for (number, chunk) in (0..).zip(octets.chunks_mut(8)) {
        let drawn = mix(place, salt + number).to_be_bytes();
        chunk.iter_mut().zip(drawn).for_each(|(to, from)| *to = from);
    }
    octets
}

/// The least of several draws, so that low ones are frequent.
fn skewed(place: u64, salt: u64, draws: u64, of: u64) -> u64 {
    (0..draws).map(|draw| mix(place, salt + draw) % of).min().unwrap_or(0)
}

fn lifetime(mut percent: u64) -> u64 {
    for (share, seconds) in LIFETIMES {
        if percent < share {
            return seconds;
        }
        percent -= share;
    }
    3_600
}

/// The generator `SplitMix64`.
fn mix(place: u64, salt: u64) -> u64 {
    let mut word =
        place.wrapping_mul(0xd134_2543_de82_ef95).wrapping_add(salt.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}
