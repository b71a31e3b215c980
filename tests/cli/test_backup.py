"""`mellanrum backup`: all that was acknowledged before it began is in it, whatever goes on meanwhile."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from sqlalchemy import make_url, select

from auth.roles import Via
from config.database import Database, durable, transient
from config.errors import SchemaTooOld
from config.ids import id_text
from providers import tables
from providers.audit.opening import open_epoch
from providers.backup import back_up
from providers.drive.transaction import actor_of
from providers.installation import Installation
from tests.cli.shop import Shop, process, serving
from tests.cli.test_keeping import answer, stored
from tests.hold.worlds import OURS, SPACE, administrator, erased, make, versions
from tests.tools import ROOT, need
from tests.worlds import ADDRESS, World, fetch, settings_for, store

#: What stands in a data folder and is in no backup: what is made anew, and the files beside SQLite's own.
LEFT_OUT = {
    "catalogue.lock", "catalogue.stamp", "catalogue.db-wal", "catalogue.db-shm", "in-use.lock", "locks.stamp",
    "log.reached",
    "tls", "transient.db", "transient.db-wal", "transient.db-shm", "transient.lock",
}  # fmt: skip


class Writer(threading.Thread):
    """Stores one document after another until it is told to stop; `acknowledged` are those that were answered."""

    def __init__(self, dav: str, password: str) -> None:
        super().__init__(daemon=True)
        self.acknowledged: dict[str, bytes] = {}
        self._dav, self._password = dav, password
        self._told = threading.Event()

    def run(self) -> None:
        while not self._told.is_set():
            name, content = f"{len(self.acknowledged):05}.bin", os.urandom(5000)
            if answer(f"{self._dav}Ett/{name}", "bo", self._password, "PUT", content) != 201:
                break
            assert answer(f"{self._dav}Ett/{name}", "bo", self._password, "GET") == 200
            self.acknowledged[name] = content

    def stop(self) -> None:
        self._told.set()
        self.join()


def copy_of(folder: Path, key: Path) -> Path:
    """Put a backup in place elsewhere, with the root key beside it; return the data folder."""
    placed = folder.with_name("placed")
    shutil.copytree(folder, placed)
    shutil.copy(key, placed / "data.key")
    return placed / "data"


def test_what_was_acknowledged_before_is_in_a_backup_made_while_others_write(shop: Shop, tmp_path: Path) -> None:
    password, goal = stored(shop), tmp_path / "backups" / "today"
    shop.data.with_name("data.toml").write_text("[history]\ncondemned_seconds = 7\n")
    with serving("--data", shop.data, "serve", "--http-port", "0", "--sftp-port", "0", "--workers", "2") as (told, _):
        writer = Writer(told["dav"], password)
        writer.start()
        while len(writer.acknowledged) < 20:
            assert writer.is_alive()
        before = dict(writer.acknowledged)
        ran = process("--data", shop.data, "backup", goal, "--json")
        assert ran.code == 0, ran.err
        assert writer.is_alive()
        writer.stop()
        names = {path.name for path in shop.data.iterdir()}
    document: dict[str, Any] = ran.json
    assert (document["folder"], str(shop.key) in document["root_key"]) == (str(goal), True)
    assert goal.stat().st_mode & 0o777 == 0o700
    assert not list(goal.rglob("*.key.*")) and shop.key.read_text() not in {
        path.read_text("latin-1") for path in goal.rglob("*") if path.is_file() and path.stat().st_size < 1000
    }
    assert names - {path.name for path in (goal / "data").iterdir()} <= LEFT_OUT
    assert (goal / "data.toml").read_text() == shop.data.with_name("data.toml").read_text()
    copy = Shop(copy_of(goal, shop.key), shop.capture)
    copy.ok("audit", "epoch", "--yes")
    assert copy.ok("doctor")["fit"]
    assert copy.ok("verify") == {"whole": True, "findings": []}
    read = [each["event"] for each in copy.ok("audit", "list", "--space", "Ett", "--last", 10_000)]
    assert len([event for event in read if event["kind"] == "read"]) >= len(before)
    with serving("--data", copy.data, "serve", "--http-port", "0", "--sftp-port", "0", "--workers", "1") as (told, _):
        assert answer(told["dav"], "bo", password) == 207
    installation = Installation.open(copy.data, settings_for(copy.data))
    try:
        who = installation.authenticator.basic("bo", password, via=Via.WEBDAV, address=ADDRESS)
        drive = installation.drive(who)
        assert {name: fetch(drive, f"/Ett/{name}") for name in before} == before
    finally:
        installation.close()


def test_a_database_to_be_upgraded_is_backed_up_as_it_is(shop: Shop, tmp_path: Path) -> None:
    with mock.patch.object(Installation, "open", side_effect=SchemaTooOld(found="0", known="1")):
        assert shop.ok("backup", tmp_path / "backup")["files"] > 2
    copy = Shop(copy_of(tmp_path / "backup", shop.key), shop.capture)
    copy.ok("audit", "epoch", "--yes")
    assert copy.ok("verify")["whole"]


def test_the_order_by_hand_is_one_that_loses_nothing(shop: Shop, tmp_path: Path) -> None:
    """The commands of docs/BACKUP.md, beside a server whose newest changes stand in the write-ahead log."""
    need("rsync"), need("sqlite3")
    password, page = stored(shop), (ROOT / "docs" / "BACKUP.md").read_text("utf-8")
    block = page.split("## By hand")[1].split("```\n")[1]
    begin, end = re.findall(r"`(exec 9[^`]+)`", page)  # where things are erased or thinned
    first, rest = block.split("rsync", maxsplit=1)
    goal = tmp_path / "backups" / "2026-11-28"  # nothing of it stands yet
    shop.data.with_name("data.toml").write_text("")
    with serving("--data", shop.data, "serve", "--http-port", "0", "--sftp-port", "0", "--workers", "1") as (told, _):
        assert answer(f"{told['dav']}Ett/a.bin", "bo", password, "PUT", b"acknowledged") == 201
        script = f"{first}{begin}\nrsync{rest}{end}\n".replace("/srv/mellanrum/data", str(shop.data))
        script = script.replace("/backups/2026-11-28", str(goal))
        subprocess.run(["bash", "-e", "-c", script], check=True, timeout=60)
    assert [each for each in (goal, goal / "data" / "catalogue.db") if each.stat().st_mode & 0o077] == []
    copy = Shop(copy_of(goal, shop.key), shop.capture)
    assert copy.run("verify").code == 56
    copy.ok("audit", "epoch", "--yes")
    assert copy.ok("verify")["whole"]
    assert [each["size"] for each in copy.ok("history", "Ett/a.bin")["versions"]] == [12]


def test_a_backup_takes_the_place_of_nothing(shop: Shop, tmp_path: Path) -> None:
    goal = tmp_path / "backup"
    goal.mkdir()
    shop.ok("backup", goal)
    assert shop.run("backup", goal).code == 73
    assert shop.run("backup", shop.data / "inside").code == 64
    assert sorted(path.name for path in tmp_path.iterdir()) == ["backup", "data", "data.key"]
    assert shop.ok("audit", "list")[-1]["event"]["kind"] == "backed_up"


def test_a_backup_that_fails_leaves_nothing(shop: Shop, tmp_path: Path) -> None:
    with mock.patch.object(Database, "copy_to", side_effect=OSError(28, "No space left on device")):
        ran = shop.run("backup", tmp_path / "backup")
    assert (ran.code, "no space left" in ran.err) == (73, True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "data.key"]


# --- what takes away meanwhile

DOCUMENT = f"{OURS}/Avtal/Köp.txt"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = make(tmp_path / "data")
    yield made
    made.installation.close()


def backed_up(world: World, tmp_path: Path, act: Callable[[], Any], *, late: bool) -> Installation:
    """Make a backup, in which something happens just before the database is copied, or just after; open it."""
    return backed_up_amid(world, tmp_path, *((None, act) if late else (act, None)))


def backed_up_amid(
    world: World, tmp_path: Path, before: Callable[[], Any] | None, after: Callable[[], Any] | None
) -> Installation:
    """Make a backup, in which things happen just before the database is copied, and just after; open it."""
    copy_to, installation = Database.copy_to, world.installation

    def copying(database: Database, file: Path) -> None:
        if before is not None:
            before()
        copy_to(database, file)
        if after is not None:
            after()

    goal = tmp_path / "copy" / "data"
    goal.mkdir(parents=True)
    with mock.patch.object(Database, "copy_to", copying):
        back_up(installation.database, installation.folder, goal, lambda what, done: None)
    shutil.copy(tmp_path / "data.key", tmp_path / "copy" / "data.key")
    found = Installation.open(goal, settings_for(goal), though_due=True)
    open_epoch(found.audit, found.checkpoints, actor_of(found.storage, found.operator()))
    found.close()
    return Installation.open(goal, settings_for(goal))


@pytest.mark.parametrize("late", [False, True])
def test_a_sweep_meanwhile_takes_nothing_from_a_backup(world: World, tmp_path: Path, late: bool) -> None:
    mia = world.drive("mia")
    node = versions(mia, DOCUMENT, b"first", b"second")
    store(mia, f"{OURS}/other.txt", b"beside it in the pack")
    erased(world, node, 1)
    swept: list[Any] = []
    erasures = world.installation.erasures
    found = backed_up(world, tmp_path, lambda: swept.append(erasures.sweep(now=True, wait_seconds=20)), late=late)
    try:
        assert swept[0][world.spaces[SPACE].id].packs == 1
        assert list(found.verify()) == []
        mia_there = found.authenticator.basic("mia", world.passwords["mia"], via=Via.WEBDAV, address=ADDRESS)
        assert fetch(found.drive(mia_there), f"{OURS}/other.txt") == b"beside it in the pack"
    finally:
        found.close()


def test_a_pack_that_came_and_went_while_a_backup_was_made_was_not_in_it(world: World, tmp_path: Path) -> None:
    """A sweep had written it, and the next one wrote it anew once the database that speaks of it was copied."""
    mia, erasures, space = world.drive("mia"), world.installation.erasures, world.spaces[SPACE].id
    node = versions(mia, DOCUMENT, b"first", b"second", b"third")
    store(mia, f"{OURS}/other.txt", b"beside it in the pack")
    erased(world, node, 1)
    swept: list[Any] = []

    def sweep(seconds: float) -> None:
        swept.append(erasures.sweep(now=True, wait_seconds=seconds)[space])

    def before() -> None:
        sweep(1)
        erased(world, node, 2)

    found = backed_up_amid(world, tmp_path, before, lambda: sweep(1))
    try:
        assert list(found.verify()) == []
        mia_there = found.authenticator.basic("mia", world.passwords["mia"], via=Via.WEBDAV, address=ADDRESS)
        assert fetch(found.drive(mia_there), f"{OURS}/other.txt") == b"beside it in the pack"
    finally:
        found.close()
    assert [each.is_whole for each in swept] == [False, False]
    sweep(20)
    assert swept[-1].is_whole
    assert list(world.installation.verify()) == []
    with world.installation.database.read() as connection:
        assert connection.execute(select(tables.repack)).all() == []
    packs = world.installation.folder / "vault" / space.hex() / "packs"
    assert sum(path.stat().st_size > 200 for path in packs.glob("*.pack")) == 1


@pytest.mark.parametrize("late", [False, True])
def test_a_space_erased_meanwhile_is_in_a_backup_whole_or_not_at_all(world: World, tmp_path: Path, late: bool) -> None:
    store(world.drive("mia"), DOCUMENT, b"text")
    erasures, space = world.installation.erasures, world.spaces[SPACE].id

    def erase() -> None:
        asked = erasures.request_space(world.installation.operator(), space, "avslutad")
        erasures.approve(administrator(world), asked.id)

    found = backed_up(world, tmp_path, erase, late=late)
    try:
        assert list(found.verify()) == []
        has_key = (tmp_path / "copy" / "data" / "keystore" / f"{id_text(space)}.key").exists()
        has_packs = (tmp_path / "copy" / "data" / "vault" / space.hex()).exists()
        assert (has_key, has_packs, bool(found.spaces.all())) == (late, late, late)
    finally:
        found.close()


def test_a_backup_on_postgresql_is_of_the_database_in_use_and_of_what_lasts(
    tmp_path: Path, postgresql_server: Any, postgresql_template: str
) -> None:
    """However the URL names it; what runs out by itself is left behind, as with SQLite."""
    with postgresql_server.lent(postgresql_template) as name:
        url = make_url(postgresql_server.url(name))
        named = url.set(host=None, port=None).update_query_dict({"host": str(url.host), "port": str(url.port)})
        where = {"installation.database_url": named.render_as_string(hide_password=False)}
        made = make(tmp_path / "data", **where)
        try:
            store(made.drive("mia"), DOCUMENT, b"text")
            made.installation.storage.reservations.take(made.spaces[SPACE].id, 1)
            goal = tmp_path / "copy"
            goal.mkdir()
            back_up(made.installation.database, made.installation.folder, goal, lambda what, done: None)
        finally:
            made.installation.close()
    told = subprocess.run(
        [need("pg_restore"), "--list", goal / "database.dump"], check=True, capture_output=True, text=True
    ).stdout
    filled = set(re.findall(r"TABLE DATA \S+ (\S+)", told))
    tables = set(re.findall(r" TABLE public (\S+)", told))
    versions_of_schema = {"schema_durable", "schema_transient"}
    assert filled == set(durable.tables) | versions_of_schema
    assert tables == filled | set(transient.tables)
    assert list(goal.glob("vault/*/packs/*.pack"))
