"""MKCOL, DELETE, COPY and MOVE (RFC 4918 9.3, 9.6, 9.8, 9.9)."""

from __future__ import annotations

from providers.errors import NotAFolder, TargetExists
from providers.model import Item
from providers.paths import Path
from server.webdav.exchange import MTIME_ACCEPTED, Answer, Exchange, done
from server.webdav.refusals import BadDestination, BadRequest, UnsupportedBody


def mkcol(exchange: Exchange) -> Answer:
    """Answer 201."""
    if exchange.environ["wsgi.input"].read(1):
        raise UnsupportedBody
    if exchange.path.is_root:
        raise TargetExists
    exchange.drive.make_folder(exchange.path, exchange.conditions)
    return done(exchange.path, created=True, is_folder=True)


def delete(exchange: Exchange) -> Answer:
    """Answer 204. A folder goes with all that is in it, or not at all."""
    _require_whole(exchange, "a folder is deleted whole")
    exchange.drive.delete(exchange.path, exchange.conditions)
    return Answer("204 No Content", [])


def copy(exchange: Exchange) -> Answer:
    """Answer 201 where nothing stood, else 204. Depth 0 copies a folder without what is in it."""
    if exchange.depth not in ("0", "infinity"):
        raise BadRequest(why="its depth is none that a copy can have")
    goal, overwrite = _goal(exchange), _overwrite(exchange)
    made, created = exchange.drive.copy(
        exchange.path,
        goal,
        overwrite=overwrite,
        deep=exchange.depth != "0",
        modified=exchange.modified,
        conditions=exchange.conditions,
    )
    return _done(exchange, made, created)


def move(exchange: Exchange) -> Answer:
    """Answer 201 where nothing stood, else 204."""
    _require_whole(exchange, "a folder is moved whole")
    goal, overwrite = _goal(exchange), _overwrite(exchange)
    made, created = exchange.drive.move(
        exchange.path, goal, overwrite=overwrite, modified=exchange.modified, conditions=exchange.conditions
    )
    return _done(exchange, made, created)


def _require_whole(exchange: Exchange, why: str) -> None:
    """Refuse a part of a folder, with `why`, and what is no folder but was spelled as one."""
    if exchange.depth not in ("0", "1", "infinity"):
        raise BadRequest(why="its depth is none")
    is_part = exchange.depth != "infinity"
    if not is_part and not exchange.ends_in_slash:
        return
    is_folder = exchange.drive.stat(exchange.path).is_folder
    if is_part and is_folder:
        raise BadRequest(why=why)
    if exchange.ends_in_slash and not is_folder:
        raise NotAFolder


def _done(exchange: Exchange, made: Item, created: bool) -> Answer:
    headers = [] if exchange.modified is None or made.is_folder else [MTIME_ACCEPTED]
    return done(made.path, created, headers, is_folder=made.is_folder)


def _overwrite(exchange: Exchange) -> bool:
    overwrite = (exchange.header("HTTP_OVERWRITE") or "T").strip().upper()
    if overwrite not in ("T", "F"):
        raise BadRequest(why="its Overwrite header is neither T nor F")
    return overwrite == "T"


def _goal(exchange: Exchange) -> Path:
    destination = exchange.header("HTTP_DESTINATION")
    if destination is None:
        raise BadRequest(why="it names no destination")
    path = exchange.origins.path_in(destination.strip())
    if path is None:
        raise BadDestination
    return path
