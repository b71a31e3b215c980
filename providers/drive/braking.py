"""Where the brake grips: a device that did too much is paused, and an alert tells of it, in one transaction.

What was acknowledged stands, and so does the act that was one too many. From then on each request of the device, in
every process, is refused as it begins, and again in its transaction.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, insert

from auth import pausing
from auth.errors import Revoked
from auth.rights import Principal
from config.clock import now_us
from config.ids import id_text, new_id
from config.logging import get_log
from providers import tables
from providers.alerts import Alert, close
from providers.audit.log import hold
from providers.brake import Excess, Harm, Told
from providers.drive.places import Place
from providers.drive.storage import Storage
from providers.drive.transaction import Look, Transaction, actor_of
from providers.paths import ROOT

_log = get_log("brake")


def note(storage: Storage, tx: Transaction) -> None:
    """Count what a transaction did, now that it is durable. Nothing of it can be refused any more."""
    if tx.acts and storage.brake.note(tx.principal, tx.acts):
        settle(storage, tx.principal.device or tx.principal.id)


def settle_waiting(storage: Storage) -> None:
    """Count what has waited long enough."""
    for subject in storage.brake.waiting():
        settle(storage, subject)


def settle(storage: Storage, subject: bytes) -> None:
    """Count what was noted of a device in this process, and pause it if that is too much."""
    excess = storage.brake.settle(subject)
    if excess is None:
        return
    try:
        _pause(storage, excess)
    except Revoked:
        pass  # another process was first, or somebody revoked it
    except Exception as error:
        # The act itself is done, and its answer due; the next one tries again.
        _log.error("not_paused", error, device=subject)


def _pause(storage: Storage, excess: Excess) -> None:
    who, alert = excess.who, new_id()
    subject = who.device or who.id
    told = storage.brake.told(subject, excess.at)

    def work(connection: Connection) -> bool:
        hold(connection, told)
        look = Look(storage, connection, who)
        if not pausing.pause(connection, subject, is_device=bool(who.device)):
            return False
        connection.execute(insert(tables.alert), _row(alert, excess, told))
        spaces = [
            {"alert": alert, "space": space, "before": found.first_at - 1, "documents": sum(found.counts.values())}
            for space, found in told.items()
        ]
        connection.execute(insert(tables.alert_space), [{**row, "put_back_at": None} for row in spaces])
        _tell(look, look, "device_paused", alert, {space: sum(found.counts.values()) for space, found in told.items()})
        return True

    if storage.database.apply(work):
        storage.brake.forgive(subject)
        _log.warning("device_paused", alert=alert, device=subject, count=excess.total)


def _row(alert: bytes, excess: Excess, told: Mapping[bytes, Told]) -> dict[str, object]:
    who, now = excess.who, now_us()
    counts = {harm: sum(found.counts.get(harm, 0) for found in told.values()) for harm in Harm}
    return {
        "id": alert, "at": now, "subject": who.device or who.id, "is_device": bool(who.device), "person": who.id,
        "organisation": who.organisation, "rewritten": counts[Harm.REWRITTEN], "deleted": counts[Harm.DELETED],
        "moved": counts[Harm.MOVED], "limit": excess.limit, "resumed_at": None, "mailed_at": None, "mail_tries": 0,
        "mail_due_at": now,
    }  # fmt: skip


def resume(storage: Storage, operator: Principal, alert: Alert) -> bool:
    """Let what an alert paused go on, and do as much again at once; return whether it was paused."""
    storage.brake.forgive(alert.subject)

    def work(connection: Connection) -> bool:
        hold(connection, [each.space for each in alert.spaces])
        by = Look(storage, connection, operator)
        found = pausing.resume(connection, alert.subject, is_device=alert.is_device)
        close(connection, alert.id)
        storage.brake.allow(connection, alert.subject, alert.documents)
        if found:
            device = alert.subject if alert.is_device else b""
            try:
                whose = Look(storage, connection, storage.authenticator.holder(alert.person, device, connection))
            except Revoked:
                whose = by
            _tell(by, whose, "device_resumed", alert.id, {each.space: each.documents for each in alert.spaces})
        return found

    return storage.database.apply(work)


def _tell(by: Look, whose: Look, kind: str, alert: bytes, spaces: Mapping[bytes, int]) -> None:
    """Record it in the installation's log and in each space's, for those who would learn of the device's acts."""
    storage, connection = by.storage, by.connection
    facts: dict[str, str | int] = {"alert": id_text(alert), "documents": sum(spaces.values())}
    actor, organisation = actor_of(storage, by.principal), whose.principal.organisation
    pausing.tell(connection, storage.audit, kind, actor, organisation, facts)
    infos = storage.sights.space_infos(connection, storage.authenticator.epoch(connection))
    for space in sorted(spaces):
        root = storage.tree.root(connection, space)
        if root is None or space not in infos:
            continue
        place = Place(ROOT, infos[space], (root,), storage.tree, None)
        event = by.event(kind, place, by.at, facts={**facts, "documents": spaces[space]})
        storage.audit.record(connection, event, whose.audience(place.space, place.chain))
