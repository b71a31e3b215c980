"""Leaks to plant: each is a slip that somebody could make, and lets a buyer notice its rival."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import func, select

import providers.audit.leaf
import providers.drive.drive
import providers.drive.locking
import providers.drive.quotas
import providers.drive.uploads
import server.webdav.app
from auth.rights import Principal
from config.clock import SECOND_US
from providers import tables
from providers.drive.places import Resolver
from providers.drive.sight import Sight, Sights
from providers.drive.transaction import Look
from providers.errors import Forbidden
from providers.locks import token_of
from providers.model import Item

Plant = Callable[[pytest.MonkeyPatch], None]


def ids_count(patch: pytest.MonkeyPatch) -> None:
    """Ids of versions, and so their ETags, are numbers of one series for all."""
    series = itertools.count(1)
    patch.setattr(providers.drive.uploads, "new_id", lambda: next(series).to_bytes(16, "big"))


def quota_of_all(patch: pytest.MonkeyPatch) -> None:
    """Whoever sees a space sees how much is stored in it."""
    patch.setattr(providers.drive.quotas, "_sees_whole", lambda look, place: True)


def owners_of_locks(patch: pytest.MonkeyPatch) -> None:
    """A lock on the same name in another's lane is shown, with its owner."""
    shown = providers.drive.locking.locks

    def leaky(look: Look, path: Any) -> list[Any]:
        place = look.place(path)
        above = place.chain[-2].id if len(place.chain) > 1 else b""
        held = [lock for lock in look.storage.locks.in_folder(above) if lock.slot.folded == place.node.folded]
        foreign = [lock for lock in held if lock.slot.lane != place.node.lane]
        told = providers.drive.locking.shown
        return shown(look, path) + [
            replace(told(look, lock, path), owner=look.storage.locks.owner(lock)) for lock in foreign
        ]

    patch.setattr(providers.drive.locking, "locks", leaky)


def count_in_a_listing(patch: pytest.MonkeyPatch) -> None:
    """A folder tells how many children it has, unseen ones included."""
    listing = providers.drive.drive.Drive.listing

    def leaky(self: Any, path: Any) -> tuple[Item, list[Item]]:
        item, children = listing(self, path)
        with self._storage.database.read() as connection:
            chosen = select(func.count()).where(tables.entry.c.parent == item.id)
            count = connection.execute(chosen).scalar_one()
        return item._replace(name=f"{item.name} ({count})"), children

    patch.setattr(providers.drive.drive.Drive, "listing", leaky)


def number_in_a_header(patch: pytest.MonkeyPatch) -> None:
    """Every answer carries how many answers there have been."""
    send, series = server.webdav.app.send, itertools.count(1)

    def leaky(answer: Any, start_response: Any) -> Any:
        numbered = answer._replace(headers=[*answer.headers, ("X-Request-Number", str(next(series)))])
        return send(numbered, start_response)

    patch.setattr(server.webdav.app, "send", leaky)


def forbidden_for_hidden(patch: pytest.MonkeyPatch) -> None:
    """What stands but may not be seen is forbidden, what does not stand is not found."""
    child = Resolver.child

    def leaky(self: Resolver, tree: Any, chain: Any, name: str, *rest: Any) -> Any:
        found = child(self, tree, chain, name, *rest)
        if found is None:
            for lane in tree.lanes(self.connection, chain[-1]):
                if tree.in_lane(self.connection, chain[-1], lane, name) is not None:
                    raise Forbidden
        return found

    patch.setattr(Resolver, "child", leaky)


def forbidden_for_foreign_spaces(patch: pytest.MonkeyPatch) -> None:
    """The id of a space that stands, but is another's, is forbidden."""
    space = Resolver._space

    def leaky(self: Resolver, name: str, *, archived: bool) -> Any:
        standing = self.connection.execute(select(tables.space.c.id)).scalars()
        if name.startswith("~") and any(name[1:] == each.hex() for each in standing):
            raise Forbidden
        return space(self, name, archived=archived)

    patch.setattr(Resolver, "_space", leaky)


def lanes_in_listings(patch: pytest.MonkeyPatch) -> None:
    """A listing shows all lanes."""
    patch.setattr(Sight, "sees_below", lambda self, chain, at: lambda child: True)


def foreign_tokens_known(patch: pytest.MonkeyPatch) -> None:
    """To let go a lock that is another's is forbidden, one that never was is not found."""
    unlock = providers.drive.locking.unlock

    def leaky(session: Any, path: Any, token: str) -> None:
        with session.storage.database.transient_read() as connection:
            if token_of(token) in set(connection.execute(select(tables.lock.c.token)).scalars()):
                raise Forbidden
        unlock(session, path, token)

    patch.setattr(providers.drive.locking, "unlock", leaky)


def dates_of_folders(patch: pytest.MonkeyPatch) -> None:
    """A folder's date moves with every change in it, unseen ones included."""
    item_of = Look.item_of

    def leaky(self: Look, path: Any, name: str, node: Any, *, is_past: bool = False) -> Item:
        item = item_of(self, path, name, node, is_past=is_past)
        return item._replace(modified=item.modified + node.revision * SECOND_US) if node.is_folder else item

    patch.setattr(Look, "item_of", leaky)


def suffixes_over_all(patch: pytest.MonkeyPatch) -> None:
    """Spaces of one name are told apart by numbers given over all customers."""
    shown = Sights._shown

    def leaky(self: Sights, connection: Any, principal: Principal, spaces: Any) -> tuple[dict[bytes, str], bool]:
        names, is_given = shown(self, connection, principal, self.space_infos(connection, principal.epoch))
        return {space: name for space, name in names.items() if space in spaces}, is_given

    patch.setattr(Sights, "_shown", leaky)


def changes_in_streams(patch: pytest.MonkeyPatch) -> None:
    """A party's stream tells the numbers of the space's changes."""
    patch.setattr(providers.audit.leaf, "SUPPLIER_FACTS", frozenset())


LEAKS: list[Plant] = [
    ids_count,
    quota_of_all,
    owners_of_locks,
    count_in_a_listing,
    number_in_a_header,
    forbidden_for_hidden,
    forbidden_for_foreign_spaces,
    lanes_in_listings,
    foreign_tokens_known,
    dates_of_folders,
    suffixes_over_all,
    changes_in_streams,
]
