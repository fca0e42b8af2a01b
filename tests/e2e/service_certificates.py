"""Certificates for TLS: of the service, and of its clients."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from authorities import SIGNS
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

SERVER, CLIENT = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH


@dataclass
class Leaf:
    """A certificate and its key, on disk."""

    certificate: Path
    key: Path

    @property
    def curl(self) -> tuple:
        return ("--cert", self.certificate, "--key", self.key)

    @property
    def der(self) -> bytes:
        certificate = x509.load_pem_x509_certificate(self.certificate.read_bytes())
        return certificate.public_bytes(serialization.Encoding.DER)


class Issuer:
    """A CA that has nothing to do with any cluster."""

    def __init__(self, folder: Path, name: str = "a company's CA"):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.key = folder, ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder(
            self.name, self.name, self.key.public_key(), x509.random_serial_number(),
            now - timedelta(days=1), now + timedelta(days=365),
        ).add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)  # fmt: skip
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), critical=False)
        builder = builder.add_extension(SIGNS, critical=True)
        self.root = folder / "root.crt"
        self.root.write_bytes(builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def service(self, folder: Path, days: float = 30) -> Leaf:
        """For a service on 127.0.0.1, which is also `localhost`."""
        names = [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
        return self.leaf(folder, "countersign", SERVER, names, days=days, stem="tls")

    def client(self, name: str, *names: x509.GeneralName, usage=CLIENT, days: float = 30, begins: float = -1) -> Leaf:
        """For a client of this CN, with these other names."""
        folder = self.folder / f"client-{x509.random_serial_number():x}"
        return self.leaf(folder, name, usage, list(names), days=days, begins=begins, stem="client")

    def leaf(self, folder: Path, name: str, usage, names: list, *, days: float, stem: str, begins: float = -1) -> Leaf:
        folder.mkdir(parents=True, exist_ok=True)
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.now(UTC)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)] if name else [])
        builder = x509.CertificateBuilder(
            self.name, subject, key.public_key(), x509.random_serial_number(),
            now + timedelta(days=begins), now + timedelta(days=days),
        ).add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)  # fmt: skip
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        builder = builder.add_extension(issuer, critical=False)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=not name)
        certificate = builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        leaf = Leaf(folder / f"{stem}.crt", folder / f"{stem}.key")
        replace(leaf.certificate, certificate)
        replace(leaf.key, private, 0o600)
        return leaf


def replace(path: Path, content: bytes, mode: int = 0o644) -> None:
    """As a careful administrator does it: beside, then renamed."""
    beside = path.with_name(f".{path.name}.new")
    beside.write_bytes(content)
    beside.chmod(mode)
    beside.rename(path)
