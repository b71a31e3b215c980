"""What one worker remembers does not outlive what another worker, or the clock, has changed: the next request sees it.

Workers share nothing but the database and the data folder; here each is an installation of its own, opened anew.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path as FilePath

import pytest

from auth.errors import SignInRefused
from auth.rights import Principal
from auth.roles import Role, Via
from config.clock import SECOND_US, now_us
from config.errors import MellanrumError
from providers.catalogue.change import ChangeKind, Step
from providers.catalogue.nodes import Tree
from providers.drive import Drive, known, unchanged
from providers.drive.session import Session
from providers.drive.transaction import Refusal, Transaction
from providers.errors import Forbidden, NotAtHand, NotFound
from providers.installation import Installation
from providers.model import ARCHIVED, FROZEN
from providers.paths import Path, parse
from providers.vault import reader
from tests.statements import statements
from tests.worlds import ADDRESS, World, fetch, settings_for, store

FOLDER, DOCUMENT = parse("/Stämma/Mapp/Under"), parse("/Stämma/Mapp/Under/a.txt")
PATHS = [parse(text) for text in ("/", "/Stämma", "/Stämma/Mapp", "/Archive/Stämma/Mapp/Under", "/Stämma/Ny/Under")]


@pytest.fixture
def world(tmp_path: FilePath, engine: dict[str, str]) -> Iterator[World]:
    made = World.create(tmp_path / "data", **engine)
    made.person("eva", "Kund AB")
    made.person("olle", "Kund AB")
    made.space("Stämma", "Kund AB", folders=("/Mapp/Under",))
    made.grant("eva", "Stämma", Role.EDITOR, history=True)
    made.grant("olle", "Stämma", Role.EDITOR)
    store(made.drive("olle"), DOCUMENT, b"as it was")
    yield made
    made.installation.close()


@pytest.fixture
def elsewhere(world: World, engine: dict[str, str]) -> Iterator[World]:
    """The same installation in another worker."""
    found = Installation.open(world.installation.folder, settings_for(world.installation.folder, **engine))
    yield World(found, world.organisations, world.people, world.passwords, world.devices, world.spaces)
    found.close()


def _outcome(work: Callable[[], object]) -> object:
    try:
        return work()
    except MellanrumError as error:
        return type(error).__name__


def _read(drive: Drive, path: Path) -> object:
    with drive.read(path) as found:
        return found.item, b"".join(bytes(piece) for piece in found.chunks())


def _seen(drive: Drive) -> list[object]:
    """Return all that a drive shows."""
    found: list[object] = []
    for path in (*PATHS, FOLDER, DOCUMENT):
        found += [
            _outcome(lambda path=path: drive.stat(path)),  # type: ignore[misc]
            _outcome(lambda path=path: drive.listing(path)),  # type: ignore[misc]
            _outcome(lambda path=path: _read(drive, path)),  # type: ignore[misc]
        ]
    return found


def _signed_in(world: World) -> Principal | str:
    return _outcome(lambda: world.sign_in("eva"))  # type: ignore[return-value]


def _shown_by(world: World) -> object:
    """Return what eva is shown who signs in now."""
    who = _signed_in(world)
    return who if isinstance(who, str) else _seen(world.installation.drive(who))


def _revoke(world: World) -> None:
    spaces = world.installation.spaces
    mine = next(g for _, g in spaces.grants(world.spaces["Stämma"].id) if g.grantee == world.people["eva"].id)
    spaces.revoke(world.installation.operator(), world.spaces["Stämma"].id, mine.id)


def _set_state(state: int) -> Callable[[World], None]:
    def change(world: World) -> None:
        world.installation.spaces.set_state(world.installation.operator(), world.spaces["Stämma"].id, state)

    return change


def _break_above(world: World) -> None:
    world.installation.spaces.break_inheritance(
        world.installation.operator(), world.spaces["Stämma"].id, parse("/Mapp")
    )


CHANGES: dict[str, Callable[[World], object]] = {
    "grant_revoked": _revoke,
    "inheritance_broken_above": _break_above,
    "device_revoked": lambda w: w.installation.directory.revoke_device(w.devices["eva"]),
    "person_ended": lambda w: w.installation.directory.end_person(w.people["eva"].id),
    "folder_above_renamed": lambda w: w.drive("olle").move(parse("/Stämma/Mapp"), parse("/Stämma/Ny"), overwrite=False),
    "folder_moved": lambda w: w.drive("olle").move(FOLDER, parse("/Stämma/Under"), overwrite=False),
    "folder_above_deleted": lambda w: w.drive("olle").delete(parse("/Stämma/Mapp")),
    "document_replaced": lambda w: store(w.drive("olle"), DOCUMENT, b"as it is now, and longer"),
    "document_emptied": lambda w: store(w.drive("olle"), DOCUMENT, b""),
    "document_deleted": lambda w: w.drive("olle").delete(DOCUMENT),
    "document_deleted_and_made_again": lambda w: (
        w.drive("olle").delete(DOCUMENT),
        store(w.drive("olle"), DOCUMENT, b"another altogether"),
    ),
    "time_set": lambda w: w.drive("olle").change_properties(DOCUMENT, [], modified=1_000_000),
    "document_beside_it": lambda w: store(w.drive("olle"), "/Stämma/Mapp/Under/b.txt", b"b"),
    "space_archived": _set_state(ARCHIVED),
    "another_space_shown": lambda w: (w.space("Vind", "Kund AB"), w.grant("eva", "Vind", Role.VIEWER)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_next_request_sees_what_another_worker_changed(world: World, elsewhere: World, change: str) -> None:
    held = world.drive("eva")
    before = _shown_by(world)
    assert _shown_by(world) == _seen(held) == before  # remembered by now, whatever can be
    CHANGES[change](elsewhere)
    truth = _shown_by(elsewhere)
    assert truth != before
    assert _shown_by(world) == truth
    if truth == SignInRefused.__name__:
        assert set(map(str, _seen(held))) == {"Revoked"}
    else:
        assert _seen(held) == truth


def _at_hand(drive: Drive) -> list[object]:
    """Return what a drive tells of the document without waiting for anybody, None for what it would have to ask."""

    def reading() -> object:
        with drive.read(DOCUMENT, at_hand=1 << 10) as found:
            return found.item, found.read(0, 1 << 10)

    return [_told(lambda: drive.stat(DOCUMENT, at_hand=True)), _told(reading)]


def _told(look: Callable[[], object]) -> object:
    try:
        return look()
    except NotAtHand:
        return None


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_at_hand_is_nothing_but_the_truth(world: World, elsewhere: World, change: str) -> None:
    drive = world.drive("eva")

    def asked() -> list[object]:
        return [_outcome(lambda: drive.stat(DOCUMENT)), _outcome(lambda: _read(drive, DOCUMENT))]

    before = asked()
    assert _at_hand(drive) == (before if world.installation.database.dialect == "sqlite" else [None, None])
    CHANGES[change](elsewhere)
    at_hand, truth = _at_hand(drive), asked()
    assert truth != before or change in {"document_beside_it", "another_space_shown"}
    assert all(found in (None, told) for found, told in zip(at_hand, truth, strict=True))
    at_hand = _at_hand(drive)
    assert all(found in (None, told) for found, told in zip(at_hand, truth, strict=True))


def test_a_read_that_would_have_to_be_noted_is_not_at_hand(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    drive, far = world.drive("eva"), 1 << 30
    drive.stat(DOCUMENT)
    assert _at_hand(drive)[1] is None  # nobody has read it
    fetch(drive, DOCUMENT)
    directory = world.installation.directory
    world.devices["eva"], world.passwords["eva"] = directory.add_device(world.people["eva"].id, "phone")
    phone = world.drive("eva")
    phone.stat(DOCUMENT)
    assert _at_hand(phone)[1] is None  # her other device has
    fetch(phone, DOCUMENT)
    with pytest.raises(NotAtHand):
        phone.read(DOCUMENT, at_hand=len(b"as it was") - 1)
    if world.installation.database.dialect == "sqlite":
        assert phone.read(DOCUMENT, at_hand=far).read(0, far) == b"as it was"
    later = now_us() + 601 * SECOND_US
    monkeypatch.setattr(unchanged, "now_us", lambda: later)
    assert _at_hand(phone)[1] is None  # the event covers ten minutes


def test_a_frozen_space_takes_nothing_any_more(world: World, elsewhere: World) -> None:
    drive = world.drive("eva")
    store(drive, DOCUMENT, b"one")
    _set_state(FROZEN)(elsewhere)
    assert _outcome(lambda: drive.put(DOCUMENT, declared=1)) == "Frozen"
    _set_state(0)(elsewhere)
    store(drive, DOCUMENT, b"two")


@pytest.mark.parametrize("what", ["grant", "device"])
def test_what_runs_out_is_over_though_nothing_was_written(world: World, what: str) -> None:
    ends = now_us() + 3 * SECOND_US
    if what == "grant":
        _revoke(world)
        world.grant("eva", "Stämma", Role.VIEWER, expires_at=ends)
    else:
        directory = world.installation.directory
        _, world.passwords["eva"] = directory.add_device(world.people["eva"].id, "phone", expires_at=ends)
    drive = world.drive("eva")
    for _ in range(2):
        assert fetch(drive, DOCUMENT) == b"as it was"
        assert drive.stat(DOCUMENT).name == "a.txt"
        assert [item.name for item in drive.listing(FOLDER)[1]] == ["a.txt"]
    time.sleep(max(0, ends - now_us()) / SECOND_US + 0.01)
    assert _at_hand(drive) == [None, None]
    over = {"NotFound"} if what == "grant" else {"Revoked"}
    assert {_outcome(lambda: drive.stat(DOCUMENT)), _outcome(lambda: fetch(drive, DOCUMENT))} == over
    assert {_outcome(lambda: drive.listing(FOLDER))} == over


def test_a_change_that_is_undone_leaves_nothing_behind(world: World, elsewhere: World) -> None:
    """Its number is given again, to another change."""
    drive = world.drive("eva")
    _seen(drive)

    def undone(tx: object) -> None:
        place = tx.place(DOCUMENT)  # type: ignore[attr-defined]
        tx.change(place.space.id).close(place.node)  # type: ignore[attr-defined]
        assert _outcome(lambda: tx.item_at(DOCUMENT)) == "NotFound"  # type: ignore[attr-defined]
        tx.items_in(tx.place(FOLDER))  # type: ignore[attr-defined]
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        drive._session.commit([DOCUMENT], undone, space=world.spaces["Stämma"].id)
    store(elsewhere.drive("olle"), "/Stämma/Mapp/Under/b.txt", b"b")
    assert _shown_by(world) == _seen(drive) == _shown_by(elsewhere)


def test_what_another_change_of_an_undone_group_did_is_not_remembered(world: World, elsewhere: World) -> None:
    drive, moved = world.drive("eva"), parse("/Stämma/Mapp/Under/b.txt")
    storage, space = world.installation.storage, world.spaces["Stämma"].id
    with pytest.raises(ZeroDivisionError), storage.database.write() as connection:
        first = Transaction(storage, connection, world.sign_in("olle"), [space])
        place = first.place(DOCUMENT)
        first.change(space).move(place.node, place.chain[-2], b"", moved.name)
        first.finish(ChangeKind.MOVE, place, "rename")
        second = Transaction(storage, connection, drive.principal, [space])
        assert second.item_at(moved).name == moved.name
        assert _outcome(lambda: second.item_at(DOCUMENT)) == "NotFound"
        raise ZeroDivisionError
    store(elsewhere.drive("olle"), "/Stämma/c.txt", b"c")  # its number is that of what was undone
    assert _outcome(lambda: drive.stat(moved)) == "NotFound"
    assert drive.stat(DOCUMENT).name == DOCUMENT.name


def test_a_name_in_a_lane_is_taken_from_it_by_a_document_for_all(world: World, elsewhere: World) -> None:
    """What is found in a lane is found there only as long as nothing bears that name outside of lanes."""
    world.person("ulla", "Kund AB")
    world.grant("ulla", "Stämma", Role.UPLOADER, "/Mapp")
    world.person("stina", "Byrån AB")
    world.grant("stina", "Stämma", Role.EDITOR)
    bid = parse("/Stämma/Mapp/Bud.txt")
    store(world.drive("ulla"), bid, b"in a lane")
    eva = world.drive("eva")
    assert fetch(eva, bid) == fetch(eva, bid) == b"in a lane"
    theirs = parse("/Kund AB – Stämma/Mapp/Bud.txt")
    store(elsewhere.drive("stina"), theirs, b"for all")
    assert fetch(eva, bid) == b"for all"


def test_what_stands_is_found_by_one_query_after_a_change_elsewhere(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    drive = world.drive("eva")
    assert drive.stat(DOCUMENT) == drive.stat(DOCUMENT)
    store(drive, "/Stämma/b.txt", b"b")
    named: list[str] = []
    monkeypatch.setattr(Tree, "named", lambda *asked: named.append(asked[3]) or [])
    assert drive.stat(DOCUMENT).name == "a.txt"
    assert named == []


#: Acts by which a worker itself alters or leaves alone what it remembers.
ACTS: dict[str, Callable[[World], object]] = {
    **{name: act for name, act in CHANGES.items() if name.startswith(("folder", "document", "time"))},
    "copied": lambda w: w.drive("olle").copy(DOCUMENT, parse("/Stämma/Mapp/Under/kopia.txt"), overwrite=False),
    "folder_copied": lambda w: w.drive("olle").copy(FOLDER, parse("/Stämma/Mapp/Kopia"), overwrite=False),
    "property_of_a_folder": lambda w: w.drive("olle").change_properties(FOLDER, [("{x:}a", "<a/>")]),
    "property": lambda w: w.drive("olle").change_properties(DOCUMENT, [("{x:}a", "<a/>")]),
    "folder_beside": lambda w: w.drive("olle").make_folder(parse("/Stämma/Mapp/Under/Ny")),
    "moved_over": lambda w: (
        store(w.drive("olle"), "/Stämma/Mapp/Under/c.txt", b"moved over it"),
        w.drive("olle").move(parse("/Stämma/Mapp/Under/c.txt"), DOCUMENT, overwrite=True),
    ),
    "restored": lambda w: (
        store(w.drive("olle"), DOCUMENT, b"for a while"),
        w.drive("eva").restore(DOCUMENT, 1),
    ),
    "put_back": lambda w: (
        w.grant("eva", "Stämma", Role.MANAGER, history=True),
        _shown_by(w),
        moment := now_us(),
        store(w.drive("olle"), DOCUMENT, b"for a while"),
        w.drive("eva").put_back(FOLDER, moment),
    ),
    "undeleted": lambda w: (
        w.drive("olle").delete(DOCUMENT),
        w.drive("eva").undelete(FOLDER, w.drive("eva").trash(FOLDER, everything=True)[0][0].id),
    ),
}


def _chains(world: World) -> list[object]:
    """Return every node on the way to what eva sees, as a look through what is remembered finds it."""
    drive = world.drive("eva")
    with drive._session.look() as look:
        return [_outcome(lambda path=path: look.find(path).chain) for path in (FOLDER, DOCUMENT)]  # type: ignore[misc, union-attr]


@pytest.mark.parametrize("act", ACTS)
def test_what_a_worker_did_itself_it_knows_as_it_would_find_it_anew(
    world: World, elsewhere: World, act: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _shown_by(world)
    ACTS[act](world)
    for by, name in ((world, "a"), (world, "b"), (elsewhere, "c"), (world, "d")):
        store(by.drive("olle"), f"/Stämma/{name}.txt", name.encode())
        drive = world.drive("eva")
        at_hand = _at_hand(drive)
        truth = [_outcome(lambda: drive.stat(DOCUMENT)), _outcome(lambda: _read(drive, DOCUMENT))]  # noqa: B023
        assert all(found in (None, told) for found, told in zip(at_hand, truth, strict=True))
        if name == "a":
            continue
        remembered = [_chains(world), _shown_by(world), _chains(world)]
        with monkeypatch.context() as patched:
            patched.setattr(world.installation.storage, "known", known.Known())
            assert remembered == [_chains(world), _shown_by(world), _chains(world)]
    assert _shown_by(world) == _shown_by(elsewhere)


def test_what_others_changed_between_is_not_taken_for_ones_own(world: World, elsewhere: World) -> None:
    drive = world.drive("olle")
    for number in range(20):
        store(drive, DOCUMENT, b"here %d" % number)
        store(elsewhere.drive("olle"), DOCUMENT, b"there %d" % number)
        store(drive, "/Stämma/Mapp/b.txt", b"%d" % number)
        assert fetch(drive, DOCUMENT) == b"there %d" % number
        assert fetch(world.drive("eva"), DOCUMENT) == b"there %d" % number


def test_changes_of_ones_own_are_known_in_whatever_order_they_are_told() -> None:
    one, two = b"one", b"two"

    def step(number: int, *altered: bytes, revised: bytes = b"") -> Step:
        return Step(b"space", number, frozenset(altered), frozenset({revised} - {b""}))

    remembered = known.Known()
    for found in (step(6, two), step(5, revised=one), step(8), step(7, revised=one)):
        remembered.done(found)
    own = remembered._own.get(b"space")
    assert own is not None
    assert own.revisions([one], 5, 8) == {one: 7}
    assert own.revisions([one], 7, 8) == {}
    assert own.revisions([two], 5, 8) is None
    assert own.revisions([two], 6, 8) == {}
    assert own.revisions([one], 5, 9) is None
    assert own.revisions([one], 5, 6) is None  # revised later: who looks at an older snapshot asks
    remembered.done(step(10, two))
    assert own.revisions([one], 7, 10) is None
    for number in range(11, 11 + 2 * known.WAITING_MAX):
        remembered.done(step(number))
    own = remembered._own.get(b"space")
    assert own is not None
    assert own.revisions([one], 7, number) is None
    assert own.revisions([one], number - 1, number) == {}


def test_what_ones_own_changes_leave_alone_stays_at_hand(world: World, elsewhere: World) -> None:
    if world.installation.database.dialect != "sqlite":
        pytest.skip("nothing is at hand on PostgreSQL")
    drive = world.drive("eva")
    truth = [drive.stat(DOCUMENT), _read(drive, DOCUMENT)]
    for _ in range(3):
        store(world.drive("olle"), "/Stämma/Mapp/Under/b.txt", os.urandom(8))
        assert _at_hand(drive) == truth
    store(elsewhere.drive("olle"), "/Stämma/Mapp/Under/b.txt", b"elsewhere")
    assert _at_hand(drive) == [None, None]


def test_what_was_saved_is_read_without_looking_for_it(world: World) -> None:
    """But by nobody who may not read."""
    drive = world.drive("eva")
    store(drive, DOCUMENT, b"to be in the folder")
    place = "/Stämma/Mapp/Under/ny.txt"
    store(drive, place, b"saved")
    with statements(world.installation.database) as asked:
        assert fetch(drive, place) == b"saved"
        assert fetch(drive, place) == b"saved"
    if world.installation.database.dialect == "sqlite":
        assert len([text for text in asked if text.startswith("SELECT")]) == 2
        world.sign_in("eva")
        with statements(world.installation.database) as asked:
            assert fetch(drive, place) == b"saved"
            assert world.sign_in("eva").epoch == drive.principal.epoch
        assert asked == []  # nobody has changed anything meanwhile
    world.person("ulla", "Kund AB")
    world.grant("ulla", "Stämma", Role.UPLOADER, "/Mapp")
    store(world.drive("ulla"), "/Stämma/Mapp/hennes.txt", b"in her lane")
    assert fetch(world.drive("ulla"), "/Stämma/Mapp/hennes.txt") == b"in her lane"


def test_another_person_is_shown_nothing_of_what_was_remembered(world: World) -> None:
    world.person("ann", "Annan AB")
    _shown_by(world)
    stranger = world.drive("ann")
    assert {str(found) for found in _seen(stranger)[3:]} == {"NotFound"}


def test_a_chunk_that_came_to_lie_elsewhere_is_found_there(world: World) -> None:
    """As when a pack was rewritten: the place remembered holds it no longer."""
    drive = world.drive("eva")
    fetch(drive, DOCUMENT)
    leaves = world.installation.vault._leaves
    [key] = leaves._kept
    kept = leaves._kept[key]
    gone = {cid: place._replace(pack=place.pack ^ 1) for cid, place in kept.places.items()}
    leaves._kept[key] = kept._replace(places=gone)
    assert fetch(drive, DOCUMENT) == b"as it was"
    assert leaves._kept.get(key) != kept._replace(places=gone)


def test_what_is_remembered_is_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known, "PLACES_MAX", 8)
    monkeypatch.setattr(reader, "PLACES_MAX", 2)
    drive = world.drive("eva")
    for number in range(4):
        store(drive, f"/Stämma/Mapp/Under/{number}.txt", b"%d" % number)
        for _ in range(2):
            assert fetch(drive, f"/Stämma/Mapp/Under/{number}.txt") == b"%d" % number
            assert len(drive.listing(FOLDER)[1]) == number + 2
    remembered = world.installation.storage.known
    assert len(remembered._found) <= 8
    assert world.installation.vault._leaves._chunks == len(world.installation.vault._leaves._kept) <= 2


def test_a_destroyed_key_is_gone_from_memory(world: World) -> None:
    drive = world.drive("eva")
    assert fetch(drive, DOCUMENT) == fetch(drive, DOCUMENT) == b"as it was"
    world.installation.keyring.destroy(world.spaces["Stämma"].id)
    assert _outcome(lambda: fetch(drive, DOCUMENT)) == "UnknownKey"


def test_signing_in_by_what_no_password_is_costs_no_memory_of_it(world: World) -> None:
    for login in ("eva\0", "", "e" * 300, "eva\ud800"):
        with pytest.raises(SignInRefused):
            world.installation.authenticator.basic(login, world.passwords["eva"], via=Via.WEBDAV, address=ADDRESS)


def test_who_is_refused_just_after_being_let_into_a_space_of_a_name_they_have_holds_up_nobody(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second one gets a suffix in the transaction that is under way, and not by one that waits for it."""
    world.person("kim", "Kund AB")
    world.grant("kim", "Stämma", Role.VIEWER)
    drive = world.drive("kim")
    drive.listing(parse("/Stämma"))
    world.space("Stämma", None)
    record = Session._record

    def let_in_between(session: Session, refusal: Refusal) -> None:
        world.grant("kim", "Stämma", Role.VIEWER)
        monkeypatch.setattr(Session, "_record", record)
        record(session, refusal)

    monkeypatch.setattr(Session, "_record", let_in_between)
    with pytest.raises(Forbidden):
        drive.make_folder(parse("/Stämma/Ny"))
    store(world.drive("olle"), DOCUMENT, b"written after it")
    assert {item.name for item in world.drive("kim").listing(parse("/"))[1]} == {"Stämma", "Stämma (2)"}


@pytest.mark.parametrize(("name", "more"), [("desktop.ini", 1), ("Thumbs.db", 1), ("._x", 3), (".DS_Store", 3)])
def test_c9_to_look_for_what_is_not_there_costs_little_more_than_for_what_is(
    world: World, name: str, more: int
) -> None:
    """Explorer and Finder probe for these in every folder, over and over."""
    drive = world.drive("eva")
    with statements(world.installation.database) as asked:
        drive.stat(DOCUMENT)
        begun = len(asked)
        drive.stat(DOCUMENT)
        standing = len(asked) - begun
        for _ in range(5):
            with pytest.raises(NotFound):
                drive.stat(FOLDER.joined(name))
    probing = asked[begun + standing :]
    assert len(probing) <= 5 * (standing + more), probing
    assert not [text for text in probing if text.startswith(("INSERT", "UPDATE", "DELETE"))]
