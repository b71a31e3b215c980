"""One process that serves: started by the supervisor with listening sockets and settings, ended by SIGTERM.

Run as `python -P -m server.http.worker`. Standard input brings one line of JSON, then one for each new certificate; its
end means that the supervisor is gone. One line on standard output says that requests are answered.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import Any

from config import logging as house_logging
from config import patience
from config.clock import now_us
from config.errors import MellanrumError
from config.logging import get_log
from config.settings import Settings
from config.settings.schema import all_settings, sections
from providers.installation import Installation
from server.http import tls
from server.http.dispatcher import Dispatcher
from server.http.listener import Listener
from server.webdav.app import WebDav

READY = "ready"
TICK_SECONDS = 0.5
#: A listing of thousands makes as many objects, none of them garbage; the default (700) would search them every time.
GARBAGE_THRESHOLD = 20_000
_log = get_log("worker")


def settings_to_plain(settings: Settings) -> dict[str, Any]:
    """Return the settings as JSON can carry them."""
    plain: dict[str, Any] = {}
    for each in all_settings():
        value = getattr(getattr(settings, each.section), each.name)
        plain[each.key] = str(value) if isinstance(value, Path) else list(value) if each.kind is tuple else value
    return plain


def settings_from_plain(plain: dict[str, Any]) -> Settings:
    """Return the settings that `settings_to_plain` wrote. They were checked when they were read."""
    values: dict[str, dict[str, Any]] = {section: {} for section in sections()}
    for each in all_settings():
        value = plain[each.key]
        if value is not None and each.kind is Path:
            value = Path(value)
        values[each.section][each.name] = tuple(value) if each.kind is tuple else value
    return Settings(**{section: kind(**values[section]) for section, kind in sections().items()})


def main() -> int:
    """Serve until told to stop. Returns the exit code."""
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
        installation.database.answer_seconds_max = patience.ANSWER_SECONDS_MAX
        installation.journal.prepare()
        _serve(task, installation, settings, stop)
    finally:
        installation.close()
    return 0


def _serve(task: dict[str, Any], installation: Installation, settings: Settings, stop: threading.Event) -> None:
    context = tls.context(tls.Pair(*task["tls"])) if task["tls"] else None
    application = Dispatcher(WebDav(installation, settings))
    listener = Listener(socket.socket(fileno=task["descriptor"]), application, settings, context)
    listener.prepare()
    serving = threading.Thread(target=listener.serve, name="accept")
    serving.start()
    threading.Thread(target=_heed_supervisor, args=(listener, stop), name="supervisor", daemon=True).start()
    threading.Thread(target=_tick, args=(installation, stop), name="tick", daemon=True).start()
    print(READY, flush=True)
    stop.wait()
    started = now_us()
    listener.stop()
    serving.join()
    _log.info("drained", milliseconds=(now_us() - started) // 1000)


def _heed_supervisor(listener: Listener, stop: threading.Event) -> None:
    """Take new certificates. Nobody would restart or stop a worker without its supervisor, so with it, it goes too."""
    while line := sys.stdin.readline():
        listener.tls = tls.context(tls.Pair(*json.loads(line)["tls"]))
    stop.set()


def _tick(installation: Installation, stop: threading.Event) -> None:
    while not stop.wait(TICK_SECONDS):
        try:
            installation.tick()
        except Exception as error:
            _log.error("tick_failed", error)


def _raise_descriptor_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65_536 if hard == resource.RLIM_INFINITY else min(hard, 65_536)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # threads cut off at the end of draining may still wait for their clients
