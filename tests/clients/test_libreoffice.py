"""LibreOffice, without a screen, opens a document by its URL and saves it where it lies."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.clients.conftest import Desk
from tests.tools import need, need_file

SAVE = Path(__file__).with_name("libreoffice_save.py")


@contextmanager
def office(desk: Desk) -> Iterator[str]:
    """Run LibreOffice with a fresh profile; give the name of the pipe on which it listens."""
    pipe = f"mellanrum{uuid.uuid4().hex}"
    arguments = [
        str(need("soffice")),
        f"-env:UserInstallation=file://{desk.folder}/profile",
        *("--headless", "--norestore", "--nologo", f"--accept=pipe,name={pipe};urp;"),
    ]
    process = subprocess.Popen(
        arguments, env=desk.environ(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield pipe
        process.wait(30)
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(20)


def save(desk: Desk, url: str, *texts: str) -> str:
    """Open the document, write each text into it and save it; return the text that stood in it."""
    need_file("/usr/lib/python3/dist-packages/uno.py")
    with office(desk) as pipe:
        origin = desk.second.origin
        return desk.run("/usr/bin/python3", SAVE, pipe, origin, url, "anna", desk.password, *texts, seconds=90).strip()


def flat_text(text: str) -> bytes:
    """Return an OpenDocument in one XML file, which LibreOffice saves in the same form."""
    return (
        '<?xml version="1.0" encoding="UTF-8"?><office:document '
        'xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0" '
        'xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0" office:version="1.3" '
        'office:mimetype="application/vnd.oasis.opendocument.text">'
        f"<office:body><office:text><text:p>{text}</text:p></office:text></office:body></office:document>"
    ).encode()


# By the scheme that its dialogs write, LibreOffice 7.4.7 loses the lock of a name outside ASCII: its PUT has no token.
@pytest.mark.timeout(240)
@pytest.mark.parametrize(("scheme", "name"), [("http", "Avtal å.fodt"), ("vnd.sun.star.webdav", "Avtal.fodt")])
def test_a_document_is_locked_saved_in_place_and_unlocked(desk: Desk, scheme: str, name: str) -> None:
    desk.second.put(f"{desk.place}/{name}", flat_text("first"))
    begun = len(desk.server.world.kinds("Sandbox"))
    url = f"{desk.url.replace('http', scheme, 1)}{quote(name)}"
    assert save(desk, url, "second") == "first"
    assert b"second" in desk.content(name)
    assert desk.versions(name) == 2
    assert desk.names() == {name}
    # It was unlocked: another client writes.
    assert desk.second.put(f"{desk.place}/{name}", flat_text("third")).status == 204
    kinds = desk.server.world.kinds("Sandbox", begun)
    assert set(kinds) == {"read", "write"} and kinds.count("write") == 2


@pytest.mark.timeout(240)
def test_what_another_has_locked_does_not_open_for_writing(desk: Desk) -> None:
    desk.second.put(f"{desk.place}/a.fodt", flat_text("first"))
    assert desk.second.lock(f"{desk.place}/a.fodt").status == 200
    with pytest.raises(AssertionError, match="does not open for writing"):
        save(desk, f"{desk.url}a.fodt", "second")
    assert (desk.content("a.fodt"), desk.versions("a.fodt")) == (flat_text("first"), 1)
