"""The one form of an IP address, however it came: from a socket, a proxy, or a header of the PROXY protocol."""

from __future__ import annotations

import ipaddress

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def parsed(text: str) -> Address | None:
    """Return the address that a text is, None if it is none.

    An IPv4 address that a listener on `::` shows mapped into IPv6 is itself. A zone is our machine's, not the client's.
    """
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped) or address


def plain(text: str) -> str:
    """Return the address in its one form; what is none stays as it is."""
    address = parsed(text)
    return text if address is None else str(address)
