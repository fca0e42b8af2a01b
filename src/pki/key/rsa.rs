//! RSA keys whose private half cannot be found with known shortcuts. About 0.1 ms for 2048 bits.
use std::sync::LazyLock;

use num_bigint::BigUint;

use super::{KeyError, KeyKind, fermat};
use crate::pki::der::{self, NotDer};

/// rsaEncryption (RFC 8017 appendix A.1).
pub(super) const OID: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
/// NULL, which RFC 3279 section 2.3.1 demands.
const NULL: &[u8] = &[5, 0];
/// 65537, big-endian.
const EXPONENT: &[u8] = &[1, 0, 1];
/// All primes below this are tried as factors.
const SMALL_PRIMES_BELOW: u64 = 1 << 16;
/// How far from the square root of the modulus two primes must be, in steps of Fermat's method.
/// The same number as public CAs use.
const FERMAT_ROUNDS: u64 = 110;
/// The primes that Infineon's library built its primes from (CVE-2017-15361), those first that
/// tell the most keys apart.
const ROCA_PRIMES: [u64; 38] = [
    11, 37, 13, 19, 73, 17, 53, 61, 71, 79, 97, 103, 107, 109, 127, 151, 157, 3, 5, 7, 23, 29, 31, 41, 43,
    47, 59, 67, 83, 89, 101, 113, 131, 137, 139, 149, 163, 167,
];
/// Moduli in which few residues are squares; their product fits 64 bits.
const SQUARE_SIEVE: [u64; 12] = [64, 63, 65, 11, 17, 19, 23, 29, 31, 37, 41, 43];

/// Odd small primes, four to a chunk, so that one pass over the modulus tries all four.
static CHUNKS: LazyLock<Vec<[Chunk; 4]>> = LazyLock::new(|| {
    let primes: Vec<u64> = primes_below(SMALL_PRIMES_BELOW).filter(|p| *p != 2).collect();
    let four_chunks = |primes: &[u64]| {
        let mut chunks = primes.chunks(4);
        std::array::from_fn(|_| Chunk::new(chunks.next().unwrap_or_default()))
    };
    primes.chunks(16).map(four_chunks).collect()
});

/// Checks the parameters and the `RSAPublicKey` of an RSA `SubjectPublicKeyInfo`.
pub(super) fn check(parameters: &[u8], key: &[u8]) -> Result<KeyKind, KeyError> {
    if parameters != NULL {
        return Err(KeyError::Malformed("an RSA key needs NULL parameters"));
    }
    let (modulus, exponent) = read(key)?;
    let kind = size(modulus)?;
    if exponent != EXPONENT {
        return Err(KeyError::Weak("its public exponent is not 65537"));
    }
    match weakness(&BigUint::from_bytes_be(modulus)) {
        Some(weakness) => Err(KeyError::Weak(weakness)),
        None => Ok(kind),
    }
}

/// One base-2 Fermat test. A composite that passes it is as useless as a prime.
pub(super) fn check_not_prime(key: &[u8]) -> Result<(), KeyError> {
    let modulus = BigUint::from_bytes_be(read(key)?.0);
    if fermat::passes(&modulus) { Err(KeyError::Weak("its modulus is a prime")) } else { Ok(()) }
}

fn read(key: &[u8]) -> Result<(&[u8], &[u8]), NotDer> {
    let mut numbers = der::only(key, der::SEQUENCE)?.open();
    let modulus = numbers.unsigned()?;
    let exponent = numbers.unsigned()?;
    numbers.finish()?;
    Ok((modulus, exponent))
}

fn size(modulus: &[u8]) -> Result<KeyKind, KeyError> {
    let octets = u64::try_from(modulus.len()).unwrap_or(u64::MAX);
    let unused = modulus.first().map_or(0, |first| u64::from(first.leading_zeros()));
    let bits = octets.saturating_mul(8).saturating_sub(unused);
    match bits {
        2048 => Ok(KeyKind::Rsa2048),
        3072 => Ok(KeyKind::Rsa3072),
        4096 => Ok(KeyKind::Rsa4096),
        bits => Err(KeyError::RsaSize { bits }),
    }
}

fn weakness(modulus: &BigUint) -> Option<&'static str> {
    if !modulus.bit(0) {
        Some("its modulus is even")
    } else if has_small_factor(modulus) {
        Some("its modulus has a small factor")
    } else if is_roca(modulus) {
        Some("it has the mark of Infineon's broken generator (ROCA)")
    } else if is_power(modulus) {
        Some("its modulus is a power")
    } else if has_close_primes(modulus) {
        Some("its two primes are too close together")
    } else if is_biased(modulus) {
        Some("its modulus is not random")
    } else {
        None
    }
}

/// Whether fewer than 41 or not fewer than 61 in a hundred bits are set: primes with long runs of
/// equal bits make such moduli, and can be found by factoring a polynomial. Of random moduli of 2048
/// bits not one in 10^15 is like that.
fn is_biased(modulus: &BigUint) -> bool {
    let set = modulus.count_ones().saturating_mul(100);
    set < modulus.bits().saturating_mul(41) || set >= modulus.bits().saturating_mul(61)
}

/// Up to four odd primes and their product.
struct Chunk {
    product: u64,
    /// `product * inverse` is 1 modulo 2^64.
    inverse: u64,
    primes: Vec<Prime>,
}

impl Chunk {
    fn new(primes: &[u64]) -> Self {
        let product: u64 = primes.iter().product();
        Self { product, inverse: inverse(product), primes: primes.iter().map(|p| Prime::new(*p)).collect() }
    }

    /// One digit of a Montgomery reduction by the product: it keeps divisibility by each of the
    /// primes, and needs no division.
    fn reduce(&self, carry: u64, digit: u64) -> u64 {
        let (rest, borrow) = digit.overflowing_sub(carry);
        let quotient = u128::from(rest.wrapping_mul(self.inverse));
        high_half(quotient.wrapping_mul(u128::from(self.product))).wrapping_add(u64::from(borrow))
    }
}

/// An odd prime, for telling its multiples by one multiplication: modulo 2^64 they, and nothing
/// else, become quotients.
struct Prime {
    inverse: u64,
    largest_quotient: u64,
}

impl Prime {
    fn new(prime: u64) -> Self {
        Self { inverse: inverse(prime), largest_quotient: u64::MAX / prime }
    }

    fn divides(&self, number: u64) -> bool {
        number.wrapping_mul(self.inverse) <= self.largest_quotient
    }
}

/// Whether a prime of the chunks divides the number of which these are the 64-bit digits, lowest
/// first. The four chunks do not wait for each other, which makes this three times as fast.
fn any_divides(chunks: &[Chunk; 4], digits: &[u64]) -> bool {
    let mut carries = [0_u64; 4];
    for digit in digits {
        for (carry, chunk) in carries.iter_mut().zip(chunks) {
            *carry = chunk.reduce(*carry, *digit);
        }
    }
    chunks.iter().zip(carries).any(|(chunk, carry)| chunk.primes.iter().any(|prime| prime.divides(carry)))
}

/// Of an odd number, modulo 2^64, by Newton's iteration: each round doubles the correct bits.
pub(super) fn inverse(odd: u64) -> u64 {
    (0..6).fold(odd, |x, _| x.wrapping_mul(2_u64.wrapping_sub(odd.wrapping_mul(x))))
}

fn high_half(wide: u128) -> u64 {
    u64::try_from(wide >> 64).unwrap_or_default()
}

fn has_small_factor(modulus: &BigUint) -> bool {
    let digits: Vec<u64> = modulus.iter_u64_digits().collect();
    CHUNKS.iter().any(|chunks| any_divides(chunks, &digits))
}

/// A prime of Infineon's library is a power of 65537 modulo each of the primes; so is a product
/// of two. Another modulus passes by chance once in 2^27.
fn is_roca(modulus: &BigUint) -> bool {
    ROCA_PRIMES.iter().all(|prime| is_power_of_65537(remainder(modulus, *prime), *prime))
}

fn is_power_of_65537(residue: u64, prime: u64) -> bool {
    let powers = std::iter::successors(Some(1_u64), |power| Some(power.wrapping_mul(65_537) % prime));
    let order = usize::try_from(prime).unwrap_or_default();
    powers.take(order).any(|power| power == residue)
}

/// Whether the modulus is a square or a higher power. Only prime exponents matter, and the root
/// has over 16 bits because no small prime divides it.
fn is_power(modulus: &BigUint) -> bool {
    let longest = modulus.bits() / 16;
    primes_below(longest.saturating_add(1)).any(|exponent| is_power_of_degree(modulus, exponent))
}

/// In a field whose order less one is a multiple of the degree, few numbers are such powers: a
/// root is only taken of what passes there.
fn is_power_of_degree(modulus: &BigUint, degree: u64) -> bool {
    let fields = (1..).map(|k: u64| k.wrapping_mul(degree).wrapping_add(1)).filter(|n| is_prime(*n)).take(2);
    let may_be = fields.into_iter().all(|field| {
        let index = field.wrapping_sub(1) / degree;
        power_modulo(remainder(modulus, field), index, field) == 1
    });
    let Ok(exponent) = u32::try_from(degree) else { return false };
    may_be && modulus.nth_root(exponent).pow(exponent) == *modulus
}

/// Fermat's method: a modulus whose primes are close is the difference of two squares near it.
fn has_close_primes(modulus: &BigUint) -> bool {
    let sieve: u64 = SQUARE_SIEVE.iter().product();
    let start = modulus.sqrt() + 1_u8;
    let (start_residue, modulus_residue) = (remainder(&start, sieve), remainder(modulus, sieve));
    (0..FERMAT_ROUNDS).any(|step| {
        let a = (u128::from(start_residue) + u128::from(step)) % u128::from(sieve);
        let difference = (a * a + u128::from(sieve) - u128::from(modulus_residue)) % u128::from(sieve);
        may_be_square(difference) && is_difference_of_squares(modulus, &(&start + step))
    })
}

fn may_be_square(residue: u128) -> bool {
    SQUARE_SIEVE.iter().all(|modulus| {
        let wanted = residue % u128::from(*modulus);
        (0..u128::from(*modulus)).any(|root| root * root % u128::from(*modulus) == wanted)
    })
}

fn is_difference_of_squares(modulus: &BigUint, a: &BigUint) -> bool {
    let difference = a * a - modulus;
    let root = difference.sqrt();
    &root * &root == difference
}

fn remainder(number: &BigUint, modulus: u64) -> u64 {
    u64::try_from(number % modulus).unwrap_or_default()
}

fn power_modulo(base: u64, exponent: u64, modulus: u64) -> u64 {
    let (mut result, mut square, mut left) = (1_u64, base % modulus, exponent);
    while left > 0 {
        if left & 1 == 1 {
            result = result.wrapping_mul(square) % modulus;
        }
        square = square.wrapping_mul(square) % modulus;
        left >>= 1;
    }
    result
}

fn primes_below(bound: u64) -> impl Iterator<Item = u64> {
    (2..bound).filter(|n| is_prime(*n))
}

/// By trial division; for small numbers only.
fn is_prime(n: u64) -> bool {
    n >= 2 && (2..n).take_while(|d| d.wrapping_mul(*d) <= n).all(|d| !n.is_multiple_of(d))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::der::build::{self, NULL as NULL_ELEMENT, seq, unsigned};
    use crate::pki::samples;

    fn prime(bits: usize) -> BigUint {
        BigUint::from_bytes_be(&samples::prime(bits))
    }

    fn key(modulus: &BigUint, exponent: &[u8]) -> Vec<u8> {
        seq(&[unsigned(&modulus.to_bytes_be()), unsigned(exponent)])
    }

    fn judge(modulus: &BigUint) -> Result<KeyKind, KeyError> {
        check(NULL, &key(modulus, EXPONENT))
    }

    fn weak(why: &'static str) -> Result<KeyKind, KeyError> {
        Err(KeyError::Weak(why))
    }

    fn odd(number: BigUint) -> BigUint {
        if number.bit(0) { number } else { number + 1_u8 }
    }

    fn next_prime(start: BigUint) -> BigUint {
        let mut candidate = odd(start);
        while BigUint::from(2_u8).modpow(&(&candidate - 1_u8), &candidate) != BigUint::from(1_u8) {
            candidate += 2_u8;
        }
        candidate
    }

    #[test]
    fn sizes_other_than_the_three_are_refused() {
        for bits in [512_u64, 1024, 2047, 2049, 2056, 3071, 4097, 8192] {
            let modulus = (BigUint::from(1_u8) << (bits - 1)) + 1_u8;
            assert_eq!(judge(&modulus), Err(KeyError::RsaSize { bits }));
        }
        assert_eq!(judge(&BigUint::from(0_u8)), Err(KeyError::RsaSize { bits: 0 }));
    }

    #[test]
    fn sound_moduli_of_the_three_sizes_are_accepted() {
        for (bits, kind) in [(1024, KeyKind::Rsa2048), (1536, KeyKind::Rsa3072), (2048, KeyKind::Rsa4096)] {
            let modulus = prime(bits) * prime(bits);
            assert_eq!(judge(&modulus), Ok(kind));
            assert_eq!(check_not_prime(&key(&modulus, EXPONENT)), Ok(()));
        }
    }

    #[test]
    fn only_the_exponent_65537_is_accepted() {
        let modulus = prime(1024) * prime(1024);
        for exponent in [&[][..], &[1], &[3], &[17], &[1, 0, 0], &[1, 0, 2], &[1, 0, 0, 0, 1], &[1, 0, 1, 0]]
        {
            let judged = check(NULL, &key(&modulus, exponent));
            assert_eq!(judged, weak("its public exponent is not 65537"), "{exponent:?}");
        }
    }

    #[test]
    fn parameters_must_be_null() {
        let key = key(&(prime(1024) * prime(1024)), EXPONENT);
        assert!(check(NULL, &key).is_ok());
        for parameters in [&[][..], &[5, 1, 0], &[0x30, 0], &[5, 0, 5, 0]] {
            assert_eq!(check(parameters, &key).unwrap_err().code(), "key_malformed");
        }
    }

    #[test]
    fn numbers_that_are_negative_padded_or_followed_are_refused() {
        let modulus = (prime(1024) * prime(1024)).to_bytes_be();
        let negative = build::tlv(der::INTEGER, &modulus);
        let padded = build::tlv(der::INTEGER, &[&[0, 0], &modulus[..]].concat());
        let sound = unsigned(&modulus);
        let exponent = unsigned(EXPONENT);
        let cases = [
            seq(&[negative, exponent.clone()]),
            seq(&[padded, exponent.clone()]),
            seq(&[sound.clone(), build::tlv(der::INTEGER, &[0, 1, 0, 1])]),
            seq(std::slice::from_ref(&sound)),
            seq(&[sound.clone(), exponent.clone(), exponent.clone()]),
            [seq(&[sound, exponent]), NULL_ELEMENT.to_vec()].concat(),
            vec![],
        ];
        for key in cases {
            assert_eq!(check(NULL, &key).unwrap_err().code(), "key_malformed");
        }
    }

    #[test]
    fn even_moduli_are_refused() {
        let modulus = prime(1024) * prime(1024) - 1_u8;
        assert_eq!(judge(&modulus), weak("its modulus is even"));
    }

    #[test]
    fn every_prime_below_the_bound_is_found_as_a_factor() {
        let large = BigUint::from(3_u8) << 2046_u16;
        for prime in [3_u64, 5, 7, 251, 257, 751, 32_749, 65_519, 65_521] {
            let modulus = odd(&large / (prime * 2) * 2_u8) * prime;
            assert_eq!(judge(&modulus), weak("its modulus has a small factor"), "{prime}");
        }
        assert_eq!(CHUNKS.iter().flatten().map(|chunk| chunk.primes.len()).sum::<usize>(), 6541);
        assert!(CHUNKS.iter().flatten().all(|chunk| chunk.product.wrapping_mul(chunk.inverse) == 1));
    }

    #[test]
    fn divisibility_agrees_with_division() {
        let primes: Vec<u64> = primes_below(SMALL_PRIMES_BELOW).skip(1).collect();
        for number in [prime(256), prime(192) * 65_521_u32, prime(128) * 3_u8 * 7_u8, prime(64)] {
            let digits: Vec<u64> = number.iter_u64_digits().collect();
            for (chunks, primes) in CHUNKS.iter().zip(primes.chunks(16)) {
                let divides = primes.iter().any(|prime| remainder(&number, *prime) == 0);
                assert_eq!(any_divides(chunks, &digits), divides);
            }
        }
    }

    #[test]
    fn squares_and_higher_powers_are_refused() {
        for (bits, degree) in [(1024_usize, 2_u32), (512, 4), (586, 7), (373, 11), (241, 17), (140, 29)] {
            let modulus = prime(bits).pow(degree);
            let judged = weakness(&modulus);
            assert_eq!(judged, Some("its modulus is a power"), "degree {degree}");
        }
        assert!(!is_power(&(prime(1024) * prime(1024))));
    }

    #[test]
    fn close_primes_are_refused() {
        let p = prime(1024);
        let q = next_prime(&p + 2_u8);
        assert_eq!(judge(&(&p * &q)), weak("its two primes are too close together"));
    }

    #[test]
    fn primes_within_the_rounds_are_close_and_beyond_them_are_not() {
        let (one, base) = (BigUint::from(1_u8), BigUint::from(1_u8) << 1023_u16);
        // (a - b)(a + b) needs about b^2 / 2a rounds.
        for (rounds, close) in [(1_u64, true), (50, true), (109, true), (130, false)] {
            let b = (&base * 2_u8 * rounds).sqrt();
            let b = if b.bit(0) { b } else { b + &one };
            let modulus = (&base - &b) * (&base + &b);
            assert_eq!(has_close_primes(&modulus), close, "{rounds} rounds");
        }
    }

    #[test]
    fn primes_with_long_runs_of_equal_bits_are_refused() {
        // Four random bits in each 32, and what it takes to be a prime.
        let sparse = || {
            let bits = prime(128).to_bytes_be();
            let limbs = bits.iter().flat_map(|byte| [byte & 15, byte >> 4]);
            let number = limbs.fold(BigUint::from(3_u8), |number, limb| (number << 32_u8) + limb);
            next_prime((number << 30_u8) + 1_u8)
        };
        let modulus = sparse() * sparse();
        let size = modulus.bits();
        assert_eq!(weakness(&modulus), Some("its modulus is not random"), "{size} bits");
    }

    #[test]
    fn the_mark_of_infineons_generator_is_refused() {
        let product = ROCA_PRIMES.iter().fold(BigUint::from(2_u8), |product, prime| product * *prime);
        let shaped = |power: u32, bits: u64| {
            let generator = BigUint::from(65_537_u32).modpow(&BigUint::from(power), &product);
            let mut candidate = (BigUint::from(3_u8) << (bits - 2)) / &product * &product + generator;
            while BigUint::from(2_u8).modpow(&(&candidate - 1_u8), &candidate) != BigUint::from(1_u8) {
                candidate += &product;
            }
            candidate
        };
        let modulus = shaped(1_234_567, 1024) * shaped(7_654_321, 1024);
        assert_eq!(judge(&modulus), weak("it has the mark of Infineon's broken generator (ROCA)"));
    }

    #[test]
    fn a_prime_modulus_is_refused_by_its_own_check() {
        let modulus = prime(2048);
        let refused = check_not_prime(&key(&modulus, EXPONENT));
        assert_eq!(refused, Err(KeyError::Weak("its modulus is a prime")));
    }
}
