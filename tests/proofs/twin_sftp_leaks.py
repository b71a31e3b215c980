"""Leaks to plant over SFTP: each is a slip that somebody could make, and lets a buyer notice its rival."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import func, select

import auth.tables
import server.sftp.engine.engine
import server.sftp.engine.extensions
import server.sftp.engine.files
import server.sftp.engine.handles
import server.sftp.engine.names
from config.clock import now_us
from providers import tables
from providers.drive import Drive
from server.sftp.engine import Limits, listing, wire
from tests.proofs import twin_leaks

Plant = Callable[[pytest.MonkeyPatch], None]


def _count(drive: Drive, table: Any) -> int:
    with drive._storage.database.read() as connection:
        return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


def handles_of_all(patch: pytest.MonkeyPatch) -> None:
    """Handles are numbers of one series for all sessions."""
    series = itertools.count(1)

    def leaky(self: Any, handle: Any) -> bytes:
        name = next(series).to_bytes(4, "big")
        self._open[name] = handle
        return name

    patch.setattr(server.sftp.engine.handles.Handles, "add", leaky)


def _in_long_names(patch: pytest.MonkeyPatch, shown: Callable[[Drive], tuple[bytes, bytes]]) -> None:
    listed = server.sftp.engine.names._listed

    def leaky(drive: Drive, *given: Any) -> Any:
        handle = listed(drive, *given)
        old, new = shown(drive)
        first, *others = (page._replace(body=page.body.replace(old, new)) for page in (handle.page, *handle.pages))
        handle.page, handle.pages = first, iter(others)
        return handle

    patch.setattr(server.sftp.engine.names, "_listed", leaky)


def link_counts(patch: pytest.MonkeyPatch) -> None:
    """The column of links tells how many names there are, unseen ones included."""
    _in_long_names(patch, lambda drive: (b"    1 mell", b"%5d mell" % _count(drive, tables.entry)))


def groups_in_long_names(patch: pytest.MonkeyPatch) -> None:
    """The column of the group tells how many have a grant."""
    _in_long_names(patch, lambda drive: (b"mellanrum mell", b"mellanrum %04d" % _count(drive, auth.tables.grants)))


def free_names(patch: pytest.MonkeyPatch) -> None:
    """statvfs tells how many more documents there is room for, in all spaces together."""
    tell = server.sftp.engine.extensions._tell_room

    def leaky(engine: Any, request: int, path: Any, **given: Any) -> None:
        patch.setattr(server.sftp.engine.extensions, "_COUNT", (1 << 32) - _count(engine.drive, tables.version))
        tell(engine, request, path, **given)

    patch.setattr(server.sftp.engine.extensions, "_tell_room", leaky)


def numbered_sentences(patch: pytest.MonkeyPatch) -> None:
    """A refusal tells its number in the server's log."""
    told, series = server.sftp.engine.engine.told, itertools.count(1)

    def leaky(request: int, error: BaseException) -> bytes:
        number = next(series)
        told(request, error)
        return wire.status(request, wire.Code.FAILURE, f"{error} (no. {number})".encode())

    patch.setattr(server.sftp.engine.engine, "told", leaky)


def limits_of_all(patch: pytest.MonkeyPatch) -> None:
    """The limits told fall with what others have stored."""

    def leaky(engine: Any, request: int, fields: Any) -> None:
        left = Limits().handles_max - _count(engine.drive, tables.version)
        engine.send(wire.answer(wire.Type.EXTENDED_REPLY, request, left.to_bytes(32, "big")))

    patch.setitem(server.sftp.engine.extensions.HANDLERS, b"limits@openssh.com", leaky)


def drafts_of_all(patch: pytest.MonkeyPatch) -> None:
    """Interrupted uploads are shown to whoever sees the folder."""
    listed = server.sftp.engine.names._listed

    def leaky(drive: Drive, path: Any, mine: list[Any], bytes_max: int) -> Any:
        count = _count(drive, tables.draft)
        handle = listed(drive, path, mine, bytes_max)
        if count:
            more = listing.pages([(f"draft {count}", handle.item)], bytes_max, now_us() // 1_000_000)
            handle.pages = itertools.chain(handle.pages, more)
        return handle

    patch.setattr(server.sftp.engine.names, "_listed", leaky)


def exclusive_over_all(patch: pytest.MonkeyPatch) -> None:
    """What is made exclusively fails where another's lane has the name."""
    begin = server.sftp.engine.files._begin_edit

    def leaky(drive: Drive, path: Any, standing: Any, mode: Any, **given: Any) -> Any:
        above = drive.stat(path.parent).id
        with drive._storage.database.read() as connection:
            chosen = select(func.count()).where(tables.entry.c.parent == above)
            taken = connection.execute(chosen).scalar_one()
        if mode.is_exclusive and taken:
            raise server.sftp.engine.files.TargetExists
        return begin(drive, path, standing, mode, **given)

    patch.setattr(server.sftp.engine.files, "_begin_edit", leaky)


def order_of_making(patch: pytest.MonkeyPatch) -> None:
    """A listing begins at another name for each change there was, unseen ones included."""
    listing_of = Drive.listing

    def leaky(self: Drive, path: Any) -> Any:
        folder, items = listing_of(self, path)
        turn = _count(self, tables.change) % max(len(items), 1)
        return folder, [*items[turn:], *items[:turn]]

    patch.setattr(Drive, "listing", leaky)


def spaces_by_their_names(patch: pytest.MonkeyPatch) -> None:
    """REALPATH answers the id of a space that stands otherwise than one that never was."""
    tell = server.sftp.engine.names.tell_path

    def leaky(engine: Any, request: int, path: Any) -> None:
        with engine.drive._storage.database.read() as connection:
            standing = {each.hex() for each in connection.execute(select(tables.space.c.id)).scalars()}
        if path.segments and path.segments[0].lstrip("~") in standing:
            raise server.sftp.engine.names.NotAFolder
        tell(engine, request, path)

    patch.setattr(server.sftp.engine.names, "tell_path", leaky)


LEAKS: list[Plant] = [
    handles_of_all,
    link_counts,
    groups_in_long_names,
    free_names,
    numbered_sentences,
    limits_of_all,
    drafts_of_all,
    exclusive_over_all,
    order_of_making,
    spaces_by_their_names,
    twin_leaks.quota_of_all,
    twin_leaks.forbidden_for_hidden,
    twin_leaks.forbidden_for_foreign_spaces,
    twin_leaks.lanes_in_listings,
    twin_leaks.dates_of_folders,
    twin_leaks.suffixes_over_all,
    twin_leaks.changes_in_streams,
]
