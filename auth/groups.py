"""Groups: named people, of one organisation or across several."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Iterable
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from auth import tables
from auth.errors import ForeignMember, NameTaken, UnknownName
from auth.events import Actor
from auth.people import Group, Person
from auth.records import SYSTEM, Records, checked_text, unique
from config.clock import now_us
from config.ids import NOBODY, new_id

_GROUPS = select(tables.group).where(tables.group.c.ended_at.is_(None))
SUPPLIER = select(tables.installation.c.supplier)
_MEMBERS = (
    select(tables.person)
    .where(tables.person.c.ended_at.is_(None))
    .join(tables.membership, tables.membership.c.person == tables.person.c.id)
)


class Groups(Records):
    """The part of the directory that keeps groups."""

    #: Asked within the transaction once a group reaches somebody new, by the group's id; refuses by raising.
    membership_guard: Callable[[Connection, bytes], None] | None = None
    #: Whose spaces a group, by its id, was let into as a whole: they learn which of the supplier's people come with it.
    let_in_by: Callable[[Connection, bytes], frozenset[bytes]] | None = None

    def add_group(
        self, name: str, organisation: bytes | None = None, members: Collection[bytes] = (), *, actor: Actor = SYSTEM
    ) -> Group:
        """Add a group of one organisation, or across several, with its members or not at all.

        Raises NameTaken, UnknownName, UnusableText, ForeignMember.
        """
        name = checked_text("name of a group", name)
        made = Group(new_id(), organisation, name)
        row = {
            "id": made.id, "organisation": organisation, "created_at": now_us(), "ended_at": None,
            "name": self._keyring.installation().general.seal(b"group" + made.id, name.encode("utf-8")),
            "name_lookup": self._keyring.installation().lookup(b"group" + (organisation or NOBODY), name),
        }  # fmt: skip

        def work(connection: Connection) -> Group:
            if organisation is not None:
                self._require(connection, tables.organisation, "org", organisation)
            taken = select(tables.group.c.id).where(tables.group.c.name_lookup == row["name_lookup"])
            if connection.execute(taken).first() is not None:
                raise NameTaken(kind="group", name=name)
            connection.execute(insert(tables.group), row)
            found, joined = self._join(connection, made.id, members)
            facts = {"group": made.id.hex()}
            self._tell(connection, actor, "group_added", organisation, facts, {"group": name}, felt=bool(joined))
            self._tell_joined(connection, actor, found, joined)
            return made

        with unique("group", name):
            return self._database.apply(work)

    def end_group(self, group: bytes, *, actor: Actor = SYSTEM) -> None:
        """Dissolve a group; what was granted to it reaches nobody any longer."""

        def work(connection: Connection) -> None:
            found = self._require(connection, tables.group, "group", group)
            values = {"ended_at": now_us(), "name_lookup": secrets.token_bytes(32)}
            connection.execute(update(tables.group).where(tables.group.c.id == group).values(values))
            connection.execute(delete(tables.membership).where(tables.membership.c.group_id == group))
            self._tell(connection, actor, "group_ended", found.organisation, {"group": group.hex()})

        self._database.apply(work)

    def groups(self) -> list[Group]:
        """Return all groups, by name."""
        with self._database.read() as connection:
            found = [self._group(row) for row in connection.execute(_GROUPS)]
        return sorted(found, key=lambda each: each.name.casefold())

    def find_group(self, name: str, organisation: bytes | None = None) -> Group:
        """Return the group of that name. Raises UnknownName."""
        lookup = self._keyring.installation().lookup(b"group" + (organisation or NOBODY), name)
        with self._database.read() as connection:
            row = connection.execute(_GROUPS.where(tables.group.c.name_lookup == lookup)).first()
        if row is None:
            raise UnknownName(kind="group", name=name)
        return self._group(row)

    def members(self, group: bytes) -> list[Person]:
        """Return the people in a group, by login."""
        with self._database.read() as connection:
            rows = connection.execute(_MEMBERS.where(tables.membership.c.group_id == group))
            return sorted((self._person(row) for row in rows), key=lambda each: each.login.casefold())

    def add_member(self, group: bytes, person: bytes, *, actor: Actor = SYSTEM) -> None:
        """Let a person be in a group; harmless if they are. Raises UnknownName, ForeignMember."""
        self.add_members(group, [person], actor=actor)

    def add_members(self, group: bytes, people: Collection[bytes], *, actor: Actor = SYSTEM) -> None:
        """Let people be in a group, all of them or none; harmless for who is. Raises UnknownName, ForeignMember."""

        def work(connection: Connection) -> None:
            self._tell_joined(connection, actor, *self._join(connection, group, people))

        self._database.apply(work)

    def _join(self, connection: Connection, group: bytes, people: Collection[bytes]) -> tuple[Any, list[Any]]:
        """Let people be in a group; return its row, and those of who was not in it before. What events take, they take
        later.
        """
        found = self._require(connection, tables.group, "group", group)
        members = [self._require(connection, tables.person, "person", person) for person in sorted(set(people))]
        if any(found.organisation not in (None, member.organisation) for member in members):
            raise ForeignMember
        fresh = self._database.insert_ignore(tables.membership).returning(tables.membership.c.person)
        row = {"group_id": group, "since": now_us()}
        joined = [each for each in members if connection.execute(fresh, row | {"person": each.id}).first() is not None]
        if joined and self.membership_guard is not None:
            self.membership_guard(connection, group)
        return found, joined

    def _is_supplier(self, connection: Connection, organisation: bytes) -> bool:
        return bool(organisation == connection.execute(SUPPLIER).scalar())

    def _tell_joined(self, connection: Connection, actor: Actor, group: Any, joined: Iterable[Any]) -> None:
        for member in joined:
            self._tell_of_member(connection, actor, "member_added", group, member)

    def _tell_of_member(self, connection: Connection, actor: Actor, kind: str, group: Any, member: Any) -> None:
        """Tell who joined or left: of the supplier's people those customers too, of whose spaces that is a grant."""
        told: frozenset[bytes] = frozenset()
        personal: dict[str, str] = {}
        if self.let_in_by is not None and self._is_supplier(connection, member.organisation):
            told = self.let_in_by(connection, group.id)
        if told:
            personal = {"person": self._person(member).name}
        facts = {"group": group.id.hex(), "person": member.id.hex()}
        self._tell(connection, actor, kind, group.organisation, facts, personal, told=told)

    def remove_member(self, group: bytes, person: bytes, *, actor: Actor = SYSTEM) -> None:
        """Let a person be in a group no longer."""
        chosen = (tables.membership.c.group_id == group) & (tables.membership.c.person == person)

        def work(connection: Connection) -> None:
            found = self._require(connection, tables.group, "group", group)
            if connection.execute(delete(tables.membership).where(chosen)).rowcount != 1:
                return
            member = connection.execute(select(tables.person).where(tables.person.c.id == person)).one()
            self._tell_of_member(connection, actor, "member_removed", found, member)

        self._database.apply(work)

    def _group(self, row: Any) -> Group:
        name = self._keyring.installation().general.open(b"group" + row.id, row.name).decode("utf-8")
        return Group(row.id, row.organisation, name)
