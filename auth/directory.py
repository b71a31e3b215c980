"""Organisations, their people, groups and devices. Whatever a person typed is sealed under the organisation's key."""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from auth import credentials, tables
from auth.errors import NameTaken, UnknownName
from auth.events import Actor, AuthEvent, Recorder
from auth.keyring import Keyring
from auth.people import Device, Group, Organisation, Person
from auth.rights import Grant
from auth.roles import GranteeKind, Role, Via
from config.clock import now_us
from config.database import Database
from config.ids import NOBODY, new_id

T = TypeVar("T")
NAMES_MAX = 20_000


_ORGANISATIONS = select(tables.organisation).where(tables.organisation.c.ended_at.is_(None))
_PEOPLE = select(tables.person).where(tables.person.c.ended_at.is_(None))
_GROUPS = select(tables.group).where(tables.group.c.ended_at.is_(None))
_GRANTS = select(tables.grants).where(tables.grants.c.space == bindparam("space"), tables.grants.c.to_change.is_(None))
_MEMBER_ORGANISATIONS = (
    select(tables.person.c.organisation)
    .distinct()
    .join(tables.membership, tables.membership.c.person == tables.person.c.id)
    .where(tables.membership.c.group_id == bindparam("group"), tables.person.c.ended_at.is_(None))
)
_ORGANISATION_OF = select(tables.person.c.organisation).where(
    tables.person.c.id == bindparam("person"), tables.person.c.ended_at.is_(None)
)
SYSTEM = Actor(NOBODY, NOBODY, NOBODY, True, "system", "", Via.CLI, NOBODY, "")


def bump(connection: Connection) -> None:
    """Let everybody's rights be asked anew. The epoch is random, so that one that was undone never comes back."""
    connection.execute(update(tables.epoch).values(value=secrets.randbits(62)))


def grant_of(row: Any) -> Grant:
    """Return the grant that a row describes."""
    return Grant(
        id=row.id,
        space=row.space,
        node=row.node,
        grantee=row.grantee,
        grantee_kind=GranteeKind(row.grantee_kind),
        role=Role(row.role),
        history=row.history,
        expires_at=row.expires_at,
    )


class Directory:
    """The people of an installation. Every change is an event, and lets rights be asked anew."""

    def __init__(self, database: Database, keyring: Keyring, recorder: Recorder) -> None:
        self._database = database
        self._keyring = keyring
        self._recorder = recorder
        self._guard = threading.Lock()
        self._organisation_names: dict[bytes, str] = {}
        self._person_names: dict[bytes, str] = {}
        self._supplier: bytes | None = None

    # --- organisations

    @property
    def supplier_id(self) -> bytes:
        """The id of the supplier's organisation; empty before there is one."""
        if self._supplier is None:
            with self._database.read() as connection:
                self._supplier = connection.execute(select(tables.installation.c.supplier)).scalar()
        return self._supplier or NOBODY

    def add_organisation(
        self, name: str, *, supplier: bool = False, second_factor: bool | None = None, actor: Actor = SYSTEM
    ) -> Organisation:
        """Add an organisation, its key first. Raises NameTaken."""
        made = Organisation(new_id(), name, supplier, supplier if second_factor is None else second_factor)
        self._keyring.create(made.id)
        row = {
            "id": made.id, "is_supplier": supplier, "name": self._sealed(made.id, b"organisation" + made.id, name),
            "name_lookup": self._keyring.installation().lookup(b"organisation", name),
            "second_factor": made.second_factor, "created_at": now_us(), "ended_at": None,
        }  # fmt: skip

        def work(connection: Connection) -> Organisation:
            taken = select(tables.organisation.c.id).where(tables.organisation.c.name_lookup == row["name_lookup"])
            if connection.execute(taken).first() is not None:
                raise NameTaken(kind="org", name=name)
            connection.execute(insert(tables.organisation), row)
            if supplier:
                connection.execute(update(tables.installation).values(supplier=made.id))
            self._tell(connection, actor, "organisation_added", made.id, personal={"organisation": name})
            return made

        self._supplier = None
        return self._database.apply(work)

    def end_organisation(self, organisation: bytes, *, actor: Actor = SYSTEM) -> None:
        """Let an organisation and all its people no longer sign in. What they did stays."""

        def work(connection: Connection) -> None:
            now = now_us()
            chosen = tables.organisation.c.id == organisation
            connection.execute(update(tables.organisation).where(chosen).values(ended_at=now))
            for person in self._ids(connection, tables.person.c.id, tables.person.c.organisation == organisation):
                self._end(connection, person, now)
            self._tell(connection, actor, "organisation_ended", organisation)

        self._database.apply(work)

    def organisations(self) -> list[Organisation]:
        """Return all organisations that have not ended, by name."""
        with self._database.read() as connection:
            found = [self._organisation(row) for row in connection.execute(_ORGANISATIONS)]
        return sorted(found, key=lambda each: each.name.casefold())

    def find_organisation(self, name: str) -> Organisation:
        """Return the organisation of that name. Raises UnknownName."""
        lookup = self._keyring.installation().lookup(b"organisation", name)
        with self._database.read() as connection:
            row = connection.execute(_ORGANISATIONS.where(tables.organisation.c.name_lookup == lookup)).first()
        if row is None:
            raise UnknownName(kind="org", name=name)
        return self._organisation(row)

    def set_second_factor(self, organisation: bytes, demanded: bool, *, actor: Actor = SYSTEM) -> None:
        """Demand a second factor of all people of an organisation, or leave it to their administrators alone."""

        def work(connection: Connection) -> None:
            chosen = update(tables.organisation).where(tables.organisation.c.id == organisation)
            connection.execute(chosen.values(second_factor=demanded))
            self._tell(connection, actor, "organisation_changed", organisation, {"second_factor": int(demanded)})

        self._database.apply(work)

    def organisation_name(self, organisation: bytes) -> str:
        """Return the name of an organisation, or nothing for an id that is none."""
        return self._name(self._organisation_names, organisation, tables.organisation, self._organisation)

    # --- people

    def add_person(
        self,
        organisation: bytes,
        login: str,
        name: str,
        *,
        mail: str | None = None,
        administrator: bool = False,
        password: str | None = None,
        actor: Actor = SYSTEM,
    ) -> Person:
        """Add a person. Logins are one of a kind in the installation. Raises NameTaken, WeakPassword."""
        identity = new_id()
        if password is not None:
            credentials.check_strength(password, second_factor=False, names=(login, name))
        hashed = None if password is None else credentials.hash_password(password)
        row = {
            "id": identity, "organisation": organisation,
            "login": self._sealed(organisation, b"login" + identity, login),
            "login_lookup": self._keyring.installation().lookup(b"login", login),
            "name": self._sealed(organisation, b"name" + identity, name),
            "mail": None if mail is None else self._sealed(organisation, b"mail" + identity, mail),
            "is_administrator": administrator,
            "password_hash": None if hashed is None else self._seal(organisation, b"password" + identity, hashed),
            "totp_secret": None, "totp_last_step": 0, "created_at": now_us(), "ended_at": None,
        }  # fmt: skip

        def work(connection: Connection) -> Person:
            taken = select(tables.person.c.id).where(tables.person.c.login_lookup == row["login_lookup"])
            if connection.execute(taken).first() is not None:
                raise NameTaken(kind="person", name=login)
            connection.execute(insert(tables.person), row)
            facts: dict[str, str | int] = {"person": identity.hex(), "administrator": int(administrator)}
            self._tell(connection, actor, "person_added", organisation, facts, {"person": name})
            return Person(identity, organisation, login, name, mail or "", administrator, hashed is not None, False)

        return self._database.apply(work)

    def end_person(self, person: bytes, *, actor: Actor = SYSTEM) -> None:
        """Let a person no longer sign in, by any device. What they did stays, and nothing they made goes."""
        found = self.person(person)

        def work(connection: Connection) -> None:
            self._end(connection, person, now_us())
            self._tell(
                connection, actor, "person_ended", found.organisation, {"person": person.hex()}, {"person": found.name}
            )

        self._database.apply(work)

    def _end(self, connection: Connection, person: bytes, now: int) -> None:
        # The login is free again for whoever comes next: its lookup gives way to a random one.
        values = {"ended_at": now, "login_lookup": secrets.token_bytes(32)}
        connection.execute(update(tables.person).where(tables.person.c.id == person).values(values))
        live = (tables.device.c.person == person) & tables.device.c.revoked_at.is_(None)
        connection.execute(update(tables.device).where(live).values(revoked_at=now))
        connection.execute(delete(tables.membership).where(tables.membership.c.person == person))

    def people(self, organisation: bytes | None = None) -> list[Person]:
        """Return the people of an organisation, or all, by login."""
        chosen = _PEOPLE if organisation is None else _PEOPLE.where(tables.person.c.organisation == organisation)
        with self._database.read() as connection:
            found = [self._person(row) for row in connection.execute(chosen)]
        return sorted(found, key=lambda each: each.login.casefold())

    def find_person(self, login: str) -> Person:
        """Return the person who signs in by that name. Raises UnknownName."""
        lookup = self._keyring.installation().lookup(b"login", login)
        with self._database.read() as connection:
            row = connection.execute(_PEOPLE.where(tables.person.c.login_lookup == lookup)).first()
        if row is None:
            raise UnknownName(kind="person", name=login)
        return self._person(row)

    def person(self, person: bytes) -> Person:
        """Return a person by id. Raises UnknownName."""
        with self._database.read() as connection:
            row = connection.execute(_PEOPLE.where(tables.person.c.id == person)).first()
        if row is None:
            raise UnknownName(kind="person", name=person.hex())
        return self._person(row)

    def person_name(self, person: bytes) -> str:
        """Return a person's name, or nothing for an id that is none. People who left keep theirs."""
        return self._name(self._person_names, person, tables.person, self._person)

    def set_password(self, person: bytes, password: str, *, actor: Actor = SYSTEM) -> None:
        """Give a person a new password. Raises WeakPassword."""
        found = self.person(person)
        credentials.check_strength(password, second_factor=found.has_second_factor, names=(found.login, found.name))
        hashed = self._seal(found.organisation, b"password" + person, credentials.hash_password(password))
        self._change_person(found, "password_set", {"password_hash": hashed}, actor)

    def enrol_totp(self, person: bytes, *, actor: Actor = SYSTEM) -> str:
        """Give a person a new second factor; return its secret, in base 32, to be shown once."""
        found = self.person(person)
        secret = credentials.new_totp_secret()
        sealed = self._sealed(found.organisation, b"totp" + person, secret)
        self._change_person(found, "totp_enrolled", {"totp_secret": sealed, "totp_last_step": 0}, actor)
        return secret

    def new_recovery_codes(self, person: bytes, *, actor: Actor = SYSTEM) -> list[str]:
        """Give a person fresh recovery codes in place of the old ones; return them, to be shown once."""
        found = self.person(person)
        codes = credentials.new_recovery_codes()

        def work(connection: Connection) -> None:
            connection.execute(delete(tables.recovery_code).where(tables.recovery_code.c.person == person))
            kept = [{"person": person, "digest": credentials.recovery_digest(code), "used_at": None} for code in codes]
            connection.execute(insert(tables.recovery_code), kept)
            self._tell(connection, actor, "recovery_codes_made", found.organisation, {"person": person.hex()})

        self._database.apply(work)
        return codes

    def _change_person(self, found: Person, kind: str, values: Mapping[str, object], actor: Actor) -> None:
        def work(connection: Connection) -> None:
            connection.execute(update(tables.person).where(tables.person.c.id == found.id).values(**values))
            self._tell(connection, actor, kind, found.organisation, {"person": found.id.hex()}, {"person": found.name})

        self._database.apply(work)

    # --- groups

    def add_group(self, name: str, organisation: bytes | None = None, *, actor: Actor = SYSTEM) -> Group:
        """Add a group of one organisation, or across several. Raises NameTaken."""
        made = Group(new_id(), organisation, name)
        row = {
            "id": made.id, "organisation": organisation, "created_at": now_us(), "ended_at": None,
            "name": self._keyring.installation().general.seal(b"group" + made.id, name.encode("utf-8")),
            "name_lookup": self._keyring.installation().lookup(b"group" + (organisation or NOBODY), name),
        }  # fmt: skip

        def work(connection: Connection) -> Group:
            taken = select(tables.group.c.id).where(tables.group.c.name_lookup == row["name_lookup"])
            if connection.execute(taken).first() is not None:
                raise NameTaken(kind="group", name=name)
            connection.execute(insert(tables.group), row)
            self._tell(connection, actor, "group_added", organisation, {"group": made.id.hex()}, {"group": name})
            return made

        return self._database.apply(work)

    def end_group(self, group: bytes, *, actor: Actor = SYSTEM) -> None:
        """Dissolve a group; what was granted to it reaches nobody any longer."""

        def work(connection: Connection) -> None:
            values = {"ended_at": now_us(), "name_lookup": secrets.token_bytes(32)}
            connection.execute(update(tables.group).where(tables.group.c.id == group).values(values))
            connection.execute(delete(tables.membership).where(tables.membership.c.group_id == group))
            self._tell(connection, actor, "group_ended", None, {"group": group.hex()})

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
        joined = _PEOPLE.join(tables.membership, tables.membership.c.person == tables.person.c.id)
        with self._database.read() as connection:
            rows = connection.execute(joined.where(tables.membership.c.group_id == group))
            return sorted((self._person(row) for row in rows), key=lambda each: each.login.casefold())

    def add_member(self, group: bytes, person: bytes, *, actor: Actor = SYSTEM) -> None:
        """Let a person be in a group; harmless if they are."""
        row = {"group_id": group, "person": person, "since": now_us()}

        def work(connection: Connection) -> None:
            connection.execute(self._database.insert_ignore(tables.membership), row)
            self._tell(connection, actor, "member_added", None, {"group": group.hex(), "person": person.hex()})

        self._database.apply(work)

    def remove_member(self, group: bytes, person: bytes, *, actor: Actor = SYSTEM) -> None:
        """Let a person be in a group no longer."""
        chosen = (tables.membership.c.group_id == group) & (tables.membership.c.person == person)

        def work(connection: Connection) -> None:
            connection.execute(delete(tables.membership).where(chosen))
            self._tell(connection, actor, "member_removed", None, {"group": group.hex(), "person": person.hex()})

        self._database.apply(work)

    # --- devices

    def add_device(
        self,
        person: bytes,
        label: str,
        *,
        spaces: Iterable[bytes] | None = None,
        read_only: bool = False,
        protocols: Iterable[Via] | None = None,
        expires_at: int | None = None,
        actor: Actor = SYSTEM,
    ) -> tuple[Device, str]:
        """Make a device password; return what is kept of it, and the password, to be shown once."""
        found = self.person(person)
        password = credentials.new_device_password()
        made = Device(
            new_id(),
            person,
            label,
            None if spaces is None else frozenset(spaces),
            read_only,
            None if protocols is None else frozenset(protocols),
            now_us(),
            expires_at,
            None,
        )
        row = {
            "id": made.id, "person": person, "secret_digest": credentials.device_digest(password),
            "label": self._sealed(found.organisation, b"device" + made.id, label),
            "spaces": None if made.spaces is None else json.dumps(sorted(space.hex() for space in made.spaces)),
            "read_only": read_only,
            "protocols": None if made.protocols is None else json.dumps(sorted(via.name for via in made.protocols)),
            "created_at": made.created_at, "expires_at": expires_at, "revoked_at": None,
        }  # fmt: skip

        def work(connection: Connection) -> None:
            connection.execute(insert(tables.device), row)
            facts = {"device": made.id.hex(), "person": person.hex()}
            self._tell(connection, actor, "device_added", found.organisation, facts, {"label": label})

        self._database.apply(work)
        return made, password

    def revoke_device(self, device: bytes, *, actor: Actor = SYSTEM) -> None:
        """Let a device password be good for nothing, at once."""

        def work(connection: Connection) -> None:
            owner = select(tables.device.c.person).where(tables.device.c.id == device)
            person = connection.execute(owner).scalar_one_or_none()
            if person is None:
                raise UnknownName(kind="device", name=device.hex())
            live = (tables.device.c.id == device) & tables.device.c.revoked_at.is_(None)
            connection.execute(update(tables.device).where(live).values(revoked_at=now_us()))
            organisation = connection.execute(_ORGANISATION_OF, {"person": person}).scalar_one_or_none()
            self._tell(connection, actor, "device_revoked", organisation, {"device": device.hex()})

        self._database.apply(work)

    def devices(self, person: bytes) -> list[Device]:
        """Return the device passwords of a person, oldest first, revoked ones included."""
        organisation = self.person(person).organisation
        with self._database.read() as connection:
            rows = connection.execute(select(tables.device).where(tables.device.c.person == person)).all()
        found = [self._device(row, organisation) for row in rows]
        return sorted(found, key=lambda each: each.created_at)

    # --- whom grants reach

    def grants_of_space(self, connection: Connection, space: bytes) -> list[Grant]:
        """Return the grants in force in a space, breaks of inheritance included."""
        return [grant_of(row) for row in connection.execute(_GRANTS, {"space": space})]

    def parties_of(self, connection: Connection, grant: Grant) -> frozenset[bytes]:
        """Return the parties (organisations, or a link) of which somebody is reached by a grant."""
        if grant.grantee_kind is GranteeKind.ORGANISATION or grant.grantee_kind is GranteeKind.LINK:
            return frozenset({grant.grantee})
        if grant.grantee_kind is GranteeKind.GROUP:
            return frozenset(connection.execute(_MEMBER_ORGANISATIONS, {"group": grant.grantee}).scalars())
        return frozenset(connection.execute(_ORGANISATION_OF, {"person": grant.grantee}).scalars())

    def grantee_name(self, connection: Connection, grant: Grant) -> str:
        """Return the name of whom a grant is for."""
        if grant.grantee_kind is GranteeKind.PERSON:
            return self.person_name(grant.grantee)
        if grant.grantee_kind is GranteeKind.ORGANISATION:
            return self.organisation_name(grant.grantee)
        row = connection.execute(_GROUPS.where(tables.group.c.id == grant.grantee)).first()
        return "" if row is None else self._group(row).name

    # --- beneath

    def _tell(
        self,
        connection: Connection,
        actor: Actor,
        kind: str,
        organisation: bytes | None,
        facts: Mapping[str, str | int] | None = None,
        personal: Mapping[str, str] | None = None,
    ) -> None:
        bump(connection)
        event = AuthEvent(kind, now_us(), actor, organisation, dict(facts or {}), dict(personal or {}))
        self._recorder.record_auth(connection, event)

    def _seal(self, organisation: bytes, label: bytes, data: bytes) -> bytes:
        return self._keyring.organisation(organisation).people.seal(label, data)

    def _sealed(self, organisation: bytes, label: bytes, text: str) -> bytes:
        return self._seal(organisation, label, text.encode("utf-8"))

    def _opened(self, organisation: bytes, label: bytes, sealed: bytes) -> str:
        return self._keyring.organisation(organisation).people.open(label, sealed).decode("utf-8")

    def _ids(self, connection: Connection, column: Any, chosen: Any) -> list[bytes]:
        return list(connection.execute(select(column).where(chosen)).scalars())

    def _name(self, kept: dict[bytes, str], identity: bytes, table: Any, opened: Callable[[Any], Any]) -> str:
        name = kept.get(identity)
        if name is None:
            with self._database.read() as connection:
                row = connection.execute(select(table).where(table.c.id == identity)).first()
            if row is None:
                return ""
            name = str(opened(row).name)
            with self._guard:
                if len(kept) >= NAMES_MAX:
                    kept.clear()
                kept[identity] = name
        return name

    def _organisation(self, row: Any) -> Organisation:
        name = self._opened(row.id, b"organisation" + row.id, row.name)
        return Organisation(row.id, name, row.is_supplier, row.second_factor)

    def _person(self, row: Any) -> Person:
        opened = self._opened
        return Person(
            id=row.id,
            organisation=row.organisation,
            login=opened(row.organisation, b"login" + row.id, row.login),
            name=opened(row.organisation, b"name" + row.id, row.name),
            mail="" if row.mail is None else opened(row.organisation, b"mail" + row.id, row.mail),
            is_administrator=row.is_administrator,
            has_password=row.password_hash is not None,
            has_second_factor=row.totp_secret is not None,
        )

    def _group(self, row: Any) -> Group:
        name = self._keyring.installation().general.open(b"group" + row.id, row.name).decode("utf-8")
        return Group(row.id, row.organisation, name)

    def _device(self, row: Any, organisation: bytes) -> Device:
        return Device(
            id=row.id,
            person=row.person,
            label=self._opened(organisation, b"device" + row.id, row.label),
            spaces=None if row.spaces is None else frozenset(bytes.fromhex(each) for each in json.loads(row.spaces)),
            read_only=row.read_only,
            protocols=None if row.protocols is None else frozenset(Via[each] for each in json.loads(row.protocols)),
            created_at=row.created_at,
            expires_at=row.expires_at,
            revoked_at=row.revoked_at,
        )
