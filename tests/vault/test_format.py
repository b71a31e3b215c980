"""What earlier versions wrote stays readable. Vectors are only ever added; docs/FORMAT.md says what they hold."""

from __future__ import annotations

import hashlib
import hmac
import json
import random
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest
import zstandard
from blake3 import blake3
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from auth.keyring import SpaceKeys
from providers.vault.local import LocalStore
from providers.vault.reader import Location
from providers.vault.trails import Trail, abandoned
from providers.vault.vault import Vault, VersionRecord
from tests.vault import by_document
from tests.worlds import managed_room, store

VECTORS = sorted((Path(__file__).parent / "vectors").glob("pack-*.json"))


class OneSpace:
    """The keys of a vector's space."""

    def __init__(self, key: bytes) -> None:
        self._keys = SpaceKeys(key)

    def space(self, space: bytes) -> SpaceKeys:
        return self._keys


def load(file: Path, folder: Path, *, footer: bool) -> tuple[dict[str, Any], bytes, Vault]:
    """Return a vector, its space, and a vault that has its pack."""
    vector = json.loads(file.read_text("utf-8"))
    data = bytes.fromhex(vector["bytes"])
    packs = folder / vector["space"] / "packs"
    packs.mkdir(parents=True)
    end = len(data) if footer else len(data) - vector["footer_bytes"]
    (packs / f"{vector['pack']}.pack").write_bytes(data[:end])
    keys = OneSpace(bytes.fromhex(vector["key"]))
    return vector, bytes.fromhex(vector["space"]), Vault(LocalStore(folder), keys)


@pytest.mark.parametrize("footer", [True, False], ids=["closed", "open"])
@pytest.mark.parametrize("file", VECTORS, ids=lambda file: file.stem)
def test_old_packs_stay_readable(file: Path, footer: bool, tmp_path: Path) -> None:
    vector, space, vault = load(file, tmp_path, footer=footer)
    assert list(vault.scrub(space)) == []
    places, versions = {}, []
    for found in vault.rebuild(space):
        if isinstance(found, VersionRecord):
            versions.append(found)
        else:
            places[found.cid] = Location(found.pack, found.offset, found.length)
    for content, expected in vector["contents"].items():
        reader = vault.reader(space, bytes.fromhex(content), lambda cids: {cid: places[cid] for cid in cids})
        assert reader.read(0, 1 << 20).hex() == expected
    (version,) = versions
    kept = vector["version"]
    for name in ("node", "version_id", "parent", "content", "previous_mac"):
        assert getattr(version, name).hex() == kept[name]
    assert (version.number, version.name, version.size, version.at) == tuple(
        kept[name] for name in ("number", "name", "size", "at")
    )


def test_a_gap_is_stepped_over_as_the_document_says() -> None:
    vector = json.loads(VECTORS[1].read_text("utf-8"))
    data, gaps = bytes.fromhex(vector["bytes"]), []
    at = 32
    while at < len(data):
        if data[at : at + 4] == b"MRRC":
            at += 64 + struct.unpack_from("<I", data, at + 20)[0]
            continue
        magic, form, length, crc = struct.unpack_from("<4sB3xQI", data, at)
        assert (magic, form, crc) == (b"MRGP", 1, zlib.crc32(data[:32] + data[at : at + 16]))
        assert not any(data[at + 20 : at + length])
        gaps.append(length)
        at += length
    assert gaps == [300, 90]


def test_a_trail_is_what_the_document_says(tmp_path: Path) -> None:
    trail = Trail(tmp_path / "trails")
    trail.add(0x1122334455667788, 32, 1 << 20)
    trail.add(2, 7, 9)
    (file,) = (tmp_path / "trails").iterdir()
    data, name = file.read_bytes(), bytes.fromhex(file.stem)
    assert (data[:8], len(data)) == (b"MRTR\1\0\0\0", 8 + 2 * 28)
    for at, fields in ((8, (0x1122334455667788, 32, 1 << 20)), (36, (2, 7, 9))):
        assert struct.unpack_from("<QQQI", data, at) == (*fields, zlib.crc32(name + data[at : at + 24]))
    assert list(abandoned(file.parent)) == [], "whoever writes it is there"
    trail.forget()
    file.write_bytes(data[:-1])  # the power went
    (left,) = (each.ranges for each in abandoned(file.parent))
    assert left == [(0x1122334455667788, 32, 1 << 20)]
    file.write_bytes(data[:8] + bytes(56))
    assert [each.ranges for each in abandoned(file.parent)] == [[]]


def test_the_document_says_how_to_read_a_pack() -> None:
    """A reader written from docs/FORMAT.md alone opens every record of the first vector."""
    vector = json.loads(VECTORS[0].read_text("utf-8"))
    data, space = bytes.fromhex(vector["bytes"]), bytes.fromhex(vector["space"])
    keys = SpaceKeys(bytes.fromhex(vector["key"]))
    assert data[:32] == b"MRPK\x01\0\0\0" + space + int(vector["pack"], 16).to_bytes(8, "little")
    at, kinds = 32, []
    while data[at : at + 4] == b"MRRC":
        head = data[at : at + 64]
        version, kind, codec, zero = head[4:8]
        sealed, raw = struct.unpack("<II", head[20:28])
        cid = head[28:60]
        key = hmac.digest(keys.chunk_enc_key, cid, hashlib.sha256)
        plain = AESGCM(key).decrypt(head[8:20], data[at + 64 : at + 64 + sealed], space + head)
        if codec:
            plain = zstandard.ZstdDecompressor().decompress(plain, max_output_size=raw)
        id_key = keys.chunk_id_key
        if kind != 1:
            id_key = hmac.digest(id_key, b"mellanrum kind %d" % kind, hashlib.sha256)
        assert (version, zero, len(plain), blake3(plain, key=id_key).digest()) == (1, 0, raw, cid)
        kinds.append(kind)
        at += 64 + sealed
    assert data[at : at + 4] == b"MRFT"
    assert data[-4:] == b"MRFE"
    assert kinds == [1, 1, 1, 2, 2, 3, 4]


@pytest.mark.parametrize("form", [1, 2])
def test_drafts_of_each_format_resume(tmp_path: Path, form: int) -> None:
    """A draft written by hand, after docs/FORMAT.md."""
    keys = SpaceKeys(bytes(range(32)))
    space, draft, key = b"S" * 16, b"D" * 16, bytes(range(50, 82))
    sealed = keys.drafts.seal(b"draft" + draft, key)
    cipher = AESGCM(key)
    state = struct.pack("<QQQQHH", 3, 2, 65_546, 0, 0, 0)
    if form == 2:
        of_block_1, of_block_0 = (hmac.digest(key, struct.pack("<QQ", *each), "sha256") for each in ((1, 1), (0, 2)))
        state += bytes(one ^ other for one, other in zip(of_block_1, of_block_0, strict=True))
    label = draft + (b"state" if form == 1 else b"state 2")
    state_sealed = b"n" * 12 + cipher.encrypt(b"n" * 12, state, label)
    head = struct.pack("<4sB3xH", b"MRDF", form, len(sealed)) + sealed
    data = head.ljust(8192, b"?") + (struct.pack("<I", len(state_sealed)) + state_sealed).ljust(4096, b"?")
    for number, block in enumerate((1, 0), 1):
        slot = struct.pack("<Q12sQ", block, b"%012d" % number, number)
        data += slot + cipher.encrypt(slot[8:20], bytes([65 + block]) * 65_536, draft + slot)
    file = tmp_path / space.hex() / "drafts" / f"{draft.hex()}.draft"
    file.parent.mkdir(parents=True)
    file.write_bytes(data)
    vault = Vault(LocalStore(tmp_path), OneSpace(bytes(range(32))))
    assert vault.draft(space, draft, None).read(0, 100_000) == b"A" * 65_536 + b"B" * 10


def test_the_document_and_the_root_key_are_enough_to_read_an_installation(tmp_path: Path) -> None:
    """The document did not say how the keys of the keystore are wrapped, nor what is derived from them."""
    world = managed_room(tmp_path / "data", {})
    drive = world.drive("mia")
    large = random.Random(7).randbytes(24 * 2**20)
    given = {"Köp.txt": [b"ett", b"ett " * 20_000, b""], "Ritning.bin": [large]}
    for name, contents in given.items():
        for content in contents:
            store(drive, f"/Kund AB – Rum/{name}", content)
    world.installation.close()
    root = bytes.fromhex((tmp_path / "data.key").read_text())
    found: dict[str, dict[int, bytes]] = {}
    for version in by_document.versions(tmp_path / "data", root):
        found.setdefault(version.name, {})[version.number] = version.content
    assert found == {name: dict(enumerate(contents, 1)) for name, contents in given.items()}
