"""Signing in, by every way there is, and what ends it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select, update

from auth import authenticator as module
from auth import credentials, pausing, tables
from auth.directory import SYSTEM
from auth.errors import Paused, Revoked, SignInRefused, SignInUncounted, Throttled
from auth.rights import Kind, Standing, decide
from auth.roles import Action, GranteeKind, Role, Via
from auth.throttle import Attempt
from config.clock import SECOND_US, now_us
from config.database import Database
from config.errors import StorageFailed, StorageFull
from config.ids import new_id
from tests.auth.decisions import PLAIN
from tests.auth.people import ADDRESS, ELSEWHERE, PASSWORD, House, code_of
from tests.statements import statements

OTHER_PASSWORD = "en helt annan ramsa"


@pytest.fixture
def hashing(monkeypatch: pytest.MonkeyPatch) -> list[bytes | None]:
    """Every password hash that is compared with; None for the one of nobody."""
    seen: list[bytes | None] = []
    real = credentials.password_fits

    def fits(password: str, phc: bytes | None) -> bool:
        seen.append(phc)
        return real(password, phc)

    monkeypatch.setattr(credentials, "password_fits", fits)
    return seen


def set_expiry(house: House, device: bytes, at: int | None) -> None:
    with house.database.write() as connection:
        connection.execute(update(tables.device).where(tables.device.c.id == device).values(expires_at=at))


# --- device passwords


def test_a_device_signs_in(house: House) -> None:
    made = house.basic("anna", house.secret)
    assert (made.id, made.organisation, made.party, made.device) == (
        house.anna.id, house.customer.id, house.customer.id, house.device.id,
    )  # fmt: skip
    assert (made.kind, made.standing, made.name, made.login) == (Kind.PERSON, Standing.FULL, "Anna Lund", "anna")
    assert (made.is_supplier, made.is_administrator, made.address, made.via) == (False, False, ADDRESS, Via.WEBDAV)


@pytest.mark.parametrize("login", ["ANNA", "WORKGROUP\\anna", "dav.example\\Anna", " anna"])
def test_the_login_is_read_as_clients_write_it(house: House, login: str) -> None:
    assert house.basic(login, house.secret).id == house.anna.id


@pytest.mark.parametrize("password", [PASSWORD, ""])
def test_a_device_needs_no_password_of_its_owner(house: House, password: str) -> None:
    with pytest.raises(SignInRefused):
        house.basic("anna", password)


def test_a_second_factor_is_no_matter_of_devices(house: House) -> None:
    boss = house.person("bo", house.supplier, administrator=True)
    house.directory.enrol_totp(boss.id)
    _, secret = house.directory.add_device(boss.id, "x")
    assert house.basic("bo", secret).standing is Standing.FULL


def test_a_device_is_its_owners_alone(house: House) -> None:
    house.person("bo")
    for login in ("bo", "nobody", "anna\x00", "", "annа"):
        with pytest.raises(SignInRefused):
            house.basic(login, house.secret)


def test_what_was_right_once_is_asked_with_the_same_login_and_door(house: House) -> None:
    device, secret = house.directory.add_device(house.anna.id, "x", protocols=[Via.SFTP])
    assert house.basic("anna", secret, via=Via.SFTP).device == device.id
    with pytest.raises(SignInRefused):
        house.basic("anna", secret, via=Via.WEBDAV)
    with pytest.raises(SignInRefused):
        house.basic("bo", secret, via=Via.SFTP)
    assert house.basic("anna", house.secret, address=ELSEWHERE).address == ELSEWHERE


END: dict[str, Callable[[House], object]] = {
    "device revoked": lambda house: house.directory.revoke_device(house.device.id),
    "person ended": lambda house: house.directory.end_person(house.anna.id),
    "organisation ended": lambda house: house.directory.end_organisation(house.customer.id),
}


@pytest.mark.parametrize("how", END)
def test_what_has_ended_is_refused_at_once(house: House, how: str) -> None:
    _, other = house.process()
    held = house.basic("anna", house.secret)
    other.basic("anna", house.secret, via=Via.WEBDAV, address=ADDRESS)
    house.refreshed(held)
    END[how](house)
    with pytest.raises(Revoked):
        house.refreshed(held)
    with pytest.raises(SignInRefused):
        house.basic("anna", house.secret)
    with pytest.raises(SignInRefused):
        other.basic("anna", house.secret, via=Via.WEBDAV, address=ADDRESS)


def test_a_device_ends_at_its_time_although_nothing_changes(house: House) -> None:
    ends = now_us() + 3 * SECOND_US
    _, secret = house.directory.add_device(house.anna.id, "x", expires_at=ends)
    held = house.basic("anna", secret)
    assert held.scope.expires_at == ends
    house.refreshed(held)
    time.sleep(max(0.0, (ends - now_us()) / SECOND_US) + 0.01)
    with pytest.raises(SignInRefused):
        house.basic("anna", secret)
    with pytest.raises(Revoked):
        house.refreshed(held)


@pytest.mark.parametrize("is_device", [True, False], ids=["device", "account"])
def test_what_is_paused_neither_signs_in_nor_goes_on_nor_holds_anything(house: House, is_device: bool) -> None:
    house.directory.set_password(house.anna.id, PASSWORD)
    shown, other = (house.secret, PASSWORD) if is_device else (PASSWORD, house.secret)
    held = house.basic("anna", shown)
    subject, device = (house.device.id if is_device else house.anna.id), held.device

    def pause(act: Callable[..., bool]) -> bool:
        with house.database.write() as connection:
            return act(connection, subject, is_device=is_device)

    def attempts() -> None:
        with house.database.read() as connection:
            house.authenticator.holder(house.anna.id, device, connection)
        house.refreshed(held)
        house.basic("anna", shown)

    attempts()
    assert [pause(pausing.pause), pause(pausing.pause)] == [True, False]
    with house.database.read() as connection, pytest.raises(Paused):
        house.authenticator.holder(house.anna.id, device, connection)
    with pytest.raises(Paused):
        house.refreshed(held)
    with pytest.raises(Paused):
        house.basic("anna", shown)
    house.basic("anna", other)
    assert [pause(pausing.resume), pause(pausing.resume)] == [True, False]
    attempts()
    house.directory.end_person(house.anna.id)
    with house.database.read() as connection, pytest.raises(Revoked):
        house.authenticator.holder(house.anna.id, device, connection)


def test_a_device_brings_its_bounds(house: House) -> None:
    space = new_id()
    _, secret = house.directory.add_device(
        house.anna.id, "x", spaces=[space], read_only=True, protocols=[Via.WEBDAV], expires_at=now_us() * 2
    )
    scope = house.basic("anna", secret).scope
    assert (scope.spaces, scope.read_only, scope.protocols) == (frozenset({space}), True, frozenset({Via.WEBDAV}))


def test_an_erased_organisation_signs_nobody_in(house: House) -> None:
    held = house.basic("anna", house.secret)
    house.directory.set_password(house.anna.id, PASSWORD)
    house.keyring.destroy(house.customer.id)
    _, other = house.process()
    for password in (house.secret, PASSWORD):
        with pytest.raises(SignInRefused):
            other.basic("anna", password, via=Via.WEBDAV, address=ADDRESS)
    with house.database.read() as connection, pytest.raises(Revoked):
        other.refresh(held, connection)
    assert house.process()[0].person_name(house.anna.id) == ""


def test_a_signed_in_device_costs_one_question(house: House) -> None:
    house.basic("anna", house.secret)
    with statements(house.database) as asked:
        house.basic("anna", house.secret)
    assert len(asked) == 1
    assert "epoch" in asked[0]


def test_a_device_password_is_never_hashed_slowly(house: House, hashing: list[bytes | None]) -> None:
    house.basic("anna", house.secret)
    for wrong in (house.secret[:-1], house.secret + "x", credentials.new_device_password(), "mrd_", "mrd_" + "é" * 32):
        with pytest.raises(SignInRefused):
            house.basic("anna", wrong)
        with pytest.raises(SignInRefused):
            house.steps("anna", wrong)
    assert hashing == []


def test_a_mistyped_device_password_costs_no_look_up(house: House) -> None:
    house.authenticator._notes._minute = (now_us() // (60 * SECOND_US), 60)  # events of the minute are used up
    with statements(house.database) as asked, pytest.raises(SignInRefused):
        house.basic("anna", house.secret[:-1] + ("a" if house.secret[-1] != "a" else "b"))
    assert not any("FROM device" in statement for statement in asked)


# --- passwords


def test_an_accounts_own_password_where_no_second_factor_is_demanded(house: House) -> None:
    house.directory.set_password(house.anna.id, PASSWORD)
    made = house.basic("anna", PASSWORD)
    assert (made.id, made.device, made.standing) == (house.anna.id, b"", Standing.FULL)
    assert made.scope.spaces is None
    with pytest.raises(SignInRefused):
        house.basic("anna", PASSWORD + "x")


DEMAND: dict[str, Callable[[House], object]] = {
    "organisation demands": lambda house: house.directory.set_second_factor(house.customer.id, True),
    "became administrator": lambda house: house.directory.change_person(house.anna.id, administrator=True),
    "enrolled": lambda house: house.directory.enrol_totp(house.anna.id),
}


@pytest.mark.parametrize("how", DEMAND)
def test_a_password_alone_is_no_way_round_a_second_factor(house: House, how: str) -> None:
    house.directory.set_password(house.anna.id, PASSWORD)
    held = house.basic("anna", PASSWORD)
    DEMAND[how](house)
    with pytest.raises(Revoked):
        house.refreshed(held)
    with pytest.raises(SignInRefused):
        house.basic("anna", PASSWORD)
    assert house.steps("anna", PASSWORD).standing is Standing.HALF


def test_the_suppliers_people_need_a_second_factor_by_default(house: House) -> None:
    house.person("bo", house.supplier, password=PASSWORD)
    with pytest.raises(SignInRefused):
        house.basic("bo", PASSWORD)


def test_a_new_password_ends_what_the_old_one_began(house: House) -> None:
    house.directory.set_password(house.anna.id, PASSWORD)
    by_password, by_device = house.basic("anna", PASSWORD), house.basic("anna", house.secret)
    house.directory.set_password(house.anna.id, OTHER_PASSWORD)
    with pytest.raises(Revoked):
        house.refreshed(by_password)
    with pytest.raises(SignInRefused):
        house.basic("anna", PASSWORD)
    assert house.refreshed(by_device).id == house.anna.id
    assert house.basic("anna", OTHER_PASSWORD).id == house.anna.id


def test_a_right_password_is_hashed_once_for_an_address(house: House, hashing: list[bytes | None]) -> None:
    house.directory.set_password(house.anna.id, PASSWORD)
    for _ in range(3):
        house.basic("anna", PASSWORD)
    assert len(hashing) == 1
    house.basic("anna", PASSWORD, address=ELSEWHERE)
    assert len(hashing) == 2
    house.directory.add_member(house.directory.add_group("G").id, house.anna.id)
    house.basic("anna", PASSWORD)
    assert len(hashing) == 3


def test_a_right_password_is_not_remembered_longer_than_is_set(database: Database, hashing: list[bytes | None]) -> None:
    house = House(database, password_cache_seconds=0)
    house.directory.set_password(house.anna.id, PASSWORD)
    for _ in range(2):
        house.basic("anna", PASSWORD)
    assert len(hashing) == 2


def test_a_wrong_password_is_not_remembered(house: House, hashing: list[bytes | None]) -> None:
    for _ in range(2):
        with pytest.raises(SignInRefused):
            house.basic("anna", PASSWORD)
    assert len(hashing) == 2


def test_many_requests_at_once_hash_once(house: House, hashing: list[bytes | None]) -> None:
    house.directory.set_password(house.anna.id, PASSWORD)
    made: list[Any] = []
    threads = [threading.Thread(target=lambda: made.append(house.basic("anna", PASSWORD))) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 12
    assert len(hashing) == 1


def test_refusals_tell_nobody_who_there_is(house: House, hashing: list[bytes | None]) -> None:
    house.person("nopassword")
    house.person("boss", house.supplier, password=PASSWORD, administrator=True)
    house.person("gone", password=PASSWORD)
    house.directory.end_person(house.directory.find_person("gone").id)
    house.directory.set_password(house.anna.id, PASSWORD)
    said = set()
    for login in ("anna", "nopassword", "boss", "gone", "nobody"):
        for way in (house.basic, house.steps):
            with pytest.raises(SignInRefused) as raised:
                way(login, OTHER_PASSWORD, address=ELSEWHERE)
            said.add((str(raised.value), str(raised.value.facts)))
    with pytest.raises(SignInRefused) as raised:
        house.basic("boss", PASSWORD, address=ELSEWHERE)
    said.add((str(raised.value), str(raised.value.facts)))
    assert len(said) == 1
    assert len(hashing) == 11  # each cost a hash


def test_known_and_unknown_logins_are_throttled_alike(house: House) -> None:
    house.directory.set_password(house.anna.id, PASSWORD)

    def refusals(login: str) -> list[type]:
        kinds: list[type] = []
        for number in range(8):
            try:
                house.basic(login, f"guess {number}", address=f"10.1.{number}.1")
            except (SignInRefused, Throttled) as error:
                kinds.append(type(error))
        return kinds

    assert refusals("anna") == refusals("nobody") == [SignInRefused] * 6 + [Throttled] * 2


def test_no_spelling_of_a_login_gets_past_the_throttle(house: House) -> None:
    house.directory.set_password(house.anna.id, PASSWORD)
    refused = 0
    for number, login in enumerate(["anna", "ANNA", " anna", "anna ", "x\\anna", "Anna", "anna  ", "y\\ANNA "] * 3):
        try:
            house.basic(login, "guess", address=f"10.2.{number}.1")
        except SignInRefused:
            refused += 1
        except Throttled:
            pass
    assert refused == 6


def test_a_guess_costs_no_hash_while_one_has_to_wait(house: House, hashing: list[bytes | None]) -> None:
    for number in range(10):
        with pytest.raises((SignInRefused, Throttled)):
            house.basic("anna", f"guess {number}")
    assert len(hashing) == 6
    with pytest.raises(Throttled) as raised:
        house.basic("anna", PASSWORD)
    assert raised.value.retry_after >= 1
    assert house.basic("anna", house.secret).device == house.device.id
    house.directory.set_password(house.anna.id, PASSWORD)
    assert house.authenticator.release(house.directory.find_person("ANNA"), actor=SYSTEM)
    assert house.basic("anna", PASSWORD)


@pytest.mark.parametrize(
    "login", ["", "a\x00b", "a\r\nb", "x" * 300, "\ud800", "' OR 1=1 --", "anna'--", "%", "anna\\"]
)
@pytest.mark.parametrize("password", ["", "\x00", "\ud800", "x" * 300, "' OR '1'='1", PASSWORD])
def test_odd_texts_are_refused_and_break_nothing(house: House, login: str, password: str) -> None:
    house.directory.set_password(house.anna.id, PASSWORD)
    with pytest.raises((SignInRefused, Throttled)):
        house.basic(login, password)
    with pytest.raises((SignInRefused, Throttled)):
        house.steps(login, password, "000000")


@pytest.mark.parametrize("act", ["end", "password", "demand"])
def test_what_ends_while_a_password_is_hashed_signs_nobody_in(
    house: House, monkeypatch: pytest.MonkeyPatch, act: str
) -> None:
    house.directory.set_password(house.anna.id, PASSWORD)
    acts: dict[str, Callable[[], object]] = {
        "end": lambda: house.directory.end_person(house.anna.id),
        "password": lambda: house.directory.set_password(house.anna.id, OTHER_PASSWORD),
        "demand": lambda: house.directory.set_second_factor(house.customer.id, True),
    }
    real = credentials.password_fits

    def slow(password: str, phc: bytes | None) -> bool:
        fits = real(password, phc)
        acts[act]()
        return fits

    monkeypatch.setattr(credentials, "password_fits", slow)
    with pytest.raises(SignInRefused):
        house.basic("anna", PASSWORD)


STEPS = ["_begin", "_proven_password", "_proven", "_made", "_account", "epoch"]


@pytest.mark.parametrize("step", STEPS)
def test_a_fault_at_any_step_leaves_no_principal(house: House, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    house.directory.set_password(house.anna.id, PASSWORD)

    def fail(*_: Any, **__: Any) -> Any:
        raise RuntimeError("fault")

    with monkeypatch.context() as patch:
        patch.setattr(house.authenticator, step, fail)
        for password in (PASSWORD, house.secret):
            try:
                house.basic("anna", password)
                assert step in ("_begin", "_proven_password", "_proven")  # no part of a device's way
                assert password == house.secret
            except RuntimeError:
                pass
    remembered = [cached.principal.device for cached in house.authenticator._signed_in.values()]
    assert b"" not in remembered


# --- the second factor


@pytest.fixture
def enrolled(house: House) -> tuple[House, str]:
    house.directory.set_password(house.anna.id, PASSWORD)
    return house, house.directory.enrol_totp(house.anna.id)


def test_password_then_code(enrolled: tuple[House, str]) -> None:
    house, secret = enrolled
    half = house.steps("anna", PASSWORD)
    assert half.standing is Standing.HALF
    assert house.authenticator.complete(half, code_of(secret)).standing is Standing.FULL
    assert house.steps("anna", PASSWORD, code_of(secret, 1)).standing is Standing.FULL


def test_half_signed_in_may_nothing_whatever_was_granted(enrolled: tuple[House, str]) -> None:
    house, secret = enrolled
    house.grant(house.anna.id, GranteeKind.PERSON, Role.MANAGER, PLAIN.space, PLAIN.ancestry[0], history=True)
    half = house.steps("anna", PASSWORD)
    for principal in (half, house.refreshed(half)):
        assert principal.standing is Standing.HALF
        assert not any(decide(principal, action, PLAIN, now_us()).allowed for action in Action)
        assert not principal.rights.grants
    house.grant(house.anna.id, GranteeKind.PERSON, Role.VIEWER, PLAIN.space, PLAIN.ancestry[0])
    assert house.refreshed(half).standing is Standing.HALF
    full = house.authenticator.complete(half, code_of(secret))
    assert all(decide(full, action, PLAIN, now_us()).allowed for action in Action)


def test_a_code_works_once(enrolled: tuple[House, str]) -> None:
    house, secret = enrolled
    code = code_of(secret)
    house.steps("anna", PASSWORD, code)
    for attempt in (code, code_of(secret, -1)):
        with pytest.raises(SignInRefused):
            house.steps("anna", PASSWORD, attempt)
    house.steps("anna", PASSWORD, code_of(secret, 1))


def test_of_many_who_show_one_code_one_gets_in(enrolled: tuple[House, str]) -> None:
    house, secret = enrolled
    halves = [house.steps("anna", PASSWORD) for _ in range(4)]
    code = code_of(secret)
    outcomes: list[str] = []

    def show(half: Any, at: Any) -> None:
        try:
            at.complete(half, code)
            outcomes.append("in")
        except SignInRefused:
            outcomes.append("refused")

    threads = [threading.Thread(target=show, args=(half, house.process()[1])) for half in halves]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["in", "refused", "refused", "refused"]


def test_a_recovery_code_works_once(enrolled: tuple[House, str]) -> None:
    house, _ = enrolled
    codes = house.directory.new_recovery_codes(house.anna.id)
    assert house.steps("anna", PASSWORD, codes[0].upper()).standing is Standing.FULL
    assert "recovery_code_used" in house.heard.kinds()
    with pytest.raises(SignInRefused):
        house.steps("anna", PASSWORD, codes[0])
    house.directory.new_recovery_codes(house.anna.id)
    with pytest.raises(SignInRefused):
        house.steps("anna", PASSWORD, codes[1])


def test_a_recovery_code_is_its_owners_alone(enrolled: tuple[House, str]) -> None:
    house, _ = enrolled
    other = house.person("bo", password=PASSWORD)
    house.directory.enrol_totp(other.id)
    code = house.directory.new_recovery_codes(house.anna.id)[0]
    with pytest.raises(SignInRefused):
        house.steps("bo", PASSWORD, code)
    house.steps("anna", PASSWORD, code)


def test_codes_are_not_guessed_between_right_passwords(enrolled: tuple[House, str]) -> None:
    house, _ = enrolled
    guesses = 0
    with pytest.raises(Throttled):
        for number in range(50):
            half = house.steps("anna", PASSWORD, address=f"10.3.{number}.1")
            with pytest.raises(SignInRefused):
                house.authenticator.complete(half, "000000")
            guesses += 1
    assert guesses <= 6


@pytest.mark.parametrize("code", ["", "000000", "1", "x" * 1000, "\ud800", "１２３４５６", "\x00"])
def test_an_odd_code_is_refused(enrolled: tuple[House, str], code: str) -> None:
    house, _ = enrolled
    with pytest.raises(SignInRefused):
        house.steps("anna", PASSWORD, code)


def test_half_a_sign_in_ends_with_what_it_began_with(enrolled: tuple[House, str]) -> None:
    house, secret = enrolled
    for end in (
        lambda: house.directory.set_password(house.anna.id, OTHER_PASSWORD),
        lambda: house.directory.end_person(house.anna.id),
    ):
        house.directory.set_password(house.anna.id, PASSWORD)
        half = house.steps("anna", PASSWORD)
        end()
        with pytest.raises(Revoked):
            house.authenticator.complete(half, code_of(secret))


def test_a_device_is_no_half_sign_in(enrolled: tuple[House, str]) -> None:
    house, secret = enrolled
    with pytest.raises(Revoked):
        house.authenticator.complete(house.basic("anna", house.secret), code_of(secret))


def test_who_must_have_a_second_factor_and_has_none_stays_half(house: House) -> None:
    house.person("bo", house.supplier, password=PASSWORD)
    half = house.steps("bo", PASSWORD)
    assert half.standing is Standing.HALF
    with pytest.raises(SignInRefused):
        house.authenticator.complete(half, "000000")


def test_a_password_is_enough_where_no_more_is_demanded(house: House) -> None:
    house.directory.set_password(house.anna.id, PASSWORD)
    assert house.steps("anna", PASSWORD).standing is Standing.FULL
    assert house.heard.kinds()[-1] == "sign_in"


# --- rights


def test_rights_come_from_all_that_one_belongs_to(house: House) -> None:
    space, nodes = new_id(), [new_id() for _ in range(8)]
    group = house.directory.add_group("G")
    house.directory.add_member(group.id, house.anna.id)
    bo = house.person("bo", house.supplier)
    house.grant(house.anna.id, GranteeKind.PERSON, Role.VIEWER, space, nodes[0])
    house.grant(group.id, GranteeKind.GROUP, Role.EDITOR, space, nodes[1], history=True)
    house.grant(house.customer.id, GranteeKind.ORGANISATION, Role.UPLOADER, space, nodes[2], expires_at=99)
    house.grant(bo.id, GranteeKind.PERSON, Role.MANAGER, space, nodes[3])
    house.grant(house.supplier.id, GranteeKind.ORGANISATION, Role.MANAGER, space, nodes[4])
    house.close_grant(house.grant(house.anna.id, GranteeKind.PERSON, Role.MANAGER, space, nodes[5]))
    house.grant(b"", GranteeKind.NONE, Role.BREAK, space, nodes[6])
    house.grant(b"", GranteeKind.NONE, Role.BREAK, new_id(), nodes[7])
    house.grant(house.anna.id, GranteeKind.PERSON, Role.EDITOR, space, nodes[0])
    made = house.basic("anna", house.secret)
    found = {node: sorted(grant.role for grant in grants) for node, grants in made.rights.grants.items()}
    assert found == {nodes[0]: [Role.VIEWER, Role.EDITOR], nodes[1]: [Role.EDITOR], nodes[2]: [Role.UPLOADER]}
    assert made.rights.breaks == {nodes[6]}
    assert made.groups == {group.id}
    (grant,) = made.rights.grants[nodes[1]]
    assert (grant.space, grant.grantee, grant.grantee_kind, grant.history) == (space, group.id, GranteeKind.GROUP, True)
    assert made.rights.grants[nodes[2]][0].expires_at == 99


def test_rights_change_for_who_is_signed_in(house: House) -> None:
    space, node = new_id(), new_id()
    group = house.directory.add_group("G")
    grant = house.grant(group.id, GranteeKind.GROUP, Role.VIEWER, space, node)
    held = house.basic("anna", house.secret)
    assert not held.rights.grants
    house.directory.add_member(group.id, house.anna.id)
    held = house.refreshed(held)
    assert node in held.rights.grants
    house.close_grant(grant)
    assert not house.refreshed(held).rights.grants
    house.grant(group.id, GranteeKind.GROUP, Role.VIEWER, space, node)
    assert house.refreshed(held).rights.grants
    house.directory.end_group(group.id)
    assert not house.refreshed(held).rights.grants


def test_while_nothing_changes_a_refresh_costs_one_question(house: House) -> None:
    held = house.basic("anna", house.secret)
    with statements(house.database) as asked, house.database.read() as connection:
        assert house.authenticator.refresh(held, connection) is held
    assert len(asked) == 1


def test_all_who_sign_in_as_one_person_share_their_rights(house: House) -> None:
    _, second = house.directory.add_device(house.anna.id, "x")
    one, other = house.basic("anna", house.secret), house.basic("anna", second)
    assert one.rights is other.rights
    house.directory.end_group(house.directory.add_group("G").id)
    assert house.refreshed(one).rights is house.basic("anna", second).rights


def test_rights_are_never_older_than_their_epoch(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A grant is closed while rights are read: a writer on PostgreSQL sees each row as it is by then."""
    grant = house.grant(house.anna.id, GranteeKind.PERSON, Role.VIEWER, new_id(), new_id())
    held = house.basic("anna", house.secret)
    house.directory.end_group(house.directory.add_group("G").id)
    loader = house.authenticator._loader
    real = loader._rights

    def and_then_closed(*arguments: Any) -> Any:
        found = real(*arguments)
        house.close_grant(grant)
        return found

    monkeypatch.setattr(loader, "_rights", and_then_closed)
    with house.database.durable_engine.connect() as connection:
        stale = house.authenticator.refresh(held, connection)
    monkeypatch.undo()
    assert stale.rights.grants
    assert not house.refreshed(stale).rights.grants


def test_an_epoch_that_was_undone_does_not_come_back(house: House) -> None:
    seen = {house.epoch()}
    for _ in range(20):
        with pytest.raises(RuntimeError), house.database.write() as connection:
            house.authenticator.bump(connection)
            seen.add(house.authenticator.epoch(connection))
            raise RuntimeError("undone")
    assert len(seen) == 21


def test_the_operator_acts_for_the_supplier_and_sees_nothing(house: House) -> None:
    made = house.authenticator.operator("root")
    assert (made.kind, made.name, made.organisation, made.via) == (
        Kind.OPERATOR, "operator:root", house.supplier.id, Via.CLI,
    )  # fmt: skip
    assert made.is_supplier
    assert not made.rights.grants
    assert made.id != house.authenticator.operator("other").id
    house.directory.end_group(house.directory.add_group("G").id)
    assert house.refreshed(made).epoch == house.epoch()


# --- what is noted


def test_a_sign_in_is_told_once_in_ten_minutes_by_all_processes(house: House) -> None:
    _, other = house.process()
    for _ in range(3):
        house.basic("anna", house.secret)
        other.basic("anna", house.secret, via=Via.WEBDAV, address=ADDRESS)
    (told,) = [event for event in house.heard.events if event.kind == "sign_in"]
    assert (told.organisation, told.actor.device, told.actor.name) == (house.customer.id, house.device.id, "Anna Lund")
    assert (told.actor.organisation_name, told.actor.address) == ("Köparen KB", ADDRESS)
    assert dict(told.facts) == {"via": "webdav"}


def test_a_refusal_is_told_to_whom_it_concerns(house: House) -> None:
    house.heard.events.clear()
    for login, password in (("anna", PASSWORD), ("min hemliga ramsa", PASSWORD), ("anna", house.secret + "x")):
        with pytest.raises(SignInRefused):
            house.basic(login, password)
    known, unknown, device = house.heard.events
    assert (known.kind, known.organisation, dict(known.personal)) == (
        "sign_in_refused", house.customer.id, {"login": "anna"},
    )  # fmt: skip
    assert known.actor.principal == b""
    assert known.actor.address == ADDRESS
    assert (unknown.organisation, dict(unknown.personal)) == (None, {})
    assert device.kind == "sign_in_refused"


def test_strangers_cannot_fill_the_log(house: House) -> None:
    house.heard.events.clear()
    for number in range(300):
        with pytest.raises((SignInRefused, Throttled)):
            house.basic(f"who{number}", house.secret[:-1], address=f"10.4.{number % 250}.1")
    told = len(house.heard.events)
    assert told <= 2 * 60  # the minute may have changed meanwhile
    house.authenticator._notes._minute = (0, 60)
    with pytest.raises(SignInRefused):
        house.basic("anna", house.secret[:-1], address=ELSEWHERE)
    assert told + sum(int(each.facts.get("untold", 0)) for each in house.heard.events) == 300


def test_refusals_that_could_not_be_told_were_not_counted(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    house.heard.events.clear()

    def full(*_: object) -> None:
        raise StorageFull

    for is_full in (True, True, False):
        with monkeypatch.context() as patched, pytest.raises(SignInRefused):
            if is_full:
                patched.setattr(house.heard, "record_auth", full)
            house.basic("anna", house.secret[:-1], address=ELSEWHERE)
    assert [each.facts.get("untold") for each in house.heard.events] == [2]


def test_when_a_device_was_last_used(house: House) -> None:
    assert house.authenticator.last_used(house.device.id) is None
    before = now_us()
    house.basic("anna", house.secret)
    first = house.authenticator.last_used(house.device.id)
    assert first is not None and before <= first <= now_us()
    _, other = house.process()
    other.basic("anna", house.secret, via=Via.WEBDAV, address=ELSEWHERE)
    assert house.authenticator.last_used(house.device.id) == first
    with house.database.transient_write() as connection:
        connection.execute(update(tables.last_used).values(at=first - 61 * SECOND_US))
    _, third = house.process()
    third.basic("anna", house.secret, via=Via.WEBDAV, address=ELSEWHERE)
    assert house.authenticator.last_used(house.device.id) >= first  # type: ignore[operator]
    with house.database.transient_read() as connection:
        row = connection.execute(select(tables.last_used)).one()
    general = house.keyring.installation().general
    assert general.open(b"address" + house.device.id, row.sealed_address) == ELSEWHERE.encode()


@pytest.mark.parametrize("error", [StorageFull, StorageFailed])
def test_a_full_or_failing_disk_keeps_nobody_out(
    house: House, monkeypatch: pytest.MonkeyPatch, error: type[StorageFailed]
) -> None:
    def failing(*_: Any) -> None:
        raise error

    monkeypatch.setattr(house.heard, "record_auth", failing)
    assert house.basic("anna", house.secret).id == house.anna.id
    with pytest.raises(SignInRefused):
        house.basic("anna", PASSWORD)


@pytest.mark.parametrize("error", [StorageFull, StorageFailed])
def test_a_wrong_password_on_a_full_disk_was_told_of_the_disk_and_none_is_looked_at_uncounted(
    house: House, monkeypatch: pytest.MonkeyPatch, error: type[StorageFailed]
) -> None:
    bo = house.person("bo", password=PASSWORD)
    looked = []
    fits = credentials.password_fits
    monkeypatch.setattr(credentials, "password_fits", lambda *shown: looked.append(shown) or fits(*shown))

    def failing() -> None:
        raise error

    with monkeypatch.context() as disk:
        disk.setattr(house.database, "transient_write", failing)
        for password in ("wrong, and long enough", PASSWORD):
            with pytest.raises(SignInUncounted):
                house.basic("bo", password)
        assert not looked, "as many guesses as anybody likes"
        with pytest.raises(SignInRefused) as told:
            house.basic("anna", house.secret + "x")
        assert not isinstance(told.value, SignInUncounted), "nobody guesses a device password, so nothing has to count"
        assert house.basic("anna", house.secret).id == house.anna.id
    assert house.basic("bo", PASSWORD).id == bo.id


def test_a_disk_that_fills_while_a_password_is_hashed_keeps_nobody_out(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    bo = house.person("bo", password=PASSWORD)
    begin, full = house.authenticator.throttle.begin, house.database.transient_write

    def failing() -> None:
        raise StorageFull

    def begun(account: bytes, address: str) -> Attempt:
        monkeypatch.setattr(house.database, "transient_write", full)
        attempt = begin(account, address)
        monkeypatch.setattr(house.database, "transient_write", failing)
        return attempt

    monkeypatch.setattr(house.authenticator.throttle, "begin", begun)
    with pytest.raises(SignInRefused) as told:
        house.basic("bo", "wrong, and long enough")
    assert not isinstance(told.value, SignInUncounted)
    assert house.basic("bo", PASSWORD).id == bo.id
    tries = house.authenticator.tries([bo])[bo.id]
    assert tries.failures == 2, "what could not be taken off the count stays on it"


def test_what_is_kept_in_memory_has_bounds(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CACHED_MAX", 10)
    for number in range(30):
        house.basic("anna", house.secret, address=f"10.5.{number}.1")
    assert len(house.authenticator._signed_in) <= 10
