"""What every process that serves has in common, whichever its door: its task, its installation, its end.

A worker is started by the supervisor with a line of JSON on standard input: `folder`, `settings`, `server` (whose
process it is: drawn at random), `descriptor` and what its door needs besides; further lines bring news. Its end means
that the supervisor is gone. One line on standard output says that the worker answers. SIGTERM tells it to drain and go.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import json
import os
import resource
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from config import logging as house_logging
from config import patience
from config.dumps import stay_out_of_dumps
from config.errors import MellanrumError
from config.logging import get_log
from config.settings import Settings
from config.settings.plain import settings_from_plain
from providers.installation import Installation
from server import memory
from server.processes import READY

TICK_SECONDS = 0.5
#: How often a worker gives back memory that is free.
TRIM_SECONDS = 600.0
#: A listing of thousands makes as many objects, none of them garbage; the default (700) would search them every time.
GARBAGE_THRESHOLD = 20_000
_log = get_log("worker")

#: Serves until the event is set, having said that it is ready.
Serve = Callable[[dict[str, Any], Installation, Settings, threading.Event], None]


def main(serve: Serve) -> NoReturn:
    """Serve until told to stop, and end the process. For the main thread of a worker.

    It ends whatever happened, and at once: threads that still wait for clients, at the end of draining or after an
    error, would keep a process that nobody looks after at its port for ever.
    """
    code = 1
    try:
        code = run(serve)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def run(serve: Serve) -> int:
    """Serve until told to stop; return the exit code."""
    stay_out_of_dumps()
    faulthandler.enable()  # instead of a core dump: which lines the threads were at, and nothing that they held
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: stop.set())
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # a terminal sends them to all; the supervisor decides
    task = json.loads(sys.stdin.readline())
    settings = settings_from_plain(task["settings"])
    house_logging.set_up(settings.process.log_level)
    _raise_descriptor_limit()
    gc.set_threshold(GARBAGE_THRESHOLD)
    try:
        installation = Installation.open(Path(task["folder"]), settings)
    except MellanrumError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    try:
        installation.database.answer_within(patience.ANSWER_SECONDS_MAX)
        installation.journal.prepare(bytes.fromhex(task["server"]))
        threading.Thread(target=_tick, args=(installation, stop), name="tick", daemon=True).start()
        serve(task, installation, settings, stop)
    finally:
        installation.close()
    return 0


def say_ready() -> None:
    """Tell the supervisor that this worker answers. One that is gone meanwhile shows by its news, which end."""
    with contextlib.suppress(BrokenPipeError):
        os.write(sys.stdout.fileno(), READY.encode("ascii") + b"\n")


def wait_for(stop: threading.Event) -> None:
    """Wait, in the main thread, until told to stop.

    A signal may reach any thread, and what is to be done about it is done by this one alone, once it runs again: one
    that waits without end is not woken, and would go on serving until it is killed.
    """
    while not stop.wait(TICK_SECONDS):
        pass


def heed_supervisor(stop: threading.Event, take: Callable[[dict[str, Any]], None]) -> None:
    """Take the supervisor's news in a thread. Nobody would restart or stop a worker without it, so with it, it goes.

    It goes too if it cannot take the news: who takes its place begins with them.
    """

    def heed() -> None:
        try:
            while line := sys.stdin.readline():
                take(json.loads(line))
        except Exception as error:
            _log.error("news_not_taken", error)
        stop.set()

    threading.Thread(target=heed, name="supervisor", daemon=True).start()


def _tick(installation: Installation, stop: threading.Event) -> None:
    """Tick until told to stop. Where that ends by itself, as where there is no memory even to log it, so does the
    worker: its reads would stay unnumbered, and another that can takes its place.
    """
    trimmed_at = time.monotonic()
    try:
        while not stop.wait(TICK_SECONDS):
            try:
                installation.tick()
            except Exception as error:
                _log.error("tick_failed", error)
            if time.monotonic() - trimmed_at >= TRIM_SECONDS:
                memory.give_back()
                trimmed_at = time.monotonic()
    finally:
        stop.set()


def _raise_descriptor_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65_536 if hard == resource.RLIM_INFINITY else min(hard, 65_536)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
