"""TLS as today's guidance has it (Mozilla "intermediate"), and a certificate of our own for a first try."""

from __future__ import annotations

import codecs
import datetime
import errno
import ipaddress
import os
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from config.errors import MellanrumError
from config.files import write_whole
from config.logging import Word

SELF_SIGNED_DAYS = 365
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
#: What the handshake may agree on. From OpenSSL 3.5 also what a quantum computer could not break.
GROUPS = ("X25519MLKEM768:" if ssl.OPENSSL_VERSION_INFO >= (3, 5) else "") + "X25519:P-256:P-384"


#: What is wrong with a certificate and key that OpenSSL refuses, where we can tell.
_WORDS = {
    "no_certificate": "the certificate, or one of its chain, is none in PEM",
    "key_has_passphrase": "the key has a passphrase; store it without one",
    "no_key": "the key is none in PEM",
    "key_of_another": "the key belongs to another certificate",
}


class BadCertificate(MellanrumError):
    """The TLS certificate or its key cannot be used: {why}."""

    exit_code = 2

    def __init__(self, cause: str = "", *, why: str = "") -> None:
        super().__init__(cause=Word(cause), why=why or _WORDS.get(cause, f"OpenSSL calls it {cause}"))

    @classmethod
    def of_file(cls, error: OSError, path: Path) -> BadCertificate:
        """Return the error for a file that cannot be read or written."""
        why = error.strerror or type(error).__name__
        return cls(errno.errorcode.get(error.errno or 0, "unknown"), why=f"{error.filename or path}: {why}")


class Pair(NamedTuple):
    """A certificate with its chain, and the key to it, both as PEM text."""

    certificate: str
    key: str


def read(certificate: Path, key: Path) -> Pair:
    """Return what the files hold, once it has been shown to serve. Raises BadCertificate."""
    pair = Pair(_text(certificate), _text(key))
    context(pair)
    try:
        fingerprint(pair)
    except ValueError as error:
        raise BadCertificate("no_certificate") from error
    return pair


def _text(path: Path) -> str:
    """Return a file whose bytes need not be text: beside PEM there may be remarks in any coding."""
    try:
        return path.read_bytes().removeprefix(codecs.BOM_UTF8).decode("latin-1")
    except OSError as error:
        raise BadCertificate.of_file(error, path) from error


def context(pair: Pair) -> ssl.SSLContext:
    """Return a server's context: TLS 1.2 with forward secrecy and AEAD, or 1.3. Raises BadCertificate."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.set_ciphers(CIPHERS)
    made.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    made.set_alpn_protocols(["http/1.1"])
    try:
        with _in_memory(pair.certificate) as certificate, _in_memory(pair.key) as key:
            made.load_cert_chain(certificate, key, password=_no_passphrase)
    except (OSError, ssl.SSLError) as error:
        raise BadCertificate(_cause(pair) or getattr(error, "reason", None) or type(error).__name__) from error
    return made


def _cause(pair: Pair) -> str:
    """Return what is wrong with what OpenSSL refused, empty if that cannot be told."""
    try:
        certificate = x509.load_pem_x509_certificates(pair.certificate.encode("latin-1"))[0]
    except ValueError:
        return "no_certificate"
    try:
        key = serialization.load_pem_private_key(pair.key.encode("latin-1"), None)
    except TypeError:
        return "key_has_passphrase"
    except (ValueError, UnsupportedAlgorithm):
        return "no_key"
    return "" if key.public_key() == certificate.public_key() else "key_of_another"


@contextmanager
def _in_memory(text: str) -> Iterator[str]:
    """Give a path at which OpenSSL, which reads keys from files alone, finds the text; it never reaches a disk."""
    descriptor = os.memfd_create("tls")
    try:
        os.write(descriptor, text.encode("latin-1"))
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def environment() -> dict[str, str]:
    """Return the variables by which a process that serves TLS keeps to GROUPS, unless the operator has set their own.

    Python can choose one group or leave them all, so OpenSSL is told by its own configuration, read as it starts.
    """
    if "OPENSSL_CONF" in os.environ:
        return {}
    return {"OPENSSL_CONF": str(Path(__file__).with_name("openssl.cnf")), "MELLANRUM_TLS_GROUPS": GROUPS}


def fingerprint(pair: Pair) -> str:
    """Return the SHA-256 of the (first) certificate, as clients show it: `AB:CD:…`."""
    found = x509.load_pem_x509_certificate(pair.certificate.encode("latin-1"))
    return found.fingerprint(hashes.SHA256()).hex(":").upper()


def ends_at(pair: Pair) -> datetime.datetime:
    """Return until when the (first) certificate holds."""
    return x509.load_pem_x509_certificate(pair.certificate.encode("latin-1")).not_valid_after_utc


def self_signed(folder: Path, host: str) -> tuple[Path, Path]:
    """Return the paths of a certificate and its key in `folder`, made there unless they stand and still hold."""
    certificate, key = folder / "self-signed.pem", folder / "self-signed.key"
    if not _still_holds(certificate, key):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        private = ec.generate_private_key(ec.SECP256R1())
        write_whole(key, _key_pem(private), 0o600)
        write_whole(certificate, _certificate(private, host).public_bytes(serialization.Encoding.PEM), 0o644)
    return certificate, key


def _still_holds(certificate: Path, key: Path) -> bool:
    try:
        found = x509.load_pem_x509_certificate(certificate.read_bytes())
        read(certificate, key)
    except (OSError, ValueError, BadCertificate):
        return False
    return found.not_valid_after_utc > datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1)


def _certificate(private: ec.EllipticCurvePrivateKey, host: str) -> x509.Certificate:
    names: list[x509.GeneralName] = [
        x509.DNSName(name) for name in dict.fromkeys(("localhost", _ascii(socket.gethostname())))
    ]
    addresses = {ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("::1")}
    try:
        addresses.add(ipaddress.ip_address(host))
    except ValueError:
        names.append(x509.DNSName(_ascii(host)))
    names += [x509.IPAddress(address) for address in sorted(addresses, key=str)]
    now = datetime.datetime.now(datetime.UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Mellanrum, for a first try")])
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=SELF_SIGNED_DAYS))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(private, hashes.SHA256())
    )


def _ascii(name: str) -> str:
    return name.encode("idna").decode("ascii") if not name.isascii() else name


def _key_pem(private: ec.EllipticCurvePrivateKey) -> bytes:
    return private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _no_passphrase() -> str:
    return ""
