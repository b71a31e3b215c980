"""What can happen, and how much of it a party is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from auth.events import Actor

Outcome = Literal["done", "refused"]


class Projection(IntEnum):
    """How much of the actor the reader of a stream sees, stored by number."""

    FULL = 0  # all; narrowed to PERSON for a party that is not the actor's own
    ORGANISATION = 1  # the actor's organisation stands for the person
    SUPPLIER = 2  # "the supplier" stands for the person
    PERSON = 3  # who it was, without the device and the address


#: What each kind of event means. An event of any other kind is refused.
KINDS: Mapping[str, str] = MappingProxyType(
    {
        "read": "A version of a document was read; one device's reads of it within ten minutes are one event.",
        "add": "A new document was stored.",
        "write": "A document got a new version.",
        "make_folder": "A folder was made.",
        "move": "A document or folder went to another folder.",
        "rename": "A document or folder took another name.",
        "copy": "A document or folder was copied.",
        "delete": "A document or folder was deleted; its versions stay.",
        "restore": "A deleted document or folder, or an earlier version, was brought back.",
        "put_back": "A folder, or a whole space, was put back to an earlier moment.",
        "split": "A document was set apart from the one it had been joined with.",
        "comment": "Something was said of a version of a document.",
        "operator_look": "Whoever works at the server's machine looked at names and history in a space; at no content.",
        "set_property": "Properties of a document or folder changed; its content did not.",
        "break_lock": "Somebody else's lock was broken.",
        "grant": "Somebody was given a role.",
        "revoke": "A role was taken back.",
        "break_inheritance": "A folder ceased to inherit rights from above.",
        "space_created": "A space was made.",
        "space_changed": "What is settled about a space changed.",
        "space_renamed": "A space was given another name.",
        "retention_set": "How long no version of a space may be erased was settled.",
        "hold_set": "A space was held: nothing of it is erased or thinned.",
        "hold_lifted": "The hold on a space was lifted.",
        "thinning_set": "Which versions of a space are let go of in time was settled.",
        "space_frozen": "A space was closed for changes.",
        "space_opened": "A space was opened for changes again.",
        "space_archived": "A space was archived.",
        "template_applied": "Folders were made from a template.",
        "refused": "An act on something seen was refused.",
        "unseen": "Names that do not exist, or may not be seen, were asked for; counted by the minute.",
        "sign_in": "Somebody signed in.",
        "sign_in_refused": "A sign-in was refused.",
        "sign_in_throttled": "Sign-ins were put off after too many failures.",
        "sign_out": "Somebody signed out.",
        "installation_created": "The installation was set up.",
        "organisation_added": "An organisation was added.",
        "organisation_changed": "What is known of an organisation, or its policy, changed.",
        "organisation_ended": "An organisation was ended.",
        "person_added": "A person was added.",
        "person_changed": "What is known of a person changed.",
        "person_ended": "A person's account was ended.",
        "person_erased": "What the log said of a person was erased; its proofs still hold.",
        "password_set": "A person's password was set.",
        "totp_enrolled": "A person set up a second factor.",
        "totp_removed": "A person's second factor was taken away.",
        "recovery_codes_made": "A person was given new recovery codes.",
        "sign_in_released": "Somebody whose sign-ins failed too often was let try again.",
        "recovery_code_used": "A person signed in with a recovery code.",
        "group_added": "A group was made.",
        "group_changed": "What is known of a group changed.",
        "group_ended": "A group was ended.",
        "member_added": "A person joined a group.",
        "member_removed": "A person left a group.",
        "device_added": "A device password was made.",
        "device_revoked": "A device password or a public key was revoked.",
        "ssh_key_added": "A public key was let in over SFTP.",
        "erasure_requested": "It was asked that a version, a document or a space be erased.",
        "erasure_cancelled": "What was asked to be erased is not.",
        "erased": "Versions were erased for good; their MACs stay.",
        "thinned": "Versions were let go of, as is settled for the space.",
        "space_erased": "A space was erased for good, by destroying its key.",
        "customer_erased": "All of a customer was erased for good, by destroying its keys.",
        "device_paused": "A device was paused, for it changed or deleted far more documents than it ever did.",
        "device_resumed": "A device that was paused may go on.",
        "key_rewrapped": "The keys were wrapped with a new root key.",
        "host_keys_announced": "Host keys were announced to clients of SFTP, which learn them before they are used.",
        "host_keys_rotated": "The server has other host keys for SFTP, from its next start on.",
        "key_destroyed": "A key was destroyed, and with it all that it sealed.",
        "exported": "The audit log was exported.",
        "backed_up": "A backup was begun: a copy of all that is stored, without the root key.",
        "epoch_opened": "The log was put back to an earlier state, as by a backup, and goes on from there.",
    }
)

#: Kinds whose change holds nothing but the row of the space as it was settled.
SETTLING = frozenset(
    {"space_changed", "space_renamed", "retention_set", "hold_set", "hold_lifted", "thinning_set", "space_erased"}
)
#: Kinds whose change takes the content of versions away.
ERASING = frozenset({"erased", "thinned"})
#: The first event of an epoch of a log, and of nothing else.
EPOCH_OPENED = "epoch_opened"
#: Facts that stand in the supplier's log alone: in a stream they would move by what other parties do.
SUPPLIER_FACTS = frozenset({"change", "nodes", "thinned_versions", "thinned_bytes"})
#: Personal fields likewise: what a group across customers is called may tell of the others in it.
SUPPLIER_PERSONAL = frozenset({"grantee_group"})


@dataclass(frozen=True)
class Event:
    """One line of the audit log.

    `facts` are ids (hexadecimal), sizes, numbers and names of ours: they stand in the leaf as they are. `personal` is
    all that a person typed, or that tells of one: it enters the leaf as commitments, and may be erased.
    `rows_digest` is the SHA-256 of the canonical rows that the change wrote. `at` is in microseconds UTC.
    """

    kind: str
    at: int
    actor: Actor
    space: bytes | None = None
    node: bytes | None = None
    facts: Mapping[str, str | int] = field(default_factory=dict)
    personal: Mapping[str, str] = field(default_factory=dict)
    rows_digest: bytes | None = None
    outcome: Outcome = "done"
