"""The old protocol of `scp` (`scp -O`, and clients before OpenSSH 9), over a drive.

`scp -t` takes documents, `scp -f` gives them. Records are lines: `T` times, `C` a document, `D` and `E` around what a
folder has; each is answered by a byte, 0 for right, 1 and a line for what went wrong with this one. A document is
stored when all its bytes have come, and then the client's own 0 or its end; what is cut off before leaves nothing.
"""

from __future__ import annotations

import fnmatch
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from config.clock import SECOND_US
from config.errors import MellanrumError
from providers.errors import IsAFolder, NotAFolder, NotFound, NotText, ParentMissing, UploadIncomplete
from providers.model import Item
from providers.paths import Path, check_segment, means_folder, parse_posix
from server.sftp.pipe import CutOff, Pipe

if TYPE_CHECKING:
    from providers.drive import Drive
    from providers.drive.reading import Reader

LINE_BYTES_MAX = 4096
#: How long a check that rights still stand serves a stream.
VALID_SECONDS = 1.0
_PIECE_BYTES = 1 << 18
_DEPTH_MAX = 100
_RECORD = re.compile(rb"([CD])([0-7]{4}) ([0-9]{1,18}) ([^\n/]+)")
_TIMES = re.compile(rb"T([0-9]{1,12}) [0-9]{1,9} [0-9]{1,12} [0-9]{1,9}")
_LETTERS = frozenset("tfrpdvq")


@dataclass(frozen=True, slots=True)
class Request:
    """What `scp` on the client's side asked its other half to do."""

    takes: bool
    is_recursive: bool
    keeps_times: bool
    wants_folder: bool
    paths: tuple[str, ...]


class Interrupted(Exception):
    """A document could not be given to its end. What comes next would be taken for its bytes: nothing may."""

    def __init__(self, error: MellanrumError) -> None:
        super().__init__(error)
        self.error = error


class BadRecord(MellanrumError):
    """That is no record of scp. Nothing was stored of it."""


def parse(arguments: list[str]) -> Request | None:
    """Return what the arguments of `scp` ask for, None if that is none of ours."""
    letters: set[str] = set()
    while arguments and arguments[0].startswith("-") and arguments[0] != "-":
        first, *arguments = arguments
        if first == "--":
            break
        letters.update(first[1:])
    takes, gives = "t" in letters, "f" in letters
    if letters - _LETTERS or takes == gives or not arguments or (takes and len(arguments) != 1):
        return None
    return Request(takes, "r" in letters, "p" in letters, "d" in letters, tuple(arguments))


def run(request: Request, drive: Drive, pipe: Pipe) -> int:
    """Do it; return the exit status. Raises Gone, CutOff, Interrupted."""
    if request.takes:
        return _Sink(request, drive, pipe).run()
    return _Source(request, drive, pipe).run()


def place(text: str) -> Path:
    """Return the path that an argument spells; an empty one is where one begins. Raises BadName, NameTooLong."""
    return parse_posix(_raw(text))


def found(drive: Drive, text: str) -> Path:
    """Return the path that an argument spells. With a slash at its end it is a folder's, or NotFound or NotAFolder is
    raised.
    """
    path = place(text)
    if _is_slashed(text) and not drive.stat(path).is_folder:
        raise NotAFolder
    return path


def content(drive: Drive, reader: Reader) -> Iterator[memoryview]:
    """Yield the bytes of a document for as long as it may be read. Raises NotFound, Forbidden, Revoked."""
    looked = time.monotonic()
    for piece in reader.chunks():
        now = time.monotonic()
        if now - looked >= VALID_SECONDS:
            looked = now
            drive.still_valid(reader)
        yield piece


def _is_slashed(text: str) -> bool:
    return means_folder(_raw(text))


def _raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


class _Half:
    def __init__(self, request: Request, drive: Drive, pipe: Pipe) -> None:
        self._request = request
        self._drive = drive
        self._pipe = pipe
        self._status = 0

    def _complain(self, what: str, error: MellanrumError) -> None:
        self._status = 1
        shown = "".join(letter if letter.isprintable() else "?" for letter in what)
        self._pipe.write(f"\x01scp: {shown}: {error.said}\n".encode())

    def _item(self, path: Path) -> Item | None:
        try:
            return self._drive.stat(path)
        except NotFound:
            return None


class _Sink(_Half):
    """Takes what the client sends."""

    def run(self) -> int:
        text = self._request.paths[0]
        target = place(text)
        item = self._item(target)
        is_folder = item is not None and item.is_folder
        may_be_made = item is None and self._request.is_recursive and not self._request.wants_folder
        if (self._request.wants_folder or _is_slashed(text)) and not is_folder and not may_be_made:
            self._complain(text, NotAFolder() if item else ParentMissing())
            return 1
        self._pipe.write(b"\0")
        self._take(target, is_folder, 0)
        return self._status

    def _take(self, target: Path, is_folder: bool, depth: int) -> None:
        """Take records until the folder, or all, is done. Raises CutOff where the client ends before."""
        modified: int | None = None
        while (line := self._pipe.line(LINE_BYTES_MAX)) is not None:
            times, record = _TIMES.fullmatch(line), _RECORD.fullmatch(line)
            if line[:1] in (b"\x01", b"\x02"):  # the client could not read something
                self._status = 1
                if line[:1] == b"\x02":
                    return
            elif line == b"E" and depth:
                self._pipe.write(b"\0")
                return
            elif times:
                modified = int(times[1]) * SECOND_US
                self._pipe.write(b"\0")
            elif record:
                self._record(record, target, is_folder, modified, depth)
                modified = None
            else:
                self._complain("record", BadRecord())
                return
        if depth or modified is not None:
            raise CutOff

    def _record(self, record: re.Match[bytes], target: Path, is_folder: bool, modified: int | None, depth: int) -> None:
        name = record[4].decode("utf-8", "replace")
        try:
            if b"\xef\xbf\xbd" not in record[4] and "\N{REPLACEMENT CHARACTER}" in name:
                raise NotText
            path = target.joined(check_segment(name)) if is_folder else target
            if record[1] == b"C":
                if not is_folder and _is_slashed(self._request.paths[0]):
                    raise ParentMissing
                self._document(path, int(record[3]), modified)
                return
            if not self._request.is_recursive or depth >= _DEPTH_MAX:
                raise IsAFolder
            self._folder(path)
        except MellanrumError as error:
            self._complain(name, error)
            return
        self._pipe.write(b"\0")
        self._take(path, True, depth + 1)

    def _folder(self, path: Path) -> None:
        item = self._item(path)
        if item is None:
            self._drive.make_folder(path)
        elif not item.is_folder:
            raise NotAFolder

    def _document(self, path: Path, size: int, modified: int | None) -> None:
        """Store one document. What is refused before its bytes are asked for, the client does not send."""
        kept = modified if self._request.keeps_times else None
        upload = self._drive.put(path, declared=size, modified=kept)
        failed: MellanrumError | None = None
        try:
            self._pipe.write(b"\0")
            left = size
            while left:
                data = self._pipe.read(min(left, _PIECE_BYTES))
                if not data:
                    raise CutOff
                left -= len(data)
                if failed is None:
                    try:
                        upload.write(data)
                    except MellanrumError as error:  # its bytes come all the same
                        failed = error
            said = self._pipe.read(1)
            if said not in (b"\0", b""):  # libssh2 (curl, PHP) says no 0 after all its bytes: it ends
                self._pipe.line(LINE_BYTES_MAX)
                failed = failed or UploadIncomplete()
            if failed is not None:
                raise failed
            upload.commit()
        finally:
            upload.discard()
            failed = None  # by its frames, of which this is one, it would refer to itself
        self._pipe.write(b"\0")


class _Source(_Half):
    """Gives what the client asks for."""

    def run(self) -> int:
        self._confirmed()
        for text in self._request.paths:
            try:
                for path in self._meant(text):
                    self._give(self._drive.stat(path))
            except MellanrumError as error:
                self._complain(text, error)
        return self._status

    def _meant(self, text: str) -> Iterator[Path]:
        """Yield what an argument means: one path, or, as a shell would have it, what a pattern in its name fits."""
        path = place(text)
        if not any(letter in path.name for letter in "*?[") or self._item(path) is not None:
            yield found(self._drive, text)
            return
        _, items = self._drive.listing(path.parent)
        named = [item for item in items if fnmatch.fnmatchcase(item.name, path.name)]
        fitting = [item.path for item in named if item.is_folder or not _is_slashed(text)]
        if not fitting:
            raise NotFound
        yield from fitting

    def _give(self, item: Item) -> None:
        if item.is_folder:
            if not self._request.is_recursive:
                raise IsAFolder
            self._folder(item)
            return
        with self._drive.read(item.path) as reader:
            self._times(reader.item)
            self._pipe.write(f"C0644 {reader.item.size} {item.name}\n".encode())
            if not self._confirmed():
                return
            try:
                for piece in content(self._drive, reader):
                    self._pipe.write(bytes(piece))
            except MellanrumError as error:
                raise Interrupted(error) from error
        self._pipe.write(b"\0")
        self._confirmed()

    def _folder(self, item: Item) -> None:
        self._times(item)
        self._pipe.write(f"D0755 0 {item.name or '.'}\n".encode())
        if not self._confirmed():
            return
        _, items = self._drive.listing(item.path)
        for each in items:
            try:
                self._give(each)
            except MellanrumError as error:
                self._complain(each.name, error)
        self._pipe.write(b"E\n")
        self._confirmed()

    def _times(self, item: Item) -> None:
        if self._request.keeps_times:
            seconds = max(0, item.modified // SECOND_US)
            self._pipe.write(f"T{seconds} 0 {seconds} 0\n".encode())
            self._confirmed()

    def _confirmed(self) -> bool:
        """Wait for the client's answer; return whether it goes on with this one. Raises Gone, CutOff."""
        answer = self._pipe.read(1)
        if answer == b"\0":
            return True
        if answer == b"\x01":
            self._pipe.line(LINE_BYTES_MAX)
            self._status = 1
            return False
        raise CutOff
