"""What `decide` must say, as a table written apart from it, and the means to put any `decide` to the table.

A row is a situation; a column a role that was granted; a cell the acts that are permitted then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

from auth.rights import Decision, Grant, Kind, NodeView, Principal, Rights, Scope, Standing
from auth.roles import Action, GranteeKind, Role, Via
from config.clock import SECOND_US

Decide = Callable[[Principal, Action, NodeView, int], Decision]

NOW = 1_700_000_000 * SECOND_US
SPACE, OTHER_SPACE = b"s" * 16, b"t" * 16
ROOT, FOLDER, NODE, CHILD = b"r" * 16, b"f" * 16, b"n" * 16, b"c" * 16
ANNA, BERIT = b"a" * 16, b"b" * 16
BUYER, RIVAL, SUPPLIER = b"B" * 16, b"R" * 16, b"S" * 16

ACTS = {
    "-": "",
    "see": "list read",
    "audit": "list read audit",
    "add": "add",
    "drop": "list read add",
    "make": "list read add make_folder",
    "edit": "list read add make_folder replace rename move delete lock restore",
    "all": "list read add make_folder replace rename move delete lock restore grant link audit break_lock put_back",
    "mend": "list restore put_back break_lock",
    "list": "list",
    "add+": "add replace rename move delete lock",
    "drop+": "list read add replace rename move delete lock",
    "make+": "list read add make_folder replace rename move delete lock",
}

#: The last column: who sees history, if the grant has the flag: everybody but uploaders, uploaders too, nobody.
TABLE = """
situation                             viewer  uploader  contributor  editor  manager  operator  history
granted on the node                   see     add       make         edit    all      mend      readers
granted on the folder above           see     add       make         edit    all      mend      readers
granted on the root                   see     add       make         edit    all      mend      readers
granted on a child                    -       -         -            -       -        -         nobody
granted in another space              -       -         -            -       -        -         nobody
not granted                           -       -         -            -       -        -         nobody
the node breaks, granted on it        see     add       make         edit    all      mend      readers
the node breaks, granted above        -       -         -            -       -        -         nobody
the folder breaks, granted on it      see     add       make         edit    all      mend      readers
the folder breaks, granted on root    -       -         -            -       -        -         nobody
grant ends in a microsecond           see     add       make         edit    all      mend      readers
grant ends now                        -       -         -            -       -        -         nobody
grant ended                           -       -         -            -       -        -         nobody
own lane                              see     drop      make         edit    all      mend      all
own lane, granted above               see     drop      make         edit    all      mend      all
own lane, open space                  see     drop      make         edit    all      mend      all
rival's lane                          -       -         -            -       -        -         nobody
rival's lane, open space              see     -         make         edit    all      mend      readers
rival's lane, supplier                see     -         make         edit    all      mend      readers
no lane, supplier                     see     add       make         edit    all      mend      readers
lane of someone, no party             -       -         -            -       -        -         nobody
frozen                                see     -         see          see     audit    list      readers
archived                              see     -         see          see     audit    list      readers
frozen, own lane                      see     see       see          see     audit    list      all
read-only device                      see     -         see          see     audit    list      readers
device for this space                 see     add       make         edit    all      mend      readers
device for another space              -       -         -            -       -        -         nobody
device for no space                   -       -         -            -       -        -         nobody
device for this protocol              see     add       make         edit    all      mend      readers
device for another protocol           -       -         -            -       -        -         nobody
device ends in a microsecond          see     add       make         edit    all      mend      readers
device ends now                       -       -         -            -       -        -         nobody
device ended                          -       -         -            -       -        -         nobody
half signed in                        -       -         -            -       -        -         nobody
creator, no content yet               see     add+      make+        edit    all      mend      readers
creator, own lane                     see     drop+     make+        edit    all      mend      all
creator, rival's lane                 -       -         -            -       -        -         nobody
creator, 15 s after                   see     add+      make+        edit    all      mend      readers
creator, later                        see     add       make         edit    all      mend      readers
somebody else's, no content yet       see     add       make         edit    all      mend      readers
creator, read-only device             see     -         see          see     audit    list      readers
creator, frozen                       see     -         see          see     audit    list      readers
creator, not granted                  -       -         -            -       -        -         nobody
creator, half signed in               -       -         -            -       -        -         nobody
a link                                see     add       make         edit    all      mend      readers
the operator                          -       -         -            -       -        -         nobody
"""
ROLES = (Role.VIEWER, Role.UPLOADER, Role.CONTRIBUTOR, Role.EDITOR, Role.MANAGER, Role.OPERATOR)


class Case(NamedTuple):
    """One question and its answer."""

    name: str
    principal: Principal
    action: Action
    node: NodeView
    expected: Decision


def principal(**changed: Any) -> Principal:
    made = Principal(
        id=ANNA, kind=Kind.PERSON, organisation=BUYER, party=BUYER, is_supplier=False, is_administrator=False,
        login="anna", name="Anna", device=b"d" * 16, scope=Scope(), standing=Standing.FULL, groups=frozenset(),
        rights=Rights({}, frozenset()), epoch=1, address="192.0.2.1", via=Via.WEBDAV,
    )  # fmt: skip
    return replace(made, **changed)


def grant(role: Role, node: bytes = NODE, **changed: Any) -> Grant:
    return replace(Grant(b"g" * 16, SPACE, node, ANNA, GranteeKind.PERSON, role, False, None), **changed)


PLAIN = NodeView(SPACE, False, 0, (ROOT, FOLDER, NODE), b"")

#: situation → what differs: of the node, the principal, the grant, its place, the nodes that break inheritance.
SITUATIONS: dict[str, dict[str, Any]] = {
    "granted on the node": {},
    "granted on the folder above": {"on": FOLDER},
    "granted on the root": {"on": ROOT},
    "granted on a child": {"on": CHILD},
    "granted in another space": {"grant": {"space": OTHER_SPACE}},
    "not granted": {"on": None},
    "the node breaks, granted on it": {"breaks": {NODE}},
    "the node breaks, granted above": {"breaks": {NODE}, "on": FOLDER},
    "the folder breaks, granted on it": {"breaks": {FOLDER}, "on": FOLDER},
    "the folder breaks, granted on root": {"breaks": {FOLDER}, "on": ROOT},
    "grant ends in a microsecond": {"grant": {"expires_at": NOW + 1}},
    "grant ends now": {"grant": {"expires_at": NOW}},
    "grant ended": {"grant": {"expires_at": NOW - 1}},
    "own lane": {"node": {"lane": BUYER}},
    "own lane, granted above": {"node": {"lane": BUYER}, "on": FOLDER},
    "own lane, open space": {"node": {"lane": BUYER, "is_open": True}},
    "rival's lane": {"node": {"lane": RIVAL}},
    "rival's lane, open space": {"node": {"lane": RIVAL, "is_open": True}},
    "rival's lane, supplier": {"node": {"lane": RIVAL}, "who": {"is_supplier": True, "party": SUPPLIER}},
    "no lane, supplier": {"who": {"is_supplier": True, "party": SUPPLIER}},
    "lane of someone, no party": {"node": {"lane": RIVAL}, "who": {"party": b""}},
    "frozen": {"node": {"state": 1}},
    "archived": {"node": {"state": 2}},
    "frozen, own lane": {"node": {"state": 1, "lane": BUYER}},
    "read-only device": {"who": {"scope": Scope(read_only=True)}},
    "device for this space": {"who": {"scope": Scope(spaces=frozenset({SPACE, OTHER_SPACE}))}},
    "device for another space": {"who": {"scope": Scope(spaces=frozenset({OTHER_SPACE}))}},
    "device for no space": {"who": {"scope": Scope(spaces=frozenset())}},
    "device for this protocol": {"who": {"scope": Scope(protocols=frozenset({Via.WEBDAV}))}},
    "device for another protocol": {"who": {"scope": Scope(protocols=frozenset({Via.SFTP}))}},
    "device ends in a microsecond": {"who": {"scope": Scope(expires_at=NOW + 1)}},
    "device ends now": {"who": {"scope": Scope(expires_at=NOW)}},
    "device ended": {"who": {"scope": Scope(expires_at=NOW - 1)}},
    "half signed in": {"who": {"standing": Standing.HALF}},
    "creator, no content yet": {"node": {"created_by": ANNA}},
    "creator, own lane": {"node": {"created_by": ANNA, "lane": BUYER}},
    "creator, rival's lane": {"node": {"created_by": ANNA, "lane": RIVAL}},
    "creator, 15 s after": {"node": {"created_by": ANNA, "first_content_at": NOW - 15 * SECOND_US}},
    "creator, later": {"node": {"created_by": ANNA, "first_content_at": NOW - 15 * SECOND_US - 1}},
    "somebody else's, no content yet": {"node": {"created_by": BERIT}},
    "creator, read-only device": {"node": {"created_by": ANNA}, "who": {"scope": Scope(read_only=True)}},
    "creator, frozen": {"node": {"created_by": ANNA, "state": 1}},
    "creator, not granted": {"node": {"created_by": ANNA}, "on": None},
    "creator, half signed in": {"node": {"created_by": ANNA}, "who": {"standing": Standing.HALF}},
    "a link": {"who": {"kind": Kind.LINK, "party": ANNA, "via": Via.LINK}},
    "the operator": {"who": {"kind": Kind.OPERATOR, "is_supplier": True}, "on": None},
}


def rows() -> Iterator[tuple[str, dict[Role, frozenset[str]], str]]:
    """Yield each situation with the acts that each role permits, and who sees history."""
    for line in TABLE.strip().splitlines()[1:]:
        name, *cells, history = line[:38].strip(), *line[38:].split()
        yield name, {role: frozenset(ACTS[cell].split()) for role, cell in zip(ROLES, cells, strict=True)}, history


def cases() -> Iterator[Case]:
    """Yield every question of the table: situation × role × with and without history × action."""
    for name, permitted, who_sees in rows():
        differs = SITUATIONS[name]
        for role in ROLES:
            shows = who_sees == "all" or (who_sees == "readers" and role is not Role.UPLOADER)
            for history in (False, True):
                yield from _cases(f"{name}, {role.name.lower()}", differs, role, permitted[role], history, shows)


def _cases(
    name: str, differs: dict[str, Any], role: Role, permitted: frozenset[str], history: bool, shows: bool
) -> Iterator[Case]:
    node = replace(PLAIN, **differs.get("node", {}))
    on = differs.get("on", NODE)
    made = {} if on is None else {on: (grant(role, on, history=history, **differs.get("grant", {})),)}
    asking = principal(**{"rights": Rights(made, frozenset(differs.get("breaks", ()))), **differs.get("who", {})})
    for action in Action:
        looks_back = history and shows
        allowed = looks_back if action is Action.HISTORY else action.value in permitted
        yield Case(f"{name}, {action.value}", asking, action, node, Decision(allowed, allowed and looks_back))


def wrong(decide: Decide) -> list[str]:
    """Return the names of the questions that `decide` answers otherwise than the table."""
    found = []
    for case in cases():
        said = decide(case.principal, case.action, case.node, NOW)
        if (said.allowed, said.allowed and said.history) != tuple(case.expected):
            found.append(case.name)
    return found
