"""What is seen in the folders above spaces: the root, `Archive`, `.history` and its days."""

from __future__ import annotations

from providers.drive.history import days_seen
from providers.drive.places import Container
from providers.drive.transaction import Look
from providers.errors import DriveError
from providers.model import ARCHIVED, Item
from providers.paths import ARCHIVE


def contained(look: Look, container: Container) -> list[Item]:
    """Return what is seen in a folder above spaces."""
    if container.kind == "days":
        return [look.item(look.find(container.path.joined(day))) for day in days_seen(look, container.space)]
    archived = container.kind == "archive"
    shown = sorted(look.sight.shown.items(), key=lambda pair: pair[1].casefold())
    items = []
    for space, name in shown:
        if (look.sight.spaces[space].state == ARCHIVED) != archived:
            continue
        try:
            items.append(look.item(look.find(container.path.joined(name))))
        except DriveError:
            continue  # it did not stand at that moment
    if container.kind == "root" and container.moment is None and look.resolver.archive_seen():
        items.append(look.container(container.path.joined(ARCHIVE)))
    return items
