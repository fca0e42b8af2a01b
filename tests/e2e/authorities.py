"""Client CAs, made by the real openssl in the shapes that clusters have."""

import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

CA_EXTENSIONS = """
[req]
prompt = no
distinguished_name = dn
x509_extensions = ca
[dn]
CN = unused
[ca]
basicConstraints = critical, CA:TRUE
keyUsage = critical, digitalSignature, keyEncipherment, keyCertSign
subjectKeyIdentifier = hash
[intermediate]
basicConstraints = critical, CA:TRUE
keyUsage = critical, digitalSignature, keyCertSign
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid:always
[api_server]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature, keyEncipherment
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid:always
subjectAltName = IP:127.0.0.1, DNS:localhost
"""


SIGNS = x509.KeyUsage(
    digital_signature=True, key_cert_sign=True, content_commitment=False, key_encipherment=False,
    data_encipherment=False, key_agreement=False, crl_sign=False, encipher_only=False, decipher_only=False,
)  # fmt: skip


@dataclass
class Authority:
    """A CA on disk."""

    certificate: Path
    """What signs: the CA's certificate first, its chain after it."""
    key: Path
    root: Path
    """What a verifier trusts."""
    password_file: Path | None = None


def openssl(*arguments, cwd=None, stdin: bytes | None = None) -> str:
    """Runs openssl and gives its standard output; fails loudly."""
    ran = subprocess.run(["openssl", *map(str, arguments)], cwd=cwd, input=stdin, capture_output=True)
    assert ran.returncode == 0, f"openssl {arguments}: {ran.stderr.decode()}"
    return ran.stdout.decode()


def kubeadm(folder: Path, subject: str = "/CN=kubernetes") -> Authority:
    """What kubeadm writes: RSA 2048 in PKCS#1, and the CN `kubernetes`."""
    folder.mkdir(parents=True, exist_ok=True)
    key = folder / "ca.key"
    openssl("genrsa", "-traditional", "-out", key, 2048)
    assert "BEGIN RSA PRIVATE KEY" in key.read_text()
    return _self_signed(folder, key, subject)


def ec_with_parameters(folder: Path) -> Authority:
    """What `openssl ecparam -genkey` writes: SEC1 after a block of parameters."""
    folder.mkdir(parents=True)
    key = folder / "ca.key"
    openssl("ecparam", "-genkey", "-name", "prime256v1", "-out", key)
    assert "BEGIN EC PARAMETERS" in key.read_text() and "BEGIN EC PRIVATE KEY" in key.read_text()
    return _self_signed(folder, key, "/CN=ec-ca")


def encrypted(folder: Path) -> Authority:
    """An encrypted PKCS#8 key, and the file with its password."""
    authority = kubeadm(folder, "/CN=encrypted-ca")
    password = folder / "password"
    password.write_text("correct horse battery staple\n")
    password.chmod(0o600)
    plain = authority.key.rename(folder / "plain.key")
    openssl(
        "pkcs8", "-topk8", "-in", plain, "-out", authority.key, "-v2", "aes-256-cbc", "-passout", f"file:{password}"
    )
    assert "BEGIN ENCRYPTED PRIVATE KEY" in authority.key.read_text()
    authority.key.chmod(0o600)
    plain.unlink()
    authority.password_file = password
    return authority


def intermediate(folder: Path) -> Authority:
    """An intermediate CA whose file carries its chain; verifiers trust the root only."""
    root = kubeadm(folder / "root", "/O=Example/CN=example root")
    key, certificate = folder / "ca.key", folder / "ca.crt"
    openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384", "-out", key)
    key.chmod(0o600)
    request = folder / "ca.csr"
    openssl("req", "-new", "-key", key, "-subj", "/O=Example/CN=kubernetes clients", "-out", request)
    signed = openssl(
        "x509", "-req", "-in", request, "-CA", root.certificate, "-CAkey", root.key, "-days", 365, "-sha384",
        "-set_serial", 7, "-extfile", _extensions(folder), "-extensions", "intermediate",
    )  # fmt: skip
    certificate.write_text(signed + root.certificate.read_text())
    return Authority(certificate, key, root=root.certificate)


def long_subject(folder: Path) -> Authority:
    """A subject in which a type comes twice."""
    return kubeadm(folder, "/DC=com/DC=example/OU=a/OU=b/CN=x")


def ed25519(folder: Path) -> Authority:
    """An Ed25519 CA, in the PKCS#8 that openssl writes."""
    folder.mkdir(parents=True)
    key = folder / "ca.key"
    openssl("genpkey", "-algorithm", "ED25519", "-out", key)
    return _self_signed(folder, key, "/CN=ed25519-ca")


def server_certificate(folder: Path, authority: Authority) -> tuple[Path, Path]:
    """A certificate and key for an API server on 127.0.0.1, signed by `authority`."""
    folder.mkdir(parents=True, exist_ok=True)
    key, request, certificate = (folder / f"api-server.{end}" for end in ("key", "csr", "crt"))
    openssl("ecparam", "-genkey", "-name", "prime256v1", "-noout", "-out", key)
    openssl("req", "-new", "-key", key, "-subj", "/CN=kube-apiserver", "-out", request)
    openssl(
        "x509", "-req", "-in", request, "-CA", authority.certificate, "-CAkey", authority.key, "-days", 30,
        "-set_serial", 11, "-extfile", _extensions(folder), "-extensions", "api_server", "-out", certificate,
    )  # fmt: skip
    return certificate, key


def self_signed(folder: Path, begins: timedelta, ends: timedelta) -> Authority:
    """A CA that is valid from and until so long from now."""
    folder.mkdir(parents=True)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kubernetes")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now + begins, now + ends)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(SIGNS, critical=True)
        .sign(key, hashes.SHA256())
    )
    authority = Authority(folder / "ca.crt", folder / "ca.key", folder / "ca.crt")
    authority.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    authority.key.write_bytes(private)
    authority.key.chmod(0o600)
    return authority


def _self_signed(folder: Path, key: Path, subject: str) -> Authority:
    key.chmod(0o600)
    certificate = folder / "ca.crt"
    openssl(
        "req", "-x509", "-new", "-key", key, "-days", 3650, "-subj", subject,
        "-config", _extensions(folder), "-out", certificate,
    )  # fmt: skip
    return Authority(certificate, key, root=certificate)


def _extensions(folder: Path) -> Path:
    path = folder / "openssl.cnf"
    path.write_text(CA_EXTENSIONS)
    return path
