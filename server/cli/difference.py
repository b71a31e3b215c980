"""What stands between an installation and what a file asks for, as steps that can be shown and then done.

Nothing is ever taken away that the file does not name. What cannot be changed is noted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from auth.people import Group, Organisation, Person
from auth.rights import Grant
from auth.roles import GranteeKind, Role
from config.errors import MellanrumError
from providers.model import SpaceInfo
from providers.paths import ROOT, Path, check_name, fold
from server.cli.frame import Desk
from server.cli.grants import history_by_default
from server.cli.text import is_over, parse_moment, parse_span, size, span
from server.cli.wanted import Wanted, WantedGrant, WantedPerson, WantedPrivate, WantedSpace

Act = Callable[[], None]


@dataclass(frozen=True)
class Step:
    """One line of the difference, and what makes it so. `sign`: `+` new, `~` changed."""

    sign: str
    what: str
    text: str
    act: Act


@dataclass
class Difference:
    """Phases in their order; what is in one may be done side by side, each job from its first step to its last."""

    organisations: list[list[Step]] = field(default_factory=list)
    people: list[list[Step]] = field(default_factory=list)
    groups: list[list[Step]] = field(default_factory=list)
    spaces: list[list[Step]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def phases(self) -> list[list[list[Step]]]:
        """The jobs of each phase."""
        return [self.organisations, self.people, self.groups, self.spaces]

    @property
    def steps(self) -> list[Step]:
        """Every step."""
        return [step for phase in self.phases for job in phase for step in job]


class Comparison:
    """Compares, and keeps what was found and made by name, so that later steps reach what earlier ones made."""

    def __init__(self, desk: Desk, wanted: Wanted, on_person: Callable[[Person], None]) -> None:
        self._desk = desk
        self._wanted = wanted
        self._on_person = on_person
        self._installation = desk.installation
        self._directory = desk.installation.directory
        self.found = Difference()
        self.organisations: dict[str, Organisation] = {fold(o.name): o for o in self._directory.organisations()}
        self.people: dict[str, Person] = {fold(p.login): p for p in self._directory.people()}
        self.groups: dict[tuple[str, str], Group] = {}
        names: dict[bytes | None, str] = {o.id: fold(o.name) for o in self.organisations.values()}
        names[None] = ""
        for group in self._directory.groups():
            if group.organisation in names:  # else it is of an organisation that has ended, and nobody is in it
                self.groups[names[group.organisation], fold(group.name)] = group
        self.spaces: dict[tuple[str, str], SpaceInfo] = {
            (names.get(info.customer, "?"), fold(info.name)): info for info in self._installation.spaces.all()
        }

    def run(self) -> Difference:
        """Return the difference. Its problems, if any, keep it from being done."""
        self._organisations()
        self._people()
        self._groups()
        for wanted in self._wanted.spaces.values():
            job = list(self._space(wanted))
            if job:
                self.found.spaces.append(job)
        return self.found

    # --- organisations, people, groups

    def _organisations(self) -> None:
        for key, wanted in self._wanted.organisations.items():
            standing = self.organisations.get(key)
            if standing is None:

                def add(key: str = key, name: str = wanted.name, second: bool | None = wanted.second_factor) -> None:
                    made = self._directory.add_organisation(name, second_factor=second, actor=self._desk.actor)
                    self.organisations[key] = made

                self.found.organisations.append([Step("+", "organisation", wanted.name, add)])
            elif wanted.second_factor is not None and wanted.second_factor != standing.second_factor:

                def change(identity: bytes = standing.id, demanded: bool = wanted.second_factor) -> None:
                    self._directory.set_second_factor(identity, demanded, actor=self._desk.actor)

                said = "of all its people" if wanted.second_factor else "of its administrators alone"
                self.found.organisations.append(
                    [Step("~", "organisation", f"{wanted.name}: demands a second factor {said}", change)]
                )

    def _people(self) -> None:
        supplier = self._directory.supplier_id
        home_name = self._directory.organisation_name(supplier)
        for key, wanted in self._wanted.people.items():
            organisation = wanted.organisation or home_name
            if not self._is_organisation(organisation):
                self.found.problems.append(f"person {wanted.login}: there is no organisation {organisation}.")
                continue
            standing = self.people.get(key)
            if standing is None:
                text = f"{wanted.login} ({wanted.name}) of {organisation}"
                self.found.people.append([Step("+", "person", text, self._adding(key, wanted, fold(organisation)))])
                continue
            home = self._directory.organisation_name(standing.organisation)
            if fold(home) != fold(organisation):
                self.found.problems.append(f"person {wanted.login} is of {home} here, of {organisation} in the file.")
            self._changing(standing, wanted)

    def _adding(self, key: str, wanted: WantedPerson, organisation: str) -> Act:
        def add() -> None:
            made = self._directory.add_person(
                self.organisations[organisation].id,
                wanted.login,
                wanted.name,
                mail=wanted.mail or None,
                administrator=bool(wanted.administrator),
                actor=self._desk.actor,
            )
            self.people[key] = made
            self._on_person(made)

        return add

    def _changing(self, standing: Person, wanted: WantedPerson) -> None:
        changed: dict[str, str] = {}
        if wanted.name != standing.name:
            changed["name"] = wanted.name
        if wanted.mail and wanted.mail != standing.mail:
            changed["mail"] = wanted.mail
        flag = None if wanted.administrator == standing.is_administrator else wanted.administrator
        if not changed and flag is None:
            return

        def change() -> None:
            self._directory.change_person(standing.id, **changed, administrator=flag, actor=self._desk.actor)

        said = [f"{what} {value}" for what, value in changed.items()]
        if flag is not None:
            said.append("an administrator" if flag else "administrator no longer")
        self.found.people.append([Step("~", "person", f"{wanted.login}: {', '.join(said)}", change)])

    def _groups(self) -> None:
        for key, wanted in self._wanted.groups.items():
            if wanted.organisation and not self._is_organisation(wanted.organisation):
                self.found.problems.append(f"group {wanted.name}: there is no organisation {wanted.organisation}.")
                continue
            standing = self.groups.get(key)
            job = [] if standing is not None else [Step("+", "group", wanted.name, self._grouping(key, wanted.name))]
            inside = set() if standing is None else {p.login for p in self._directory.members(standing.id)}
            folded = {fold(login) for login in inside}
            for login in wanted.members:
                if not self._is_person(login):
                    self.found.problems.append(f"group {wanted.name}: there is no person {login}.")
                elif fold(login) not in folded:
                    job.append(Step("+", "member", f"{login} in {wanted.name}", self._joining(key, fold(login))))
            if job:
                self.found.groups.append(job)

    def _grouping(self, key: tuple[str, str], name: str) -> Act:
        def add() -> None:
            organisation = self.organisations[key[0]].id if key[0] else None
            self.groups[key] = self._directory.add_group(name, organisation, actor=self._desk.actor)

        return add

    def _joining(self, key: tuple[str, str], login: str) -> Act:
        return lambda: self._directory.add_member(self.groups[key].id, self.people[login].id, actor=self._desk.actor)

    def _is_organisation(self, name: str) -> bool:
        return fold(name) in self.organisations or fold(name) in self._wanted.organisations

    def _is_person(self, login: str) -> bool:
        return fold(login) in self.people or fold(login) in self._wanted.people

    def _group_key(self, name: str, customer: str) -> tuple[str, str] | None:
        """Return the group of that name: the customer's own before one across organisations."""
        for key in ((fold(customer), fold(name)), ("", fold(name))):
            if key in self.groups or key in self._wanted.groups:
                return key
        return None

    # --- spaces

    def _space(self, wanted: WantedSpace) -> Iterator[Step]:
        key = (fold(wanted.customer), fold(wanted.name))
        shown = f"{wanted.customer}/{wanted.name}" if wanted.customer else wanted.name
        if wanted.customer and not self._is_organisation(wanted.customer):
            self.found.problems.append(f"space {wanted.name}: there is no organisation {wanted.customer}.")
            return
        if wanted.customer and fold(wanted.customer) == fold(self._supplier_name()):
            key = ("", key[1])
        standing = self.spaces.get(key)
        granted = [] if standing is None else self._installation.spaces.grants(standing.id)
        private = list(self._private(wanted, granted))
        folders = _unique([*wanted.folders, *(p.path for p in private), *(g.path for g in wanted.grants)])
        if standing is None:
            yield Step("+", "space", shown, self._making(key, wanted, folders))
            yield from (Step("+", "folder", f"{shown}{path}", _done_already) for path in folders)
        else:
            yield from self._changes(standing, wanted, shown)
            yield from self._planting(key, shown, self._installation.spaces.missing(standing.id, folders))
        yield from self._keeping(key, shown, wanted.retention, standing)
        breaks = {fold(str(path)) for path, grant in granted if grant.role is Role.BREAK}
        for each in private:
            if fold(str(each.path)) not in breaks:
                yield Step("+", "private folder", f"{shown}{each.path}", self._breaking(key, each.path))
        every = [*(grant for each in private for grant in each.grants), *wanted.grants]
        yield from self._grants(key, shown, wanted.customer, every, granted)

    def _supplier_name(self) -> str:
        return self._directory.organisation_name(self._directory.supplier_id)

    def _making(self, key: tuple[str, str], wanted: WantedSpace, folders: list[Path]) -> Act:
        """The space and its folders are one change."""

        def add() -> None:
            quota = wanted.quota_bytes
            if quota is None:
                quota = self._desk.settings.installation.quota_default_bytes
            self.spaces[key] = self._installation.spaces.create(
                self._desk.operator,
                wanted.name,
                customer=self.organisations[key[0]].id if key[0] else None,
                template=tuple(folders),
                is_open=wanted.is_open,
                quota_bytes=quota or None,
            )

        return add

    def _changes(self, standing: SpaceInfo, wanted: WantedSpace, shown: str) -> Iterator[Step]:
        if wanted.quota_bytes is not None and (wanted.quota_bytes or None) != standing.quota_bytes:

            def change() -> None:
                self._installation.spaces.set_quota(self._desk.operator, standing.id, wanted.quota_bytes or None)

            yield Step("~", "space", f"{shown}: may hold {size(wanted.quota_bytes or None)}", change)
        if wanted.is_open != standing.is_open:
            said = "open" if standing.is_open else "closed"
            self.found.notes.append(f"space {shown}: is {said} here; left as it is")

    def _keeping(self, key: tuple[str, str], shown: str, text: str, standing: SpaceInfo | None) -> Iterator[Step]:
        seconds = parse_span(text or "none", "mellanrum apply")
        if not text or seconds == (standing and standing.retention_seconds):
            return

        def settle() -> None:
            self._installation.spaces.set_retention(self._desk.operator, self.spaces[key].id, seconds)

        yield Step("~", "space", f"{shown}: retention {span(seconds)}", settle)

    def _planting(self, key: tuple[str, str], shown: str, missing: list[Path]) -> Iterator[Step]:
        """One change makes all folders; each has a line of its own."""

        def plant() -> None:
            self._installation.spaces.make_folders(self._desk.operator, self.spaces[key].id, missing)

        for number, path in enumerate(missing):
            yield Step("+", "folder", f"{shown}{path}", plant if number == 0 else _done_already)

    def _breaking(self, key: tuple[str, str], path: Path) -> Act:
        def cut() -> None:
            self._installation.spaces.break_inheritance(self._desk.operator, self.spaces[key].id, path)

        return cut

    # --- private folders

    def _private(self, space: WantedSpace, granted: list[tuple[Path, Grant]]) -> Iterator[Private]:
        """Yield each member's folder: the one that is theirs already, or one of their name."""
        taken: set[str] = {fold(str(path)) for path, _ in granted}
        for wanted in space.private:
            for login in self._members(space, wanted):
                person = self.people.get(fold(login))
                path = None if person is None else _theirs(person.id, wanted.below, granted)
                if path is None:
                    path = self._free(wanted.below, login, taken)
                    if path is None:
                        continue
                taken.add(fold(str(path)))
                own = WantedGrant(path, GranteeKind.PERSON, login, wanted.role)
                also = (WantedGrant(path, g.kind, g.name, g.role, g.history, g.expires) for g in wanted.also)
                yield Private(path, (own, *also))

    def _members(self, space: WantedSpace, wanted: WantedPrivate) -> list[str]:
        logins = list(wanted.members)
        if wanted.group:
            key = self._group_key(wanted.group, space.customer)
            if key is None:
                self.found.problems.append(f"space {space.name}: there is no group {wanted.group}.")
            elif key in self.groups:
                logins += [person.login for person in self._directory.members(self.groups[key].id)]
            if key in self._wanted.groups:
                logins += self._wanted.groups[key].members
        if wanted.organisation:
            if not self._is_organisation(wanted.organisation):
                self.found.problems.append(f"space {space.name}: there is no organisation {wanted.organisation}.")
            standing = self.organisations.get(fold(wanted.organisation))
            if standing is not None:
                logins += [person.login for person in self.people.values() if person.organisation == standing.id]
            listed = self._wanted.people.values()
            logins += [person.login for person in listed if fold(person.organisation) == fold(wanted.organisation)]
        found = {fold(login): login for login in logins}
        for login in found.values():
            if not self._is_person(login):
                self.found.problems.append(f"space {space.name}: there is no person {login}.")
        return [login for key, login in found.items() if self._is_person(login)]

    def _free(self, below: Path, login: str, taken: set[str]) -> Path | None:
        key = fold(login)
        name = self._wanted.people[key].name if key in self._wanted.people else self.people[key].name
        shown = name.replace("/", "-")
        for candidate in (shown, f"{shown} ({login})"):
            if fold(str(below.joined(candidate))) not in taken:
                try:
                    return below.joined(check_name(candidate))
                except MellanrumError as error:
                    self.found.problems.append(f"a folder for {login}: {error}")
                    return None
        self.found.problems.append(f"a folder for {login}: its name is taken below {below}.")
        return None

    # --- grants

    def _grants(
        self,
        key: tuple[str, str],
        shown: str,
        customer: str,
        wanted: Iterable[WantedGrant],
        granted: list[tuple[Path, Grant]],
    ) -> Iterator[Step]:
        standing: dict[tuple[str, bytes], list[Grant]] = {}
        for path, grant in granted:
            standing.setdefault((fold(str(path)), grant.grantee), []).append(grant)
        for each in wanted:
            reach = self._reach(each, customer)
            if reach is None:
                self.found.problems.append(f"space {shown}: there is no {each.kind.name.lower()} {each.name}.")
                continue
            expires = self._expiry(each, shown)
            history = history_by_default(each.role) if each.history is None else each.history
            grantee = self._identity(reach)
            here = [] if grantee is None else standing.get((fold(str(each.path)), grantee), [])
            if any((g.role, g.history, g.expires_at) == (each.role, history, expires) for g in here):
                continue
            if is_over(expires):
                self.found.problems.append(f"space {shown}: {each.expires} is past: that grant would hold for nobody.")
                continue
            text = f"{each.role.name.lower()} for {each.kind.name.lower()} {each.name} on {shown}"
            text += "" if each.path == ROOT else str(each.path)
            if here:
                text += f" (was {', '.join(g.role.name.lower() for g in here)})"
            act = self._granting(key, each, reach, history, expires, [g.id for g in here])
            yield Step("~" if here else "+", "grant", text, act)

    def _granting(
        self,
        key: tuple[str, str],
        wanted: WantedGrant,
        reach: tuple[GranteeKind, str, str],
        history: bool,
        expires: int | None,
        replaced: list[bytes],
    ) -> Act:
        def grant() -> None:
            spaces, operator, space = self._installation.spaces, self._desk.operator, self.spaces[key].id
            grantee = self._identity(reach)
            assert grantee is not None  # made in an earlier phase
            spaces.grant(
                operator, space, wanted.path, grantee, wanted.kind, wanted.role, history=history, expires_at=expires
            )
            for old in replaced:
                spaces.revoke(operator, space, old)

        return grant

    def _expiry(self, wanted: WantedGrant, shown: str) -> int | None:
        if not wanted.expires:
            return None
        try:
            return parse_moment(wanted.expires, self._desk.settings.zone, "mellanrum apply")
        except MellanrumError:
            self.found.problems.append(f"space {shown}: {wanted.expires} is no date: write 2026-10-31.")
            return None

    def _reach(self, wanted: WantedGrant, customer: str) -> tuple[GranteeKind, str, str] | None:
        """Return the key of whom a grant is for, which may have to be made first; None if nobody is called so."""
        if wanted.kind is GranteeKind.PERSON:
            return (wanted.kind, "", fold(wanted.name)) if self._is_person(wanted.name) else None
        if wanted.kind is GranteeKind.ORGANISATION:
            return (wanted.kind, "", fold(wanted.name)) if self._is_organisation(wanted.name) else None
        key = self._group_key(wanted.name, customer)
        return None if key is None else (wanted.kind, *key)

    def _identity(self, reach: tuple[GranteeKind, str, str]) -> bytes | None:
        kind, home, key = reach
        found: Person | Organisation | Group | None
        if kind is GranteeKind.PERSON:
            found = self.people.get(key)
        elif kind is GranteeKind.ORGANISATION:
            found = self.organisations.get(key)
        else:
            found = self.groups.get((home, key))
        return None if found is None else found.id


@dataclass(frozen=True)
class Private:
    """One member's folder and who is let into it."""

    path: Path
    grants: tuple[WantedGrant, ...]


def _theirs(person: bytes, below: Path, granted: list[tuple[Path, Grant]]) -> Path | None:
    """Return the folder below `below` that is a person's already: it inherits nothing, and they have a role there."""
    cut = {fold(str(path)) for path, grant in granted if grant.role is Role.BREAK}
    for path, grant in granted:
        if grant.grantee == person and fold(str(path.parent)) == fold(str(below)) and fold(str(path)) in cut:
            return path
    return None


def _unique(paths: Iterable[Path]) -> list[Path]:
    return list({fold(str(path)): path for path in paths if not path.is_root}.values())


def _done_already() -> None:
    """An earlier step made it, together with others."""
