"""What adapters see of the storage provider: plain, immutable values, trimmed to what one principal may know."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import NamedTuple

from providers.paths import Path


class Item(NamedTuple):
    """A folder or document as one principal sees it. Times are microseconds UTC, sizes bytes.

    `etag` is quoted, a keyed digest of the version's id, and empty for folders. `space` is None for the containers
    above spaces. `id` is 16 random bytes, empty for containers.
    """

    path: Path
    name: str
    is_folder: bool
    size: int
    created: int
    modified: int
    etag: str
    id: bytes
    space: bytes | None
    version: int
    has_properties: bool
    is_past: bool


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock of RFC 4918. `token` is empty unless it is one's own, `owner` unless one may see whose it is."""

    token: str
    root: Path
    is_deep: bool
    is_shared: bool
    owner: str
    seconds: int
    expires_at: int
    holder: str


@dataclass(frozen=True, slots=True)
class Quota:
    """RFC 4331: sealed bytes in use, and bytes still free (None: no limit)."""

    used: int
    available: int | None


@dataclass(frozen=True, slots=True)
class Checksums:
    """What clients compare contents by. Neither is proof of anything: SHA-256 is, and belongs to the version."""

    md5: bytes
    sha1: bytes


class Came(StrEnum):
    """How a version came to its document.

    WRITTEN: somebody stored it. COPIED: from another document. RESTORED: an earlier version again. CONTINUED: under a
    name that the document had left, and so to it. SHARED: what it has of another's past ends here. REPLACED: a document
    with a past of its own was moved over this one. SPLIT: a joining was undone here.
    """

    WRITTEN = "written"
    COPIED = "copied"
    RESTORED = "restored"
    CONTINUED = "continued"
    SHARED = "shared"
    REPLACED = "replaced"
    SPLIT = "split"


class Version(NamedTuple):
    """One immutable content of a document. `sha256` is hexadecimal, of the whole content; empty once it is
    erased, and where it was not asked for.

    `name` is the one the document had then. `origin` is the number of the version that this one repeats, if any.
    """

    number: int
    id: bytes
    size: int
    at: int
    by: str
    via: str
    name: str
    comment: str
    came: Came
    origin: int | None
    sha256: str
    erased: bool = False


@dataclass(frozen=True, slots=True)
class ConditionTerm:
    """One term of a list in an If header (RFC 4918 10.4): a lock token or an entity tag, perhaps negated."""

    negated: bool
    is_token: bool
    value: str


@dataclass(frozen=True, slots=True)
class ConditionList:
    """Terms that must all hold of the resource at `path` (None: of the request's own)."""

    path: Path | None
    terms: tuple[ConditionTerm, ...]


@dataclass(frozen=True, slots=True)
class Conditions:
    """What must hold for an operation to go on, checked within its transaction.

    Of `lists` one that holds is enough. `tokens` are all lock tokens submitted. Entity tags stand as given; `*` means
    any content at all. `unmodified_since` is in microseconds, compared by the second.
    """

    if_match: tuple[str, ...] | None = None
    if_none_match: tuple[str, ...] | None = None
    lists: tuple[ConditionList, ...] = ()
    tokens: frozenset[str] = frozenset()
    unmodified_since: int | None = None


NO_CONDITIONS = Conditions()


class Expected(Enum):
    """What alone may go when something is deleted."""

    DOCUMENT = "document"
    EMPTY_FOLDER = "empty folder"


class Thinning(NamedTuple):
    """Which versions stay: all of the last `all_days`, the last of each day up to `daily_days`, then of each month."""

    all_days: int
    daily_days: int


@dataclass(frozen=True, slots=True)
class SpaceInfo:
    """A space as its keepers see it. `state`: 0 active, 1 frozen, 2 archived. `customer` None: the supplier's own.

    `retention_seconds`: no version younger is erased. `is_held`: nothing is. `thinning` None: all is kept for good.
    `is_lost`: its key cannot be used now, so nothing in it can be opened; it is called `~ID` meanwhile.
    """

    id: bytes
    name: str
    customer: bytes | None
    is_open: bool
    state: int
    quota_bytes: int | None
    created_at: int
    retention_seconds: int | None = None
    is_held: bool = False
    thinning: Thinning | None = None
    is_lost: bool = False


@dataclass(frozen=True, slots=True)
class Usage:
    """What a space takes, in bytes. Those of documents, versions and drafts are plain; `sealed` is what the packs hold.

    `per_day_30` and `per_day_90`: how many sealed bytes a day it grew by, of late. `full_at`: when, in microseconds,
    its quota would be used up if it went on so; None: never, or there is none.
    """

    current: int
    earlier: int
    trash: int
    drafts: int
    sealed: int
    quota: int | None
    per_day_30: int
    per_day_90: int
    full_at: int | None


ACTIVE, FROZEN, ARCHIVED = 0, 1, 2


class Differs(StrEnum):
    """What became of something between two moments. TOUCHED: its times or properties changed, nothing else."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"
    RENAMED = "renamed"
    MOVED = "moved"
    TOUCHED = "touched"


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that differs between two moments: `path` is where it stands, or where it stood if it does no longer.

    `was` is the path before, where that is another. Sizes are bytes, versions the document's own numbers; None where it
    did not stand.
    """

    what: Differs
    path: Path
    was: Path | None
    id: bytes
    is_folder: bool
    size_before: int | None
    size_after: int | None
    version_before: int | None
    version_after: int | None


@dataclass(frozen=True, slots=True)
class PutBack:
    """What putting back undid, or would undo: how many things of each kind, and the first of them.

    The kinds tell what had become of things since the moment: what was `added` goes to the trash, what was `removed`
    comes back, and so on. `left` are things that stay elsewhere, since one may not bring them from there.
    """

    moment: int
    counts: dict[Differs, int]
    differences: tuple[Difference, ...]
    left: int

    @property
    def is_empty(self) -> bool:
        """Whether nothing differs."""
        return not any(self.counts.values())


@dataclass(frozen=True, slots=True)
class Deleted:
    """Something in the trash: what it was when it went, when that was (µs), and through whom.

    A folder went with all in it, which is not told of apart. `replaced` is where the document stands that it was moved
    over, if it was and that is seen.
    """

    id: bytes
    name: str
    path: Path
    is_folder: bool
    size: int
    version: int
    at: int
    by: str
    replaced: Path | None


@dataclass(frozen=True, slots=True)
class Finding:
    """Something stored that does not hold: where, and what."""

    where: str
    what: str
