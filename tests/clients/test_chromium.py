"""Chromium, signed in to a drive, and pages elsewhere that would have it read what is there."""

from __future__ import annotations

import json
import os
import select
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests import tools
from tests.serving import SPACE, Served, serving, space_path, wait_for_read

SECONDS_MAX = 30
HERE = f"{space_path('anna')}/Sidor"
#: What a page can have a browser ask for without a click of anybody's. `%s` is the address.
ASKS = {
    "image": '<img src="%s">',
    "script": '<script src="%s"></script>',
    "frame": '<iframe src="%s"></iframe>',
    "object": '<object data="%s"></object>',
    "sound": '<audio src="%s" preload="auto"></audio>',
    "style": '<link rel="stylesheet" href="%s">',
    "prefetch": '<link rel="prefetch" href="%s">',
    "fetch": '<script>fetch("%s", {mode: "no-cors", credentials: "include"}).catch(() => 0)</script>',
    "form": '<iframe name="f"></iframe><form id="g" action="%s" target="f"></form><script>g.submit()</script>',
}


class Browser:
    """A Chromium without a window, told what to do through its pipe (Chrome DevTools Protocol)."""

    def __init__(self, folder: Path) -> None:
        to_it, self._write = os.pipe()
        self._read, from_it = os.pipe()
        command = [str(tools.need("chromium")), "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run"]
        command += ["--remote-debugging-pipe", f"--user-data-dir={folder}", "about:blank"]
        self._process = subprocess.Popen(
            ["/bin/bash", "-c", f'exec "$@" 3<&{to_it} 4>&{from_it}', "bash", *command],
            pass_fds=(to_it, from_it),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_it)
        os.close(from_it)
        self._buffer, self._number, self._session, self._is_loaded = b"", 0, "", False
        targets = self.tell("Target.getTargets")["targetInfos"]
        page = next(each["targetId"] for each in targets if each["type"] == "page")
        self._session = self.tell("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        self.tell("Page.enable")

    def tell(self, method: str, **params: Any) -> Any:
        """Send a command; return its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        message |= {"sessionId": self._session} if self._session else {}
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while (found := self._next()).get("id") != self._number:
            pass
        assert "error" not in found, found
        return found["result"]

    def open(self, url: str) -> str:
        """Open an address, as one that was typed; return the text of the page once it has all that it asked for."""
        self.tell("Page.navigate", url=url)
        return self.text_once_loaded()

    def text_once_loaded(self) -> str:
        """Return the text of a page once it has all that it asked for."""
        while not self._is_loaded:
            self._next()
        self._is_loaded = False
        return str(self.value("document.body.innerText"))

    def value(self, expression: str) -> Any:
        """Return what an expression of the page's comes to."""
        found = self.tell("Runtime.evaluate", expression=expression, awaitPromise=True, userGesture=True)
        return found["result"].get("value")

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            assert select.select([self._read], [], [], SECONDS_MAX)[0], "the browser says nothing"
            more = os.read(self._read, 1 << 16)
            assert more, "the browser ended"
            self._buffer += more
        line, _, self._buffer = self._buffer.partition(b"\0")
        found: dict[str, Any] = json.loads(line)
        self._is_loaded |= found.get("method") == "Page.loadEventFired"
        return found

    def close(self) -> None:
        """End it."""
        os.close(self._write)
        self._process.terminate()
        self._process.wait(30)
        os.close(self._read)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path / "data", **{"http.workers": 1}) as server:
        anna = server.dav("anna")
        assert anna.request("MKCOL", HERE).status == 201
        for name in (*ASKS, "first", "last", "link"):
            assert anna.put(f"{HERE}/{name}.txt", b"a paper", Content_Type="text/plain").status == 201
        yield server


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    found = Browser(tmp_path / "profile")
    yield found
    found.close()


@contextmanager
def elsewhere(host: str, page: str) -> Iterator[str]:
    """Serve one page from another origin; give its address."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = page.encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://{host}:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()


def signed_in(browser: Browser, served: Served) -> str:
    """Have the browser keep the password, as after its own box for it; return the drive's address without it."""
    anna = served.dav("anna")
    there = f"{anna.origin}{anna.href(HERE)}"
    with_password = there.replace("://", f"://anna:{served.world.passwords['anna']}@")
    assert browser.open(f"{with_password}/first.txt") == "a paper"
    return there


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])  # another site, and a neighbour of the same
def test_a_page_elsewhere_had_documents_read_in_the_name_of_who_was_signed_in(
    browser: Browser, served: Served, host: str
) -> None:
    there = signed_in(browser, served)
    asks = "".join(ask % f"{there}/{name}.txt" for name, ask in ASKS.items())
    with elsewhere(host, f"<body>elsewhere{asks}</body>") as page:
        assert browser.open(page).startswith("elsewhere")
        browser.value("new Promise(done => setTimeout(done, 1500))")  # the prefetch comes when all else is there
    assert served.dav("anna").get(f"{HERE}/last.txt").status == 200
    assert wait_for_read(served.world, "last.txt", SPACE) == {"first.txt", "last.txt"}


def test_a_link_on_a_page_elsewhere_opens_a_document(browser: Browser, served: Served) -> None:
    there = signed_in(browser, served)
    with elsewhere("localhost", f'<body><a id="a" href="{there}/link.txt">it</a></body>') as page:
        browser.open(page)
        browser.value("a.click()")
        assert browser.text_once_loaded() == "a paper"
    assert wait_for_read(served.world, "link.txt", SPACE) == {"first.txt", "link.txt"}
