"""What a program left behind as it saved, and nobody misses: kept like all else, told of where all is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from providers.catalogue.change import Lineage
from providers.catalogue.contents import is_written_by_others
from providers.catalogue.lineage import Link, links_of
from providers.catalogue.nodes import Node
from providers.catalogue.standing import Made, Standing, changes_made
from providers.drive.transaction import Look

#: Of how many stays the beginning and the end are asked for at once.
_BATCH = 100

#: The first and the last entry of something that stood without a break, under whatever names.
_Stay = tuple[Standing, Standing]


def is_leftover(look: Look, node: Node, stood: Sequence[Standing], made: Mapping[int, Made], went: Link | None) -> bool:
    """Return whether nobody misses what is gone: it has nothing of its own, or was but a step of a program that saved.

    `node` is what it held at its end; `stood` are its entries, oldest first; `made` has the changes that opened the
    first of them and closed the last; `went` tells how its content went on elsewhere, if it did.
    """
    if node.is_folder:
        return _was_brief(look, stood, made) and not look.storage.tree.children(look.connection, node)
    if not node.version or (went is not None and went.kind == Lineage.CONTINUED):
        return True
    kinds = {each.kind for each in links_of(look.connection, node.id)}
    if Lineage.MOVED in kinds:
        return False  # it came with a past of its own
    return (Lineage.SHARES in kinds and node.version == 1) or _was_brief(look, stood, made)


def _was_brief(look: Look, stood: Sequence[Standing], made: Mapping[int, Made]) -> bool:
    """Return whether one principal alone made it, wrote it and took it away, and it never stood for the window.

    However often: a database makes its journal anew for each of its commits, and a name that is taken again soon keeps
    its document, so that the journals of a whole day are one document that never stood for long.
    """
    author = made[stood[0].from_change].principal if stood[0].from_change in made else None
    stays = list(_stays(stood))
    known = dict(made)
    for end in range(len(stays), 0, -_BATCH):
        batch = stays[max(0, end - _BATCH) : end]
        wanted = {number for stay in batch for number in _ends(stay)} - known.keys()
        known |= changes_made(look.connection, stood[0].space, wanted) if wanted else {}
        if not all(_was_short(look, stay, known, author) for stay in batch):
            return False
    return author is not None and not is_written_by_others(look.connection, stood[0].node, author)


def _stays(stood: Sequence[Standing]) -> Iterator[_Stay]:
    """Yield when it stood without a break: a rename, or a move, is none."""
    first, last = stood[0], stood[0]
    for held in stood[1:]:
        if held.from_change != last.to_change:
            yield first, last
            first = held
        last = held
    yield first, last


def _ends(stay: _Stay) -> tuple[int, int]:
    first, last = stay
    assert last.to_change is not None
    return first.from_change, last.to_change


def _was_short(look: Look, stay: _Stay, made: Mapping[int, Made], author: bytes | None) -> bool:
    begun, ended = (made.get(number) for number in _ends(stay))
    if begun is None or ended is None or not begun.principal == ended.principal == author:
        return False
    return ended.at - begun.at < look.storage.identity_window_us
