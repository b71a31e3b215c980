"""How documents in the lanes of other parties are named: `Bid.pdf` of Bygg AB is shown as `Bid (Bygg AB).pdf`.

Where that name is too long, or others go by it too, a mark of the document stands in it, and of its own name only as
much as fits: `Bid (Bygg AB ~3f2a91c0).pdf`. What a name that was given may mean is found by making these names anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from config.ids import id_text
from providers.paths import NAME_BYTES_MAX, cut, fits, fold, presentable

#: How much of an organisation's name stands in a document's, and what longer endings are part of the stem.
LABEL_BYTES_MAX = 100
ENDING_BYTES_MAX = 32
_MARK_DIGITS = 8


@lru_cache(maxsize=4096)
def label_of(organisation: str) -> str:
    """Return the name of an organisation as it may stand in a document's."""
    return cut(presentable(organisation), LABEL_BYTES_MAX)


def labelled(name: str, label: str) -> str:
    """Return a document's name with its party's label before the ending; it may be too long."""
    stem, ending = _split(name)
    return f"{stem} ({label}){ending}"


def marked(name: str, label: str, node: bytes) -> str:
    """Return a document's name with its party's label and its own mark, cut so that it is not too long."""
    stem, ending = _split(name)
    tail = f" ({_with_mark(label, node)}){ending}"
    return cut(stem, NAME_BYTES_MAX - len(tail.encode("utf-8"))) + tail


def told(name: str, label: str, node: bytes) -> str:
    """Return the name of a document by itself, with no regard to what goes by the same name."""
    plain = labelled(name, label)
    return plain if fits(plain) else marked(name, label, node)


def readings(name: str) -> list[tuple[str, str]]:
    """Return what a name that was given may be made of: for each label, folded, the name without it."""
    found = []
    for stem, ending in {_split(name), (name, "")}:
        if stem.endswith(")"):
            for opening in _openings(stem):
                label, plain = stem[opening + 2 : -1], stem[:opening] + ending
                if labelled(plain, label) == name:
                    found.append((fold(label), plain))
    return found


def may_be_marked(read: list[tuple[str, str]]) -> bool:
    """Return whether `marked` can have made a name that is read so."""
    return any(label[-_MARK_DIGITS - 2 : -_MARK_DIGITS] == " ~" for label, _ in read)


def unlabelled(name: str, label: str, node: bytes) -> str | None:
    """Return what a name that was given is without the label of the document's party; None if it does not bear it."""
    wanted = (fold(label), fold(_with_mark(label, node)))
    return next((plain for read, plain in readings(name) if read in wanted), None)


def _with_mark(label: str, node: bytes) -> str:
    return f"{label} ~{id_text(node)[:_MARK_DIGITS]}"


def _split(name: str) -> tuple[str, str]:
    """Return the stem, which is never empty, and the ending with its dot."""
    stem, dot, ending = name.rpartition(".")
    if not stem or len(ending.encode("utf-8")) > ENDING_BYTES_MAX:
        return name, ""
    return stem, dot + ending


def _openings(stem: str) -> Iterator[int]:
    """Yield where a label may begin, the shortest first; something stands before it."""
    at = stem.rfind(" (")
    while at > 0:
        yield at
        at = stem.rfind(" (", 0, at)
