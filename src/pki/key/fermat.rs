//! Fermat's test to the base 2, by Montgomery's squaring (Handbook of Applied Cryptography, sections
//! 14.3.2 and 14.2.4): a third of the time that a general modular power takes.
use num_bigint::BigUint;

use super::rsa::inverse;

/// Whether 2 to the power of n - 1 is 1 modulo `modulus`, n. A prime passes, and so do a few
/// composites that are as useless as a modulus. An even number and 1 do not pass.
pub(super) fn passes(modulus: &BigUint) -> bool {
    if !modulus.bit(0) || modulus.bits() < 2 {
        return false;
    }
    let modulus = Modulus::new(modulus);
    let mut power = modulus.one.clone();
    let mut wide = vec![0; modulus.digits.len().saturating_mul(2)];
    // Of n - 1, the highest bit first: it is n without its lowest bit.
    for place in (0..modulus.bits).rev() {
        modulus.square(&mut power, &mut wide);
        if place > 0 && modulus.bit(place) {
            modulus.double(&mut power);
        }
    }
    power == modulus.one
}

/// An odd number, with what Montgomery's reduction by it needs. Numbers are 64-bit digits, the
/// lowest first, and stand for themselves times R, which is 2 to the power of all bits of the digits.
struct Modulus {
    digits: Vec<u64>,
    bits: u64,
    /// R modulo the number: it stands for 1.
    one: Vec<u64>,
    /// `digits[0] * negative_inverse` is -1 modulo 2^64.
    negative_inverse: u64,
}

impl Modulus {
    fn new(number: &BigUint) -> Self {
        let digits: Vec<u64> = number.iter_u64_digits().collect();
        let lowest = digits.first().copied().unwrap_or_default();
        let r = BigUint::from(1_u8) << digits.len().saturating_mul(64);
        let mut one: Vec<u64> = (r % number).iter_u64_digits().collect();
        one.resize(digits.len(), 0);
        Self { bits: number.bits(), one, negative_inverse: inverse(lowest).wrapping_neg(), digits }
    }

    fn bit(&self, place: u64) -> bool {
        let digit = usize::try_from(place / 64).ok().and_then(|digit| self.digits.get(digit));
        digit.is_some_and(|digit| digit >> (place % 64) & 1 == 1)
    }

    /// Squares `number`. `wide` is room for twice as many digits.
    fn square(&self, number: &mut [u64], wide: &mut [u64]) {
        square_in_full(number, wide);
        let mut overflow = false;
        for place in 0..self.digits.len() {
            let Some((lowest, rest)) = wide.get_mut(place..).and_then(<[u64]>::split_first_mut) else {
                return;
            };
            let factor = lowest.wrapping_mul(self.negative_inverse);
            let Some((first, others)) = self.digits.split_first() else { return };
            // Makes the lowest digit zero, which is then left out.
            let (_, carry) = factor.carrying_mul_add(*first, *lowest, 0);
            let carry = add_product(rest, factor, others, carry);
            if let Some(next) = rest.get_mut(others.len()) {
                (*next, overflow) = next.carrying_add(carry, overflow);
            }
        }
        let high = wide.get(self.digits.len()..).unwrap_or_default();
        number.iter_mut().zip(high).for_each(|(digit, high)| *digit = *high);
        self.reduce_once(number, overflow);
    }

    fn double(&self, number: &mut [u64]) {
        let mut carry = false;
        for digit in number.iter_mut() {
            (*digit, carry) = digit.carrying_add(*digit, carry);
        }
        self.reduce_once(number, carry);
    }

    /// Subtracts the modulus from a number below twice the modulus, if it is not below the modulus.
    fn reduce_once(&self, number: &mut [u64], overflow: bool) {
        if overflow || number.iter().rev().ge(self.digits.iter().rev()) {
            let mut borrow = false;
            for (digit, other) in number.iter_mut().zip(&self.digits) {
                (*digit, borrow) = digit.borrowing_sub(*other, borrow);
            }
        }
    }
}

/// The square of `number` in twice as many digits: the products of different digits, each once, then
/// all of that twice, and the squares of the digits.
fn square_in_full(number: &[u64], wide: &mut [u64]) {
    wide.fill(0);
    for (place, digit) in number.iter().enumerate() {
        let higher = number.get(place.saturating_add(1)..).unwrap_or_default();
        let start = place.saturating_mul(2).saturating_add(1);
        let Some(to) = wide.get_mut(start..) else { return };
        let carry = add_product(to, *digit, higher, 0);
        if let Some(next) = to.get_mut(higher.len()) {
            *next = carry;
        }
    }
    let (mut top, mut carry) = (0, 0);
    for (pair, digit) in wide.chunks_exact_mut(2).zip(number) {
        let [low, high] = pair else { return };
        let (twice_low, twice_high) = (*low << 1 | top, *high << 1 | *low >> 63);
        top = *high >> 63;
        let (square, next) = digit.carrying_mul_add(*digit, twice_low, carry);
        let overflow;
        *low = square;
        (*high, overflow) = twice_high.overflowing_add(next);
        carry = u64::from(overflow);
    }
}

/// Adds `factor` times `number` to the lower digits of `to`, and returns what is carried above them.
fn add_product(to: &mut [u64], factor: u64, number: &[u64], carry: u64) -> u64 {
    to.iter_mut().zip(number).fold(carry, |carry, (digit, other)| {
        let (low, high) = factor.carrying_mul_add(*other, *digit, carry);
        *digit = low;
        high
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::samples;
    use proptest::prelude::*;

    fn by_general_power(modulus: &BigUint) -> bool {
        let one = BigUint::from(1_u8);
        modulus.bit(0) && modulus > &one && BigUint::from(2_u8).modpow(&(modulus - &one), modulus) == one
    }

    #[test]
    fn primes_pass_and_products_of_two_do_not() {
        for bits in [64, 65, 127, 1024, 2048] {
            let (p, q) = (samples::prime(bits), samples::prime(bits));
            let (p, q) = (BigUint::from_bytes_be(&p), BigUint::from_bytes_be(&q));
            assert!(passes(&p) && passes(&q), "{bits}");
            assert!(!passes(&(p * q)), "{bits}");
        }
    }

    #[test]
    fn small_numbers_are_judged_as_by_a_general_power() {
        for number in (0..3_000_u32).map(BigUint::from) {
            assert_eq!(passes(&number), by_general_power(&number), "{number}");
        }
    }

    #[test]
    fn digits_full_of_ones_carry_rightly() {
        for bits in [64_u32, 127, 128, 192, 521, 607, 640, 1279, 2048, 2203] {
            let number = (BigUint::from(1_u8) << bits) - 1_u8;
            assert_eq!(passes(&number), by_general_power(&number), "2^{bits} - 1");
        }
    }

    proptest! {
        #[test]
        fn every_square_is_the_one_of_a_general_library(octets in prop::collection::vec(prop_oneof![any::<u8>(), Just(0xff), Just(0)], 1..80)) {
            let number = BigUint::from_bytes_be(&octets);
            let digits: Vec<u64> = number.iter_u64_digits().collect();
            let mut wide = vec![7; digits.len() * 2];
            square_in_full(&digits, &mut wide);
            let mut square: Vec<u64> = (&number * &number).iter_u64_digits().collect();
            square.resize(wide.len(), 0);
            prop_assert_eq!(wide, square);
        }

        #[test]
        fn every_number_is_judged_as_by_a_general_power(octets in prop::collection::vec(any::<u8>(), 0..48)) {
            let number = BigUint::from_bytes_be(&octets);
            prop_assert_eq!(passes(&number), by_general_power(&number));
        }
    }
}
