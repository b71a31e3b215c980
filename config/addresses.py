"""The one form of an IP address, however it came: from a socket, a proxy, a PROXY header, or the settings."""

from __future__ import annotations

import ipaddress

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
#: How much of an address mapped into IPv6 says that it is one; the rest is the IPv4 address.
_MAPPED_BITS = 96


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


def network(text: str) -> Network:
    """Return the network that a text is, of addresses in their one form. Raises ValueError if it is none."""
    found = ipaddress.ip_network(text)
    mapped = found.network_address.ipv4_mapped if isinstance(found, ipaddress.IPv6Network) else None
    return found if mapped is None else ipaddress.ip_network((mapped, found.prefixlen - _MAPPED_BITS))
