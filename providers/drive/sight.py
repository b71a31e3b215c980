"""What one principal sees: which spaces, under which names, and which nodes on the way to what it was let into.

A sight holds for one epoch of rights. It adds nothing to what `decide` permits but the way there: a node is seen if
it may be listed or read, or if something below it was granted.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

from sqlalchemy import Connection, select

from auth.directory import Directory
from auth.errors import KeyringError
from auth.keyring import Keyring
from auth.rights import Decision, Grant, NodeView, Principal, Standing, decide
from auth.roles import Action, Role
from config.clock import SECOND_US, now_us
from config.database import Database
from config.ids import NOBODY, id_text
from config.logging import get_log
from config.snapshots import writes
from providers import tables
from providers.catalogue.nodes import Node, Tree
from providers.model import ARCHIVED, SpaceInfo, Thinning
from providers.paths import ARCHIVE, BY_ID, HISTORY, NAME_BYTES_MAX, cut, fold, presentable

SIGHTS_MAX = 4096
#: How long a space whose key cannot be used is left alone, before it is tried again.
LOST_US = 60 * SECOND_US
#: While a document is younger than its first content, or this much older, its creator's steps count as adding.
GRACE = frozenset({Action.REPLACE, Action.RENAME, Action.MOVE, Action.LOCK, Action.DELETE})

Chain = Sequence[Node]
_log = get_log("sight")


@dataclass(frozen=True)
class Sight:
    """A principal, the spaces it sees, and the nodes that lie on the way to its grants."""

    principal: Principal
    waypoints: frozenset[bytes]
    spaces: dict[bytes, SpaceInfo]
    shown: dict[bytes, str]
    #: By whether it is archived, and its folded name.
    by_name: dict[tuple[bool, str], bytes]
    until: int | None
    #: Tells sights apart: what one permits, it permits until it is made anew.
    serial: int = field(default_factory=count().__next__)

    def decide(
        self,
        action: Action,
        chain: Chain,
        at: int,
        *,
        lane: bytes | None = None,
        creator: bytes | None = None,
        first_content_at: int | None = None,
    ) -> Decision:
        """Decide on an action on the last node of `chain` (or on a name in `lane` of it) at the moment `at`."""
        node = chain[-1]
        info = self.spaces.get(node.space)
        if info is None:
            return Decision(False, False)
        view = NodeView(
            space=node.space,
            is_open=info.is_open,
            state=info.state,
            ancestry=tuple(step.id for step in chain),
            lane=node.lane if lane is None else lane,
            created_by=creator,
            first_content_at=first_content_at,
        )
        return decide(self.principal, action, view, at)

    def sees(self, chain: Chain, at: int) -> bool:
        """Return whether the last node of `chain` is there for this principal."""
        return chain[-1].id in self.waypoints or self.decide(Action.LIST, chain, at).allowed

    def sees_below(self, chain: Chain, at: int) -> Callable[[Node], bool]:
        """Return a test for the children of the last node of `chain`. Rights are decided once a lane, not a child."""
        breaks = self.principal.rights.breaks
        granted = self.principal.rights.grants
        by_lane: dict[bytes, bool] = {}

        def seen(child: Node) -> bool:
            if child.id in breaks or child.id in granted or child.id in self.waypoints:
                return self.sees((*chain, child), at)
            if child.lane not in by_lane:
                by_lane[child.lane] = self.decide(Action.LIST, (*chain, child), at).allowed
            return by_lane[child.lane]

        return seen

    def sees_all_below(self, chain: Chain, ids: frozenset[bytes], lanes: Mapping[bytes, Node], at: int) -> bool:
        """Tell whether all children of the last node of `chain` are seen under their own names.

        `ids` are theirs, `lanes` one of them for each lane that occurs. False may also mean that it is not that simple.
        """
        rights = self.principal.rights
        if not (ids.isdisjoint(rights.breaks) and ids.isdisjoint(rights.grants) and ids.isdisjoint(self.waypoints)):
            return False
        if not lanes.keys() <= {NOBODY, self.principal.party}:
            return False
        return all(self.decide(Action.LIST, (*chain, child), at).allowed for child in lanes.values())


def space_info(keyring: Keyring, row: Mapping[Any, Any]) -> SpaceInfo:
    """Return the space that a row of `space` describes. Raises KeyringError."""
    return _described(row, keyring.space(row["id"]).names.open(b"space" + row["id"], row["name"]).decode("utf-8"))


def _described(row: Mapping[Any, Any], name: str, *, is_lost: bool = False) -> SpaceInfo:
    return SpaceInfo(
        id=row["id"],
        name=name,
        customer=row["customer"],
        is_open=row["is_open"],
        state=row["state"],
        quota_bytes=row["quota_bytes"],
        created_at=row["created_at"],
        retention_seconds=row["retention_seconds"],
        is_held=row["is_held"],
        thinning=None if row["thin_all_days"] is None else Thinning(row["thin_all_days"], row["thin_daily_days"]),
        is_lost=is_lost,
    )


@dataclass(frozen=True)
class _Infos:
    """Every space as of an epoch; where a key could not be used, until it is tried again."""

    epoch: int
    spaces: dict[bytes, SpaceInfo]
    until: int | None

    def hold(self, epoch: int) -> bool:
        """Return whether they hold for an epoch, now."""
        return self.epoch == epoch and (self.until is None or now_us() < self.until)


class Sights:
    """Makes sights, and keeps them while the epoch of rights stays."""

    def __init__(self, database: Database, keyring: Keyring, directory: Directory, tree: Tree) -> None:
        self._database = database
        self._keyring = keyring
        self._directory = directory
        self._tree = tree
        self._guard = threading.Lock()
        self._kept: dict[object, Sight] = {}
        self._infos = _Infos(-1, {}, None)

    def of(self, connection: Connection, principal: Principal, at: int) -> Sight:
        """Return what the principal sees as of its epoch."""
        kept = self.kept(principal, at)
        if kept is not None:
            return kept if kept.principal is principal else replace(kept, principal=principal)
        fresh = self._make(connection, principal, at)
        with self._guard:
            if len(self._kept) >= SIGHTS_MAX:
                self._kept.clear()
            self._kept[_key(principal)] = fresh
        return fresh

    def kept(self, principal: Principal, at: int) -> Sight | None:
        """Return what the principal was last found to see as of its epoch, if that still holds at the moment `at`."""
        kept = self._kept.get(_key(principal))
        if kept is not None and (kept.until is None or at < kept.until) and kept.principal.rights is principal.rights:
            return kept
        return None

    def space_infos(self, connection: Connection, epoch: int) -> dict[bytes, SpaceInfo]:
        """Return every space that has not ended, as of an epoch. One whose key cannot be used is among them, lost."""
        kept = self._infos
        if not kept.hold(epoch):
            rows = connection.execute(select(tables.space).where(tables.space.c.ended_at.is_(None)))
            found = {row["id"]: self._info(row) for row in rows.mappings()}
            lost = any(info.is_lost for info in found.values())
            self._infos = kept = _Infos(epoch, found, now_us() + LOST_US if lost else None)
        return kept.spaces

    def _info(self, row: Mapping[Any, Any]) -> SpaceInfo:
        try:
            return space_info(self._keyring, row)
        except KeyringError as error:  # of this space alone: all others are served
            _log.error("space_lost", error, space=row["id"])
            return _described(row, f"{BY_ID}{id_text(row['id'])}", is_lost=True)

    def _make(self, connection: Connection, principal: Principal, at: int) -> Sight:
        live = [
            grant
            for grants in principal.rights.grants.values()
            for grant in grants
            if grant.role is not Role.BREAK and (grant.expires_at is None or grant.expires_at > at)
        ]
        infos = self.space_infos(connection, principal.epoch)
        allowed = principal.scope.spaces
        live = [g for g in live if g.space in infos and (allowed is None or g.space in allowed)]
        scope = principal.scope
        if principal.standing is not Standing.FULL or (
            scope.protocols is not None and principal.via not in scope.protocols
        ):
            live = []
        waypoints = self._tree.above(connection, {grant.node for grant in live})
        lost = any(infos[grant.space].is_lost for grant in live)
        live = [grant for grant in live if not infos[grant.space].is_lost]
        spaces = {grant.space: infos[grant.space] for grant in live if grant.space in waypoints}
        shown, is_given = self._shown(connection, principal, spaces)
        ends = [grant.expires_at for grant in live if grant.expires_at is not None]
        if is_given and writes(connection):
            ends.append(at)  # whoever comes next asks again: the operation may be undone, and what it gave with it
        if lost or (principal.is_supplier and self._lacks_a_customer(spaces.values())):
            ends.append(at + LOST_US)
        return Sight(
            principal=principal,
            waypoints=waypoints,
            spaces=spaces,
            shown=shown,
            by_name={(spaces[space].state == ARCHIVED, fold(name)): space for space, name in shown.items()},
            until=min(ends, default=None),
        )

    def _shown(
        self, connection: Connection, principal: Principal, spaces: dict[bytes, SpaceInfo]
    ) -> tuple[dict[bytes, str], bool]:
        """Name the spaces as this principal's party sees them, each by a name that opens it; tell whether one is new.

        A suffix is given once, and kept.
        """
        chosen = select(tables.space_suffix.c.space, tables.space_suffix.c.suffix)
        rows = connection.execute(chosen.where(tables.space_suffix.c.party == principal.party))
        suffixes: dict[bytes, int] = {row.space: row.suffix for row in rows}
        names: dict[bytes, str] = {}
        is_given = False
        taken = {(False, HISTORY), (False, fold(ARCHIVE))}
        for info in sorted(spaces.values(), key=lambda info: (info.id not in suffixes, info.created_at, info.id)):
            plain = self._plain_name(principal, info)
            number = suffixes.get(info.id, 1)
            name = _numbered(plain, number)
            while (info.state == ARCHIVED, fold(name)) in taken:
                number += 1
                name = _numbered(plain, number)
            if number != suffixes.get(info.id, 1):
                row = {"party": principal.party, "space": info.id, "suffix": number}
                self._keep_suffix(connection, row)
                is_given = True
            taken.add((info.state == ARCHIVED, fold(name)))
            names[info.id] = name
        return names, is_given

    def _lacks_a_customer(self, spaces: Iterable[SpaceInfo]) -> bool:
        """Return whether the name of a customer cannot be opened now."""
        customers = {info.customer for info in spaces if info.customer is not None}
        return not all(self._directory.organisation_name(customer) for customer in customers)

    def _plain_name(self, principal: Principal, info: SpaceInfo) -> str:
        name = info.name
        if principal.is_supplier and info.customer is not None:
            name = f"{self._directory.organisation_name(info.customer)} – {info.name}"
        name = presentable(name).strip() or "∕"
        if name.startswith(BY_ID):
            name = "\N{TILDE OPERATOR}" + name.removeprefix(BY_ID)
        return name

    def _keep_suffix(self, connection: Connection, row: dict[str, object]) -> None:
        statement = self._database.insert_ignore(tables.space_suffix)
        if writes(connection):
            connection.execute(statement, row)
        else:
            self._database.apply(lambda writer: writer.execute(statement, row))


def _numbered(plain: str, number: int) -> str:
    suffix = "" if number == 1 else f" ({number})"
    return cut(plain, NAME_BYTES_MAX - len(suffix)) + suffix


def _key(principal: Principal) -> object:
    return (principal.id, principal.device, principal.via, principal.standing, principal.epoch)


@dataclass(frozen=True)
class _Reach:
    grant: Grant
    parties: frozenset[bytes]


class Audiences:
    """Tells which parties may see what happens to a node."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._kept: dict[bytes, tuple[int, dict[bytes, list[_Reach]], frozenset[bytes]]] = {}

    def parties(self, connection: Connection, epoch: int, space: bytes, chain: Chain, at: int) -> frozenset[bytes]:
        """Return the parties of which somebody may list or read the last node of `chain`.

        Parties see a document in a lane if the lane is their own; the drive adds those who see all lanes.
        """
        by_node, breaks = self._grants(connection, epoch, space)
        lane = next((node.lane for node in chain if node.lane), NOBODY)
        found: set[bytes] = set()
        for node in reversed(chain):
            for reach in by_node.get(node.id, ()):
                if reach.grant.expires_at is not None and reach.grant.expires_at <= at:
                    continue
                if reach.grant.role is Role.UPLOADER:
                    found.update(reach.parties & {lane})
                else:
                    found.update(reach.parties)
            if node.id in breaks:
                break
        return frozenset(found)

    def readers(
        self, connection: Connection, epoch: int, space: bytes
    ) -> tuple[dict[bytes, list[_Reach]], frozenset[bytes]]:
        """Return all grants of a space by node, with the parties each reaches, and the nodes that break inheritance."""
        return self._grants(connection, epoch, space)

    def _grants(
        self, connection: Connection, epoch: int, space: bytes
    ) -> tuple[dict[bytes, list[_Reach]], frozenset[bytes]]:
        kept = self._kept.get(space)
        if kept is not None and kept[0] == epoch:
            return kept[1], kept[2]
        by_node: dict[bytes, list[_Reach]] = {}
        breaks: set[bytes] = set()
        grants = self._directory.grants_of_space(connection, space)
        reached = self._directory.parties_reached(connection, grants)
        for grant in grants:
            if grant.role is Role.BREAK:
                breaks.add(grant.node)
            else:
                reach = _Reach(grant, reached[grant.id])
                by_node.setdefault(grant.node, []).append(reach)
        if len(self._kept) >= SIGHTS_MAX:
            self._kept.clear()
        self._kept[space] = (epoch, by_node, frozenset(breaks))
        return by_node, frozenset(breaks)
