"""What all commands share: options, answers, the desk they work at, and how errors leave."""

from __future__ import annotations

import argparse
import errno
import io
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

from auth.events import Actor
from auth.keyring import RootKey
from auth.rights import Principal
from config.errors import MellanrumError
from config.files import OF_THE_DISK, full_or_failed
from config.settings import Settings, find_file, load
from providers.drive.transaction import actor_of
from providers.installation import Installation, root_key
from server.cli.errors import Interrupted, Misused, NoSuchFileName, NotAllowed, NotConfirmed, Unexpected, Unprinted
from server.cli.holding import Hold
from server.cli.ownership import name_of, require_own
from server.cli.progress import Progress

PROGRAM = "mellanrum"
TRACE_VARIABLE = "MELLANRUM_TRACE"


@dataclass(frozen=True)
class Answer:
    """What a command found or did: `document` for `--json`, `lines` for people, `error` for what the exit code says.

    `code` is for the few commands that have exit codes of their own.
    """

    document: Any = None
    lines: Iterable[str] = ()
    error: MellanrumError | None = None
    code: int = 0


@dataclass
class Desk:
    """Where a command works: the settings, the installation, and whoever sits at the machine."""

    options: argparse.Namespace
    _opened: list[Installation] = field(default_factory=list)
    _hold: Hold | None = None

    @property
    def data(self) -> Path | None:
        """The folder that `--data` named."""
        return Path(self.options.data) if self.options.data else None

    @property
    def settings_file(self) -> Path | None:
        """The settings file that counts; None: there is none."""
        return Path(self.options.settings) if self.options.settings else find_file(self.data)

    def load(self, overrides: dict[str, Any] | None = None) -> Settings:
        """Return the settings, with what options said on top. Raises NotTheirs, FolderUnusable."""
        settings = load(self.settings_file, data_folder=self.data, overrides=overrides)
        require_own(settings.folder)
        return settings

    @cached_property
    def settings(self) -> Settings:
        """The settings of the installation."""
        return self.load()

    @cached_property
    def root(self) -> RootKey:
        """The root key, read once: it may come from a program that asks somebody. Raises what keeps it from being."""
        return root_key(self.settings)

    @cached_property
    def installation(self) -> Installation:
        """The installation, opened. Raises NotInitialised and what else keeps it from opening."""
        return self._opened_by(Hold.shared, though_due=False)

    @cached_property
    def looked_at(self) -> Installation:
        """The installation, opened to look at it alone, whether or not its logs need a new epoch."""
        return self._opened_by(Hold.shared, though_due=True)

    def opened_alone(self) -> Installation:
        """Hold the folder alone; return the installation, whether or not its logs need a new epoch. Raises InUse."""
        return self._opened_by(Hold.alone, though_due=True)

    def _opened_by(self, holding: Callable[[Path], Hold], *, though_due: bool) -> Installation:
        folder = self.settings.folder
        if self._hold is None and (folder / "keystore").is_dir():
            self._hold = holding(folder)  # before the root key is read, which nobody may change from here on
        found = Installation.open(folder, self.settings, lambda: self.root, though_due=though_due)
        self._opened.append(found)
        return found

    @cached_property
    def operator(self) -> Principal:
        """Whoever sits at the machine, as drives and spaces know them."""
        return self.installation.operator()

    @cached_property
    def actor(self) -> Actor:
        """Whoever sits at the machine, as events name them."""
        return actor_of(self.installation.storage, self.operator)

    def progress(self, what: str, total: int | None = None) -> Progress:
        """Return a bar for long work, drawn on stderr if that is a terminal."""
        return Progress(what, total, sys.stderr)

    def confirm(self, question: str) -> None:
        """Ask, unless `--yes` was given. Raises NotConfirmed."""
        if self.options.yes:
            return
        if not sys.stdin.isatty():
            raise NotConfirmed(hint="Add --yes to do it without being asked.")
        print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
        if sys.stdin.readline().strip().casefold() not in ("y", "yes", "j", "ja"):
            raise NotConfirmed(hint="You said no.")

    def close(self) -> None:
        """Let go of the installation."""
        for found in self._opened:
            found.close()
        if self._hold is not None:
            self._hold.close()


Command = Callable[[Desk, argparse.Namespace], Answer]


class Parser(argparse.ArgumentParser):
    """An argument parser that reports misuse as one of our errors. Options are never abbreviated."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        """Raise Misused."""
        raise Misused(problem=f"{message[:1].upper()}{message[1:]}.", command=self.prog)


@dataclass
class Noun:
    """A group of commands under one word."""

    parsers: Any

    def command(self, verb: str, run: Command, help: str) -> Parser:
        """Add a command; return its parser, which has the options that stand everywhere."""
        parser: Parser = self.parsers.add_parser(verb, help=help, description=help)
        add_everywhere(parser, default=argparse.SUPPRESS)
        parser.set_defaults(run=run)
        return parser

    def noun(self, name: str, help: str) -> Noun:
        """Add a word with commands of its own."""
        parser: Parser = self.parsers.add_parser(name, help=help, description=help)
        add_everywhere(parser, default=argparse.SUPPRESS)
        return Noun(parser.add_subparsers(metavar="VERB", required=True, dest="verb"))


def add_everywhere(parser: argparse.ArgumentParser, *, default: Any = None) -> None:
    """Add the options that may stand before a command or after it."""
    group = parser.add_argument_group("everywhere")
    suppressed = default is argparse.SUPPRESS
    group.add_argument("--data", metavar="DIR", default=default, help="the data folder")
    group.add_argument("--settings", metavar="FILE", default=default, help="the settings file, in TOML")
    off = default if suppressed else False
    group.add_argument("--json", action="store_true", default=off, help="print one JSON document")
    group.add_argument("--yes", "-y", action="store_true", default=off, help="do not ask")


def run(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> int:
    """Parse, run, print; return the exit code."""
    wants_json = "--json" in (sys.argv[1:] if argv is None else argv)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as stderr: what it cannot write is no reason to fail
    try:
        options = parser.parse_args(argv)
        with _desk(options) as desk:
            answer = options.run(desk, options)
            tell(answer, as_json=options.json)
    except Unprinted as error:
        _print_no_more()
        return _fail(error, wants_json)
    except MellanrumError as error:
        return _fail(error, wants_json)
    except KeyboardInterrupt:
        return _fail(Interrupted(), wants_json)
    except BrokenPipeError:  # whoever read has read enough
        _print_no_more()
        return 0
    except Exception as error:
        told = _refused(error) if isinstance(error, OSError) else None
        if told is None and os.environ.get(TRACE_VARIABLE):
            traceback.print_exc()
        return _fail(told or Unexpected(error=_said(error), place=_place(error)), wants_json)
    if answer.error is not None:
        _complain(answer.error)
        return int(answer.error.exit_code)
    return int(answer.code)


@contextmanager
def _desk(options: argparse.Namespace) -> Iterator[Desk]:
    desk = Desk(options)
    try:
        yield desk
    finally:
        desk.close()


def tell(answer: Answer, *, as_json: bool) -> None:
    """Print an answer."""
    if as_json:
        if answer.document is not None:
            _say(_json(answer.document, indent=2))
    else:
        for line in answer.lines:
            _say(line)
    with _printing():
        sys.stdout.flush()


def _say(text: str) -> None:
    with _printing():
        print(text)


@contextmanager
def _printing() -> Iterator[None]:
    """Raise Unprinted where standard output takes no more, as on a full disk."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise Unprinted(why=(error.strerror or type(error).__name__).lower()) from error


def _print_no_more() -> None:
    """Let what is left to print go nowhere: else the interpreter complains of it at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _json(document: Any, indent: int | None = None) -> str:
    """Return a document to print. If it holds what stdout cannot write, such as half a character, all is in ASCII."""
    text = json.dumps(document, ensure_ascii=False, indent=indent)
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        text = json.dumps(document, indent=indent)
    return text


def _fail(error: MellanrumError, wants_json: bool) -> int:
    if wants_json:
        said = {"kind": type(error).__name__, "message": str(error), "exit_code": error.exit_code}
        with suppress(OSError):
            print(_json({"error": said}), flush=True)
    _complain(error)
    return error.exit_code


def _complain(error: MellanrumError) -> None:
    with suppress(OSError):  # the exit code still says which kind it was
        print(f"{PROGRAM}: {error}", file=sys.stderr, flush=True)


def _refused(error: OSError) -> MellanrumError | None:
    """Return what the system refused that any command may meet, None for what is unforeseen."""
    if isinstance(error, PermissionError):
        return NotAllowed(user=name_of(os.geteuid()), file=error.filename or "something it needs")
    if error.errno == errno.ENAMETOOLONG:
        return NoSuchFileName(file=error.filename)
    return full_or_failed(error) if error.errno in OF_THE_DISK else None


def _said(error: Exception) -> str:
    first = (str(error).splitlines() or [""])[0]
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


def _place(error: Exception) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "an unknown place"
