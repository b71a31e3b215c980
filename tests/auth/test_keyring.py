"""Keys: kept, bound to what they are for, refused when damaged, and never where the data is."""

from __future__ import annotations

import os
import resource
import threading
import time
from pathlib import Path

import pytest

from auth.errors import (
    CredentialOutside,
    KeyExists,
    KeyringError,
    KeyUnreadable,
    RootKeyExists,
    RootKeyExposed,
    RootKeyMissing,
    RootKeyUnwritable,
    SealBroken,
    UnknownKey,
    WrongRootKey,
)
from auth.keyring import INSTALLATION, Keyring, RootKey, Sealer
from auth.keystore import FileKeystore, Keystore, MemoryKeystore

ONE, TWO = b"1" * 16, b"2" * 16
OLD, NEW = RootKey(b"o" * 32), RootKey(b"n" * 32)


@pytest.fixture
def keyring() -> Keyring:
    made = Keyring(OLD, MemoryKeystore())
    made.begin()
    made.create(ONE)
    made.create(TWO)
    return made


def again(keyring: Keyring, root: RootKey = OLD) -> Keyring:
    return Keyring(root, keyring.keystore)


def test_a_root_key_has_32_bytes() -> None:
    for length in (0, 31, 33):
        with pytest.raises(ValueError, match="32 bytes"):
            RootKey(bytes(length))


def test_keys_are_the_same_for_another_process(keyring: Keyring) -> None:
    other = again(keyring)
    assert other.space(ONE).manifest_key == keyring.space(ONE).manifest_key
    assert other.space(ONE).cdc_seed == keyring.space(ONE).cdc_seed < 1 << 63
    assert other.installation().digests == keyring.installation().digests
    sealed = keyring.organisation(TWO).people.seal(b"label", b"data")
    assert other.organisation(TWO).people.open(b"label", sealed) == b"data"


def test_no_two_purposes_share_a_key(keyring: Keyring) -> None:
    keys = [
        key
        for space in (keyring.space(ONE), keyring.space(TWO))
        for key in (space.chunk_id_key, space.chunk_enc_key, space.manifest_key)
    ]
    keys += [keyring.installation().digests, keyring.installation().signing.private_bytes_raw()]
    assert len(set(keys)) == len(keys)
    space, installation = keyring.space(ONE), keyring.installation()
    sealers = [space.names, space.audit, space.drafts, keyring.space(TWO).names, keyring.organisation(ONE).people]
    sealers += [installation.audit, installation.general]
    for one in sealers:
        for other in sealers:
            if one is not other:
                with pytest.raises(SealBroken):
                    other.open(b"label", one.seal(b"label", b"data"))
                with pytest.raises(SealBroken):
                    other.open_name(b"parent", one.seal_name(b"parent", "name"))


def test_a_key_is_not_made_twice(keyring: Keyring) -> None:
    with pytest.raises(KeyExists):
        keyring.create(ONE)
    with pytest.raises(KeyExists):
        keyring.begin()


def test_a_wrong_root_key_is_told_from_the_right_one(keyring: Keyring) -> None:
    with pytest.raises(WrongRootKey) as raised:
        again(keyring, NEW).installation()
    assert f"expected {OLD.id.hex()}" in str(raised.value)
    assert f"found {NEW.id.hex()}" in str(raised.value)
    assert OLD.text() not in str(raised.value)


def test_any_flipped_or_missing_byte_of_a_wrapped_key_is_noticed(keyring: Keyring) -> None:
    wrapped = keyring.keystore.get(ONE)
    for position in range(len(wrapped)):
        for bit in (1, 128):
            damaged = bytearray(wrapped)
            damaged[position] ^= bit
            keyring.keystore.replace(ONE, bytes(damaged))
            with pytest.raises(KeyringError):
                again(keyring).space(ONE)
    for length in range(len(wrapped)):
        keyring.keystore.replace(ONE, wrapped[:length])
        with pytest.raises(KeyringError):
            again(keyring).space(ONE)


def test_a_key_put_in_the_place_of_another_is_not_used(keyring: Keyring) -> None:
    keyring.keystore.replace(ONE, keyring.keystore.get(TWO))
    with pytest.raises(KeyUnreadable, match=ONE.hex()):
        again(keyring).space(ONE)
    with pytest.raises(KeyUnreadable, match=ONE.hex()):
        again(keyring).check()


def test_a_rewrapping_that_failed_left_keys_of_two_roots(keyring: Keyring) -> None:
    last = keyring.keystore.list()[-1]
    keyring.keystore.replace(last, keyring.keystore.get(ONE if last != ONE else TWO))
    before = [keyring.keystore.get(each) for each in keyring.keystore.list()]
    with pytest.raises(KeyUnreadable, match=last.hex()):
        again(keyring).rewrap(NEW)
    assert [keyring.keystore.get(each) for each in keyring.keystore.list()] == before


def test_a_new_root_key_changes_no_key(keyring: Keyring) -> None:
    before = keyring.space(ONE).manifest_key
    old = keyring.keystore.get(ONE)
    assert keyring.rewrap(NEW) == 3
    assert keyring.root_id == NEW.id.hex()
    assert again(keyring, NEW).space(ONE).manifest_key == before
    again(keyring, NEW).check()
    with pytest.raises(WrongRootKey):
        again(keyring).space(ONE)
    assert keyring.keystore.get(ONE)[9:13] == (int.from_bytes(old[9:13], "big") + 1).to_bytes(4, "big")


def test_an_interrupted_rewrapping_goes_on(keyring: Keyring) -> None:
    keys = keyring.space(TWO).manifest_key
    interrupted = Keyring(OLD, Failing(keyring.keystore, after=1))
    with pytest.raises(OSError, match="power"):
        interrupted.rewrap(NEW)
    assert again(keyring).rewrap(NEW) == 2
    again(keyring, NEW).check()
    assert again(keyring, NEW).space(TWO).manifest_key == keys


class Failing(MemoryKeystore):
    """A store whose power fails at a replacement."""

    def __init__(self, beneath: Keystore, after: int) -> None:
        super().__init__()
        self._beneath = beneath
        self._left = after
        self.list = beneath.list  # type: ignore[method-assign]
        self.get = beneath.get  # type: ignore[method-assign]

    def replace(self, identity: bytes, wrapped: bytes) -> None:
        if not self._left:
            raise OSError("power")
        self._left -= 1
        self._beneath.replace(identity, wrapped)


def test_destroying_a_key_erases_what_it_sealed(tmp_path: Path) -> None:
    keyring = Keyring(OLD, FileKeystore(tmp_path / "keystore"))
    keyring.begin()
    keyring.create(ONE)
    keyring.space(ONE)
    keyring.organisation(ONE)
    keyring.destroy(ONE)
    for ring in (keyring, again(keyring)):
        with pytest.raises(UnknownKey):
            ring.space(ONE)
        with pytest.raises(UnknownKey):
            ring.organisation(ONE)


def test_open_keys_are_kept_in_bounds(keyring: Keyring, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("auth.keyring.KEPT_MAX", 8)
    for number in range(30):
        keyring.create(number.to_bytes(16, "little") if number else b"z" * 16)
    for identity in keyring.keystore.list():
        if identity != INSTALLATION:
            keyring.space(identity)
    assert len(keyring._spaces) <= 8


def test_lookups_find_whatever_the_case_and_form(keyring: Keyring) -> None:
    lookup = keyring.installation().lookup
    assert lookup(b"login", "Åsa") == lookup(b"login", "a\u030asa") == lookup(b"login", "ÅSA")
    assert lookup(b"login", "straße") == lookup(b"login", "STRASSE")
    assert lookup(b"login", "åsa") != lookup(b"login", "asa")
    assert lookup(b"login", "åsa") != lookup(b"organisation", "åsa")


# --- seals


def test_names_look_alike_only_under_the_same_parent() -> None:
    sealer = Sealer(b"k" * 32, b"test")
    assert sealer.seal_name(ONE, "Bid.pdf") == sealer.seal_name(ONE, "Bid.pdf")
    assert sealer.seal_name(ONE, "Bid.pdf") != sealer.seal_name(TWO, "Bid.pdf")
    assert sealer.open_name(ONE, sealer.seal_name(ONE, "Bid.pdf")) == "Bid.pdf"
    assert sealer.open_name(ONE, sealer.seal_name(ONE, "")) == ""
    with pytest.raises(SealBroken):
        sealer.open_name(TWO, sealer.seal_name(ONE, "Bid.pdf"))


def test_data_never_looks_alike() -> None:
    sealer = Sealer(b"k" * 32, b"test")
    assert sealer.seal(b"label", b"data") != sealer.seal(b"label", b"data")
    assert sealer.open(b"label", sealer.seal(b"label", b"")) == b""
    with pytest.raises(SealBroken):
        sealer.open(b"other", sealer.seal(b"label", b"data"))


def test_any_flipped_or_missing_byte_of_a_seal_is_noticed() -> None:
    sealer = Sealer(b"k" * 32, b"test")
    data, name = sealer.seal(b"label", b"data"), sealer.seal_name(ONE, "name")
    for position in range(len(data)):
        with pytest.raises(SealBroken):
            sealer.open(b"label", flipped(data, position))
        with pytest.raises(SealBroken):
            sealer.open(b"label", data[:position])
    for position in range(len(name)):
        with pytest.raises(SealBroken):
            sealer.open_name(ONE, flipped(name, position))
        with pytest.raises(SealBroken):
            sealer.open_name(ONE, name[:position])


def flipped(data: bytes, position: int) -> bytes:
    return data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]


def test_one_sealer_serves_many_threads() -> None:
    sealer = Sealer(b"k" * 32, b"test")
    wrong: list[object] = []

    def work(number: int) -> None:
        for step in range(2000):
            text = f"{number}-{step}"
            if sealer.open_name(ONE, sealer.seal_name(ONE, text)) != text:
                wrong.append(text)
            if sealer.open(b"label", sealer.seal(b"label", text.encode())) != text.encode():
                wrong.append(text)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


# --- where the root key comes from


def test_the_root_key_is_kept_in_a_file_of_its_owner(tmp_path: Path, data_folder: Path) -> None:
    path = tmp_path / "data.key"
    made = RootKey.create_file(path, data_folder=data_folder)
    assert path.stat().st_mode & 0o777 == 0o600
    assert RootKey.from_file(path, data_folder=data_folder).id == made.id
    with pytest.raises(RootKeyExists, match=r"data\.key"):
        RootKey.create_file(path, data_folder=data_folder)
    assert RootKey.from_file(path, data_folder=data_folder).id == made.id
    with pytest.raises(RootKeyUnwritable):
        RootKey.create_file(tmp_path / "nowhere" / "key", data_folder=data_folder)


def test_the_root_key_never_stands_with_the_data(tmp_path: Path, data_folder: Path) -> None:
    with pytest.raises(RootKeyExposed):
        RootKey.create_file(data_folder / "root.key", data_folder=data_folder)
    assert list(data_folder.iterdir()) == []
    (data_folder / "root.key").write_text(OLD.text())
    (data_folder / "root.key").chmod(0o600)
    (tmp_path / "link.key").symlink_to(data_folder / "root.key")
    (tmp_path / "alias").symlink_to(data_folder)
    for path in ("data/root.key", "link.key", "alias/root.key", "data/../data/root.key"):
        with pytest.raises(RootKeyExposed):
            RootKey.from_file(tmp_path / path, data_folder=data_folder)


def test_a_root_key_that_a_full_disk_did_not_take_left_an_empty_file(tmp_path: Path, data_folder: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, limits[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            RootKey.create_file(tmp_path / "root.key", data_folder=data_folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not (tmp_path / "root.key").exists()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601])
def test_a_root_key_that_others_may_read_is_refused(tmp_path: Path, data_folder: Path, mode: int) -> None:
    path = tmp_path / "data.key"
    path.write_text(OLD.text())
    path.chmod(mode)
    with pytest.raises(RootKeyExposed):
        RootKey.from_file(path, data_folder=data_folder)


@pytest.mark.parametrize("text", ["", "ab" * 31, "ab" * 33, "xy" * 32, "å" * 64, "ab" * 4096])
def test_what_is_no_root_key_is_refused(tmp_path: Path, data_folder: Path, text: str) -> None:
    path = tmp_path / "data.key"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(RootKeyMissing):
        RootKey.from_file(path, data_folder=data_folder)
    with pytest.raises(RootKeyMissing):
        RootKey.from_file(tmp_path / "none", data_folder=data_folder)


def test_the_root_key_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RootKeyMissing, match="SOME_KEY"):
        RootKey.from_environment("SOME_KEY")
    monkeypatch.setenv("SOME_KEY", OLD.text() + "\n")
    assert RootKey.from_environment("SOME_KEY").id == OLD.id


def test_the_root_key_comes_from_a_credential(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    with pytest.raises(CredentialOutside, match="mellanrum-as-service"):
        RootKey.from_credential("root.key")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    with pytest.raises(RootKeyMissing):
        RootKey.from_credential("root.key")
    (tmp_path / "root.key").write_text(OLD.text())
    assert RootKey.from_credential("root.key").id == OLD.id


@pytest.mark.parametrize("command", [(), ("/nowhere/program",), ("false",), ("echo", "nothing"), ("echo", "å")])
def test_a_command_that_prints_no_root_key_is_refused(command: tuple[str, ...]) -> None:
    with pytest.raises(RootKeyMissing):
        RootKey.from_command(command)


def test_the_root_key_comes_from_a_command() -> None:
    assert RootKey.from_command(("echo", OLD.text())).id == OLD.id


def test_a_key_that_another_process_destroyed_is_forgotten_and_no_folder_read_in_vain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "keystore"
    mine, other = Keyring(OLD, FileKeystore(folder)), Keyring(OLD, FileKeystore(folder))
    mine.begin()
    for each in (ONE, TWO):
        mine.create(each)
        mine.space(each)
    mine.forget_destroyed()
    assert mine.space(ONE).names.open(b"label", mine.space(ONE).names.seal(b"label", b"data")) == b"data"
    other.destroy(ONE)
    mine.forget_destroyed()
    with pytest.raises(UnknownKey):
        mine.space(ONE)
    past = time.time() - 60
    os.utime(folder, (past, past))
    mine.forget_destroyed()
    listed = []
    monkeypatch.setattr(mine.keystore, "list", lambda: listed.append(True) or [ONE, TWO])
    mine.forget_destroyed()
    assert listed == []
    other.destroy(TWO)
    mine.forget_destroyed()
    assert listed == [True]
