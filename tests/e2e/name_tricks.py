"""Names that try to be read as others, each with what must come of it. The policy that meets them is as wide as it
can be written (see `test_names.py`): what is refused here is refused whatever the rows say, or said to be for lack of
a row."""

import unicodedata
from dataclasses import dataclass

from der import (
    BMP, COMMON_NAME, IA5, NUMERIC, ORGANIZATION, ORGANIZATIONAL_UNIT, PRINTABLE, T61, UNIVERSAL, USER_ID, UTF8,
    attribute, oid, rdn, sequence, tlv,
)  # fmt: skip

MASTERS = "system:masters"
LOOKS = "name_looks_reserved"
DENIED = "policy_denied"
CHARACTER = "name_character_not_accepted"
SPACE = "name_space_at_end"
NFC = "name_not_nfc"
STRING = "csr_string_type_not_accepted"
ATTRIBUTE = "csr_subject_attribute_not_accepted"
MIXED = "csr_rdn_multi_valued"
MALFORMED = "csr_malformed"

SERIAL_NUMBER, COUNTRY, LOCALITY, TITLE, GIVEN_NAME, PSEUDONYM = (
    "2.5.4.5", "2.5.4.6", "2.5.4.7", "2.5.4.12", "2.5.4.42", "2.5.4.65",
)  # fmt: skip
EMAIL, DOMAIN = "1.2.840.113549.1.9.1", "0.9.2342.19200300.100.1.25"
UNSTRUCTURED_NAME = "1.2.840.113549.1.9.2"
KUBERNETES_UID = "1.3.6.1.4.1.57683.2"
VISIBLE = 0x1A


@dataclass(frozen=True)
class Names:
    """A certificate for exactly these, byte for byte."""

    user: str
    groups: tuple[str, ...] = ()


@dataclass(frozen=True)
class Trick:
    what: str
    subject: tuple[bytes, ...]
    """RDNs, byte for byte."""
    outcome: str | Names
    """The code of the refusal, or what is issued."""


def cn(value: str, tag: int = UTF8) -> bytes:
    return rdn(attribute(COMMON_NAME, value, tag))


def o(value: str, tag: int = UTF8) -> bytes:
    return rdn(attribute(ORGANIZATION, value, tag))


def raw(kind: str, tag: int, content: bytes) -> bytes:
    """An attribute whose bytes need not be what its type says."""
    return tlv(0x31, sequence(oid(kind), tlv(tag, content)))


# Every one of these is a sound name that a person could take for `system:masters`, or that begins as `system:` to the
# eye. No row can be written for them, and no row gives them.
LOOK_ALIKES = {
    "capitals": "SYSTEM:MASTERS",
    "title case": "System:Masters",
    "one capital": "system:Masters",
    "one capital before the colon": "systEm:masters",
    "alternating case": "sYsTeM:mAsTeRs",
    "a space after the colon": "system: masters",
    "a space before the colon": "system :masters",
    "spaces everywhere": "s y s t e m : m a s t e r s",
    "a no-break space": "system:\u00a0masters",
    "a narrow no-break space": "system:\u202fmasters",
    "an en quad, which is its own NFC as an en space": "system:\u2002masters",
    "an em space": "system:\u2003masters",
    "a hair space": "system:\u200amasters",
    "a figure space": "system:\u2007masters",
    "a mathematical space": "system:\u205fmasters",
    "an ideographic space": "system:\u3000masters",
    "an ogham space": "system:\u1680masters",
    "a braille blank": "system:\u2800masters",
    "a braille blank at the end": "system:masters\u2800",
    "a combining grapheme joiner": "system\u034f:masters",
    "a combining grapheme joiner at the end": "system:masters\u034f",
    "a variation selector": "system\ufe0f:masters",
    "a text variation selector": "system:mast\ufe0eers",
    "a supplementary variation selector": "system:mast\U000e0100ers",
    "a Mongolian variation selector": "system\u180b:masters",
    "a Hangul filler": "system:\u3164masters",
    "a half-width Hangul filler": "system:\uffa0masters",
    "a Hangul choseong filler": "system\u115f:masters",
    "a Hangul jungseong filler": "system:masters\u1160",
    "a Khmer inherent vowel": "system\u17b4:masters",
    "full-width": "ｓｙｓｔｅｍ：ｍａｓｔｅｒｓ",
    "full-width capitals": "ＳＹＳＴＥＭ：ＭＡＳＴＥＲＳ",
    "a full-width letter": "ｓystem:masters",
    "a full-width colon": "system：masters",
    "a small colon": "system﹕masters",
    "a presentation form of the colon": "system︓masters",
    "a ratio": "system∶masters",
    "a modifier letter colon": "system꞉masters",
    "a triangular colon": "systemːmasters",
    "an Armenian full stop": "system։masters",
    "a Hebrew sof pasuq": "system׃masters",
    "a raised colon": "system˸masters",
    "a two dot punctuation": "system⁚masters",
    "a Lisu colon": "systemꓽmasters",
    "a Devanagari visarga": "systemःmasters",
    "a Syriac colon": "system\u0703masters",
    "a Mongolian full stop": "system\u1803masters",
    "a runic colon": "system᛬masters",
    "a Z notation colon": "system⦂masters",
    "an Ethiopic word space": "system፡masters",
    "a Bamum colon": "system꛴masters",
    "a braille colon": "system⠆masters",
    "mathematical bold": "𝐬𝐲𝐬𝐭𝐞𝐦:𝐦𝐚𝐬𝐭𝐞𝐫𝐬",
    "mathematical italic": "𝑠𝑦𝑠𝑡𝑒𝑚:𝑚𝑎𝑠𝑡𝑒𝑟𝑠",
    "mathematical script": "𝓼𝔂𝓼𝓽𝓮𝓶:𝓶𝓪𝓼𝓽𝓮𝓻𝓼",
    "mathematical fraktur": "𝔰𝔶𝔰𝔱𝔢𝔪:𝔪𝔞𝔰𝔱𝔢𝔯𝔰",
    "mathematical double-struck": "𝕤𝕪𝕤𝕥𝕖𝕞:𝕞𝕒𝕤𝕥𝕖𝕣𝕤",
    "mathematical sans-serif": "𝗌𝗒𝗌𝗍𝖾𝗆:𝗆𝖺𝗌𝗍𝖾𝗋𝗌",
    "mathematical monospace": "𝚜𝚢𝚜𝚝𝚎𝚖:𝚖𝚊𝚜𝚝𝚎𝚛𝚜",
    "one mathematical letter": "system:𝐦asters",
    "circled letters": "ⓢⓨⓢⓣⓔⓜ:ⓜⓐⓢⓣⓔⓡⓢ",
    "circled capitals": "ⓈⓎⓈⓉⒺⓂ:ⓂⒶⓈⓉⒺⓇⓈ",
    "parenthesised capitals as boxes": "🆂🆈🆂🆃🅴🅼:🅼🅰🆂🆃🅴🆁🆂",
    "negative circles": "🅢🅨🅢🅣🅔🅜:🅜🅐🅢🅣🅔🅡🅢",
    "flag letters": "🇸🇾🇸🇹🇪🇲:🇲🇦🇸🇹🇪🇷🇸",
    "small capitals": "ꜱʏꜱᴛᴇᴍ:ᴍᴀꜱᴛᴇʀꜱ",
    "superscripts": "ˢʸˢᵗᵉᵐ:ᵐᵃˢᵗᵉʳˢ",
    "subscripts": "ₛyₛₜₑₘ:ₘₐₛₜₑrₛ",
    "a long s": "ſystem:masters",
    "long s everywhere": "ſyſtem:maſterſ",
    "a ligature of st": "syﬆem:masters",
    "a ligature of long s and t": "syﬅem:masters",
    "r and n for m": "systern:masters",
    "r and n for m after the colon": "system:rnasters",
    "R and N for M in capitals": "SYSTERN:RNASTERS",
    "a Cyrillic dze": "ѕystem:masters",
    "a Cyrillic u": "sуstem:masters",
    "a Cyrillic straight u": "sүstem:masters",
    "a Cyrillic te": "sysтem:masters",
    "a Cyrillic ie": "systеm:masters",
    "a Cyrillic em": "systeм:masters",
    "a Cyrillic a": "system:mаsters",
    "a Cyrillic ghe": "system:masteгs",
    "all that Cyrillic has": "ѕуѕтеm:mаѕтеrѕ",
    "Cyrillic capitals": "ЅУЅТЕМ:МАЅТЕRЅ",
    "an Abkhasian che": "systҽm:masters",
    "a Greek gamma": "sγstem:masters",
    "Greek capitals": "SΥSΤEΜ:ΜASΤERS",
    "a Greek tau": "sysτem:masters",
    "an alpha": "system:mαsters",
    "a Latin alpha": "system:mɑsters",
    "an Armenian capital": "ՏYSTEM:MASTERS",
    "Cherokee": "ᏚYᏚTEM:MASTERS",
    "small Cherokee": "ꮪyꮪtem:masters",
    "Lisu": "ꓢꓬꓢꓔꓰꓟ:ꓟꓮꓢꓔꓰꓣꓢ",
    "a Lisu letter": "ꓢystem:masters",
    "Deseret": "𐑈ystem:masters",
    "a Coptic letter": "sysⲧem:masters",
    "an estimated sign": "syst℮m:masters",
    "a Roman thousand": "systeⅿ:masters",
    "a bit of everything": "ѕ\u00a0у ѕ\ufe0fтＥｍ：ⓜаꜱᴛｅ𝐫S",
    "a look-alike of the prefix alone": "ѕystem:anything",
    "capitals of the prefix alone": "SYSTEM:anything",
    "only the prefix, with a look-alike": "systеm:",
    "a look-alike of anonymous": "system:Anonymous",
    "a look-alike of authenticated": "system:authentiсated",
    "a look-alike of a service account": "system:serviceAccount:kube-system:admin",
    "a look-alike of all service accounts": "system:serviceaссounts",
    "a look-alike of a node": "system:Node:worker-1",
    "a look-alike of the nodes": "system:nоdes",
    "a look-alike of the bootstrappers": "system:Bootstrappers:kubeadm",
    "a look-alike of kubeadm's prefix": "KubeAdm:cluster-admins",
    "a Cyrillic letter in kubeadm's prefix": "kubeаdm:cluster-admins",
    "r and n in kubeadm's prefix": "kubeadrn:cluster-admins",
    "a look-alike of the cluster's own prefix": "CORP:admins",
    "a Cyrillic letter in the cluster's own prefix": "соrр:admins",
    "a look-alike of the cluster's own name": "Root",
    "zeros in the cluster's own name": "r00t",
    "an ideographic space in the cluster's own name": "r\u3000oot",
}

# No name holds these, wherever it stands. The second is the rule that it breaks.
NOT_NAMES = {
    "nothing": ("", "name_empty"),
    "254 bytes": ("a" * 254, "name_too_long"),
    "254 bytes of two-byte letters": ("é" * 127, "name_too_long"),
    "30,000 bytes": ("a" * 30_000, "name_too_long"),
    "a space before": (" system:masters", SPACE),
    "a space after": ("system:masters ", SPACE),
    "a space before alice": (" alice", SPACE),
    "a no-break space after alice": ("alice\u00a0", SPACE),
    "an ideographic space before": ("\u3000alice", SPACE),
    "a newline after": ("alice\n", SPACE),
    "only a space": (" ", SPACE),
    "a NUL": ("system:masters\0", CHARACTER),
    "a NUL and a harmless end": ("system:masters\0.example.com", CHARACTER),
    "a NUL before": ("alice\0system:masters", CHARACTER),
    "a newline": ("alice\nsystem:masters", CHARACTER),
    "a tab": ("system:\tmasters", CHARACTER),
    "a carriage return": ("alice\rsystem:masters", CHARACTER),
    "a backspace": ("systemx\b:masters", CHARACTER),
    "an escape sequence": ("alice\x1b[2K\x1b[1Gsystem:masters", CHARACTER),
    "a delete": ("system\x7f:masters", CHARACTER),
    "a next line": ("system\u0085:masters", CHARACTER),
    "a zero width space": ("sys\u200btem:masters", CHARACTER),
    "a zero width non-joiner": ("sys\u200ctem:masters", CHARACTER),
    "a zero width joiner": ("sys\u200dtem:masters", CHARACTER),
    "a word joiner": ("sys\u2060tem:masters", CHARACTER),
    "an invisible times": ("sys\u2062tem:masters", CHARACTER),
    "a soft hyphen": ("sys\u00adtem:masters", CHARACTER),
    "a byte order mark": ("\ufeffsystem:masters", CHARACTER),
    "a Mongolian vowel separator": ("sys\u180etem:masters", CHARACTER),
    "a right-to-left override": ("\u202esretsam:metsys", CHARACTER),
    "a left-to-right mark": ("system\u200e:masters", CHARACTER),
    "an Arabic letter mark": ("system\u061c:masters", CHARACTER),
    "an isolate": ("\u2066system:masters\u2069", CHARACTER),
    "a language tag": ("alice\U000e0001", CHARACTER),
    "tags that spell masters": ("alice" + "".join(chr(0xE0000 + ord(c)) for c in MASTERS), CHARACTER),
    "an interlinear annotation": ("alice\ufff9x\ufffb", CHARACTER),
    "a musical beam": ("sys\U0001d173tem:masters", CHARACTER),
    "a line separator": ("alice\u2028system:masters", CHARACTER),
    "a paragraph separator": ("alice\u2029system:masters", CHARACTER),
    "a private use character": ("alice\ue000", CHARACTER),
    "a supplementary private use character": ("alice\U0010fffd", CHARACTER),
    "an unassigned code point": ("alice\u0378", CHARACTER),
    "a noncharacter": ("alice\uffff", CHARACTER),
    "the last code point": ("alice\U0010ffff", CHARACTER),
    "a zero width space in alice": ("alice\u200b", CHARACTER),
    "a soft hyphen in alice": ("al\u00adice", CHARACTER),
    "a decomposed letter": ("Zoe\u0308", NFC),
    "a decomposed letter in masters": ("system:ma\u0301sters", NFC),
    "an Ångström sign": ("\u212bngstrom", NFC),
    "a Kelvin sign": ("\u212aubeadm:cluster-admins", NFC),
    "an Ohm sign": ("\u2126mega", NFC),
    "a Greek question mark": ("alice\u037e", NFC),
    "marks in the wrong order": ("a\u0315\u0300\u05ae", NFC),
    "decomposed Hangul": (unicodedata.normalize("NFD", "김철수"), NFC),
    "a compatibility ideograph": ("\uf900", NFC),
    "an en quad": ("system:\u2000masters", NFC),
}

# Sound names that no wildcard gives and that no row spells out here.
WITHOUT_A_ROW = {
    "masters": MASTERS,
    "anonymous": "system:anonymous",
    "authenticated": "system:authenticated",
    "unauthenticated": "system:unauthenticated",
    "a service account": "system:serviceaccount:kube-system:clusterrole-aggregation-controller",
    "a service account without a name": "system:serviceaccount:",
    "all service accounts": "system:serviceaccounts",
    "the service accounts of a namespace": "system:serviceaccounts:kube-system",
    "what begins as service accounts": "system:serviceaccountsx",
    "a node": "system:node:worker-1",
    "the nodes": "system:nodes",
    "the bootstrappers": "system:bootstrappers",
    "kubeadm's bootstrappers": "system:bootstrappers:kubeadm:default-node-token",
    "the scheduler": "system:kube-scheduler",
    "the controller manager": "system:kube-controller-manager",
    "the kubelet's API": "system:kubelet-api-admin",
    "the aggregator": "system:aggregator",
    "the prefix alone": "system:",
    "the prefix and a star": "system:*",
    "masters and more": "system:masters-of-the-universe",
    "masters with an accent": "system:másters",
    "kubeadm's prefix alone": "kubeadm:",
    "kubeadm's admins, which a row gives to another": "kubeadm:cluster-admins",
    "the cluster's own prefix": "corp:admins",
    "the cluster's own name": "root",
}

# Other names to every reader and to kube-apiserver, however they look: they compare byte for byte, and each stands in
# a row of its own, spelled out.
HARMLESS = (
    "alice@corp.com", "ci/deploy-1", "Zoë", "王小明", "山田太郎", "김철수", "Жанна", "Ωmega", "علي", "ไทย",
    "Jean-Luc O'Neil", "a  b", "a", "0", "-", "--help", "*", "a*b", "~", ".", "..", "../../etc/passwd", "/", "//",
    "😀", "null", "true", "~root", "=1+1", "@SUM(A1)", "+x", "-x", "#x", "|", "&", "<script>alert(1)</script>",
    "'; DROP TABLE certificates; --", '"', "'", "`id`", "$(id)", "${PATH}", "%00", "%73ystem:masters",
    "system%3Amasters", "s%79stem", "&#115;ystem:masters", "\\", "\\n", "\\u0073ystem:masters", "\\73ystem:masters",
    "\\00", "alice,O=system:masters", "alice/O=system:masters", "/CN=alice/O=system:masters", "alice+O=system:masters",
    "alice\\,O=system:masters", "CN=system:masters", "O=system:masters", "alice, O = system:masters", 'a="b"', "a;b",
    "a=b", "a:b", "[x]: y", "- a", "a: b # c", "? x", "!!str x", "%YAML 1.2", "{}", "[]",
    "masters", "systems", "system", "system-masters", "system.masters", "system;masters", "ecosystem:masters",
    "my-system:masters", "xsystem:masters", "systemmasters", "metsys:sretsam", "kubeadmin", "kubeadm", "corporate",
    "sýstem:masters", "ṡystem:masters", "systém:masters", "5ystem:masters", "5y5t3m:m45t3r5", "sysem:masters",
    "syst:masters", "sistem:masters", "administrator", "token:alice", "sa:prod:kube-system:x", "X509SHA256=00",
)  # fmt: skip

# To a person these may all be `alice`, who may sign herself; to the policy and to kube-apiserver they are others, and
# no row speaks of them (the wide row is of printable ASCII).
LOOK_LIKE_ALICE = {
    "a Cyrillic a": "аlice",
    "a Cyrillic i": "alіce",
    "a Cyrillic es": "aliсe",
    "a Greek alpha": "αlice",
    "a Latin alpha": "ɑlice",
    "full-width": "ａｌｉｃｅ",
    "mathematical": "𝐚𝐥𝐢𝐜𝐞",
    "an accent": "alicé",
    "a dotless i": "alıce",
    "a small capital": "aʟice",
    "a Roman one": "alⅰce",
    "a variation selector": "alice\ufe0f",
    "a Hangul filler": "alice\u3164",
    "a braille blank": "alice\u2800",
    "a grapheme joiner": "ali\u034fce",
    "a combining mark of nothing": "alice\u0332",
}

# These are ASCII, so the wide row gives them: a wildcard is what its author wrote. They are not `alice` to anybody who
# compares bytes.
ASCII_LIKE_ALICE = ("ALICE", "Alice", "a1ice", "aIice", "a|ice", "al ice", "alice.", "alice_", "aliceO", "allce")


def _names() -> list[Trick]:
    """Each text twice: as the user, and as a group of `alice`."""
    found = []
    for place, subject in {"user": lambda text: (cn(text),), "group": lambda text: (cn("alice"), o(text))}.items():
        for what, text in LOOK_ALIKES.items():
            found.append(Trick(f"{place}: {what}", subject(text), LOOKS))
        for what, (text, code) in NOT_NAMES.items():
            found.append(Trick(f"{place}: {what}", subject(text), code))
        for what, text in WITHOUT_A_ROW.items():
            found.append(Trick(f"{place}: {what}", subject(text), DENIED))
        for what, text in LOOK_LIKE_ALICE.items():
            found.append(Trick(f"{place}: alice with {what}", subject(text), DENIED))
        for text in (*HARMLESS, *ASCII_LIKE_ALICE):
            names = Names(text) if place == "user" else Names("alice", (text,))
            found.append(Trick(f"{place}: {text!r}", subject(text), names))
    return found


def _string_types() -> list[Trick]:
    found = []
    for name, tag in {"BMP": BMP, "T61": T61, "IA5": IA5, "Universal": UNIVERSAL, "Visible": VISIBLE}.items():
        found.append(Trick(f"masters as a group in a {name}String", (cn("alice"), o(MASTERS, tag)), STRING))
        found.append(Trick(f"masters as the user in a {name}String", (cn(MASTERS, tag),), STRING))
        found.append(Trick(f"alice in a {name}String", (cn("alice", tag),), STRING))
    odd = {
        "digits in a NumericString": (COMMON_NAME, NUMERIC, b"007"),
        "letters in a NumericString": (COMMON_NAME, NUMERIC, b"alice"),
        "an OCTET STRING": (COMMON_NAME, 0x04, b"alice"),
        "a GeneralString": (COMMON_NAME, 0x1B, b"alice"),
        "a GraphicString": (COMMON_NAME, 0x19, b"alice"),
        "a VideotexString": (COMMON_NAME, 0x15, b"alice"),
        "an ObjectDescriptor": (COMMON_NAME, 0x07, b"alice"),
        "a NULL": (COMMON_NAME, 0x05, b""),
        "a BOOLEAN": (COMMON_NAME, 0x01, b"\xff"),
        "an INTEGER": (COMMON_NAME, 0x02, b"\x61"),
        "a constructed UTF8String": (COMMON_NAME, 0x2C, tlv(UTF8, b"ali") + tlv(UTF8, b"ce")),
        "a SEQUENCE": (COMMON_NAME, 0x30, tlv(UTF8, b"alice")),
        "a context-specific string": (COMMON_NAME, 0x8C, b"alice"),
        "a PrintableString with an at sign": (COMMON_NAME, PRINTABLE, b"alice@corp.com"),
        "a PrintableString with a star": (COMMON_NAME, PRINTABLE, b"*"),
        "a PrintableString with UTF-8 in it": (COMMON_NAME, PRINTABLE, "Zoë".encode()),
        "a PrintableString with a NUL": (COMMON_NAME, PRINTABLE, b"alice\0"),
        "Latin-1 in a UTF8String": (COMMON_NAME, UTF8, b"Zo\xeb"),
        "an overlong s": (COMMON_NAME, UTF8, b"\xc1\xb3ystem:masters"),
        "an overlong colon": (COMMON_NAME, UTF8, b"system\xc0\xbamasters"),
        "an overlong NUL": (COMMON_NAME, UTF8, b"alice\xc0\x80"),
        "an overlong colon of three bytes": (COMMON_NAME, UTF8, b"system\xe0\x80\xbamasters"),
        "a surrogate": (COMMON_NAME, UTF8, b"alice\xed\xa0\x80"),
        "a pair of surrogates": (COMMON_NAME, UTF8, b"alice\xed\xa0\xbd\xed\xb8\x80"),
        "beyond Unicode": (COMMON_NAME, UTF8, b"alice\xf4\x90\x80\x80"),
        "a five-byte form": (COMMON_NAME, UTF8, b"alice\xf8\x88\x80\x80\x80"),
        "a cut sequence": (COMMON_NAME, UTF8, b"alice\xe2\x82"),
        "a lone continuation byte": (COMMON_NAME, UTF8, b"alice\x80"),
        "UTF-16 in a UTF8String": (COMMON_NAME, UTF8, "é".encode("utf-16-le") + b"\xd8"),
        "an overlong s in a group": (ORGANIZATION, UTF8, b"\xc1\xb3ystem:masters"),
        "Latin-1 in a group": (ORGANIZATION, UTF8, b"gr\xfc\xdfe"),
    }
    for what, (kind, tag, content) in odd.items():
        others = () if kind == COMMON_NAME else (cn("alice"),)
        found.append(Trick(what, (*others, raw(kind, tag, content)), STRING))
    printable = (cn("alice", PRINTABLE), o("dev team", PRINTABLE))
    found.append(Trick("PrintableStrings become UTF8Strings", printable, Names("alice", ("dev team",))))
    found.append(Trick("masters in a PrintableString", (cn("alice"), o(MASTERS, PRINTABLE)), DENIED))
    return found


def _shapes() -> list[Trick]:
    alice, dev, masters = cn("alice"), o("dev"), o(MASTERS)
    of_alice, of_masters = attribute(COMMON_NAME, "alice"), attribute(ORGANIZATION, MASTERS)
    unsorted = tlv(0x31, attribute(ORGANIZATION, "ops") + attribute(ORGANIZATION, "dev"))
    refused = [
        ("two CNs", "csr_cn_repeated", alice, cn("bob")),
        ("the same CN twice", "csr_cn_repeated", alice, alice),
        ("masters as the first CN", "csr_cn_repeated", cn(MASTERS), alice),
        ("masters as the last CN", "csr_cn_repeated", alice, cn(MASTERS)),
        ("a CN before and after the groups", "csr_cn_repeated", alice, dev, cn("bob")),
        ("two CNs in one RDN", MIXED, rdn(of_alice, attribute(COMMON_NAME, "bob"))),
        ("no CN", "csr_cn_missing", dev),
        ("no name at all", "csr_subject_empty"),
        ("a CN and masters in one RDN", MIXED, rdn(of_alice, of_masters)),
        ("a CN and a group in one RDN", MIXED, rdn(of_alice, attribute(ORGANIZATION, "dev"))),
        ("masters and an OU in one RDN", MIXED, alice, rdn(of_masters, attribute(ORGANIZATIONAL_UNIT, "x"))),
        ("two OUs in one RDN", MIXED, alice, rdn(*(attribute(ORGANIZATIONAL_UNIT, unit) for unit in "ab"))),
        ("masters beside dev in one RDN", DENIED, alice, rdn(of_masters, attribute(ORGANIZATION, "dev"))),
        ("masters among the groups", DENIED, alice, dev, masters, o("ops")),
        ("masters before the user", DENIED, masters, alice),
        ("masters twice", DENIED, alice, masters, masters),
        ("a look-alike beside dev in one RDN", LOOKS, alice,
         rdn(attribute(ORGANIZATION, "ѕystem:masters"), attribute(ORGANIZATION, "dev"))),
        ("groups of one RDN out of order", MALFORMED, alice, unsorted),
        ("an empty RDN first", MALFORMED, tlv(0x31, b""), alice),
        ("an empty RDN last", MALFORMED, alice, tlv(0x31, b"")),
        ("a SEQUENCE for an RDN", MALFORMED, sequence(of_alice)),
        ("an attribute without a value", MALFORMED, tlv(0x31, sequence(oid(COMMON_NAME)))),
        ("an attribute with two values", MALFORMED,
         tlv(0x31, sequence(oid(COMMON_NAME), tlv(UTF8, b"alice"), tlv(UTF8, MASTERS.encode())))),
        ("a value before its type", MALFORMED, tlv(0x31, sequence(tlv(UTF8, b"alice"), oid(COMMON_NAME)))),
        ("a user id", ATTRIBUTE, alice, rdn(attribute(USER_ID, MASTERS))),
        ("a serial number", ATTRIBUTE, alice, rdn(attribute(SERIAL_NUMBER, MASTERS, PRINTABLE))),
        ("a title", ATTRIBUTE, alice, rdn(attribute(TITLE, MASTERS))),
        ("a given name", ATTRIBUTE, alice, rdn(attribute(GIVEN_NAME, "alice"))),
        ("a pseudonym", ATTRIBUTE, alice, rdn(attribute(PSEUDONYM, MASTERS))),
        ("an unstructured name", ATTRIBUTE, alice, rdn(attribute(UNSTRUCTURED_NAME, MASTERS))),
        ("the uid that kube-apiserver reads", ATTRIBUTE, alice, rdn(attribute(KUBERNETES_UID, "0"))),
        ("an unknown attribute", ATTRIBUTE, alice, rdn(attribute("1.2.3.4", MASTERS))),
        ("an arc after the type of O", ATTRIBUTE, alice, rdn(attribute(ORGANIZATION + ".1", MASTERS))),
        ("the type of CN with a padded arc", ATTRIBUTE,
         tlv(0x31, sequence(tlv(0x06, b"\x55\x04\x80\x03"), tlv(UTF8, b"alice")))),
        ("an OU with a BOOLEAN", MALFORMED, alice, raw(ORGANIZATIONAL_UNIT, 0x01, b"\xff")),
        ("a hundred and one groups", "csr_too_many_groups", alice, *(o(f"g{number}") for number in range(101))),
    ]  # fmt: skip
    issued = [
        ("an OU that says masters is dropped", Names("alice"), alice, rdn(attribute(ORGANIZATIONAL_UNIT, MASTERS))),
        ("an address that says masters is dropped", Names("alice", ("dev",)), alice, dev,
         rdn(attribute(EMAIL, f"{MASTERS}@corp.com", IA5))),
        ("a domain that says masters is dropped", Names("alice"), alice, rdn(attribute(DOMAIN, MASTERS, IA5))),
        ("a locality in a BMPString is dropped", Names("alice"), alice, rdn(attribute(LOCALITY, MASTERS, BMP))),
        ("a country is dropped", Names("alice"), rdn(attribute(COUNTRY, "DE", PRINTABLE)), alice),
        ("an OU that looks like an O is dropped", Names("alice"), alice,
         rdn(attribute(ORGANIZATIONAL_UNIT, "O=system:masters"))),
        ("two groups in one RDN", Names("alice", ("dev", "ops")), alice,
         rdn(attribute(ORGANIZATION, "ops"), attribute(ORGANIZATION, "dev"))),
        ("a group twice", Names("alice", ("dev", "ops")), alice, dev, o("ops"), dev),
        ("the user after the groups", Names("alice", ("dev",)), dev, alice),
        ("groups that differ in case", Names("alice", ("dev", "Dev")), alice, dev, o("Dev")),
        ("a hundred groups", Names("alice", tuple(f"g{number}" for number in range(100))), alice,
         *(o(f"g{number}") for number in range(100))),
        ("253 bytes", Names("a" * 253, ("b" * 253,)), cn("a" * 253), o("b" * 253)),
    ]  # fmt: skip
    return [Trick(what, tuple(rdns), outcome) for what, outcome, *rdns in [*refused, *issued]]


TRICKS = [*_names(), *_string_types(), *_shapes()]
