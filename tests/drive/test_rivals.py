"""Two rival buyers in a deal room: lanes, walls, and what each party's stream tells."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path as FilePath

import pytest
from sqlalchemy import func, select

from auth.roles import GranteeKind, Role
from providers import tables
from providers.errors import Forbidden, NotFound, RivalsWouldMeet
from providers.installation import Installation
from providers.paths import ROOT, parse
from tests.worlds import World, fetch, store


@pytest.fixture
def world(data_folder: FilePath, engine: dict[str, str]) -> Iterator[World]:
    made = World.create(data_folder, **engine)
    made.person("mia", "Byrån AB")
    made.person("alba", "Köpare A")
    made.person("kenji", "Köpare B")
    made.space("Affären", "Säljaren AB", ("/Underlag", "/Bud"))
    made.grant("mia", "Affären", Role.MANAGER, history=True)
    for login in ("alba", "kenji"):
        made.grant(login, "Affären", Role.VIEWER, "/Underlag")
        made.grant(login, "Affären", Role.UPLOADER, "/Bud")
    yield made
    made.installation.close()


def names(world: World, login: str, path: str) -> list[str]:
    return [item.name for item in world.drive(login).listing(parse(path))[1]]


def stream(world: World, login: str) -> list[tuple[str, str]]:
    """Return kind and path of each event in the stream of the person's party."""
    world.installation.tick()
    audit = world.installation.audit
    with world.installation.database.read() as connection:
        log = audit.find(connection, world.spaces["Affären"].id, world.people[login].organisation)
        entries = list(audit.entries(connection, log))
    return [(e.event["kind"], e.personal["path"].value or "") for e in entries if "path" in e.personal]


def test_both_send_a_bid_by_the_same_name_and_neither_learns_of_the_other(world: World) -> None:
    first = store(world.drive("alba"), "/Affären/Bud/Bud.pdf", b"A: 10")
    second = store(world.drive("kenji"), "/Affären/Bud/bud.pdf", b"B: 12")
    assert first.id != second.id and second.version == 1
    assert names(world, "alba", "/Affären/Bud") == ["Bud.pdf"]
    assert names(world, "kenji", "/Affären/Bud") == ["bud.pdf"]
    assert fetch(world.drive("kenji"), "/Affären/Bud/Bud.pdf") == b"B: 12"
    seen = "/Säljaren AB – Affären/Bud"
    assert names(world, "mia", seen) == ["Bud (Köpare A).pdf", "bud (Köpare B).pdf"]
    assert fetch(world.drive("mia"), f"{seen}/Bud (Köpare A).pdf") == b"A: 10"
    with pytest.raises(NotFound):
        world.drive("alba").stat(parse("/Affären/Bud/bud (Köpare B).pdf"))


def test_a_bid_renamed_by_the_supplier_stays_its_partys(world: World) -> None:
    store(world.drive("alba"), "/Affären/Bud/Bud.pdf", b"A: 10")
    seen, mia = "/Säljaren AB – Affären/Bud", world.drive("mia")
    for given in ("Slutbud.pdf", "Slutbud 2 (Köpare A).pdf"):
        (name,) = names(world, "mia", seen)
        mia.move(parse(f"{seen}/{name}"), parse(f"{seen}/{given}"), overwrite=False)
    assert names(world, "mia", seen) == ["Slutbud 2 (Köpare A).pdf"]
    assert names(world, "alba", "/Affären/Bud") == ["Slutbud 2.pdf"]
    assert names(world, "kenji", "/Affären/Bud") == []


def put(world: World, login: str, place: str, content: bytes) -> None:
    store(world.drive(login), place, content)


def edited(world: World, login: str, place: str, content: bytes) -> None:
    edit = world.drive(login).edit(parse(place), create=True, truncate=True)
    try:
        edit.write(100_000, content[100_000:])
        edit.write(0, content[:100_000])
        edit.commit()
    finally:
        edit.discard()


def streamed(world: World, login: str, place: str, content: bytes) -> None:
    edit = world.drive(login).edit(parse(place), create=True, truncate=True)
    try:
        edit.write(0, content)
        edit.commit()
    finally:
        edit.discard()


def copied(world: World, login: str, place: str, content: bytes) -> None:
    """From a space of their own."""
    customer = "Köpare A" if login == "alba" else "Köpare B"
    if f"Eget {login}" not in world.spaces:
        world.space(f"Eget {login}", customer)
        world.grant(login, f"Eget {login}", Role.EDITOR)
    mine = f"/Eget {login}/{len(content)}.bin"
    store(world.drive(login), mine, content)
    world.drive(login).copy(parse(mine), parse(place), overwrite=True)


@pytest.mark.parametrize("upload", [put, edited, streamed, copied])
def test_a_rival_learnt_by_the_time_it_took_that_the_other_had_a_document(
    world: World, upload: Callable[[World, str, str, bytes], None]
) -> None:
    """What the space had already was neither sealed nor written: a third of the time."""
    installation, space, content = world.installation, world.spaces["Affären"].id, os.urandom(1_000_000)
    upload(world, "alba", "/Affären/Bud/Ritning.bin", content)

    def packed() -> int:
        folder = installation.folder / "vault" / space.hex() / "packs"
        return sum(path.stat().st_size for path in folder.glob("*.pack"))

    def stored() -> tuple[int, int]:
        with installation.database.read() as connection:
            chunk, head = tables.chunk.c, tables.head.c
            pieces = connection.execute(select(func.count()).where(chunk.space == space)).scalar_one()
            return pieces, connection.execute(select(head.sealed_bytes).where(head.space == space)).scalar_one()

    was, (pieces, counted) = packed(), stored()
    upload(world, "kenji", "/Affären/Bud/Gissning.bin", content)
    assert packed() - was > len(content)
    assert stored()[0] == pieces
    assert stored()[1] - counted < 1_000, "it counts once all the same"
    assert fetch(world.drive("kenji"), "/Affären/Bud/Gissning.bin") == content
    installation.close()  # it writes to that pack no more
    installation = world.installation = Installation.open(installation.folder, installation.settings)
    assert installation.erasures.letting_go.sweep()[space].freed_bytes > len(content)
    assert fetch(world.drive("alba"), "/Affären/Bud/Ritning.bin") == content
    assert fetch(world.drive("kenji"), "/Affären/Bud/Gissning.bin") == content
    installation.tick()
    assert list(installation.verify()) == []


def test_who_has_no_rival_stores_nothing_twice(world: World) -> None:
    content = os.urandom(1_000_000)
    world.space("Hyllan", "Köpare A")
    world.grant("alba", "Hyllan", Role.EDITOR)
    folder = world.installation.folder / "vault" / world.spaces["Hyllan"].id.hex() / "packs"
    for name in ("Ett", "Två"):
        store(world.drive("alba"), f"/Hyllan/{name}.bin", content)
    assert sum(path.stat().st_size for path in folder.glob("*.pack")) < 1_100_000


def test_each_stream_tells_its_own_party_alone(world: World) -> None:
    store(world.drive("mia"), "/Säljaren AB – Affären/Underlag/Bokslut.pdf", b"x")
    store(world.drive("alba"), "/Affären/Bud/Bud.pdf", b"A: 10")
    fetch(world.drive("kenji"), "/Affären/Underlag/Bokslut.pdf")
    with pytest.raises(Forbidden):
        store(world.drive("kenji"), "/Affären/Underlag/Falskt.pdf", b"x")
    own = {login: stream(world, login) for login in ("alba", "kenji")}
    assert [event for event in own["alba"] if event[0] != "grant"] == [
        ("add", "/Underlag/Bokslut.pdf"),
        ("add", "/Bud/Bud.pdf"),
    ]
    assert [event for event in own["kenji"] if event[0] != "grant"] == [
        ("add", "/Underlag/Bokslut.pdf"),
        ("refused", "/Underlag"),
        ("read", "/Underlag/Bokslut.pdf"),
    ]
    assert {path for kind, path in own["alba"] if kind == "grant"} == {"/Underlag", "/Bud"}
    assert len([event for event in own["alba"] if event[0] == "grant"]) == 2


def test_a_party_hears_that_what_it_saw_went_over_something_it_does_not_see(world: World) -> None:
    mia, seen = world.drive("mia"), "/Säljaren AB – Affären"
    mia.make_folder(parse(f"{seen}/Internt"))
    store(mia, f"{seen}/Internt/x.pdf", b"old")
    store(mia, f"{seen}/Underlag/x.pdf", b"new")
    mia.move(parse(f"{seen}/Underlag/x.pdf"), parse(f"{seen}/Internt/x.pdf"), overwrite=True)
    assert stream(world, "alba")[-1][0] == "move"
    assert names(world, "alba", "/Affären/Underlag") == []


def test_nobody_may_write_where_a_rival_reads(world: World) -> None:
    for role in (Role.CONTRIBUTOR, Role.EDITOR, Role.MANAGER):
        for path in ("/Underlag", "/"):
            with pytest.raises(RivalsWouldMeet):
                world.grant("alba", "Affären", role, path)
    world.grant("alba", "Affären", Role.UPLOADER, "/Underlag")


def test_nobody_may_read_where_a_rival_writes(world: World) -> None:
    world.space("Eget", "Köpare A", ("/Inre",))
    world.grant("alba", "Eget", Role.EDITOR)
    for path in ("/", "/Inre"):
        with pytest.raises(RivalsWouldMeet):
            world.grant("kenji", "Eget", Role.VIEWER, path)


def test_a_rival_does_not_slip_in_by_a_group(world: World) -> None:
    directory, spaces, operator = world.installation.directory, world.installation.spaces, world.installation.operator()
    world.space("Eget", "Köpare A")
    group = directory.add_group("Rådgivare")
    directory.add_member(group.id, world.people["alba"].id)
    spaces.grant(operator, world.spaces["Eget"].id, parse("/"), group.id, GranteeKind.GROUP, Role.EDITOR, history=False)
    with pytest.raises(RivalsWouldMeet):
        directory.add_member(group.id, world.people["kenji"].id)
    assert [person.login for person in directory.members(group.id)] == ["alba"]
    assert names(world, "kenji", "/") == ["Affären"]
    directory.add_member(group.id, world.people["mia"].id)


def test_a_broken_inheritance_parts_them_and_mending_it_is_refused(world: World) -> None:
    world.space("Delat", "Köpare A", ("/A", "/B"))
    spaces, operator = world.installation.spaces, world.installation.operator()
    broken = spaces.break_inheritance(operator, world.spaces["Delat"].id, parse("/B"))
    world.grant("alba", "Delat", Role.EDITOR)
    world.grant("kenji", "Delat", Role.VIEWER, "/B")
    assert names(world, "alba", "/Delat") == ["A"]
    assert names(world, "kenji", "/Delat") == ["B"]
    with pytest.raises(RivalsWouldMeet):
        spaces.revoke(operator, world.spaces["Delat"].id, broken.id)


def test_a_folder_moved_where_rivals_would_meet_stays(world: World) -> None:
    world.space("Delat", "Köpare A", ("/A/Eget", "/B"))
    world.grant("mia", "Delat", Role.MANAGER)
    world.grant("alba", "Delat", Role.EDITOR, "/A/Eget")
    world.grant("kenji", "Delat", Role.VIEWER, "/B")
    shown = "/Köpare A – Delat"
    with pytest.raises(RivalsWouldMeet):
        world.drive("mia").move(parse(f"{shown}/A/Eget"), parse(f"{shown}/B/Eget"), overwrite=False)
    assert names(world, "kenji", "/Delat/B") == []


def test_spaces_of_one_name_are_told_apart_within_what_one_party_sees(world: World) -> None:
    world.space("Dokument", "Köpare A")
    first = world.spaces["Dokument"]
    world.grant("alba", "Dokument", Role.VIEWER)
    world.space("Dokument", "Köpare B")
    world.grant("kenji", "Dokument", Role.VIEWER)
    assert names(world, "kenji", "/") == ["Affären", "Dokument"], "another party's space moved a name"
    world.grant("alba", "Dokument", Role.VIEWER)
    assert names(world, "alba", "/") == ["Affären", "Dokument", "Dokument (2)"]
    operator = world.installation.operator()
    for _, grant in world.installation.spaces.grants(first.id):
        world.installation.spaces.revoke(operator, first.id, grant.id)
    assert names(world, "alba", "/") == ["Affären", "Dokument (2)"], "a suffix once given is kept"


def test_what_something_unseen_holds_can_be_taken_all_the_same(world: World) -> None:
    world.space("Delat", "Köpare A", ("/Hemligt",))
    operator, spaces = world.installation.operator(), world.installation.spaces
    spaces.break_inheritance(operator, world.spaces["Delat"].id, parse("/Hemligt"))
    world.grant("alba", "Delat", Role.EDITOR)
    alba = world.drive("alba")
    assert names(world, "alba", "/Delat") == []
    alba.make_folder(parse("/Delat/hemligt"))
    store(alba, "/Delat/hemligt/x.txt", b"mine")
    assert names(world, "alba", "/Delat") == ["hemligt"]


def test_a_name_that_is_hidden_twice_over_is_refused(world: World) -> None:
    world.space("Delat", "Köpare A", ("/Hemligt",))
    operator, spaces = world.installation.operator(), world.installation.spaces
    spaces.break_inheritance(operator, world.spaces["Delat"].id, parse("/Hemligt"))
    world.grant("alba", "Delat", Role.MANAGER)
    alba = world.drive("alba")
    alba.make_folder(parse("/Delat/hemligt"))
    alba.break_inheritance(parse("/Delat/hemligt"))
    assert names(world, "alba", "/Delat") == []
    with pytest.raises(Forbidden):
        alba.make_folder(parse("/Delat/hemligt"))


def test_a_document_that_continues_brings_no_grant_in_among_rivals(world: World) -> None:
    space, mia = world.space("Delat", "Säljaren AB").id, world.drive("mia")
    world.grant("mia", "Delat", Role.MANAGER, history=True)
    document = parse("/Säljaren AB – Delat/x.txt")
    store(mia, document, b"one")
    world.grant("alba", "Delat", Role.EDITOR, "/x.txt")
    mia.delete(document)
    granted = world.grant("kenji", "Delat", Role.VIEWER)
    with pytest.raises(RivalsWouldMeet):
        store(mia, document, b"two")
    assert names(world, "kenji", "/Delat") == []
    world.installation.spaces.revoke(world.installation.operator(), space, granted.id)
    assert store(mia, document, b"two").version == 2


def told(world: World, organisation: bytes, space: bytes) -> list[dict[str, str]]:
    """Return the kind and what was typed of each event in an organisation's stream, or (empty) the supplier's log."""
    audit = world.installation.audit
    with world.installation.database.read() as connection:
        entries = list(audit.entries(connection, audit.find(connection, space, organisation)))
    return [
        {"kind": e.event["kind"]} | {name: found.value or "" for name, found in e.personal.items()} for e in entries
    ]


def test_the_name_of_a_group_of_rivals_stood_in_the_stream_of_each(world: World) -> None:
    installation, space = world.installation, world.spaces["Affären"].id
    both = [world.people[login] for login in ("alba", "kenji")]
    group = installation.directory.add_group("Köparna A och B", members=[each.id for each in both])
    mia = world.drive("mia")
    place = parse("/Säljaren AB – Affären/Underlag")
    made = mia.grant(place, group.id, GranteeKind.GROUP, Role.VIEWER, history=False)
    for each in both:
        assert told(world, each.organisation, space)[-1]["kind"] == "grant"
        installation.directory.remove_member(group.id, each.id)
    mia.revoke(place, made.id)
    for each in both:
        stream = told(world, each.organisation, space)
        assert not any("Köparna" in value for event in stream for value in event.values())
    assert [event["grantee_group"] for event in told(world, b"", space)[-2:]] == ["Köparna A och B"] * 2
    assert not list(installation.verify())


def test_a_customer_did_not_learn_who_was_let_in_before_it_was_itself(world: World) -> None:
    made = world.space("Ny", "Köpare A", ("/Internt",))
    world.person("ture", "Byrån AB")
    world.grant("ture", "Ny", Role.MANAGER)
    world.grant("mia", "Ny", Role.EDITOR, "/Internt")
    events = told(world, world.organisations["Köpare A"], made.id)
    assert [event["grantee"] for event in events if event["kind"] == "grant"] == ["Ture Lund"]
    assert not any("Internt" in event.get("path", "") for event in events), "what it does not see stays unseen"


def test_the_supplier_let_people_of_its_own_in_by_a_group_and_the_customer_was_told_nothing(world: World) -> None:
    directory = world.installation.directory
    made = world.space("Ny", "Köpare A")
    ture = world.person("ture", "Byrån AB")
    group = directory.add_group("Medarbetare")
    operator, spaces = world.installation.operator(), world.installation.spaces
    spaces.grant(operator, made.id, ROOT, group.id, GranteeKind.GROUP, Role.EDITOR, history=True)
    directory.add_member(group.id, ture.id)
    directory.remove_member(group.id, ture.id)
    directory.add_member(group.id, world.people["kenji"].id)
    streams = {name: told(world, world.organisations[name], b"") for name in ("Köpare A", "Köpare B")}
    heard = {
        name: [(event["kind"], event.get("person")) for event in events if event["kind"].startswith("member")]
        for name, events in streams.items()
    }
    assert heard == {"Köpare A": [("member_added", "Ture Lund"), ("member_removed", "Ture Lund")], "Köpare B": []}
    assert not list(world.installation.verify())
