"""cadaver, driven by a script on its standard input."""

from __future__ import annotations

from tests.clients.conftest import Desk
from tests.tools import need


def cadaver(desk: Desk, *commands: str) -> str:
    """Run commands in the desk's folder on the server; return what cadaver said."""
    program = need("cadaver")
    host = desk.second.host.partition(":")[0]
    netrc = desk.folder / "home" / ".netrc"
    netrc.parent.mkdir(exist_ok=True)
    netrc.write_text(f"machine {host}\nlogin anna\npassword {desk.password}\n")
    netrc.chmod(0o600)
    return desk.run(program, desk.url, given="\n".join([*commands, "quit", ""]))


def test_a_session(desk: Desk) -> None:
    (desk.folder / "a.txt").write_text("first")
    (desk.folder / "b.txt").write_text("second")
    said = cadaver(
        desk,
        *("mkcol folder", "cd folder", "put a.txt", "move a.txt moved.txt", "copy moved.txt copied.txt"),
        *("lock moved.txt", "discover moved.txt", "put b.txt moved.txt", "unlock moved.txt"),
        *("propset moved.txt colour blue", "propget moved.txt colour", "propnames moved.txt"),
        *("get moved.txt got.txt", "delete copied.txt", "ls", "cd ..", "copy folder/ other", "ls"),
    )
    assert "failed" not in said, said
    assert "Value of colour is: blue" in said and "DAV: getetag" in said and "Scope: exclusive" in said
    assert desk.names("folder") == desk.names("other") == {"moved.txt"}
    assert desk.content("folder/moved.txt") == b"second"
    assert desk.versions("folder/moved.txt") == 2
    assert (desk.folder / "got.txt").read_text() == "second"


def test_what_another_has_locked_is_not_written(desk: Desk) -> None:
    (desk.folder / "a.txt").write_text("cadaver's")
    desk.second.put(f"{desk.place}/a.txt", b"old")
    assert desk.second.lock(f"{desk.place}/a.txt").status == 200
    said = cadaver(desk, "put a.txt", "delete a.txt")
    assert said.count("423 Locked") == 2
    assert (desk.content("a.txt"), desk.versions("a.txt")) == (b"old", 1)


def test_absent_names_are_told_as_absent(desk: Desk) -> None:
    said = cadaver(desk, "get absent", "move absent other", "rmcol absent", "cd absent")
    assert said.count("404 Not Found") >= 2
    assert desk.names() == set()
