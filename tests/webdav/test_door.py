"""Who gets in and who is told what: OPTIONS, 401, Office, unknown methods, revocation, the root page."""

from __future__ import annotations

import threading
import time
from base64 import b64encode
from collections.abc import Callable

import pytest

from auth.roles import Role
from tests.serving import SPACE, Dav, Served, space_path, wait_for_read
from tests.webdav.conftest import Home, wire_to

Client = Callable[[str | None], Dav]


@pytest.mark.parametrize(
    "method",
    ["GET", "HEAD", "PUT", "PROPFIND", "PROPPATCH", "MKCOL", "DELETE", "COPY", "MOVE", "LOCK", "UNLOCK", "POST", "FOO"],
)
def test_without_credentials_everything_else_is_401_and_tells_nothing(client: Client, method: str) -> None:
    replies = [client(None).raw(method, target) for target in ("/dav/Sandbox/", "/dav/none/x", "/dav/%E9")]
    for reply in replies:
        assert reply.status == 401
        assert reply.headers["www-authenticate"].startswith('Basic realm="')
    assert len({reply.body for reply in replies}) == 1


@pytest.mark.parametrize(
    "text", ["Basic", "Basic !!!", "Basic " + b64encode(b"anna").decode(), "Basic \xe9", "Bearer x", "Digest a=b", ""]
)
def test_malformed_credentials_are_401(client: Client, text: str) -> None:
    reply = client(None).raw("PROPFIND", "/dav/", headers={"Authorization": text})
    assert (reply.status, b"do not fit" in reply.body) == (401, False), "nothing was sent that could fit"


@pytest.mark.parametrize("method", ["POST", "PATCH", "TRACE", "REPORT", "FOO", "get"])
def test_unknown_methods_are_405(anna: Dav, method: str) -> None:
    reply = anna.raw(method, "/dav/")
    assert reply.status == 405 and "PROPFIND" in reply.headers["allow"]


def test_the_root_of_a_drive_shows_the_spaces_one_was_let_into(client: Client) -> None:
    shown = {}
    for login in ("anna", "vera", "nils"):
        found = client(login).propfind("/", depth="1").properties()
        shown[login] = {each["{DAV:}displayname"].text for href, each in found.items() if href != "/dav/"}
    assert shown == {"anna": {"Kund AB – Sandbox"}, "vera": {"Sandbox"}, "nils": set()}


def test_the_front_page_and_health(client: Client) -> None:
    nobody = client(None)
    assert nobody.raw("GET", "/").status == nobody.raw("HEAD", "/").status == 200
    assert nobody.raw("GET", "/healthz").body == b"ok\n"
    assert nobody.raw("GET", "/none").status == nobody.raw("PROPFIND", "/none").status == 404
    assert nobody.raw("POST", "/").status == 405


@pytest.mark.parametrize(
    "target", ["/%64av/", "/%64av", "/da%76/Sandbox/a", "/dav%2FSandbox", "/DAV/", "//dav/", "/x/../dav/"]
)
@pytest.mark.parametrize("login", ["anna", None])
def test_our_own_path_has_one_spelling(client: Client, login: str | None, target: str) -> None:
    """Whoever stands before us and goes by what a path begins with sees nothing else than we do."""
    dav = client(login)
    absent = dav.raw("GET", "/none")
    for method in ("OPTIONS", "GET", "HEAD", "PUT", "PROPFIND", "MKCOL"):
        found = dav.raw(method, target)
        assert found.status == 404 and not {"dav", "www-authenticate"} & set(found.headers), method
    assert dav.raw("GET", target).body == absent.body
    assert client("olle").raw("PROPFIND", "/dav/%53andbo%78", headers={"Depth": "0"}).status == 207
    copied = client("anna").raw("COPY", "/dav/none", headers={"Destination": target})
    assert copied.status == 403


@pytest.mark.parametrize("target", ["/", "/healthz", "/none", "/dav/", "/dav/Sandbox/a.js", "/dav/Sandbox/none.js"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_a_page_elsewhere_read_documents_through_a_browser_that_was_signed_in(
    client: Client, method: str, target: str
) -> None:
    client("anna").put("/Sandbox/a.js", b"window.secret = 42")
    for reply in (client("anna").raw(method, target), client(None).raw(method, target)):
        assert reply.headers["cross-origin-resource-policy"] == "same-origin"
        assert "frame-ancestors 'none'" in reply.headers["content-security-policy"]
        assert reply.headers["referrer-policy"] == "no-referrer"
        assert reply.headers["x-content-type-options"] == "nosniff"


PAGES = {
    "an image": ("GET", {"Site": "cross-site", "Mode": "no-cors", "Dest": "image"}),
    "a frame": ("GET", {"Site": "cross-site", "Mode": "navigate", "Dest": "iframe"}),
    "a script of a neighbouring host": ("GET", {"Site": "same-site", "Mode": "no-cors", "Dest": "script"}),
    "a prefetch": ("GET", {"Site": "cross-site", "Mode": "no-cors", "Dest": "empty"}),
    "a form": ("POST", {"Site": "cross-site", "Mode": "navigate", "Dest": "document"}),
    "nothing known": ("GET", {"Site": "moon"}),
}


def sent(fetch: dict[str, str]) -> dict[str, str]:
    return {f"Sec_Fetch_{name}": value for name, value in fetch.items()}


@pytest.mark.parametrize("how", PAGES)
def test_a_page_elsewhere_had_documents_read_in_the_name_of_who_was_signed_in(
    client: Client, server: Served, home: Home, how: str
) -> None:
    method, fetch = PAGES[how]
    for name in ("canary", "control"):
        home.dav.put(home / name, b"canary")
    replies = [
        client(login).request(method, home / name, **sent(fetch))
        for login, name in (("anna", "canary"), ("anna", "none"), (None, "canary"))
    ]
    assert {reply.status for reply in replies} == {403}
    assert len({reply.body for reply in replies}) == 1, "whoever is signed in, and whatever is there"
    assert not any("www-authenticate" in reply.headers for reply in replies), "no box for a password on another's page"
    assert home.dav.get(home / "control").status == 200
    assert wait_for_read(server.world, "control", SPACE) == {"control"}


def test_a_link_on_another_page_and_a_page_of_our_own_open_documents(client: Client, home: Home) -> None:
    home.dav.put(home / "a.txt", b"hello")
    opened = {"Site": "cross-site", "Mode": "navigate", "Dest": "document"}
    for fetch in (opened, {"Site": "none", "Mode": "navigate", "Dest": "document"}, {"Site": "same-origin"}, {}):
        assert home.dav.get(home / "a.txt", **sent(fetch)).body == b"hello"
    assert client(None).get(home / "a.txt", **sent(opened)).status == 401
    assert client(None).request("OPTIONS", "/", **sent({"Site": "cross-site", "Mode": "cors"})).status == 200


def taken_while(server: Served, reader: Dav, path: str, act: Callable[[], object]) -> int:
    """Begin to download a large document, act, go on after two seconds; return how many bytes came."""
    with wire_to(server) as wire:
        wire.send(
            f"GET {reader.href(path)} HTTP/1.1\r\nHost: x\r\n"
            f"Authorization: Basic {reader._authorization}\r\n\r\n".encode()
        )
        taken = len(wire.sock.recv(65536))
        act()
        time.sleep(2)
        try:
            while piece := wire.sock.recv(1 << 20):
                taken += len(piece)
        except ConnectionError:
            pass
    return taken


def test_a_revoked_device_is_out_at_once_even_in_the_middle_of_a_download(server: Served, home: Home) -> None:
    home.dav.put(home / "large", bytes(64_000_000))
    directory = server.world.installation.directory
    device, secret = directory.add_device(server.world.people["anna"].id, "stolen")
    thief = server.dav("anna", password=secret)

    def revoke() -> None:
        directory.revoke_device(device.id)
        assert thief.get(home / "large").status == 401

    assert taken_while(server, thief, home / "large", revoke) < 64_000_000


def test_a_download_went_on_to_its_last_byte_after_the_grant_was_withdrawn(server: Served, home: Home) -> None:
    home.dav.put(home / "large", bytes(64_000_000))
    world = server.world
    world.person("tora", "Kund AB")
    granted = world.grant("tora", SPACE, Role.VIEWER)
    reader = server.dav("tora")
    path = f"{space_path('tora')}/{(home / 'large').split('/', 2)[2]}"
    assert reader.get(path, Range="bytes=0-9").status == 206

    def withdraw() -> None:
        world.installation.spaces.revoke(world.installation.operator(), world.spaces[SPACE].id, granted.id)
        assert reader.get(path).status == 404

    assert taken_while(server, reader, path, withdraw) < 64_000_000


def test_a_revoked_device_cannot_finish_its_upload(server: Served, home: Home) -> None:
    directory = server.world.installation.directory
    device, secret = directory.add_device(server.world.people["anna"].id, "stolen")
    thief = server.dav("anna", password=secret)
    with wire_to(server) as wire:
        wire.send(
            f"PUT {thief.href(home / 'a')} HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n"
            f"Authorization: Basic {thief._authorization}\r\n\r\nhello".encode()
        )
        time.sleep(0.3)
        directory.revoke_device(device.id)
        time.sleep(0.3)
        wire.send(b"world")
        assert wire.answer()[0] == 401
    assert home.dav.get(home / "a").status == 404


def test_many_clients_at_once(home: Home, client: Client) -> None:
    failures: list[object] = []

    def work(number: int) -> None:
        dav = client("anna")
        for step in range(10):
            path = home / f"{number}-{step}"
            content = f"{number}-{step}".encode() * 500
            if dav.put(path, content).status != 201 or dav.get(path).body != content:
                failures.append(path)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert len(home.dav.propfind(home.path, depth="1").properties()) == 81
