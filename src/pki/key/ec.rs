//! Keys on the three NIST curves, as named curves and uncompressed points (RFC 5480).
use std::sync::LazyLock;

use num_bigint::BigUint;

use super::{KeyError, KeyKind};
use crate::pki::der;

/// id-ecPublicKey (RFC 5480 section 2.1.1).
pub(super) const OID: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];

/// prime256v1, secp384r1 and secp521r1 (FIPS 186-4 appendix D.1.2). All have a = -3.
static CURVES: LazyLock<[Curve; 3]> = LazyLock::new(|| {
    [
        Curve {
            kind: KeyKind::P256,
            oid: &[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7],
            coordinate_bytes: 32,
            prime: (power_of_two(256) + power_of_two(192) + power_of_two(96)) - power_of_two(224) - 1_u8,
            b: hex(b"5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604b"),
        },
        Curve {
            kind: KeyKind::P384,
            oid: &[0x2b, 0x81, 0x04, 0x00, 0x22],
            coordinate_bytes: 48,
            prime: (power_of_two(384) + power_of_two(32)) - power_of_two(128) - power_of_two(96) - 1_u8,
            b: hex(
                b"b3312fa7e23ee7e4988e056be3f82d19181d9c6efe8141120314088f5013875ac656398d8a2ed19d2a85c8edd3ec2aef",
            ),
        },
        Curve {
            kind: KeyKind::P521,
            oid: &[0x2b, 0x81, 0x04, 0x00, 0x23],
            coordinate_bytes: 66,
            prime: power_of_two(521) - 1_u8,
            b: hex(
                b"51953eb9618e1c9a1f929a21a0b68540eea2da725b99b315f3b8b489918ef109e156193951ec7e937b1652c0bd3bb1bf073573df883d2c34f1ef451fd46b503f00",
            ),
        },
    ]
});

struct Curve {
    kind: KeyKind,
    oid: &'static [u8],
    coordinate_bytes: usize,
    prime: BigUint,
    b: BigUint,
}

/// Checks the parameters of an elliptic-curve `SubjectPublicKeyInfo`, and the form of its point.
pub(super) fn check(parameters: &[u8], point: &[u8]) -> Result<KeyKind, KeyError> {
    let curve = curve(parameters)?;
    coordinates(curve, point)?;
    Ok(curve.kind)
}

/// Checks that the point is on its curve.
pub(super) fn check_point(parameters: &[u8], point: &[u8]) -> Result<(), KeyError> {
    let curve = curve(parameters)?;
    let (x, y) = coordinates(curve, point)?;
    if curve.has_point(&BigUint::from_bytes_be(x), &BigUint::from_bytes_be(y)) {
        Ok(())
    } else {
        Err(KeyError::Malformed("its point is not on its curve"))
    }
}

/// The two coordinates of an uncompressed point (SEC 1 section 2.3.3).
fn coordinates<'p>(curve: &Curve, point: &'p [u8]) -> Result<(&'p [u8], &'p [u8]), KeyError> {
    let [form, coordinates @ ..] = point else {
        return Err(KeyError::Malformed("it has no point"));
    };
    match form {
        4 => {}
        2 | 3 => {
            return Err(KeyError::Malformed("its point is compressed, use `-conv_form uncompressed`"));
        }
        _ => return Err(KeyError::Malformed("its point is not in uncompressed form")),
    }
    if coordinates.len() != curve.coordinate_bytes.saturating_mul(2) {
        return Err(KeyError::Malformed("its point has the wrong length for its curve"));
    }
    Ok(coordinates.split_at(curve.coordinate_bytes))
}

/// What a curve is called, accepted or not; none for explicit parameters.
pub(super) fn described(parameters: &[u8]) -> Option<String> {
    let name = der::only(parameters, der::OID).ok()?.value;
    let known = CURVES.iter().find(|curve| curve.oid == name);
    Some(known.map_or_else(|| curve_name(name).to_ascii_lowercase(), |curve| curve.kind.as_str().to_owned()))
}

/// Whether these parameters name P-256.
pub(super) fn is_p256(parameters: &[u8]) -> bool {
    curve(parameters).is_ok_and(|curve| curve.kind == KeyKind::P256)
}

fn curve(parameters: &[u8]) -> Result<&'static Curve, KeyError> {
    let Ok(name) = der::only(parameters, der::OID) else {
        let explicit = "its curve must be named, use `-param_enc named_curve`";
        return Err(KeyError::Malformed(explicit));
    };
    let known = CURVES.iter().find(|curve| curve.oid == name.value);
    known.ok_or_else(|| KeyError::KindNotAccepted(curve_name(name.value)))
}

fn curve_name(oid: &[u8]) -> String {
    match oid {
        [0x2b, 0x81, 0x04, 0x00, 0x0a] => "secp256k1".to_owned(),
        [0x2b, 0x81, 0x04, 0x00, 0x21] => "P-224".to_owned(),
        other => format!("elliptic curve {}", der::dotted(other)),
    }
}

impl Curve {
    /// Both coordinates are below the prime, and y^2 = x^3 - 3x + b. The curves have prime order,
    /// so every such point is a sound key.
    fn has_point(&self, x: &BigUint, y: &BigUint) -> bool {
        if x >= &self.prime || y >= &self.prime {
            return false;
        }
        let right = x * x % &self.prime * x + &self.b;
        let left = y * y + x * 3_u8;
        left % &self.prime == right % &self.prime
    }
}

fn power_of_two(exponent: u32) -> BigUint {
    BigUint::from(1_u8) << exponent
}

fn hex(digits: &[u8]) -> BigUint {
    BigUint::parse_bytes(digits, 16).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::der::build::oid;
    use crate::pki::samples;

    fn parts(kind: KeyKind) -> (Vec<u8>, Vec<u8>) {
        let curve = CURVES.iter().find(|curve| curve.kind == kind).unwrap();
        let spki = samples::spki(&samples::private_key_of(kind.as_str()));
        let point = spki[spki.len() - 2 * curve.coordinate_bytes - 1..].to_vec();
        (oid(curve.oid), point)
    }

    #[test]
    fn points_of_openssl_lie_on_their_own_curve_only() {
        for kind in [KeyKind::P256, KeyKind::P384, KeyKind::P521] {
            let (name, point) = parts(kind);
            assert_eq!((check(&name, &point), check_point(&name, &point)), (Ok(kind), Ok(())));
            for bit in [0, 8, 9, point.len() * 4, point.len() * 8 - 1] {
                let mut changed = point.clone();
                changed[bit / 8] ^= 1 << (bit % 8);
                let refused = check(&name, &changed).and_then(|_| check_point(&name, &changed)).unwrap_err();
                assert_eq!(refused.code(), "key_malformed", "{kind:?} bit {bit}");
            }
        }
    }

    #[test]
    fn coordinates_that_are_not_reduced_are_refused() {
        // x = 0 lies on P-256; so does x = p for a reader that reduces.
        let curve = &CURVES[0];
        let root = curve.b.modpow(&((&curve.prime + 1_u8) >> 2_u8), &curve.prime);
        let zero = [&[4][..], &[0; 32], &root.to_bytes_be()].concat();
        let unreduced = [&[4][..], &curve.prime.to_bytes_be(), &root.to_bytes_be()].concat();
        let name = oid(curve.oid);
        assert_eq!(check_point(&name, &zero), Ok(()));
        assert_eq!(check_point(&name, &unreduced).unwrap_err().code(), "key_malformed");
    }

    #[test]
    fn other_forms_and_lengths_are_refused() {
        let (name, point) = parts(KeyKind::P256);
        let with_form = |form: u8, length: usize| [&[form], &point[1..length]].concat();
        let cases = [
            vec![],
            vec![0],
            vec![4],
            with_form(2, 33),
            with_form(3, 33),
            with_form(6, 65),
            with_form(7, 65),
            with_form(4, 64),
            [&point[..], &[0]].concat(),
            [&[4][..], &[0; 64]].concat(),
        ];
        for point in cases {
            let refused = check(&name, &point).and_then(|_| check_point(&name, &point)).unwrap_err();
            assert_eq!(refused.code(), "key_malformed", "{point:02x?}");
        }
    }

    #[test]
    fn explicit_and_missing_parameters_are_refused() {
        let options = ["ec_paramgen_curve:P-256", "ec_param_enc:explicit"];
        let explicit = samples::spki(&samples::private_key("EC", &options));
        let error = super::super::PublicKey::from_spki(&explicit).unwrap_err();
        assert!(error.to_string().contains("-param_enc named_curve"), "{error}");
        let (name, point) = parts(KeyKind::P256);
        for parameters in [&[][..], &[5, 0], &[&name[..], &[5, 0]].concat()] {
            assert_eq!(check(parameters, &point).unwrap_err().code(), "key_malformed");
        }
    }
}
