"""What may be done, and which roles may do it: one enum and one table. Everything not granted here is refused."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum, StrEnum
from types import MappingProxyType


class Action(StrEnum):
    """An act on a node that a role may permit."""

    LIST = "list"
    READ = "read"
    ADD = "add"
    MAKE_FOLDER = "make_folder"
    REPLACE = "replace"
    RENAME = "rename"
    MOVE = "move"
    DELETE = "delete"
    LOCK = "lock"
    RESTORE = "restore"
    GRANT = "grant"
    LINK = "link"
    AUDIT = "audit"
    BREAK_LOCK = "break_lock"
    PUT_BACK = "put_back"
    HISTORY = "history"


class Role(IntEnum):
    """A named set of actions, stored by number. BREAK is no role: it marks a node that inherits nothing.

    OPERATOR is what whoever works at the server's machine may do in a space that they name: put right what went wrong,
    by names and history, without a sight of contents. It is in no grant that is stored.
    """

    BREAK = 0
    VIEWER = 1
    UPLOADER = 2
    CONTRIBUTOR = 3
    EDITOR = 4
    MANAGER = 5
    OPERATOR = 6


#: What may be granted to somebody.
GRANTABLE = (Role.VIEWER, Role.UPLOADER, Role.CONTRIBUTOR, Role.EDITOR, Role.MANAGER)


class Via(IntEnum):
    """The door a principal came by, stored by number."""

    WEBDAV = 1
    SFTP = 2
    WEB = 3
    LINK = 4
    CLI = 5


class GranteeKind(IntEnum):
    """Whom a grant is for, stored by number. NONE goes with BREAK."""

    NONE = 0
    PERSON = 1
    GROUP = 2
    ORGANISATION = 3
    LINK = 4


_VIEWER = frozenset({Action.LIST, Action.READ})
_CONTRIBUTOR = _VIEWER | {Action.ADD, Action.MAKE_FOLDER}
_EDITOR = _CONTRIBUTOR | {
    Action.REPLACE,
    Action.RENAME,
    Action.MOVE,
    Action.DELETE,
    Action.LOCK,
    Action.RESTORE,
}
_MANAGER = _EDITOR | {Action.GRANT, Action.LINK, Action.AUDIT, Action.BREAK_LOCK, Action.PUT_BACK}

#: What each role may do. An uploader's LIST and READ hold in its own party's lane alone; HISTORY is a flag of the
#: grant and stands in no role.
ACTIONS: Mapping[Role, frozenset[Action]] = MappingProxyType(
    {
        Role.BREAK: frozenset(),
        Role.VIEWER: _VIEWER,
        Role.UPLOADER: frozenset({Action.LIST, Action.READ, Action.ADD}),
        Role.CONTRIBUTOR: _CONTRIBUTOR,
        Role.EDITOR: _EDITOR,
        Role.MANAGER: _MANAGER,
        Role.OPERATOR: frozenset({Action.LIST, Action.RESTORE, Action.PUT_BACK, Action.BREAK_LOCK}),
    }
)

#: The acts that leave everything as it was: all that a read-only device, or a frozen space, still permits.
QUIET: frozenset[Action] = frozenset({Action.LIST, Action.READ, Action.HISTORY, Action.AUDIT})
