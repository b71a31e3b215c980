"""What a process holds stays in it, whatever becomes of it."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from config import dumps
from tests.serving import serving

_STAY = "from config.dumps import stay_out_of_dumps; stay_out_of_dumps()"
#: Another program of the same user looks at the memory of its parent.
_LOOK = """
import os, subprocess, sys
{stay}
look = "import os; open(f'/proc/{{os.getppid()}}/mem', 'rb')"
said = subprocess.run([sys.executable, "-c", look], stderr=subprocess.PIPE, text=True).stderr
print(said.strip().rpartition("\\n")[2] or "it could")
"""
NOBODY = 65534
#: One that another user may run: that of a virtual environment may lie where they may not look.
PYTHON = "/usr/bin/python3"


def _dumps_core(folder: Path, *statements: str) -> bool:
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    allow = f"import os, resource; resource.setrlimit(resource.RLIMIT_CORE, ({hard}, {hard}))"
    script = "; ".join((allow, *statements, f"os.chdir({str(folder)!r})", "os.abort()"))
    pid = os.posix_spawn(sys.executable, [sys.executable, "-c", script], os.environ)
    _, status = os.waitpid(pid, 0)
    assert os.WTERMSIG(status) == signal.SIGABRT
    return os.WCOREDUMP(status)


def test_an_abort_left_all_keys_in_a_core_dump(tmp_path: Path) -> None:
    if not _dumps_core(tmp_path):
        pytest.skip("this machine makes no core dumps")
    assert not _dumps_core(tmp_path, _STAY)


def _looked_at(stay: str) -> str:
    """Return what came of it, as a user to whom this checkout may be closed."""
    ran = subprocess.run(
        [PYTHON, "-c", _LOOK.format(stay=stay)],
        user=NOBODY,
        group=NOBODY,
        cwd="/",
        timeout=60,
        check=True,
        capture_output=True,
    )
    return bytes(ran.stdout).decode()


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user takes root")
@pytest.mark.skipif(not os.path.exists(PYTHON), reason=f"there is no {PYTHON}")
def test_another_program_of_the_same_user_could_read_its_memory() -> None:
    assert _looked_at("") == "it could\n"
    source = Path(dumps.__file__).read_text(encoding="utf-8").replace("from __future__ import annotations", "")
    assert _looked_at(f"{source}\nstay_out_of_dumps()").startswith("PermissionError")


def test_a_worker_that_crashes_tells_where_and_leaves_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with serving(tmp_path / "data", **{"http.workers": 1}) as server:
        (worker,) = server.workers()
        server.loses(worker)
        os.kill(worker, signal.SIGSEGV)
        limit = time.monotonic() + 30
        while worker in server.workers() and time.monotonic() < limit:
            time.sleep(0.05)
        assert server.dav("anna").propfind("/").status == 207
    told = capfd.readouterr().err
    assert "Fatal Python error: Segmentation fault" in told and "server/serving.py" in told
    assert "event=worker_died code=-11" in told
    assert not any(secret in told for secret in (*server.world.passwords.values(), "Sandbox", "anna"))
