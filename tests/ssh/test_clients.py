"""The clients that people have, at a running server: rclone, lftp, psftp, paramiko, sshfs, and WinSCP's way to save."""

from __future__ import annotations

import os
import re
import shutil
import signal
import stat
import struct
import subprocess
import sys
import time
from pathlib import Path

import paramiko
import pytest

from providers.paths import parse
from tests.ssh.doors import Door, serving_sftp
from tests.tools import ROOT, need

CONTENT = os.urandom(10_000_000)


def versions(door: Door, path: str) -> list[int]:
    """Return the sizes of a document's versions."""
    return [each.size for each in door.world.drive("anna").versions(parse(path))]


@pytest.fixture
def local(tmp_path: Path) -> Path:
    file = tmp_path / "in.bin"
    file.write_bytes(CONTENT)
    return file


# --- rclone


def rclone(door: Door, *words: object) -> subprocess.CompletedProcess[str]:
    told = ["--config", door.folder / "rclone.conf", "--sftp-host", door.host, "--sftp-port", door.port]
    told += ["--sftp-user", "anna", "--sftp-key-file", door.own_key("anna"), "--sftp-known-hosts-file"]
    (door.folder / "rclone.conf").touch()
    return door.run(need("rclone"), *told, door.known_hosts(), *words)


def test_rclone_uploads_and_checks_by_hashes(door: Door, local: Path, home: str) -> None:
    """D14 and S11: 10 MB go up although rclone 1.60 sends more than a packet holds; both ends compare checksums."""
    sent = rclone(door, "copy", "--checksum", "-v", local, f":sftp:{home}")
    assert sent.returncode == 0, sent.stderr
    assert "hash" not in sent.stderr.lower() or "not" not in sent.stderr.lower(), sent.stderr
    assert versions(door, f"{home}/in.bin") == [len(CONTENT)]
    checked = rclone(door, "check", local.parent, f":sftp:{home}")
    assert checked.returncode == 0 and "0 differences" in checked.stderr, checked.stderr
    assert "could not be checked" not in checked.stderr
    summed = rclone(door, "md5sum", f":sftp:{home}")
    assert summed.returncode == 0 and summed.stdout.split()[1] == "in.bin", summed.stdout + summed.stderr
    again = rclone(door, "copy", "--checksum", local, f":sftp:{home}")
    assert again.returncode == 0 and versions(door, f"{home}/in.bin") == [len(CONTENT)]
    back = local.with_name("back")
    assert rclone(door, "copy", f":sftp:{home}", back).returncode == 0
    assert (back / "in.bin").read_bytes() == CONTENT
    assert abs((back / "in.bin").stat().st_mtime - local.stat().st_mtime) < 1.01
    assert rclone(door, "moveto", f":sftp:{home}/in.bin", f":sftp:{home}/ut.bin").returncode == 0
    assert rclone(door, "purge", f":sftp:{home}").returncode == 0


# --- lftp, psftp, paramiko


def test_lftp(door: Door, local: Path, home: str) -> None:
    connect = f"sftp:connect-program 'ssh -a -x {' '.join(door.options('anna', port='-p'))}'"
    script = (
        f"set {connect}; set net:max-retries 1; set cmd:fail-exit yes; open sftp://anna:x@{door.host}:{door.port}; "
    )
    script += (
        f"cd '{home}'; put {local}; mirror -R {local.parent} spegel; cls -l; mv in.bin ny.bin; get ny.bin -o {local}.2"
    )
    ran = door.run(need("lftp"), "-c", script)
    assert ran.returncode == 0, ran.stderr
    assert Path(f"{local}.2").read_bytes() == CONTENT
    assert versions(door, f"{home}/spegel/in.bin") == [len(CONTENT)]


def test_lftp_and_rclone_by_a_device_password(door: Door, local: Path, home: str) -> None:
    """S13: they cannot be asked twice, and are not; anna's own password would not be enough."""
    told = [each for each in door.options(port="-p") if each != "BatchMode=yes"]
    script = f"set sftp:connect-program 'ssh -a -x {' '.join(told)}'; set net:max-retries 1; set cmd:fail-exit yes; "
    script += f"open -u anna,{door.password('anna')} sftp://{door.host}:{door.port}; put {local} -o '{home}/lftp'"
    ran = door.run(need("lftp"), "-c", script)
    assert ran.returncode == 0, ran.stderr
    hidden = door.run(need("rclone"), "obscure", door.password("anna")).stdout.strip()
    command = [need("rclone"), "--config", door.folder / "none.conf", "--sftp-host", door.host]
    command += ["--sftp-port", door.port, "--sftp-user", "anna", "--sftp-pass", hidden, "--sftp-known-hosts-file"]
    ran = door.run(*command, door.known_hosts(), "copyto", local, f":sftp:{home}/rclone")
    assert ran.returncode == 0, ran.stderr
    assert [versions(door, f"{home}/{name}") for name in ("lftp", "rclone")] == [[len(CONTENT)]] * 2


def test_dropbear_guesses_the_key_exchange(door: Door, local: Path, home: str) -> None:
    """It sends the first packet of the exchange that it prefers, and another if the server prefers another one."""
    told = [need("dbclient"), "-y", "-y", "-p", door.port, f"anna@{door.host}", "md5sum"]
    environ = door.asking() | {"DROPBEAR_PASSWORD": door.password("anna"), "HOME": str(local.parent)}
    ran = door.run(*told, env=environ, input="abc")
    assert ran.stdout == "900150983cd24fb0d6963f7d28e17f72  -\n", ran.stderr


def test_psftp(door: Door, local: Path, home: str) -> None:
    """PuTTY's, with a device password and nobody to ask."""
    (local.parent / "batch").write_text(
        f'cd "{home}"\nput {local}\nls\nget in.bin {local}.2\nreput {local} in.bin\nquit\n'
    )
    host_key = door.known_hosts().read_text().split()[2]
    fingerprint = next(
        line.split()[1]
        for line in door.run(need("ssh-keygen"), "-lf", door.folder / "known_hosts").stdout.splitlines()
        if "ED25519" in line
    )
    del host_key
    command = [need("psftp"), "-batch", "-P", door.port, "-hostkey", fingerprint, "-pw", door.password("anna")]
    ran = door.run(
        *command, "-b", local.parent / "batch", f"anna@{door.host}", env=os.environ | {"HOME": str(local.parent)}
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert Path(f"{local}.2").read_bytes() == CONTENT


def test_paramiko(door: Door, local: Path, home: str) -> None:
    client = paramiko.SSHClient()
    client.load_host_keys(str(door.known_hosts()))
    try:
        client.connect(
            door.host, door.port, "anna", door.password("anna"), allow_agent=False, look_for_keys=False, timeout=30
        )
        sftp = client.open_sftp()
        assert sftp.normalize(".") == "/"
        put = sftp.put(str(local), f"{home}/in.bin")
        assert (put.st_size, stat.S_ISREG(put.st_mode or 0)) == (len(CONTENT), True)
        with sftp.open(f"{home}/in.bin", "r+") as file:
            file.seek(5)
            file.write(b"fem")
        with sftp.open(f"{home}/in.bin", "rb") as file:
            file.prefetch()
            assert file.read() == CONTENT[:5] + b"fem" + CONTENT[8:]
        sftp.utime(f"{home}/in.bin", (1_000_000_000, 1_000_000_000))
        assert sftp.stat(f"{home}/in.bin").st_mtime == 1_000_000_000
        with pytest.raises(FileNotFoundError):
            sftp.stat("/../../etc/passwd")
        _, out, _ = client.exec_command(f"sha1sum '{home}/in.bin'")
        assert len(out.read().split()[0]) == 40
    finally:
        client.close()
    assert versions(door, f"{home}/in.bin") == [len(CONTENT)] * 2


@pytest.mark.parametrize(
    ("sent", "status", "says"),
    [
        (struct.pack(">IBII", 5, 1, 3, 300_000), 1, "a packet was longer than"),
        (b"\0\0\0\5hello", 1, "not SFTP"),
        (struct.pack(">IBI", 5, 1, 3), 0, ""),
    ],
    ids=["a packet too long", "something else", "a good end"],
)
def test_a_session_that_is_no_sftp_ends_with_a_word(door: Door, sent: bytes, status: int, says: str) -> None:
    """MINA's streams send packets of any length: they were cut off without a word, as if all were well."""
    client = paramiko.SSHClient()
    client.load_host_keys(str(door.known_hosts()))
    try:
        client.connect(door.host, door.port, "anna", door.password("anna"), allow_agent=False, look_for_keys=False)
        transport = client.get_transport()
        assert transport is not None
        channel = transport.open_session(timeout=30)
        channel.settimeout(30)
        channel.invoke_subsystem("sftp")
        channel.sendall(sent)
        channel.shutdown_write()
        assert channel.recv_exit_status() == status
        told = channel.makefile_stderr().read().decode()
        assert (says in told) if says else not told
    finally:
        client.close()


@pytest.mark.parametrize("cipher", ["aes128-ctr", "aes128-gcm@openssh.com"])
def test_a_window_that_was_shut_lets_all_through_as_it_opens(door: Door, local: Path, home: str, cipher: str) -> None:
    transport = paramiko.Transport((door.host, door.port))
    try:
        transport.get_security_options().ciphers = (cipher,)
        transport.connect(username="anna", password=door.password("anna"))
        sftp = paramiko.SFTPClient.from_transport(transport)
        assert sftp is not None
        sftp.get_channel().settimeout(10)
        sftp.put(str(local), f"{home}/window.bin")
        with sftp.open(f"{home}/window.bin", "rb") as file:
            file.prefetch()
            time.sleep(1)  # all is asked for, and the window is shut
            assert file.read() == CONTENT
    finally:
        transport.close()


def test_paramiko_falls_back_from_a_key_to_a_password(door: Door, tmp_path: Path) -> None:
    """It asks for the service anew with each method, on one connection."""
    other = paramiko.RSAKey.generate(2048)
    client = paramiko.SSHClient()
    client.load_host_keys(str(door.known_hosts()))
    try:
        client.connect(
            door.host, door.port, "vera", door.password("vera"), pkey=other, allow_agent=False, look_for_keys=False
        )
        assert client.open_sftp().listdir("/") == ["Sandbox"]
    finally:
        client.close()


def as_in_the_page(door: Door, folder: Path, home: str, content: str) -> subprocess.CompletedProcess[str]:
    """Upload a report with the program that the page for scripts shows."""
    page = (ROOT / "docs" / "clients" / "sftp-scripts.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    for piece, other in (
        ('"files.example.com", 2022, "helena"', f'"{door.host}", {door.port}, "anna"'),
        ("DEVICE-PASSWORD", door.password("anna")),
        ('"known_hosts"', f'"{door.known_hosts()}"'),
        ("/Accounts", home),
    ):
        assert piece in program, piece
        program = program.replace(piece, other)
    (folder / "report.txt").write_text(content)
    return door.run(sys.executable, "-c", program, cwd=folder)


def test_a_script_uploads_as_the_page_shows(door: Door, tmp_path: Path, home: str) -> None:
    """The history goes on; and what paramiko would not tell of a close, the rename tells."""
    for content in ("first", "the second"):
        sent = as_in_the_page(door, tmp_path, home, content)
        assert sent.returncode == 0, sent.stderr
    report = f"{home}/report.txt"
    assert versions(door, report) == [5, 10]
    as_olle = parse(report.replace("/Kund AB – ", "/"))
    olle = door.world.drive("olle")
    held, _ = olle.lock(as_olle, is_deep=False, is_shared=False, owner="", seconds=600)
    refused = as_in_the_page(door, tmp_path, home, "of no use")
    olle.unlock(as_olle, held.token)
    assert refused.returncode == 1 and "Somebody else is working on this" in refused.stderr
    assert versions(door, report) == [5, 10]


def test_winscp_saves_by_filepart(door: Door, home: str) -> None:
    """S10: it writes X.filepart, removes X, renames, sets permissions."""
    key = paramiko.Ed25519Key(filename=str(door.own_key("anna")))
    with paramiko.Transport((door.host, door.port)) as transport:
        transport.connect(username="anna", pkey=key)
        sftp = paramiko.SFTPClient.from_transport(transport)
        assert sftp is not None
        for content in (b"ett" * 50_000, b"tva" * 60_000):
            with sftp.open(f"{home}/brev.doc.filepart", "wb") as file:
                file.write(content)
            if content[:1] == b"t":
                sftp.remove(f"{home}/brev.doc")
            sftp.rename(f"{home}/brev.doc.filepart", f"{home}/brev.doc")
            sftp.chmod(f"{home}/brev.doc", 0o644)
        assert sftp.listdir(home) == ["brev.doc"]
        assert sftp.stat(f"{home}/brev.doc").st_size == 180_000


# --- sshfs


def test_sshfs(door: Door, mount: Path, local: Path, home: str) -> None:
    shutil.copyfile(local, mount / "a.bin")
    assert (mount / "a.bin").read_bytes() == CONTENT
    with (mount / "a.bin").open("r+b") as file:
        file.seek(1_000_000)
        file.write(b"mitt")
    with (mount / "a.bin").open("ab") as file:
        file.write(b"slut")
    os.truncate(mount / "a.bin", 2_000_000)
    expected = bytearray(CONTENT[:2_000_000])
    expected[1_000_000:1_000_004] = b"mitt"
    assert (mount / "a.bin").read_bytes() == expected
    (mount / "under").mkdir()
    (mount / "a.bin").rename(mount / "under" / "b.bin")
    assert sorted(each.name for each in mount.rglob("*")) == ["b.bin", "under"]
    os.utime(mount / "under" / "b.bin", (1_000_000_000, 1_000_000_000))
    assert (mount / "under" / "b.bin").stat().st_mtime == 1_000_000_000
    (mount / "under" / "b.bin").unlink()
    (mount / "under").rmdir()
    assert list(mount.iterdir()) == []
    assert os.statvfs(mount).f_bsize > 0


# --- what is cut off


def test_a_client_that_is_killed_leaves_the_old_version(door: Door, local: Path, home: str) -> None:
    """D15 and S9: nothing partial shows to others, the old version is current, and the upload is resumed."""
    assert door.sftp("anna", f'put {local} "{home}/x.bin"').returncode == 0
    bigger = local.with_name("bigger.bin")
    bigger.write_bytes(os.urandom(40_000_000))
    command = [need("sftp"), "-l", "40000", *door.options("anna"), f"anna@{door.host}"]
    for name in ("x.bin", "new.bin"):
        running = subprocess.Popen(
            [str(each) for each in command], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        assert running.stdin is not None
        running.stdin.write(f'put {bigger} "{home}/{name}"\n'.encode())
        running.stdin.flush()
        _await_upload(running.pid)
        running.send_signal(signal.SIGKILL)
        running.wait()
        running.stdin.close()
    time.sleep(1)
    assert versions(door, f"{home}/x.bin") == [len(CONTENT)]
    seen = door.server.dav("vera").propfind(home.replace("Kund AB – ", ""), depth="1")
    assert b"x.bin" in seen.body and b"new.bin" not in seen.body
    back = local.with_name("back.bin")
    assert door.sftp("anna", f'get "{home}/x.bin" {back}').returncode == 0
    assert back.read_bytes() == CONTENT
    resumed = door.sftp("anna", f'reput {bigger} "{home}/new.bin"', f'get "{home}/new.bin" {back}')
    assert resumed.returncode == 0, resumed.stderr
    assert back.read_bytes() == bigger.read_bytes()
    assert versions(door, f"{home}/new.bin") == [40_000_000]


def test_a_worker_that_is_killed_is_replaced_and_nothing_partial_shows(door: Door, local: Path, home: str) -> None:
    assert door.sftp("anna", f'put {local} "{home}/x.bin"').returncode == 0
    bigger = local.with_name("bigger.bin")
    bigger.write_bytes(os.urandom(40_000_000))
    running = subprocess.Popen(
        [str(each) for each in (need("sftp"), "-l", "40000", *door.options("anna"), f"anna@{door.host}")],
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert running.stdin is not None
    running.stdin.write(f'put {bigger} "{home}/x.bin"\n'.encode())
    running.stdin.flush()
    _await_upload(running.pid)
    before = door.workers()
    door.server.kill(*before)
    running.stdin.close()
    assert running.wait(60) != 0
    until = time.monotonic() + 60
    while time.monotonic() < until and not (set(door.workers()) - set(before)):
        time.sleep(0.2)
    back = local.with_name("back.bin")
    assert door.sftp("anna", f'get "{home}/x.bin" {back}').returncode == 0
    assert back.read_bytes() == CONTENT
    assert versions(door, f"{home}/x.bin") == [len(CONTENT)]


@pytest.mark.parametrize("old", [True, False])
@pytest.mark.parametrize("connection", ["auto", "stock"])
def test_stopping_lets_an_upload_end(tmp_path: Path, connection: str, old: bool) -> None:
    """SIGTERM while something is written: it ends, then the server does, with nothing lost."""
    settings = {"sftp.connection": connection, "sftp.workers": 1, "process.drain_seconds": 40}
    with serving_sftp(tmp_path, **settings) as own:
        file = tmp_path / "in.bin"
        file.write_bytes(CONTENT)
        command = [need("scp"), *(["-O"] if old else []), "-l", "24000", *own.options("olle"), file]
        running = subprocess.Popen(
            [*map(str, command), f"olle@{own.host}:/Sandbox/late.bin"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        _await_upload(running.pid)
        assert own.server.stop() == 0
        assert running.wait(60) == 0
        path = parse("/Kund AB – Sandbox/late.bin")
        assert [each.size for each in own.world.drive("anna").versions(path)] == [len(CONTENT)]


def _await_upload(pid: int) -> None:
    """Wait until a client is amid what it sends: it has read some megabytes of its file, and not all."""
    until = time.monotonic() + 60
    while int(Path(f"/proc/{pid}/io").read_text().split()[1]) < 3_000_000:
        assert time.monotonic() < until
        time.sleep(0.05)
