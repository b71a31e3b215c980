"""Who may do what: `decide` against the table, against its own principles, and with each of its checks taken out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import hypothesis
import hypothesis.strategies as st
import pytest

import auth.rights
from auth.rights import Kind, NodeView, Principal, Rights, Scope, Standing, decide
from auth.roles import ACTIONS, QUIET, Action, Role, Via
from tests.auth import decisions
from tests.auth.decisions import ANNA, BUYER, CHILD, FOLDER, NODE, NOW, RIVAL, ROOT, SPACE, Decide, grant, principal


def test_the_table_is_whole() -> None:
    assert [name for name, _, _ in decisions.rows()] == list(decisions.SITUATIONS)
    assert len(list(decisions.cases())) == len(decisions.SITUATIONS) * 6 * 2 * len(Action)


def test_decide_says_what_the_table_says() -> None:
    assert decisions.wrong(decide) == []


def test_a_break_is_no_role() -> None:
    made = Rights({NODE: (grant(Role.BREAK, history=True),)}, frozenset())
    for action in Action:
        assert decide(principal(rights=made), action, decisions.PLAIN, NOW) == (False, False)


def test_an_uploaders_flag_shows_no_common_history_to_who_reads_by_another_grant() -> None:
    both = (grant(Role.VIEWER), grant(Role.UPLOADER, history=True))
    asking = principal(rights=Rights({NODE: both}, frozenset()))
    assert decide(asking, Action.READ, decisions.PLAIN, NOW) == (True, False)
    assert not decide(asking, Action.HISTORY, decisions.PLAIN, NOW).allowed


#: Each takes one check out of `decide`, or turns it round.
MUTANTS: dict[str, tuple[str, str]] = {
    "standing": ("if principal.standing is not Standing.FULL:", "if False:"),
    "scope expiry": ("if scope.expires_at is not None and scope.expires_at <= at:", "if False:"),
    "scope expiry's edge": ("scope.expires_at <= at:", "scope.expires_at < at:"),
    "scope spaces": ("if scope.spaces is not None and node.space not in scope.spaces:", "if False:"),
    "scope of no spaces": ("scope.spaces is not None and", "scope.spaces and"),
    "scope protocols": ("if scope.protocols is not None and principal.via not in scope.protocols:", "if False:"),
    "quiet acts": ("    if action in QUIET:\n        return True\n", ""),
    "read-only": ("return not scope.read_only and node.state == ACTIVE", "return node.state == ACTIVE"),
    "frozen": ("return not scope.read_only and node.state == ACTIVE", "return not scope.read_only"),
    "admittance": ("if not _admitted(principal, action, node, at):", "if False:"),
    "grant's space": ("if grant.space == node.space and (", "if ("),
    "grant's expiry": ("(grant.expires_at is None or grant.expires_at > at)", "True"),
    "grant's expiry's edge": ("grant.expires_at > at)", "grant.expires_at >= at)"),
    "breaks": ("        if step in rights.breaks:\n            return\n", ""),
    "own grants of a break": (
        "        for grant in rights.grants.get(step, ()):",
        "        if step in rights.breaks:\n            return\n        for grant in rights.grants.get(step, ()):",
    ),
    "inheritance": ("for step in reversed(node.ancestry):", "for step in node.ancestry[-1:]:"),
    "order of inheritance": ("for step in reversed(node.ancestry):", "for step in node.ancestry:"),
    "lanes": ("if _covers_lane(principal, grant, node)]", "]"),
    "own lane": ("if node.lane in (NOBODY, principal.party):", "if node.lane == NOBODY:"),
    "uploaders among lanes": ("return grant.role is not Role.UPLOADER and (p", "return (p"),
    "supplier's sight of lanes": ("(principal.is_supplier or node.is_open)", "node.is_open"),
    "open space": ("(principal.is_supplier or node.is_open)", "principal.is_supplier"),
    "closed space": ("(principal.is_supplier or node.is_open)", "True"),
    "role": ("    if action not in ACTIONS[grant.role]:\n        return False\n", ""),
    "uploader's sight": ("or action is Action.ADD or node.lane != NOBODY", "or True"),
    "uploader's adding": ("or action is Action.ADD or node.lane != NOBODY", "or node.lane != NOBODY"),
    "uploader's own lane": ("or action is Action.ADD or node.lane != NOBODY", "or action is Action.ADD"),
    "flag of history": ("any(grant.history and _permits(", "any(_permits("),
    "history of readers alone": ("grant.history and _permits(grant, Action.LIST, node)", "grant.history"),
    "history's own action": (
        "    if action is Action.HISTORY:\n        return Decision(history, history)\n",
        "",
    ),
    "steps of a creator": ("if action in _STEPS and", "if"),
    "who created": ("if node.created_by != principal.id:", "if False:"),
    "end of the grace": ("at <= node.first_content_at + CREATOR_GRACE_US", "True"),
    "the grace": ("at <= node.first_content_at + CREATOR_GRACE_US", "False"),
    "before content": ("return node.first_content_at is None or ", "return node.first_content_at is not None and "),
    "adding by the grace": ("Decision(any(Action.ADD in ACTIONS[grant.role] for grant in reaching)", "Decision(True"),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_without_the_check_the_table_turns_red(name: str) -> None:
    assert decisions.wrong(mutant(*MUTANTS[name])) != []


def mutant(old: str, new: str) -> Decide:
    """Return a `decide` whose module has `old` replaced by `new`, on the same classes."""
    source = Path(auth.rights.__file__).read_text()
    assert source.count(old) == 1, f"{old!r} stands {source.count(old)} times in auth/rights.py"
    names: dict[str, Any] = dict(vars(auth.rights))
    begin = source.index("def decide(")
    exec(compile("from __future__ import annotations\n" + source[begin:].replace(old, new), "mutant", "exec"), names)
    made: Decide = names["decide"]
    return made


def test_an_unchanged_mutant_is_right() -> None:
    assert decisions.wrong(mutant("def decide(", "def decide(")) == []


# --- principles, for whatever rights

NODES = st.sampled_from([ROOT, FOLDER, NODE, CHILD])
GRANTS = st.builds(
    lambda role, node, history, ends: grant(role, node, history=history, expires_at=ends),
    st.sampled_from(list(Role)),
    NODES,
    st.booleans(),
    st.sampled_from([None, NOW - 1, NOW, NOW + 1]),
)
SCOPES = st.builds(
    Scope,
    spaces=st.sampled_from([None, frozenset(), frozenset({SPACE})]),
    read_only=st.booleans(),
    protocols=st.sampled_from([None, frozenset({Via.SFTP}), frozenset({Via.WEBDAV})]),
    expires_at=st.sampled_from([None, NOW, NOW + 1]),
)
VIEWS = st.builds(
    NodeView,
    space=st.just(SPACE),
    is_open=st.booleans(),
    state=st.sampled_from([0, 1, 2]),
    ancestry=st.sampled_from([(ROOT,), (ROOT, FOLDER), (ROOT, FOLDER, NODE)]),
    lane=st.sampled_from([b"", BUYER, RIVAL]),
    created_by=st.sampled_from([None, ANNA, RIVAL]),
    first_content_at=st.sampled_from([None, NOW, 0]),
)


def rights_of(grants: list[auth.rights.Grant], breaks: frozenset[bytes]) -> Rights:
    by_node: dict[bytes, tuple[auth.rights.Grant, ...]] = {}
    for each in grants:
        by_node[each.node] = (*by_node.get(each.node, ()), each)
    return Rights(by_node, breaks)


PRINCIPALS = st.builds(
    lambda grants, breaks, scope, standing, supplier: principal(
        rights=rights_of(grants, breaks), scope=scope, standing=standing, is_supplier=supplier
    ),
    st.lists(GRANTS, max_size=5),
    st.frozensets(NODES, max_size=2),
    SCOPES,
    st.sampled_from(Standing),
    st.booleans(),
)


def with_grant(asking: Principal, added: auth.rights.Grant) -> Principal:
    grants = [each for group in asking.rights.grants.values() for each in group]
    return principal(
        rights=rights_of([*grants, added], asking.rights.breaks),
        scope=asking.scope,
        standing=asking.standing,
        is_supplier=asking.is_supplier,
    )


@hypothesis.given(PRINCIPALS, GRANTS, VIEWS, st.sampled_from(list(Action)))
def test_grants_only_add(asking: Principal, added: auth.rights.Grant, node: NodeView, action: Action) -> None:
    before = decide(asking, action, node, NOW)
    after = decide(with_grant(asking, added), action, node, NOW)
    assert after.allowed >= before.allowed
    assert after.history >= before.history


@hypothesis.given(SCOPES, VIEWS, st.sampled_from(list(Action)), st.sampled_from(Kind), st.booleans())
def test_who_was_granted_nothing_may_nothing(
    scope: Scope, node: NodeView, action: Action, kind: Kind, powerful: bool
) -> None:
    asking = principal(kind=kind, scope=scope, is_supplier=powerful, is_administrator=powerful)
    assert decide(asking, action, node, NOW) == (False, False)


@hypothesis.given(PRINCIPALS, VIEWS, st.sampled_from(list(Action)))
def test_no_act_goes_beyond_the_roles_in_force(asking: Principal, node: NodeView, action: Action) -> None:
    said = decide(asking, action, node, NOW)
    live = [
        each
        for group in asking.rights.grants.values()
        for each in group
        if each.node in node.ancestry and (each.expires_at is None or each.expires_at > NOW)
    ]
    if said.history:
        assert any(each.history and each.role is not Role.BREAK for each in live)
    if said.allowed and action is not Action.HISTORY:
        wanted = {action} if node.created_by != ANNA else {action, Action.ADD}
        assert any(wanted & ACTIONS[each.role] for each in live)
        assert action in QUIET or (node.state == 0 and not asking.scope.read_only)


@hypothesis.given(PRINCIPALS, VIEWS, st.sampled_from(list(Action)), st.frozensets(NODES, max_size=2))
def test_a_break_only_takes_away(asking: Principal, node: NodeView, action: Action, more: frozenset[bytes]) -> None:
    broken = principal(
        rights=Rights(asking.rights.grants, asking.rights.breaks | more),
        scope=asking.scope,
        standing=asking.standing,
        is_supplier=asking.is_supplier,
    )
    assert decide(broken, action, node, NOW).allowed <= decide(asking, action, node, NOW).allowed
