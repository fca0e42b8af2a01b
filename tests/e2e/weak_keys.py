"""Keys whose private half anybody can compute, and requests that their holders really signed."""

import hashlib
import random
from dataclasses import dataclass

import der
import gmpy2
import requests_by_python as python_made

RSA_ENCRYPTION = "1.2.840.113549.1.1.1"
SHA256_PREFIX = bytes.fromhex("3031300d060960864801650304020105000420")
NULL = der.tlv(der.NULL, b"")
ROCA_PRIMES = [
    3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103, 107, 109,
    113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
]  # fmt: skip
RANDOM = random.Random(20_261_124)
"""The same keys in every run."""


@dataclass(frozen=True)
class RsaKey:
    """An RSA key by the prime factors of its modulus, for any exponent that can sign."""

    factors: tuple[int, ...]
    exponent: int = 65537

    @property
    def modulus(self) -> int:
        return _product(self.factors)

    @property
    def private_exponent(self) -> int:
        again = _product(factor ** (self.factors.count(factor) - 1) for factor in set(self.factors))
        order = _product(factor - 1 for factor in set(self.factors)) * again
        return int(gmpy2.invert(self.exponent, order))

    def spki(self, parameters: bytes = NULL) -> bytes:
        key = der.sequence(der.unsigned(self.modulus), der.unsigned(self.exponent))
        return der.sequence(der.sequence(der.oid(RSA_ENCRYPTION), parameters), der.bits(key))

    def sign(self, message: bytes) -> bytes:
        """RSASSA-PKCS1-v1_5 with SHA-256, checked before it is given out."""
        size = (self.modulus.bit_length() + 7) // 8
        digest = SHA256_PREFIX + hashlib.sha256(message).digest()
        padded = int.from_bytes(b"\0\1" + b"\xff" * (size - 3 - len(digest)) + b"\0" + digest, "big")
        signature = int(gmpy2.powmod(padded, self.private_exponent, self.modulus))
        assert gmpy2.powmod(signature, self.exponent, self.modulus) == padded, "it verifies"
        return signature.to_bytes(size, "big")


def request(key: RsaKey, spki: bytes | None = None) -> bytes:
    """A request for alice, in PEM, signed with this key."""
    info = info_of(spki or key.spki())
    algorithm = der.sequence(der.oid(python_made.SHA256_WITH_RSA), NULL)
    return python_made.pem(der.sequence(info, algorithm, der.bits(key.sign(info))))


def info_of(spki: bytes) -> bytes:
    """CertificationRequestInfo for alice in dev, with this key."""
    rdns = [
        der.rdn(der.attribute(der.COMMON_NAME, "alice")),
        der.rdn(der.attribute(der.ORGANIZATION, "dev")),
    ]
    return der.sequence(der.unsigned(0), der.sequence(*rdns), spki, der.tlv(der.CONTEXT_0, b""))


def prime(bits: int) -> int:
    """A random prime whose two highest bits are set."""
    start = RANDOM.getrandbits(bits) | 3 << (bits - 2)
    return int(gmpy2.next_prime(start))


def of_bits(bits: int) -> RsaKey:
    """A sound key, but for its size."""
    larger = bits // 2
    while True:
        key = RsaKey((prime(bits - larger), prime(larger)))
        if key.modulus.bit_length() == bits:
            return key
        # The product of two such primes has all its bits or is one short only when they are of odd sizes.
        larger -= 1


def with_close_primes() -> RsaKey:
    first = prime(1024)
    return RsaKey((first, int(gmpy2.next_prime(first + 2**400))))


def with_a_small_factor(factor: int) -> RsaKey:
    return RsaKey((factor, _prime_for(factor)))


def a_prime_modulus() -> RsaKey:
    return RsaKey((prime(2048),))


def a_power(degree: int) -> RsaKey:
    """A modulus of exactly 2048 bits that is such a power."""
    bits = 2048 // degree
    low = int(gmpy2.iroot(gmpy2.mpz(1) << 2047, degree)[0])
    return RsaKey((int(gmpy2.next_prime(low + RANDOM.getrandbits(bits - 8))),) * degree)


def by_infineon() -> RsaKey:
    """Both primes are powers of 65537 modulo the product of many small primes (CVE-2017-15361)."""
    product = 2 * _product(ROCA_PRIMES)
    return RsaKey((_infineon_prime(product), _infineon_prime(product)))


def with_sparse_primes() -> RsaKey:
    """Four random bits in each 32."""
    return RsaKey((_sparse_prime(), _sparse_prime()))


def with_exponent(exponent: int) -> RsaKey:
    """Two primes for which that exponent has an inverse."""
    while True:
        key = RsaKey((prime(1024), prime(1024)), exponent)
        if all(gmpy2.gcd(exponent, factor - 1) == 1 for factor in key.factors):
            return key


def of_mersenne_primes() -> RsaKey:
    """A modulus of 8676 bits, without looking for primes."""
    return RsaKey((2**4423 - 1, 2**4253 - 1))


def _infineon_prime(product: int) -> int:
    while True:
        candidate = RANDOM.getrandbits(1024) | 3 << 1022
        candidate += -candidate % product + pow(65537, RANDOM.getrandbits(60), product)
        if candidate.bit_length() == 1024 and gmpy2.is_prime(candidate):
            return candidate


def _sparse_prime() -> int:
    number = 3 << 1022
    for limb in range(31):
        number += RANDOM.getrandbits(4) << (32 * limb)
    return int(gmpy2.next_prime(number))


def _prime_for(factor: int) -> int:
    """With this factor it makes 2048 bits."""
    low = (1 << 2047) // factor + 1
    return int(gmpy2.next_prime(low + RANDOM.getrandbits(2000)))


def _product(numbers) -> int:
    out = 1
    for number in numbers:
        out *= number
    return out
