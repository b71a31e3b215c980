"""Identity follows the name, over WebDAV and over SFTP: H2 to H8 each by name, and where the rule ends."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest

from providers.errors import Forbidden
from providers.paths import parse
from server.cli.main import main
from tests.saves.hands import PlainDav, Refused
from tests.saves.stage import Document, Stage, text
from tests.serving import Dav, space_path
from tests.worlds import fetch

BOTH = pytest.mark.parametrize("kind", ["plain", "sshfs"])
REFUSED = (Refused, OSError)
OLD_NAMES = ("one", "two", "three")
NEW = text(1, "new")


def identity(stage: Stage, path: str) -> bytes:
    """Return which document stands at a path."""
    return stage.drive().stat(parse(path)).id


def contents(stage: Stage, path: str) -> list[bytes]:
    """Return what the versions of a document hold, oldest first."""
    drive, place = stage.drive(), parse(path)
    found = []
    for version in drive.versions(place):
        with drive.read_version(place, version.number) as reader:
            found.append(b"".join(bytes(piece) for piece in reader.chunks()))
    return found


@pytest.fixture(scope="module", autouse=True)
def old(stage: Stage) -> Callable[[], list[Document]]:
    """A function that returns three documents of one folder, older than the window. They are made before all tests."""
    made = []
    for _ in range(10):
        home = stage.home()
        made.append([stage.document(name, text(7, name), home=home) for name in OLD_NAMES])
    waiting = iter(made)

    def take() -> list[Document]:
        found = next(waiting)
        time.sleep(max(0.0, stage.window_seconds + 1 - found[-1].age_seconds()))
        return found

    return take


# --- H2: identity returns to the name, even while the old bytes live on


@BOTH
def test_h2_a_backup_that_stays_is_a_document_of_its_own(stage: Stage, kind: str) -> None:
    hands, document = stage.hands(kind), stage.document("a.txt")
    first = document.contents[0]
    hands.move(document.path, f"{document.home}/a.bak")
    hands.new(document.path, NEW)
    document.contents.append(NEW)
    assert document.faults({"a.txt", "a.bak"}) == []
    assert identity(stage, f"{document.home}/a.bak") != document.id
    assert contents(stage, f"{document.home}/a.bak") == [first]
    # From here on each goes its own way.
    hands.save(f"{document.home}/a.bak", text(2, "backup"))
    hands.save(document.path, text(3, "document"))
    document.contents.append(text(3, "document"))
    assert document.faults({"a.txt", "a.bak"}) == []
    assert contents(stage, f"{document.home}/a.bak") == [first, text(2, "backup")]


@BOTH
def test_h2_a_backup_in_another_folder(stage: Stage, kind: str) -> None:
    hands, document = stage.hands(kind), stage.document("a.txt")
    hands.mkdir(f"{document.home}/old")
    hands.move(document.path, f"{document.home}/old/a.txt")
    hands.new(document.path, NEW)
    document.contents.append(NEW)
    assert document.faults({"a.txt", "old"}) == []
    assert contents(stage, f"{document.home}/old/a.txt") == document.contents[:1]


# --- H3: a genuine rename


@BOTH
def test_h3_a_rename_takes_the_identity_along(stage: Stage, kind: str) -> None:
    document = stage.document("a.txt")
    stage.hands(kind).move(document.path, f"{document.home}/b.txt")
    document.name = "b.txt"
    assert document.faults() == []


@BOTH
def test_h3_a_rename_of_an_old_document(stage: Stage, kind: str, old: Callable[[], list[Document]]) -> None:
    document = old()[0]
    stage.hands(kind).move(document.path, f"{document.home}/b.txt")
    document.name = "b.txt"
    assert document.faults({"b.txt", "two", "three"}) == []


# --- H4: deleted and made again


@BOTH
def test_h4_deleted_and_made_again_within_the_window_is_a_version(stage: Stage, kind: str) -> None:
    hands, document = stage.hands(kind), stage.document("a.txt")
    hands.delete(document.path)
    hands.new(document.path, NEW)
    document.contents.append(NEW)
    assert document.faults() == []


@BOTH
def test_h4_after_the_window_it_is_a_new_document(brief: Stage, kind: str) -> None:
    hands, document = brief.hands(kind), brief.document("a.txt")
    time.sleep(brief.window_seconds + 0.5)
    hands.delete(document.path)
    time.sleep(brief.window_seconds + 0.5)
    hands.new(document.path, NEW)
    assert identity(brief, document.path) != document.id
    assert contents(brief, document.path) == [NEW]
    # Under its name the old one is offered still, with all of its history.
    (offered,), _ = brief.drive().trash(parse(document.home), named="a.txt")
    assert (offered.id, offered.size) == (document.id, len(document.contents[0]))
    brief.drive().undelete(parse(document.home), offered.id, parse(f"{document.home}/again.txt"))
    document.name = "again.txt"
    assert document.faults({"a.txt", "again.txt"}) == []


@BOTH
def test_h4_renamed_away_and_made_again_after_the_window(brief: Stage, kind: str) -> None:
    hands, document = brief.hands(kind), brief.document("a.txt")
    hands.move(document.path, f"{document.home}/b.txt")
    time.sleep(brief.window_seconds + 0.5)
    hands.new(document.path, NEW)
    assert identity(brief, document.path) != document.id
    document.name = "b.txt"
    assert document.faults({"a.txt", "b.txt"}) == []


@BOTH
def test_h4_a_long_upload_counts_from_its_beginning(brief: Stage, kind: str) -> None:
    """The window is measured to where the arriving operation began, however long the bytes take."""
    hands, document = brief.hands(kind), brief.document("a.txt")
    if isinstance(hands, PlainDav):

        def slowly() -> object:
            yield NEW[:10]
            time.sleep(brief.window_seconds + 0.5)
            yield NEW[10:]

        hands.delete(document.path)
        hands.dav.put(document.path, slowly())
    else:
        hands.delete(document.path)
        with hands.client.open(document.path, "wx") as file:  # type: ignore[attr-defined]
            file.write(NEW[:10])
            time.sleep(brief.window_seconds + 0.5)
            file.write(NEW[10:])
    document.contents.append(NEW)
    assert document.faults() == []


# --- H7: a swap


@BOTH
def test_h7_a_swap_leaves_each_its_identity(stage: Stage, kind: str, old: Callable[[], list[Document]]) -> None:
    """a→b, c→a: c was there before, and is c still, under the name of a."""
    one, two, _ = old()
    hands = stage.hands(kind)
    hands.move(one.path, f"{one.home}/elsewhere")
    hands.move(two.path, one.path)
    one.name, two.name = "elsewhere", one.name
    assert one.faults({"elsewhere", "one", "three"}) == []
    assert two.faults({"elsewhere", "one", "three"}) == []


@BOTH
def test_h7_a_swap_in_the_other_order(stage: Stage, kind: str, old: Callable[[], list[Document]]) -> None:
    """c→t, a→c, t→a: both names are vacated and taken, and each document has only changed its name."""
    one, two, _ = old()
    hands = stage.hands(kind)
    hands.move(two.path, f"{two.home}/t")
    hands.move(one.path, two.path)
    hands.move(f"{two.home}/t", one.path)
    one.name, two.name = two.name, one.name
    assert one.faults(set(OLD_NAMES)) == []
    assert two.faults(set(OLD_NAMES)) == []


@BOTH
def test_h7_an_old_document_over_a_deleted_one_stays_itself(
    stage: Stage, kind: str, old: Callable[[], list[Document]]
) -> None:
    one, two, _ = old()
    hands = stage.hands(kind)
    hands.delete(one.path)
    hands.move(two.path, one.path)
    two.name = one.name
    assert two.faults({"one", "three"}) == []


@BOTH
def test_h7_names_of_temporary_files_mean_nothing(stage: Stage, kind: str, old: Callable[[], list[Document]]) -> None:
    """Documents that are called as programs call what they throw away keep their identities."""
    hands, document = stage.hands(kind), stage.document("~WRD0001.tmp")
    hands.move(document.path, f"{document.home}/~WRL0002.tmp")
    document.name = "~WRL0002.tmp"
    assert document.faults() == []
    one, two, _ = old()
    hands.move(one.path, f"{one.home}/one~RF12.TMP")
    hands.move(two.path, f"{one.home}/~one.tmp")
    one.name, two.name = "one~RF12.TMP", "~one.tmp"
    names = {"one~RF12.TMP", "~one.tmp", "three"}
    assert one.faults(names) == [] and two.faults(names) == []


# --- H8: locks


def test_h8_a_lock_stays_behind_and_unlocking_the_old_name_is_harmless(stage: Stage) -> None:
    hands = stage.fresh_hands("plain")
    document = stage.document("a.txt")
    assert isinstance(hands, PlainDav)
    hands.lock(document.path)
    token = hands.tokens[document.path]
    hands.move(document.path, f"{document.home}/b.txt")
    assert stage.drive().locks(parse(f"{document.home}/b.txt")) == []
    hands.new(document.path, NEW)
    assert stage.drive().locks(parse(document.path)) == []
    hands.ask((204, 409), "UNLOCK", document.path, Lock_Token=token)
    document.contents.append(NEW)
    assert document.faults({"a.txt", "b.txt"}) == []


def test_h8_a_document_made_for_a_lock_is_still_locked_when_it_has_content(stage: Stage) -> None:
    """LOCK of a vacated name, then PUT: the lock holds the document that continues, and lets it go."""
    hands = stage.fresh_hands("plain")
    document = stage.document("a.txt")
    hands.delete(document.path)
    hands.lock(document.path)
    hands.save(document.path, NEW)
    assert len(stage.drive().locks(parse(document.path))) == 1
    with pytest.raises(Refused):
        stage.fresh_hands("plain").save(document.path, b"without the token")
    hands.unlock(document.path)
    document.contents.append(NEW)
    assert document.faults() == []


# --- as the command line tells it


def test_the_command_line_tells_the_same(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    """`history --json`, beside a running server: one document, its versions oldest first, by whom and through what."""
    document = stage.document("a.txt")
    stage.hands("plain").delete(document.path)
    stage.hands("plain").new(document.path, NEW)
    stage.hands("sshfs").new(f"{document.home}/t", text(2, "again"))
    stage.hands("sshfs").over(f"{document.home}/t", document.path)
    data = stage.door.world.installation.folder
    where = document.path.replace(stage.root, "Kund AB/Sandbox")
    assert main(["--data", str(data), "history", where, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    sizes = [len(document.contents[0]), len(NEW), len(text(2, "again"))]
    assert told["document"] == document.id.hex()
    assert [(each["size"], each["by"], each["via"], each["name"]) for each in told["versions"]] == [
        (size, "Anna Lund", via, "a.txt") for size, via in zip(sizes, ("webdav", "webdav", "sftp"), strict=True)
    ]
    numbers = [each["number"] for each in told["versions"]]
    assert numbers == sorted(set(numbers))


# --- who


@BOTH
@pytest.mark.parametrize("leaves", ["delete", "move"])
def test_what_another_takes_is_another_document(stage: Stage, kind: str, leaves: str) -> None:
    document = stage.document("a.txt")
    if leaves == "delete":
        stage.hands(kind).delete(document.path)
    else:
        stage.hands(kind).move(document.path, f"{document.home}/b.txt")
    stage.hands(kind, "olle").new(_as_seen(stage, document.path), NEW)
    assert identity(stage, document.path) != document.id
    assert contents(stage, document.path) == [NEW]
    if leaves == "move":
        document.name = "b.txt"
        assert document.faults({"a.txt", "b.txt"}) == []


def _as_seen(stage: Stage, path: str) -> str:
    """Return a path as the customer's people see it."""
    return path.replace(stage.root, space_path("olle"))


@BOTH
def test_one_who_sees_no_history_keeps_it_all_the_same(stage: Stage, kind: str) -> None:
    """Olle edits without `history`: what he saves is a version, and neither he nor Vera may look back."""
    document = stage.document("a.txt", maker="olle")
    hands, there = stage.hands(kind, "olle"), _as_seen(stage, document.home)
    hands.new(f"{there}/t", NEW)
    hands.move(f"{there}/a.txt", f"{there}/b")
    hands.move(f"{there}/t", f"{there}/a.txt")
    document.contents.append(NEW)
    assert document.faults({"a.txt", "b"}) == []
    for login in ("olle", "vera"):
        drive = stage.drive(login)
        assert drive.stat(parse(f"{there}/a.txt")).id == document.id
        assert fetch(drive, f"{there}/a.txt") == NEW
        for name in ("a.txt", "b"):
            with pytest.raises(Forbidden):
                drive.versions(parse(f"{there}/{name}"))
            with pytest.raises(Forbidden):
                drive.read_version(parse(f"{there}/{name}"), 1)


@BOTH
def test_one_who_may_only_read_changes_nothing(stage: Stage, kind: str) -> None:
    document = stage.document("a.txt")
    hands, there = stage.hands(kind, "vera"), _as_seen(stage, document.home)
    for attempt in (
        lambda: hands.new(f"{there}/t", NEW),
        lambda: hands.move(f"{there}/a.txt", f"{there}/b"),
        lambda: hands.delete(f"{there}/a.txt"),
        lambda: hands.save(f"{there}/a.txt", NEW),
    ):
        with pytest.raises(REFUSED):
            attempt()
    assert document.faults() == []


def test_two_devices_of_one_person_are_one_principal(stage: Stage) -> None:
    """Deleted by one machine over WebDAV, made again by another over SFTP."""
    document = stage.document("a.txt")
    world = stage.door.world
    _, password = world.installation.directory.add_device(world.people["anna"].id, "desktop")
    other = PlainDav(Dav(stage.door.server.dav_url, "anna", password))
    other.delete(document.path)
    other.dav.close()
    stage.hands("sshfs").new(document.path, NEW)
    document.contents.append(NEW)
    assert document.faults() == []


@BOTH
def test_an_uploader_in_a_lane_of_their_own(stage: Stage, kind: str) -> None:
    """While they may still replace what they sent in, it is one document, in their lane."""
    home, hands = space_path("ulla"), stage.hands(kind, "ulla")
    hands.new(f"{home}/{kind}.txt", text(0, "sent"))
    drive = stage.drive("ulla")
    first = drive.stat(parse(f"{home}/{kind}.txt"))
    hands.delete(f"{home}/{kind}.txt")
    hands.new(f"{home}/{kind}.txt", NEW)
    again = drive.stat(parse(f"{home}/{kind}.txt"))
    assert (again.id, again.created) == (first.id, first.created)
    hands.new(f"{home}/{kind}-t", text(2, "again"))
    hands.move(f"{home}/{kind}.txt", f"{home}/{kind}-b")
    hands.move(f"{home}/{kind}-t", f"{home}/{kind}.txt")
    hands.delete(f"{home}/{kind}-b")
    assert drive.stat(parse(f"{home}/{kind}.txt")).id == first.id
    assert fetch(drive, f"{home}/{kind}.txt") == text(2, "again")


# --- names


@BOTH
@pytest.mark.parametrize(
    ("before", "after"), [("Avtal.docx", "AVTAL.DOCX"), ("å.txt", "a\u030a.txt"), ("a\u030a.txt", "Å.txt")]
)
def test_a_name_in_another_spelling_is_the_same_name(stage: Stage, kind: str, before: str, after: str) -> None:
    """Case and normalisation tell no names apart; the new spelling is kept."""
    hands, document = stage.hands(kind), stage.document(before)
    hands.delete(document.path)
    hands.new(f"{document.home}/{after}", NEW)
    document.contents.append(NEW)
    document.name = after
    assert document.faults() == []
    hands.new(f"{document.home}/t", text(2, "again"))
    hands.move(document.path, f"{document.home}/b")
    hands.move(f"{document.home}/t", f"{document.home}/{before}")
    hands.delete(f"{document.home}/b")
    document.contents.append(text(2, "again"))
    document.name = before
    assert document.faults() == []


# --- across folders and spaces


@BOTH
def test_moved_to_another_space_and_made_again(stage: Stage, kind: str) -> None:
    hands, document = stage.hands(kind), stage.document("a.txt")
    other = _other_space(stage)
    hands.move(document.path, f"{other}/{kind}-b.txt")
    hands.new(document.path, NEW)
    document.contents.append(NEW)
    assert document.faults() == []
    assert fetch(stage.drive(), f"{other}/{kind}-b.txt") == document.contents[0]


@BOTH
def test_a_temporary_file_from_another_space(stage: Stage, kind: str) -> None:
    hands, document = stage.hands(kind), stage.document("a.txt")
    temporary = f"{_other_space(stage)}/{kind}-t"
    hands.new(temporary, NEW)
    hands.delete(document.path)
    hands.move(temporary, document.path)
    document.contents.append(NEW)
    assert document.faults() == []


def _other_space(stage: Stage) -> str:
    world = stage.door.world
    if "Annex" not in world.spaces:
        from auth.roles import Role

        world.space("Annex", "Kund AB")
        world.grant("anna", "Annex", Role.EDITOR, history=True)
    return "/Kund AB – Annex"


# --- what comes between


@BOTH
def test_what_another_has_locked_is_not_taken_away(stage: Stage, kind: str) -> None:
    """Each step that would take the document away is refused, and nothing is lost."""
    hands, document = stage.hands(kind), stage.document("a.txt")
    locker = stage.fresh_hands("plain", "olle")
    locker.lock(_as_seen(stage, document.path))
    hands.new(f"{document.home}/t", NEW)
    for attempt in (
        lambda: hands.move(document.path, f"{document.home}/b"),
        lambda: hands.over(f"{document.home}/t", document.path),
        lambda: hands.delete(document.path),
        lambda: hands.save(document.path, NEW),
    ):
        with pytest.raises(REFUSED):
            attempt()
    assert document.faults({"a.txt", "t"}) == []
    locker.unlock(_as_seen(stage, document.path))
    hands.over(f"{document.home}/t", document.path)
    document.contents.append(NEW)
    assert document.faults() == []


@BOTH
def test_another_takes_the_name_in_between(stage: Stage, kind: str) -> None:
    """Anna's program has moved the document away when Olle writes there: both have what they wrote."""
    hands, document = stage.hands(kind), stage.document("a.txt")
    hands.new(f"{document.home}/t", NEW)
    hands.move(document.path, f"{document.home}/b")
    stage.hands(kind, "olle").new(_as_seen(stage, document.path), text(5, "olle"))
    theirs = identity(stage, document.path)
    assert theirs != document.id
    hands.over(f"{document.home}/t", document.path)
    assert identity(stage, document.path) == theirs
    assert contents(stage, document.path) == [text(5, "olle"), NEW]
    document.name = "b"
    assert document.faults({"a.txt", "b"}) == []


@BOTH
def test_another_writes_to_the_document_while_it_is_away(stage: Stage, kind: str) -> None:
    """Olle writes into what Anna's program moved aside: it went on there, and stays there."""
    hands, document = stage.hands(kind), stage.document("a.txt")
    hands.new(f"{document.home}/t", NEW)
    hands.move(document.path, f"{document.home}/b")
    stage.hands(kind, "olle").save(_as_seen(stage, f"{document.home}/b"), text(5, "olle"))
    hands.move(f"{document.home}/t", document.path)
    assert contents(stage, document.path) == [NEW]
    document.name = "b"
    document.contents.append(text(5, "olle"))
    assert document.faults({"a.txt", "b"}) == []


@BOTH
def test_another_writes_before_the_document_is_moved_away(stage: Stage, kind: str) -> None:
    hands, document = stage.hands(kind), stage.document("a.txt")
    hands.new(f"{document.home}/t", NEW)
    stage.hands(kind, "olle").save(_as_seen(stage, document.path), text(5, "olle"))
    hands.move(document.path, f"{document.home}/b")
    hands.move(f"{document.home}/t", document.path)
    hands.delete(f"{document.home}/b")
    document.contents += [text(5, "olle"), NEW]
    assert document.faults() == []


@BOTH
def test_the_connection_is_cut_between_the_steps(stage: Stage, kind: str) -> None:
    """Each step by a connection of its own; and what is cut off within one is not there."""
    document = stage.document("a.txt")
    stage.fresh_hands(kind).new(f"{document.home}/t", NEW)
    stage.fresh_hands(kind).move(document.path, f"{document.home}/b")
    stage.fresh_hands(kind).move(f"{document.home}/t", document.path)
    stage.fresh_hands(kind).delete(f"{document.home}/b")
    document.contents.append(NEW)
    assert document.faults() == []


def test_an_upload_that_is_cut_off_and_sent_again(stage: Stage) -> None:
    """DELETE, half a PUT, the whole PUT: the half leaves nothing, and the document goes on."""
    document = stage.document("a.txt")
    hands = stage.fresh_hands("plain")
    hands.delete(document.path)
    dav = stage.door.server.dav("anna")

    def half() -> object:
        yield NEW[:100]
        raise ConnectionError

    with pytest.raises(ConnectionError):
        dav.put(document.path, half())
    hands.new(document.path, NEW)
    document.contents.append(NEW)
    assert document.faults() == []
