"""Requests that two readers would cut differently, each with others hidden in it that one of them would see.

Each case is made of the hidden bytes, and says how the front answers it: a refusal is followed by the end of the
connection, everything else leaves it in step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

REFUSED, DONE = "refused", "done"


class Case(NamedTuple):
    """`make(begin, hidden)` gives the bytes; `begin` is a request line with Host and credentials, without its end."""

    make: Callable[[bytes, bytes], bytes]
    outcome: str = REFUSED


def _beside(*fields: bytes) -> Callable[[bytes, bytes], bytes]:
    """A length that covers all, beside fields by which the body would end at once."""

    def make(begin: bytes, hidden: bytes) -> bytes:
        body = b"0\r\n\r\n" + hidden
        return begin + b"Content-Length: %d\r\n" % len(body) + b"".join(fields) + b"\r\n" + body

    return make


def _only(*fields: bytes) -> Callable[[bytes, bytes], bytes]:
    """Fields alone, then what is hidden, as a body or as the next request."""
    return lambda begin, hidden: begin + b"".join(fields) + b"\r\n" + hidden


def _chunked(body: bytes) -> Callable[[bytes, bytes], bytes]:
    """A chunked body; `%s` in it is what is hidden."""
    return lambda begin, hidden: begin + b"Transfer-Encoding: chunked\r\n\r\n" + body.replace(b"%s", hidden)


def _measured(*fields: bytes) -> Callable[[bytes, bytes], bytes]:
    """A body of the length it says."""
    return lambda begin, hidden: begin + b"".join(fields) + b"Content-Length: %d\r\n\r\n" % len(hidden) + hidden


CODINGS = {
    "plain": b"Transfer-Encoding: chunked\r\n",
    "before a tab": b"Transfer-Encoding:\tchunked\r\n",
    "in capitals": b"TRANSFER-ENCODING: CHUNKED\r\n",
    "unknown": b"Transfer-Encoding: xchunked\r\n",
    "quoted": b'Transfer-Encoding: "chunked"\r\n',
    "space before the colon": b"Transfer-Encoding : chunked\r\n",
    "space before the name": b" Transfer-Encoding: chunked\r\n",
    "vertical tab": b"Transfer-Encoding: \x0bchunked\r\n",
    "NUL": b"Transfer-Encoding: chunked\0\r\n",
    "no-break space": b"Transfer-Encoding: \xa0chunked\r\n",
    "twice": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    "then another": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n",
    "before another": b"Transfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n",
    "identity last": b"Transfer-Encoding: chunked, identity\r\n",
    "identity first": b"Transfer-Encoding: identity, chunked\r\n",
    "identity": b"Transfer-Encoding: identity\r\n",
    "empty": b"Transfer-Encoding:\r\n",
    "comma": b"Transfer-Encoding: ,chunked\r\n",
    "with a parameter": b"Transfer-Encoding: chunked;q=1\r\n",
    "folded": b"Transfer-Encoding:\r\n chunked\r\n",
    "behind a line feed": b"X: y\nTransfer-Encoding: chunked\r\n",
    "behind a carriage return": b"X: y\rTransfer-Encoding: chunked\r\n",
    "line feed in the name": b"Transfer-Encoding\n: chunked\r\n",
    "underscore": b"Transfer_Encoding: chunked\r\n",
}

LENGTHS = {
    "signed": b"Content-Length: +%d\r\n",
    "negative": b"Content-Length: -%d\r\n",
    "hexadecimal": b"Content-Length: 0x%x\r\n",
    "with a fraction": b"Content-Length: %d.0\r\n",
    "with an underscore": b"Content-Length: 1_%d\r\n",
    "listed": b"Content-Length: %d, %d\r\n",
    "listed differently": b"Content-Length: 0, %d\r\n",
    "twice": b"Content-Length: %d\r\nContent-Length: %d\r\n",
    "twice differently": b"Content-Length: %d\r\nContent-Length: 0\r\n",
    "twice differently, the other way": b"Content-Length: 0\r\nContent-Length: %d\r\n",
    "in quotes": b'Content-Length: "%d"\r\n',
    "with a unit": b"Content-Length: %d bytes\r\n",
    "folded": b"Content-Length:\r\n %d\r\n",
    "space before the colon": b"Content-Length : %d\r\n",
    "behind a line feed": b"X: y\nContent-Length: %d\r\n",
    "with a NUL": b"Content-Length: %d\0\r\n",
    "underscore": b"Content_Length: %d\r\n",
    "too large": b"Content-Length: 18446744073709551616%d\r\n",
    "in other digits": b"Content-Length: \xd9\xa1%d\r\n",
}

CHUNKS = {
    "size with a sign": b"+5\r\nhello\r\n0\r\n\r\n%s",
    "size with a prefix": b"0x5\r\nhello\r\n0\r\n\r\n%s",
    "size with a space before": b" 5\r\nhello\r\n0\r\n\r\n%s",
    "size with a space after": b"5 \r\nhello\r\n0\r\n\r\n%s",
    "negative size": b"-1\r\nhello\r\n0\r\n\r\n%s",
    "no size": b"\r\nhello\r\n0\r\n\r\n%s",
    "size beyond 64 bits": b"10000000000000005\r\nhello\r\n0\r\n\r\n%s",
    "largest size": b"ffffffffffffffff\r\nhello\r\n0\r\n\r\n%s",
    "size in other digits": b"\xd9\xa5\r\nhello\r\n0\r\n\r\n%s",
    "line feed after the size": b"5\nhello\r\n0\r\n\r\n%s",
    "line feed after the chunk": b"5\r\nhello\n0\r\n\r\n%s",
    "chunk longer than said": b"4\r\nhello\r\n0\r\n\r\n%s",
    "nothing between chunks": b"5\r\nhello0\r\n\r\n%s",
    "line feed in an extension": b"5;a=\nhello\r\n0\r\n\r\n%s",
    "carriage return in an extension": b"5;a=\rb\r\nhello\r\n0\r\n\r\n%s",
    "NUL in an extension": b"5;a=\0\r\nhello\r\n0\r\n\r\n%s",
    "extension without end": b"5;" + b"a" * 5000 + b"\r\nhello\r\n0\r\n\r\n%s",
    "end without its empty line": b"5\r\nhello\r\n0\r\n%s",
    "length in a trailer": b"5\r\nhello\r\n0\r\nContent-Length: 0\r\n\r\n%s",
    "coding in a trailer": b"5\r\nhello\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n%s",
    "host in a trailer": b"5\r\nhello\r\n0\r\nHost: other\r\n\r\n%s",
    "folded trailer": b"5\r\nhello\r\n0\r\nX: y\r\n z\r\n\r\n%s",
    "many trailers": b"5\r\nhello\r\n0\r\n" + b"X: y\r\n" * 200 + b"\r\n%s",
}

HEADS = {
    "two hosts": _only(b"Host: other\r\nContent-Length: 0\r\n"),
    "two hosts alike": _only(b"Host: files.example\r\nContent-Length: 0\r\n"),
    "line feeds for line ends": lambda begin, hidden: begin.replace(b"\r\n", b"\n") + b"Content-Length: 0\n\n" + hidden,
    "a line feed for the empty line": lambda begin, hidden: begin + b"Content-Length: 0\r\n\n" + hidden,
    "a carriage return for the empty line": lambda begin, hidden: begin + b"Content-Length: 0\r\n\r\r\n\r\n" + hidden,
    "NUL in a value": _only(b"X: a\0b\r\nContent-Length: 0\r\n"),
    "NUL in a name": _only(b"Content-Length\0: 0\r\n"),
    "field without a name": _only(b": x\r\nContent-Length: 0\r\n"),
    "absolute target and another host": lambda begin, hidden: (
        begin.replace(b" /", b" http://other.example/", 1) + b"Content-Length: 0\r\n\r\n" + hidden
    ),
    "two spaces in the line": lambda begin, hidden: (
        begin.replace(b" /", b"  /", 1) + b"Content-Length: 0\r\n\r\n" + hidden
    ),
    "words after the version": lambda begin, hidden: (
        begin.replace(b"HTTP/1.1", b"HTTP/1.1 x", 1) + b"Content-Length: 0\r\n\r\n" + hidden
    ),
    "chunks in version 1.0": lambda begin, hidden: (
        begin.replace(b"HTTP/1.1", b"HTTP/1.0", 1) + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden
    ),
    "no version": lambda begin, hidden: begin.replace(b" HTTP/1.1", b"", 1) + b"Content-Length: 0\r\n\r\n" + hidden,
}


def _with_length(template: bytes) -> Callable[[bytes, bytes], bytes]:
    def make(begin: bytes, hidden: bytes) -> bytes:
        count = template.count(b"%d") + template.count(b"%x")
        return begin + template % ((len(hidden),) * count) + b"\r\n" + hidden

    return make


#: Bodies that are framed well, but look like requests: nobody may see any in them.
BODIES = {
    "a request in a body": _measured(),
    "a request in a body by chunks": lambda begin, hidden: (
        begin + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(hidden), hidden)
    ),
    "chunks in a body": lambda begin, hidden: _measured()(begin, b"0\r\n\r\n" + hidden),
    "chunks in chunks": lambda begin, hidden: (
        begin + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n0\r\n\r\n%s\r\n0\r\n\r\n" % (len(hidden) + 5, hidden)
    ),
    "extensions and trailers": lambda begin, hidden: (
        begin + b"Transfer-Encoding: chunked\r\n\r\n%x;a=b\r\n%s\r\n0\r\nX: y\r\n\r\n" % (len(hidden), hidden)
    ),
    "leave to send that is not waited for": _measured(b"Expect: 100-continue\r\n"),
    "an upgrade that nobody takes": _measured(
        b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n"
    ),
    "its length named as of one hop": _measured(b"Connection: Content-Length\r\n"),
    "another method named": _measured(b"X-HTTP-Method-Override: DELETE\r\n"),
}


def cases() -> Iterator[tuple[str, Case]]:
    """Yield every case with its name."""
    for name, field in CODINGS.items():
        yield f"length beside coding, {name}", Case(_beside(field))
        yield f"coding before length, {name}", Case(lambda begin, hidden, field=field: _beside()(begin + field, hidden))
    for name, template in LENGTHS.items():
        yield f"length, {name}", Case(_with_length(template))
    for name, body in CHUNKS.items():
        yield f"chunks, {name}", Case(_chunked(body))
    for name, make in HEADS.items():
        yield f"head, {name}", Case(make)
    for name, make in BODIES.items():
        yield f"body, {name}", Case(make, DONE)
