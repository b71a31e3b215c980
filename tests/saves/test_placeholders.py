"""What is no version: placeholders, the same bytes again, a chmod, and what lies beside documents (H5, H6)."""

from __future__ import annotations

import pytest

from tests.noises import DOUBLE
from tests.saves.hands import Explorer, PlainDav, owner_file
from tests.saves.stage import HANDS, Stage, text
from tests.webdav.clients.traces import EXPLORER_SETS

NEW = text(1, "new")


@pytest.mark.parametrize("kind", HANDS)
def test_h5_nothing_and_then_content_is_one_version(stage: Stage, kind: str) -> None:
    hands, home = stage.hands(kind), stage.home()
    hands.empty(f"{home}/a.txt")
    item = stage.drive().stat(stage.path(f"{home}/a.txt"))
    hands.save(f"{home}/a.txt", NEW)
    again = stage.drive().stat(stage.path(f"{home}/a.txt"))
    assert (again.id, again.created, again.size) == (item.id, item.created, len(NEW))
    assert stage.sizes(f"{home}/a.txt") == [len(NEW)]


def test_h5_a_lock_of_nothing_and_then_content_is_one_version(stage: Stage) -> None:
    hands, home = stage.fresh_hands("plain"), stage.home()
    hands.lock(f"{home}/a.txt")
    hands.save(f"{home}/a.txt", NEW)
    hands.unlock(f"{home}/a.txt")
    assert stage.sizes(f"{home}/a.txt") == [len(NEW)]


@pytest.mark.parametrize("kind", HANDS)
def test_h5_nothing_over_content_keeps_the_old_version(stage: Stage, kind: str) -> None:
    """Emptied and filled by one hand: one version more. Emptied and left so: that is what it holds now."""
    hands, document = stage.hands(kind), stage.document("a.txt")
    hands.empty(document.path)
    document.contents.append(b"")
    assert document.faults() == []
    hands.save(document.path, NEW)
    document.contents[-1] = NEW
    assert document.faults() == []


@pytest.mark.parametrize("kind", HANDS)
def test_h6_the_same_bytes_again_are_no_version(stage: Stage, kind: str) -> None:
    hands, document = stage.hands(kind), stage.document("a.txt")
    hands.save(document.path, document.contents[0])
    if kind == "sshfs":  # It empties the document first, for all to see: its bytes come back as a version.
        document.contents *= 2
    assert document.faults() == []


@pytest.mark.parametrize("kind", HANDS)
def test_h6_the_same_bytes_by_a_dance_are_no_version(stage: Stage, kind: str) -> None:
    hands, document = stage.hands(kind), stage.document("a.txt")
    hands.new(f"{document.home}/t", document.contents[0])
    hands.move(document.path, f"{document.home}/b")
    hands.move(f"{document.home}/t", document.path)
    hands.delete(f"{document.home}/b")
    assert document.faults() == []


@pytest.mark.parametrize("kind", HANDS)
def test_h6_the_same_bytes_renamed_over_are_no_version(stage: Stage, kind: str) -> None:
    hands, document = stage.hands(kind), stage.document("a.txt")
    hands.new(f"{document.home}/t", document.contents[0])
    hands.over(f"{document.home}/t", document.path)
    assert document.faults() == []


def test_a_chmod_by_finder_is_no_version(stage: Stage) -> None:
    """M10: LOCK, GET, UNLOCK."""
    hands, document = stage.fresh_hands("finder"), stage.document("a.txt")
    assert isinstance(hands, PlainDav)
    hands.lock(document.path)
    hands.ask(200, "GET", document.path)
    hands.unlock(document.path)
    assert document.faults() == []


def test_attributes_set_by_explorer_are_no_version(stage: Stage) -> None:
    hands, document = stage.fresh_hands("explorer"), stage.document("a.txt")
    assert isinstance(hands, Explorer)
    hands.ask(207, "PROPPATCH", document.path, EXPLORER_SETS.encode())
    assert document.faults() == []


def test_attributes_set_over_sftp_are_no_version(stage: Stage) -> None:
    """Permissions, owner and times, as `cp -p` and WinSCP set them."""
    document, client = stage.document("a.txt"), stage.sftp("anna")
    client.chmod(document.path, 0o600)
    client.chown(document.path, 1000, 1000)
    client.utime(document.path, (1_500_000_000, 1_500_000_000))
    assert document.faults() == []


@pytest.mark.parametrize("kind", HANDS)
@pytest.mark.parametrize("name", [".~lock.a.odt#", "~$a.docx", "._a.txt"])
def test_noise_leaves_nothing_behind(stage: Stage, kind: str, name: str) -> None:
    """No version, no event in the space's log, nothing in its history or its trash."""
    hands, document = stage.hands(kind), stage.document("a.txt")
    begun = len(stage.door.world.kinds("Sandbox"))
    content = DOUBLE if name.startswith("._") else owner_file(name)
    for _ in range(2):
        hands.new(f"{document.home}/{name}", content)
        hands.delete(f"{document.home}/{name}")
    # What was read before may be numbered into the log only now.
    assert set(stage.door.world.kinds("Sandbox", begun)) <= {"read"}
    assert document.faults() == []
