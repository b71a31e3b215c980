"""Reverse proxies that the settings trust: what they say of the client replaces what the socket says.

Only the headers that the settings name are believed: a proxy replaces those it knows and hands the others on as the
client wrote them.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Any

from server.http.parser import HOST

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_PAIR = re.compile(r"\s*([A-Za-z]+)\s*=\s*(?:\"([^\"\\]*)\"|([^\s;,\"]*))\s*\Z")


def apply_forwarded(environ: dict[str, Any], proxies: tuple[Network, ...], *, standard: bool) -> None:
    """Believe Forwarded (RFC 7239) if `standard`, else X-Forwarded-For, -Proto and -Host, if a trusted proxy sent them.

    Addresses are read from the right; the first that is no trusted proxy is the client.
    """
    if not is_among(environ["REMOTE_ADDR"], proxies):
        return
    if standard:
        hops = [_pairs(hop) for hop in environ.get("HTTP_FORWARDED", "").split(",")]
        addresses = [_bare(hop["for"]) for hop in hops if "for" in hop]
        scheme, host = hops[-1].get("proto"), hops[-1].get("host")
    else:
        addresses = [_bare(hop) for hop in environ.get("HTTP_X_FORWARDED_FOR", "").split(",") if hop.strip()]
        scheme = environ.get("HTTP_X_FORWARDED_PROTO", "").rpartition(",")[2].strip() or None
        host = environ.get("HTTP_X_FORWARDED_HOST", "").rpartition(",")[2].strip() or None
    for address in reversed(addresses):
        if not _is_address(address):
            break
        environ["REMOTE_ADDR"] = address
        if not is_among(address, proxies):
            break
    if scheme is not None and scheme.lower() in ("http", "https"):
        environ["wsgi.url_scheme"] = scheme.lower()
    if host and HOST.match(host.encode("latin-1")):
        environ["HTTP_HOST"] = host


def _pairs(hop: str) -> dict[str, str]:
    found = (_PAIR.match(pair) for pair in hop.split(";"))
    return {pair[1].lower(): pair[2] if pair[2] is not None else pair[3] for pair in found if pair}


def _bare(text: str) -> str:
    """Return the address without brackets and port."""
    text = text.strip()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0] if text.count(":") == 1 else text


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def is_among(text: str, networks: tuple[Network, ...]) -> bool:
    """Tell whether an address lies in one of the networks."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return any(address in network for network in networks)
