"""The stored event and the leaves made from it: canonical JSON, commitments, and what each projection leaves out.

Canonical JSON has its keys in order, no spaces, whole numbers only, and is UTF-8. A leaf is

    {"event":{…},"log":"<uid>","number":<n>,"v":1}

and the tree hashes its bytes. Each personal field stands in it as SHA-256(salt ‖ name ‖ 0x00 ‖ value), the salt 16
random bytes of that field's own; docs/FORMAT.md has the whole form.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from providers.audit.errors import UnknownKind
from providers.audit.events import KINDS, SUPPLIER_FACTS, SUPPLIER_PERSONAL, Event, Projection

VERSION = 1
SALT_BYTES = 16

ACTOR_NAME = "actor.name"
ACTOR_PERSON = "actor.person"
ACTOR_ORGANISATION = "actor.organisation_name"
ACTOR_DEVICE = "actor.device"
ACTOR_ADDRESS = "actor.address"
_PREFIX = "actor."

#: Fields of the actor that each projection shows.
_SHOWN: Mapping[Projection, frozenset[str]] = {
    Projection.FULL: frozenset({ACTOR_NAME, ACTOR_PERSON, ACTOR_ORGANISATION, ACTOR_DEVICE, ACTOR_ADDRESS}),
    Projection.PERSON: frozenset({ACTOR_NAME, ACTOR_PERSON, ACTOR_ORGANISATION}),
    Projection.ORGANISATION: frozenset({ACTOR_ORGANISATION}),
    Projection.SUPPLIER: frozenset(),
}


#: Made once, as is what it makes anew for each call where it can: that takes longer than an event does.
_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
_MADE: Any = json.encoder.c_make_encoder and json.encoder.c_make_encoder(  # type: ignore[attr-defined]
    None, _CANONICAL.default, json.encoder.encode_basestring, None, ":", ",", True, False, False
)  # fmt: skip


def canonical(value: object) -> bytes:
    """Return the value as canonical JSON."""
    text = _CANONICAL.encode(value) if _MADE is None else "".join(_MADE(value, 0))
    return text.encode("utf-8")


class Personal(NamedTuple):
    """One personal field: its commitment, and its opening unless that was erased. `salt` and `commitment` in hex."""

    commitment: str
    salt: str | None
    value: str | None


def commitment(salt: bytes, name: str, value: str) -> str:
    """Return what stands in a leaf for a personal value, in hex."""
    return hashlib.sha256(salt + name.encode() + b"\0" + value.encode("utf-8")).hexdigest()


def _committed(fields: Mapping[str, str]) -> dict[str, Personal]:
    salts = os.urandom(SALT_BYTES * len(fields))
    made = {}
    for position, (name, given) in enumerate(fields.items()):
        salt = salts[position * SALT_BYTES : (position + 1) * SALT_BYTES]
        value = given.encode("utf-8", "replace").decode("utf-8")  # a lone surrogate has no UTF-8
        made[name] = Personal(commitment(salt, name, value), salt.hex(), value)
    return made


@dataclass(frozen=True, slots=True)
class Body:
    """An event as it is kept, sealed: all of it, with openings. `streams` are the (log, number) it went to besides."""

    fields: Mapping[str, Any]
    personal: Mapping[str, Personal]
    streams: tuple[tuple[int, int], ...] = ()

    @classmethod
    def of(cls, event: Event) -> Body:
        """Take an event in, with fresh salts. Raises UnknownKind."""
        if event.kind not in KINDS:
            raise UnknownKind(kind=event.kind)
        actor = event.actor
        about = {
            ACTOR_NAME: actor.name,
            ACTOR_PERSON: actor.principal.hex(),
            ACTOR_ORGANISATION: actor.organisation_name,
            ACTOR_DEVICE: actor.device.hex(),
            ACTOR_ADDRESS: actor.address,
        }
        personal = {name: value for name, value in about.items() if value}
        for name, value in event.personal.items():
            if name.startswith(_PREFIX):
                raise ValueError(f"the field {name} is the actor's")
            personal[name] = value
        fields = {
            "kind": event.kind,
            "at": event.at,
            "outcome": event.outcome,
            "space": event.space.hex() if event.space else None,
            "node": event.node.hex() if event.node else None,
            "facts": {name: int(fact) if isinstance(fact, int) else str(fact) for name, fact in event.facts.items()},
            "rows_digest": event.rows_digest.hex() if event.rows_digest else None,
            "organisation": actor.organisation.hex(),
            "is_supplier": actor.is_supplier,
            "via": actor.via.name.lower(),
            "party": actor.party.hex(),
        }
        return cls(fields, _committed(personal))

    @property
    def at(self) -> int:
        """When it happened, microseconds UTC."""
        at: int = self.fields["at"]
        return at

    @property
    def space(self) -> bytes:
        """The space it belongs to; empty for the installation."""
        return bytes.fromhex(self.fields["space"] or "")

    def narrowed(self, projection: Projection, party: bytes) -> Projection:
        """Return the projection for a party: device and address are told to the actor's own alone."""
        if projection is Projection.FULL and party.hex() != self.fields["party"]:
            return Projection.PERSON
        return projection

    def sent_to(self, streams: Collection[tuple[int, int]]) -> Body:
        """Return the body with the streams it goes to."""
        return Body(self.fields, self.personal, tuple(sorted(streams)))

    def without(self, names: Collection[str]) -> Body:
        """Return the body with the openings of `names` erased; its leaves stay as they are."""
        erased = {
            name: Personal(found.commitment, None, None) if name in names else found
            for name, found in self.personal.items()
        }
        return replace(self, personal=erased)

    def shown(self, projection: Projection, *, is_own: bool = False) -> dict[str, Personal]:
        """Return the personal fields that a projection shows, in a stream or (`is_own`) in the supplier's own log."""
        seen = _SHOWN[projection]
        hidden = frozenset() if is_own else SUPPLIER_PERSONAL
        return {
            name: found
            for name, found in self.personal.items()
            if name in seen or not (name.startswith(_PREFIX) or name in hidden)
        }

    def event_json(self, projection: Projection, streams_digest: str | None = None) -> bytes:
        """Return the leaf's "event". A `streams_digest` makes it the supplier's own, with all facts."""
        fields = self.fields
        made: dict[str, Any] = {name: fields[name] for name in ("kind", "at", "outcome", "space", "node")}
        made["facts"] = fields["facts"]
        if streams_digest is None:
            made["facts"] = {name: fact for name, fact in fields["facts"].items() if name not in SUPPLIER_FACTS}
        else:
            made["rows_digest"], made["streams"] = fields["rows_digest"], streams_digest
        made["actor"] = self._actor(projection)
        shown = self.shown(projection, is_own=streams_digest is not None)
        made["commitments"] = {name: found.commitment for name, found in shown.items()}
        return canonical(made)

    def _actor(self, projection: Projection) -> dict[str, Any]:
        if projection is Projection.SUPPLIER:
            return {"as": "supplier"}
        if projection is Projection.ORGANISATION:
            return {"as": "organisation", "organisation": self.fields["organisation"]}
        return {
            "as": "person",
            "organisation": self.fields["organisation"],
            "is_supplier": self.fields["is_supplier"],
            "via": self.fields["via"],
        }

    def to_bytes(self) -> bytes:
        """Return the body as it is sealed."""
        personal = {
            name: [found.commitment] if found.salt is None else [found.salt, found.value]
            for name, found in self.personal.items()
        }
        return canonical({"v": VERSION, **self.fields, "personal": personal, "streams": self.streams})

    @classmethod
    def from_bytes(cls, data: bytes) -> Body:
        """Return what `to_bytes` wrote. Raises ValueError if it is of another form."""
        return cls.from_json(json.loads(data))

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Body:
        """Return what `to_bytes` wrote, read as JSON already. Raises ValueError."""
        fields = dict(fields)
        if fields.pop("v") != VERSION:
            raise ValueError("unknown version of an event")
        personal = {}
        for name, kept in fields.pop("personal").items():
            if len(kept) == 1:
                personal[name] = Personal(kept[0], None, None)
            else:
                personal[name] = Personal(commitment(bytes.fromhex(kept[0]), name, kept[1]), kept[0], kept[1])
        streams = tuple((log, number) for log, number in fields.pop("streams"))
        return cls(fields, personal, streams)


def streams_digest(streams: Collection[tuple[str, int]]) -> str:
    """Return what the supplier's leaf says of the streams its event went to: (uid in hex, number) of each, sorted."""
    return hashlib.sha256(canonical(sorted(streams))).hexdigest()


def leaf(event_json: bytes, uid: bytes, number: int) -> bytes:
    """Return the leaf of an event in one log: canonical JSON, as the names stand in order."""
    return b'{"event":%b,"log":"%b","number":%d,"v":%d}' % (event_json, uid.hex().encode(), number, VERSION)
