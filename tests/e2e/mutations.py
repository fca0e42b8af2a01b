"""Breaks good requests, in bytes and in structure, the same way for the same seed."""

import base64
import random
from dataclasses import dataclass, field

import der
import requests_by_openssl as openssl_made
import requests_by_python as python_made
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
ED25519 = der.sequence(der.oid("1.3.101.112"))
VERSION = der.tlv(der.INTEGER, b"\0")
ECDSA_SHA256 = der.sequence(der.oid("1.2.840.10045.4.3.2"))


@dataclass
class Mutant:
    """One body, and what was done to it."""

    how: str
    body: bytes
    der: bytes
    """The request that is in the body, for the judges."""
    good: bool = False
    """Nothing was done that matters: it must be signed."""


@dataclass
class Node:
    """One element, apart: its content, or the elements in it."""

    tag: int
    content: bytes = b""
    children: list["Node"] = field(default_factory=list)
    constructed: bool = False
    length: bytes | None = None
    """Written in the place of the true length."""

    def encode(self) -> bytes:
        content = b"".join(child.encode() for child in self.children) if self.constructed else self.content
        whole = der.tlv(self.tag, content)
        if self.length is None:
            return whole
        return bytes([self.tag]) + self.length + content

    def walk(self) -> list["Node"]:
        return [self, *(inner for child in self.children for inner in child.walk())]


def parse(element: bytes) -> Node:
    tag, content = der.split(element)
    if tag & 0x20:
        return Node(tag, children=[parse(child) for child in der.children(element)], constructed=True)
    return Node(tag, content)


def good_requests(folder) -> list[bytes]:
    """DER, of several programs and keys, each for a user of its own."""
    found = []
    for kind in ("rsa-2048", "p-256", "p-384", "ed25519"):
        pem = openssl_made.new_request(folder, f"o-{kind}", "dev", "team-a", kind=kind)
        found.append(python_made.to_der(pem))
    ed = ed25519.Ed25519PrivateKey.generate()
    found.append(_sign(ed, VERSION, der.sequence(_common_name("p-ed")), der.tlv(0xA0, b"")))
    keys = {
        "rsa": rsa.generate_private_key(65537, 2048), "p256": python_made.new_key(),
        "p384": ec.generate_private_key(ec.SECP384R1()),
    }  # fmt: skip
    for kind, key in keys.items():
        found.append(python_made.to_der(python_made.request(key, f"p-{kind}", "dev")))
    found.append(python_made.to_der(python_made.request_as_go(python_made.new_key(), "p-go", "a", "bb", "ccc")))
    return found


class Mutator:
    def __init__(self, seed: int, requests: list[bytes]):
        self._random = random.Random(seed)
        self._requests = requests
        self._number = 0

    def next(self) -> Mutant:
        self._number += 1
        ways = {
            self._untouched: 4, self._bytes: 30, self._structure: 26, self._signature: 10, self._key: 5,
            self._signed_again: 25,
        }  # fmt: skip
        [way] = self._random.choices(list(ways), list(ways.values()))
        how, request, good = way(self._random.choice(self._requests))
        good = good or request in self._requests
        return self._spelled(how, request, good)

    # Each gives what was done, the request, and whether it is still a good one.

    def _untouched(self, request: bytes) -> tuple[str, bytes, bool]:
        return "untouched", request, True

    def _bytes(self, request: bytes) -> tuple[str, bytes, bool]:
        r, changed = self._random, bytearray(request)
        for _ in range(r.choice((1, 1, 1, 2, 8))):
            at = r.randrange(len(changed))
            how = r.choice(("flip", "set", "insert", "delete", "repeat", "cut"))
            if how == "flip":
                changed[at] ^= 1 << r.randrange(8)
            elif how == "set":
                changed[at] = r.choice((0, 0xFF, 0x80, 0x7F, 0x30, 0x31, r.randrange(256)))
            elif how == "insert":
                changed[at:at] = r.randbytes(r.randrange(1, 5))
            elif how == "delete" and len(changed) > 20:
                del changed[at : at + r.randrange(1, 5)]
            elif how == "repeat":
                changed[at:at] = changed[at : at + r.randrange(1, 64)]
            elif how == "cut" and at > 20:
                del changed[at:]
        return "bytes", bytes(changed), False

    def _structure(self, request: bytes) -> tuple[str, bytes, bool]:
        root = parse(request)
        how = self._disturb(root)
        return f"structure: {how}", root.encode(), False

    def _disturb(self, root: Node) -> str:
        """Does one thing to one element below `root`."""
        r = self._random
        parents = [node for node in root.walk() if node.children]
        parent = r.choice(parents)
        at = r.randrange(len(parent.children))
        node = parent.children[at]
        how = r.choice(("delete", "duplicate", "swap", "retag", "length", "content", "wrap", "splice", "empty", "padded",
                        "reorder"))  # fmt: skip
        if how == "delete":
            del parent.children[at]
        elif how == "duplicate":
            parent.children.insert(r.randrange(len(parent.children) + 1), node)
        elif how == "swap":
            other = r.choice(r.choice(parents).children)
            node.tag, other.tag = other.tag, node.tag
        elif how == "retag":
            node.tag = r.choice((0x0C, 0x13, 0x14, 0x16, 0x1E, 0x1C, 0x30, 0x31, 0xA0, 0x80, 0x05, 0x04, 0x1F, 0x24))
        elif how == "length":
            size = len(node.encode())
            node.length = r.choice((b"\x80", b"\x84\xff\xff\xff\xff", b"\x00", b"\xff", bytes([r.randrange(128)]),
                                    bytes([0x83, 0, size >> 8 & 255, size & 255])))  # fmt: skip
        elif how == "padded":
            size = len(b"".join(c.encode() for c in node.children) if node.constructed else node.content)
            node.length = r.choice((b"\x81" + bytes([size & 255]), b"\x82" + size.to_bytes(2, "big"),
                                    b"\x84" + size.to_bytes(4, "big")))  # fmt: skip
        elif how == "content" and not node.constructed:
            node.content = self._text(node.content)
        elif how == "wrap":
            parent.children[at] = Node(r.choice((0x30, 0x31, 0xA0)), children=[node], constructed=True)
        elif how == "splice":
            donor = r.choice([n for n in parse(r.choice(self._requests)).walk() if n.children])
            parent.children[at] = r.choice(donor.children)
        elif how == "empty":
            node.children, node.content = [], b""
        elif how == "reorder":
            r.shuffle(parent.children)
        return how

    def _text(self, content: bytes) -> bytes:
        r = self._random
        odd = ("system:masters", "ѕystem:masters", "*", "", " ", "a\0b", "é", "e\u0301", "\u200b", "x" * 254,
               "kubeadm:x", "System:Masters", "a" * 100, "{caller}")  # fmt: skip
        return r.choice((r.choice(odd).encode(), r.randbytes(r.randrange(1, 20)), content + b"\0", content[:-1]))

    def _signature(self, request: bytes) -> tuple[str, bytes, bool]:
        info, algorithm, signature = der.children(request)
        other = der.children(self._random.choice(self._requests))
        ways = ("another's", "another's with its algorithm", "zeros", "malleable", "random", "algorithm")
        how = self._random.choice(ways)
        if how == "another's":
            signature = other[2]
        elif how == "another's with its algorithm":
            algorithm, signature = other[1], other[2]
        elif how == "zeros":
            zeros = der.sequence(der.tlv(der.INTEGER, b"\0"), der.tlv(der.INTEGER, b"\0"))
            signature = der.tlv(der.BIT_STRING, b"\0" + self._random.choice((zeros, bytes(64), bytes(256), b"")))
        elif how == "malleable":
            signature = _other_half(signature)
        elif how == "random":
            signature = der.tlv(der.BIT_STRING, b"\0" + self._random.randbytes(len(signature) - 3))
        else:
            algorithm = other[1]
        return f"signature: {how}", der.sequence(info, algorithm, signature), False

    def _key(self, request: bytes) -> tuple[str, bytes, bool]:
        """The same names with somebody else's key, or this key with somebody else's names."""
        info, algorithm, signature = der.children(request)
        other, *rest = der.children(self._random.choice(self._requests))
        fields, others = der.children(info), der.children(other)
        place = self._random.choice((1, 2, 3))
        fields[place] = others[place]
        if self._random.random() < 0.5:
            algorithm, signature = rest
        return f"field {place} of another", der.sequence(der.sequence(*fields), algorithm, signature), False

    def _signed_again(self, request: bytes) -> tuple[str, bytes, bool]:
        """Names and attributes disturbed, then well signed under a new key: what comes after the signature is tried."""
        version, subject, _, attributes = der.children(der.children(request)[0])
        subject, attributes = parse(subject), parse(attributes)
        _set_user(subject, f"again-{self._number}")
        done = [self._disturb(Node(0x30, children=[subject, attributes], constructed=True))]
        if self._random.random() < 0.3:
            done.append(self._disturb(Node(0x30, children=[subject, attributes], constructed=True)))
        new_keys = (python_made.new_key, ed25519.Ed25519PrivateKey.generate)
        key = self._random.choice(new_keys)()
        return f"signed again: {done}", _sign(key, version, subject.encode(), attributes.encode()), False

    def _spelled(self, how: str, request: bytes, good: bool) -> Mutant:
        """As DER, or as PEM with harmless white space."""
        r = self._random
        text = base64.b64encode(request)
        lines = [text[at : at + 64] for at in range(0, len(text), 64)]
        armoured = [b"-----BEGIN CERTIFICATE REQUEST-----", *lines, b"-----END CERTIFICATE REQUEST-----"]
        spellings = {
            "DER": request, "base64": text, "PEM": b"\n".join(armoured) + b"\n", "PEM, CRLF": b"\r\n".join(armoured),
            "PEM in one line": b"".join(armoured), "PEM with blanks": b"\n\n  " + b" \n\t".join(armoured) + b"\n\n",
        }  # fmt: skip
        spelling = r.choice(list(spellings))
        return Mutant(f"{how}, {spelling}", spellings[spelling], request, good)


def _common_name(user: str) -> bytes:
    return der.rdn(der.attribute(der.COMMON_NAME, user))


def _set_user(subject: Node, user: str) -> None:
    """A user of its own, so that no two keys ask for one name and no name is asked for by two keys."""
    for rdn in subject.children:
        for attribute in rdn.children:
            if attribute.children[0].encode() == der.oid(der.COMMON_NAME):
                attribute.children[1].content = user.encode()


def _sign(key, version: bytes, subject: bytes, attributes: bytes) -> bytes:
    spki = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    info = der.sequence(version, subject, spki, attributes)
    if isinstance(key, ed25519.Ed25519PrivateKey):
        algorithm, signature = ED25519, key.sign(info)
    else:
        algorithm, signature = ECDSA_SHA256, key.sign(info, ec.ECDSA(hashes.SHA256()))
    return der.sequence(info, algorithm, der.tlv(der.BIT_STRING, b"\0" + signature))


def _other_half(signature: bytes) -> bytes:
    """The (r, n - s) of an ECDSA signature over P-256, which verifies as well; anything else as it is."""
    content = der.split(signature)[1][1:]
    if not content.startswith(b"\x30") or len(content) > 75:
        return signature
    r, s = (int.from_bytes(der.split(number)[1]) for number in der.children(content))
    numbers = (der.tlv(der.INTEGER, n.to_bytes(n.bit_length() // 8 + 1, "big")) for n in (r, P256_ORDER - s))
    return der.tlv(der.BIT_STRING, b"\0" + der.sequence(*numbers))
