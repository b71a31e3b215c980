"""One log in one file, for its reader to keep, and to verify with nothing but the public key and what they kept.

The file is UTF-8 text, a JSON object to a line (docs/FORMAT.md, "Audit bundle"):

    {"checkpoints":k,"mellanrum":"audit bundle","origin":…,"public_key":…,"size":n,"v":1}
    {"checkpoint":"<signed note>"}                       k times, by size; the last has size n
    {"leaf":{…canonical…},"openings":{name:[salt,value]}}   n times, by number
    {"end":n}

A log that was put back to an earlier state, by a backup, says so for good: it has epochs, and its bundle version 2.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from sqlalchemy import Connection, select

from config.clock import iso_second
from providers import tables
from providers.audit import merkle, note
from providers.audit.checkpoints import installation_id
from providers.audit.epochs import epochs_of
from providers.audit.errors import BadNote, NotSignedYet
from providers.audit.events import EPOCH_OPENED
from providers.audit.leaf import SALT_BYTES, VERSION, canonical, commitment
from providers.audit.lineage import belongs, openings, parting
from providers.audit.log import AuditLog, Entry, LogInfo

WHOLE, TAMPERED, INCOMPLETE = 0, 1, 2
TITLE = "audit bundle"
#: Versions of a bundle: of a log without epochs, and of one with. A reader that knows no epochs refuses the second.
PLAIN, WITH_EPOCHS = VERSION, 2
LINE_BYTES_MAX = 1 << 20


@dataclass(frozen=True, slots=True)
class Outcome:
    """What verifying found. `code`: 0 whole, 1 tampered with, 2 incomplete. `number`: the first event in question.

    `checkpoint` is the newest one of a whole bundle, or of one that is whole but for what was put back before: keep it,
    and hand it in as `since` the next time. `put_back` are the epochs of the log: each time it was put back.
    """

    code: int
    message: str
    size: int = 0
    number: int | None = None
    checkpoint: str = ""
    put_back: tuple[note.Epoch, ...] = ()


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
    epochs = epochs_of(connection, [log.id])[log.id]
    origin = note.origin(installation_id(connection), log.uid, epochs)
    public = audit.keyring.installation().signing.public_key().public_bytes_raw()
    version = WITH_EPOCHS if epochs else PLAIN
    head = {"mellanrum": TITLE, "v": version, "origin": origin, "size": size, "checkpoints": len(checkpoints)}
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


def verify_bundle(path: Path, public_key: str | bytes, since: str | Sequence[str] | None = None) -> Outcome:
    """Verify a bundle with the public key (raw, hex, base64 or a verifier key) and, best, checkpoints kept earlier.

    Whoever holds the server's key could write a new log that is whole in itself: only what a kept checkpoint covers is
    proven to be what it was then. Needs no key, no server and no more memory than its checkpoints take.
    """
    try:
        public = note.public_bytes(public_key)
        kept = [] if since is None else [_kept(text, public) for text in ([since] if isinstance(since, str) else since)]
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
    def __init__(self, file: BinaryIO, public: bytes, kept: Sequence[note.Checkpoint]) -> None:
        self._file = file
        self._public = public
        self._kept = kept
        self._frontier = merkle.Frontier()
        self._good = 0  # events under a checkpoint found good
        self._due: dict[int, list[tuple[str, bytes]]] = {}
        self._beyond: list[Outcome] = []  # what kept checkpoints cover that is not there

    def run(self) -> Outcome:
        with _as_tampered("The first line of the bundle"):
            head = self._head(self._line())
        newest, text = self._checkpoints(head)
        self._epochs(newest)
        for kept in self._kept:
            self._compare_kept(kept, newest)
        uid, opened = newest.log.rpartition("/")[2], openings(newest.epochs)
        while self._frontier.size < newest.size:
            number = self._frontier.size
            with _as_tampered(f"Event {number}", number):
                self._frontier.append(_verified_leaf(self._line(), uid, number, opened.get(number)))
            self._compare(self._due.pop(self._frontier.size, []))
        self._end(newest.size)
        return self._outcome(newest, text)

    def _outcome(self, newest: note.Checkpoint, text: str) -> Outcome:
        whole = f"{newest.size} events, each as it was signed."
        if not self._beyond:
            return Outcome(WHOLE, f"Whole: {whole}", newest.size, None, text, newest.epochs)
        found = self._beyond[-1]  # of the newest checkpoint that was kept
        if not found.put_back:
            return found
        message = f"{found.message} What stands is whole: {whole}"
        return replace(found, message=message, size=newest.size, checkpoint=text, put_back=newest.epochs)

    def _head(self, head: dict[str, Any]) -> dict[str, Any]:
        if head["mellanrum"] != TITLE or head["v"] not in (PLAIN, WITH_EPOCHS):
            raise _Incomplete("This is no audit bundle, or one of a newer form.")
        if not isinstance(head["origin"], str) or type(head["size"]) is not int or type(head["checkpoints"]) is not int:
            raise ValueError("wrong types")
        if head["public_key"] != note.verifier_key(head["origin"], self._public):
            raise _Tampered("The bundle names another public key than the one you gave.")
        log = head["origin"].rpartition("/")[0] if head["v"] == WITH_EPOCHS else head["origin"]
        if any(kept.log != log for kept in self._kept):
            raise _Incomplete("The checkpoint you kept is of another log than this bundle.")
        return head

    def _checkpoints(self, head: dict[str, Any]) -> tuple[note.Checkpoint, str]:
        """Return the newest checkpoint, which has to cover all, and its note. Those before lead to it."""
        found: list[note.Checkpoint] = []
        text = ""
        for position in range(head["checkpoints"]):
            with _as_tampered(f"Checkpoint {position + 1} of the bundle"):
                text = self._line()["checkpoint"]
                found.append(note.opened(text, self._public))
                if found[-1].size <= (found[-2].size if position else 0):
                    raise ValueError("out of order")
        if not found or found[-1].size != head["size"]:
            size = found[-1].size if found else 0
            raise _Tampered("The bundle's newest checkpoint does not cover all of its events.", size)
        newest = found[-1]
        for position, each in enumerate(found):
            with _as_tampered(f"Checkpoint {position + 1} of the bundle"):
                if each.log != newest.log or not belongs(each, newest.epochs):
                    raise ValueError("another log, or another epoch")
            self._due.setdefault(each.size, []).append(("a checkpoint in the bundle", each.root))
        if newest.origin != head["origin"] or bool(newest.epochs) != (head["v"] == WITH_EPOCHS):
            raise _Tampered("The first line of the bundle was changed.")
        return newest, text

    def _epochs(self, newest: note.Checkpoint) -> None:
        for epoch in newest.epochs:
            self._due.setdefault(epoch.size, []).append(("the epoch that begins after it", epoch.root))

    def _compare_kept(self, kept: note.Checkpoint, newest: note.Checkpoint) -> None:
        """Settle where a kept checkpoint is compared, and say what it covers that the bundle has not."""
        if kept.size == 0 and kept.root != merkle.EMPTY_ROOT:
            raise _Tampered("The checkpoint you kept is no checkpoint of an empty log.")
        found = parting(kept, newest.epochs)
        for size, root in found.due:
            self._due.setdefault(size, []).append(("the checkpoint you kept", root))
        lost = found.lost(kept)
        if found.back is not None and found.shared is not None and lost:
            proven = max((size for size, _ in found.due), default=0)
            said = _put_back(found.back, found.shared, kept, proven)
            self._beyond.append(Outcome(INCOMPLETE, said, number=found.shared, put_back=newest.epochs))
        elif found.untold is not None and found.back is None:
            when = iso_second(found.untold.at)
            self._beyond.append(
                Outcome(
                    INCOMPLETE,
                    f"The checkpoint you kept tells that the log was put back to an earlier state on {when}, "
                    "the bundle does not: it was exported before, or that was hidden.",
                    number=min(found.untold.size, newest.size),
                )
            )
        elif kept.size > newest.size:
            missing = f"events {newest.size} to {kept.size - 1}"
            self._beyond.append(
                Outcome(
                    INCOMPLETE,
                    f"The checkpoint you kept covers {kept.size} events, the bundle has {newest.size}: "
                    f"it was exported before, or {missing} were dropped.",
                    number=newest.size,
                )
            )

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


def _put_back(back: note.Epoch, shared: int, kept: note.Checkpoint, proven: int) -> str:
    """Say what a kept checkpoint covers and is gone, and what of it proves nothing any more."""
    last = kept.size - 1
    gone = (
        f"event {last}, which the checkpoint you kept covers, is"
        if shared == last
        else (f"{kept.size - shared} events that the checkpoint you kept covers ({shared} to {last}) are")
    )
    said = f"The log was put back to an earlier state on {iso_second(back.at)}, as by a backup: {gone} no longer in it."
    if proven < shared:
        said += f" That the {shared} before are the same proves a checkpoint of at most so many, not this one."
    return said


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


def _verified_leaf(line: dict[str, Any], uid: str, number: int, opened: int | None) -> bytes:
    """Return the leaf's hash, once its openings fit it and it says that it stands here, at the beginning of an epoch
    that was `opened` then, or of none.
    """
    leaf, openings = line["leaf"], line["openings"]
    if set(line) != {"leaf", "openings"} or (leaf["log"], leaf["number"], leaf["v"]) != (uid, number, VERSION):
        raise ValueError("another place")
    event = leaf["event"]
    if (event["kind"] == EPOCH_OPENED) != (opened is not None) or (opened is not None and event["at"] != opened):
        raise ValueError("an epoch begins elsewhere")
    commitments = event["commitments"]
    for name, (salt, value) in openings.items():
        raw = bytes.fromhex(salt)
        if len(raw) != SALT_BYTES or commitment(raw, name, value) != commitments[name]:
            raise ValueError("an opening does not fit")
    return merkle.leaf_hash(canonical(leaf))
