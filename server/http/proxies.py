"""Reverse proxies that the settings trust: what they say of the client replaces what the socket says.

Only the headers that the settings name are believed: a proxy replaces those it knows and hands the others on as the
client wrote them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from config.addresses import Address, Network, parsed
from server.http.parser import HOST


def apply_forwarded(environ: dict[str, Any], proxies: tuple[Network, ...], *, standard: bool) -> None:
    """Believe Forwarded (RFC 7239) if `standard`, else X-Forwarded-For, -Proto and -Host, if a trusted proxy sent them.

    Addresses are read from the right; the first that is no trusted proxy is the client.
    """
    if not is_among(environ["REMOTE_ADDR"], proxies):
        return
    if standard:
        last = _pairs(environ.get("HTTP_FORWARDED", "").rpartition(",")[2])
        scheme, host = last.get("proto"), last.get("host")
    else:
        scheme = environ.get("HTTP_X_FORWARDED_PROTO", "").rpartition(",")[2].strip() or None
        host = environ.get("HTTP_X_FORWARDED_HOST", "").rpartition(",")[2].strip() or None
    for hop in _hops(environ, standard=standard):
        address = parsed(_bare(hop))
        if address is None:
            break
        environ["REMOTE_ADDR"] = str(address)
        if not _lies_in(address, proxies):
            break
    if scheme is not None and scheme.lower() in ("http", "https"):
        environ["wsgi.url_scheme"] = scheme.lower()
    if host and HOST.match(host.encode("latin-1")):
        environ["HTTP_HOST"] = host


def _hops(environ: dict[str, Any], *, standard: bool) -> Iterator[str]:
    """Yield whom each hop names as its client, from the right, as it is written; nothing if it names nobody: what is
    left of it was written by whom it does not name. The rest is read only if asked for.
    """
    said = environ.get("HTTP_FORWARDED" if standard else "HTTP_X_FORWARDED_FOR", "")
    for hop in filter(str.strip, reversed(said.split(","))):
        yield _pairs(hop).get("for", "") if standard else hop


def _pairs(hop: str) -> dict[str, str]:
    """Return what a hop says by lower-case name. What is malformed is no address, no scheme and no host."""
    found: dict[str, str] = {}
    for pair in hop.split(";"):
        name, _, value = (part.strip() for part in pair.partition("="))
        is_quoted = value.startswith('"') and value.endswith('"')
        found[name.lower()] = value[1:-1] if is_quoted else value
    return found


def _bare(text: str) -> str:
    """Return the address without brackets and port."""
    text = text.strip()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text


def is_among(text: str, networks: tuple[Network, ...]) -> bool:
    """Tell whether an address lies in one of the networks."""
    address = parsed(text)
    return address is not None and _lies_in(address, networks)


def _lies_in(address: Address, networks: tuple[Network, ...]) -> bool:
    return any(address in network for network in networks)
