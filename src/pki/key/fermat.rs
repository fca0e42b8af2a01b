//! Fermat's test to the base 2, by Montgomery's squaring, column by column (Handbook of Applied
//! Cryptography, sections 14.2.4 and 14.3.2): less than half the time of a general modular power.
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
    let (mut factors, mut squared) = (Vec::new(), Vec::new());
    // Of n - 1, the highest bit first: it is n without its lowest bit.
    for place in (0..modulus.bits).rev() {
        modulus.square(&mut power, &mut factors, &mut squared);
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

    /// Squares `number`, column by column: digits of the square and of the multiple of the modulus that
    /// makes its lower half zero. `factors` is room for as many digits.
    fn square(&self, number: &mut [u64], factors: &mut Vec<u64>, squared: &mut Vec<u64>) {
        let length = self.digits.len();
        factors.clear();
        squared.clear();
        let mut sum = Sum::default();
        for column in 0..length {
            sum.add_square_column(number, 0, column);
            sum.add_products(factors, self.digits.get(1..=column).unwrap_or_default());
            let factor = sum.lowest().wrapping_mul(self.negative_inverse);
            factors.push(factor);
            sum.add(factor, self.digits.first().copied().unwrap_or_default());
            sum.shift();
        }
        for column in length..length.saturating_mul(2) {
            let first = column.saturating_sub(length).saturating_add(1);
            sum.add_square_column(number, first, length.saturating_sub(1));
            let (left, right) = (factors.get(first..), self.digits.get(first..));
            sum.add_products(left.unwrap_or_default(), right.unwrap_or_default());
            squared.push(sum.lowest());
            sum.shift();
        }
        number.iter_mut().zip(squared).for_each(|(digit, squared)| *digit = *squared);
        self.reduce_once(number, sum.lowest() == 1);
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

/// A sum of products of digits, in 192 bits.
#[derive(Default)]
struct Sum {
    low: u128,
    high: u64,
}

impl Sum {
    fn add(&mut self, left: u64, right: u64) {
        let (low, overflow) = self.low.overflowing_add(u128::from(left).wrapping_mul(u128::from(right)));
        self.low = low;
        self.high = self.high.wrapping_add(u64::from(overflow));
    }

    /// Adds the first of `left` times the last of `right`, and so on towards each other's ends.
    fn add_products(&mut self, left: &[u64], right: &[u64]) {
        left.iter().zip(right.iter().rev()).for_each(|(left, right)| self.add(*left, *right));
    }

    /// Adds the products of the digits from place `first` to place `last`, each with the one that
    /// stands as far from the other end. Pairs of different digits come twice and are counted so.
    fn add_square_column(&mut self, digits: &[u64], first: usize, last: usize) {
        let Some(digits) = digits.get(first..=last) else { return };
        let half = digits.len() / 2;
        let (lower, upper) = digits.split_at_checked(half).unwrap_or_default();
        let mut pairs = Self::default();
        pairs.add_products(lower, upper);
        self.add_twice(&pairs);
        if let (true, Some(middle)) = (digits.len() % 2 == 1, upper.first()) {
            self.add(*middle, *middle);
        }
    }

    fn add_twice(&mut self, other: &Self) {
        for _ in 0..2 {
            let (low, overflow) = self.low.overflowing_add(other.low);
            self.low = low;
            self.high = self.high.wrapping_add(other.high).wrapping_add(u64::from(overflow));
        }
    }

    fn lowest(&self) -> u64 {
        u64::try_from(self.low & u128::from(u64::MAX)).unwrap_or_default()
    }

    fn shift(&mut self) {
        self.low = self.low >> 64 | u128::from(self.high) << 64;
        self.high = 0;
    }
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
        fn every_number_is_judged_as_by_a_general_power(octets in prop::collection::vec(any::<u8>(), 0..48)) {
            let number = BigUint::from_bytes_be(&octets);
            prop_assert_eq!(passes(&number), by_general_power(&number));
        }
    }
}
