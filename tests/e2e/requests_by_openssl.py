"""Keys and requests, made by the real openssl as a person would make them."""

from pathlib import Path

from authorities import openssl

KEYS = {
    "rsa-2048": ("genrsa", "2048"),
    "rsa-3072": ("genrsa", "3072"),
    "rsa-4096": ("genrsa", "4096"),
    "p-256": ("ecparam", "-genkey", "-name", "prime256v1", "-noout"),
    "p-384": ("ecparam", "-genkey", "-name", "secp384r1", "-noout"),
    "p-521": ("ecparam", "-genkey", "-name", "secp521r1", "-noout"),
    "ed25519": ("genpkey", "-algorithm", "ED25519"),
    # None of these may be accepted.
    "rsa-1024": ("genrsa", "1024"),
    "rsa-2047": ("genrsa", "2047"),
    "rsa-2048-e3": ("genrsa", "-3", "2048"),
    "p-224": ("ecparam", "-genkey", "-name", "secp224r1", "-noout"),
    "secp256k1": ("ecparam", "-genkey", "-name", "secp256k1", "-noout"),
    "p-256-explicit": ("ecparam", "-genkey", "-name", "prime256v1", "-noout", "-param_enc", "explicit"),
    "ed448": ("genpkey", "-algorithm", "ED448"),
}


def key(folder: Path, kind: str = "p-256", name: str = "user") -> Path:
    """A new private key file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.key"
    command, *options = KEYS[kind]
    if command == "genrsa":
        openssl(command, "-out", path, *options)
    else:
        openssl(command, *options, "-out", path)
    return path


def request(key: Path, subject: str, *options) -> bytes:
    """`openssl req -new -key KEY -subj SUBJECT`, as PEM."""
    return openssl("req", "-new", "-utf8", "-key", key, "-subj", subject, *options).encode()


def new_request(folder: Path, user: str, *groups: str, kind: str = "p-256", name: str | None = None) -> bytes:
    """A new key, and a request for `user` in `groups`."""
    return request(key(folder, kind, name or user), subject(user, *groups))


def subject(user: str, *groups: str) -> str:
    """What goes after `-subj`."""
    return "".join([f"/CN={_escaped(user)}", *(f"/O={_escaped(group)}" for group in groups)])


def request_by_config(folder: Path, key: Path, config: str) -> bytes:
    """A request whose every part comes from an openssl configuration file."""
    path = folder / "request.cnf"
    path.write_text(config)
    return openssl("req", "-new", "-key", key, "-config", path).encode()


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("/", "\\/").replace("+", "\\+")
