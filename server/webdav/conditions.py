"""If-Match and its kin (RFC 9110 13), the If header (RFC 4918 10.4) and Lock-Token, into what a drive checks."""

from __future__ import annotations

import re
from typing import Any

from config.clock import SECOND_US
from providers.errors import BadName
from providers.model import NO_CONDITIONS, ConditionList, Conditions, ConditionTerm
from providers.paths import Path
from server.webdav.dates import read_date
from server.webdav.refusals import BadRequest
from server.webdav.urls import Origins

_TAG = re.compile(r'\s*(?:((?:W/)?"[^"]*")|([^\s,"]+))\s*(?:,|\Z)')
#: What stands for nothing in a list: elements may be empty (RFC 9110 5.6.1.2).
_EMPTY = re.compile(r"[\s,]*")
#: No two neighbours in it may take the same character: what could be cut in many ways takes time to refuse.
_TOKEN = re.compile(r"\s*(?:(\()|(\))|<([^<>\s]*)>|\[\s*((?:W/)?\"[^\"]*\"|[^\]\"\s]+)\s*\]|(not)\b)\s*", re.IGNORECASE)
#: A state that nothing has (RFC 4918 10.4.8), for lists about what lies on other servers.
NEVER = ConditionTerm(negated=False, is_token=True, value="DAV:no-lock")
_HEADERS = ("HTTP_IF", "HTTP_IF_MATCH", "HTTP_IF_NONE_MATCH", "HTTP_IF_UNMODIFIED_SINCE", "HTTP_LOCK_TOKEN")
#: Where Word sends the token in Lock-Token instead of If.
_TOKEN_ALONE_SUFFICES = frozenset({"PUT", "PROPPATCH"})


def conditions_of(environ: dict[str, Any], origins: Origins) -> Conditions:
    """Return all that the request's headers demand. Raises BadRequest."""
    if environ.keys().isdisjoint(_HEADERS):
        return NO_CONDITIONS
    lists = parse_if(environ["HTTP_IF"], origins) if "HTTP_IF" in environ else ()
    tokens = {term.value for found in lists for term in found.terms if term.is_token}
    if "HTTP_LOCK_TOKEN" in environ and environ["REQUEST_METHOD"] in _TOKEN_ALONE_SUFFICES:
        tokens.add(bare_token(environ["HTTP_LOCK_TOKEN"]))
    if_match = entity_tags(environ.get("HTTP_IF_MATCH"))
    # RFC 9110 13.1.4: a date counts for nothing beside tags, which tell more exactly.
    since = read_date(environ.get("HTTP_IF_UNMODIFIED_SINCE", "")) if if_match is None else None
    return Conditions(
        if_match=if_match,
        if_none_match=entity_tags(environ.get("HTTP_IF_NONE_MATCH")),
        lists=lists,
        tokens=frozenset(tokens),
        unmodified_since=None if since is None else since * SECOND_US,
    )


def entity_tags(text: str | None) -> tuple[str, ...] | None:
    """Return the tags of an If-Match or If-None-Match header, each quoted, or `("*",)`; None if there is no header.

    A tag that came without quotes gets them: some clients strip what they store.
    """
    if text is None:
        return None
    if text.strip() == "*":
        return ("*",)
    tags, at = [], _passed(text, 0)
    while at < len(text):
        found = _TAG.match(text, at)
        if found is None:
            raise BadRequest(why="an entity tag is malformed")
        tags.append(found[1] or f'"{found[2]}"')
        at = _passed(text, found.end())
    return tuple(tags)


def _passed(text: str, at: int) -> int:
    found = _EMPTY.match(text, at)
    assert found is not None  # it matches nothing, too
    return found.end()


def bare_token(text: str) -> str:
    """Return a lock token without angle brackets."""
    return text.strip().removeprefix("<").removesuffix(">")


def parse_if(text: str, origins: Origins) -> tuple[ConditionList, ...]:
    """Return the lists of an If header: all without tags, or each resource tag followed by its lists.

    Raises BadRequest for what the grammar does not allow.
    """
    lists: list[ConditionList] = []
    path: Path | None = None
    is_tagged, needs_list, at = False, False, 0
    text = text.strip()
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise BadRequest(why="the If header is malformed")
        if found[3] is not None:
            if needs_list or (lists and not is_tagged):
                raise BadRequest(why="the If header mixes lists with and without tags")
            path = _tagged(found[3], origins)
            is_tagged = needs_list = True
            at = found.end()
        elif found[1]:
            terms, at = _terms(text, found.end())
            lists.append(ConditionList(path, (*terms, NEVER) if is_tagged and path is None else terms))
            needs_list = False
        else:
            raise BadRequest(why="the If header is malformed")
    if needs_list or not lists:
        raise BadRequest(why="the If header is malformed")
    return tuple(lists)


def of_versions(lists: tuple[ConditionList, ...]) -> tuple[ConditionList, ...]:
    """Return the lists without their lock tokens, which pass locks: what is only read meets none.

    webdavclient3 sends the token of a document's lock along with its look at the folder, which that lock is not on.
    """
    return tuple(
        ConditionList(found.path, tuple(term for term in found.terms if not term.is_token or term == NEVER))
        for found in lists
    )


def _terms(text: str, at: int) -> tuple[tuple[ConditionTerm, ...], int]:
    """Return the terms up to the closing parenthesis, and where the text goes on."""
    terms: list[ConditionTerm] = []
    negated = False
    while True:
        found = _TOKEN.match(text, at)
        if found is None or found[1] or (negated and (found[2] or found[5])):
            raise BadRequest(why="the If header is malformed")
        at = found.end()
        if found[2]:
            if not terms:
                raise BadRequest(why="the If header has an empty list")
            return tuple(terms), at
        if found[5]:
            negated = True
            continue
        if found[3] is not None:
            terms.append(ConditionTerm(negated, True, found[3]))
        else:
            tag = found[4] if found[4].endswith('"') else f'"{found[4]}"'
            terms.append(ConditionTerm(negated, False, tag))
        negated = False


def _tagged(url: str, origins: Origins) -> Path | None:
    """Return the path that a resource tag names, None if it lies elsewhere."""
    try:
        return origins.path_in(url)
    except BadName:
        return None
