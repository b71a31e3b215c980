"""A process that crash proofs kill or cut off: opens an installation, does what its task says, tells of each act.

Reads its task as one line of JSON from standard input. Prints `READY`, waits for another line, then for each operation
`ACK number place` once it is acknowledged (`place` being how far the block device had logged by then, 0 without one),
or `REFUSED number error`; at last `DONE`.

With `folds`, every commit goes through SQLite's checkpoint. `fault` plants what the proofs must see: `no-pack-sync`,
`no-database-sync`, `acknowledged-early`.
"""

from __future__ import annotations

import json
import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event

from config import database
from config.errors import MellanrumError
from providers.installation import Installation
from providers.vault.local import LocalPack
from tests.proofs.crash_site import Operation, sign_in
from tests.proofs.power_log import place_now
from tests.worlds import settings_for


def plant(fault: str) -> None:
    """Break the product as a careless change would."""
    if fault == "no-pack-sync":
        LocalPack.sync = lambda self: None  # type: ignore[method-assign]
    elif fault == "no-database-sync":
        real = database.sqlite_engine
        database.sqlite_engine = lambda path, synchronous: real(path, synchronous="OFF")
    else:
        assert fault in ("", "acknowledged-early"), fault


def fold_each_commit() -> None:
    """Let SQLite carry each commit from its log into the database at once, as it otherwise does now and then."""
    real = database.sqlite_engine

    def folding(path: Path, synchronous: str) -> Engine:
        engine = real(path, synchronous)
        event.listen(engine, "connect", lambda raw, _: raw.execute("PRAGMA wal_autocheckpoint=1").close())
        return engine

    database.sqlite_engine = folding


def say(*words: object) -> None:
    """Print one line with one system call."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def main() -> None:
    """Do the task."""
    task: dict[str, Any] = json.loads(sys.stdin.readline())
    plant(task.get("fault", ""))
    if task.get("folds"):
        fold_each_commit()
    place = partial(place_now, Path(task["log"])) if task.get("log") else int
    data = Path(task["data"])
    installation = Installation.open(data, settings_for(data))
    drive = sign_in(installation, task["password"])
    operations = [Operation(**each) for each in task["operations"]]
    for operation in operations:
        operation.content()  # whatever is loaded late is loaded now
    say("READY")
    sys.stdin.readline()
    for number, operation in enumerate(operations):
        if task.get("fault") == "acknowledged-early":
            say("ACK", number, place())
        try:
            operation.run(drive)
        except MellanrumError as error:
            say("REFUSED", number, type(error).__name__)
            continue
        if task.get("fault") != "acknowledged-early":
            say("ACK", number, place())
    if task.get("close", False):
        installation.close()
    say("DONE")


if __name__ == "__main__":
    main()
