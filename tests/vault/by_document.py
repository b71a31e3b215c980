"""A reader of packs by docs/FORMAT.md alone, for whoever has the data folder and the root key, and none of this code.

It uses nothing of ours. What it cannot read, the document does not say.
"""

from __future__ import annotations

import hmac
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import zstandard
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESGCMSIV
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

CHUNK, LEAF, ROOT, VERSION = 1, 2, 3, 4


@dataclass(frozen=True)
class Version:
    """One version, as its record says, and its bytes."""

    document: bytes
    number: int
    name: str
    content: bytes


def derived(key: bytes, info: bytes, length: int = 32) -> bytes:
    """D(key, info)."""
    return HKDFExpand(hashes.SHA256(), length, b"mellanrum " + info).derive(key)


def key_of(data: Path, root: bytes, identity: bytes) -> bytes:
    """Return a key of the keystore."""
    wrapped = (data / "keystore" / f"{identity.hex()}.key").read_bytes()
    form, root_id, epoch, nonce, sealed = wrapped[0], wrapped[1:9], wrapped[9:13], wrapped[13:25], wrapped[25:]
    assert (form, root_id) == (1, hmac.digest(root, b"mellanrum root id", "sha256")[:8])
    return AESGCMSIV(derived(root, b"v1 wrap")).decrypt(nonce, sealed, identity + epoch + root_id)


def versions(data: Path, root: bytes) -> Iterator[Version]:
    """Yield all versions that the packs of all spaces hold."""
    for folder in sorted((data / "vault").iterdir()):
        space = bytes.fromhex(folder.name)
        enc = derived(key_of(data, root, space), b"v1 chunk encryption")
        records = [
            record for pack in sorted((folder / "packs").glob("*.pack")) for record in _records(pack, space, enc)
        ]
        stored = {(kind, cid): plain for kind, cid, plain in records if kind != VERSION}
        for kind, _, plain in records:
            if kind == VERSION:
                yield _version(plain, stored)


def _records(pack: Path, space: bytes, enc: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    raw = pack.read_bytes()
    assert raw[:5] == b"MRPK\x01" and raw[8:24] == space and raw[24:32] == bytes.fromhex(pack.stem)[::-1]
    at = 32
    while raw[at : at + 4] == b"MRRC":
        header = raw[at : at + 64]
        kind, codec, nonce, cid = header[5], header[6], header[8:20], header[28:60]
        sealed, opened = struct.unpack("<II", header[20:28])
        assert header[4] == 1 and struct.unpack("<I", header[60:])[0] == zlib.crc32(header[:60])
        at += 64 + sealed
        plain = AESGCM(hmac.digest(enc, cid, "sha256")).decrypt(nonce, raw[at - sealed : at], space + header)
        if codec == 1:
            plain = zstandard.ZstdDecompressor().decompress(plain, max_output_size=opened)
        assert len(plain) == opened
        yield kind, cid, plain


def _version(plain: bytes, stored: dict[tuple[int, bytes], bytes]) -> Version:
    assert plain[0] == 1
    number, size, _ = struct.unpack("<QQq", plain[8:32])
    fields, at = [], 32
    for _ in range(6):
        length = int.from_bytes(plain[at : at + 2], "little")
        fields.append(plain[at + 2 : at + 2 + length])
        at += 2 + length
    content = _content(fields[4], stored)
    assert len(content) == size
    return Version(fields[0], number, fields[3].decode(), content)


def _content(told: bytes, stored: dict[tuple[int, bytes], bytes]) -> bytes:
    if told[0] == 0:
        return b""
    return _pieces(told[0], told[10:42], stored)


def _pieces(kind: int, cid: bytes, stored: dict[tuple[int, bytes], bytes]) -> bytes:
    plain = stored[kind, cid]
    if kind == CHUNK:
        return plain
    row = 36 if kind == LEAF else 44
    count = int.from_bytes(plain[4:8], "little")
    rows = [plain[8 + row * number : 8 + row * (number + 1)] for number in range(count)]
    return b"".join(_pieces(kind - 1, each[:32], stored) for each in rows)
