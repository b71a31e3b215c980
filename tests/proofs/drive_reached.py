"""Which test reached which check of the drive: put into a copy of the tree by `test_drive_mutants.py`."""

from __future__ import annotations

import atexit
import json
import os
from pathlib import Path

#: Where it is told, in the folder in which the tests run.
REACHED = "reached.json"
_PLACE = Path(REACHED).absolute()  # tests change the folder they are in
_found: dict[tuple[int, str], None] = {}


def reached(check: int) -> None:
    """Note that the test under way has come to a check."""
    if not _found:
        atexit.register(_tell)
    _found[check, os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" ")[0]] = None


def _tell() -> None:
    _PLACE.write_text(json.dumps([pair for pair in _found if pair[1]]), "utf-8")
