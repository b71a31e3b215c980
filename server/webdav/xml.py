"""XML in and out: bodies parsed within limits, without entities or document types; fragments that keep namespaces."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar
from xml.etree.ElementTree import Element, ParseError, TreeBuilder

import wsgidav.xml_tools
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser

from config.settings.schema import LimitSettings
from server.webdav.refusals import BadRequest, TooLarge

if TYPE_CHECKING:
    from server.webdav.exchange import Exchange

# WsgiDAV turns to lxml when that can be imported, and then resolves what must not be resolved.
assert wsgidav.xml_tools.use_lxml is False

PROLOGUE = '<?xml version="1.0" encoding="utf-8"?>\n'
DAV = "{DAV:}"
XML_LANG = "{http://www.w3.org/XML/1998/namespace}lang"
#: How many bodies each kind of request remembers, and how long each may be.
REMEMBERED_MAX, REMEMBERED_BYTES_MAX = 256, 4096
T = TypeVar("T")


class _Limited(TreeBuilder):
    def __init__(self, levels_max: int, elements_max: int) -> None:
        super().__init__()
        self._levels_left = levels_max
        self._elements_left = elements_max

    def start(self, tag: Any, attrs: Any, /) -> Any:
        self._levels_left -= 1
        self._elements_left -= 1
        if self._levels_left < 0 or self._elements_left < 0:
            raise TooLarge
        return super().start(tag, attrs)

    def end(self, tag: Any, /) -> Any:
        self._levels_left += 1
        return super().end(tag)


def read_xml(exchange: Exchange) -> Element | None:
    """Return the root of the request's body, None if there is none. Raises BadRequest, TooLarge."""
    return _parsed(_body(exchange), exchange.settings.limits)


def of_body(make: Callable[[Element | None], T]) -> Callable[[Exchange], T]:
    """Return a function that makes something of a request's body by `make`, given its root as `read_xml` gives it.

    What small bodies come to is remembered, for programs send the same ones over and over: `make` must depend on the
    root alone, and what it returns be changed by nobody.
    """

    @lru_cache(maxsize=REMEMBERED_MAX)
    def remembered(raw: bytes, limits: LimitSettings) -> T:
        return make(_parsed(raw, limits))

    def made(exchange: Exchange) -> T:
        raw = _body(exchange)
        if len(raw) > REMEMBERED_BYTES_MAX:
            return make(_parsed(raw, exchange.settings.limits))
        return remembered(raw, exchange.settings.limits)

    return made


def _body(exchange: Exchange) -> bytes:
    limit = exchange.settings.limits.xml_bytes_max
    if (exchange.declared or 0) > limit:
        raise TooLarge
    raw: bytes = exchange.environ["wsgi.input"].read(limit + 1)
    if len(raw) > limit:
        raise TooLarge
    return raw


def _parsed(raw: bytes, limits: LimitSettings) -> Element | None:
    if not raw:
        return None
    builder = _Limited(limits.xml_levels_max, limits.xml_elements_max)
    parser = DefusedXMLParser(target=builder, forbid_dtd=True, forbid_entities=True, forbid_external=True)
    try:
        parser.feed(raw)
        root: Element = parser.close()
    except (ParseError, DefusedXmlException, ValueError, LookupError) as error:
        raise BadRequest(why="its body is no XML that is accepted here") from error
    return root


def escape(text: str) -> str:
    """Return text as it stands between tags, or between double quotes."""
    if "&" in text or "<" in text or ">" in text or '"' in text or "\r" in text:
        text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
        text = text.replace("\r", "&#13;")
    return text


def split_name(clark: str) -> tuple[str, str]:
    """Return namespace and local name of `{namespace}name`."""
    if clark[:1] == "{":
        namespace, _, local = clark[1:].rpartition("}")
        return namespace, local
    return "", clark


def empty_element(clark: str) -> str:
    """Return an element without content. `DAV:` has the prefix D, as the document around it declares."""
    namespace, local = split_name(clark)
    if namespace == "DAV:":
        return f"<D:{local}/>"
    if not namespace:
        return f"<{local}/>"
    return f'<x:{local} xmlns:x="{escape(namespace)}"/>'


def fragment(element: Element, language: str | None = None) -> str:
    """Return an element as text that stands by itself: every namespace declared, `xml:lang` of around kept."""
    prefixes: dict[str, str] = {}
    inner = "".join(_written(element, prefixes, language))
    declared = "".join(f' xmlns:{prefix}="{escape(uri)}"' for uri, prefix in prefixes.items())
    end_of_name = min(inner.find(stop) for stop in (" ", "/", ">") if stop in inner)
    return inner[:end_of_name] + declared + inner[end_of_name:]


def _written(element: Element, prefixes: dict[str, str], language: str | None) -> list[str]:
    name = _prefixed(element.tag, prefixes)
    attributes = dict(element.attrib)
    if language is not None:
        attributes.setdefault(XML_LANG, language)
    pieces = [f"<{name}"]
    for key, value in attributes.items():
        shown = escape(value).replace("\n", "&#10;").replace("\t", "&#9;")
        pieces.append(f' {_prefixed(key, prefixes)}="{shown}"')
    if not element.text and not len(element):
        pieces.append("/>")
        return pieces
    pieces.append(f">{escape(element.text or '')}")
    for child in element:
        pieces += _written(child, prefixes, None)
        pieces.append(escape(child.tail or ""))
    pieces.append(f"</{name}>")
    return pieces


def _prefixed(clark: str, prefixes: dict[str, str]) -> str:
    namespace, local = split_name(clark)
    if not namespace:
        return local
    if clark == XML_LANG or namespace == "http://www.w3.org/XML/1998/namespace":
        return f"xml:{local}"
    return f"{prefixes.setdefault(namespace, f'n{len(prefixes)}')}:{local}"


def language_of(element: Element, inherited: str | None) -> str | None:
    """Return the language that holds inside an element."""
    return element.attrib.get(XML_LANG, inherited)
