"""git, which clones from and pushes into a bare repository on the server by plain WebDAV."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest

from tests.clients.conftest import Desk
from tests.tools import need

#: Who commits, as `git config` would say it.
WHO = {f"GIT_{part}_{word}": "anna@example.com" for part in ("AUTHOR", "COMMITTER") for word in ("NAME", "EMAIL")}


def git(desk: Desk, *arguments: str | Path, code: int = 0) -> str:
    """Run git in the desk's folder; return what it said."""
    return desk.run(need("git"), *arguments, code=code, environ={**WHO, "GIT_TERMINAL_PROMPT": "0"})


@pytest.fixture
def clone(desk: Desk) -> Path:
    """A clone of an empty repository that stands in the desk's folder on the server."""
    netrc = desk.folder / "home" / ".netrc"
    netrc.parent.mkdir()
    netrc.write_text(f"machine {desk.second.host.partition(':')[0]}\nlogin anna\npassword {desk.password}\n")
    netrc.chmod(0o600)
    bare = desk.folder / "bare.git"
    git(desk, "init", "-q", "--bare", "-b", "main", "--template=", bare)
    git(desk, "-C", bare, "update-server-info")
    for each in (bare, *sorted(bare.rglob("*"))):
        path = f"{desk.place}/{each.relative_to(desk.folder)}"
        stored = desk.second.request("MKCOL", path) if each.is_dir() else desk.second.put(path, each.read_bytes())
        assert stored.status == 201, path
    git(desk, "clone", "-q", f"{desk.url}bare.git", "clone")
    return desk.folder / "clone"


def commit(desk: Desk, clone: Path, name: str) -> str:
    """Commit a new document; return the commit."""
    (clone / name).write_text(name)
    git(desk, "-C", clone, "add", name)
    git(desk, "-C", clone, "commit", "-q", "-m", name)
    return git(desk, "-C", clone, "rev-parse", "HEAD").strip()


def locks_on(desk: Desk, name: str) -> int:
    body = '<propfind xmlns="DAV:"><prop><lockdiscovery/></prop></propfind>'
    return desk.second.propfind(f"{desk.place}/{name}", body).body.count(b"activelock>") // 2


def test_what_was_pushed_is_cloned(desk: Desk, clone: Path) -> None:
    commit(desk, clone, "one 1.txt")
    git(desk, "-C", clone, "push", "origin", "HEAD:main")
    head = commit(desk, clone, "två.txt")
    git(desk, "-C", clone, "push", "origin", "HEAD:main", "HEAD:side")
    assert desk.content("bare.git/refs/heads/main").decode().strip() == head
    assert locks_on(desk, "bare.git/refs/heads/main") == locks_on(desk, "bare.git/info/refs") == 0
    git(desk, "-C", clone, "push", "origin", "--delete", "side")
    assert desk.names("bare.git/refs/heads") == {"main"}
    git(desk, "clone", "-q", "-b", "main", f"{desk.url}bare.git", "other")
    assert {each.name for each in (desk.folder / "other").glob("*.txt")} == {"one 1.txt", "två.txt"}
    git(desk, "-C", "other", "fsck", "--strict")


def as_customers_see(text: str) -> str:
    """Return a path or URL as whoever belongs to the customer writes it."""
    return text.replace("Kund AB – ", "").replace(quote("Kund AB – "), "")


def test_a_push_beside_another_changes_nothing(desk: Desk, clone: Path) -> None:
    first = commit(desk, clone, "one.txt")
    git(desk, "-C", clone, "push", "origin", "HEAD:main")
    other, path = desk.server.dav("olle"), as_customers_see(f"{desk.place}/bare.git/refs/heads/main")
    held = other.lock(path)
    assert held.status == 200 and locks_on(desk, "bare.git/refs/heads/main") == 1
    second = commit(desk, clone, "two.txt")
    said = git(desk, "-C", clone, "push", "origin", "HEAD:main", code=1)
    assert "423" in said, said
    assert desk.content("bare.git/refs/heads/main").decode().strip() == first
    assert other.request("UNLOCK", path, Lock_Token=held.headers["lock-token"]).status == 204
    git(desk, "-C", clone, "push", "origin", "HEAD:main")
    assert desk.content("bare.git/refs/heads/main").decode().strip() == second


def test_who_may_only_read_clones_and_does_not_push(desk: Desk, clone: Path) -> None:
    first = commit(desk, clone, "one.txt")
    git(desk, "-C", clone, "push", "origin", "HEAD:main")
    netrc = desk.folder / "home" / ".netrc"
    netrc.write_text(
        netrc.read_text().replace("anna", "vera").replace(desk.password, desk.server.world.passwords["vera"])
    )
    git(desk, "clone", "-q", "-b", "main", as_customers_see(f"{desk.url}bare.git"), "theirs")
    commit(desk, desk.folder / "theirs", "two.txt")
    said = git(desk, "-C", "theirs", "push", "origin", "HEAD:main", code=1)
    assert "403" in said, said
    assert desk.content("bare.git/refs/heads/main").decode().strip() == first
