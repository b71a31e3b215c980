"""Organisations, people, groups and devices: kept sealed, named once, ended without a trace in what they may do."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from sqlalchemy import select

from auth import credentials, tables
from auth.errors import (
    ForeignMember,
    LastAdministrator,
    NameTaken,
    SupplierNeeded,
    UnknownName,
    UnusableText,
    WeakPassword,
)
from auth.rights import Grant
from auth.roles import GranteeKind, Role, Via
from config.database import durable, transient
from config.ids import new_id
from providers.audit.events import KINDS
from tests.auth.people import PASSWORD, House, code_of


def test_an_organisation_is_found_by_name_in_any_case_and_form(house: House) -> None:
    made = house.directory.add_organisation("Åkeri i Ängelholm")
    assert house.directory.find_organisation("åkeri i a\u0308ngelholm") == made
    assert [each.name for each in house.directory.organisations()] == ["Byrån AB", "Köparen KB", "Åkeri i Ängelholm"]
    assert not made.second_factor
    assert house.supplier.second_factor
    with pytest.raises(UnknownName, match="Ingen"):
        house.directory.find_organisation("Ingen")


def test_a_name_is_taken_once(house: House) -> None:
    with pytest.raises(NameTaken):
        house.directory.add_organisation("KÖPAREN kb")
    with pytest.raises(NameTaken):
        house.person("ANNA", house.supplier)
    house.directory.add_group("Styrelsen")
    with pytest.raises(NameTaken):
        house.directory.add_group("styrelsen")
    assert house.directory.add_group("Styrelsen", house.customer.id)
    other = house.directory.add_organisation("Other")
    with pytest.raises(NameTaken):
        house.directory.rename_organisation(other.id, "köparen KB")


def test_of_two_processes_that_add_one_name_one_is_told(house: House) -> None:
    told: list[str] = []

    def add(directory: Any, number: int) -> None:
        try:
            directory.add_person(house.customer.id, f"bo{number // 2}", "Bo")
            told.append("added")
        except NameTaken:
            told.append("taken")

    for number in range(0, 12, 2):
        directories = house.process()[0], house.process()[0]
        threads = [threading.Thread(target=add, args=(each, number)) for each in directories]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(told) == ["added"] * 6 + ["taken"] * 6


@pytest.mark.parametrize(
    "text",
    [
        *("", "  ", "x" * 257, "a\x00b", "a\rb", "a\nb", "a\x7fb", "\ud800"),
        *("a\x9b31m", "a\x85b", "a\u2028b", "a\u202eb", "\u2066a"),
    ],
)
def test_a_text_that_nobody_can_use_is_refused(house: House, text: str) -> None:
    directory = house.directory
    for attempt in (
        lambda: directory.add_organisation(text),
        lambda: directory.rename_organisation(house.customer.id, text),
        lambda: directory.add_person(house.customer.id, text, "Bo"),
        lambda: directory.add_person(house.customer.id, "bo", text),
        lambda: directory.add_person(house.customer.id, "bo", "Bo", mail=text),
        lambda: directory.change_person(house.anna.id, name=text),
        lambda: directory.add_group(text),
        lambda: directory.add_device(house.anna.id, text),
    ):
        with pytest.raises(UnusableText):
            attempt()
    assert len(directory.organisations()) == 2
    assert len(directory.people()) == 1


@pytest.mark.parametrize("login", ["DOMAIN\\bo", "bo:x"])
def test_a_login_that_basic_cannot_carry_is_refused(house: House, login: str) -> None:
    with pytest.raises(UnusableText):
        house.person(login)


def test_hostile_texts_are_kept_as_they_are(house: House) -> None:
    for number, text in enumerate(
        ["{{7*7}}", "'; DROP TABLE person; --", "../../etc/passwd", "<script>", "{name}", "%s"]
    ):
        made = house.directory.add_person(house.customer.id, f"p{number}", text)
        assert house.directory.person(made.id).name == text
        with pytest.raises(UnknownName):
            house.directory.find_person(text)


def test_there_is_one_supplier(house: House) -> None:
    with pytest.raises(SupplierNeeded):
        house.directory.add_organisation("Andra byrån", supplier=True)
    with pytest.raises(SupplierNeeded):
        house.directory.end_organisation(house.supplier.id)
    assert house.process()[0].supplier_id == house.supplier.id


def test_who_left_leaves_the_name_behind(house: House) -> None:
    house.directory.end_person(house.anna.id)
    assert house.directory.people(house.customer.id) == []
    assert house.directory.person_name(house.anna.id) == "Anna Lund"
    with pytest.raises(UnknownName):
        house.directory.find_person("anna")
    assert house.person("anna").id != house.anna.id
    with pytest.raises(UnknownName):
        house.directory.add_device(house.anna.id, "again")


def test_an_ended_organisation_takes_its_people_along(house: House) -> None:
    house.directory.end_organisation(house.customer.id)
    assert house.directory.people() == []
    assert house.directory.organisation_name(house.customer.id) == "Köparen KB"
    with pytest.raises(UnknownName):
        house.person("bo", house.customer)
    with pytest.raises(UnknownName):
        house.directory.end_organisation(house.customer.id)
    with pytest.raises(UnknownName):
        house.directory.rename_organisation(house.customer.id, "Köparen AB")
    assert house.directory.add_organisation("Köparen KB").id != house.customer.id


def test_what_is_not_there_is_named(house: House) -> None:
    directory, none = house.directory, new_id()
    group = directory.add_group("G").id
    for attempt in (
        lambda: directory.person(none),
        lambda: directory.end_person(none),
        lambda: directory.set_password(none, PASSWORD),
        lambda: directory.end_organisation(none),
        lambda: directory.set_second_factor(none, True),
        lambda: directory.end_group(none),
        lambda: directory.add_member(none, house.anna.id),
        lambda: directory.add_member(group, none),
        lambda: directory.remove_member(none, house.anna.id),
        lambda: directory.revoke_device(none),
        lambda: directory.find_group("Ingen"),
        lambda: directory.add_group("H", none),
    ):
        with pytest.raises(UnknownName):
            attempt()


def test_people_change(house: House) -> None:
    directory = house.directory
    directory.person_name(house.anna.id)
    directory.change_person(house.anna.id, name="Anna Ek", mail="anna@example.com", administrator=True)
    found = directory.find_person("anna")
    assert (found.name, found.mail, found.is_administrator) == ("Anna Ek", "anna@example.com", True)
    assert directory.person_name(house.anna.id) == "Anna Ek"
    directory.change_person(house.anna.id, mail="")
    assert directory.find_person("anna").mail == "", "a mail address given once stayed for good"


def test_a_changed_name_reaches_the_other_processes(house: House) -> None:
    directory, authenticator = house.process()

    def names() -> tuple[str, str]:
        with house.database.read() as connection:
            authenticator.epoch(connection)
        return directory.person_name(house.anna.id), directory.organisation_name(house.customer.id)

    assert names() == ("Anna Lund", "Köparen KB")
    house.directory.change_person(house.anna.id, name="Anna Ek")
    house.directory.rename_organisation(house.customer.id, "Säljaren")
    assert names() == ("Anna Ek", "Säljaren")
    assert directory.person_name(new_id()) == ""


def test_a_group_of_one_organisation_takes_nobody_else(house: House) -> None:
    own, mixed = house.directory.add_group("Egna", house.customer.id), house.directory.add_group("Alla")
    byra = house.person("bo", house.supplier)
    with pytest.raises(ForeignMember):
        house.directory.add_member(own.id, byra.id)
    for person in (house.anna, byra, byra):
        house.directory.add_member(mixed.id, person.id)
    assert [each.login for each in house.directory.members(mixed.id)] == ["anna", "bo"]
    assert house.heard.kinds().count("member_added") == 2
    house.directory.remove_member(mixed.id, byra.id)
    house.directory.remove_member(mixed.id, byra.id)
    assert [each.login for each in house.directory.members(mixed.id)] == ["anna"]
    assert house.heard.kinds().count("member_removed") == 1
    house.directory.end_group(mixed.id)
    assert [each.name for each in house.directory.groups()] == ["Egna"]


def test_whom_a_grant_reaches(house: House) -> None:
    directory = house.directory
    group, empty = directory.add_group("Alla"), directory.add_group("Tom")
    bo, cy = house.person("bo", house.supplier), house.person("cy")
    for person in (house.anna, bo, cy):
        directory.add_member(group.id, person.id)

    def reached(kind: GranteeKind, grantee: bytes) -> set[bytes]:
        made = Grant(new_id(), new_id(), new_id(), grantee, kind, Role.VIEWER, False, None)
        with house.database.read() as connection:
            return set(directory.parties_of(connection, made))

    customer, supplier = house.customer.id, house.supplier.id
    assert reached(GranteeKind.PERSON, house.anna.id) == {customer}
    assert reached(GranteeKind.ORGANISATION, supplier) == {supplier}
    assert reached(GranteeKind.GROUP, group.id) == {customer, supplier}
    assert reached(GranteeKind.GROUP, empty.id) == set()
    assert reached(GranteeKind.LINK, b"l" * 16) == {b"l" * 16}
    assert reached(GranteeKind.NONE, b"") == set()
    directory.end_person(bo.id)
    assert reached(GranteeKind.PERSON, bo.id) == set()
    assert reached(GranteeKind.GROUP, group.id) == {customer}


def test_the_grants_in_force_of_a_space(house: House) -> None:
    space, other, node = new_id(), new_id(), new_id()
    kept = house.grant(house.anna.id, GranteeKind.PERSON, Role.EDITOR, space, node, history=True, expires_at=7)
    broken = house.grant(b"", GranteeKind.NONE, Role.BREAK, space, node)
    house.close_grant(house.grant(house.anna.id, GranteeKind.PERSON, Role.VIEWER, space, node))
    house.grant(house.anna.id, GranteeKind.PERSON, Role.VIEWER, other, node)
    with house.database.read() as connection:
        found = {grant.id: grant for grant in house.directory.grants_of_space(connection, space)}
        assert house.directory.grantee_name(connection, found[kept]) == "Anna Lund"
    assert found.keys() == {kept, broken}
    assert found[kept] == Grant(kept, space, node, house.anna.id, GranteeKind.PERSON, Role.EDITOR, True, 7)
    assert found[broken].role is Role.BREAK


def test_a_device_keeps_its_bounds_and_no_password(house: House) -> None:
    space = new_id()
    made, password = house.directory.add_device(
        house.anna.id, "Skript", spaces=[space], read_only=True, protocols=[Via.SFTP, Via.WEBDAV], expires_at=99
    )
    assert credentials.is_device_password(password)
    assert house.directory.devices(house.anna.id)[-1] == made
    assert (made.spaces, made.protocols) == (frozenset({space}), frozenset({Via.SFTP, Via.WEBDAV}))
    house.directory.revoke_device(made.id)
    revoked_at = house.directory.devices(house.anna.id)[-1].revoked_at
    assert revoked_at is not None
    house.directory.revoke_device(made.id)
    assert house.directory.devices(house.anna.id)[-1].revoked_at == revoked_at


def test_what_is_set_is_strong_enough(house: House) -> None:
    with pytest.raises(WeakPassword):
        house.directory.set_password(house.anna.id, "k9!vx2qp")
    house.directory.enrol_totp(house.anna.id)
    house.directory.set_password(house.anna.id, "k9!vx2qp")
    with pytest.raises(WeakPassword):
        house.directory.set_password(house.anna.id, "annalund")
    with pytest.raises(WeakPassword):
        house.person("bo", password="kort")


def test_nothing_typed_is_in_the_clear(house: House) -> None:
    secrets = ["Sekretess", "hemligen", "tyst@example.com", "Mumlaren", "Viskaren", PASSWORD, "198.51.100.77"]
    organisation = house.directory.add_organisation(secrets[0])
    person = house.directory.add_person(organisation.id, secrets[1], secrets[3], mail=secrets[2], password=PASSWORD)
    group = house.directory.add_group(secrets[4])
    house.directory.add_member(group.id, person.id)
    _, password = house.directory.add_device(person.id, secrets[4])
    house.basic(secrets[1], password, address=secrets[6])
    secrets += [password, house.directory.enrol_totp(person.id), *house.directory.new_recovery_codes(person.id)]
    house.basic(secrets[1], password, address=secrets[6])
    rows = []
    with house.database.read() as connection:
        rows += [row for table in durable.sorted_tables for row in connection.execute(select(table))]
    with house.database.transient_read() as connection:
        rows += [row for table in transient.sorted_tables for row in connection.execute(select(table))]
    assert len(rows) > 12
    stored = b"\n".join(
        cell if isinstance(cell, bytes) else repr(cell).encode() for row in rows for cell in row
    ).lower()
    assert person.id.lower() in stored
    for secret in secrets:
        assert secret.lower().encode() not in stored
        assert secret.lower().encode("utf-16-le") not in stored


def test_every_change_is_an_event_of_a_known_kind(house: House) -> None:
    directory = house.directory
    group = directory.add_group("G", house.customer.id)
    directory.add_member(group.id, house.anna.id)
    directory.remove_member(group.id, house.anna.id)
    directory.end_group(group.id)
    directory.set_second_factor(house.customer.id, True)
    directory.rename_organisation(house.customer.id, "Säljaren")
    directory.change_person(house.anna.id, name="Anna Ek")
    directory.set_password(house.anna.id, PASSWORD)
    directory.enrol_totp(house.anna.id)
    directory.new_recovery_codes(house.anna.id)
    directory.remove_totp(house.anna.id)
    directory.revoke_device(house.device.id)
    directory.end_person(house.anna.id)
    directory.end_organisation(house.customer.id)
    told = house.heard.kinds()
    assert told == [
        "organisation_added", "organisation_added", "person_added", "device_added", "group_added", "member_added",
        "member_removed", "group_ended", "organisation_changed", "organisation_changed", "person_changed",
        "password_set", "totp_enrolled", "recovery_codes_made", "totp_removed", "device_revoked", "person_ended",
        "organisation_ended",
    ]  # fmt: skip
    assert set(told) <= KINDS.keys()
    assert {event.organisation for event in house.heard.events[2:]} == {house.customer.id}


def test_an_event_that_cannot_be_recorded_undoes_the_act(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(connection: Any, event: Any) -> None:
        raise RuntimeError("the log is closed")

    epoch = house.epoch()
    monkeypatch.setattr(house.heard, "record_auth", fail)
    with pytest.raises(RuntimeError):
        house.directory.revoke_device(house.device.id)
    assert house.directory.devices(house.anna.id)[0].revoked_at is None
    assert house.epoch() == epoch


def test_what_bears_on_rights_lets_them_be_asked_anew(house: House) -> None:
    directory = house.directory
    group = directory.add_group("G")
    for act, is_felt in (
        (lambda: directory.add_person(house.customer.id, "bo", "Bo"), False),
        (lambda: directory.add_device(house.anna.id, "x"), False),
        (lambda: directory.add_organisation("Ny"), False),
        (lambda: directory.add_member(group.id, house.anna.id), True),
        (lambda: directory.set_second_factor(house.customer.id, True), True),
        (lambda: directory.change_person(house.anna.id, administrator=True), True),
        (lambda: directory.set_password(house.anna.id, PASSWORD), True),
        (lambda: directory.enrol_totp(house.anna.id), True),
        (lambda: directory.revoke_device(house.device.id), True),
        (lambda: directory.end_group(group.id), True),
        (lambda: directory.end_person(house.anna.id), True),
        (lambda: directory.end_organisation(house.customer.id), True),
    ):
        before = house.epoch()
        act()
        assert (house.epoch() != before) is is_felt


def test_codes_of_an_earlier_enrolment_are_worth_nothing(house: House) -> None:
    first = house.directory.enrol_totp(house.anna.id)
    assert house.directory.enrol_totp(house.anna.id) != first
    assert code_of(first).isdigit()


def test_the_tables_of_people_are_all_searched() -> None:
    assert {"person", "organisation", "device", "person_group", "recovery_code"} <= {
        t.name for t in durable.sorted_tables
    }
    assert tables.throttle.name in {table.name for table in transient.sorted_tables}


def test_the_last_administrator_of_the_supplier_left_nobody_who_could_administer(house: House) -> None:
    directory, supplier = house.directory, house.supplier.id
    agnes = directory.add_person(supplier, "agnes", "Agnes", administrator=True)
    for act in (directory.end_person, lambda person: directory.change_person(person, administrator=False)):
        with pytest.raises(LastAdministrator, match=r"Agnes is the last who administers Byrån AB.*set LOGIN --adm"):
            act(agnes.id)
    assert directory.person(agnes.id) == agnes
    other = directory.add_person(supplier, "other", "Other", administrator=True)
    directory.end_person(other.id)
    with pytest.raises(LastAdministrator):  # of two, the one who has left does not count
        directory.end_person(agnes.id)
    directory.add_person(supplier, "third", "Third", administrator=True)
    directory.end_person(agnes.id)


def test_of_two_administrators_who_end_at_once_one_stays(house: House) -> None:
    directory = house.directory
    both = [directory.add_person(house.supplier.id, each, each, administrator=True) for each in ("one", "two")]
    told: list[str] = []

    def end(person: bytes) -> None:
        try:
            directory.end_person(person)
            told.append("ended")
        except LastAdministrator:
            told.append("kept")

    threads = [threading.Thread(target=end, args=(each.id,)) for each in both]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(told) == ["ended", "kept"]


def test_a_customer_may_do_without_an_administrator(house: House) -> None:
    chef = house.directory.add_person(house.customer.id, "chef", "Chef", administrator=True)
    house.directory.change_person(chef.id, administrator=False)
    assert not house.directory.person(chef.id).is_administrator
