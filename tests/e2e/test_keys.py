"""Weak and malformed keys are refused for what they are, by holders who sign with them; badkeys is asked too."""

import badkeys
import certificates
import der
import pytest
import requests_by_python as python_made
import weak_keys
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from weak_keys import RsaKey

# The lists of keys that were found in the open are not in badkeys' package.
CHECKS = [check for check in {**badkeys.defaultchecks, **badkeys.warningchecks} if check != "blocklist"]
EC_PUBLIC_KEY, P256, ED25519 = "1.2.840.10045.2.1", "1.2.840.10045.3.1.7", "1.3.101.112"
P256_PRIME = 2**256 - 2**224 + 2**192 + 2**96 - 1
ED25519_PRIME = 2**255 - 19


@pytest.fixture
def refused(server):
    """Has a request refused for its key, and sees that the record names this key."""

    def sign_and_be_refused(csr: bytes, spki: bytes, code: str) -> str:
        problem = server.sign(server.alice, csr).problem(422, code)
        newest = server.get(server.auditor, "/v1/refusals", limit=1).json()["items"][0]
        assert newest["request_id"] == problem["request_id"]
        assert newest["spki_sha256"] == certificates.sha256_hex(spki) and newest["key_kind"]
        return problem["detail"]

    return sign_and_be_refused


@pytest.mark.parametrize("bits", [2048, 2048, 2048, 3072, 4096])
def test_sound_keys_are_accepted_and_badkeys_agrees(server, bits):
    key = weak_keys.of_bits(bits)
    assert not badkeys.checkrsa(key.modulus, key.exponent, checks=CHECKS)
    server.sign(server.alice, weak_keys.request(key)).issued()


WEAK = {
    "close primes": (weak_keys.with_close_primes, "too close together"),
    "a factor 3": (lambda: weak_keys.with_a_small_factor(3), "small factor"),
    "a factor 251": (lambda: weak_keys.with_a_small_factor(251), "small factor"),
    "a factor 65521": (lambda: weak_keys.with_a_small_factor(65521), "small factor"),
    "an even modulus": (lambda: weak_keys.with_a_small_factor(2), "even"),
    "Infineon's mark": (weak_keys.by_infineon, "ROCA"),
    "a square": (lambda: weak_keys.a_power(2), "power"),
    "a fourth power": (lambda: weak_keys.a_power(4), "power"),
    "a prime": (weak_keys.a_prime_modulus, "prime"),
    "sparse primes": (weak_keys.with_sparse_primes, "not random"),
    "the exponent 1": (lambda: weak_keys.with_exponent(1), "exponent"),
    "the exponent 5": (lambda: weak_keys.with_exponent(5), "exponent"),
    "the exponent 65539": (lambda: weak_keys.with_exponent(65539), "exponent"),
    "a huge exponent": (lambda: weak_keys.with_exponent(2**521 - 1), "exponent"),
}
# Primes by themselves are no business of badkeys.
UNKNOWN_TO_BADKEYS = {"a prime"}


@pytest.mark.parametrize("name", WEAK)
def test_a_weak_key_is_refused_by_name_and_badkeys_agrees(refused, name):
    make, said = WEAK[name]
    key = make()
    assert bool(badkeys.checkrsa(key.modulus, key.exponent, checks=CHECKS)) == (name not in UNKNOWN_TO_BADKEYS)
    assert said in refused(weak_keys.request(key), key.spki(), "key_weak")


@pytest.mark.parametrize("exponent", [0, 2, 65536])
def test_an_even_exponent_under_which_nobody_can_sign_is_refused(refused, exponent):
    key = weak_keys.of_bits(2048)
    spki = RsaKey(key.factors, exponent).spki()
    assert "exponent" in refused(weak_keys.request(key, spki), spki, "key_weak")


@pytest.mark.parametrize("bits", [1024, 2047, 2049, 2056, 3071, 4097])
def test_other_sizes_are_refused(refused, bits):
    key = weak_keys.of_bits(bits)
    assert key.modulus.bit_length() == bits
    assert f"{bits} bits" in refused(weak_keys.request(key), key.spki(), "key_size_not_accepted")


def test_a_key_that_would_take_long_to_verify_with_is_refused_unread(refused):
    key = weak_keys.of_mersenne_primes()
    refused(weak_keys.request(key), key.spki(), "key_kind_not_accepted")


def rsa_parts(key: RsaKey) -> tuple[bytes, bytes]:
    return der.unsigned(key.modulus), der.unsigned(key.exponent)


def rsa_spki(public_key: bytes, parameters: bytes = weak_keys.NULL, unused: int = 0) -> bytes:
    algorithm = der.sequence(der.oid(weak_keys.RSA_ENCRYPTION), parameters)
    return der.sequence(algorithm, der.tlv(der.BIT_STRING, bytes([unused]) + public_key))


MALFORMED = {
    "no parameters": lambda n, e: rsa_spki(der.sequence(n, e), b""),
    "parameters that are a sequence": lambda n, e: rsa_spki(der.sequence(n, e), der.sequence()),
    "two parameters": lambda n, e: rsa_spki(der.sequence(n, e), weak_keys.NULL * 2),
    "NULL with content": lambda n, e: rsa_spki(der.sequence(n, e), b"\x05\x01\x00"),
    "unused bits": lambda n, e: rsa_spki(der.sequence(n, e), unused=1),
    "a third number": lambda n, e: rsa_spki(der.sequence(n, e, e)),
    "bytes after the key": lambda n, e: rsa_spki(der.sequence(n, e) + b"\0"),
    "a padded exponent": lambda n, e: rsa_spki(der.sequence(n, der.tlv(der.INTEGER, b"\x00\x01\x00\x01"))),
    "a padded modulus": lambda n, e: rsa_spki(der.sequence(der.tlv(der.INTEGER, b"\0" + der.split(n)[1]), e)),
    "a negative modulus": lambda n, e: rsa_spki(der.sequence(der.tlv(der.INTEGER, der.split(n)[1][1:]), e)),
    "a length that is not minimal": lambda n, e: rsa_spki(b"\x30\x83\x00" + der.sequence(n, e)[2:]),
}


@pytest.mark.parametrize("make", MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_rsa_key_is_refused(refused, make):
    key = weak_keys.of_bits(2048)
    spki = make(*rsa_parts(key))
    refused(weak_keys.request(key, spki), spki, "key_malformed")


def ec_request(key: ec.EllipticCurvePrivateKey, spki: bytes) -> bytes:
    return python_made.pem(python_made.signed(key, weak_keys.info_of(spki)))


def ec_spki(point: bytes, parameters: bytes | None = None) -> bytes:
    parameters = der.oid(P256) if parameters is None else parameters
    return der.sequence(der.sequence(der.oid(EC_PUBLIC_KEY), parameters), der.bits(point))


def point(key, form=serialization.PublicFormat.UncompressedPoint) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.X962, form)


def hybrid(key) -> bytes:
    uncompressed = point(key)
    return bytes([6 | uncompressed[-1] & 1]) + uncompressed[1:]


def without_reduction(_key) -> bytes:
    """x = 0 lies on the curve; so does x = p for a reader that reduces."""
    b = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
    root = pow(b, (P256_PRIME + 1) // 4, P256_PRIME)
    return b"\x04" + P256_PRIME.to_bytes(32, "big") + root.to_bytes(32, "big")


def explicit(key) -> bytes:
    """The curve written out, as SEC 1 allows and RFC 5480 forbids."""
    generator = bytes.fromhex(
        "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
        "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"
    )
    b = bytes.fromhex("5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604b")
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    field = der.sequence(der.oid("1.2.840.10045.1.1"), der.unsigned(P256_PRIME))
    a = (P256_PRIME - 3).to_bytes(32, "big")
    curve = der.sequence(der.tlv(der.OCTET_STRING, a), der.tlv(der.OCTET_STRING, b))
    parameters = der.sequence(
        der.unsigned(1), field, curve, der.tlv(der.OCTET_STRING, generator), der.unsigned(order), der.unsigned(1)
    )
    return ec_spki(point(key), parameters)


BAD_POINTS = {
    "off its curve": lambda key: ec_spki(point(key)[:-1] + bytes([point(key)[-1] ^ 1])),
    "compressed": lambda key: ec_spki(point(key, serialization.PublicFormat.CompressedPoint)),
    "hybrid": lambda key: ec_spki(hybrid(key)),
    "the point at infinity": lambda key: ec_spki(b"\0"),
    "the origin": lambda key: ec_spki(b"\x04" + bytes(64)),
    "nothing": lambda key: ec_spki(b""),
    "not reduced": lambda key: ec_spki(without_reduction(key)),
    "a byte too long": lambda key: ec_spki(point(key) + b"\0"),
    "a byte too short": lambda key: ec_spki(point(key)[:-1]),
    "of another curve": lambda key: ec_spki(point(key), der.oid("1.3.132.0.34")),
    "on a curve that is written out": explicit,
    "without a curve": lambda key: ec_spki(point(key), b""),
    "on the issuer's curve": lambda key: ec_spki(point(key), weak_keys.NULL),
}


@pytest.mark.parametrize("make", BAD_POINTS.values(), ids=BAD_POINTS.keys())
def test_an_elliptic_curve_key_that_readers_disagree_about_is_refused(refused, make):
    key = ec.generate_private_key(ec.SECP256R1())
    spki = make(key)
    refused(ec_request(key, spki), spki, "key_malformed")


@pytest.mark.parametrize("curve", [ec.SECP256K1(), ec.SECP224R1(), ec.BrainpoolP256R1()], ids=lambda curve: curve.name)
def test_other_curves_are_refused_by_name(refused, curve):
    key = ec.generate_private_key(curve)
    refused(ec_request(key, python_made.spki(key)), python_made.spki(key), "key_kind_not_accepted")


def ed25519_spki(key: bytes, parameters: bytes = b"") -> bytes:
    return der.sequence(der.sequence(der.oid(ED25519), parameters), der.bits(key))


def ed25519_request(spki: bytes, signature: bytes) -> bytes:
    algorithm = der.sequence(der.oid(ED25519))
    return python_made.pem(der.sequence(weak_keys.info_of(spki), algorithm, der.bits(signature)))


# RFC 7748 and https://cr.yp.to/ecdh.html list these points; each y once, as encoded and not reduced where it fits.
SMALL_ORDER_Y = [
    0,
    1,
    ED25519_PRIME - 1,
    ED25519_PRIME,
    ED25519_PRIME + 1,
    0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826,
    0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7,
]


@pytest.mark.parametrize("sign_of_x", [0, 1])
@pytest.mark.parametrize("y", SMALL_ORDER_Y, ids=lambda y: f"{y:x}"[:8])
def test_a_point_of_small_order_is_refused_though_anybody_can_sign_for_it(refused, y, sign_of_x):
    spki = ed25519_spki((y | sign_of_x << 255).to_bytes(32, "little"))
    anybody = (1).to_bytes(32, "little") + bytes(32)
    assert "small order" in refused(ed25519_request(spki, anybody), spki, "key_weak")


BAD_EDWARDS = {
    "not reduced": lambda key: ed25519_spki((ED25519_PRIME + 3).to_bytes(32, "little")),
    "on no point": lambda key: ed25519_spki((2).to_bytes(32, "little")),
    "too short": lambda key: ed25519_spki(key[:-1]),
    "too long": lambda key: ed25519_spki(key + b"\0"),
    "with NULL parameters": lambda key: ed25519_spki(key, weak_keys.NULL),
    "in an OCTET STRING": lambda key: ed25519_spki(der.tlv(der.OCTET_STRING, key)),
}


@pytest.mark.parametrize("make", BAD_EDWARDS.values(), ids=BAD_EDWARDS.keys())
def test_a_malformed_ed25519_key_is_refused(refused, make):
    key = ed25519.Ed25519PrivateKey.generate()
    spki = make(key.public_key().public_bytes_raw())
    signature = key.sign(weak_keys.info_of(spki))
    refused(ed25519_request(spki, signature), spki, "key_malformed")


def test_a_sound_key_of_each_helper_here_is_accepted(server):
    """The requests above are refused for their keys, not for how they were put together."""
    curve, edwards = ec.generate_private_key(ec.SECP256R1()), ed25519.Ed25519PrivateKey.generate()
    server.sign(server.alice, ec_request(curve, ec_spki(point(curve)))).issued()
    spki = ed25519_spki(edwards.public_key().public_bytes_raw())
    server.sign(server.alice, ed25519_request(spki, edwards.sign(weak_keys.info_of(spki)))).issued()
