"""The door itself: what it offers, what it refuses in one clear line, `scp` both ways, host keys and their change."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from asyncssh.channel import SSHClientChannel
from asyncssh.connection import SSHServerConnectionOptions
from asyncssh.packet import Boolean, SSHPacket, String, UInt32

from providers.installation import Installation
from server.sftp.commands import NO_SHELL
from server.ssh import algorithms
from server.ssh.connection import Connection
from server.ssh.hostkeys import HostKeys
from tests.serving import start
from tests.ssh.doors import Door, serving_sftp
from tests.tools import need
from tests.worlds import World, settings_for

CONTENT = os.urandom(300_000)


@pytest.fixture
def local(tmp_path: Path) -> Path:
    file = tmp_path / "in.bin"
    file.write_bytes(CONTENT)
    return file


# --- what is offered


def test_ssh_audit_finds_no_failure(door: Door) -> None:
    audit = Path(sys.executable).with_name("ssh-audit")
    ran = door.run(audit, "--json", "--skip-rate-test", f"{door.host}:{door.port}")
    found = json.loads(ran.stdout)
    failures = [
        (kind, each["algorithm"])
        for kind in ("kex", "key", "enc", "mac")
        for each in found[kind]
        if each.get("notes", {}).get("fail")
    ]
    assert failures == []
    assert found["cves"] == []
    marks = {"kex-strict-s-v00@openssh.com", "ext-info-s"}
    assert {each["algorithm"] for each in found["kex"]} == {*algorithms.KEX, *marks}
    assert [each["algorithm"].encode() for each in found["key"]] == list(algorithms.HOST_KEYS)
    offered = [each["algorithm"] for each in found["enc"]]
    assert offered == [name for name in algorithms.CIPHERS if "chacha" not in name], "ssh-audit says that it is OpenSSH"
    assert [each["algorithm"] for each in found["mac"]] == list(algorithms.MACS)
    assert found["compression"] == ["none"]


def test_old_algorithms_only_behind_the_switch(door: Door, tmp_path: Path) -> None:
    def agreed(at: Door) -> list[str]:
        old = ["-o", "KexAlgorithms=diffie-hellman-group14-sha1", "-o", "Ciphers=aes128-cbc", "-o", "MACs=hmac-sha1"]
        old += ["-o", "HostKeyAlgorithms=ssh-rsa"]
        ran = at.run(need("ssh"), *old, *at.options("vera", port="-p"), f"vera@{at.host}", "md5sum")
        return ran.stdout.split()[:1]

    assert agreed(door) == []
    with serving_sftp(tmp_path, **{"sftp.legacy_algorithms": True, "sftp.workers": 1}) as lax:
        assert agreed(lax) == [hashlib.md5(b"").hexdigest()]


@pytest.mark.parametrize("cipher", [name for name in algorithms.CIPHERS if "chacha" not in name])
def test_each_cipher_carries(door: Door, local: Path, home: str, cipher: str) -> None:
    address = f"anna@{door.host}"
    batch = f'put {local} "{home}/{cipher}"\nget "{home}/{cipher}" {local}.back\n'
    ran = door.run(need("sftp"), "-c", cipher, *door.options("anna"), "-b", "-", address, input=batch)
    assert ran.returncode == 0, ran.stderr
    assert Path(f"{local}.back").read_bytes() == CONTENT


def test_chacha_for_those_who_have_nothing_better(door: Door) -> None:
    """asyncssh knows strict key exchange, so it may; OpenSSH has AES-GCM, so it is not offered the slower one."""
    key = door.key("vera")
    assert door.may("vera", client_keys=[key], encryption_algs=["chacha20-poly1305@openssh.com"])
    ran = door.run(
        need("ssh"),
        "-c",
        "chacha20-poly1305@openssh.com",
        *door.options("vera", port="-p"),
        f"vera@{door.host}",
        "md5sum",
    )
    assert ran.returncode == 255


def test_without_strict_key_exchange_chacha_is_refused(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that does not know it, as before 2024, gets AES-GCM, or nothing that packets can be dropped from."""
    key = door.key("vera")

    known = asyncssh.connection.SSHConnection._get_extra_kex_algs

    def unaware(self: asyncssh.connection.SSHConnection) -> list[bytes]:
        return [name for name in known(self) if b"strict" not in name]

    monkeypatch.setattr(asyncssh.connection.SSHConnection, "_get_extra_kex_algs", unaware)

    assert door.may("vera", client_keys=[key])
    assert not door.may("vera", client_keys=[key], encryption_algs=["chacha20-poly1305@openssh.com"])


# --- what is refused


def test_there_is_no_shell(door: Door) -> None:
    ran = door.ssh("vera", input="id\n")
    assert (ran.returncode, ran.stdout, ran.stderr) == (1, "", f"{NO_SHELL}\n")


@pytest.mark.parametrize(
    "command",
    ["ls", "sh -c true", "md5sum a b", "md5sum -c x", "sha256sum x", "md5sum 'a", "scp", "scp -t", "scp -tf x", ""],
)
def test_other_commands_are_refused_in_one_line(door: Door, command: str) -> None:
    ran = door.ssh("vera", command or " ")
    assert (ran.returncode, ran.stdout) == (1, "")
    assert re.fullmatch(r"Mellanrum: .+\n", ran.stderr)
    assert "sha256sum" not in ran.stderr and "sh -c" not in ran.stderr, "what was asked for is not repeated"


def test_rsync_is_refused_and_says_why(door: Door, local: Path) -> None:
    shell = " ".join(map(str, (need("ssh"), *door.options("vera", port="-p"))))
    ran = door.run(need("rsync"), "-e", shell, local, f"vera@{door.host}:/Sandbox/")
    assert ran.returncode != 0
    assert "Mellanrum: rsync needs a shell" in ran.stderr


#: Of each thing that could be forwarded: how it is asked for, and what is to be raised.
FORWARDING: dict[str, tuple[Callable[[Any, int, str], Awaitable[Any]], type[Exception], str]] = {
    "a port here": (
        lambda client, port, _: client.open_connection("127.0.0.1", port),
        asyncssh.ChannelOpenError,
        "Connection refused",
    ),
    "a port there": (
        lambda client, port, _: client.forward_remote_port("127.0.0.1", 0, "127.0.0.1", port),
        asyncssh.ChannelListenError,
        "Failed to create remote TCP listener",
    ),
    "a socket here": (
        lambda client, _, path: client.open_unix_connection(path),
        asyncssh.ChannelOpenError,
        "Connection refused",
    ),
    "a socket there": (
        lambda client, _, path: client.forward_remote_path(f"{path}.new", path),
        asyncssh.ChannelListenError,
        "Failed to create remote UNIX listener",
    ),
    "a tunnel": (
        lambda client, _, path: client.open_tun(0),
        asyncssh.ChannelOpenError,
        "TUN/TAP request refused",
    ),
    "a bridge": (
        lambda client, _, path: client.open_tap(0),
        asyncssh.ChannelOpenError,
        "TUN/TAP request refused",
    ),
}


@pytest.mark.parametrize("what", FORWARDING)
def test_nothing_is_forwarded(door: Door, tmp_path: Path, what: str) -> None:
    """Each is asked for where it could be had: there is somebody who listens."""
    ask, error, reason = FORWARDING[what]

    async def tries() -> None:
        async with _entered(door) as client:
            with pytest.raises(error) as refused:
                await asyncio.wait_for(ask(client, door.port, f"{tmp_path}/socket"), 10)
        assert reason in str(refused.value)

    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"{tmp_path}/socket")
        listening.listen()
        asyncio.run(tries())
    assert [each.name for each in tmp_path.iterdir()] == ["socket"]


@pytest.mark.parametrize(
    ("asked", "fields"),
    [
        ("auth-agent-req@openssh.com", ()),
        ("x11-req", (Boolean(False), String("MIT-MAGIC-COOKIE-1"), String("00" * 16), UInt32(0))),
        ("pty-req", (String("xterm"), UInt32(80), UInt32(24), UInt32(0), UInt32(0), String(b"\0"))),
    ],
)
def test_a_session_has_no_agent_no_display_and_no_terminal(door: Door, asked: str, fields: tuple[bytes, ...]) -> None:
    async def tries() -> tuple[bool, bool]:
        async with _entered(door) as client:
            loop = asyncio.get_running_loop()
            chan: Any = SSHClientChannel(client, loop, "strict", None, "strict", 1 << 21, 1 << 15)
            await asyncio.wait_for(chan._open(b"session"), 10)
            is_given = await asyncio.wait_for(chan._make_request(asked.encode(), *fields), 10)
            is_served = await asyncio.wait_for(chan._make_request(b"subsystem", String("sftp")), 10)
            return is_given, is_served

    assert asyncio.run(tries()) == (False, True)


def _entered(door: Door) -> Any:
    """Return a connection of which the server's own code carries all it can."""
    return door.connect("vera", client_keys=[str(door.own_key("vera"))])


def test_channels_have_a_cap(door: Door) -> None:
    key = door.key("vera")

    async def opened() -> int:
        count = 0
        async with door.connect("vera", client_keys=[key]) as connection:
            try:
                for _ in range(40):
                    await connection.start_sftp_client()
                    count += 1
            except asyncssh.ChannelOpenError:
                pass
        return count

    assert asyncio.run(opened()) == 10


def test_garbage_before_and_after_the_banner(door: Door) -> None:
    for sent in (b"GET / HTTP/1.1\r\n\r\n", b"\0" * 70_000, b"SSH-2.0-x\r\n" + os.urandom(4000), b"SSH-1.5-x\r\n"):
        with socket.create_connection((door.host, door.port), 10) as client:
            client.sendall(sent)
            client.settimeout(30)
            try:
                while client.recv(65536):
                    pass
            except ConnectionResetError:
                pass
    assert door.may("vera", password=door.password("vera"))


# --- scp and the hashes


@pytest.mark.parametrize("old", [True, False])
def test_scp_both_ways(door: Door, local: Path, home: str, old: bool) -> None:
    command = [need("scp"), *(["-O"] if old else []), *door.options("anna")]
    quoted = f"'{home}'" if old else home
    sent = door.run(*command, "-p", local, f"anna@{door.host}:{quoted}/x.bin")
    assert (sent.returncode, sent.stderr) == (0, "")
    back = local.with_name("back.bin")
    got = door.run(*command, "-p", f"anna@{door.host}:{quoted}/x.bin", back)
    assert (got.returncode, got.stderr) == (0, "")
    assert back.read_bytes() == CONTENT
    assert abs(back.stat().st_mtime - local.stat().st_mtime) < 1


@pytest.mark.parametrize("old", [True, False])
def test_scp_of_folders(door: Door, tmp_path: Path, home: str, old: bool) -> None:
    tree = tmp_path / "träd"
    (tree / "inre" / "tom").mkdir(parents=True)
    (tree / "a.txt").write_bytes(b"a")
    (tree / "inre" / "b b.txt").write_bytes(b"b" * 100_000)
    (tree / "inre" / "noll").write_bytes(b"")
    command = [need("scp"), "-r", *(["-O"] if old else []), *door.options("anna")]
    quoted = f"'{home}'" if old else home
    assert door.run(*command, tree, f"anna@{door.host}:{quoted}").returncode == 0
    back = tmp_path / "back"
    assert door.run(*command, f"anna@{door.host}:{quoted}/träd", back).returncode == 0
    named = {str(each.relative_to(tree)): each.read_bytes() if each.is_file() else None for each in tree.rglob("*")}
    assert named == {
        str(each.relative_to(back)): each.read_bytes() if each.is_file() else None for each in back.rglob("*")
    }


def test_scp_of_what_may_not_be(door: Door, local: Path, home: str) -> None:
    def tried(login: str, *words: str) -> tuple[int, str]:
        ran = door.run(need("scp"), "-O", *door.options(login), *words)
        return ran.returncode, ran.stderr

    code, says = tried("anna", str(local), f"anna@{door.host}:'{home}/nowhere/x'")
    assert code == 1 and says.count("\n") == 1
    code, says = tried("vera", str(local), f"vera@{door.host}:/Sandbox/x")
    assert code == 1 and "do not let you" in says
    code, absent = tried("vera", f"vera@{door.host}:/Sandbox/absent", str(local.parent))
    assert code == 1
    code, foreign = tried("nils", f"nils@{door.host}:/Sandbox/absent", str(local.parent))
    assert code == 1 and foreign == absent
    code, says = tried("anna", str(local.parent), f"anna@{door.host}:'{home}'")
    assert code == 1  # a folder without -r


@pytest.mark.parametrize("old", [True, False])
def test_scp_into_a_folder_that_is_not_there(door: Door, local: Path, home: str, old: bool) -> None:
    """A slash at the end says that a folder is meant, and no document is made in its stead."""
    command = [need("scp"), *(["-O"] if old else []), *door.options("anna")]

    def at(path: str) -> str:
        return f"anna@{door.host}:" + (f"'{path}'" if old else path)

    target = at(f"{home}/sub/")
    assert door.run(*command, local, target).returncode == 1
    assert door.sftp("anna", f'ls "{home}"', f'mkdir "{home}/sub/"').stdout.count("\n") == 2
    assert door.run(*command, local, target).returncode == 0
    assert door.run(*command, at(f"{home}/sub/in.bin/"), local.parent / "back").returncode == 1
    assert f"{home}/sub/in.bin" in door.sftp("anna", f'ls -1 "{home}/sub/"').stdout


def test_scp_by_a_pattern(door: Door, tmp_path: Path, home: str) -> None:
    for name in ("a.txt", "b.txt", "c.pdf"):
        (tmp_path / name).write_text(name)
    files = sorted(tmp_path.glob("*.*"))
    assert door.run(need("scp"), "-O", *door.options("anna"), *files, f"anna@{door.host}:'{home}'").returncode == 0
    (tmp_path / "got").mkdir()
    ran = door.run(need("scp"), "-O", "-T", *door.options("anna"), f"anna@{door.host}:'{home}/*.txt'", tmp_path / "got")
    assert ran.returncode == 0, ran.stderr
    assert sorted(each.name for each in (tmp_path / "got").iterdir()) == ["a.txt", "b.txt"]


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("scp -f '{home}/a b'", ""),
        ("scp -f '{home}/a b'", "\0"),
        ("scp -t '{home}'", "C0644 100 cut\nabc"),
        ("scp -t '{home}'", "x" * 5000),
        ("scp -t '{home}'", "x" * 5_000_000),
    ],
)
def test_a_client_of_scp_that_ends_in_the_middle_is_let_go(
    door: Door, local: Path, home: str, command: str, said: str
) -> None:
    """It has sent its end of file and is there still: it is told, and nothing of it is stored."""
    assert door.sftp("anna", f'put {local} "{home}/a b"').returncode == 0
    ran = door.ssh("anna", command.format(home=home), input=said, timeout=10)
    assert (ran.returncode, ran.stderr.count("\n")) == (1, 1) and "ended in the middle" in ran.stderr
    assert door.sftp("anna", f'ls -1 "{home}"').stdout.splitlines()[1:] == [f"{home}/a b"]


def test_scp_ends_where_its_client_will_not_take_what_a_pattern_found(door: Door, local: Path, home: str) -> None:
    """OpenSSH's client compares names with the pattern by itself, knows no quotes there, and ends at the first.

    The connection, a program of its own, ends as soon as the server does.
    """
    assert door.sftp("anna", f'put {local} "{home}/a b"', f'put {local} "{home}/c"').returncode == 0
    address = f"anna@{door.host}:'{home}/*'"
    ran = door.run(need("scp"), "-O", *door.options("anna"), address, local.parent, timeout=10)
    assert ran.returncode == 1 and "does not match request" in ran.stderr


def test_hashes_for_rclone(door: Door, local: Path, home: str) -> None:
    assert door.sftp("anna", f'put {local} "{home}/x y.bin"').returncode == 0
    for program, made in (("md5sum", hashlib.md5), ("sha1sum", hashlib.sha1)):
        ran = door.ssh("anna", f"{program} '{home}/x y.bin'")
        assert (ran.returncode, ran.stdout) == (0, f"{made(CONTENT).hexdigest()}  {home}/x y.bin\n")
        ran = door.ssh("anna", program, stdin=None, input="abc")
        assert ran.stdout == f"{made(b'abc').hexdigest()}  -\n"
        ran = door.ssh("anna", f"{program} '{home}/absent'")
        assert (ran.returncode, ran.stdout, ran.stderr.count("\n")) == (1, "", 1)


# --- host keys


def test_host_keys_are_sealed_and_change_in_two_steps(door: Door, tmp_path: Path) -> None:
    sealer = door.world.installation.keyring.installation().general
    keys = HostKeys(tmp_path, sealer)
    first = keys.make_missing()
    assert [(each.name, each.is_next) for each in first] == [("ed25519", False), ("rsa", False)]
    assert keys.make_missing() == first
    for file in (tmp_path / "ssh").glob("*.sealed"):
        assert file.stat().st_mode & 0o777 == 0o600
        assert b"PRIVATE" not in file.read_bytes() and b"openssh-key" not in file.read_bytes()
    announced = keys.announce_next()
    assert announced[:2] == first and [each.is_next for each in announced[2:]] == [True, True]
    rotated = keys.rotate()
    assert [each.fingerprint for each in rotated] == [each.fingerprint for each in announced[2:]]
    assert {each.fingerprint for each in keys.rotate()}.isdisjoint(each.fingerprint for each in (*first, *rotated))


@pytest.mark.parametrize("connection", ["auto", "stock"])
def test_clients_go_along_with_a_change_of_host_keys(tmp_path: Path, connection: str) -> None:
    """OpenSSH trusts one host key, of either kind, learns the next one while that is announced, and goes on with it."""
    told = {"sftp.connection": connection, "sftp.workers": 1}
    with serving_sftp(tmp_path, **told) as door:
        login_key, kinds = door.own_key("vera"), {"ssh-ed25519": "ssh-ed25519", "rsa-sha2-512": "ssh-rsa"}
    folder = tmp_path / "data"
    world = World(Installation.open(folder, settings_for(folder)), passwords=door.world.passwords)
    keys = HostKeys(folder, world.installation.keyring.installation().general)
    trusted = {each: tmp_path / each for each in kinds}

    def known(kind: str) -> set[str]:
        return {line.split()[2] for line in trusted[kind].read_text().splitlines()}

    def of(kind: str) -> list[str]:
        return [each.public.split()[1] for each in keys.all() if each.public.startswith(kinds[kind])]

    def visit() -> None:
        server = start(folder, world, **{"sftp.enabled": True, "http.workers": 1, **told})
        try:
            again = Door(server, tmp_path, keys=dict(door.keys))
            for kind, file in trusted.items():
                asked = [f"UserKnownHostsFile={file}", f"HostKeyAlgorithms={kind}", "HostKeyAlias=door"]
                asked += ["UpdateHostKeys=yes", "StrictHostKeyChecking=yes", "IdentitiesOnly=yes", "LogLevel=VERBOSE"]
                options = [word for each in asked for word in ("-o", each)]
                address = ("-F", "none", "-i", login_key, "-p", again.port, f"vera@{again.host}")
                ran = again.run(need("ssh"), *options, *address, "md5sum")
                assert ran.returncode == 0, (kind, ran.stderr)
        finally:
            server.stop()

    try:
        for kind, file in trusted.items():
            file.write_text(f"door {kinds[kind]} {of(kind)[0]}\n")
        keys.announce_next()
        visit()
        assert all(known(kind) == set(of(kind)) and len(of(kind)) == 2 for kind in kinds)
        keys.rotate()
        visit()
        assert all(known(kind) == set(of(kind)) and len(of(kind)) == 1 for kind in kinds)
    finally:
        world.installation.close()


def test_two_who_agree_on_other_signatures_by_one_host_key_each_get_theirs(kind: type[Connection]) -> None:
    """The one whose turn is over before its signature is made, and another who comes in between."""

    async def signed() -> list[bytes]:
        options: Any = await SSHServerConnectionOptions.construct(
            server_factory=asyncssh.SSHServer, server_host_keys=[asyncssh.generate_private_key("ssh-rsa")]
        )
        asked = [b"rsa-sha2-512", b"rsa-sha2-256"]
        both = [kind(asyncio.get_running_loop(), options, number, 3) for number in range(2)]
        for each in both:
            each._client_kexinit = bytes(64)  # it guesses nothing
        assert all(each.choose_server_host_key([algorithm]) for each, algorithm in zip(both, asked, strict=True))
        found = [each.get_server_host_key() for each in both]
        return [SSHPacket(pair.sign(b"said")).get_string() for pair in found if pair is not None]

    assert asyncio.run(signed()) == [b"rsa-sha2-512", b"rsa-sha2-256"]
