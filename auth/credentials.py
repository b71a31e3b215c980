"""Secrets that people and devices show: passwords, codes of a second factor, recovery codes, device passwords.

What people choose goes through Argon2id (RFC 9106); what we make is random enough for one SHA-256, and has a form that
is recognised, so that a mistyped one never costs a slow hash.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
import threading
import unicodedata

import pyotp
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from auth.errors import WeakPassword

DEVICE_PREFIX = "mrd_"
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_SECRET_CHARACTERS = 28  # 140 bits
_CHECK_CHARACTERS = 4
RECOVERY_CODES = 10
_RECOVERY_CHARACTERS = 16  # 80 bits
PASSWORD_CHARACTERS_MIN = 15
PASSWORD_CHARACTERS_MIN_SECOND_FACTOR = 8
PASSWORD_CHARACTERS_MAX = 256
STEP_SECONDS = 30
#: The words that guesses begin with, beside a person's own names.
_COMMON = ("password", "lösenord", "losenord", "mellanrum", "qwerty", "123456", "letmein", "welcome", "sommar", "admin")

#: OWASP's first choice of parameters: 46 MiB, one pass, one lane. Hashes are sealed besides.
_hasher = PasswordHasher(time_cost=1, memory_cost=46 * 1024, parallelism=1)
_slots = threading.BoundedSemaphore(max(1, os.cpu_count() or 1))


def _hash_of_nothing() -> str:
    """Return a hash in PHC form that costs as much as any to compare with, and that no password has."""
    salt, digest = (base64.b64encode(secrets.token_bytes(size)).decode().rstrip("=") for size in (16, 32))
    return f"$argon2id$v=19$m={_hasher.memory_cost},t={_hasher.time_cost},p={_hasher.parallelism}${salt}${digest}"


_DUMMY = _hash_of_nothing()


def normal_password(password: str) -> bytes:
    """Return a password as it is hashed: NFC, UTF-8 (NIST 800-63B)."""
    return unicodedata.normalize("NFC", password).encode("utf-8")


def check_strength(password: str, *, second_factor: bool, names: tuple[str, ...] = ()) -> None:
    """Raise WeakPassword for a password that is short, common, or made of the person's own names."""
    if is_device_form(password):
        raise WeakPassword(why="it looks like a device password.")
    least = PASSWORD_CHARACTERS_MIN_SECOND_FACTOR if second_factor else PASSWORD_CHARACTERS_MIN
    if len(password) < least:
        raise WeakPassword(why=f"it has fewer than {least} characters.")
    if len(password) > PASSWORD_CHARACTERS_MAX:
        raise WeakPassword(why=f"it has more than {PASSWORD_CHARACTERS_MAX} characters.")
    if any(ord(letter) < 32 or ord(letter) == 127 or 0xD800 <= ord(letter) <= 0xDFFF for letter in password):
        raise WeakPassword(why="it has characters that cannot be typed everywhere.")
    bare = password.casefold()
    own = {word for name in names for word in (name.casefold(), *name.casefold().split()) if len(word) > 3}
    for word in sorted((*_COMMON, *own), key=len, reverse=True):
        bare = bare.replace(word, "")
    if len(set(bare)) < 5:
        raise WeakPassword(why="it is a common word, a name, or the same few characters.")


def hash_password(password: str) -> bytes:
    """Return the Argon2id hash in PHC form. At most one a core at a time."""
    with _slots:
        return _hasher.hash(normal_password(password)).encode("ascii")


def password_fits(password: str, phc: bytes | None) -> bool:
    """Return whether the password has that hash. Without a hash the same work is done, and the answer is no."""
    if len(password) > PASSWORD_CHARACTERS_MAX:
        return False
    try:
        with _slots:
            _hasher.verify(_DUMMY if phc is None else phc.decode("ascii"), normal_password(password))
    except (VerificationError, InvalidHashError):
        return False
    return phc is not None


def new_device_password() -> str:
    """Return a fresh device password: a prefix, 140 random bits, and a check of four characters."""
    secret = "".join(secrets.choice(_ALPHABET) for _ in range(_SECRET_CHARACTERS))
    return DEVICE_PREFIX + secret + _check(secret)


def is_device_form(text: str) -> bool:
    """Return whether the text means to be a device password, mistyped or not. Such a one is never hashed slowly."""
    return text.startswith(DEVICE_PREFIX)


def is_device_password(text: str) -> bool:
    """Return whether the text has the form of a device password, its check included."""
    body = text.removeprefix(DEVICE_PREFIX)
    if body == text or len(body) != _SECRET_CHARACTERS + _CHECK_CHARACTERS:
        return False
    return body.isascii() and _check(body[:_SECRET_CHARACTERS]) == body[_SECRET_CHARACTERS:]


def device_digest(password: str) -> bytes:
    """Return the SHA-256 by which a device password is looked up."""
    return hashlib.sha256(password.encode("utf-8")).digest()


def key_fingerprint(public_key: bytes) -> str:
    """Return a public key's fingerprint as OpenSSH shows it: `SHA256:` and base 64 without its padding."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(public_key).digest()).decode("ascii").rstrip("=")


def _check(secret: str) -> str:
    raw = hashlib.sha256(b"mellanrum device " + secret.encode("utf-8")).digest()
    return "".join(_ALPHABET[byte % 32] for byte in raw[:_CHECK_CHARACTERS])


def new_totp_secret() -> str:
    """Return a fresh secret for RFC 6238, 160 bits in base 32."""
    return pyotp.random_base32(32)


def totp_step(secret: str, code: str, at_seconds: int) -> int | None:
    """Return the time step that a code is right for, one step of drift allowed either way; None if it is wrong."""
    totp = pyotp.TOTP(secret, interval=STEP_SECONDS)
    given = code.replace(" ", "")
    now = at_seconds // STEP_SECONDS
    if not given.isascii():
        return None
    fits = [step for step in (now - 1, now, now + 1) if hmac.compare_digest(totp.at(step * STEP_SECONDS), given)]
    return fits[-1] if fits else None


def new_recovery_codes() -> list[str]:
    """Return fresh recovery codes, in groups of four characters."""
    made = ["".join(secrets.choice(_ALPHABET) for _ in range(_RECOVERY_CHARACTERS)) for _ in range(RECOVERY_CODES)]
    return ["-".join(code[start : start + 4] for start in range(0, len(code), 4)) for code in made]


def recovery_digest(code: str) -> bytes:
    """Return the digest by which a recovery code is kept."""
    bare = "".join(code.replace("-", "").split()).lower()
    return hashlib.sha256(b"mellanrum recovery " + bare.encode("utf-8", "replace")).digest()
