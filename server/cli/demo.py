"""`mellanrum demo`: customers, people and documents to try, served until told to stop."""

from __future__ import annotations

import argparse
from pathlib import Path

from config import logging as house_logging
from config.files import write_whole
from server.cli.doctor import taken
from server.cli.errors import Misused
from server.cli.frame import Answer, Desk, Noun
from server.cli.holding import Hold
from server.cli.installation import open_first
from server.demo import show
from server.demo.plant import planted
from server.processes import ReadyInfo, serve

DATA = "demo-data"
SFTP_PORT = 2022


def add_to(nouns: Noun) -> None:
    """Add the command."""
    command = nouns.command("demo", demo, "Serve customers, people and documents to try; an existing folder is reused.")
    command.add_argument(
        "--http-port", metavar="PORT", type=int, default=8080, help="0: any free port; by default 8080"
    )
    command.add_argument(
        "--sftp-port",
        metavar="PORT",
        type=int,
        help="0: any free port; by default 2022, or a free one if that is taken",
    )
    command.add_argument("--tls", action="store_true", help="with a certificate of our own")
    command.add_argument("--workers", metavar="N", type=int, help="how many processes serve")


def demo(desk: Desk, options: argparse.Namespace) -> Answer:
    """Make the demo's world where it is missing, and serve it."""
    for port in (options.http_port, options.sftp_port or 0):
        if not 0 <= port <= 65535:
            raise Misused(problem=f"{port} is no port.", command="mellanrum demo")
    if not options.data:
        options.data = DATA
    overrides = {
        "http.port": options.http_port,
        "http.self_signed": options.tls,
        "sftp.port": _sftp_port() if options.sftp_port is None else options.sftp_port,
    }
    if options.workers is not None:
        overrides |= {"http.workers": options.workers, "sftp.workers": options.workers}
    settings = desk.load(overrides)
    folder = Path(settings.folder).resolve()
    with desk.progress("making the demo's world") as bar:
        people = planted(folder, settings, bar)
    keys_here = open_first(settings)
    hold = Hold.shared(folder)
    house_logging.set_up(settings.process.log_level)

    def ready(info: ReadyInfo) -> None:
        if info.sftp_url:
            write_whole(folder / show.KNOWN_HOSTS, show.known_hosts(info).encode("ascii"), 0o644)
        if options.json:
            print(show.as_json(info, folder, people), flush=True)
        else:
            print("\n".join(show.as_text(info, folder, people)), flush=True)

    try:
        return Answer(code=serve(folder, settings, on_ready=ready, host_keys=keys_here))
    finally:
        hold.close()


def _sftp_port() -> int:
    """Return the usual port, or 0 where somebody has it: a second demo should just begin."""
    return SFTP_PORT if taken("127.0.0.1", SFTP_PORT) is None else 0
