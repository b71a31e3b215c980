"""XML in and out: bodies parsed within limits, without entities or document types; fragments that keep namespaces."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from xml.etree.ElementTree import Element, ParseError, TreeBuilder

import wsgidav.xml_tools
from defusedxml import DefusedXmlException
from defusedxml.ElementTree import DefusedXMLParser

from server.webdav.refusals import BadRequest, TooLarge

if TYPE_CHECKING:
    from server.webdav.exchange import Exchange

# WsgiDAV turns to lxml when that can be imported, and then resolves what must not be resolved.
assert wsgidav.xml_tools.use_lxml is False

PROLOGUE = '<?xml version="1.0" encoding="utf-8"?>\n'
DAV = "{DAV:}"
XML_LANG = "{http://www.w3.org/XML/1998/namespace}lang"
_PIECE_BYTES = 64 * 1024


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
    limits = exchange.settings.limits
    if (exchange.declared or 0) > limits.xml_bytes_max:
        raise TooLarge
    raw = exchange.environ["wsgi.input"].read(limits.xml_bytes_max + 1)
    if len(raw) > limits.xml_bytes_max:
        raise TooLarge
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
