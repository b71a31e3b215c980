"""From a path to what stands there, for one principal: the root, containers above spaces, nodes, and the past.

Every step stops alike at a name that does not stand and at one that may not be seen.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta, tzinfo

from sqlalchemy import Connection

from auth.directory import Directory
from auth.roles import Action
from config.clock import SECOND_US
from config.ids import NOBODY, id_from_text
from providers.catalogue import noise
from providers.catalogue.nodes import Node, Tree
from providers.catalogue.noise import NoiseFile
from providers.catalogue.past import PastTree, number_at
from providers.drive import labels
from providers.drive.known import Found, Known
from providers.drive.sight import Sight
from providers.errors import NotAFolder, NotFound, ParentMissing
from providers.model import ARCHIVED, SpaceInfo
from providers.noise import is_noise_name
from providers.paths import ARCHIVE, BY_ID, HISTORY, Path, fold

_DAY = re.compile(r"\d{4}-\d\d-\d\d\Z")
_MOMENT = re.compile(r"(\d{4}-\d\d-\d\d)[tT](\d{6})(\.\d{1,6})?[zZ]\Z")


@dataclass(frozen=True, slots=True)
class Container:
    """A folder above spaces, which holds no documents: the root, `Archive`, `.history` or a moment in it.

    `space` is set where the container is the `.history` of one space. `moment` is in microseconds.
    """

    path: Path
    kind: str
    space: SpaceInfo | None = None
    moment: int | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """A node that stands and is seen, with the chain of nodes from its space's root; in the past if `moment` is set."""

    path: Path
    space: SpaceInfo
    chain: tuple[Node, ...]
    tree: Tree | PastTree
    moment: int | None

    @property
    def node(self) -> Node:
        """The node itself."""
        return self.chain[-1]

    @property
    def space_path(self) -> Path:
        """The path at which its space stands."""
        return Path(self.path.segments[: len(self.path.segments) - len(self.chain) + 1])

    def bearing(self, node: Node) -> Place:
        """Return the place of the live tree, with `node` standing there."""
        return Place(self.path, self.space, (*self.chain[:-1], node), self.tree, None)

    @property
    def is_noise(self) -> bool:
        """Whether this is noise: it came to stand by no change."""
        return self.node.from_change == 0

    @property
    def is_past(self) -> bool:
        """Whether this is how it stood at an earlier moment."""
        return self.moment is not None


class Resolver:
    """Finds places for one sight at one moment, through one connection."""

    def __init__(
        self,
        connection: Connection,
        sight: Sight,
        tree: Tree,
        directory: Directory,
        at: int,
        zone: tzinfo,
        known: Known,
        numbers: Mapping[bytes, int | None],
        *,
        writes: bool,
    ) -> None:
        self.connection = connection
        self.sight = sight
        self.tree = tree
        self.directory = directory
        self.at = at
        self.zone = zone
        self._known = known
        self._writes = writes
        #: As of which changes spaces are looked at. A writer knows that of the spaces it holds, and asks for no other.
        self._numbers = dict(numbers)

    def known(self, path: Path) -> Found | None:
        """Return what was found at `path` before, if it would be found again."""
        found = self._known.found(self.sight.serial, path.segments)
        if found is None:
            return None
        number = self.number(found.place.space.id)
        if number is None:
            return None
        if number == found.number:
            return found
        stepped = self._stepped(found, number)
        if stepped is not None:
            return stepped
        place = self._as_now(found.place)
        if place is None:
            self._known.drop(self.sight.serial, path.segments)
            return None
        return self._found(number, place)

    def _stepped(self, found: Found, number: int) -> Found | None:
        """Return what was found as it is after changes of this process that left it alone; None if others came too."""
        place, revised = found.place, self._known.revisions(found, number)
        if revised is None:
            return None
        if revised:
            chain = tuple([node._replace(revision=revised.get(node.id, node.revision)) for node in place.chain])
            place = replace(place, chain=chain)
        made = Found(number, place, found.item, found.opening)
        if not self._writes:
            self._known.keep(self.sight.serial, made)
        return made

    def _as_now(self, place: Place) -> Place | None:
        """Return a place as it is after other changes, if it can be told without looking at each name on the way.

        What has its name in the common lane is what is found by that name. In another it may have been hidden since.
        """
        if any(node.lane for node in place.chain):
            return None
        chain = self.tree.as_now(self.connection, place.chain)
        return None if chain is None else replace(place, chain=chain)

    def _found(self, number: int, place: Place) -> Found:
        """Remember a place; but of what is not committed nothing."""
        found = Found(number, place)
        if not self._writes:
            self._known.keep(self.sight.serial, found)
        return found

    def number(self, space: bytes) -> int | None:
        """Return the number of the space's newest change in this snapshot; None where nothing known counts."""
        try:
            return self._numbers[space]
        except KeyError:
            number = self._numbers[space] = None if self._writes else self.tree.number(self.connection, space)
            if number is not None:
                self._known.used(self.sight.principal.id, space)
            return number

    def ask_anew(self) -> None:
        """Rely on nothing that is known from now on: something is about to be changed."""
        self._numbers.clear()

    def find(self, path: Path) -> Place | Container:
        """Return what stands at `path`. Raises NotFound for what is absent or may not be seen, alike."""
        known = self.known(path)
        if known is not None:
            return known.place
        names = path.segments
        if not names:
            return Container(path, "root")
        moment: int | None = None
        if fold(names[0]) == HISTORY:
            if len(names) == 1:
                return Container(path, "days")
            moment = self._moment(names[1])
            if len(names) == 2:
                return Container(path, "root", moment=moment)
            names = names[2:]
        return self._below_root(path, names, moment)

    def _below_root(self, path: Path, names: tuple[str, ...], moment: int | None) -> Place | Container:
        archived = fold(names[0]) == fold(ARCHIVE) and self.archive_seen()
        if archived:
            names = names[1:]
            if not names:
                return Container(path, "archive", moment=moment)
        space = self._space(names[0], archived=archived)
        names = names[1:]
        if names and moment is None and fold(names[0]) == HISTORY and self._may_look_back(space):
            if len(names) == 1:
                return Container(path, "days", space=space)
            moment = self._moment(names[1])
            names = names[2:]
        return self._within(path, space, names, moment)

    def _space(self, name: str, *, archived: bool) -> SpaceInfo:
        wanted: bytes | None
        if name.startswith(BY_ID):
            wanted = id_from_text(fold(name[1:]))
        else:
            wanted = self.sight.by_name.get((archived, fold(name)))
        info = self.sight.spaces.get(wanted) if wanted is not None else None
        if info is None or ((info.state == ARCHIVED) != archived and not name.startswith(BY_ID)):
            raise NotFound
        return info

    def archive_seen(self) -> bool:
        """Return whether any archived space is seen, and so the folder that holds them."""
        return any(info.state == ARCHIVED for info in self.sight.spaces.values())

    def _within(self, path: Path, space: SpaceInfo, names: tuple[str, ...], moment: int | None) -> Place:
        if moment is not None:
            number = number_at(self.connection, space.id, moment)
            if number is None or not self._may_look_back(space):
                raise NotFound
            return self._walked(PastTree(self.tree.names, number), path, space, names, moment)
        number = self.number(space.id)
        if number is None:
            return self._walked(self.tree, path, space, names, None)
        return self._remembered(path, space, names, number)

    def _remembered(self, path: Path, space: SpaceInfo, names: tuple[str, ...], number: int) -> Place:
        """Find a place of the live tree as one step from its folder, which may be known; remember both."""
        known = self.known(path)
        if known is not None:
            return known.place
        if not names:
            place = self._walked(self.tree, path, space, (), None)
        else:
            above = self._remembered(path.parent, space, names[:-1], number)
            if not above.node.is_folder:
                raise NotAFolder
            node = self.child(self.tree, above.chain, names[-1], None)
            if node is None:
                raise NotFound
            place = Place(path, space, (*above.chain, node), self.tree, None)
        return self._found(number, place).place

    def _walked(
        self, tree: Tree | PastTree, path: Path, space: SpaceInfo, names: tuple[str, ...], moment: int | None
    ) -> Place:
        """Find a place name by name from the root of its space."""
        root = tree.root(self.connection, space.id)
        if root is None or not self._seen((root,), moment):
            raise NotFound
        chain: tuple[Node, ...] = (root,)
        for name in names:
            if not chain[-1].is_folder:
                raise NotAFolder
            found = self.child(tree, chain, name, moment)
            if found is None:
                raise NotFound
            chain = (*chain, found)
        return Place(path, space, chain, tree, moment)

    def child(
        self,
        tree: Tree | PastTree,
        chain: tuple[Node, ...],
        name: str,
        moment: int | None,
        standing: Sequence[Node] | None = None,
    ) -> Node | None:
        """Return what is seen under `name` in the last folder of `chain`; `standing` is what `named` gave."""
        if standing is None:
            standing = tree.named(self.connection, chain[-1], name, self.sight.principal.party)
        for node in standing:
            if self._seen((*chain, node), moment):
                return node
        return self._in_foreign_lane(tree, chain, name, moment)

    def _in_foreign_lane(
        self, tree: Tree | PastTree, chain: tuple[Node, ...], name: str, moment: int | None
    ) -> Node | None:
        """Find what is shown in the last folder of `chain` with the label of its party: see `labels`."""
        read = labels.readings(name)
        if not read:
            return None
        folder, by_lane = chain[-1], {}
        for lane in tree.lanes(self.connection, folder):
            if self._is_foreign(lane):
                by_lane[lane] = self._label(lane)
        found = []
        for lane, label in by_lane.items():
            for plain in [plain for given, plain in read if given == fold(label)]:
                node = tree.in_lane(self.connection, folder, lane, plain)
                if node is not None and self._seen((*chain, node), moment):
                    found.append(node)
        if len(found) == 1:
            return found[0]
        if by_lane and labels.may_be_marked(read):
            for node in tree.listed(self.connection, folder):
                label_here = by_lane.get(node.lane)
                if label_here is not None and fold(labels.marked(node.name, label_here, node.id)) == fold(name):
                    return node if self._seen((*chain, node), moment) else None
        return None

    def _is_foreign(self, lane: bytes) -> bool:
        return lane not in (NOBODY, self.sight.principal.party)

    def _label(self, lane: bytes) -> str:
        return labels.label_of(self.directory.organisation_name(lane))

    def noise(self, path: Path) -> tuple[Place, NoiseFile] | None:
        """Return the noise that is seen at `path`, where nothing else stands."""
        if not is_noise_name(path.name):
            return None
        try:
            parent = self.find(path.parent)
        except (NotFound, NotAFolder):
            return None
        if isinstance(parent, Container) or parent.is_past or not parent.node.is_folder:
            return None
        if self.child(parent.tree, parent.chain, path.name, None) is not None:
            return None
        for found in noise.named(self.connection, self.tree.names, parent.node, path.name):
            if self.sees_noise(parent, found.node):
                return Place(path, parent.space, (*parent.chain, found.node), parent.tree, None), found
        return None

    def sees_noise(self, folder: Place, node: Node) -> bool:
        """Return whether noise in a folder is seen: as a document is, but never from outside of its lane."""
        return node.lane in (NOBODY, self.sight.principal.party) and self.sight.sees((*folder.chain, node), self.at)

    def shown_name(self, tree: Tree | PastTree, chain: Sequence[Node], moment: int | None) -> str:
        """Return the name that opens the last node of `chain` where it stands: with its party in a foreign lane."""
        node = chain[-1]
        name = self.told_name(node)
        if not self._is_foreign(node.lane):
            return name
        opened = self.child(tree, tuple(chain[:-1]), name, moment)
        if opened is not None and opened.id == node.id:
            return name
        return labels.marked(node.name, self._label(node.lane), node.id)

    def told_name(self, node: Node) -> str:
        """Return the name of a node by which it is told of, whether or not it stands, and whatever stands beside it."""
        return labels.told(node.name, self._label(node.lane), node.id) if self._is_foreign(node.lane) else node.name

    def plain_name(self, name: str, node: Node) -> str:
        """Return the name to be kept of a node in a foreign lane that a client calls `name`: without its party."""
        label = self._label(node.lane)
        if fold(name) == fold(labels.marked(node.name, label, node.id)):
            return node.name  # of a name that was cut the whole stays
        return labels.unlabelled(name, label, node.id) or name

    def children(self, place: Place) -> list[tuple[str, Node]]:
        """Return what is seen in a folder, with the names shown, in the order of folded names."""
        if place.moment is None:
            seen = self.sight.sees_below(place.chain, self.at)
            nodes = [node for node in self.tree.listed(self.connection, place.node) if seen(node)]
        else:
            then = place.tree.children(self.connection, place.node)
            today = self.tree.ancestries(self.connection, [node.id for node in then])
            nodes = [node for node in then if self.seen_then((*place.chain, node), today)]
        return sorted(zip(self._named(nodes), nodes, strict=True), key=lambda pair: fold(pair[0]))

    def _named(self, nodes: Sequence[Node]) -> list[str]:
        """Return what `shown_name` does for each of all the nodes that are seen in a folder."""
        names = [self.told_name(node) for node in nodes]
        if not any(self._is_foreign(node.lane) for node in nodes):
            return names
        bearers = Counter(map(fold, names))
        return [
            labels.marked(node.name, self._label(node.lane), node.id)
            if bearers[fold(name)] > 1 and self._is_foreign(node.lane)
            else name
            for name, node in zip(names, nodes, strict=True)
        ]

    def parent_of(self, path: Path) -> Place:
        """Return the folder that `path` lies in. Raises ParentMissing, or NotAFolder."""
        try:
            found = self.find(path.parent)
        except NotFound:
            raise ParentMissing from None
        if isinstance(found, Place):
            if not found.node.is_folder:
                raise NotAFolder
            return found
        raise ParentMissing

    def _seen(self, chain: tuple[Node, ...], moment: int | None) -> bool:
        if moment is None:
            return self.sight.sees(chain, self.at)
        return self.seen_then(chain)

    def seen_then(self, chain: Sequence[Node], today: Mapping[bytes, Sequence[Node]] | None = None) -> bool:
        """A node of the past is seen by today's rights along the ancestry then, and now where it lives.

        `today` is what `Tree.ancestries` told of it and others; asked for if it is not given.
        """
        root, node = chain[0], chain[-1]
        if len(chain) == 1:
            return root.id in self.sight.waypoints
        decision = self.sight.decide(Action.LIST, chain, self.at)
        if node.id not in self.sight.waypoints and not (decision.allowed and decision.history):
            return False
        if today is None:
            today = self.tree.ancestries(self.connection, [node.id])
        now = today.get(node.id)
        if now is None:
            return True  # it stands no more, or went to the trash with a folder above it
        return now[-1].space in self.sight.spaces and self.sight.sees(now, self.at)

    def _may_look_back(self, space: SpaceInfo) -> bool:
        grants = self.sight.principal.rights.grants.values()
        return any(grant.history and grant.space == space.id for found in grants for grant in found)

    def _moment(self, name: str) -> int:
        """Return the moment that a folder of `.history` names, in microseconds. The future is not found."""
        moment = parse_moment(name, self.zone)
        if moment is None or (moment > self.at and not _DAY.match(name)):
            raise NotFound
        if moment > self.at:
            start = parse_moment((date.fromisoformat(name) - timedelta(days=1)).isoformat(), self.zone)
            if start is None or start >= self.at:
                raise NotFound
        return moment


def parse_moment(name: str, zone: tzinfo) -> int | None:
    """Return the moment (µs) of `2026-10-31` (its end, in the zone) or `2026-10-31T120000.5Z`; None for neither."""
    try:
        if _DAY.match(name):
            following = date.fromisoformat(name) + timedelta(days=1)
            midnight = datetime(following.year, following.month, following.day, tzinfo=zone)
            return int(midnight.timestamp()) * SECOND_US - 1
        found = _MOMENT.match(name)
        if found is None:
            return None
        whole = datetime.strptime(found[1] + found[2], "%Y-%m-%d%H%M%S").replace(tzinfo=UTC)
        fraction = (found[3] or ".0")[1:].ljust(6, "0")
        return int(whole.timestamp()) * SECOND_US + int(fraction)
    except (ValueError, OverflowError):
        return None
