"""Checkpoints as text, after C2SP tlog-checkpoint v1 and signed-note v1: pure functions, no server needed.

    mellanrum/<installation>/<log>
    <size>
    <root hash, base64>

    — mellanrum/<installation>/<log> <base64 of key id ‖ Ed25519 signature>

In a later epoch of the log the origin ends with "/" and when that was opened, and behind the root stands a line for
each epoch opened so far: "epoch <at> <size> <root hash, base64>".

The key's name is the origin, so one signing key gives each log a verifier key of its own; the key id is the first 4
bytes of SHA-256(name ‖ 0x0A ‖ 0x01 ‖ public key).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from providers.audit.errors import BadNote
from providers.audit.merkle import EMPTY_ROOT, HASH_BYTES

NOTE_BYTES_MAX = 1 << 16
SIGNATURES_MAX = 100
#: What a public key takes in base64.
_PUBLIC_CHARACTERS = 44
_ED25519 = b"\x01"
_DASH = "\u2014 "
_EPOCH = "epoch "
#: The last microsecond that has a date.
AT_MAX = 253_402_300_799_999_999


@dataclass(frozen=True, slots=True)
class Epoch:
    """What a log goes on from since a backup was put back: opened when, at how many events, and the root over these."""

    at: int
    size: int
    root: bytes

    def line(self) -> str:
        """Return the line of a checkpoint that tells of it."""
        return f"{_EPOCH}{self.at} {self.size} {base64.b64encode(self.root).decode()}\n"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A signed size and root of one log, and its epochs but the first, the oldest first."""

    origin: str
    size: int
    root: bytes
    epochs: tuple[Epoch, ...] = ()

    @property
    def log(self) -> str:
        """The origin that the log has in its first epoch: whatever else was opened, it is of this log."""
        return self.origin.removesuffix(_suffix(self.epochs))

    def text(self) -> str:
        """Return what is signed."""
        head = f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"
        return head + "".join(epoch.line() for epoch in self.epochs)


def origin(installation: bytes, uid: bytes, epochs: Sequence[Epoch] = ()) -> str:
    """Return the name of a log in the checkpoints of its newest epoch."""
    return f"mellanrum/{installation.hex()}/{uid.hex()}{_suffix(epochs)}"


def _suffix(epochs: Sequence[Epoch]) -> str:
    return f"/{epochs[-1].at}" if epochs else ""


def key_id(name: str, public: bytes) -> bytes:
    """Return the 4 bytes that a signature line begins with; `public` is the raw Ed25519 key."""
    return hashlib.sha256(name.encode() + b"\n" + _ED25519 + public).digest()[:4]


def verifier_key(name: str, public: bytes) -> str:
    """Return a public key in the form that C2SP tools take, `<name>+<key id>+<base64>`."""
    return f"{name}+{key_id(name, public).hex()}+{base64.b64encode(_ED25519 + public).decode()}"


def public_bytes(text: str | bytes) -> bytes:
    """Return the raw 32 bytes of a public key given as such, in hex, base64, or as a verifier key. Raises BadNote."""
    if isinstance(text, bytes):
        raw = text
    elif not _is_text(text):
        raise BadNote(why="the public key is damaged.")
    elif len(text.strip()) > _PUBLIC_CHARACTERS and text.count("+") >= 2:  # base64 has a "+" here and there, too
        name, given_id, encoded = text.strip().split("+", 2)
        raw = _decoded(encoded)
        if raw[:1] != _ED25519 or key_id(name, raw[1:]).hex() != given_id:
            raise BadNote(why="the public key is damaged.")
        raw = raw[1:]
    else:
        stripped = text.strip()
        try:
            raw = bytes.fromhex(stripped)
        except ValueError:
            raw = _decoded(stripped)
    if len(raw) != 32:
        raise BadNote(why="a public key has 32 bytes.")
    return raw


def sign(text: str, name: str, key: Ed25519PrivateKey) -> str:
    """Return the text with one signature line. `name` has neither spaces nor "+"; the text ends with a newline."""
    if not text.endswith("\n") or not name or any(sign in name for sign in " +\n"):
        raise ValueError("no such note can be signed")
    public = key.public_key().public_bytes_raw()
    signature = base64.b64encode(key_id(name, public) + key.sign(text.encode())).decode()
    return f"{text}\n{_DASH}{name} {signature}\n"


def open_note(note: str, name: str, public: bytes) -> str:
    """Return the text of a note that carries a good signature under `name` by the key `public`. Raises BadNote."""
    if len(note) > NOTE_BYTES_MAX:
        raise BadNote(why="it is too long.")
    if not _is_text(note):
        raise BadNote(why="it is no text.")
    text, gap, lines = note.rpartition("\n\n")
    if not gap or not lines.endswith("\n") or lines.count("\n") > SIGNATURES_MAX:
        raise BadNote(why="it has no signature.")
    text += "\n"
    expected = key_id(name, public)
    for line in lines[:-1].split("\n"):
        signer, _, encoded = line.removeprefix(_DASH).partition(" ")
        raw = _decoded(encoded) if line.startswith(_DASH) else b""
        if len(raw) <= 4:
            raise BadNote(why="a line of its signatures is damaged.")
        if signer == name and raw[:4] == expected:
            try:
                Ed25519PublicKey.from_public_bytes(public).verify(raw[4:], text.encode())
            except InvalidSignature:
                raise BadNote(why="it is not signed by that key.") from None
            return text
    raise BadNote(why="it is not signed by that key.")


def parse(text: str) -> Checkpoint:
    """Return the checkpoint that a note's text says. After the third line those of epochs count. Raises BadNote."""
    lines = text.split("\n")
    if len(lines) < 4 or lines[-1] or not lines[0]:
        raise BadNote(why="it has not the form of a checkpoint.")
    epochs = tuple(_epoch(line) for line in lines[3:-1] if line.startswith(_EPOCH))
    found = Checkpoint(lines[0], _number(lines[1]), _root(lines[2]), epochs)
    if epochs and not (_is_line(epochs) and found.size > epochs[-1].size and found.origin.endswith(_suffix(epochs))):
        raise BadNote(why="its epochs contradict each other.")
    return found


def _epoch(line: str) -> Epoch:
    words = line.removeprefix(_EPOCH).split(" ")
    if len(words) != 3:
        raise BadNote(why="a line of its epochs is damaged.")
    return Epoch(_number(words[0]), _number(words[1]), _root(words[2]))


def _is_line(epochs: Sequence[Epoch]) -> bool:
    """Return whether each follows the one before, and what goes on from nothing has the root of nothing."""
    follow = all(old.at < new.at and old.size <= new.size for old, new in pairwise(epochs))
    return follow and epochs[-1].at <= AT_MAX and all(each.size or each.root == EMPTY_ROOT for each in epochs)


def _number(digits: str) -> int:
    if not digits.isascii() or not digits.isdigit() or len(digits) > 18 or str(int(digits)) != digits:
        raise BadNote(why="its size is no number.")
    return int(digits)


def _root(text: str) -> bytes:
    root = _decoded(text)
    if len(root) != HASH_BYTES:
        raise BadNote(why="its root is no hash.")
    return root


def signed(checkpoint: Checkpoint, key: Ed25519PrivateKey) -> str:
    """Return the checkpoint as a signed note."""
    return sign(checkpoint.text(), checkpoint.origin, key)


def opened(note: str, public: bytes) -> Checkpoint:
    """Return the checkpoint of a note, of whichever log, once its signature is found good. Raises BadNote."""
    named = note.split("\n", 1)[0]
    return parse(open_note(note, named, public))


def _is_text(text: str) -> bool:
    """Return whether a text is one: JSON can write halves of characters, and a command line bytes that are none."""
    return not any(0xD800 <= ord(letter) <= 0xDFFF for letter in text)


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise BadNote(why="it is damaged.") from None
