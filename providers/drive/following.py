"""What was found once, found again by its identity: it is the same wherever in its space it stands by now."""

from __future__ import annotations

from providers.catalogue.change import Lineage
from providers.catalogue.lineage import links_of
from providers.drive.places import Place
from providers.drive.transaction import Look
from providers.errors import NotAFolder, NotFound
from providers.model import ARCHIVED
from providers.paths import ARCHIVE, Path


def followed(look: Look, path: Path, node: bytes) -> Place:
    """Return where `node`, found at `path` before, stands by now. Raises NotFound if nowhere that may be seen.

    If it took back another name, its bytes may have stayed at `path`, as a document of their own: it is that one then.
    """
    place = _at(look, path)
    if place is not None and (place.node.id == node or _stayed(look, place, node)):
        return place
    standing = look.storage.tree.by_id(look.connection, node)
    chain = () if standing is None else look.storage.tree.ancestry(look.connection, standing)
    info = look.sight.spaces.get(chain[0].space) if chain else None
    if info is None:
        raise NotFound
    shown = (ARCHIVE, look.sight.shown[info.id]) if info.state == ARCHIVED else (look.sight.shown[info.id],)
    names = [look.resolver.shown_name(look.storage.tree, chain[:count], None) for count in range(2, len(chain) + 1)]
    # What lies on the way there may be hidden: the names of a chain are but a guess at how it is reached.
    place = _at(look, Path((*shown, *names)))
    if place is None or place.node.id != node:
        raise NotFound
    return place


def _stayed(look: Look, place: Place, node: bytes) -> bool:
    links = () if place.is_past or place.node.is_folder else links_of(look.connection, place.node.id, 1, 1)
    return any(link.kind == Lineage.SHARES and link.other == node for link in links)


def _at(look: Look, path: Path) -> Place | None:
    try:
        found = look.find(path)
    except (NotFound, NotAFolder):
        return None
    return found if isinstance(found, Place) else None
