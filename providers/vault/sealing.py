"""Sealing: a piece of content becomes a record under its space's keys, and back.

cid = BLAKE3 keyed with K_id; compressed by zstd level 1 where that helps; AES-256-GCM (NIST SP 800-38D) under
HMAC-SHA256(K_enc, cid) with a random nonce, the space's id and the record's header as associated data. So a record
opens only as what it was stored as: in its space, under its cid, as its kind.
"""

from __future__ import annotations

import hmac
import os
import threading
from dataclasses import dataclass
from typing import Final, Protocol

import zstandard
from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from providers.vault.errors import damaged
from providers.vault.records import (
    HEAD_BYTES,
    NONCE_BYTES,
    OVERHEAD_BYTES,
    TAG_BYTES,
    Codec,
    Head,
    Kind,
    pack_record_head,
    record_head,
)

Buffer = bytes | bytearray | memoryview

_LEVEL: Final = 1
#: What compression must save to be worth undoing at each read: one part in 32.
_SAVING: Final = 32
_PROBE_BYTES: Final = 4096
#: After so many chunks in a row that did not compress, a probe decides whether to try the whole of the next,
_RUN: Final = 2
#: and holds for so many bytes from there on.
_PROBED_BYTES: Final = 16 << 10


class Sealer(Protocol):
    """Seals small things under one purpose of a space's key."""

    def seal(self, label: bytes, data: bytes) -> bytes:
        """Return `data` sealed, bound to `label`."""

    def open(self, label: bytes, sealed: bytes) -> bytes:
        """Return what was sealed under `label`. Raises if it is not that."""


class SpaceKeys(Protocol):
    """What the vault needs of the keys of one space."""

    @property
    def chunk_id_key(self) -> bytes:
        """K_id, 32 bytes."""

    @property
    def chunk_enc_key(self) -> bytes:
        """K_enc, 32 bytes."""

    @property
    def cdc_seed(self) -> int:
        """K_cdc, 63 bits."""

    @property
    def drafts(self) -> Sealer:
        """Seals the keys of drafts."""


class _Zstd(threading.local):
    """A compressor and decompressor of this thread: one used by two threads at once crashes the interpreter."""

    def __init__(self) -> None:
        self.compressor = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=False, write_content_size=False)
        self.decompressor = zstandard.ZstdDecompressor()


_zstd = _Zstd()


@dataclass(slots=True)
class Compression:
    """Remembers how well a content compresses, so that little time is lost on what does not. One thread at a time."""

    failures: int = 0
    spared_bytes: int = 0

    def packed(self, plain: Buffer) -> tuple[Codec, Buffer]:
        """Return the codec and the bytes to seal."""
        size = len(plain)
        if self.failures >= _RUN and size > _PROBE_BYTES // 2:
            if self.spared_bytes > 0:
                self.spared_bytes -= size
                return Codec.NONE, plain
            middle = size // 2
            probed = memoryview(plain)[middle : middle + _PROBE_BYTES]
            if len(_zstd.compressor.compress(probed)) > len(probed) - len(probed) // _SAVING:
                self.spared_bytes = _PROBED_BYTES - size
                return Codec.NONE, plain
        small = _zstd.compressor.compress(plain)
        if len(small) <= size - size // _SAVING - 1:
            self.failures = 0
            return Codec.ZSTD, small
        self.failures += 1
        return Codec.NONE, plain


class Sealing:
    """Seals and opens the records of one space. Safe to use from many threads."""

    def __init__(self, space: bytes, keys: SpaceKeys) -> None:
        self.space = space
        self.keys = keys
        self.seed = keys.cdc_seed
        # Keyed once: a copy of it is taken for each record.
        self._enc = hmac.new(keys.chunk_enc_key, digestmod="sha256")
        # A cid says what kind it is of, so that no document can pose as a manifest.
        self._id_keys = {
            kind: keys.chunk_id_key
            if kind is Kind.CHUNK
            else hmac.digest(keys.chunk_id_key, b"mellanrum kind %d" % kind, "sha256")
            for kind in Kind
        }

    def cid(self, kind: Kind, plain: Buffer) -> bytes:
        """Return the 32-byte identity of a piece of content in this space."""
        return blake3(plain, key=self._id_keys[kind]).digest()

    def seal_into(self, out: memoryview, kind: Kind, cid: bytes, plain: Buffer, memory: Compression) -> int:
        """Write the record of `plain` at the beginning of `out`; return its length, at most OVERHEAD_BYTES more."""
        # The record of a version is ids and a name: nothing to compress.
        codec, packed = (Codec.NONE, plain) if kind is Kind.VERSION else memory.packed(plain)
        head = Head(kind, codec, os.urandom(NONCE_BYTES), len(packed) + TAG_BYTES, len(plain), cid)
        return self.seal_packed(out, head, packed)

    def seal_packed(self, out: memoryview, head: Head, packed: Buffer) -> int:
        """Write the record of what is packed already, under the header given."""
        header = pack_record_head(head)
        end = HEAD_BYTES + head.sealed_bytes
        out[:HEAD_BYTES] = header
        self._cipher(head.cid).encrypt_into(head.nonce, packed, self.space + header, out[HEAD_BYTES:end])
        return end

    def seal(self, kind: Kind, cid: bytes, plain: Buffer) -> bytes:
        """Return a record by itself."""
        out = bytearray(len(plain) + OVERHEAD_BYTES)
        return bytes(memoryview(out)[: self.seal_into(memoryview(out), kind, cid, plain, Compression())])

    def open_into(self, out: memoryview, record: memoryview, kind: Kind, cid: bytes, raw_bytes: int) -> None:
        """Write the content of a record into `out`, which has `raw_bytes`. Raises DamagedContent (place unknown)."""
        head = self._checked(record, kind, cid)
        if head.raw_bytes != raw_bytes or len(out) != raw_bytes:
            raise damaged("a record has another length than its manifest says")
        sealed = record[HEAD_BYTES:]
        aad = self.space + bytes(record[:HEAD_BYTES])
        try:
            if head.codec == Codec.NONE:
                if head.sealed_bytes != raw_bytes + TAG_BYTES:
                    raise damaged("a record has another length than its header says")
                self._cipher(cid).decrypt_into(head.nonce, sealed, aad, out)
            else:
                out[:] = _unpacked(self._cipher(cid).decrypt(head.nonce, sealed, aad), head)
        except InvalidTag:
            raise damaged("a record does not match its seal") from None

    def open(self, record: Buffer, kind: Kind, cid: bytes) -> bytes:
        """Return the content of a record. Raises DamagedContent (place unknown)."""
        view = memoryview(record)
        head = self._checked(view, kind, cid)
        aad = self.space + bytes(view[:HEAD_BYTES])
        try:
            plain = self._cipher(cid).decrypt(head.nonce, view[HEAD_BYTES : head.record_bytes], aad)
        except InvalidTag:
            raise damaged("a record does not match its seal") from None
        plain = _unpacked(plain, head) if head.codec == Codec.ZSTD else plain
        if len(plain) != head.raw_bytes:
            raise damaged("a record has another length than its header says")
        return plain

    def _cipher(self, cid: bytes) -> AESGCM:
        mac = self._enc.copy()
        mac.update(cid)
        return AESGCM(mac.digest())

    @staticmethod
    def _checked(record: memoryview, kind: Kind, cid: bytes) -> Head:
        head = record_head(record)
        if head is None or HEAD_BYTES + head.sealed_bytes != len(record):
            raise damaged("no whole record stands where one should")
        if head.cid != cid or head.kind != kind:
            raise damaged("another record stands where one should")
        if head.codec not in (Codec.NONE, Codec.ZSTD):
            raise damaged("a record was packed in a way that is unknown here")
        return head


def _unpacked(packed: bytes, head: Head) -> bytes:
    try:
        plain = _zstd.decompressor.decompress(packed, max_output_size=max(head.raw_bytes, 1))
    except zstandard.ZstdError:
        raise damaged("a record cannot be unpacked") from None
    if len(plain) != head.raw_bytes:
        raise damaged("a record has another length than its header says")
    return plain
