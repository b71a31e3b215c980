"""Puts the demo's world into an installation, unless it stands there already.

What people need to sign in is kept sealed in the data folder, so that a second start shows the same; the file is
written last, so a start that was cut off is told from one that was not.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from auth.credentials import hash_password
from auth.people import Person
from auth.rights import Principal
from auth.roles import GranteeKind, Role, Via
from config.errors import AlreadyInitialised
from config.files import write_whole
from config.settings import Settings
from providers.installation import Installation
from providers.model import SpaceInfo
from providers.paths import ROOT, parse
from server.cli.kit import new_passphrase
from server.cli.progress import Progress
from server.demo import papers, world

FILE, BEGUN = "demo.sealed", "demo.begun"
LABEL = b"demo people"
THREADS = 8
#: Where the demo's people are said to sit while their documents are planted.
ADDRESS = "127.0.0.1"


@dataclass(frozen=True)
class Access:
    """What one person needs to get in, and where they get. `spaces`: name as they see it, and role."""

    user: str
    name: str
    organisation: str
    what: str
    password: str
    totp_secret: str | None
    device_password: str
    spaces: list[dict[str, str]]


def planted(folder: Path, settings: Settings, bar: Progress) -> list[Access]:
    """Return everybody's access to the demo in `folder`, made there if need be.

    Raises AlreadyInitialised for a folder with another installation.
    """
    if (folder / BEGUN).exists() and not (folder / FILE).exists():
        shutil.rmtree(folder)  # ours, cut off before anybody was told how to get in
    if (folder / FILE).exists():
        installation = Installation.open(folder, settings)
        try:
            return _kept(installation, folder)
        finally:
            installation.close()
    if folder.exists() and any(folder.iterdir()):
        raise AlreadyInitialised(folder=folder)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    (folder / BEGUN).touch(mode=0o600)
    installation = Installation.create(folder, settings, supplier_name=world.SUPPLIER)
    try:
        made = _Planting(installation, bar).run()
        installation.tick()
        _keep(installation, folder, made)
        return made
    finally:
        installation.close()


def _kept(installation: Installation, folder: Path) -> list[Access]:
    sealed = (folder / FILE).read_bytes()
    listed = json.loads(installation.keyring.installation().general.open(LABEL, sealed))
    return [Access(**each) for each in listed]


def _keep(installation: Installation, folder: Path, made: list[Access]) -> None:
    plain = json.dumps([asdict(each) for each in made], ensure_ascii=False).encode("utf-8")
    write_whole(folder / FILE, installation.keyring.installation().general.seal(LABEL, plain), 0o600)
    with contextlib.suppress(FileNotFoundError):
        (folder / BEGUN).unlink()


class _Planting:
    """One planting, with what was made by name."""

    def __init__(self, installation: Installation, bar: Progress) -> None:
        self._installation = installation
        self._directory = installation.directory
        self._operator = installation.operator()
        self._bar = bar
        self._everybody = [*world.PEOPLE, *world.members()]
        self._organisations: dict[str, bytes] = {world.SUPPLIER: self._directory.supplier_id}
        self._people: dict[str, Person] = {}
        self._secrets: dict[str, dict[str, Any]] = {}
        self._rooms: dict[tuple[str | None, str], SpaceInfo] = {}
        self._principals: dict[str, Principal] = {}
        self._guard = threading.Lock()
        shared = new_passphrase()
        self._shared = shared, hash_password(shared)

    def run(self) -> list[Access]:
        """Plant everything; return everybody's access."""
        with ThreadPoolExecutor(THREADS, thread_name_prefix="demo") as pool:
            for name, identity in pool.map(self._organisation, world.organisations()):
                self._organisations[name] = identity
            list(pool.map(self._person, self._everybody))
            staff = self._directory.add_group(world.STAFF, self._directory.supplier_id)
            for someone in self._of(world.SUPPLIER):
                self._directory.add_member(staff.id, self._people[someone.login].id)
            list(pool.map(lambda room: self._room(room, staff.id), world.ROOMS))
            by_person: dict[str, list[papers.Paper]] = {}
            for paper in papers.papers():
                by_person.setdefault(paper.by, []).append(paper)
            list(pool.map(self._store, by_person.values()))
        return [self._access(someone) for someone in self._everybody]

    def _of(self, organisation: str) -> list[world.Someone]:
        return [someone for someone in self._everybody if someone.organisation == organisation]

    def _organisation(self, name: str) -> tuple[str, bytes]:
        return name, self._directory.add_organisation(name).id

    def _person(self, someone: world.Someone) -> None:
        password, hashed = self._password(someone)
        home = self._organisations[someone.organisation]
        made = self._directory.add_person(
            home, someone.login, someone.name, administrator=someone.administrator, password_hash=hashed
        )
        needs_code = someone.administrator or someone.organisation == world.SUPPLIER
        secret = self._directory.enrol_totp(made.id) if needs_code else None
        _, device_password = self._directory.add_device(made.id, "demo")
        with self._guard:
            self._people[someone.login] = made
            self._secrets[someone.login] = {
                "password": password,
                "totp_secret": secret,
                "device_password": device_password,
            }
        self._bar.step()

    def _password(self, someone: world.Someone) -> tuple[str, bytes]:
        """Return a password of their own, or the one that all members share: 80 slow hashes would take too long."""
        if someone.login.startswith(world.MEMBER):
            return self._shared
        password = new_passphrase()
        return password, hash_password(password)

    def _room(self, room: world.Room, staff: bytes) -> None:
        spaces, operator = self._installation.spaces, self._operator
        folders = [parse(folder) for folder in room.folders]
        private = {}
        if room.private_below:
            below = parse(room.private_below)
            private = {below.joined(someone.name): someone for someone in world.members()}
        made = spaces.create(
            operator,
            room.name,
            customer=None if room.customer is None else self._organisations[room.customer],
            template=(*folders, *private),
        )
        with self._guard:
            self._rooms[room.customer, room.name] = made
        for path, someone in private.items():
            spaces.break_inheritance(operator, made.id, path)
            person = self._people[someone.login].id
            spaces.grant(operator, made.id, path, person, GranteeKind.PERSON, Role.EDITOR, history=True)
        for let in room.lets:
            grantee, kind = self._grantee(let, staff)
            path = parse(let.path) if let.path != "/" else ROOT
            spaces.grant(operator, made.id, path, grantee, kind, let.role, history=let.history)
        self._bar.step()

    def _grantee(self, let: world.Let, staff: bytes) -> tuple[bytes, GranteeKind]:
        if let.staff:
            return staff, GranteeKind.GROUP
        if let.person:
            return self._people[let.person].id, GranteeKind.PERSON
        return self._organisations[let.organisation], GranteeKind.ORGANISATION

    def _store(self, listed: list[papers.Paper]) -> None:
        """Store one person's documents as they would themselves: over their own drive."""
        login = listed[0].by
        principal = self._installation.authenticator.basic(
            login, self._secrets[login]["device_password"], via=Via.WEBDAV, address=ADDRESS
        )
        drive = self._installation.drive(principal)
        for paper in listed:
            space = self._rooms[paper.customer, paper.room]
            path = parse(f"/~{space.id.hex()}{paper.path}")
            for content in paper.versions:
                upload = drive.put(path, declared=len(content))
                try:
                    upload.write(content)
                    upload.commit()
                finally:
                    upload.discard()
            self._bar.step()

    def _access(self, someone: world.Someone) -> Access:
        """Return what somebody needs; the names of spaces are read off their own drive."""
        secrets = self._secrets[someone.login]
        principal = self._installation.authenticator.basic(
            someone.login, secrets["device_password"], via=Via.WEBDAV, address=ADDRESS
        )
        roles = {self._rooms[room.customer, room.name].id: self._role(room, someone) for room in world.ROOMS}
        _, items = self._installation.drive(principal).listing(ROOT)
        spaces = [{"name": item.name, "role": roles[item.space]} for item in items if item.space is not None]
        return Access(someone.login, someone.name, someone.organisation, someone.what, **secrets, spaces=spaces)

    def _role(self, room: world.Room, someone: world.Someone) -> str:
        """Return the widest role somebody has in the whole of a space."""
        is_staff = someone.organisation == world.SUPPLIER
        reaching = (
            let.role
            for let in room.lets
            if let.path == "/"
            and (
                let.person == someone.login
                or (let.organisation and let.organisation == someone.organisation)
                or (let.staff and is_staff)
            )
        )
        return max(reaching, default=Role.VIEWER).name.lower()
