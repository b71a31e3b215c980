"""What a draft's `sync` makes durable besides blocks, sealed in one of two places of its file by turns."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from providers.vault.records import NONCE_BYTES

#: In the first format a state did not say which blocks it has: of one whose head was lost nobody knew any more.
WITHOUT_HELD: Final = 1
WITH_HELD: Final = 2
AREA_BYTES: Final = 4096
#: Behind the head with the sealed key.
AREAS: Final = (AREA_BYTES, 2 * AREA_BYTES)
HELD_BYTES: Final = 32

_LENGTH = struct.Struct("<I")
_STATE = struct.Struct("<QQQQHH")
_CUT = struct.Struct("<QQ")


@dataclass(slots=True)
class State:
    """What `sync` makes durable besides blocks. `written` counts slots ever written, and so tells old from new."""

    number: int = 0
    written: int = 0
    size: int = 0
    #: Of the base, only what is below shows through: a cut and regrown tail reads as zeros.
    base_bytes: int = 0
    base: bytes = b""
    #: (slots written before, size): what those slots hold beyond that size was cut off. Sizes only grow.
    cuts: tuple[tuple[int, int], ...] = ()
    #: Tells which blocks there are, each by its last write: see `Held`. Empty in the first format.
    held: bytes = b""

    def pack(self) -> bytes:
        """Return the state as it is sealed."""
        fields = (self.number, self.written, self.size, self.base_bytes, len(self.base), len(self.cuts))
        return _STATE.pack(*fields) + self.base + b"".join(_CUT.pack(*cut) for cut in self.cuts) + self.held

    @classmethod
    def unpack(cls, data: bytes) -> State:
        """Return what `pack` wrote."""
        number, written, size, base_bytes, base_length, cut_count = _STATE.unpack_from(data)
        end = _STATE.size + base_length
        held = end + cut_count * _CUT.size
        cuts = tuple(_CUT.iter_unpack(data[end:held]))
        return cls(number, written, size, base_bytes, data[_STATE.size : end], cuts, data[held:])


class Readable(Protocol):
    """What holds the beginning of a draft's file."""

    def read(self, offset: int, length: int) -> bytes:
        """Return the bytes there, fewer past the end."""
        ...


def label(draft: bytes, form: int) -> bytes:
    """Return what the seal of a state is bound to."""
    return draft + (b"state" if form == WITHOUT_HELD else b"state %d" % form)


def sealed(state: State, cipher: AESGCM, nonce: bytes, bound_to: bytes) -> bytes:
    """Return a state as it stands in its place."""
    whole = nonce + cipher.encrypt(nonce, state.pack(), bound_to)
    return _LENGTH.pack(len(whole)) + whole


def newest(file: Readable, cipher: AESGCM, bound_to: bytes) -> State | None:
    """Return the state of a draft that was last synced, None if none was."""
    found = [state for at in AREAS if (state := _opened(file.read(at, AREA_BYTES), cipher, bound_to)) is not None]
    return max(found, key=lambda state: state.number, default=None)


def _opened(area: bytes, cipher: AESGCM, bound_to: bytes) -> State | None:
    if len(area) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack_from(area)
    whole = area[_LENGTH.size : _LENGTH.size + length]
    try:
        plain = cipher.decrypt(whole[:NONCE_BYTES], whole[NONCE_BYTES:], bound_to)
    except (InvalidTag, ValueError):
        return None  # being written when the machine stopped; the other one stands
    return State.unpack(plain)
