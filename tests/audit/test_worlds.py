"""What tests are told of a log is all that was answered before they asked, whichever process numbers it."""

from __future__ import annotations

import fcntl
import os
import threading
from pathlib import Path

from auth.roles import Role
from tests.worlds import World, fetch, store


def test_a_reading_was_not_told_while_another_process_was_at_the_journals(tmp_path: Path) -> None:
    world = World.create(tmp_path / "data")
    world.person("anna", "Kund AB")
    world.space("Rum", "Kund AB")
    world.grant("anna", "Rum", Role.EDITOR)
    anna = world.drive("anna")
    store(anna, "/Rum/a.txt", b"text")
    assert fetch(anna, "/Rum/a.txt") == b"text"
    # It has passed this journal by before the reading came, and is at the others.
    elsewhere = os.open(tmp_path / "data" / "journal" / "drain.lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(elsewhere, fcntl.LOCK_EX)
    ends = threading.Timer(0.3, os.close, (elsewhere,))
    ends.start()
    told = world.kinds("Rum")
    ends.join()
    world.installation.close()
    assert told[-1] == "read"
