"""What a file for `mellanrum apply` asks for, read from TOML or CSV and checked: all that is wrong is told at once."""

from __future__ import annotations

import csv
import difflib
import io
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from pathlib import Path as File
from typing import Any

from auth.records import checked_login, checked_text
from auth.roles import GranteeKind, Role
from config.errors import MellanrumError
from providers.paths import Path, check_name, fold, parse
from server.cli.errors import InputWrong, Misused
from server.cli.find import ROLES, read_text
from server.cli.spaces import template_of
from server.cli.text import parse_span

PROBLEMS_SHOWN_MAX = 20
ROWS_MAX = 100_000
FIELD_CHARACTERS_MAX = 10_000
KINDS = {"person": GranteeKind.PERSON, "group": GranteeKind.GROUP, "organisation": GranteeKind.ORGANISATION}


@dataclass(frozen=True)
class WantedOrganisation:
    """A customer. `second_factor` None: as it stands."""

    name: str
    second_factor: bool | None = None


@dataclass(frozen=True)
class WantedPerson:
    """An account. `organisation` empty: the supplier's; `administrator` None: as it stands."""

    login: str
    name: str
    organisation: str
    mail: str = ""
    administrator: bool | None = None


@dataclass(frozen=True)
class WantedGroup:
    """A group and who must be in it, at least."""

    name: str
    organisation: str
    members: tuple[str, ...]


@dataclass(frozen=True)
class WantedGrant:
    """A role for somebody named. `history` None: as the role has it by default; `expires`: a date or time, as text."""

    path: Path
    kind: GranteeKind
    name: str
    role: Role
    history: bool | None = None
    expires: str = ""


@dataclass(frozen=True)
class WantedPrivate:
    """A folder for each of some people below `below`, which inherits nothing. Members: those listed, and the group's
    and organisation's. `also`: who else is let into each.
    """

    below: Path
    role: Role
    members: tuple[str, ...]
    group: str = ""
    organisation: str = ""
    also: tuple[WantedGrant, ...] = ()


@dataclass
class WantedSpace:
    """A space. `customer` empty: the supplier's own; `quota_bytes` None, `retention` empty: as it stands."""

    name: str
    customer: str
    is_open: bool = False
    quota_bytes: int | None = None
    retention: str = ""
    folders: list[Path] = field(default_factory=list)
    grants: list[WantedGrant] = field(default_factory=list)
    private: list[WantedPrivate] = field(default_factory=list)


@dataclass
class Wanted:
    """All that a file asks for, each thing once, in the order in which it was first named."""

    organisations: dict[str, WantedOrganisation] = field(default_factory=dict)
    people: dict[str, WantedPerson] = field(default_factory=dict)
    groups: dict[tuple[str, str], WantedGroup] = field(default_factory=dict)
    spaces: dict[tuple[str, str], WantedSpace] = field(default_factory=dict)

    def space(self, customer: str, name: str) -> WantedSpace:
        """Return the space, as wanted so far."""
        return self.spaces.setdefault((fold(customer), fold(name)), WantedSpace(name, customer))


def read(file: File) -> Wanted:
    """Return what a file asks for, by its ending. Raises InputUnreadable, InputWrong."""
    text = read_text(file)
    reading = _Reading(file)
    if file.suffix.casefold() in (".csv", ".tsv", ".txt"):
        reading.take_csv(text)
    else:
        reading.take_toml(text)
    if reading.problems:
        raise wrong(file, reading.problems)
    return reading.wanted


def wrong(file: File, problems: list[str]) -> InputWrong:
    """Return the error that tells of all problems."""
    shown = problems[:PROBLEMS_SHOWN_MAX]
    if len(problems) > len(shown):
        shown.append(f"and {len(problems) - len(shown)} more.")
    return InputWrong(file=file, why=shown[0] if len(shown) == 1 else "".join(f"\n  {each}" for each in shown) + "\n")


#: The tables of a TOML file, and the keys of each: type, and whether it must be there.
_TEXT, _TEXTS, _FLAG, _NUMBER, _DATE, _TABLES = "text", "texts", "flag", "number", "date", "tables"
_GRANTEE = {"person": (_TEXT, False), "group": (_TEXT, False), "organisation": (_TEXT, False)}
_GRANT = {
    "role": (_TEXT, True),
    **_GRANTEE,
    "path": (_TEXT, False),
    "history": (_FLAG, False),
    "expires": (_DATE, False),
}
TABLES: dict[str, dict[str, tuple[str, bool]]] = {
    "organisation": {"name": (_TEXT, True), "second_factor": (_FLAG, False)},
    "person": {
        "login": (_TEXT, True),
        "name": (_TEXT, True),
        "organisation": (_TEXT, False),
        "mail": (_TEXT, False),
        "administrator": (_FLAG, False),
    },
    "group": {"name": (_TEXT, True), "organisation": (_TEXT, False), "members": (_TEXTS, False)},
    "space": {
        "name": (_TEXT, True),
        "customer": (_TEXT, False),
        "open": (_FLAG, False),
        "quota_bytes": (_NUMBER, False),
        "retention": (_TEXT, False),
        "folders": (_TEXTS, False),
        "template": (_TEXT, False),
        "grants": (_TABLES, False),
        "private": (_TABLES, False),
    },
    "grants": _GRANT,
    "private": {
        "below": (_TEXT, True),
        "role": (_TEXT, False),
        "members": (_TEXTS, False),
        "group": (_TEXT, False),
        "organisation": (_TEXT, False),
        "also": (_TABLES, False),
    },
    "also": {"role": (_TEXT, True), **_GRANTEE, "history": (_FLAG, False), "expires": (_DATE, False)},
}
COLUMNS = (
    *("organisation", "second_factor", "login", "name", "mail", "administrator"),
    *("space", "retention", "folders", "path", "role", "history", "expires", "private_below"),
)
#: Without which a column says nothing: what is typed there would be passed over in silence.
NEEDED = {
    "second_factor": "organisation",
    **dict.fromkeys(("name", "mail", "administrator"), "login"),
    **dict.fromkeys(("retention", "folders", "role", "private_below"), "space"),
    **dict.fromkeys(("path", "history", "expires"), "role"),
}
#: What a private folder, its member's for good, has no use for.
NOT_PRIVATE = ("path", "history", "expires")
_YES, _NO = ("yes", "true", "1", "x", "ja"), ("no", "false", "0", "nej")


class _Reading:
    def __init__(self, file: File) -> None:
        self.file = file
        self.wanted = Wanted()
        self.problems: list[str] = []
        self._said: dict[tuple[str, str], dict[str, Any]] = {}

    # --- TOML

    def take_toml(self, text: str) -> None:
        try:
            found = tomllib.loads(text)
        except (ValueError, RecursionError) as error:
            self.problems.append(f"it is no TOML: {error}.")
            return
        for kind, tables in found.items():
            if kind not in ("organisation", "person", "group", "space"):
                self.problems.append(f"there is no table [[{kind}]].{_nearest(kind, list(TABLES)[:4])}")
            elif not isinstance(tables, list):
                self.problems.append(f"write [[{kind}]], in double brackets.")
            else:
                for number, table in enumerate(tables, 1):
                    where = f"{kind} {number}"
                    values = self._values(kind, table, where)
                    if values is not None:
                        getattr(self, f"_{kind}")(values, where)

    def _values(self, kind: str, table: object, where: str) -> dict[str, Any] | None:
        """Return the values of a table if all can be used."""
        if not isinstance(table, dict):
            self.problems.append(f"{where}: must be a table.")
            return None
        before, keys = len(self.problems), TABLES[kind]
        for key, value in table.items():
            if key not in keys:
                self.problems.append(f"{where}: there is no key {key}.{_nearest(key, keys)}")
            elif not _fits(keys[key][0], value):
                self.problems.append(f"{where}: {key} must be {_SAID[keys[key][0]]}.")
        missing = (key for key, (_, needed) in keys.items() if needed and key not in table)
        self.problems.extend(f"{where}: {key} is missing." for key in missing)
        return table if len(self.problems) == before else None

    def _organisation(self, values: Mapping[str, Any], where: str) -> None:
        name = self._name("name of an organisation", values["name"], where)
        if fold(name) in self.wanted.organisations:
            self.problems.append(f"{where}: {name} stands twice.")
        self.wanted.organisations[fold(name)] = WantedOrganisation(name, values.get("second_factor"))

    def _person(self, values: Mapping[str, Any], where: str) -> None:
        made = self._wanted_person(values, where)
        if fold(made.login) in self.wanted.people:
            self.problems.append(f"{where}: {made.login} stands twice.")
        self.wanted.people[fold(made.login)] = made

    def _wanted_person(self, values: Mapping[str, Any], where: str) -> WantedPerson:
        mail = values.get("mail", "")
        return WantedPerson(
            self._checked(checked_login, values["login"], where) or "",
            self._name("name of a person", values["name"], where),
            values.get("organisation", ""),
            mail and self._name("mail address", mail, where),
            values.get("administrator"),
        )

    def _group(self, values: Mapping[str, Any], where: str) -> None:
        name = self._name("name of a group", values["name"], where)
        key = (fold(values.get("organisation", "")), fold(name))
        if key in self.wanted.groups:
            self.problems.append(f"{where}: {name} stands twice.")
        members = tuple(dict.fromkeys(values.get("members", ())))
        self.wanted.groups[key] = WantedGroup(name, values.get("organisation", ""), members)

    def _space(self, values: Mapping[str, Any], where: str) -> None:
        name, customer = values["name"], values.get("customer", "")
        if (fold(customer), fold(name)) in self.wanted.spaces:
            self.problems.append(f"{where}: {name} stands twice.")
        self._checked(check_name, name, where)
        made = self.wanted.space(customer, name)
        made.is_open, made.quota_bytes = values.get("open", False), values.get("quota_bytes")
        made.retention = self._retention(values.get("retention", ""), where)
        for folder in values.get("folders", ()):
            made.folders.extend(self._path(folder, where))
        if "template" in values:
            below = self._checked(template_of, self.file.parent / values["template"], where)
            made.folders.extend(below or ())
        for number, table in enumerate(values.get("grants", ()), 1):
            made.grants.extend(self._grant("grants", table, f"{where} ({name}), grant {number}"))
        for number, table in enumerate(values.get("private", ()), 1):
            self._private(made, table, f"{where} ({name}), private {number}")

    def _grant(self, kind: str, table: object, where: str) -> Iterator[WantedGrant]:
        values = self._values(kind, table, where)
        if values is None:
            return
        named = [key for key in KINDS if values.get(key)]
        if len(named) != 1:
            self.problems.append(f"{where}: name one of person, group or organisation.")
            return
        role, path = self._role(values["role"], where), list(self._path(values.get("path", "/"), where))
        expires = values.get("expires", "")
        expires = expires.isoformat() if isinstance(expires, date) else expires
        if role is not None and path:
            yield WantedGrant(path[0], KINDS[named[0]], values[named[0]], role, values.get("history"), expires)

    def _private(self, space: WantedSpace, table: object, where: str) -> None:
        values = self._values("private", table, where)
        if values is None:
            return
        role, below = self._role(values.get("role", "editor"), where), list(self._path(values["below"], where))
        also = [
            grant
            for number, each in enumerate(values.get("also", ()), 1)
            for grant in self._grant("also", each, f"{where}, also {number}")
        ]
        if not any(values.get(key) for key in ("members", "group", "organisation")):
            self.problems.append(f"{where}: name the members, or a group or organisation of them.")
        elif role is not None and below:
            members = tuple(dict.fromkeys(values.get("members", ())))
            group, organisation = values.get("group", ""), values.get("organisation", "")
            space.private.append(WantedPrivate(below[0], role, members, group, organisation, tuple(also)))

    # --- CSV

    def take_csv(self, text: str) -> None:
        """A row names an organisation, perhaps a person of it, perhaps a space of it and a role there for either."""
        delimiter = max(";,\t", key=text.partition("\n")[0].count)
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        try:
            listed = [(number, row) for number, row in enumerate(rows, 1) if any(cell.strip() for cell in row)]
        except csv.Error as error:
            self.problems.append(f"line {rows.line_num}: it is no CSV: {error}.")
            return
        if not listed:
            self.problems.append("it is empty: the first line names the columns.")
            return
        names = [cell.strip().casefold() for cell in listed[0][1]]
        unknown = [name for name in names if name not in COLUMNS]
        self.problems.extend(f"there is no column {name}.{_nearest(name, COLUMNS)}" for name in unknown)
        if len(set(names)) != len(names):
            self.problems.append("a column stands twice.")
        if len(listed) > ROWS_MAX:
            self.problems.append(f"it has more than {ROWS_MAX} rows.")
        if self.problems:
            return
        for number, row in listed[1:]:
            where = f"row {number}"
            if len(row) > len(names):
                self.problems.append(f"{where}: it has more cells than there are columns.")
            self._row({name: cell.strip() for name, cell in zip(names, row, strict=False) if cell.strip()}, where)

    def _row(self, row: Mapping[str, str], where: str) -> None:
        organisation, login = row.get("organisation", ""), row.get("login", "")
        stray = [column for column in row if column in NEEDED and NEEDED[column] not in row]
        if stray:
            self.problems.append(f"{where}: {stray[0]} needs {NEEDED[stray[0]]} in the same row.")
        if organisation:
            second = self._flag(row, "second_factor", where)
            said = self._agreed(("organisation", fold(organisation)), organisation, {"second_factor": second}, where)
            known = self.wanted.organisations.get(fold(organisation))
            name = known.name if known else self._name("name of an organisation", organisation, where)
            self.wanted.organisations[fold(organisation)] = WantedOrganisation(name, said["second_factor"])
        if login:
            self._person_row(row, organisation, login, where)
        if row.get("space"):
            self._space_row(row, organisation, login, where)
        if not (organisation or login or row.get("space")):
            self.problems.append(f"{where}: it names no organisation, person or space.")

    def _person_row(self, row: Mapping[str, str], organisation: str, login: str, where: str) -> None:
        flag = self._flag(row, "administrator", where)
        given = {"organisation": organisation, "name": row.get("name"), "mail": row.get("mail"), "administrator": flag}
        said = self._agreed(("person", fold(login)), login, given, where)
        if said["name"] is None:
            self.problems.append(f"{where}: {login} has no name.")
            return
        values = {"login": login, **{column: value for column, value in said.items() if value is not None}}
        self.wanted.people[fold(login)] = self._wanted_person(values, where)

    def _agreed(self, key: tuple[str, str], name: str, given: Mapping[str, Any], where: str) -> dict[str, Any]:
        """Return what all rows so far say of something; None: none of them does. Rows may not contradict each other."""
        said = self._said.setdefault(key, dict(given))
        for column, value in given.items():
            if said[column] is None:
                said[column] = value
            elif value is not None and fold(str(value)) != fold(str(said[column])):
                self.problems.append(f"{where}: {column} of {name} is another than in an earlier row.")
        return said

    def _space_row(self, row: Mapping[str, str], organisation: str, login: str, where: str) -> None:
        self._checked(check_name, row["space"], where)
        space = self.wanted.space(organisation, row["space"])
        given = {"retention": self._retention(row.get("retention", ""), where) or None}
        key = f"{fold(organisation)}/{fold(row['space'])}"
        space.retention = self._agreed(("space", key), row["space"], given, where)["retention"] or ""
        for folder in row.get("folders", "").split("|"):
            if folder.strip():
                space.folders.extend(self._path(folder.strip(), where))
        role = self._role(row["role"], where) if "role" in row else None
        below = row.get("private_below")
        if below is not None:
            if not login:
                self.problems.append(f"{where}: private_below needs a login.")
                return
            if useless := [column for column in NOT_PRIVATE if column in row]:
                self.problems.append(f"{where}: {useless[0]} does not go with private_below.")
            for path in self._path(below, where):
                space.private.append(WantedPrivate(path, role or Role.EDITOR, (login,)))
            return
        if role is None:
            return
        kind, name = (GranteeKind.PERSON, login) if login else (GranteeKind.ORGANISATION, organisation)
        if not name:
            self.problems.append(f"{where}: role needs a login or an organisation.")
            return
        for path in self._path(row.get("path", "/"), where):
            history = self._flag(row, "history", where)
            space.grants.append(WantedGrant(path, kind, name, role, history, row.get("expires", "")))

    # --- values

    def _flag(self, row: Mapping[str, str], name: str, where: str) -> bool | None:
        text = row.get(name, "").casefold()
        if text and text not in (*_YES, *_NO):
            self.problems.append(f"{where}: {name} must be yes or no.")
        return None if not text else text in _YES

    def _role(self, text: str, where: str) -> Role | None:
        if text.casefold() not in ROLES:
            self.problems.append(f"{where}: there is no role {text}: take one of {', '.join(ROLES)}.")
            return None
        return ROLES[text.casefold()]

    def _retention(self, text: str, where: str) -> str:
        try:
            parse_span(text or "none", "mellanrum apply")
        except Misused as error:
            self.problems.append(f"{where}: {error.facts['problem']}")
        return text

    def _path(self, text: str, where: str) -> Iterator[Path]:
        found = self._checked(parse, text, where)
        if found is not None:
            yield found

    def _name(self, kind: str, text: str, where: str) -> str:
        return self._checked(partial(checked_text, kind), text, where) or text

    def _checked(self, made: Any, given: Any, where: str) -> Any:
        try:
            return made(given)
        except MellanrumError as error:
            self.problems.append(f"{where}: {given}: {error}")
            return None


_SAID = {
    _TEXT: "text",
    _DATE: "a date or time",
    _TEXTS: "a list of texts",
    _FLAG: "true or false",
    _NUMBER: "a number of bytes",
    _TABLES: "tables",
}


def _fits(kind: str, value: object) -> bool:
    if kind == _DATE and isinstance(value, date):
        return True
    if kind in (_TEXT, _DATE):
        return isinstance(value, str) and 0 < len(value.strip()) <= FIELD_CHARACTERS_MAX
    if kind == _TEXTS:
        return isinstance(value, list) and all(isinstance(each, str) and each for each in value)
    if kind == _FLAG:
        return isinstance(value, bool)
    if kind == _NUMBER:
        return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**60
    return isinstance(value, list)


def _nearest(name: str, known: Iterable[str]) -> str:
    found = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean {found[0]}?" if found else ""
