"""The tables of docs/PROTOCOLS.md, as tests read them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import NamedTuple

from config.errors import MellanrumError
from tests.tools import ROOT

PAGE = ROOT / "docs" / "PROTOCOLS.md"


class Reached(NamedTuple):
    """How an operation is reached: the requests of each protocol, and what is said where there are none."""

    webdav: frozenset[str]
    sftp: frozenset[str]
    silent: tuple[str, ...]


class Words(NamedTuple):
    """What a refusal becomes: a status, those of single methods, and a code (the first word of what is said of it)."""

    status: str
    by_method: dict[str, str]
    code: str

    def status_to(self, method: str) -> str:
        """Return the status in answer to a method."""
        return self.by_method.get(method, self.status)


def _rows(title: str) -> Iterator[tuple[str, str, str]]:
    section = PAGE.read_text("utf-8").partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    for line in section.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| ") and cells[0] not in ("Operation", "Refusal", "Obstacle"):
            one, two, three = cells
            yield one, two, three


def reached() -> dict[str, Reached]:
    """Return how each operation is reached."""
    found = {}
    for operation, webdav, sftp in _rows("Operations"):
        ways = [frozenset(re.findall(r"`([^`]+)`", cell)) for cell in (webdav, sftp)]
        silent = tuple(cell for cell, named in zip((webdav, sftp), ways, strict=True) if not named)
        found[operation] = Reached(ways[0], ways[1], silent)
    return found


def refusals() -> dict[str, Words]:
    """Return what each refusal becomes, by the name of its class."""
    found = {}
    for name, webdav, sftp in _rows("Refusals"):
        status, *special = webdav.split("; ")
        by_method = {words.split()[0]: words.split()[1] for words in special if words.split()[0].isupper()}
        found[name] = Words(status, by_method, sftp.split(",")[0])
    return found


def obstacles() -> dict[str, tuple[set[str], list[str]]]:
    """Return, by the refusal, which operations an obstacle stops, and the kinds of the events that tell of it."""
    found = {}
    for told, stopped, log in _rows("What stands in the way"):
        (name,) = re.findall(r"`(\w+)`", told)
        found[name] = set(stopped.split(", ")), re.findall(r"`(\w+)`", log)
    return found


def sentences(kind: type[MellanrumError]) -> str:
    """Return what a person reads of a class of refusal."""
    return " ".join(inspect.cleandoc(kind.__doc__ or "").split())
