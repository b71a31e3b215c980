"""Whether a principal may do something to a node: one pure function, over plain values. What is not granted is refused.

Grants only add. They hold for a node and all below it, up to a folder that breaks inheritance.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from auth.roles import ACTIONS, QUIET, Action, GranteeKind, Role, Via
from config.clock import SECOND_US
from config.ids import NOBODY

#: How long after a document's first content its creator's steps still count as adding: programs create by several.
CREATOR_GRACE_US = 15 * SECOND_US
ACTIVE = 0

#: The steps of a creator that count as adding while the grace lasts.
_STEPS = frozenset({Action.REPLACE, Action.RENAME, Action.MOVE, Action.LOCK, Action.DELETE})


@dataclass(frozen=True, slots=True)
class Grant:
    """A role for somebody on a node. `grantee` is empty, and the role BREAK, where the node breaks inheritance."""

    id: bytes
    space: bytes
    node: bytes
    grantee: bytes
    grantee_kind: GranteeKind
    role: Role
    history: bool
    expires_at: int | None


@dataclass(frozen=True, slots=True)
class Rights:
    """The grants that reach one principal, by node, and the nodes of their spaces that break inheritance."""

    grants: Mapping[bytes, tuple[Grant, ...]]
    breaks: frozenset[bytes]

    def run_out_between(self, since: int, until: int) -> bool:
        """Return whether any grant ended, by the clock alone, after `since` and by `until` (µs)."""
        ends = (grant.expires_at for found in self.grants.values() for grant in found)
        return any(end is not None and since < end <= until for end in ends)


NO_RIGHTS = Rights({}, frozenset())


@dataclass(frozen=True, slots=True)
class Scope:
    """What a credential is good for, at most. None: no limit. Times are microseconds UTC."""

    spaces: frozenset[bytes] | None = None
    read_only: bool = False
    protocols: frozenset[Via] | None = None
    expires_at: int | None = None


class Standing(Enum):
    """How far a sign-in has come. HALF: the second factor is still due, and nothing is permitted."""

    FULL = "full"
    HALF = "half"


class Kind(Enum):
    """What sort of principal is asking."""

    PERSON = "person"
    LINK = "link"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is asking: a person, link or operator, by one credential, through one door, as of one epoch of rights.

    `party` is whom the audit log speaks to: the organisation, or the link itself. `device` is the id of the device
    password; it is empty for those who signed in by the account's own credentials, and `credential` tells as of which
    state of these.
    """

    id: bytes
    kind: Kind
    organisation: bytes
    party: bytes
    is_supplier: bool
    is_administrator: bool
    login: str
    name: str
    device: bytes
    scope: Scope
    standing: Standing
    groups: frozenset[bytes]
    rights: Rights
    epoch: int
    address: str
    via: Via
    credential: bytes = NOBODY


@dataclass(frozen=True, slots=True)
class NodeView:
    """What `decide` needs to know of a node.

    `ancestry` are the ids from the space's root to the node itself. `state` is the space's, 0 where it may change.
    `created_by` and `first_content_at` (µs) are given where the creator's grace may count.
    """

    space: bytes
    is_open: bool
    state: int
    ancestry: tuple[bytes, ...]
    lane: bytes
    created_by: bytes | None = None
    first_content_at: int | None = None


class Decision(NamedTuple):
    """Whether an action is permitted, and whether some grant that lets the node be seen shows its history."""

    allowed: bool
    history: bool


REFUSED = Decision(False, False)


def decide(principal: Principal, action: Action, node: NodeView, at: int) -> Decision:
    """Return whether `principal` may do `action` to `node` at the moment `at` (µs UTC)."""
    if not _admitted(principal, action, node, at):
        return REFUSED
    reaching = [grant for grant in _reaching(principal.rights, node, at) if _covers_lane(principal, grant, node)]
    history = any(grant.history and _permits(grant, Action.LIST, node) for grant in reaching)
    if action is Action.HISTORY:
        return Decision(history, history)
    if any(_permits(grant, action, node) for grant in reaching):
        return Decision(True, history)
    if action in _STEPS and _is_being_made(principal, node, at):
        return Decision(any(Action.ADD in ACTIONS[grant.role] for grant in reaching), history)
    return Decision(False, history)


def _admitted(principal: Principal, action: Action, node: NodeView, at: int) -> bool:
    """Return whether the credential is good for this at all, and the space takes it."""
    scope = principal.scope
    if principal.standing is not Standing.FULL:
        return False
    if scope.expires_at is not None and scope.expires_at <= at:
        return False
    if scope.spaces is not None and node.space not in scope.spaces:
        return False
    if scope.protocols is not None and principal.via not in scope.protocols:
        return False
    if action in QUIET:
        return True
    return not scope.read_only and node.state == ACTIVE


def _reaching(rights: Rights, node: NodeView, at: int) -> Iterator[Grant]:
    """Yield the grants in force on the node and above it, up to a node that breaks inheritance."""
    for step in reversed(node.ancestry):
        for grant in rights.grants.get(step, ()):
            if grant.space == node.space and (grant.expires_at is None or grant.expires_at > at):
                yield grant
        if step in rights.breaks:
            return


def _covers_lane(principal: Principal, grant: Grant, node: NodeView) -> bool:
    """Return whether the grant says anything about a node in this lane.

    Customers of a closed space don't see one another's lanes, whatever their role.
    """
    if node.lane in (NOBODY, principal.party):
        return True
    return grant.role is not Role.UPLOADER and (principal.is_supplier or node.is_open)


def _permits(grant: Grant, action: Action, node: NodeView) -> bool:
    if action not in ACTIONS[grant.role]:
        return False
    # An uploader sees its own party's lane and nothing of the common one; it adds to folders, which stand there.
    return grant.role is not Role.UPLOADER or action is Action.ADD or node.lane != NOBODY


def _is_being_made(principal: Principal, node: NodeView, at: int) -> bool:
    if node.created_by != principal.id:
        return False
    return node.first_content_at is None or at <= node.first_content_at + CREATOR_GRACE_US
