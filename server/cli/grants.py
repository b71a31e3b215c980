"""`mellanrum grant`: roles for people, groups and organisations, on spaces, folders and documents."""

from __future__ import annotations

import argparse
from typing import Any

from auth.rights import Grant
from auth.roles import GranteeKind, Role
from config.ids import id_from_text, id_text
from providers.model import SpaceInfo
from server.cli import find
from server.cli.errors import Misused, UnknownGrant
from server.cli.frame import Answer, Desk, Noun
from server.cli.text import is_over, moment, parse_end, table, yes

_SPACE = "the space's name; CUSTOMER/NAME where several have it"


def add_to(nouns: Noun) -> None:
    """Add the commands of this noun."""
    noun = nouns.noun("grant", "Grants: who may do what, where.")
    command = noun.command("add", add, "Give somebody a role on a space, or on a folder or document of it.")
    command.add_argument("space", metavar="SPACE", help=_SPACE)
    command.add_argument("role", metavar="ROLE", help=", ".join(find.ROLES))
    find.add_grantee(command)
    command.add_argument("--path", metavar="PATH", default="/", help="where in the space; by default the whole of it")
    shown = command.add_mutually_exclusive_group()
    shown.add_argument(
        "--history", action="store_true", default=None, help="show earlier versions (but to uploaders, so by default)"
    )
    shown.add_argument("--no-history", action="store_false", dest="history", help="show no earlier versions")
    command.add_argument("--expires", metavar="DATE", help="holds until the end of that day, or that time")
    command = noun.command("list", show_all, "List the grants of a space.")
    command.add_argument("space", metavar="SPACE", help=_SPACE)
    command = noun.command("break", cut, "Let a folder inherit no rights. Only what is granted on it and below counts.")
    command.add_argument("space", metavar="SPACE", help=_SPACE)
    command.add_argument("path", metavar="PATH")
    command = noun.command("remove", remove, "Take back a grant, or a break of inheritance.")
    command.add_argument("space", metavar="SPACE", help=_SPACE)
    command.add_argument("id", metavar="GRANT", help="its id, as listed")


def history_by_default(role: Role) -> bool:
    """Return whether a grant shows history unless said otherwise."""
    return role is not Role.UPLOADER


def document(desk: Desk, path: str, grant: Grant, name: str) -> dict[str, Any]:
    """Return a grant as `--json` shows it."""
    return {
        "id": id_text(grant.id),
        "path": path,
        "role": grant.role.name.lower(),
        "kind": grant.grantee_kind.name.lower(),
        "for": name,
        "history": grant.history,
        "expires": moment(grant.expires_at) or None,
        "expired": is_over(grant.expires_at),
    }


def listed(desk: Desk, info: SpaceInfo) -> list[dict[str, Any]]:
    """Return all grants of a space, as documents, in the order of their paths."""
    directory = desk.installation.directory
    found = desk.installation.spaces.grants(info.id)
    with desk.installation.database.read() as connection:
        gone = directory.ended(connection, [grant for _, grant in found])
        return [
            document(
                desk,
                str(path),
                grant,
                "(nobody inherits)"
                if grant.grantee_kind is GranteeKind.NONE
                else directory.grantee_name(connection, grant),
            )
            | {"ended": grant.grantee in gone}
            for path, grant in found
        ]


def whom(shown: dict[str, Any]) -> str:
    """Return for whom a grant is, as tables show it; who has ended is let in nowhere by it."""
    return f"{shown['for']} (ended)" if shown["ended"] else str(shown["for"])


def until(shown: dict[str, Any]) -> str:
    """Return until when a grant holds, as tables show it."""
    return "expired" if shown["expired"] else shown["expires"] or "never"


def add(desk: Desk, options: argparse.Namespace) -> Answer:
    """Give a role."""
    info = find.space(desk, options.space)
    role = find.role(options.role, "mellanrum grant add")
    grantee, kind, name = find.grantee(desk, options)
    path = find.path(options.path)
    expires = parse_end(options.expires, desk.settings.zone, "mellanrum grant add")
    history = history_by_default(role) if options.history is None else options.history
    before = {grant.id: grant for _, grant in desk.installation.spaces.grants(info.id)}
    made = desk.installation.spaces.grant(
        desk.operator, info.id, path, grantee, kind, role, history=history, expires_at=expires
    )
    said = f"{name} is {role.name.lower()} of {find.full_name(desk, info)}{'' if path.is_root else path}"
    if made.id in before:
        said += " already. Nothing was changed"
    elif any((old.node, old.grantee, old.role) == (made.node, grantee, role) for old in before.values()):
        said += ". That takes the place of the grant that stood"
    return Answer(document(desk, str(path), made, name) | {"changed": made.id not in before}, [f"{said}."])


def show_all(desk: Desk, options: argparse.Namespace) -> Answer:
    """List grants."""
    found = listed(desk, find.space(desk, options.space))
    rows = ((g["path"], g["role"], g["kind"], whom(g), yes(g["history"]), until(g), g["id"]) for g in found)
    return Answer(found, table(("path", "role", "kind", "for", "history", "expires", "id"), rows))


def cut(desk: Desk, options: argparse.Namespace) -> Answer:
    """Break inheritance."""
    info, path = find.space(desk, options.space), find.path(options.path)
    if path.is_root:
        raise Misused(problem="A space inherits from nothing; name a folder.", command="mellanrum grant break")
    made = desk.installation.spaces.break_inheritance(desk.operator, info.id, path)
    said = f"{find.full_name(desk, info)}{path} inherits no rights any longer."
    return Answer(document(desk, str(path), made, "(nobody inherits)"), [said])


def remove(desk: Desk, options: argparse.Namespace) -> Answer:
    """Take back a grant."""
    info = find.space(desk, options.space)
    identity = id_from_text(options.id)
    known = {grant.id for _, grant in desk.installation.spaces.grants(info.id)}
    if identity is None or identity not in known:
        raise UnknownGrant(options.id, options.space)
    desk.installation.spaces.revoke(desk.operator, info.id, identity)
    return Answer({"id": options.id, "removed": True}, ["Taken back. It holds no longer, from this moment on."])
