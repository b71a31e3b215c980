"""What may be erased, by whom it was asked, and what became of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from auth.keyring import Keyring


class Kind(IntEnum):
    """What an erasure takes, stored by number. THINNING is what a space's own rule lets go of."""

    VERSION = 1
    DOCUMENT = 2
    SPACE = 3
    CUSTOMER = 4
    THINNING = 5


class State(IntEnum):
    """Where an erasure stands, stored by number."""

    REQUESTED = 0
    DONE = 1
    CANCELLED = 2


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A version that holds the same content as an erased one: of which document (hexadecimal), under its own number."""

    document: str
    number: int


@dataclass(frozen=True, slots=True)
class Words:
    """What of an erasure is sealed: who asked and who approved, why, where it stood until it was done.

    `asked_id` is the principal's, in hexadecimal: it must be another's than the approver's. `subject` repeats what the
    row says in the clear, so that nobody can turn what one person asked for into something else. `paths` are those a
    document stood at, as within its space, newest first; they go once it is erased.
    """

    reason: str
    asked_by: str
    asked_id: str
    subject: str
    approved_by: str = ""
    paths: tuple[str, ...] = ()
    elsewhere: tuple[Elsewhere, ...] = ()

    def sealed(self, keyring: Keyring, erasure: bytes) -> bytes:
        """Return them as they are stored."""
        fields = {name: getattr(self, name) for name in _FIELDS}
        fields["paths"] = list(self.paths)
        fields["elsewhere"] = [[each.document, each.number] for each in self.elsewhere]
        plain = json.dumps({"v": 1, **fields}, ensure_ascii=False).encode("utf-8")
        return keyring.installation().general.seal(b"erasure" + erasure, plain)

    @classmethod
    def opened(cls, keyring: Keyring, erasure: bytes, sealed: bytes) -> Words:
        """Return what `sealed` sealed. Raises SealBroken."""
        fields = json.loads(keyring.installation().general.open(b"erasure" + erasure, sealed))
        kept = {name: fields[name] for name in _FIELDS}
        elsewhere = tuple(Elsewhere(*each) for each in fields["elsewhere"])
        return cls(**kept, paths=tuple(fields["paths"]), elsewhere=elsewhere)


_FIELDS = ("reason", "asked_by", "asked_id", "subject", "approved_by")


@dataclass(frozen=True, slots=True)
class Erasure:
    """One thing that was asked to be erased. Times are microseconds; ids 16 bytes, None where they do not apply."""

    id: bytes
    kind: Kind
    state: State
    space: bytes | None
    customer: bytes | None
    node: bytes | None
    number: int | None
    requested_at: int
    done_at: int | None
    change: int | None
    swept_at: int | None
    words: Words = field(repr=False)

    @property
    def subject(self) -> str:
        """What is erased, as one text of ids."""
        return subject_of(self.kind, self.space, self.customer, self.node, self.number)


def subject_of(kind: Kind, space: bytes | None, customer: bytes | None, node: bytes | None, number: int | None) -> str:
    """Return what is erased, as one text of ids."""
    return f"{kind}/{(space or b'').hex()}/{(customer or b'').hex()}/{(node or b'').hex()}/{number or 0}"


def erasure(keyring: Keyring, row: Mapping[Any, Any]) -> Erasure:
    """Return what a row of `erasure` says. Raises SealBroken if it says another thing than was asked for."""
    fields = {name: row[name] for name in _COLUMNS}
    words = Words.opened(keyring, row["id"], row["words"])
    return Erasure(kind=Kind(row["kind"]), state=State(row["state"]), words=words, **fields)


_COLUMNS = ("id", "space", "customer", "node", "number", "requested_at", "done_at", "change", "swept_at")
