"""Names and paths: the one place where text from outside becomes a path, and where two names are compared.

A path is a tuple of names below the root of a drive. Nothing after this module normalises, splits or decodes again.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import lru_cache

from providers.errors import BadName, NameTooLong, NotText
from providers.noise import ONLY_NOISE

#: What a name, in bytes of UTF-8, and the names of a path may come to at all. What is new may be held to less.
NAME_BYTES_MAX = 255
DEPTH_MAX = 100
#: What a path may come to that somebody is to take apart: each name as long as it may be.
PATH_BYTES_MAX = DEPTH_MAX * (NAME_BYTES_MAX + 1)

#: What stands beside the spaces, and in each: the past; and where archived spaces stand.
HISTORY = ".history"
ARCHIVE = "Archive"
#: What begins so is a space by its id.
BY_ID = "~"

#: Unicode categories no name may hold: control characters, surrogates, unassigned code points but pictographs.
_REFUSED = frozenset({"Cc", "Cs", "Cn"})
#: Where Unicode keeps room for pictographs to come (UTS #51, `Extended_Pictographic`): phones have newer ones than this
#: Python knows. None of them has a case, nor comes apart, so each folds to itself in every version.
_PICTOGRAPHS = (range(0x1F000, 0x1FB00), range(0x1FC00, 0x1FFFE))


@dataclass(frozen=True, slots=True)
class Path:
    """A place below the root of a drive: the names on the way to it, as they were given."""

    segments: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "/" + "/".join(self.segments)

    @property
    def is_root(self) -> bool:
        """Whether this is the root of the drive."""
        return not self.segments

    @property
    def name(self) -> str:
        """The last name; empty for the root."""
        return self.segments[-1] if self.segments else ""

    @property
    def parent(self) -> Path:
        """The path one name shorter; the root is its own parent."""
        return Path(self.segments[:-1])

    def joined(self, name: str) -> Path:
        """Return the path of `name` below this one."""
        return Path((*self.segments, name))


ROOT = Path()


@dataclass(frozen=True, slots=True)
class Limits:
    """What the names and the depth of what is new may be. They say nothing of what stands already.

    `levels_max` counts the names of a path, from that of the space on.
    """

    name_bytes_max: int = NAME_BYTES_MAX
    levels_max: int = DEPTH_MAX

    def check_length(self, name: str) -> None:
        """Raise NameTooLong for a name that is."""
        if not fits(name, self.name_bytes_max):
            raise NameTooLong(limit=self.name_bytes_max)

    def check_depth(self, levels: int) -> None:
        """Raise BadName for a path of too many names."""
        if levels > self.levels_max:
            raise BadName(why=f"it lies deeper than {self.levels_max} folders.")

    def check(self, name: str, levels: int) -> None:
        """Raise NameTooLong or BadName for the last name of a path of so many."""
        self.check_length(name)
        self.check_depth(levels)


#: What any path may be.
_ANY = Limits()


def parse(text: str) -> Path:
    """Return the path that `text` spells, with `/` between names; doubled and trailing slashes carry no meaning.

    The text is already percent-decoded, once. Raises BadName for a name that may not stand, NameTooLong.
    """
    path = _within_depth(tuple(segment for segment in text.split("/") if segment))
    for segment in path.segments:
        check_segment(segment)
    return path


def parse_bytes(raw: bytes) -> Path:
    """Return the path that UTF-8 bytes spell; raise NotText if they are no UTF-8."""
    try:
        return parse(raw.decode("utf-8"))
    except UnicodeDecodeError:
        raise NotText from None


def parse_posix(raw: bytes) -> Path:
    """Return the path that UTF-8 bytes spell to POSIX: `.` is where one is, `..` the folder above, at most the root.

    Paths that do not begin with `/` begin at the root too. Raises BadName, NameTooLong.
    """
    if len(raw) > PATH_BYTES_MAX:
        raise BadName(why=f"its path is longer than {PATH_BYTES_MAX} bytes.")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise NotText from None
    segments: list[str] = []
    for segment in text.split("/"):
        if segment == "..":
            del segments[-1:]
        elif segment not in ("", "."):
            segments.append(check_segment(segment))
    return _within_depth(tuple(segments))


def means_folder(raw: bytes) -> bool:
    """Return whether a path is a folder's to POSIX, whatever stands there: it ends in `/`, `.` or `..`."""
    return raw.rpartition(b"/")[2] in (b"", b".", b"..")


def _within_depth(segments: tuple[str, ...]) -> Path:
    _ANY.check_depth(len(segments))
    return Path(segments)


@lru_cache(maxsize=65_536)
def check_name(name: str) -> str:
    """Return the name if it may stand in a folder, else raise BadName or NameTooLong."""
    if name in ("", ".", ".."):
        raise BadName(why="it has a meaning of its own.")
    if not name.isascii() or not name.isprintable():
        for character in name:
            if _is_refused(character):
                raise BadName(why="it holds a character that cannot be shown.")
    if "/" in name:
        raise BadName(why="it holds a slash.")
    _ANY.check_length(name)
    return name


def check_segment(name: str) -> str:
    """Return the name if a path may hold it: one that may stand in a folder, or one that noise alone has there."""
    return name if name in ONLY_NOISE else check_name(name)


def _is_refused(character: str) -> bool:
    category = unicodedata.category(character)
    if category == "Cn":
        return not any(ord(character) in pictographs for pictographs in _PICTOGRAPHS)
    return category in _REFUSED


def fits(name: str, bytes_max: int = NAME_BYTES_MAX) -> bool:
    """Return whether a name is no longer than it may be."""
    return len(name.encode("utf-8")) <= bytes_max


def presentable(text: str) -> str:
    """Return what somebody typed as it may stand in a name: with a sign in place of each character that may not."""
    odd = "\N{REPLACEMENT CHARACTER}"
    letters = (odd if _is_refused(letter) else letter for letter in text)
    return "".join(letters).replace("/", "\N{DIVISION SLASH}")


def cut(text: str, length: int) -> str:
    """Return the text in at most `length` bytes of UTF-8, with `…` in place of what does not fit."""
    raw = text.encode("utf-8")
    if len(raw) <= length:
        return text
    return raw[: length - len("…".encode())].decode("utf-8", errors="ignore").rstrip() + "…"


@lru_cache(maxsize=65_536)
def fold(name: str) -> str:
    """Return the form by which names are compared: NFC(casefold(NFD(name))). One entry stands per folded name."""
    if name.isascii():
        return name.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", name).casefold())
