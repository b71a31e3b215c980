"""Structured logs: one event, one line of `name=value` on stderr, for systemd's journal or a file.

A line never carries what a person typed or what stands in a request: no names, paths, URIs, mail addresses, secrets.
Facts are ids, counts, sizes, durations, enum members and `Word`s of ours; whatever else is handed in, any other text
included, is left out and shows as `?`. An exception shows as its class and place, for its text may quote anything.

    log = get_log("vault")
    log.warning("pack_torn", space=space, pack=7, offset_bytes=1024)
"""

from __future__ import annotations

import logging
import re
import sys
import traceback
from enum import Enum
from typing import TextIO

from config.clock import iso_utc
from config.ids import ID_BYTES

ROOT = "mellanrum"
#: What a text may look like to be a word of ours: an identifier, a version, a class of errors.
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_.+-]{0,63}")
FRAMES_MAX = 8


class Word(str):
    """A word of our own code that may stand in a log: a version, a state. Never make one of what came from outside."""

    __slots__ = ()


class Log:
    """Writes events of one part of the program."""

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(f"{ROOT}.{name}")

    def debug(self, event: str, **facts: object) -> None:
        """Log what helps while looking for a fault."""
        self._log(logging.DEBUG, event, facts)

    def info(self, event: str, **facts: object) -> None:
        """Log what an administrator may want to know."""
        self._log(logging.INFO, event, facts)

    def warning(self, event: str, **facts: object) -> None:
        """Log what an administrator should look at."""
        self._log(logging.WARNING, event, facts)

    def error(self, event: str, error: BaseException | None = None, **facts: object) -> None:
        """Log what went wrong; `error` shows as its class and where it was raised."""
        self._log(logging.ERROR, event, facts | ({} if error is None else {"error": error}))

    def _log(self, level: int, event: str, facts: dict[str, object]) -> None:
        if self._logger.isEnabledFor(level):
            self._logger.log(level, line(event, facts))


def get_log(name: str) -> Log:
    """Return the log of a part of the program: a short word."""
    return Log(name)


def line(event: str, facts: dict[str, object]) -> str:
    """Return the event and its facts as `event=name fact=value`."""
    return " ".join([f"event={_shown(Word(event))}", *(f"{name}={_shown(value)}" for name, value in facts.items())])


def set_up(level: str = "info", stream: TextIO | None = None) -> None:
    """Send everything that is logged in this process, libraries included, to `stream` (stderr) as one line each.

    Libraries log sentences that may quote a request, so theirs show as level, logger, and place alone.

    Args:
        level: debug, info, warning or error.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_OneLine())
    root = logging.getLogger()
    for standing in root.handlers[:]:
        root.removeHandler(standing)
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logging.getLogger(ROOT).setLevel(level.upper())
    logging.raiseExceptions = False  # a full disk under stderr must not fail a request


class _OneLine(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        head = f"{iso_utc(int(record.created * 1_000_000))} {record.levelname.lower()} pid={record.process}"
        if record.name.startswith(f"{ROOT}."):
            return escape(f"{head} log={record.name.removeprefix(f'{ROOT}.')} {record.getMessage()}")
        place = f"{record.module}:{record.lineno}"
        text = f"{head} log={record.name} event=library_message at={place}"
        if record.exc_info and record.exc_info[1] is not None:
            text += f" error={_shown(record.exc_info[1])}"
        return escape(text)


def escape(text: str) -> str:
    """Return the text in printable ASCII, so that no value can begin a line or move a terminal's cursor."""
    return re.sub(r"[^ -~]", lambda found: f"\\u{{{ord(found[0]):x}}}", text)


def _shown(value: object) -> str:
    if isinstance(value, Enum):
        return value.name
    if value is None or isinstance(value, bool | int):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, bytes) and len(value) in (0, ID_BYTES):  # nothing longer: it might be a key
        return value.hex() or "none"
    if isinstance(value, Word) and _WORD.fullmatch(value):
        return value
    if isinstance(value, BaseException):
        return _place(value)
    if isinstance(value, list | tuple | set | frozenset):
        return ",".join(_shown(each) for each in value) or "none"
    return "?"


def _place(error: BaseException) -> str:
    """Return the error's class and the innermost frames, without its text: `OSError@local.py:17<vault.py:90`."""
    frames = traceback.extract_tb(error.__traceback__)[-FRAMES_MAX:]
    places = [f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno}" for frame in reversed(frames)]
    shown = "@".join([type(error).__name__, "<".join(places)]) if places else type(error).__name__
    code = getattr(error, "errno", None)
    return f"{shown}#{code}" if isinstance(code, int) else shown
