"""All that makes up the past of a document, passed over or shown, its own or shared: what it can take along."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from sqlalchemy import Connection

from providers.catalogue import contents
from providers.catalogue.change import Lineage
from providers.catalogue.lineage import GENERATIONS_MAX, links_of, links_to

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
    parts: list[list[Held]] = []
    last: int | None = None
    for _ in range(GENERATIONS_MAX):
        rows, links = contents.versions(connection, node)[:last], links_of(connection, node)
        hidden = {link.other_number for link in links if link.kind == Lineage.FILLED}
        for cut in links_to(connection, node, Lineage.SPLIT):
            after = (row for row in rows if row["number"] >= cut.other_number)
            hidden.update(row["number"] for row in after if row["change"] < cut.change)
        came = {link.number: Lineage(link.kind) for link in links if link.kind in _TOLD}
        parts.append([Held(row, came.get(row["number"]), row["number"] not in hidden) for row in rows])
        shares = next((link for link in links if link.kind == Lineage.SHARES), None)
        if shares is None:
            break
        node, last = shares.other, shares.other_number - 1
    return parts[::-1]
