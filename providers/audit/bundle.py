"""One log in one file, for its reader to keep, and to verify with nothing but the public key and what they kept.

The file is UTF-8 text, a JSON object to a line (docs/FORMAT.md, "Audit bundle"):

    {"checkpoints":k,"mellanrum":"audit bundle","origin":…,"public_key":…,"size":n,"v":1}
    {"checkpoint":"<signed note>"}                       k times, by size; the last has size n
    {"leaf":{…canonical…},"openings":{name:[salt,value]}}   n times, by number
    {"end":n}
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from sqlalchemy import Connection, select

from providers import tables
from providers.audit import merkle, note
from providers.audit.checkpoints import installation_id
from providers.audit.errors import BadNote, NotSignedYet
from providers.audit.leaf import SALT_BYTES, VERSION, canonical, commitment
from providers.audit.log import AuditLog, Entry, LogInfo

WHOLE, TAMPERED, INCOMPLETE = 0, 1, 2
TITLE = "audit bundle"
LINE_BYTES_MAX = 1 << 20


@dataclass(frozen=True, slots=True)
class Outcome:
    """What verifying found. `code`: 0 whole, 1 tampered with, 2 incomplete. `number`: the first event in question.

    `checkpoint` is the newest one of a whole bundle: keep it, and hand it in as `since` the next time.
    """

    code: int
    message: str
    size: int = 0
    number: int | None = None
    checkpoint: str = ""


# --- writing


def export(connection: Connection, audit: AuditLog, log: LogInfo, target: Path | BinaryIO) -> int:
    """Write a log, as far as it is signed, to a file (which appears whole or not at all) or a stream; return its size.

    Raises NotSignedYet, EntryDamaged.
    """
    if isinstance(target, Path):
        aside = target.with_name(f".{target.name}.{os.getpid()}.new")
        try:
            with aside.open("xb") as file:
                size = _write(connection, audit, log, file)
                file.flush()
                os.fsync(file.fileno())
            target.open("xb").close()  # what stands there already is nobody's to overwrite
            os.replace(aside, target)
        finally:
            aside.unlink(missing_ok=True)
        return size
    return _write(connection, audit, log, target)


def _write(connection: Connection, audit: AuditLog, log: LogInfo, out: BinaryIO) -> int:
    column = tables.checkpoint.c
    query = select(column.size, column.note).where(column.log == log.id).order_by(column.size)
    checkpoints = [(size, bytes(text).decode()) for size, text in connection.execute(query)]
    if not checkpoints:
        raise NotSignedYet
    size = int(checkpoints[-1][0])
    origin = note.origin(installation_id(connection), log.uid)
    public = audit.keyring.installation().signing.public_key().public_bytes_raw()
    head = {"mellanrum": TITLE, "v": VERSION, "origin": origin, "size": size, "checkpoints": len(checkpoints)}
    out.write(canonical({**head, "public_key": note.verifier_key(origin, public)}) + b"\n")
    for _, text in checkpoints:
        out.write(canonical({"checkpoint": text}) + b"\n")
    for entry in audit.entries(connection, log, 0, size):
        out.write(_line(entry))
    out.write(canonical({"end": size}) + b"\n")
    return size


def _line(entry: Entry) -> bytes:
    openings = {name: [found.salt, found.value] for name, found in entry.personal.items() if found.salt is not None}
    return b'{"leaf":%b,"openings":%b}\n' % (entry.leaf, canonical(openings))


# --- verifying


class _Tampered(Exception):
    def __init__(self, message: str, number: int | None = None) -> None:
        super().__init__(message)
        self.message, self.number = message, number


class _Incomplete(Exception):
    def __init__(self, message: str, number: int | None = None) -> None:
        super().__init__(message)
        self.message, self.number = message, number


def verify_bundle(path: Path, public_key: str | bytes, since: str | None = None) -> Outcome:
    """Verify a bundle with the public key (raw, hex, base64 or a verifier key) and, best, a checkpoint kept earlier.

    Whoever holds the server's key could write a new log that is whole in itself: only what a kept checkpoint covers is
    proven to be what it was then. Needs no key, no server and no more memory than its checkpoints take.
    """
    try:
        public = note.public_bytes(public_key)
        kept = None if since is None else _kept(since, public)
        with path.open("rb") as file:
            return _Verifier(file, public, kept).run()
    except _Tampered as found:
        return Outcome(TAMPERED, found.message, number=found.number)
    except _Incomplete as found:
        return Outcome(INCOMPLETE, found.message, number=found.number)
    except BadNote as wrong:
        return Outcome(INCOMPLETE, str(wrong))
    except OSError as failed:
        return Outcome(INCOMPLETE, f"The bundle cannot be read: {failed.strerror}.")


def _kept(since: str, public: bytes) -> note.Checkpoint:
    try:
        return note.opened(since, public)
    except BadNote:
        raise _Incomplete("The checkpoint you kept is not signed by that public key, so it proves nothing.") from None


class _Verifier:
    def __init__(self, file: BinaryIO, public: bytes, kept: note.Checkpoint | None) -> None:
        self._file = file
        self._public = public
        self._kept = kept
        self._frontier = merkle.Frontier()
        self._good = 0  # events under a checkpoint found good

    def run(self) -> Outcome:
        with _as_tampered("The first line of the bundle"):
            head = self._head(self._line())
        due, newest = self._checkpoints(head)
        uid = head["origin"].rpartition("/")[2]
        while self._frontier.size < head["size"]:
            number = self._frontier.size
            with _as_tampered(f"Event {number}", number):
                self._frontier.append(_verified_leaf(self._line(), uid, number))
            self._compare(due.pop(self._frontier.size, []))
        self._end(head["size"])
        size = self._frontier.size
        return Outcome(WHOLE, f"Whole: {size} events, each as it was signed.", size, None, newest)

    def _head(self, head: dict[str, Any]) -> dict[str, Any]:
        if head["mellanrum"] != TITLE or head["v"] != VERSION:
            raise _Incomplete("This is no audit bundle, or one of a newer form.")
        if not isinstance(head["origin"], str) or type(head["size"]) is not int or type(head["checkpoints"]) is not int:
            raise ValueError("wrong types")
        if head["public_key"] != note.verifier_key(head["origin"], self._public):
            raise _Tampered("The bundle names another public key than the one you gave.")
        if self._kept is not None and self._kept.origin != head["origin"]:
            raise _Incomplete("The checkpoint you kept is of another log than this bundle.")
        return head

    def _checkpoints(self, head: dict[str, Any]) -> tuple[dict[int, list[tuple[str, bytes]]], str]:
        """Return the roots to compare by size, and the newest checkpoint."""
        due: dict[int, list[tuple[str, bytes]]] = {}
        size, text = 0, ""
        for position in range(head["checkpoints"]):
            with _as_tampered(f"Checkpoint {position + 1} of the bundle"):
                text = self._line()["checkpoint"]
                found = note.parse(note.open_note(text, head["origin"], self._public))
                if found.origin != head["origin"] or found.size <= size:
                    raise ValueError("another log, or out of order")
                size = found.size
            due.setdefault(size, []).append(("a checkpoint in the bundle", found.root))
        if size != head["size"] or size == 0:
            raise _Tampered("The bundle's newest checkpoint does not cover all of its events.", size)
        kept = self._kept
        if kept is not None:
            if kept.size > size:
                raise _Incomplete(
                    f"The checkpoint you kept covers {kept.size} events, the bundle has {size}: "
                    f"it was exported before, or events {size} to {kept.size - 1} were dropped.",
                    size,
                )
            due.setdefault(kept.size, []).append(("the checkpoint you kept", kept.root))
        if kept is not None and kept.size == 0 and kept.root != merkle.EMPTY_ROOT:
            raise _Tampered("The checkpoint you kept is no checkpoint of an empty log.")
        return due, text

    def _compare(self, expected: list[tuple[str, bytes]]) -> None:
        for named, root in expected:
            if root != self._frontier.root():
                last = self._frontier.size - 1
                where = f"event {last}" if last == self._good else f"events {self._good} to {last}"
                raise _Tampered(f"Something in {where} is not what {named} was signed for.", self._good)
        if expected:
            self._good = self._frontier.size

    def _end(self, size: int) -> None:
        with _as_tampered("The last line of the bundle"):
            if self._line() != {"end": size}:
                raise ValueError("another end")
        if self._file.read(1):
            raise _Tampered("Something follows the end of the bundle.")

    def _line(self) -> dict[str, Any]:
        raw = self._file.readline(LINE_BYTES_MAX)
        if not raw.endswith(b"\n") and len(raw) < LINE_BYTES_MAX:
            raise _Incomplete("The bundle ends early: it was cut short.", self._frontier.size)
        found = json.loads(raw, object_pairs_hook=_unique)
        if not isinstance(found, dict):
            raise ValueError("no object")
        return found


@contextmanager
def _as_tampered(what: str, number: int | None = None) -> Iterator[None]:
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, BadNote):
        raise _Tampered(f"{what} was changed.", number) from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a name that stands twice, of which two programs might read two things."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")
    return found


def _verified_leaf(line: dict[str, Any], uid: str, number: int) -> bytes:
    """Return the leaf's hash, once its openings fit it and it says that it stands here."""
    leaf, openings = line["leaf"], line["openings"]
    if set(line) != {"leaf", "openings"} or (leaf["log"], leaf["number"], leaf["v"]) != (uid, number, VERSION):
        raise ValueError("another place")
    commitments = leaf["event"]["commitments"]
    for name, (salt, value) in openings.items():
        raw = bytes.fromhex(salt)
        if len(raw) != SALT_BYTES or commitment(raw, name, value) != commitments[name]:
            raise ValueError("an opening does not fit")
    return merkle.leaf_hash(canonical(leaf))
