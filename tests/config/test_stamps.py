"""A stamp is other after each change, for all who look at it, in whichever process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from config.errors import StorageFull
from config.stamps import Stamp

_RENEW = "import sys; from pathlib import Path; from config.stamps import Stamp; Stamp(Path(sys.argv[1])).renew()"


def test_all_processes_see_that_it_was_renewed(tmp_path: Path) -> None:
    mine, other = Stamp(tmp_path / "s"), Stamp(tmp_path / "s")
    before = mine.value()
    assert before is not None
    assert other.value() == before
    other.renew()
    between = mine.value()
    assert between == other.value() != before
    subprocess.run(
        [sys.executable, "-P", "-c", _RENEW, str(tmp_path / "s")],
        check=True,
        cwd=Path.cwd(),
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    )
    assert mine.value() == other.value() != between


def test_it_outlives_those_who_look_at_it(tmp_path: Path) -> None:
    stamp = Stamp(tmp_path / "s")
    stamp.renew()
    found = stamp.value()
    stamp.close()
    stamp.close()
    assert Stamp(tmp_path / "s").value() == found


def test_where_it_cannot_be_made_nothing_is_known(tmp_path: Path) -> None:
    stamp = Stamp(tmp_path / "missing" / "s")
    assert stamp.value() is None
    with pytest.raises(StorageFull):
        stamp.prepare()
