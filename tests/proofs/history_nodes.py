"""What the model knows of people, documents, folders, names and locks. Nothing of the product is used here.

A document is an object, and that object is its identity: under whatever names it stood, whichever way it went.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

SECOND_US = 1_000_000
#: How long after its first content the steps of whoever made a document count as adding.
GRACE_US = 15 * SECOND_US
_VIEWER = {"list", "read"}
_CONTRIBUTOR = _VIEWER | {"add", "make folder"}
_EDITOR = _CONTRIBUTOR | {"replace", "rename", "move", "delete", "lock", "restore"}
RIGHTS = {
    "nobody": set(),
    "viewer": _VIEWER,
    "contributor": _CONTRIBUTOR,
    "editor": _EDITOR,
    "manager": _EDITOR | {"put back"},
}
STEPS = {"replace", "rename", "move", "lock", "delete"}

Path = tuple[str, ...]
Reasons = set[str]
#: The tree at a moment: content by path, None for folders.
Snapshot = dict[Path, bytes | None]


class Person(NamedTuple):
    """Who asks. `prefix` is the name of the space as they see it."""

    login: str
    role: str
    looks_back: bool
    is_supplier: bool = False

    @property
    def takes_the_past_along(self) -> bool:
        """Whether what they move into another space comes with its history; everybody is in both what they are here."""
        return self.role == "manager" and self.looks_back

    @property
    def sees(self) -> bool:
        """Whether they were let in at all."""
        return self.role != "nobody"


@dataclass(eq=False)
class Version:
    """A content, who brought it, and whether it was but a step that histories pass over."""

    content: bytes
    author: str
    at: int
    serial: int
    is_step: bool = False


@dataclass(eq=False)
class Node:
    """Something that stands or stood under a name. `id` is what the product calls it, once that was seen."""

    name: str
    parent: Folder | None
    maker: str
    born: int
    placed_by: str
    id: bytes | None = None
    created: int | None = None
    #: Where it stood last, once it left.
    last: Slot | None = None
    gone_by: str = ""
    gone_at: int = 0
    #: When it last came to stand after it had stood nowhere, through whom, and whether a stay before was no step.
    came_at: int = 0
    came_by: str = ""
    has_lasted: bool = False
    #: The act by which it left last.
    left_in: int = -1


class Left(NamedTuple):
    """Who left a name last, by whom, and when."""

    node: Node
    by: str
    at: int
    serial: int


@dataclass(eq=False)
class Document(Node):
    """`shared` is the past it has of another document. `modified`: the time that was asked for, if one was.

    `stamp` tells times of modification apart that nobody asked for. `is_backup` is true of bytes that stayed as their
    document went on elsewhere. `was_carried` is true of what a name took up as it left; if the name is in another
    space, `carried_over` is how many versions it had. `came_whole` is true of what came from another space with its
    past.
    """

    versions: list[Version] = field(default_factory=list)
    shared: list[Version] = field(default_factory=list)
    properties: dict[str, str] = field(default_factory=dict)
    modified: int | None = None
    stamp: object = None
    is_backup: bool = False
    was_carried: bool = False
    carried_over: int | None = None
    came_whole: bool = False

    @property
    def content(self) -> bytes:
        """What it holds."""
        return self.versions[-1].content if self.versions else b""

    @property
    def history(self) -> list[Version]:
        """What its history shows, oldest first."""
        return [version for version in (*self.shared, *self.versions) if not version.is_step]

    @property
    def begun(self) -> int:
        """When it had its first content; when it was made, if it never had any."""
        return self.versions[0].at if self.versions else self.born


@dataclass(eq=False)
class Folder(Node):
    """Names are compared by case folding."""

    children: dict[str, Node] = field(default_factory=dict)
    left: dict[str, Left] = field(default_factory=dict)


class Stood(NamedTuple):
    """What stood somewhere at a moment: the node, under which name in which folder, and what a document held."""

    node: Node
    folder: Folder
    name: str
    content: bytes | None
    properties: dict[str, str]
    modified: int | None
    stamp: object


class Slot(NamedTuple):
    """A name in a folder."""

    folder: Folder
    name: str

    @property
    def key(self) -> str:
        """The name as names are compared."""
        return self.name.casefold()

    @property
    def node(self) -> Node | None:
        """What stands there."""
        return self.folder.children.get(self.key)


class Lock(NamedTuple):
    """Who holds a name, and what they must say to use it."""

    by: str
    token: str
