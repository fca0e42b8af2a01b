//! Ed25519 keys (RFC 8410, RFC 8032 section 5.1.3).
use std::sync::LazyLock;

use num_bigint::BigUint;

use super::{KeyError, KeyKind};

/// id-Ed25519 (RFC 8410 section 3).
pub(super) const OID: &[u8] = &[0x2b, 0x65, 0x70];

/// The y coordinates of the eight points of small order, big-endian. A signature that anyone can
/// write verifies under them.
const SMALL_ORDER: [&[u8]; 5] = [
    b"0",
    b"1",
    b"7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffec",
    b"05fc536d880238b13933c6d305acdfd5f098eff289f4c345b027b2c28f95e826",
    b"7a03ac9277fdc74ec6cc392cfa53202a0f67100d760b3cba4fd84d3d706a17c7",
];

static CURVE: LazyLock<Curve> = LazyLock::new(|| Curve {
    prime: (BigUint::from(1_u8) << 255_u8) - 19_u8,
    half: ((BigUint::from(1_u8) << 255_u8) - 20_u8) >> 1_u8,
    d: hex(b"52036cee2b6ffe738cc740797779e89800700a4d4141d8ab75eb4dca135978a3"),
    small_order: SMALL_ORDER.map(hex),
});

struct Curve {
    prime: BigUint,
    /// (prime - 1) / 2, the exponent of Euler's criterion.
    half: BigUint,
    d: BigUint,
    small_order: [BigUint; 5],
}

/// Checks the parameters and the point of an Ed25519 `SubjectPublicKeyInfo`.
pub(super) fn check(parameters: &[u8], key: &[u8]) -> Result<KeyKind, KeyError> {
    if !parameters.is_empty() {
        return Err(KeyError::Malformed("an Ed25519 key has no parameters"));
    }
    let mut little_endian =
        <[u8; 32]>::try_from(key).map_err(|_| KeyError::Malformed("an Ed25519 key has 32 bytes"))?;
    if let Some(sign_of_x) = little_endian.last_mut() {
        *sign_of_x &= 0x7f;
    }
    let y = BigUint::from_bytes_le(&little_endian);
    if CURVE.small_order.contains(&(&y % &CURVE.prime)) {
        return Err(KeyError::Weak("its point has small order"));
    }
    if y >= CURVE.prime {
        return Err(KeyError::Malformed("its coordinate is not reduced"));
    }
    if !CURVE.has_y(&y) {
        return Err(KeyError::Malformed("its point is not on the curve"));
    }
    Ok(KeyKind::Ed25519)
}

impl Curve {
    /// Whether x^2 = (y^2 - 1) / (d y^2 + 1) has a solution: whether the product of the two is a
    /// square. One modular power, about 25 µs.
    fn has_y(&self, y: &BigUint) -> bool {
        let y_squared = y * y % &self.prime;
        let numerator = &y_squared + (&self.prime - 1_u8);
        let denominator = &self.d * &y_squared + 1_u8;
        let product = numerator * denominator % &self.prime;
        product.modpow(&self.half, &self.prime) == BigUint::from(1_u8)
    }
}

fn hex(digits: &[u8]) -> BigUint {
    BigUint::parse_bytes(digits, 16).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::samples;

    fn encoded(y: &BigUint, sign: u8) -> Vec<u8> {
        let mut octets = y.to_bytes_le();
        octets.resize(32, 0);
        octets[31] |= sign << 7;
        octets
    }

    #[test]
    fn keys_of_openssl_are_accepted() {
        for _ in 0..4 {
            let spki = samples::spki(&samples::private_key_of("ed25519"));
            assert_eq!(check(&[], &spki[12..]), Ok(KeyKind::Ed25519));
        }
    }

    #[test]
    fn points_of_small_order_are_refused_in_every_encoding() {
        for y in &CURVE.small_order {
            for sign in [0, 1] {
                assert_eq!(check(&[], &encoded(y, sign)).unwrap_err().code(), "key_weak", "{y:x}");
            }
        }
        for small in [0_u8, 1] {
            let unreduced = &CURVE.prime + small;
            assert_eq!(check(&[], &encoded(&unreduced, 0)).unwrap_err().code(), "key_weak");
        }
    }

    #[test]
    fn the_small_order_points_are_on_the_curve_and_have_order_eight_at_most() {
        // Doubling y: y' = (y^2 + x^2) / (2 - (y^2 - x^2)), with x^2 from the curve's equation.
        let invert = |n: &BigUint| n.modpow(&(&CURVE.prime - 2_u8), &CURVE.prime);
        let double = |y: &BigUint| {
            let y2 = y * y % &CURVE.prime;
            let x2 = (&y2 + &CURVE.prime - 1_u8) * invert(&(&CURVE.d * &y2 + 1_u8)) % &CURVE.prime;
            let below = (&CURVE.prime + 2_u8 + &x2 + &CURVE.prime - &y2) % &CURVE.prime;
            (y2 + x2) * invert(&below) % &CURVE.prime
        };
        for y in &CURVE.small_order {
            let eightfold = double(&double(&double(y)));
            assert_eq!(eightfold, BigUint::from(1_u8), "{y:x}");
        }
    }

    #[test]
    fn unreduced_and_impossible_coordinates_are_refused() {
        for unreduced in 2_u8..19 {
            let y = &CURVE.prime + unreduced;
            assert_eq!(check(&[], &encoded(&y, 0)).unwrap_err().code(), "key_malformed", "p + {unreduced}");
        }
        // 2 is the lowest coordinate that no point has.
        let error = check(&[], &encoded(&BigUint::from(2_u8), 0)).unwrap_err();
        assert_eq!(error, KeyError::Malformed("its point is not on the curve"));
    }

    #[test]
    fn parameters_and_other_lengths_are_refused() {
        let spki = samples::spki(&samples::private_key_of("ed25519"));
        let key = &spki[12..];
        assert_eq!(check(&[5, 0], key).unwrap_err().code(), "key_malformed");
        for wrong in [&key[1..], &spki[11..], &[]] {
            assert_eq!(check(&[], wrong).unwrap_err().code(), "key_malformed");
        }
    }
}
