"""The PROXY protocol, versions 1 and 2: what a balancer says of a client before the client's own first byte.

As https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt has it. It is spoken before TLS, so no byte beyond the
header may be taken off the socket.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from typing import NamedTuple

from server.http.channel import ClientGone

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
LINE_BYTES_MAX = 107
#: What may follow the fixed part of version 2: addresses, and fields that are passed over.
REST_BYTES_MAX = 2048
_FIXED_BYTES = len(SIGNATURE) + 4
_LINE = re.compile(rb"PROXY (?:UNKNOWN(?: [\x20-\x7e]*)?|TCP([46]) (\S+) (\S+) ([0-9]{1,5}) ([0-9]{1,5}))\r\n\Z")
_LOCAL, _PROXY = 0x20, 0x21
#: Family and transport, and how long an address of that family is. Of others (UNSPEC, UNIX) the address is passed over.
_ADDRESS_BYTES = {0x11: 4, 0x21: 16}
_WITHOUT_ADDRESS = (0x00, 0x31)


class Malformed(ValueError):
    """What came is no header of the PROXY protocol."""


class Source(NamedTuple):
    """Who the client is."""

    address: str
    port: int


class ProxyHeader:
    """The header on one socket, read as it comes."""

    def __init__(self) -> None:
        self._held = b""

    def is_whole(self, sock: socket.socket) -> bool:
        """Take what is there, never waiting, and tell whether it is all. Raises Malformed, ClientGone."""
        while wanted := _missing(self._held):
            try:
                piece = sock.recv(wanted)
            except BlockingIOError:
                return False
            except OSError as error:
                raise ClientGone from error
            if not piece:
                raise ClientGone
            self._held += piece
        return True

    def source(self) -> Source | None:
        """Return what the whole header says of the client; None if it says to believe the socket. Raises Malformed."""
        return _binary(self._held) if self._held.startswith(SIGNATURE) else _line(self._held)


def _missing(held: bytes) -> int:
    """Return how many more bytes are surely part of the header; 0 if it is whole."""
    beginning = held[: len(SIGNATURE)]
    if not SIGNATURE.startswith(beginning):
        if not b"PROXY ".startswith(beginning[:6]) or len(held) > LINE_BYTES_MAX:
            raise Malformed
        # The shortest line is longer than the signature; of the rest nobody knows where it ends.
        return 0 if held.endswith(b"\r\n") else max(1, len(SIGNATURE) - len(held))
    if len(held) < _FIXED_BYTES:
        return (_FIXED_BYTES if len(held) >= len(SIGNATURE) else len(SIGNATURE)) - len(held)
    rest = int.from_bytes(held[14:16], "big")
    if rest > REST_BYTES_MAX:
        raise Malformed
    return _FIXED_BYTES + rest - len(held)


def _line(held: bytes) -> Source | None:
    found = _LINE.match(held)
    if found is None:
        raise Malformed
    if found[1] is None:
        return None
    source, destination = (_address(text.decode("ascii", "replace"), int(found[1])) for text in found.group(2, 3))
    if not source or not destination or max(int(found[4]), int(found[5])) > 65535:
        raise Malformed
    return Source(source, int(found[4]))


def _address(text: str, version: int) -> str | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return str(address) if address.version == version and "%" not in text else None


def _binary(held: bytes) -> Source | None:
    command, family = held[12], held[13]
    if command not in (_LOCAL, _PROXY):
        raise Malformed
    if command == _LOCAL or family in _WITHOUT_ADDRESS:
        return None
    size = _ADDRESS_BYTES.get(family)
    rest = held[_FIXED_BYTES:]
    if size is None or len(rest) < 2 * size + 4:
        raise Malformed
    port = int.from_bytes(rest[2 * size : 2 * size + 2], "big")
    return Source(str(ipaddress.ip_address(rest[:size])), port)
