"""Just enough DER: to build names that no tool would build, and to compare raw bytes."""

SEQUENCE, SET, OID, INTEGER, BIT_STRING = 0x30, 0x31, 0x06, 0x02, 0x03
UTF8, PRINTABLE, T61, IA5, BMP, UNIVERSAL, NUMERIC = 0x0C, 0x13, 0x14, 0x16, 0x1E, 0x1C, 0x12

COMMON_NAME, ORGANIZATION, ORGANIZATIONAL_UNIT = "2.5.4.3", "2.5.4.10", "2.5.4.11"
USER_ID = "0.9.2342.19200300.100.1.1"


def tlv(tag: int, content: bytes) -> bytes:
    """One element."""
    if len(content) < 0x80:
        return bytes([tag, len(content)]) + content
    length = len(content).to_bytes((len(content).bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


def sequence(*parts: bytes) -> bytes:
    return tlv(SEQUENCE, b"".join(parts))


def oid(dotted: str) -> bytes:
    first, second, *rest = map(int, dotted.split("."))
    out = bytearray([first * 40 + second])
    for arc in rest:
        groups = [arc & 0x7F]
        while arc := arc >> 7:
            groups.append(0x80 | arc & 0x7F)
        out += bytes(reversed(groups))
    return tlv(OID, bytes(out))


def text(tag: int, value: str) -> bytes:
    """A string of that type."""
    encoding = {UTF8: "utf-8", BMP: "utf-16-be", UNIVERSAL: "utf-32-be"}.get(tag, "latin-1")
    return tlv(tag, value.encode(encoding))


def attribute(kind: str, value: str, tag: int = UTF8) -> bytes:
    return sequence(oid(kind), text(tag, value))


def rdn(*attributes: bytes) -> bytes:
    """One relative name, its values sorted as DER wants a SET OF."""
    return tlv(SET, b"".join(sorted(attributes)))


def children(element: bytes) -> list[bytes]:
    """The elements inside a constructed one, each with its own tag and length."""
    _, content = split(element)
    found = []
    while content:
        size = _whole(content)
        found.append(content[:size])
        content = content[size:]
    return found


def split(element: bytes) -> tuple[int, bytes]:
    """Tag and content of one element."""
    start = 2 if element[1] < 0x80 else 2 + (element[1] & 0x7F)
    return element[0], element[start : _whole(element)]


def _whole(content: bytes) -> int:
    if content[1] < 0x80:
        return 2 + content[1]
    width = content[1] & 0x7F
    return 2 + width + int.from_bytes(content[2 : 2 + width], "big")
