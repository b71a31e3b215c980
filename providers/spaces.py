"""Spaces as their keepers work on them: making, freezing, archiving, and granting from outside.

These acts are the operator's and the supplier's administrators'. They give no sight of content: who wants to read
needs a grant, and granting it is an event that the customer sees.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from sqlalchemy import Connection, delete, insert, select, update

from auth.rights import Grant, Kind, Principal
from auth.roles import GranteeKind, Role
from config.clock import now_us
from config.ids import NOBODY, id_text, new_id
from providers import tables
from providers.catalogue.change import ChangeKind
from providers.catalogue.nodes import Node
from providers.drive.granting import record_grant, record_revoke
from providers.drive.places import Place
from providers.drive.sight import space_info
from providers.drive.storage import Storage
from providers.drive.transaction import Transaction
from providers.errors import BadName, Forbidden, NotFound, TargetExists
from providers.holding.usage import usage_of
from providers.model import ACTIVE, SpaceInfo, Thinning, Usage
from providers.paths import ARCHIVE, BY_ID, HISTORY, ROOT, Path, check_name, fold

T = TypeVar("T")
Template = tuple[Path, ...]


class Spaces:
    """All spaces of an installation, for those who keep them."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def all(self) -> list[SpaceInfo]:
        """Return every space that has not ended, oldest first."""
        with self._storage.database.read() as connection:
            infos = self._storage.sights.space_infos(connection, self._storage.authenticator.epoch(connection))
            return sorted(infos.values(), key=lambda info: (info.created_at, info.id))

    def get(self, space: bytes) -> SpaceInfo:
        """Return a space by its id; raise NotFound."""
        found = next((info for info in self.all() if info.id == space), None)
        if found is None:
            raise NotFound
        return found

    def find(self, name: str, customer: bytes | None = None) -> SpaceInfo | None:
        """Return the space of that name of a customer (None: the supplier's own)."""
        wanted = fold(name)
        return next((i for i in self.all() if i.customer == customer and fold(i.name) == wanted), None)

    def create(
        self,
        actor: Principal,
        name: str,
        *,
        customer: bytes | None,
        template: Template = (),
        is_open: bool = False,
        quota_bytes: int | None = None,
    ) -> SpaceInfo:
        """Make a space with the folders of `template`, its key first. Raises TargetExists, BadName."""
        _require_keeper(actor)
        check_space_name(name)
        info = SpaceInfo(new_id(), name, customer, is_open, ACTIVE, quota_bytes, now_us())
        self._storage.keyring.create(info.id)

        def work(connection: Connection) -> SpaceInfo:
            epoch = self._storage.authenticator.epoch(connection)
            self._require_free(connection, epoch, info)
            row = self._row(info)
            connection.execute(insert(tables.space), row)
            connection.execute(insert(tables.head), {"space": info.id, "number": 0, "at": 0, "sealed_bytes": 0})
            tx = Transaction(self._storage, connection, actor)
            root = tx.change(info.id).add_root()
            place = Place(ROOT, info, (root,), self._storage.tree, None)
            _plant(tx, root, template)
            audience = tx.audience_of_space(info)
            tx.finish(ChangeKind.MADE, place, "space_created", personal={"space": name}, audience=audience)
            self._settle(tx, place, row)
            return info

        return self._storage.database.apply(work, heads=[info.id])

    def rename(self, actor: Principal, space: bytes, name: str) -> SpaceInfo:
        """Give a space another name, under which everybody finds it at once. Raises TargetExists, BadName."""
        check_space_name(name)

        def work(tx: Transaction, place: Place) -> SpaceInfo:
            info = replace(place.space, name=name)
            self._require_free(tx.connection, tx.principal.epoch, info)
            suffixes = tables.space_suffix
            tx.connection.execute(delete(suffixes).where(suffixes.c.space == space))
            told = {"space": name, "was": place.space.name}
            return self._change_row(tx, place, "space_renamed", {"name": self._sealed_name(info)}, told)

        return self._on(actor, space, ROOT, work)

    def _require_free(self, connection: Connection, epoch: int, info: SpaceInfo) -> None:
        """Raise TargetExists if the customer has another space of that name, KeyringError if that cannot be told."""
        for other in self._storage.sights.space_infos(connection, epoch).values():
            if other.customer != info.customer or other.id == info.id:
                continue
            if other.is_lost:
                self._storage.keyring.space(other.id)  # raises why its name cannot be compared
            if fold(other.name) == fold(info.name):
                raise TargetExists

    def set_state(self, actor: Principal, space: bytes, state: int) -> SpaceInfo:
        """Let a space be active, frozen (nothing in it changes) or archived (frozen, and shown under `Archive`)."""
        return self._change_settings(actor, space, state=state)

    def set_quota(self, actor: Principal, space: bytes, quota_bytes: int | None) -> SpaceInfo:
        """Let a space take at most so many sealed bytes, or with None as many as there is room for."""
        return self._change_settings(actor, space, quota_bytes=quota_bytes)

    def set_retention(self, actor: Principal, space: bytes, seconds: int | None) -> SpaceInfo:
        """Let no version be erased that is younger than `seconds`; None: nothing is demanded."""
        return self._change_settings(actor, space, "retention_set", retention_seconds=seconds)

    def set_hold(self, actor: Principal, space: bytes, held: bool) -> SpaceInfo:
        """Hold a space, so that nothing of it is erased or thinned whatever else is settled, or let go of it."""
        return self._change_settings(actor, space, "hold_set" if held else "hold_lifted", is_held=held)

    def set_thinning(self, actor: Principal, space: bytes, thinning: Thinning | None) -> SpaceInfo:
        """Settle which versions `thin` lets go of; None: none."""
        all_days, daily_days = (None, None) if thinning is None else thinning
        return self._change_settings(actor, space, "thinning_set", thin_all_days=all_days, thin_daily_days=daily_days)

    def _change_settings(self, actor: Principal, space: bytes, told: str = "space_changed", **values: Any) -> SpaceInfo:
        def work(tx: Transaction, place: Place) -> SpaceInfo:
            return self._change_row(tx, place, told, values)

        return self._on(actor, space, ROOT, work)

    def _change_row(
        self,
        tx: Transaction,
        place: Place,
        told: str,
        values: Mapping[str, Any],
        personal: Mapping[str, str] | None = None,
    ) -> SpaceInfo:
        """Change what stands of a space, as a change of its own."""
        here = tables.space.c.id == place.space.id
        standing = tx.connection.execute(select(tables.space).where(here)).mappings().one()
        tx.connection.execute(update(tables.space).where(here).values(**values))
        row = {**standing, **values}
        info = space_info(self._storage.keyring, row)
        self._settle(tx, replace(place, space=info), row, told, standing, personal)
        return info

    def _settle(
        self,
        tx: Transaction,
        place: Place,
        row: Mapping[Any, Any],
        told: str = "space_changed",
        before: Mapping[Any, Any] | None = None,
        personal: Mapping[str, str] | None = None,
    ) -> None:
        """End a change that holds nothing but the row of the space itself, so that `verify` can compare it."""
        tx.change(place.space.id).note_space(row)
        tx.bump()
        audience = tx.audience_of_space(place.space)
        tx.finish(ChangeKind.SPACE, place, told, facts=_settled(row, before), personal=personal, audience=audience)

    def _row(self, info: SpaceInfo) -> dict[str, Any]:
        return {
            "id": info.id, "customer": info.customer, "name": self._sealed_name(info), "is_open": info.is_open,
            "state": info.state, "quota_bytes": info.quota_bytes, "created_at": info.created_at, "ended_at": None,
            "retention_seconds": None, "is_held": False, "thin_all_days": None, "thin_daily_days": None,
        }  # fmt: skip

    def _sealed_name(self, info: SpaceInfo) -> bytes:
        return self._storage.keyring.space(info.id).names.seal(b"space" + info.id, info.name.encode("utf-8"))

    def usage(self, space: bytes) -> Usage:
        """Return what a space takes, and when it would be full. Walks its tree. Raises NotFound."""
        info = self.get(space)
        with self._storage.database.read() as connection:
            return usage_of(connection, info, now_us())

    def make_folders(self, actor: Principal, space: bytes, folders: Iterable[Path]) -> None:
        """Make those of `folders` that do not stand yet, with the folders they lie in, as one change."""
        wanted = list(folders)

        def work(tx: Transaction, place: Place) -> None:
            if _plant(tx, place.node, wanted):
                tx.finish(ChangeKind.MAKE_FOLDER, place, "make_folder", facts={"count": len(wanted)})

        self._on(actor, space, ROOT, work)

    def missing(self, space: bytes, folders: Iterable[Path]) -> list[Path]:
        """Return those of `folders` that do not stand in a space, in their order. Raises NotFound for no space."""
        tree = self._storage.tree
        with self._storage.database.read() as connection:
            root = tree.root(connection, space)
            if root is None:
                raise NotFound
            known: dict[tuple[str, ...], Node | None] = {(): root}
            found = []
            for folder in folders:
                for depth, name in enumerate(folder.segments, start=1):
                    key, above = folder.segments[:depth], known[folder.segments[: depth - 1]]
                    if key not in known:
                        standing = [] if above is None else tree.named(connection, above, name, NOBODY)
                        known[key] = standing[0] if standing else None
                if known[folder.segments] is None:
                    found.append(folder)
            return found

    def grant(
        self,
        actor: Principal,
        space: bytes,
        path: Path,
        grantee: bytes,
        kind: GranteeKind,
        role: Role,
        *,
        history: bool,
        expires_at: int | None = None,
    ) -> Grant:
        """Give a role on what stands at `path` of a space; return the grant, which may stand already.

        One of that role that shows history otherwise, or holds for another time, is taken back: the new one counts.
        """
        identity = new_id()

        def work(tx: Transaction, place: Place) -> tuple[Grant, list[Grant]]:
            made = Grant(identity, space, place.node.id, grantee, kind, role, history, expires_at)
            of_space = self._storage.directory.grants_of_space(tx.connection, space)
            alike = [each for each in of_space if (each.node, each.grantee, each.role) == (made.node, grantee, role)]
            equal = next((each for each in alike if replace(each, id=identity) == made), None)
            if equal is None:
                record_grant(tx, place, made)
            return equal or made, [each for each in alike if each is not equal]

        made, others = self._on(actor, space, path, work)
        for each in others:
            self.revoke(actor, space, each.id)
        return made

    def break_inheritance(self, actor: Principal, space: bytes, path: Path) -> Grant:
        """Let what stands at `path` of a space inherit no rights."""
        return self.grant(actor, space, path, NOBODY, GranteeKind.NONE, Role.BREAK, history=False)

    def revoke(self, actor: Principal, space: bytes, grant_id: bytes) -> None:
        """Take back a grant, wherever in the space it stands. Raises NotFound."""

        def work(tx: Transaction, root: Place) -> None:
            found = self._storage.directory.grants_of_space(tx.connection, space)
            made = next((grant for grant in found if grant.id == grant_id), None)
            node = None if made is None else self._storage.tree.by_id(tx.connection, made.node)
            if node is None:
                raise NotFound
            chain = self._storage.tree.ancestry(tx.connection, node)
            record_revoke(tx, Place(ROOT, root.space, chain, root.tree, None), grant_id)

        self._on(actor, space, ROOT, work)

    def grants(self, space: bytes) -> list[tuple[Path, Grant]]:
        """Return the grants of a space with the paths they stand on, as within the space."""
        storage = self._storage
        with storage.database.read() as connection:
            found = []
            for grant in storage.directory.grants_of_space(connection, space):
                node = storage.tree.by_id(connection, grant.node)
                chain = () if node is None else storage.tree.ancestry(connection, node)
                if chain:
                    found.append((Path(tuple(step.name for step in chain[1:])), grant))
            return sorted(found, key=lambda pair: (pair[0].segments, id_text(pair[1].id)))

    def note_look(self, actor: Principal, space: bytes) -> None:
        """Record that a keeper looks at names and history in a space, so that who sees it knows."""

        def work(tx: Transaction, place: Place) -> None:
            audience = tx.audience_of_space(place.space)
            self._storage.audit.record(tx.connection, tx.event("operator_look", place, tx.at), audience)

        self._on(actor, space, ROOT, work)

    def _on(self, actor: Principal, space: bytes, path: Path, work: Callable[[Transaction, Place], T]) -> T:
        """Run `work` as a keeper on what stands at `path` of a space."""
        _require_keeper(actor)
        held = () if self._storage.database.dialect == "sqlite" else (space,)

        def operation(connection: Connection) -> T:
            tx = Transaction(self._storage, connection, actor, held)
            epoch = tx.principal.epoch
            info = self._storage.sights.space_infos(connection, epoch).get(space)
            root = None if info is None else self._storage.tree.root(connection, space)
            if info is None or root is None:
                raise NotFound
            chain: tuple[Node, ...] = (root,)
            for name in path.segments:
                standing = self._storage.tree.named(connection, chain[-1], name, NOBODY)
                if not standing:
                    raise NotFound
                chain = (*chain, standing[0])
            return work(tx, Place(path, info, chain, self._storage.tree, None))

        return self._storage.database.apply(operation, heads=[space])


def check_space_name(name: str) -> None:
    """Raise BadName or NameTooLong for a name that no space may have: something else is found by it."""
    check_name(name)
    if fold(name.strip()) in ("", HISTORY, fold(ARCHIVE)) or name.strip().startswith(BY_ID):
        raise BadName(why=f"no space may be called {HISTORY} or {ARCHIVE}, nor begin with {BY_ID}.")


def _require_keeper(actor: Principal) -> None:
    if actor.kind is not Kind.OPERATOR and not (actor.is_supplier and actor.is_administrator):
        raise Forbidden


def _settled(row: Mapping[Any, Any], before: Mapping[Any, Any] | None) -> dict[str, str | int]:
    """Return what an event says of the settings of a space, and of a retention that was another before."""
    facts: dict[str, str | int] = {
        "state": row["state"], "open": int(row["is_open"]), "quota": row["quota_bytes"] or 0,
        "retention": row["retention_seconds"] or 0, "held": int(row["is_held"]),
    }  # fmt: skip
    if row["thin_all_days"] is not None:
        facts |= {"thin_all_days": row["thin_all_days"], "thin_daily_days": row["thin_daily_days"]}
    if before is not None and before["retention_seconds"] != row["retention_seconds"]:
        facts["retention_before"] = before["retention_seconds"] or 0
    return facts


def _plant(tx: Transaction, root: Node, folders: Iterable[Path]) -> int:
    """Make folders below the root of a space where they do not stand yet; return how many were made."""
    standing: dict[tuple[str, ...], Node] = {(): root}
    made = 0
    for folder in folders:
        for depth, name in enumerate(folder.segments, start=1):
            key = tuple(fold(part) for part in folder.segments[:depth])
            if key in standing:
                continue
            parent = standing[key[:-1]]
            known = tx.storage.tree.named(tx.connection, parent, name, NOBODY)
            if known:
                standing[key] = known[0]
                continue
            tx.storage.path_limits.check(check_name(name), depth + 1)
            standing[key] = tx.change(root.space).add(parent, NOBODY, name, is_folder=True)
            made += 1
    return made
