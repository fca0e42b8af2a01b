"""Requests that somebody built to be read in two ways: each is refused by its stable code, in next to no time."""

import base64
import os

import der
import pytest
import requests_by_openssl as openssl_made
import requests_by_python as python_made
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from requests_by_programs import CERT_EXTENSIONS, EXTENSION_REQUEST

KEY = ec.generate_private_key(ec.SECP256R1())
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
VERSION, NO_ATTRIBUTES = der.unsigned(0), der.tlv(der.CONTEXT_0, b"")
ALGORITHM = der.sequence(der.oid(python_made.ECDSA_WITH_SHA256))
JUNK = der.tlv(der.NULL, b"")
CPU_SECONDS = 0.1
"""The most that one request may cost, and ten times what one does cost."""


def cn(value: str = "alice", tag: int = der.UTF8) -> bytes:
    return der.rdn(der.attribute(der.COMMON_NAME, value, tag))


def o(value: str, tag: int = der.UTF8) -> bytes:
    return der.rdn(der.attribute(der.ORGANIZATION, value, tag))


def raw_cn(tag: int, value: bytes) -> bytes:
    return der.rdn(der.sequence(der.oid(der.COMMON_NAME), der.tlv(tag, value)))


def asks(*rdns: bytes) -> bytes:
    """A request for this subject that is otherwise sound."""
    return python_made.signed_info(KEY, rdns)


def has(*attributes: bytes) -> bytes:
    """A request with these attributes that is otherwise sound."""
    return python_made.signed_info(KEY, [cn()], b"".join(attributes))


def info(version: bytes = VERSION, subject: bytes | None = None, key: bytes | None = None, end: bytes = NO_ATTRIBUTES):
    subject = der.sequence(cn()) if subject is None else subject
    return der.sequence(version, subject, python_made.spki(KEY) if key is None else key, end)


def signs(content: bytes) -> bytes:
    return python_made.signed(KEY, content)


def with_signature(signature: bytes, algorithm: bytes = ALGORITHM) -> bytes:
    """A request that ends in this BIT STRING."""
    return der.sequence(info(), algorithm, signature)


def true_signature() -> bytes:
    return KEY.sign(info(), ec.ECDSA(hashes.SHA256()))


def numbers(r: bytes, s: bytes) -> bytes:
    """A request whose ECDSA signature is these two elements."""
    return with_signature(der.bits(der.sequence(r, s)))


def true_numbers() -> tuple[int, int]:
    return decode_dss_signature(true_signature())


def other_length(element: bytes, head: bytes) -> bytes:
    """The same element with another way to write its length, in full bytes after the tag."""
    return element[:1] + head + der.split(element)[1]


def wide_length(element: bytes) -> bytes:
    """Its length in three bytes where fewer would do."""
    return other_length(element, b"\x83" + len(der.split(element)[1]).to_bytes(3, "big"))


def indefinite(element: bytes) -> bytes:
    """The same in BER, whose end is two zero bytes."""
    return other_length(element, b"\x80") + b"\0\0"


def nested(tag: int, levels: int, size: int = 60_000) -> bytes:
    content = b""
    for _ in range(levels):
        if len(content) > size:
            break
        content = der.tlv(tag, content)
    return content


def attribute(kind: str, *values: bytes) -> bytes:
    return der.sequence(der.oid(kind), der.tlv(der.SET, b"".join(values)))


def wishes() -> bytes:
    return der.sequence(der.sequence(der.oid("2.5.29.14"), der.tlv(der.OCTET_STRING, b"\x04\x00")))


def by_openssl(tmp_path, kind: str, *options: str) -> bytes:
    key = openssl_made.key(tmp_path, kind)
    # Python's cryptography does not read each of these, so the block is opened by hand.
    pem = openssl_made.request(key, "/CN=alice/O=dev", *options)
    return base64.b64decode(b"".join(pem.splitlines()[1:-1]))


SWAPPED = der.tlv(
    der.SET, der.attribute(der.ORGANIZATION, "ops") + der.attribute(der.ORGANIZATION, "dev")
)  # DER sorts them.
SOUND = asks(cn(), o("dev"))

STRUCTURE = {
    "nothing but its info": (info(), "csr_malformed"),
    "no signature": (der.sequence(info(), ALGORITHM), "csr_malformed"),
    "no algorithm": (der.sequence(info(), der.bits(true_signature())), "csr_malformed"),
    "bytes after it": (SOUND + b"\0", "csr_malformed"),
    "twice": (SOUND * 2, "csr_malformed"),
    "an element after the signature": (der.sequence(*der.children(SOUND), JUNK), "csr_malformed"),
    "an element after the attributes": (signs(info(end=NO_ATTRIBUTES + JUNK)), "csr_malformed"),
    "an element in the subject": (asks(cn(), JUNK), "csr_malformed"),
    "an element in an RDN": (asks(der.tlv(der.SET, der.attribute(der.COMMON_NAME, "alice") + JUNK)), "csr_malformed"),
    "an element in a name": (
        asks(der.rdn(der.sequence(der.oid(der.COMMON_NAME), der.text(der.UTF8, "alice"), JUNK))), "csr_malformed",
    ),
    "an element in the key": (
        signs(info(key=der.sequence(*der.children(python_made.spki(KEY)), JUNK))), "key_malformed",
    ),
    "an element in an attribute": (
        has(der.sequence(der.oid(EXTENSION_REQUEST), der.tlv(der.SET, wishes()), JUNK)), "csr_malformed",
    ),
    "no attributes": (signs(info(end=b"")), "csr_malformed"),
    "attributes as a SET": (signs(info(end=der.tlv(der.SET, b""))), "csr_malformed"),
    "no version": (signs(info(version=b"")), "csr_malformed"),
    "version 1": (signs(info(version=der.unsigned(1))), "csr_version_not_accepted"),
    "version 0 in two bytes": (signs(info(version=b"\x02\x02\0\0")), "csr_version_not_accepted"),
    "version 0 in no byte": (signs(info(version=b"\x02\x00")), "csr_version_not_accepted"),
    "version 0 with a long length": (signs(info(version=b"\x02\x81\x01\0")), "csr_malformed"),
    "a long length outside": (wide_length(SOUND), "csr_malformed"),
    "a long length of the subject": (signs(info(subject=wide_length(der.sequence(cn())))), "csr_malformed"),
    "a long length of an RDN": (asks(wide_length(cn())), "csr_malformed"),
    "a long length of the key": (signs(info(key=wide_length(python_made.spki(KEY)))), "csr_malformed"),
    "no definite length outside": (indefinite(SOUND), "csr_malformed"),
    "no definite length of the info": (signs(indefinite(info())), "csr_malformed"),
    "no definite length of the subject": (signs(info(subject=indefinite(der.sequence(cn())))), "csr_malformed"),
    "no definite length of the attributes": (signs(info(end=indefinite(NO_ATTRIBUTES))), "csr_malformed"),
    "a length of ten million": (other_length(SOUND, b"\x84\x00\x98\x96\x80"), "csr_malformed"),
    "a length of sixteen million": (other_length(SOUND, b"\x83\xff\xff\xff"), "csr_malformed"),
    "a length of 127 bytes": (other_length(SOUND, b"\xff" + b"\xff" * 127), "csr_malformed"),
    "a name of ten million": (asks(other_length(cn(), b"\x84\x00\x98\x96\x80")), "csr_malformed"),
    "a high tag": (b"\x3f\x81\x00" + SOUND[1:], "body_not_a_csr"),
    "sequences in sequences": (nested(der.SEQUENCE, 30_000), "csr_malformed"),
    "sets in a name": (asks(nested(der.SET, 14_000, 40_000)), "csr_malformed"),
    "no definite length, thirty thousand times": (b"\x30\x80" * 30_000, "csr_malformed"),
    "empty elements": (der.sequence(JUNK * 30_000), "csr_malformed"),
}  # fmt: skip

SUBJECTS = {
    "nothing": ([], "csr_subject_empty"),
    "an empty RDN first": ([der.tlv(der.SET, b""), cn()], "csr_malformed"),
    "an empty RDN last": ([cn(), der.tlv(der.SET, b"")], "csr_malformed"),
    "no CN": ([o("dev")], "csr_cn_missing"),
    "two CN": ([cn(), cn("root")], "csr_cn_repeated"),
    "two CN in one RDN": (
        [der.rdn(der.attribute(der.COMMON_NAME, "alice"), der.attribute(der.COMMON_NAME, "root"))],
        "csr_rdn_multi_valued",
    ),
    "CN and O in one RDN": (
        [der.rdn(der.attribute(der.COMMON_NAME, "alice"), der.attribute(der.ORGANIZATION, "dev"))],
        "csr_rdn_multi_valued",
    ),
    "O and OU in one RDN": (
        [cn(), der.rdn(der.attribute(der.ORGANIZATION, "dev"), der.attribute(der.ORGANIZATIONAL_UNIT, "dev"))],
        "csr_rdn_multi_valued",
    ),
    "a SET out of order": ([cn(), SWAPPED], "csr_malformed"),
    "a BMPString": ([cn("alice", der.BMP)], "csr_string_type_not_accepted"),
    "a T61String": ([cn("alice", der.T61)], "csr_string_type_not_accepted"),
    "an IA5String": ([cn("alice", der.IA5)], "csr_string_type_not_accepted"),
    "a UniversalString": ([cn("alice", der.UNIVERSAL)], "csr_string_type_not_accepted"),
    "a NumericString": ([cn("7", der.NUMERIC)], "csr_string_type_not_accepted"),
    "a VisibleString": ([raw_cn(0x1A, b"alice")], "csr_string_type_not_accepted"),
    "an OCTET STRING": ([raw_cn(der.OCTET_STRING, b"alice")], "csr_string_type_not_accepted"),
    "a UTF8String in pieces": ([raw_cn(0x2C, der.text(der.UTF8, "alice"))], "csr_string_type_not_accepted"),
    "masters as a BMPString": ([cn(), o("system:masters", der.BMP)], "csr_string_type_not_accepted"),
    "masters as a T61String": ([cn(), o("system:masters", der.T61)], "csr_string_type_not_accepted"),
    "a star in a PrintableString": ([raw_cn(der.PRINTABLE, b"alice*")], "csr_string_type_not_accepted"),
    "bytes that are no UTF-8": ([raw_cn(der.UTF8, b"ali\xffce")], "csr_string_type_not_accepted"),
    "an overlong UTF-8": ([raw_cn(der.UTF8, b"ali\xc0\xaece")], "csr_string_type_not_accepted"),
    "a surrogate": ([raw_cn(der.UTF8, b"ali\xed\xa0\x80ce")], "csr_string_type_not_accepted"),
    "a NUL": ([cn("alice\0.example")], "name_character_not_accepted"),
    "a line end": ([cn("alice\nO=system:masters")], "name_character_not_accepted"),
    "an empty CN": ([cn("")], "name_empty"),
    "an empty O": ([cn(), o("")], "name_empty"),
    "254 bytes": ([cn("a" * 254)], "name_too_long"),
    "sixty thousand bytes": ([cn("a" * 60_000)], "name_too_long"),
    "a user id": ([cn(), der.rdn(der.attribute(der.USER_ID, "0"))], "csr_subject_attribute_not_accepted"),
    "the user id of Kubernetes": (
        [cn(), der.rdn(der.attribute("1.3.6.1.4.1.57683.2", "0"))], "csr_subject_attribute_not_accepted",
    ),
    "a serial number": ([cn(), der.rdn(der.attribute("2.5.4.5", "1"))], "csr_subject_attribute_not_accepted"),
    "a given name": ([cn(), der.rdn(der.attribute("2.5.4.42", "A"))], "csr_subject_attribute_not_accepted"),
    "an OID that only looks like O": (
        [cn(), der.rdn(der.sequence(der.tlv(der.OID, b"\x55\x04\x80\x0a"), der.text(der.UTF8, "dev")))],
        "csr_subject_attribute_not_accepted",
    ),
    "101 groups": ([cn(), *(o(f"g{number}") for number in range(101))], "csr_too_many_groups"),
    "three thousand groups": ([cn(), *(o(f"g{number}") for number in range(3_000))], "csr_too_many_groups"),
    "three thousand groups in one RDN": (
        [cn(), der.rdn(*(der.attribute(der.ORGANIZATION, f"g{number}") for number in range(3_000)))],
        "csr_too_many_groups",
    ),
}  # fmt: skip

ATTRIBUTES = {
    "two requests for extensions": ([attribute(EXTENSION_REQUEST, wishes())] * 2, "csr_extension_requests_not_accepted"),
    "one of each kind": (
        [attribute(EXTENSION_REQUEST, wishes()), attribute(CERT_EXTENSIONS, wishes())],
        "csr_extension_requests_not_accepted",
    ),
    "two values": ([attribute(EXTENSION_REQUEST, wishes(), wishes())], "csr_extension_requests_not_accepted"),
    "no value": ([attribute(EXTENSION_REQUEST)], "csr_malformed"),
    "one attribute twice": ([attribute("1.2.840.113549.1.9.7", JUNK)] * 2, "csr_attributes_not_accepted"),
    "33 attributes": ([attribute(f"1.2.3.{n}", JUNK) for n in range(33)], "csr_attributes_not_accepted"),
    "five thousand attributes": ([attribute(f"1.2.3.{n}", JUNK) for n in range(5_000)], "csr_attributes_not_accepted"),
}  # fmt: skip


def signatures() -> dict[str, tuple[bytes, str]]:
    r, s = true_numbers()
    zero, huge = der.unsigned(0), der.unsigned(2**8000)
    raw = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    other = ec.generate_private_key(ec.SECP256R1())
    by_another = der.children(python_made.signed(other, info()))[2]
    of_another = der.children(asks(cn("root")))[2]
    rsa_sha256 = der.sequence(der.oid(python_made.SHA256_WITH_RSA), JUNK)
    return {
        "of another key": (with_signature(by_another), "signature_invalid"),
        "of another request": (with_signature(of_another), "signature_invalid"),
        "empty": (with_signature(der.bits(b"")), "signature_invalid"),
        "with an unused bit": (with_signature(der.tlv(der.BIT_STRING, b"\1" + true_signature())), "csr_malformed"),
        "without its count of unused bits": (with_signature(der.tlv(der.BIT_STRING, b"")), "csr_malformed"),
        "an OCTET STRING": (with_signature(der.tlv(der.OCTET_STRING, true_signature())), "csr_malformed"),
        "two zeros": (numbers(zero, zero), "signature_invalid"),
        "r is zero": (numbers(zero, der.unsigned(s)), "signature_invalid"),
        "s is zero": (numbers(der.unsigned(r), zero), "signature_invalid"),
        "r is the order": (numbers(der.unsigned(ORDER), der.unsigned(s)), "signature_invalid"),
        "r is not reduced": (numbers(der.unsigned(r + ORDER), der.unsigned(s)), "signature_invalid"),
        "s is not reduced": (numbers(der.unsigned(r), der.unsigned(s + ORDER)), "signature_invalid"),
        "r is negative": (numbers(der.tlv(der.INTEGER, b"\xff"), der.unsigned(s)), "signature_invalid"),
        "r is huge": (numbers(huge, der.unsigned(s)), "signature_invalid"),
        "s is huge": (numbers(der.unsigned(r), huge), "signature_invalid"),
        "r is padded": (
            numbers(der.tlv(der.INTEGER, b"\0\0" + r.to_bytes(32, "big")), der.unsigned(s)), "signature_invalid",
        ),
        "three numbers": (with_signature(der.bits(der.sequence(*map(der.unsigned, (r, s, s))))), "signature_invalid"),
        "bytes after it": (with_signature(der.bits(true_signature() + b"\0")), "signature_invalid"),
        "as smart cards give it": (with_signature(der.bits(raw)), "signature_invalid"),
        "said to be RSA": (with_signature(der.bits(true_signature()), rsa_sha256), "signature_invalid"),
        "said to be Ed25519": (
            with_signature(der.bits(true_signature()), der.sequence(der.oid("1.3.101.112"))), "signature_invalid",
        ),
        "said to be SHA-384": (
            with_signature(der.bits(true_signature()), der.sequence(der.oid("1.2.840.10045.4.3.3"))),
            "signature_invalid",
        ),
        "with NULL parameters": (
            with_signature(der.bits(true_signature()), der.sequence(der.oid(python_made.ECDSA_WITH_SHA256), JUNK)),
            "signature_algorithm_not_accepted",
        ),
        "of no algorithm": (
            with_signature(der.bits(true_signature()), der.sequence()), "signature_algorithm_not_accepted",
        ),
    }  # fmt: skip


BY_OPENSSL = {
    "RSA with SHA-1": ("rsa-2048", "-sha1"),
    "RSA with MD5": ("rsa-2048", "-md5"),
    "RSA with SHA-224": ("rsa-2048", "-sha224"),
    "ECDSA with SHA-1": ("p-256", "-sha1"),
    "PSS with a short salt": ("rsa-2048", "-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:20"),
    "PSS with SHA-1": ("rsa-2048", "-sha1", "-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:20"),
}


@pytest.fixture
def refuse(server):
    """Has DER refused with this code, in little time, and with a sentence that says what to do."""

    def send(request: bytes, code: str) -> None:
        before = cpu_seconds(server.process.pid)
        answer = server.sign(server.alice, request, "-H", "Content-Type: application/pkcs10")
        spent = cpu_seconds(server.process.pid) - before
        problem = answer.problem(422, code)
        assert ": " in problem["detail"] and len(problem["detail"]) < 1_000, "what is wrong, and what to do"
        assert problem["detail"].isprintable()
        assert spent < CPU_SECONDS, f"{spent} s of CPU"

    return send


def cpu_seconds(pid: int) -> float:
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_what_the_others_are_made_from_is_sound(server):
    for request in (SOUND, has(attribute(EXTENSION_REQUEST, wishes())), signs(info())):
        server.sign(server.alice, request, "-H", "Content-Type: application/pkcs10").issued()


@pytest.mark.parametrize("request_der, code", STRUCTURE.values(), ids=STRUCTURE.keys())
def test_a_structure_that_der_does_not_allow_is_refused(refuse, request_der, code):
    refuse(request_der, code)


@pytest.mark.parametrize("rdns, code", SUBJECTS.values(), ids=SUBJECTS.keys())
def test_a_subject_that_readers_disagree_about_is_refused(refuse, rdns, code):
    refuse(asks(*rdns), code)


@pytest.mark.parametrize("attributes, code", ATTRIBUTES.values(), ids=ATTRIBUTES.keys())
def test_attributes_that_hide_something_are_refused(refuse, attributes, code):
    refuse(has(*attributes), code)


@pytest.mark.parametrize("request_der, code", signatures().values(), ids=signatures().keys())
def test_a_signature_that_proves_nothing_is_refused(refuse, request_der, code):
    refuse(request_der, code)


@pytest.mark.parametrize("options", BY_OPENSSL.values(), ids=BY_OPENSSL.keys())
def test_a_broken_or_odd_hash_is_refused(refuse, tmp_path, options):
    refuse(by_openssl(tmp_path, *options), "signature_algorithm_not_accepted")
