"""All that makes up the past of a document, passed over or shown, its own or shared: what it can take along."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from sqlalchemy import Connection

from providers.catalogue import contents
from providers.catalogue.change import Lineage
from providers.catalogue.lineage import links_of, parts_of, passing_over

#: Ways of coming that a version is shown to have come in, besides being restored or copied.
_TOLD = (Lineage.CONTINUED, Lineage.REPLACED, Lineage.SPLIT)


class Held(NamedTuple):
    """A version: its row, the kind of the link that tells how it came, if any does, whether its history shows it."""

    row: Mapping[Any, Any]
    came: Lineage | None
    is_shown: bool


def whole_past(connection: Connection, node: bytes) -> list[list[Held]]:
    """Return all that makes up the past of `node`, oldest first: by document, its versions from the first on.

    One after another they bear the numbers by which the history of `node` shows them, without a gap.
    """
    found: list[list[Held]] = []
    for part in parts_of(connection, node):
        rows, links = contents.versions(connection, part.node)[: part.last], links_of(connection, part.node)
        passed = passing_over(connection, part.node, links)
        came = {link.number: Lineage(link.kind) for link in links if link.kind in _TOLD}
        seen = [passed is None or not passed(row["number"], row["change"]) for row in rows]
        found.append([Held(row, came.get(row["number"]), shown) for row, shown in zip(rows, seen, strict=True)])
    return found
