"""The recovery kit: the root key under a passphrase, as text to be printed and put in a safe.

What is printed is base32 in numbered lines, each with a check of its own, so that a line mistyped is named. Beneath it
are a format byte, a salt, a nonce and the key, sealed by AES-256-GCM-SIV under Argon2id (RFC 9106) of the passphrase.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import secrets
import unicodedata
from collections.abc import Iterator

from argon2.low_level import Type, hash_secret_raw
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV

from auth.keyring import KEY_BYTES, RootKey
from server.cli.errors import InputWrong, Misused, WrongPassphrase

PASSPHRASE_CHARACTERS_MIN = 15
FORMAT = b"\x01"
_SALT_BYTES, _NONCE_BYTES, _TAG_BYTES = 16, 12, 16
_SEALED_BYTES = 1 + _SALT_BYTES + _NONCE_BYTES + KEY_BYTES + _TAG_BYTES
_LINE_CHARACTERS = 20
_CHECK_CHARACTERS = 4
_ALPHABET = "abcdefghjkmnpqrstvwxyz23456789"
#: Neither blank lines before it nor more groups than it has characters: else another file might take hours to refuse.
_LINE = re.compile(r"^[ \t]*(\d+)[.:]?((?:\s+[A-Za-z2-7]{1,4}){1,20})\s+=\s*([A-Za-z2-7]{4})\s*$", re.MULTILINE)


def new_passphrase() -> str:
    """Return a fresh passphrase of 24 characters that are not mistaken for each other, about 117 bits."""
    drawn = [secrets.choice(_ALPHABET) for _ in range(24)]
    return "-".join("".join(drawn[start : start + 4]) for start in range(0, 24, 4))


def check_passphrase(passphrase: str, command: str) -> str:
    """Return the passphrase if it is long enough. Raises Misused."""
    if len(passphrase) < PASSPHRASE_CHARACTERS_MIN:
        problem = f"A passphrase needs at least {PASSPHRASE_CHARACTERS_MIN} characters."
        raise Misused(problem=problem, command=command)
    return passphrase


def text_of(root: RootKey, passphrase: str, made: str) -> str:
    """Return the kit as it is printed. `made` is the day, for the reader."""
    salt, nonce = os.urandom(_SALT_BYTES), os.urandom(_NONCE_BYTES)
    sealed = AESGCMSIV(_derived(passphrase, salt)).encrypt(nonce, bytes.fromhex(root.text()), FORMAT)
    return _WORDS.format(id=root.id.hex(), made=made, lines="\n".join(_lines(FORMAT + salt + nonce + sealed)))


def root_of(text: str, passphrase: str, source: str) -> RootKey:
    """Return the root key that a kit holds. Raises InputWrong (which line), WrongPassphrase."""
    raw = _unprinted(text, source)
    salt, nonce = raw[1 : 1 + _SALT_BYTES], raw[1 + _SALT_BYTES : 1 + _SALT_BYTES + _NONCE_BYTES]
    try:
        key = AESGCMSIV(_derived(passphrase, salt)).decrypt(nonce, raw[1 + _SALT_BYTES + _NONCE_BYTES :], FORMAT)
    except InvalidTag:
        raise WrongPassphrase from None
    return RootKey(key)


def _derived(passphrase: str, salt: bytes) -> bytes:
    secret = unicodedata.normalize("NFC", passphrase.strip()).encode("utf-8")
    return hash_secret_raw(
        secret, salt, time_cost=4, memory_cost=256 * 1024, parallelism=1, hash_len=KEY_BYTES, type=Type.ID
    )


def _lines(raw: bytes) -> Iterator[str]:
    characters = base64.b32encode(raw).decode("ascii").rstrip("=")
    for number, start in enumerate(range(0, len(characters), _LINE_CHARACTERS), 1):
        own = characters[start : start + _LINE_CHARACTERS]
        groups = " ".join(own[at : at + 4] for at in range(0, len(own), 4))
        yield f"  {number}.  {groups:<24}  =  {_check(number, own)}"


def _check(number: int, characters: str) -> str:
    digest = hashlib.sha256(f"{number} {characters}".encode("ascii")).digest()
    return base64.b32encode(digest).decode("ascii")[:_CHECK_CHARACTERS]


def _unprinted(text: str, source: str) -> bytes:
    """Return the bytes that the lines spell. Raises InputWrong, naming the line."""
    found = [
        (int(number), "".join(groups.split()).upper(), check.upper()) for number, groups, check in _LINE.findall(text)
    ]
    for place, (number, characters, check) in enumerate(found, 1):
        if number != place or _check(number, characters) != check:
            raise InputWrong(file=source, why=f"line {place} of the kit is missing or mistyped.")
    characters = "".join(own for _, own, _ in found)
    try:
        raw = base64.b32decode(characters + "=" * (-len(characters) % 8))
    except ValueError:
        raw = b""
    if len(raw) != _SEALED_BYTES or raw[:1] != FORMAT:
        raise InputWrong(file=source, why="it holds no recovery kit, or not the whole of one.")
    return raw


_WORDS = """\
MELLANRUM RECOVERY KIT

Root key {id}, made {made}.

Whoever has this sheet and its passphrase can read all that the installation
stores. Print it, put it in a safe, and keep the passphrase in another place.
Then delete the file.

{lines}

To get the key back, type these lines into a file, the numbers and the checks
after "=" included, and run

  mellanrum key recover FILE --to KEYFILE

Without the root key nothing that the installation stores can be read, by
anyone.
"""
