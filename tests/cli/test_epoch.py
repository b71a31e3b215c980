"""The whole way of a backup that is put back, with real servers: every party learns of it, and nobody is accused."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.shop import ADMIN, SUPPLIER, Ran, Shop, process, serving
from tests.cli.test_keeping import answer
from tests.tools import need

#: Every log of the installation below: of which space, of which party.
LOGS = [(), ("--space", "Akten"), ("--space", "Akten", "--party", "Kund AB"), ("--party", "Kund AB")]
SERVE = ("serve", "--http-port", 0, "--sftp-port", 0, "--workers", 1)
Kept = dict[tuple[str, ...], Path]


def settle(shop: Shop) -> str:
    """Let a customer have a space; return the device password of `li`, its editor."""
    shop.ok("org", "add", "Kund AB")
    shop.ok("person", "add", "li", "Li Xiaolong", "--org", "Kund AB")
    shop.ok("space", "create", "Akten", "--customer", "Kund AB")
    shop.ok("grant", "add", "Akten", "editor", "--org", "Kund AB")
    return str(shop.ok("device", "add", "li", "laptop")["device_password"])


def work(shop: Shop, password: str, *names: str) -> None:
    """Serve, store documents and read each, sign in wrongly once."""
    with serving("--data", shop.data, *SERVE) as (told, _):
        for name in names:
            assert answer(f"{told['dav']}Akten/{name}", "li", password, "PUT", name.encode()) == 201
            assert answer(f"{told['dav']}Akten/{name}", "li", password, "GET") == 200
        assert answer(told["dav"], "li", "wrong") == 401


def keep(shop: Shop, folder: Path) -> Kept:
    """Keep the newest checkpoint of every log."""
    folder.mkdir()
    found = {}
    for number, log in enumerate(LOGS):
        found[log] = folder / f"{number}.txt"
        found[log].write_text(shop.ok("audit", "checkpoint", *log)["checkpoint"])
    return found


def exported(shop: Shop, folder: Path, log: tuple[str, ...]) -> Path:
    """Export a log's bundle."""
    bundle = folder / f"{os.urandom(8).hex()}.jsonl"
    shop.ok("audit", "export", bundle, *log)
    return bundle


def verified(shop: Shop, bundle: Path, kept: Path) -> dict[str, Any]:
    """Verify a bundle without the server."""
    key = json.loads(bundle.read_text().split("\n", 1)[0])["public_key"]
    ran = shop.run("audit", "verify", bundle, "--since", kept, "--key", key, "--json")
    document: dict[str, Any] = ran.json
    assert document["code"] == ran.code
    return document


@pytest.fixture(params=["sqlite", "postgresql"])
def place(
    request: pytest.FixtureRequest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Iterator[tuple[Shop, Any]]:
    """An installation on either database, and the server of PostgreSQL or None."""
    data, server = tmp_path / "live" / "data", None
    data.parent.mkdir()
    if request.param == "postgresql":
        server = request.getfixturevalue("postgresql_server")
        name = server.create()
        settings = f'[installation]\ndatabase_url = "{server.url(name)}"\n'
        data.with_name("data.toml").write_text(settings)
    shop = Shop(data, capsys)
    shop.ok("init", "--supplier", SUPPLIER, "--admin", ADMIN, "--admin-name", "Agnes Ek")
    yield shop, server
    if server is not None:
        server.drop(name)


def put_back(shop: Shop, backup: Path, server: Any) -> None:
    """Put a backup in the place of the data, as docs/BACKUP.md says."""
    shutil.rmtree(shop.data)
    shutil.copytree(backup / "data", shop.data)
    if server is not None:
        name = server.create()
        restore = [
            need("pg_restore"),
            "--no-owner",
            f"--dbname={server.url(name).replace('+psycopg', '')}",
            shop.data / "database.dump",
        ]
        subprocess.run(restore, check=True, timeout=60)
        settings = f'[installation]\ndatabase_url = "{server.url(name)}"\n'
        shop.data.with_name("data.toml").write_text(settings)


@pytest.mark.timeout(300)
def test_a_backup_put_back_is_told_to_every_party_and_accuses_nobody(place: tuple[Shop, Any], tmp_path: Path) -> None:
    shop, server = place
    password = settle(shop)
    work(shop, password, "a.txt", "b.txt")
    older = keep(shop, tmp_path / "older")
    shop.ok("backup", tmp_path / "backup")
    work(shop, password, "c.txt", "d.txt", "e.txt")
    shop.ok("person", "add", "mia", "Mia Ek", "--org", "Kund AB")
    newer = keep(shop, tmp_path / "newer")

    put_back(shop, tmp_path / "backup", server)
    refused = [process("--data", shop.data, *SERVE), shop.run("backup", tmp_path / "another"), shop.run("verify")]
    assert [ran.code for ran in refused] == [56, 56, 56]
    assert "All that is stored holds" in refused[-1].out  # one may look before one settles for it
    doctor = shop.run("doctor", "--json")
    assert [each["check"] for each in doctor.json["checks"] if each["state"] == "bad"] == ["logs"]
    for ran in (*refused, doctor):
        assert 'run "mellanrum audit epoch"' in " ".join((ran.out + ran.err).replace("\\", "").split())
    assert shop.run("audit", "epoch").code == 7  # asks first
    assert shop.ok("audit", "epoch", "--yes")["logs"] >= len(LOGS)
    assert shop.ok("audit", "epoch", "--yes")["logs"] == 0
    assert shop.ok("verify")["whole"]
    found = verified(shop, exported(shop, tmp_path, LOGS[2]), newer[LOGS[2]])
    assert found["verdict"] == "incomplete" and "no longer in it" in found["message"]

    work(shop, password, *(f"{number}.txt" for number in range(8)))
    for name in ("bo", "ek"):
        shop.ok("person", "add", name, name.title(), "--org", "Kund AB")
    last = keep(shop, tmp_path / "last")
    for log in LOGS:
        sizes = [int(kept[log].read_text().split("\n")[1]) for kept in (older, newer, last)]
        assert sizes == sorted(sizes) and sizes[1] < sizes[2], "the log is longer than it ever was"
        bundle = exported(shop, tmp_path, log)
        for kept in (older, last):
            found = verified(shop, bundle, kept[log])
            assert (found["verdict"], len(found["put_back"])) == ("whole", 1), found
        found = verified(shop, bundle, newer[log])
        (back,) = found["put_back"]
        gone = sizes[1] - back["events"]
        assert (found["verdict"], found["number"]) == ("incomplete", back["events"])
        assert sizes[0] <= back["events"] < sizes[1] and f"({back['events']} to {sizes[1] - 1})" in found["message"]
        assert gone == 1 or f"{gone} events" in found["message"]
        assert "What stands is whole" in found["message"] and found["checkpoint"]
    assert shop.ok("verify")["whole"]
    assert "epoch_opened" in [each["event"]["kind"] for each in shop.ok("audit", "list", *LOGS[2], "--last", 1000)]


def test_a_database_alone_put_back_is_known_by_what_stands_beside_it(shop: Shop, tmp_path: Path) -> None:
    password = settle(shop)
    work(shop, password, "a.txt")
    shutil.copy(shop.data / "catalogue.db", tmp_path / "old.db")
    work(shop, password, "b.txt")
    newer = keep(shop, tmp_path / "newer")
    for file in shop.data.glob("catalogue.db*"):
        file.unlink()
    shutil.copy(tmp_path / "old.db", shop.data / "catalogue.db")
    ran = process("--data", shop.data, *SERVE)
    assert ran.code == 56 and "a log of which" in ran.err
    shop.ok("audit", "epoch", "--yes")
    work(shop, password, "c.txt", "d.txt")
    assert verified(shop, exported(shop, tmp_path, LOGS[2]), newer[LOGS[2]])["verdict"] == "incomplete"
    assert shop.ok("verify")["whole"]


def test_where_nothing_tells_of_a_backup_only_who_insists_opens_an_epoch(shop: Shop) -> None:
    assert shop.ok("audit", "epoch", "--yes")["logs"] == 0
    assert "epoch_opened" not in kinds(shop)
    assert shop.run("audit", "epoch", "--anyway").code == 7
    assert shop.ok("audit", "epoch", "--anyway", "--yes")["logs"] > 0
    assert kinds(shop).count("epoch_opened") == 1
    with serving("--data", shop.data, *SERVE):
        ran = process("--data", shop.data, "audit", "epoch", "--anyway", "--yes")
        assert ran.code == 75 and "Stop it" in ran.err


def kinds(shop: Shop) -> list[str]:
    return [each["event"]["kind"] for each in shop.ok("audit", "list", "--last", 1000)]


def test_what_a_person_reads(shop: Shop, tmp_path: Path) -> None:
    password = settle(shop)
    shop.ok("backup", tmp_path / "backup")
    work(shop, password, "a.txt", "b.txt")
    kept = keep(shop, tmp_path / "newer")[LOGS[1]]
    old = tmp_path / "old.jsonl"
    shop.ok("audit", "export", old, *LOGS[1])
    put_back(shop, tmp_path / "backup", None)
    said: Ran = shop.run("audit", "epoch", "--yes")
    assert "Tell the parties" in said.out
    bundle = tmp_path / "new.jsonl"
    shop.ok("audit", "export", bundle, *LOGS[1])
    key = shop.ok("audit", "key")["public_key"]
    ran = process("audit", "verify", bundle, "--since", kept, "--key", key)
    assert ran.code == 2 and ran.out.startswith("INCOMPLETE: The log was put back to an earlier state on 20")
    assert "Keep this checkpoint for the next time, beside the older ones." in ran.out and "\nepoch " in ran.out
    ran = process("audit", "verify", bundle, "--key", key)
    assert ran.code == 0 and "The log was put back on 20" in ran.out
    ran = process("audit", "verify", bundle, "--since", old)  # all checkpoints of a bundle that was kept
    assert ran.code == 2 and "no longer in it" in ran.out
