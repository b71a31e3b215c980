"""XML in and out: bodies parsed within limits, without entities or document types; fragments that keep namespaces."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from xml.etree.ElementTree import Element, ParseError, TreeBuilder
from xml.parsers.expat import ExpatError, ParserCreate

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
MICROSOFT = "{urn:schemas-microsoft-com:}"
#: What a `multistatus` declares once for all in it: Explorer's properties come with each of thousands of documents.
_PREFIXES = {"DAV:": "D", "urn:schemas-microsoft-com:": "Z"}
DECLARED = " ".join(f'xmlns:{prefix}="{namespace}"' for namespace, prefix in _PREFIXES.items())
#: The one namespace whose prefix needs no declaration, and may not have another (Namespaces in XML, 3).
XML_NAMESPACE = "http://www.w3.org/XML/1998/namespace"
XML_LANG = f"{{{XML_NAMESPACE}}}lang"
#: How many bodies each kind of request remembers, how long each may be, and how long its names with their namespaces.
REMEMBERED_MAX, REMEMBERED_BYTES_MAX, REMEMBERED_TEXT_MAX = 256, 4096, 16_384
#: A namespace comes along with every name in it, here and in answers, so a long one would make much of a short body.
NAMESPACE_CHARS_MAX = 1024
T = TypeVar("T")


class _Limited(TreeBuilder):
    """Makes the tree within limits. Names count with their namespaces, as often as they stand there."""

    def __init__(self, limits: LimitSettings, text_max: int) -> None:
        super().__init__()
        self._levels_left = limits.xml_levels_max
        self._elements_left = limits.xml_elements_max
        self._text_left = text_max

    def start(self, tag: Any, attrs: Any, /) -> Any:
        self._levels_left -= 1
        self._elements_left -= 1
        self._text_left -= len(tag) + sum(len(name) + len(value) for name, value in attrs.items())
        if self._levels_left < 0 or self._elements_left < 0 or self._text_left < 0:
            raise TooLarge
        return super().start(tag, attrs)

    def end(self, tag: Any, /) -> Any:
        self._levels_left += 1
        return super().end(tag)


def read_xml(exchange: Exchange) -> Element | None:
    """Return the root of the request's body, None if there is none. Raises BadRequest, TooLarge."""
    limits = exchange.settings.limits
    return _parsed(_body(exchange), limits, limits.xml_bytes_max)


def of_body(make: Callable[[Element | None], T]) -> Callable[[Exchange], T]:
    """Return a function that makes something of a request's body by `make`, given its root as `read_xml` gives it.

    What small bodies come to is remembered, for programs send the same ones over and over: `make` must depend on the
    root alone, and what it returns be changed by nobody.
    """

    @lru_cache(maxsize=REMEMBERED_MAX)
    def remembered(raw: bytes, limits: LimitSettings) -> T:
        return make(_parsed(raw, limits, min(REMEMBERED_TEXT_MAX, limits.xml_bytes_max)))

    def made(exchange: Exchange) -> T:
        raw, limits = _body(exchange), exchange.settings.limits
        if len(raw) <= REMEMBERED_BYTES_MAX:
            with suppress(TooLarge):
                return remembered(raw, limits)
        return make(_parsed(raw, limits, limits.xml_bytes_max))

    return made


def _body(exchange: Exchange) -> bytes:
    limit = exchange.settings.limits.xml_bytes_max
    if (exchange.declared or 0) > limit:
        raise TooLarge
    raw: bytes = exchange.environ["wsgi.input"].read(limit + 1)
    if len(raw) > limit:
        raise TooLarge
    if raw:
        exchange.require_plain()
    return raw


def _parsed(raw: bytes, limits: LimitSettings, text_max: int) -> Element | None:
    if not raw:
        return None
    builder = _Limited(limits, text_max)
    parser = DefusedXMLParser(target=builder, forbid_dtd=True, forbid_entities=True, forbid_external=True)
    try:
        _require_short_namespaces(raw)
        parser.feed(raw)
        root: Element = parser.close()
    except (ParseError, ExpatError, DefusedXmlException, ValueError, LookupError) as error:
        raise BadRequest(why="its body is no XML that is accepted here") from error
    return root


def _require_short_namespaces(raw: bytes) -> None:
    """Raise BadRequest if a namespace is long. The parser proper would have put it before each attribute by then."""

    def refuse(*_: object) -> None:
        raise ValueError

    def look(_: str, attributes: dict[str, str]) -> None:
        for name, value in attributes.items():
            if name.startswith("xmlns") and len(value) > NAMESPACE_CHARS_MAX:
                raise BadRequest(why=f"a namespace in its body is longer than {NAMESPACE_CHARS_MAX} characters")

    parser = ParserCreate()
    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = look
    parser.Parse(raw, True)


def escape(text: str) -> str:
    """Return text as it stands between tags, or between double quotes."""
    if "&" in text or "<" in text or ">" in text or '"' in text or "\r" in text:
        text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
        text = text.replace("\r", "&#13;")
    return text


def quoted(text: str) -> str:
    """Return text as an attribute's value. A raw tab or line's end would be read as a space there (XML 1.0, 3.3.3)."""
    inner = escape(text).replace("\n", "&#10;").replace("\t", "&#9;")
    return f'"{inner}"'


def split_name(clark: str) -> tuple[str, str]:
    """Return namespace and local name of `{namespace}name`."""
    if clark[:1] == "{":
        namespace, _, local = clark[1:].rpartition("}")
        return namespace, local
    return "", clark


def tag(clark: str) -> tuple[str, str]:
    """Return an element's name as it is written within a `multistatus`, and what it has to declare besides, if any."""
    namespace, local = split_name(clark)
    prefix = "xml" if namespace == XML_NAMESPACE else _PREFIXES.get(namespace)
    if prefix is not None:
        return f"{prefix}:{local}", ""
    if not namespace:
        return local, ""
    return f"x:{local}", f" xmlns:x={quoted(namespace)}"


def empty_element(clark: str) -> str:
    """Return an element without content, within a `multistatus`."""
    name, declared = tag(clark)
    return f"<{name}{declared}/>"


def shortened(clark: str, text: str) -> str:
    """Return a property that `fragment` made, as short as it can be within a `multistatus`, which declares for it."""
    around = _around(clark)
    if around is None or text.count("<") != 2 or not text.startswith(around.begins):
        return text
    return f"<{around.short}>{text[around.start : around.stop]}</{around.short}>"


def inner_text(clark: str, text: str) -> str:
    """Return the text that a property holds which `shortened` would shorten; nothing of any other."""
    around = _around(clark)
    return text[around.start : around.stop] if around is not None and shortened(clark, text) is not text else ""


class _Around(NamedTuple):
    """How a property begins that `fragment` made, where the text in it starts and stops, and its short name."""

    begins: str
    start: int
    stop: int
    short: str


@lru_cache(maxsize=256)
def _around(clark: str) -> _Around | None:
    """Return what stands around the text of a property, None where a `multistatus` does not declare its namespace."""
    namespace, local = split_name(clark)
    if namespace not in _PREFIXES:
        return None
    begins = f'<n0:{local} xmlns:n0="{namespace}">'
    return _Around(begins, len(begins), -len(f"</n0:{local}>"), tag(clark)[0])


def fragment(element: Element, language: str | None = None) -> str:
    """Return an element as text that stands by itself: every namespace declared, `xml:lang` of around kept."""
    prefixes: dict[str, str] = {}
    inner = "".join(_written(element, prefixes, language))
    declared = "".join(f" xmlns:{prefix}={quoted(uri)}" for uri, prefix in prefixes.items())
    end_of_name = min(inner.find(stop) for stop in (" ", "/", ">") if stop in inner)
    return inner[:end_of_name] + declared + inner[end_of_name:]


def _written(element: Element, prefixes: dict[str, str], language: str | None) -> list[str]:
    name = _prefixed(element.tag, prefixes)
    attributes = dict(element.attrib)
    if language is not None:
        attributes.setdefault(XML_LANG, language)
    pieces = [f"<{name}"]
    for key, value in attributes.items():
        pieces.append(f" {_prefixed(key, prefixes)}={quoted(value)}")
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
    if namespace == XML_NAMESPACE:
        return f"xml:{local}"
    return f"{prefixes.setdefault(namespace, f'n{len(prefixes)}')}:{local}"


def language_of(element: Element, inherited: str | None) -> str | None:
    """Return the language that holds inside an element."""
    return element.attrib.get(XML_LANG, inherited)
