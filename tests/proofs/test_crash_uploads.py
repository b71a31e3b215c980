"""An upload cut off at every boundary of 64 KiB, with a length or in chunks: nothing of it is visible, ever."""

from __future__ import annotations

import os
import socket
import struct
import time
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serving import Dav, Served, serving, space_path

pytestmark = [pytest.mark.proof, pytest.mark.timeout(600)]

PIECE = 64 * 1024
PIECES = 20
SETTLE_SECONDS = 1.5


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("cut") / "data") as served:
        yield served


def upload(client: Dav, server: Served, path: str, body: bytes, pieces: int, *, chunked: bool, reset: bool) -> None:
    """Send a PUT up to a number of pieces, and hang up: in good order, or with a reset."""
    host, _, port = client.host.partition(":")
    credentials = b64encode(f"anna:{server.world.passwords['anna']}".encode()).decode()
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}"
    lines = (
        f"PUT {client.href(path)} HTTP/1.1",
        f"Host: {client.host}",
        f"Authorization: Basic {credentials}",
        framing,
    )
    head = "\r\n".join([*lines, "", ""])
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(head.encode())
        for number in range(pieces):
            piece = body[number * PIECE : (number + 1) * PIECE]
            connection.sendall(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
        if reset:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def names(client: Dav, folder: str) -> set[str]:
    """Return the hrefs below a folder."""
    found = client.propfind(f"{folder}/", depth="1").properties()
    return {href for href in found if href.rstrip("/") != client.href(folder)}


@pytest.mark.parametrize("chunked", [False, True], ids=["with a length", "in chunks"])
def test_an_upload_cut_off_leaves_nothing(server: Served, chunked: bool) -> None:
    client, space = server.dav("anna"), space_path("anna")
    standing, fresh = f"{space}/Står {chunked}.bin", f"{space}/Ny {chunked}.bin"
    old, new = os.urandom(3 * PIECE), os.urandom(PIECES * PIECE)
    assert client.put(standing, old).status == 201
    before = names(client, space)
    # All pieces of a body with a length are the whole of it; in chunks the last, empty one is still missing.
    cuts = range(PIECES + 1 if chunked else PIECES)
    for pieces in cuts:
        for reset in (False, True):
            for path in (standing, fresh):
                upload(client, server, path, new, pieces, chunked=chunked, reset=reset)
                assert client.get(standing).body == old
                assert client.get(fresh).status == 404
    time.sleep(SETTLE_SECONDS)  # whatever the server still does with what was cut off, it has done by then
    print(f"\n{len(cuts) * 4} uploads cut off {'in chunks' if chunked else 'with a length'}")
    assert client.get(standing).body == old
    assert names(client, space) == before
    assert list(server.world.installation.verify()) == []
    for path, status in ((standing, 204), (fresh, 201)):
        assert client.put(path, new).status == status
        assert client.get(path).body == new


def test_a_whole_upload_by_the_same_hand_is_kept(server: Served, tmp_path: Path) -> None:
    """What the cuts are made with uploads the whole when it is not cut."""
    client, path = server.dav("anna"), f"{space_path('anna')}/Helt.bin"
    body = os.urandom(PIECES * PIECE)
    upload(client, server, path, body, PIECES, chunked=False, reset=False)
    until = time.monotonic() + 10
    while client.get(path).status == 404 and time.monotonic() < until:
        time.sleep(0.05)
    assert client.get(path).body == body
