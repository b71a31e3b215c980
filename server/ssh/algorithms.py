"""Which algorithms are offered, by name and in order: what ssh-audit finds no fault with, and, behind a setting, more.

AES-GCM goes before ChaCha20: it is several times faster here. It is the client's order that counts (RFC 4253 7.1), so
`without_slow_ciphers` keeps ChaCha20 from clients that are known to have AES-GCM and to prefer the other.
"""

from __future__ import annotations

from typing import Final

KEX: Final = ("mlkem768x25519-sha256", "curve25519-sha256", "curve25519-sha256@libssh.org")
CIPHERS: Final = (
    "aes128-gcm@openssh.com",
    "aes256-gcm@openssh.com",
    "chacha20-poly1305@openssh.com",
    "aes256-ctr",
    "aes128-ctr",
)
MACS: Final = ("hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com")
#: By what our host keys sign: RSA with SHA-2 alone, and not by the names that SSH.COM gave to that.
HOST_KEYS: Final = (b"ssh-ed25519", b"rsa-sha2-512", b"rsa-sha2-256")
#: By what clients' keys may sign: no SHA-1, no DSA, and no certificates, for nobody here vouches for keys.
SIGNATURES: Final = (
    "ssh-ed25519",
    "sk-ssh-ed25519@openssh.com",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "rsa-sha2-512",
    "rsa-sha2-256",
)
RSA_BITS_MIN: Final = 2048
#: By what a host key of RSA signs where another kind of key was agreed on.
RSA_SIGNATURE: Final = b"rsa-sha2-512"

LEGACY_KEX: Final = ("diffie-hellman-group14-sha256", "diffie-hellman-group14-sha1", "diffie-hellman-group1-sha1")
LEGACY_CIPHERS: Final = ("aes256-cbc", "aes128-cbc", "3des-cbc")
LEGACY_MACS: Final = ("hmac-sha2-256", "hmac-sha1")
LEGACY_HOST_KEYS: Final = (b"ssh-rsa",)

_CHACHA: Final = b"chacha20-poly1305@openssh.com"
_HAS_GCM: Final = b"SSH-2.0-OpenSSH_"


def kex(*, legacy: bool) -> tuple[str, ...]:
    """Return the key exchanges."""
    return KEX + (LEGACY_KEX if legacy else ())


def ciphers(*, legacy: bool) -> tuple[str, ...]:
    """Return the ciphers."""
    return CIPHERS + (LEGACY_CIPHERS if legacy else ())


def macs(*, legacy: bool) -> tuple[str, ...]:
    """Return the message authentication codes."""
    return MACS + (LEGACY_MACS if legacy else ())


def host_keys(*, legacy: bool) -> tuple[bytes, ...]:
    """Return the algorithms of host keys."""
    return HOST_KEYS + (LEGACY_HOST_KEYS if legacy else ())


def without_slow_ciphers(offered: list[bytes], client_version: bytes) -> list[bytes]:
    """Return the ciphers to offer to a client, by its identification string (RFC 4253 4.2)."""
    if not client_version.startswith(_HAS_GCM):
        return offered
    return [each for each in offered if each != _CHACHA]


def is_safe_without_strict_kex(cipher: str) -> bool:
    """Return whether a cipher withstands CVE-2023-48795 with a client that does not know strict key exchange."""
    return "chacha20" not in cipher and not cipher.endswith("-cbc")
