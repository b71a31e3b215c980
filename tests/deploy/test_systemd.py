"""The unit for systemd, as systemd itself reads it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.proxies import replaced
from tests.tools import ROOT, need


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    analyze = need("systemd-analyze")
    program = Path(sys.executable).with_name("mellanrum")
    shipped = (ROOT / "deploy" / "systemd" / "mellanrum.service").read_text()
    unit = tmp_path / "mellanrum.service"
    unit.write_text(replaced(shipped, {"/usr/local/bin/mellanrum": str(program)}))
    done = subprocess.run([analyze, "verify", "--man=no", unit], capture_output=True, text=True, timeout=60)
    assert "mellanrum.service" not in done.stderr, done.stderr
    misspelt = tmp_path / "other.service"
    misspelt.write_text(unit.read_text().replace("ProtectHome=", "ProtectHomes="))
    done = subprocess.run([analyze, "verify", "--man=no", misspelt], capture_output=True, text=True, timeout=60)
    assert "ProtectHomes" in done.stderr


def test_the_unit_waits_until_it_serves_and_outlives_a_worker() -> None:
    """Else systemd reloads, and so ends, what has hardly begun, and stops all when the kernel kills one worker."""
    lines = (ROOT / "deploy" / "systemd" / "mellanrum.service").read_text().splitlines()
    assert "Type=notify" in lines and "OOMPolicy=continue" in lines
