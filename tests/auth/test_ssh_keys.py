"""Public keys: whose they are, what bounds them, when a code is due besides; tables that tell nobody whose a key is."""

from __future__ import annotations

import hashlib
import os
from typing import Any

import pytest
from sqlalchemy import select

from auth import credentials, tables
from auth.errors import NameTaken, Revoked, SignInRefused, UnusableText
from auth.people import Device
from auth.rights import Standing
from auth.roles import Via
from config.clock import now_us
from config.ids import new_id
from tests.auth.people import ADDRESS, PASSWORD, House, code_of


def blob() -> bytes:
    """Return what stands for a public key; nothing here looks into it."""
    return b"\0\0\0\x0bssh-ed25519\0\0\0 " + os.urandom(32)


def add(house: House, key: bytes, **bounds: Any) -> Device:
    return house.directory.add_key(house.anna.id, "Annas nyckel", key, **bounds)


def sign_in(house: House, key: bytes, login: str = "anna", with_code: Any = "never", via: Via = Via.SFTP) -> Any:
    return house.authenticator.by_key(login, key, with_code=with_code, via=via, address=ADDRESS)


def knows(house: House, key: bytes, login: str = "anna", via: Via = Via.SFTP) -> bool:
    return house.authenticator.knows_key(login, key, via=via)


def test_a_key_signs_its_person_in_within_its_bounds(house: House) -> None:
    key, space = blob(), new_id()
    made = add(house, key, spaces=[space], read_only=True, expires_at=now_us() + 60_000_000)
    assert knows(house, key)
    found = sign_in(house, key)
    assert (found.login, found.device, found.standing) == ("anna", made.id, Standing.FULL)
    assert found.scope.spaces == {space} and found.scope.read_only
    assert found.scope.protocols == {Via.SFTP}
    assert sign_in(house, key, "KUND\\anna").device == made.id
    assert house.authenticator.last_used(made.id) is not None
    assert house.heard.kinds().count("ssh_key_added") == 1


def test_who_may_not(house: House) -> None:
    key, ran_out = blob(), blob()
    made = add(house, key)
    add(house, ran_out, expires_at=now_us() - 1)
    house.person("bo")
    for shown, login, via in (
        (blob(), "anna", Via.SFTP),
        (key, "bo", Via.SFTP),
        (key, "nobody", Via.SFTP),
        (key, "", Via.SFTP),
        (key, "anna", Via.WEBDAV),
        (ran_out, "anna", Via.SFTP),
        (b"", "anna", Via.SFTP),
    ):
        assert not knows(house, shown, login, via)
        with pytest.raises(SignInRefused):
            sign_in(house, shown, login, via=via)
    house.directory.revoke_device(made.id)
    assert not knows(house, key)


def test_revoking_ends_what_is_signed_in_and_the_key_may_come_again(house: House) -> None:
    key = blob()
    made = add(house, key)
    principal = sign_in(house, key)
    with pytest.raises(NameTaken):
        add(house, key)
    house.directory.revoke_device(made.id)
    with pytest.raises(Revoked):
        house.refreshed(principal)
    again = add(house, key)
    assert sign_in(house, key).device == again.id
    house.directory.end_person(house.anna.id)
    assert not knows(house, key)


def test_one_key_may_serve_two_accounts(house: House) -> None:
    key, bo = blob(), house.person("bo")
    ours = add(house, key)
    theirs = house.directory.add_key(bo.id, "samma", key)
    assert sign_in(house, key).device == ours.id
    assert sign_in(house, key, "bo").device == theirs.id


def test_a_code_besides_the_key(house: House) -> None:
    key, strict = blob(), blob()
    add(house, key)
    add(house, strict, needs_code=True)
    secret = house.directory.enrol_totp(house.anna.id)
    assert sign_in(house, key).standing is Standing.FULL
    half = sign_in(house, strict)
    assert half.standing is Standing.HALF and not half.rights.grants
    assert sign_in(house, key, with_code="second_factor").standing is Standing.HALF
    assert sign_in(house, key, with_code="always").standing is Standing.HALF
    with pytest.raises(SignInRefused):
        house.authenticator.complete(half, "000000")
    code = code_of(secret)
    whole = house.authenticator.complete(half, code)
    assert (whole.standing, whole.device) == (Standing.FULL, half.device)
    with pytest.raises(SignInRefused):  # a code works once
        house.authenticator.complete(half, code)
    with pytest.raises(Revoked):  # and a sign-in is completed once
        house.authenticator.complete(whole, code_of(secret, 1))


def test_nobody_asks_for_a_code_who_has_none_to_ask_for(house: House) -> None:
    key = blob()
    add(house, key)
    assert sign_in(house, key, with_code="second_factor").standing is Standing.FULL
    assert sign_in(house, key, with_code="always").standing is Standing.HALF


def test_a_key_revoked_between_its_proof_and_the_code(house: House) -> None:
    key = blob()
    made = add(house, key, needs_code=True)
    secret = house.directory.enrol_totp(house.anna.id)
    half = sign_in(house, key)
    house.directory.revoke_device(made.id)
    with pytest.raises(Revoked):
        house.authenticator.complete(half, code_of(secret))


def test_a_key_revoked_while_the_code_is_looked_at(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    key = blob()
    made = add(house, key, needs_code=True)
    secret = house.directory.enrol_totp(house.anna.id)
    half = sign_in(house, key)
    real = credentials.totp_step

    def slow(*shown: Any) -> int | None:
        house.directory.revoke_device(made.id)
        return real(*shown)

    monkeypatch.setattr(credentials, "totp_step", slow)
    with pytest.raises(SignInRefused):
        house.authenticator.complete(half, code_of(secret))


def test_half_by_a_password_is_completed_without_a_key(house: House) -> None:
    house.directory.set_password(house.anna.id, PASSWORD)
    secret = house.directory.enrol_totp(house.anna.id)
    half = house.steps("anna", PASSWORD)
    assert house.authenticator.complete(half, code_of(secret)).device == b""


def test_the_tables_do_not_tell_whose_a_known_key_is(house: House) -> None:
    key = blob()
    made = add(house, key)
    with house.database.read() as connection:
        device = connection.execute(select(tables.device).where(tables.device.c.id == made.id)).one()
        stored = connection.execute(select(tables.ssh_key)).one()
    seen = b"".join(bytes(each) for each in (*device, *stored) if isinstance(each, bytes))
    for known in (key, key[20:], hashlib.sha256(key).digest(), b"Annas nyckel"):
        assert known not in seen
    listed = house.directory.devices(house.anna.id)
    assert [(each.label, each.public_key) for each in listed] == [("Annas dator", None), ("Annas nyckel", key)]


def test_labels_are_looked_at(house: House) -> None:
    with pytest.raises(UnusableText):
        house.directory.add_key(house.anna.id, "\n", blob())


def test_fingerprints_are_those_of_openssh() -> None:
    # RFC 4716's way, as `ssh-keygen -l` prints it: base 64 of SHA-256, without padding
    assert credentials.key_fingerprint(b"") == "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"
