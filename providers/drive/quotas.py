"""What is told of a space's use (RFC 4331), and to whom: a figure moved by what one does not see would tell of it."""

from __future__ import annotations

from auth.roles import Action
from providers.drive.places import Container, Place
from providers.drive.transaction import Look
from providers.model import ARCHIVED, Quota


def quota_of(look: Look, place: Place) -> Quota | None:
    """Return the use of a space to those who see the whole of it."""
    if not _sees_whole(look, place):
        return None
    used = look.sealed_bytes(place.space.id)
    limit = place.space.quota_bytes
    return Quota(used, None if limit is None else max(0, limit - used))


def quota_above(look: Look, container: Container) -> Quota | None:
    """Return what the spaces that are seen whole come to together; without a limit where any has none."""
    if container.kind != "root" or container.moment is not None:
        return None
    told = []
    for info in look.sight.spaces.values():
        root = look.storage.tree.root(look.connection, info.id)
        if root is None or info.state == ARCHIVED:
            continue
        found = quota_of(look, Place(container.path, info, (root,), look.storage.tree, None))
        told += [found] if found is not None else []
    if not told:
        return None
    left = [each.available for each in told if each.available is not None]
    return Quota(sum(each.used for each in told), sum(left) if len(left) == len(told) else None)


def _sees_whole(look: Look, place: Place) -> bool:
    root = place.chain[:1]
    if not look.sight.decide(Action.MAKE_FOLDER, root, look.at).allowed and not look.principal.is_supplier:
        return False
    if not look.sight.decide(Action.READ, root, look.at).allowed:
        return False
    _, breaks = look.storage.audiences.readers(look.connection, look.principal.epoch, place.space.id)
    return breaks <= look.principal.rights.grants.keys()
