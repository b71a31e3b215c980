"""Organisations and their people, with groups and devices. Whatever a person typed is sealed under a key of theirs."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from auth import credentials, tables
from auth.devices import Devices
from auth.errors import LastAdministrator, NameTaken, SupplierNeeded, UnknownName
from auth.events import Actor
from auth.groups import SUPPLIER, Groups
from auth.people import Organisation, Person
from auth.records import LIVE_PEOPLE, SYSTEM, bump, checked_login, checked_text, grant_of, unique
from auth.rights import Grant
from auth.roles import GranteeKind
from config.clock import now_us
from config.ids import NOBODY, new_id

__all__ = ["SYSTEM", "Directory", "bump", "grant_of"]

_ORGANISATIONS = select(tables.organisation).where(tables.organisation.c.ended_at.is_(None))
_GROUP = select(tables.group).where(tables.group.c.id == bindparam("group"))
_SPACES_OF = (
    select(tables.grants.c.space)
    .distinct()
    .where(
        tables.grants.c.grantee == bindparam("grantee"),
        tables.grants.c.grantee_kind == bindparam("kind"),
        tables.grants.c.to_change.is_(None),
    )
)
_GRANTS = select(tables.grants).where(tables.grants.c.space == bindparam("space"), tables.grants.c.to_change.is_(None))
_MEMBER_ORGANISATIONS = (
    select(tables.membership.c.group_id, tables.person.c.organisation)
    .distinct()
    .join(tables.person, tables.membership.c.person == tables.person.c.id)
    .where(tables.membership.c.group_id.in_(bindparam("grantees", expanding=True)), tables.person.c.ended_at.is_(None))
)
_ORGANISATIONS_OF = select(tables.person.c.id, tables.person.c.organisation).where(
    tables.person.c.id.in_(bindparam("grantees", expanding=True)), tables.person.c.ended_at.is_(None)
)
_ENDED = tuple(
    select(table.c.id).where(table.c.id.in_(bindparam("grantees", expanding=True)), table.c.ended_at.is_not(None))
    for table in (tables.person, tables.group, tables.organisation)
)
_GRANTEES_AT_ONCE = 500


class Directory(Groups, Devices):
    """The people of an installation. Every change is an event, and lets rights be asked anew where it bears on them."""

    # --- organisations

    @property
    def supplier_id(self) -> bytes:
        """The id of the supplier's organisation; empty before there is one."""
        if self._supplier is None:
            with self._database.read() as connection:
                self._supplier = connection.execute(SUPPLIER).scalar()
        return self._supplier or NOBODY

    def add_organisation(
        self, name: str, *, supplier: bool = False, second_factor: bool | None = None, actor: Actor = SYSTEM
    ) -> Organisation:
        """Add an organisation, its key first. Raises NameTaken, UnusableText; SupplierNeeded for a second supplier."""
        name = checked_text("name of an organisation", name)
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
            if supplier and connection.execute(SUPPLIER).scalar() is not None:
                raise SupplierNeeded
            connection.execute(insert(tables.organisation), row)
            if supplier:
                connection.execute(update(tables.installation).values(supplier=made.id))
            self._tell(connection, actor, "organisation_added", made.id, personal={"organisation": name}, felt=supplier)
            return made

        self._supplier = None
        with unique("org", name):
            return self._database.apply(work)

    def end_organisation(self, organisation: bytes, *, actor: Actor = SYSTEM) -> None:
        """Let an organisation and all its people no longer sign in. What they did stays; the name is free again.

        Raises UnknownName; SupplierNeeded for the supplier.
        """

        def work(connection: Connection) -> None:
            self._require(connection, tables.organisation, "org", organisation)
            if self._is_supplier(connection, organisation):
                raise SupplierNeeded
            now = now_us()
            chosen = tables.organisation.c.id == organisation
            values = {"ended_at": now, "name_lookup": secrets.token_bytes(32)}
            connection.execute(update(tables.organisation).where(chosen).values(values))
            chosen = tables.person.c.organisation == organisation
            self._end(connection, self._ids(connection, tables.person.c.id, chosen), now)
            self._tell(connection, actor, "organisation_ended", organisation)

        self._database.apply(work)

    def organisations(self) -> list[Organisation]:
        """Return all organisations that have not ended, by name."""
        with self._database.read() as connection:
            found = [self._organisation(row) for row in connection.execute(_ORGANISATIONS)]
        return sorted(found, key=lambda each: each.name.casefold())

    def ended_organisations(self) -> list[Organisation]:
        """Return those that have ended and are not erased, by name: what is known of their people stands until then."""
        ended = select(tables.organisation).where(tables.organisation.c.ended_at.is_not(None))
        with self._database.read() as connection:
            rows = connection.execute(ended).all()
        kept = set(self._keyring.keystore.list())
        found = [self._organisation(row) for row in rows if row.id in kept]
        return sorted(found, key=lambda each: each.name.casefold())

    def find_organisation(self, name: str) -> Organisation:
        """Return the organisation of that name. Raises UnknownName."""
        lookup = self._keyring.installation().lookup(b"organisation", name)
        with self._database.read() as connection:
            row = connection.execute(_ORGANISATIONS.where(tables.organisation.c.name_lookup == lookup)).first()
        if row is None:
            raise UnknownName(kind="org", name=name)
        return self._organisation(row)

    def rename_organisation(self, organisation: bytes, name: str, *, actor: Actor = SYSTEM) -> None:
        """Give an organisation another name. Raises NameTaken, UnknownName, UnusableText."""
        name = checked_text("name of an organisation", name)
        lookup = self._keyring.installation().lookup(b"organisation", name)
        sealed = self._sealed(organisation, b"organisation" + organisation, name)

        def work(connection: Connection) -> None:
            self._require(connection, tables.organisation, "org", organisation)
            chosen = update(tables.organisation).where(tables.organisation.c.id == organisation)
            connection.execute(chosen.values(name=sealed, name_lookup=lookup))
            self._tell(connection, actor, "organisation_changed", organisation, personal={"organisation": name})

        with unique("org", name):
            self._database.apply(work)
        self._forget_names()

    def set_second_factor(self, organisation: bytes, demanded: bool, *, actor: Actor = SYSTEM) -> None:
        """Demand a second factor of all people of an organisation, or leave it to their administrators alone."""

        def work(connection: Connection) -> None:
            self._require(connection, tables.organisation, "org", organisation)
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
        password_hash: bytes | None = None,
        actor: Actor = SYSTEM,
    ) -> Person:
        """Add a person. Logins are one of a kind in the installation.

        `password_hash` stands in for a password of which only the hash is known: `credentials.hash_password` made it.

        Raises NameTaken, UnknownName (no such organisation), UnusableText, WeakPassword.
        """
        identity = new_id()
        login, name = checked_login(login), checked_text("name of a person", name)
        mail = None if mail is None else checked_text("mail address", mail)
        if password is not None:
            credentials.check_strength(password, second_factor=False, names=(login, name))
        hashed = password_hash if password is None else credentials.hash_password(password)
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
            self._require(connection, tables.organisation, "org", organisation)
            taken = select(tables.person.c.id).where(tables.person.c.login_lookup == row["login_lookup"])
            if connection.execute(taken).first() is not None:
                raise NameTaken(kind="person", name=login)
            connection.execute(insert(tables.person), row)
            facts: dict[str, str | int] = {"person": identity.hex(), "administrator": int(administrator)}
            self._tell(connection, actor, "person_added", organisation, facts, {"person": name}, felt=False)
            return Person(identity, organisation, login, name, mail or "", administrator, hashed is not None, False)

        with unique("person", login):
            return self._database.apply(work)

    def change_person(
        self,
        person: bytes,
        *,
        name: str | None = None,
        mail: str | None = None,
        administrator: bool | None = None,
        actor: Actor = SYSTEM,
    ) -> None:
        """Change what is given of a person; an empty `mail`: none.

        Raises UnknownName, UnusableText; LastAdministrator if nobody else administers the supplier.
        """
        found = self.person(person)
        values: dict[str, object] = {}
        if name is not None:
            values["name"] = self._sealed(found.organisation, b"name" + person, checked_text("name of a person", name))
        if mail is not None:
            bare = mail and checked_text("mail address", mail)
            values["mail"] = self._sealed(found.organisation, b"mail" + person, bare) if bare else None
        if administrator is not None:
            values["is_administrator"] = administrator
        if values:
            facts = {} if administrator is None else {"administrator": int(administrator)}
            self._change_person(found, "person_changed", values, actor, facts)
            self._forget_names()

    def end_person(self, person: bytes, *, actor: Actor = SYSTEM) -> None:
        """Let a person no longer sign in, by any device. What they did stays, and nothing they made goes.

        Raises UnknownName; LastAdministrator for who administers the supplier alone.
        """
        found = self.person(person)

        def work(connection: Connection) -> None:
            self._require_another_administrator(connection, found)
            self._end(connection, [person], now_us())
            self._tell(
                connection, actor, "person_ended", found.organisation, {"person": person.hex()}, {"person": found.name}
            )

        self._database.apply(work)

    def _require_another_administrator(self, connection: Connection, found: Person) -> None:
        """Raise LastAdministrator if nobody else administers the supplier. A customer may do without."""
        if not self._is_supplier(connection, found.organisation):
            return
        self._require(connection, tables.organisation, "org", found.organisation)  # of two at once, one comes second
        table = tables.person.c
        administers = (table.organisation == found.organisation) & table.is_administrator & table.ended_at.is_(None)
        if self._ids(connection, table.id, administers) == [found.id]:
            raise LastAdministrator(name=found.name, organisation=self.organisation_name(found.organisation))

    def _end(self, connection: Connection, people: Iterable[bytes], now: int) -> None:
        those = sorted(people)
        for person in those:
            # The login is free again for whoever comes next: its lookup gives way to a random one.
            values = {"ended_at": now, "login_lookup": secrets.token_bytes(32)}
            connection.execute(update(tables.person).where(tables.person.c.id == person).values(values))
        for person in those:
            live = (tables.device.c.person == person) & tables.device.c.revoked_at.is_(None)
            connection.execute(update(tables.device).where(live).values(revoked_at=now))
        for person in those:
            connection.execute(delete(tables.membership).where(tables.membership.c.person == person))

    def people(self, organisation: bytes | None = None) -> list[Person]:
        """Return the people of an organisation, or all, by login."""
        chosen = LIVE_PEOPLE
        if organisation is not None:
            chosen = chosen.where(tables.person.c.organisation == organisation)
        with self._database.read() as connection:
            found = [self._person(row) for row in connection.execute(chosen)]
        return sorted(found, key=lambda each: each.login.casefold())

    def find_person(self, login: str) -> Person:
        """Return the person who signs in by that name. Raises UnknownName."""
        lookup = self._keyring.installation().lookup(b"login", login)
        with self._database.read() as connection:
            row = connection.execute(LIVE_PEOPLE.where(tables.person.c.login_lookup == lookup)).first()
        if row is None:
            raise UnknownName(kind="person", name=login)
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

    def note_release(self, person: Person, *, actor: Actor = SYSTEM) -> None:
        """Record that somebody whose sign-ins failed too often may try again."""

        def work(connection: Connection) -> None:
            facts = {"person": person.id.hex()}
            self._tell(connection, actor, "sign_in_released", person.organisation, facts, felt=False)

        self._database.apply(work)

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

    def remove_totp(self, person: bytes, *, actor: Actor = SYSTEM) -> None:
        """Take a person's second factor and recovery codes away, as when a telephone is lost."""
        found = self.person(person)

        def work(connection: Connection) -> None:
            connection.execute(delete(tables.recovery_code).where(tables.recovery_code.c.person == person))
            connection.execute(update(tables.person).where(tables.person.c.id == person).values(totp_secret=None))
            self._tell(
                connection, actor, "totp_removed", found.organisation, {"person": person.hex()}, {"person": found.name}
            )

        self._database.apply(work)

    def _change_person(
        self,
        found: Person,
        kind: str,
        values: Mapping[str, object],
        actor: Actor,
        facts: Mapping[str, str | int] | None = None,
    ) -> None:
        told = {"person": found.id.hex(), **(facts or {})}

        def work(connection: Connection) -> None:
            if values.get("is_administrator") is False:
                self._require_another_administrator(connection, found)
            connection.execute(update(tables.person).where(tables.person.c.id == found.id).values(**values))
            self._tell(connection, actor, kind, found.organisation, told, {"person": found.name})

        self._database.apply(work)

    # --- whom grants reach

    def grants_of_space(self, connection: Connection, space: bytes) -> list[Grant]:
        """Return the grants in force in a space, breaks of inheritance included."""
        return [grant_of(row) for row in connection.execute(_GRANTS, {"space": space})]

    def spaces_of(self, connection: Connection, kind: GranteeKind, grantee: bytes) -> list[bytes]:
        """Return the spaces in which something is granted to a grantee."""
        return list(connection.execute(_SPACES_OF, {"kind": int(kind), "grantee": grantee}).scalars())

    def parties_of(self, connection: Connection, grant: Grant) -> frozenset[bytes]:
        """Return the parties (organisations, or a link) of which somebody is reached by a grant."""
        return self.parties_reached(connection, [grant])[grant.id]

    def parties_reached(self, connection: Connection, grants: Sequence[Grant]) -> dict[bytes, frozenset[bytes]]:
        """Return what `parties_of` does for each of many grants, by their ids, in few queries."""
        found: dict[tuple[GranteeKind, bytes], set[bytes]] = {}
        asked: dict[GranteeKind, set[bytes]] = {GranteeKind.PERSON: set(), GranteeKind.GROUP: set()}
        for grant in grants:
            if grant.grantee_kind in asked:
                asked[grant.grantee_kind].add(grant.grantee)
            elif grant.grantee_kind is not GranteeKind.NONE:
                found[grant.grantee_kind, grant.grantee] = {grant.grantee}
        for kind, query in ((GranteeKind.PERSON, _ORGANISATIONS_OF), (GranteeKind.GROUP, _MEMBER_ORGANISATIONS)):
            waiting = list(asked[kind])
            for start in range(0, len(waiting), _GRANTEES_AT_ONCE):
                some = waiting[start : start + _GRANTEES_AT_ONCE]
                for grantee, organisation in connection.execute(query, {"grantees": some}):
                    found.setdefault((kind, grantee), set()).add(organisation)
        return {grant.id: frozenset(found.get((grant.grantee_kind, grant.grantee), ())) for grant in grants}

    def ended(self, connection: Connection, grants: Sequence[Grant]) -> frozenset[bytes]:
        """Return whom grants are for that have ended, by id: what is granted to them reaches nobody any longer."""
        waiting = list({grant.grantee for grant in grants})
        found: set[bytes] = set()
        for start in range(0, len(waiting), _GRANTEES_AT_ONCE):
            some = {"grantees": waiting[start : start + _GRANTEES_AT_ONCE]}
            for query in _ENDED:
                found.update(connection.execute(query, some).scalars())
        return frozenset(found)

    def is_group_across(self, connection: Connection, grant: Grant) -> bool:
        """Return whether a grant is for a group across several organisations, whoever is in it now."""
        if grant.grantee_kind is not GranteeKind.GROUP:
            return False
        row = connection.execute(_GROUP, {"group": grant.grantee}).first()
        return row is not None and row.organisation is None

    def grantee_name(self, connection: Connection, grant: Grant) -> str:
        """Return the name of whom a grant is for."""
        if grant.grantee_kind is GranteeKind.PERSON:
            return self.person_name(grant.grantee)
        if grant.grantee_kind is GranteeKind.ORGANISATION:
            return self.organisation_name(grant.grantee)
        row = connection.execute(_GROUP, {"group": grant.grantee}).first()
        return "" if row is None else self._group(row).name
