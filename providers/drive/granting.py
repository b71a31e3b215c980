"""Rights as acts on nodes: granting, revoking, breaking inheritance. Each is a change, told to those it concerns."""

from __future__ import annotations

from dataclasses import replace

from auth.rights import Grant
from auth.roles import GRANTABLE, Action, GranteeKind, Role
from config.ids import NOBODY, id_text, new_id
from providers.audit.events import Projection
from providers.catalogue.change import Change, ChangeKind
from providers.catalogue.nodes import Node
from providers.drive.places import Place
from providers.drive.rivals import require_walls
from providers.drive.session import Session
from providers.drive.transaction import Look, Refusal, Transaction
from providers.errors import Forbidden, NotFound
from providers.paths import Path


def grants(look: Look, path: Path) -> list[Grant]:
    """Return the grants that stand on the node at `path` itself."""
    place = look.place(path)
    look.allow(Action.GRANT, place)
    found = look.storage.directory.grants_of_space(look.connection, place.space.id)
    return [grant for grant in found if grant.node == place.node.id]


def grant(
    session: Session,
    path: Path,
    grantee: bytes,
    kind: GranteeKind,
    role: Role,
    *,
    history: bool,
    expires_at: int | None,
) -> Grant:
    """Give a role on the node at `path`; return the grant."""
    identity = new_id()

    def work(tx: Transaction) -> Grant:
        place = tx.place(path)
        tx.allow(Action.GRANT, place)
        made = Grant(identity, place.space.id, place.node.id, grantee, kind, role, history, expires_at)
        if not _within_power(tx, place, made):
            raise Refusal(Forbidden(), Action.GRANT, place)
        record_grant(tx, place, made)
        return made

    return session.commit([path], work)


def _within_power(look: Look, place: Place, made: Grant) -> bool:
    """A customer's manager may let in its own organisation's people, up to its own role; the supplier's, anybody."""
    me = look.principal
    if me.is_supplier:
        return True
    if look.storage.directory.parties_of(look.connection, made) - {me.party}:
        return False
    if made.history and not look.looks_back(place):
        return False
    return not look.sight.spaces[place.space.id].state


def record_grant(tx: Transaction, place: Place, made: Grant) -> None:
    """Write a grant into the change of its space, and tell of it. Raises Forbidden for what nobody may be granted."""
    if made.role not in (*GRANTABLE, Role.BREAK):
        raise Forbidden
    before = tx.audience(place.space, place.chain)
    tx.change(place.space.id).add_grant(made)
    tx.bump()
    if made.role is not Role.BREAK:  # which only narrows what others reach
        require_walls(tx.storage, tx.connection, place.space)
    told = "break_inheritance" if made.role is Role.BREAK else "grant"
    _tell(tx, place, made, told, before)


def _tell(tx: Transaction, place: Place, made: Grant, told: str, before: dict[bytes, Projection]) -> None:
    """Record the event for those who see the place, and for whom the grant is; never for a rival of theirs."""
    directory = tx.storage.directory
    concerned: dict[bytes, Projection] = {}
    reached = directory.parties_of(tx.connection, made)
    if made.role is not Role.BREAK:
        concerned = dict.fromkeys(reached - {directory.supplier_id}, Projection.FULL)
        if not concerned and place.node.id == place.space.id and place.space.customer is not None:
            # Who is let into a space of theirs, from the first.
            before = {**before, place.space.customer: Projection.FULL}
    audience = {**before, **concerned} if place.space.is_open else (concerned or before)
    facts: dict[str, str | int] = {
        "grant": id_text(made.id),
        "role": made.role.name.lower(),
        "history": int(made.history),
    }
    if made.expires_at is not None:
        facts["expires_at"] = made.expires_at
    personal: dict[str, str] = {}
    if made.grantee != NOBODY:
        # A group across customers may be called by them all. Rivals read its name only where none of them is meant.
        is_across = directory.is_group_across(tx.connection, made) and reached != {directory.supplier_id}
        personal["grantee_group" if is_across and not place.space.is_open else "grantee"] = directory.grantee_name(
            tx.connection, made
        )
    kind = ChangeKind.REVOKE if told == "revoke" else ChangeKind.GRANT
    tx.finish(kind, place, told, facts=facts, personal=personal, audience=audience)


def grant_alike(tx: Transaction, change: Change, node: Node, after: Node) -> bool:
    """Let the same people see and do the same at a document made of another: what was kept from somebody stays so.

    Return whether anything was granted; then everybody's rights must be asked anew.
    """
    granted = tx.storage.directory.grants_of_space(tx.connection, node.space)
    own = [grant for grant in granted if grant.node == node.id]
    for grant in own:
        change.add_grant(replace(grant, id=new_id(), node=after.id))
    return bool(own)


def revoke(session: Session, path: Path, grant_id: bytes) -> None:
    """Take back a grant, or a break of inheritance, that stands on the node at `path`."""

    def work(tx: Transaction) -> None:
        place = tx.place(path)
        tx.allow(Action.GRANT, place)
        record_revoke(tx, place, grant_id)

    session.commit([path], work)


def record_revoke(tx: Transaction, place: Place, grant_id: bytes) -> None:
    """Write the end of a grant into the change of its space, and tell of it."""
    found = tx.storage.directory.grants_of_space(tx.connection, place.space.id)
    made = next((g for g in found if g.id == grant_id and g.node == place.node.id), None)
    if made is None:
        raise NotFound
    before = tx.audience(place.space, place.chain)
    tx.change(place.space.id).close_grant(made)
    tx.bump()
    require_walls(tx.storage, tx.connection, place.space)
    _tell(tx, place, made, "revoke", before)


def break_inheritance(session: Session, path: Path) -> Grant:
    """Let the node at `path` inherit no rights from above; return what stands for it, by which it can be undone."""
    return grant(session, path, NOBODY, GranteeKind.NONE, Role.BREAK, history=False, expires_at=None)
