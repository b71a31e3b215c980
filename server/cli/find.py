"""From what a person typed to what it names: a name, a login, or an id in hexadecimal."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path as File
from typing import TextIO

from auth.errors import UnknownName
from auth.people import Group, Organisation, Person
from auth.roles import GRANTABLE, GranteeKind, Role
from config.clock import SECOND_US, now_us
from config.errors import MellanrumError
from config.ids import id_from_text, id_text
from providers.drive import Drive
from providers.drive.places import parse_moment as named_moment
from providers.model import SpaceInfo
from providers.paths import BY_ID, Path, fold, parse
from server.cli.errors import InputUnreadable, Misused, NotUnique, OutputTaken, OutputUnwritable
from server.cli.frame import Desk, Parser
from server.cli.ownership import name_of
from server.cli.text import parse_moment

#: How a command line names a place, for the help of what takes one.
WHERE = "SPACE/PATH; CUSTOMER/SPACE/PATH where several customers have a space of that name"
ROLES = {role.name.lower(): role for role in GRANTABLE}


def organisation(desk: Desk, text: str) -> Organisation:
    """Return the organisation. Raises UnknownName."""
    identity = id_from_text(text)
    for found in desk.installation.directory.organisations():
        if found.id == identity or fold(found.name) == fold(text):
            return found
    raise UnknownName(kind="org", name=text)


def customer_ever(desk: Desk, text: str) -> Organisation:
    """Return the organisation, also one that has ended, and is not erased. Who stands goes before who has ended.

    Raises UnknownName, NotUnique.
    """
    try:
        return organisation(desk, text)
    except UnknownName:
        identity, ended = id_from_text(text), desk.installation.directory.ended_organisations()
        found = [each for each in ended if each.id == identity or fold(each.name) == fold(text)]
        if not found:
            raise
    if len(found) > 1:
        raise NotUnique(name=text, found=", ".join(id_text(each.id) for each in found), option="its id")
    return found[0]


def person(desk: Desk, text: str) -> Person:
    """Return the person who signs in by that name. Raises UnknownName."""
    directory, identity = desk.installation.directory, id_from_text(text)
    try:
        return directory.find_person(text) if identity is None else directory.person(identity)
    except MellanrumError:
        raise UnknownName(kind="person", name=text) from None


def group(desk: Desk, text: str) -> Group:
    """Return the group. Raises UnknownName, NotUnique."""
    identity = id_from_text(text)
    found = [g for g in desk.installation.directory.groups() if g.id == identity or fold(g.name) == fold(text)]
    if not found:
        raise UnknownName(kind="group", name=text)
    if len(found) > 1:
        raise NotUnique(name=text, found=", ".join(id_text(each.id) for each in found), option="its id")
    return found[0]


def space(desk: Desk, text: str) -> SpaceInfo:
    """Return the space of that name, `CUSTOMER/NAME` where several have it, or of that id.

    Raises UnknownName, NotUnique.
    """
    identity = id_from_text(text.removeprefix("~"))
    customer, _, name = text.rpartition("/")
    named = customer_ever(desk, customer).id if customer else None
    called = [each for each in desk.installation.spaces.all() if each.id == identity or fold(each.name) == fold(name)]
    found = [each for each in called if each.id == identity or named is None or each.customer == named]
    if not found and customer:  # who stands has none by that name: one may who was called so and has ended
        ended = {
            each.id for each in desk.installation.directory.ended_organisations() if fold(each.name) == fold(customer)
        }
        found = [each for each in called if each.customer in ended]
    if not found:
        raise UnknownName(kind="space", name=text)
    if len(found) > 1:
        shown = ", ".join(f'"{full_name(desk, info)}"' for info in found)
        raise NotUnique(name=text, found=shown, option="CUSTOMER/NAME")
    return found[0]


@dataclass(frozen=True)
class Spot:
    """Something in a space, as a command line names it: the space, and the path below it, as the operator's drive
    knows it.
    """

    info: SpaceInfo
    path: Path

    @property
    def inner(self) -> Path:
        """The path within the space."""
        return Path(self.path.segments[1:])

    def drive(self, desk: Desk, *, looks: bool = False) -> Drive:
        """Return the operator's drive in this space. That it `looks` is told in the space's log, to its customer too:
        what it changes is told by the change.
        """
        operator = desk.installation.operator([self.info.id])
        if looks:
            desk.installation.spaces.note_look(operator, self.info.id)
        return desk.installation.drive(operator)


def spot(desk: Desk, text: str) -> Spot:
    """Return what `SPACE/PATH`, `CUSTOMER/SPACE/PATH` or `~ID/PATH` names; it need not stand there.

    Where both readings name a space, that of a customer counts. Raises UnknownName, NotUnique, BadName.
    """
    segments = parse(text).segments
    if not segments:
        raise UnknownName(kind="space", name=text)
    if len(segments) > 1:
        for info in desk.installation.spaces.all():
            if info.customer is not None and fold(full_name(desk, info)) == fold("/".join(segments[:2])):
                return _spot(info, segments[2:])
    return _spot(space(desk, segments[0]), segments[1:])


def moment(desk: Desk, text: str, command: str) -> int:
    """Return the moment (µs) of a folder of `.history`, or of a time in ISO form; of today, which is not over, now.

    Raises Misused, also for what is to come.
    """
    zone, now = desk.settings.zone, now_us()
    found = named_moment(text, zone)
    at = found if found is not None else parse_moment(text, zone, command)
    if at <= now:
        return at
    if text == datetime.fromtimestamp(now / SECOND_US, zone).date().isoformat():
        return now
    raise Misused(problem=f"{text} is still to come: take a moment that is past.", command=command)


def _spot(info: SpaceInfo, inner: tuple[str, ...]) -> Spot:
    return Spot(info, Path((f"{BY_ID}{id_text(info.id)}", *inner)))


def full_name(desk: Desk, info: SpaceInfo) -> str:
    """Return how a command line names a space, whichever customer's it is."""
    if info.customer is None:
        return info.name
    return f"{desk.installation.directory.organisation_name(info.customer)}/{info.name}"


def names_of(desk: Desk, spaces: Iterable[bytes]) -> list[str]:
    """Return how a command line names spaces, in their order; one that has gone since by its id."""
    names = {info.id: full_name(desk, info) for info in desk.installation.spaces.all()}
    return [names.get(each, id_text(each)) for each in spaces]


def add_grantee(parser: Parser) -> None:
    """Add the options that say whom a grant is for."""
    whom = parser.add_mutually_exclusive_group(required=True)
    whom.add_argument("--person", metavar="LOGIN", help="for one person")
    whom.add_argument("--group", metavar="NAME", help="for a group")
    whom.add_argument("--org", metavar="NAME", help="for all people of an organisation")


def grantee(desk: Desk, options: argparse.Namespace) -> tuple[bytes, GranteeKind, str]:
    """Return whom the options name: id, kind, name."""
    if options.person is not None:
        someone = person(desk, options.person)
        return someone.id, GranteeKind.PERSON, someone.login
    if options.group is not None:
        some = group(desk, options.group)
        return some.id, GranteeKind.GROUP, some.name
    body = organisation(desk, options.org)
    return body.id, GranteeKind.ORGANISATION, body.name


def role(text: str, command: str) -> Role:
    """Return the role. Raises Misused."""
    if text.casefold() not in ROLES:
        raise Misused(problem=f"There is no role {text}: take one of {', '.join(ROLES)}.", command=command)
    return ROLES[text.casefold()]


def path(text: str) -> Path:
    """Return the path within a space."""
    return parse(text)


def read_text(file: File) -> str:
    """Return what stands in a file, or comes from standard input, `-`. Raises InputUnreadable."""
    with reading(file) as stream:
        return stream.read()


@contextmanager
def reading(file: File) -> Iterator[TextIO]:
    """Open a file of text, or standard input, `-`. Raises InputUnreadable, also for what goes wrong while reading."""
    try:
        named = 0 if str(file) == "-" else file
        with open(named, encoding="utf-8-sig", closefd=named != 0) as stream:
            yield stream
    except OSError as error:
        raise InputUnreadable(file=file, why=(error.strerror or "it is not there").lower()) from None
    except UnicodeDecodeError:
        raise InputUnreadable(file=file, why="it is no UTF-8 text") from None


def write_new(file: File, data: bytes) -> None:
    """Write a file that only its owner may read, and that was not there. Raises OutputTaken, OutputUnwritable."""
    reserve(file)
    fill(file, data)


def require_writable(file: File) -> None:
    """Raise OutputUnwritable if no file can stand there: before anything is done that is to be told in it."""
    with writing(file):
        is_folder, has_folder = file.is_dir(), file.parent.is_dir()
    if is_folder:
        raise OutputUnwritable(file=file, why="it is a folder")
    if not has_folder:
        raise OutputUnwritable(file=file, why=f"there is no folder {file.parent}")
    if not os.access(file.parent, os.W_OK | os.X_OK):
        raise OutputUnwritable(file=file, why=f"its folder may not be written to by {name_of(os.geteuid())}")


def reserve(file: File) -> None:
    """Make an empty file that only its owner may read, and that was not there. Raises OutputTaken, OutputUnwritable."""
    with writing(file):
        os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def fill(file: File, data: bytes) -> None:
    """Write what a file that was reserved is to hold. Raises OutputUnwritable."""
    with writing(file), file.open("r+b") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


@contextmanager
def writing(file: File) -> Iterator[None]:
    """Raise OutputTaken, OutputUnwritable for what goes wrong while a file is written."""
    try:
        yield
    except FileExistsError:
        raise OutputTaken(file=file) from None
    except OSError as error:
        raise OutputUnwritable(file=file, why=(error.strerror or "it cannot be made").lower()) from None
