"""The same clients over TLS, each told of the authority that made the server's certificate."""

from __future__ import annotations

import os

from tests.clients.conftest import Desk
from tests.clients.test_rclone import remote
from tests.tools import need

CONTENT = os.urandom(300_000)


def test_curl_trusts_the_authority_and_nothing_else(secure_desk: Desk) -> None:
    (secure_desk.folder / "a").write_bytes(CONTENT)
    command = (need("curl"), "-sS", "-u", f"anna:{secure_desk.password}", "-T", "a", secure_desk.url)
    secure_desk.run(*command, code=60)
    assert secure_desk.names() == set()
    secure_desk.run(*command, "--cacert", str(secure_desk.server.certificate))
    assert (secure_desk.content("a"), secure_desk.versions("a")) == (CONTENT, 1)


def test_rclone(secure_desk: Desk) -> None:
    source = secure_desk.folder / "source"
    source.mkdir()
    (source / "a").write_bytes(CONTENT)
    trust = ("--ca-cert", str(secure_desk.server.certificate))
    environ = remote(secure_desk, "owncloud")
    secure_desk.run(need("rclone"), "sync", source, "drive:", *trust, environ=environ)
    assert (secure_desk.content("a"), secure_desk.versions("a")) == (CONTENT, 1)
    secure_desk.run(need("rclone"), "sync", "drive:", "back", *trust, environ=environ)
    assert (secure_desk.folder / "back" / "a").read_bytes() == CONTENT


def test_lftp(secure_desk: Desk) -> None:
    (secure_desk.folder / "a").write_bytes(CONTENT)
    script = secure_desk.folder / "script.lftp"
    script.write_text(
        f"set ssl:ca-file {secure_desk.server.certificate}\nset net:max-retries 2\nset net:reconnect-interval-base 1\n"
        f"open -u anna,{secure_desk.password} {secure_desk.url}\nput a\nmv a b\n"
    )
    secure_desk.run(need("lftp"), "-f", script)
    assert secure_desk.names() == {"b"}
    assert (secure_desk.content("b"), secure_desk.versions("b")) == (CONTENT, 1)
