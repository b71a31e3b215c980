"""The lines S, D14 and D15 of what clients demand, each with real clients. `LINES` says which tests show each.

OpenSSH's sftp and scp, sshfs, lftp, rclone, psftp and paramiko; what WinSCP does is done by paramiko, in its order.
"""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import paramiko
import pytest
from paramiko.sftp import CMD_EXTENDED, CMD_OPEN

from providers.paths import parse
from server.sftp.engine.wire import CREAT, WRITE
from tests.ssh.doors import Door
from tests.ssh.test_clients import rclone, versions
from tests.tools import need

#: Line: the tests that show it, `module::test`; those without a module are here.
LINES: dict[str, tuple[str, ...]] = {
    "S1 realpath": (
        "test_s1_where_one_begins_and_what_is_no_such_file",
        "test_clients::test_psftp",
        "test_clients::test_paramiko",
        "test_clients::test_lftp",
    ),
    "S2 listings": (
        "test_s2_listings_have_types_and_long_names",
        "test_clients::test_lftp",
        "test_clients::test_sshfs",
    ),
    "S3 extensions": ("test_s3_openssh_finds_and_uses_the_extensions", "test_clients::test_sshfs"),
    "S4 renames": ("test_s4_a_plain_rename_never_replaces", "test_clients::test_rclone_uploads_and_checks_by_hashes"),
    "S5 times": (
        "test_s5_times_come_in_three_ways",
        "test_door::test_scp_both_ways",
        "test_clients::test_sshfs",
        "test_clients::test_rclone_uploads_and_checks_by_hashes",
    ),
    "S6 permissions": (
        "test_s6_permissions_and_owners_are_taken_note_of",
        "test_clients::test_winscp_saves_by_filepart",
    ),
    "S7 offsets": (
        "test_s7_many_outstanding_and_past_the_end",
        "test_clients::test_paramiko",
        "test_clients::test_sshfs",
    ),
    "S8 resuming": ("test_s8_a_shorter_document_over_a_longer_is_one_version", "test_s8_reput_begins_at_the_old_size"),
    "S9 cut off": (
        "test_clients::test_a_client_that_is_killed_leaves_the_old_version",
        "test_clients::test_a_worker_that_is_killed_is_replaced_and_nothing_partial_shows",
    ),
    "S10 filepart": ("test_s10_winscp_keeps_the_history", "test_clients::test_winscp_saves_by_filepart"),
    "S11 hashes": ("test_clients::test_rclone_uploads_and_checks_by_hashes", "test_door::test_hashes_for_rclone"),
    "S12 scp and rsync": (
        "test_door::test_scp_both_ways",
        "test_door::test_scp_of_folders",
        "test_door::test_rsync_is_refused_and_says_why",
    ),
    "S13 asking": (
        "test_s13_a_batch_is_never_asked",
        "test_signin::test_a_key_and_a_code_with_openssh",
        "test_clients::test_psftp",
        "test_clients::test_lftp_and_rclone_by_a_device_password",
        "test_signin::test_password_then_code_each_code_once",
        "test_clients::test_paramiko_falls_back_from_a_key_to_a_password",
    ),
    "S14 host keys": (
        "test_s14_an_rsa_host_key_stands_beside",
        "test_door::test_ssh_audit_finds_no_failure",
        "test_door::test_old_algorithms_only_behind_the_switch",
    ),
    "D14 trailing bytes": ("test_clients::test_rclone_uploads_and_checks_by_hashes",),
    "D15 a killed client": ("test_clients::test_a_client_that_is_killed_leaves_the_old_version",),
}


@contextmanager
def by_paramiko(door: Door, login: str = "anna") -> Iterator[paramiko.SFTPClient]:
    """Sign in with paramiko."""
    with paramiko.Transport((door.host, door.port)) as transport:
        transport.connect(username=login, password=door.password(login))
        client = paramiko.SFTPClient.from_transport(transport)
        assert client is not None
        yield client


@pytest.fixture
def local(tmp_path: Path) -> Path:
    file = tmp_path / "in.bin"
    file.write_bytes(os.urandom(300_000))
    return file


def test_s1_where_one_begins_and_what_is_no_such_file(door: Door) -> None:
    ran = door.sftp("anna", "pwd")
    assert ran.returncode == 0 and "Remote working directory: /\n" in ran.stdout, ran.stdout + ran.stderr
    for path in ("/../../etc/passwd", "//etc/passwd", "../etc/passwd"):
        ran = door.sftp("anna", f"get {path} /dev/null")
        assert ran.returncode == 1 and "not found" in ran.stderr, ran.stderr
    with by_paramiko(door) as client:
        assert client.normalize(".") == "/"
        with pytest.raises(FileNotFoundError):
            client.stat("/../../etc/passwd")


def test_s2_listings_have_types_and_long_names(door: Door, local: Path, home: str) -> None:
    assert door.sftp("anna", f'mkdir "{home}/under"', f'put {local} "{home}/a.bin"').returncode == 0
    with by_paramiko(door) as client:
        found = {each.filename: each for each in client.listdir_attr(home)}
        assert stat.S_ISDIR(found["under"].st_mode or 0) and stat.S_ISREG(found["a.bin"].st_mode or 0)
        assert re.fullmatch(r"-rw-r--r-- +1 \S+ +\S+ +300000 \w{3} [ \d]\d [\d: ]+ a\.bin", found["a.bin"].longname)
        assert found["under"].longname.startswith("drwxr-xr-x ")
        for path in ("/.", "/..", f"{home}/.", f"{home}/.."):
            assert stat.S_ISDIR(client.stat(path).st_mode or 0)
            assert stat.S_ISDIR(client.lstat(path).st_mode or 0)
    shown = door.sftp("anna", f'ls -la "{home}"').stdout
    assert re.search(r"^drwxr-xr-x .* under$", shown.replace(f"{home}/", ""), re.MULTILINE), shown


def test_s3_openssh_finds_and_uses_the_extensions(door: Door, local: Path, home: str) -> None:
    batch = [f'put -f {local} "{home}/a"', f'cp "{home}/a" "{home}/b"', f'rename "{home}/b" "{home}/c"']
    batch += [f'df "{home}"', f'chmod -h 600 "{home}/c"', f'ls -l "{home}"', f'-ln "{home}/c" "{home}/hard"']
    address = f"anna@{door.host}"
    loud = [each for each in door.options("anna") if each != "LogLevel=ERROR"]
    loud = [each for each, after in zip(loud, [*loud[1:], ""], strict=True) if not (each == "-o" and after == "-o")]
    ran = door.run(need("sftp"), *loud, "-vvv", "-b", "-", address, input="\n".join(batch) + "\n")
    assert ran.returncode == 0, ran.stderr
    for name in ("posix-rename@openssh.com", "statvfs@openssh.com", "fstatvfs@openssh.com", "fsync@openssh.com",
                 "lsetstat@openssh.com", "limits@openssh.com", "expand-path@openssh.com", "copy-data"):  # fmt: skip
        assert f'Server supports extension "{name}"' in ran.stderr, name
    assert "Server does not support hardlink@openssh.com extension" in ran.stderr.splitlines()
    sent = door.run(need("scp"), *door.options("anna"), local, f"{address}:~{home}/d")
    assert sent.returncode == 0, sent.stderr
    with by_paramiko(door) as client:
        with pytest.raises(OSError, match="There are no links here, neither symbolic nor hard"):
            client._request(CMD_EXTENDED, "hardlink@openssh.com", f"{home}/c", f"{home}/hard")
        assert sorted(client.listdir(home)) == ["a", "c", "d"]
    assert versions(door, f"{home}/c") == [300_000]


def test_s4_a_plain_rename_never_replaces(door: Door, local: Path, home: str) -> None:
    made = [f'put {local} "{home}/{name}"' for name in "abc"]
    assert door.sftp("anna", *made).returncode == 0
    ran = door.sftp("anna", f'rename -l "{home}/a" "{home}/b"')
    assert ran.returncode == 1 and "Failure" in ran.stderr, ran.stderr
    with by_paramiko(door) as client:
        with pytest.raises(OSError, match="something by that name already"):
            client.rename(f"{home}/a", f"{home}/b")
        assert client.listdir(home) == ["a", "b", "c"]
        client.posix_rename(f"{home}/a", f"{home}/b")
        assert client.listdir(home) == ["b", "c"]
    assert door.sftp("anna", f'rename "{home}/b" "{home}/c"').returncode == 0


def test_s5_times_come_in_three_ways(door: Door, local: Path, home: str) -> None:
    os.utime(local, (1_400_000_000, 1_400_000_000))
    assert door.sftp("anna", f'put -p {local} "{home}/a"').returncode == 0
    with by_paramiko(door) as client:
        assert client.stat(f"{home}/a").st_mtime == 1_400_000_000
        with client.open(f"{home}/b", "wb") as file:
            file.write(b"text")
            file.utime((1_300_000_000, 1_300_000_000))
        assert client.stat(f"{home}/b").st_mtime == 1_300_000_000
        client.utime(f"{home}/b", (1_200_000_000, 1_200_000_000))
        assert client.stat(f"{home}/b").st_mtime == 1_200_000_000
        told = paramiko.SFTPAttributes()
        told.st_atime = told.st_mtime = 1_100_000_000
        _, opened = client._request(CMD_OPEN, f"{home}/d", WRITE | CREAT, told)
        with paramiko.SFTPFile(client, opened.get_binary(), "wb") as file:
            file.write(b"text")
        assert client.stat(f"{home}/d").st_mtime == 1_100_000_000
    assert versions(door, f"{home}/b") == [4]
    assert rclone(door, "copyto", local, f":sftp:{home}/c").returncode == 0
    with by_paramiko(door) as client:
        assert abs((client.stat(f"{home}/c").st_mtime or 0) - 1_400_000_000) <= 1


def test_s6_permissions_and_owners_are_taken_note_of(door: Door, local: Path, home: str) -> None:
    batch = [f'put {local} "{home}/a"', f'chmod 600 "{home}/a"', f'chown 1000 "{home}/a"', f'chgrp 1000 "{home}/a"']
    ran = door.sftp("anna", *batch)
    assert ran.returncode == 0, ran.stderr
    with by_paramiko(door) as client:
        client.chmod(home, 0o700)
        with client.open(f"{home}/a", "r+") as file:
            file.chmod(0o640)
    assert versions(door, f"{home}/a") == [300_000]


def test_s7_many_outstanding_and_past_the_end(door: Door, local: Path, home: str) -> None:
    back = local.with_name("back.bin")
    options = [need("sftp"), "-R", "256", "-B", "1024", *door.options("anna"), "-b", "-", f"anna@{door.host}"]
    ran = door.run(*options, input=f'put {local} "{home}/a"\nget "{home}/a" {back}\n')
    assert ran.returncode == 0, ran.stderr
    assert back.read_bytes() == local.read_bytes()
    with by_paramiko(door) as client, client.open(f"{home}/b", "w+") as file:
        file.set_pipelined(True)
        for at in range(90_000, -1, -10_000):
            file.seek(at)
            file.write(bytes([at // 10_000]) * 10_000)
        file.set_pipelined(False)
        file.seek(95_000)
        assert file.read(1 << 20) == b"\t" * 5000
        file.seek(1 << 30)
        assert file.read(10) == b""
    assert versions(door, f"{home}/b") == [100_000]


def test_s8_a_shorter_document_over_a_longer_is_one_version(door: Door, local: Path, home: str) -> None:
    shorter = local.with_name("short.bin")
    shorter.write_bytes(b"short")
    for number, old in enumerate((["-O"], [])):
        quoted = f"'{home}'" if old else home
        for file in (local, shorter):
            ran = door.run(need("scp"), *old, *door.options("anna"), file, f"anna@{door.host}:{quoted}/x{number}")
            assert ran.returncode == 0, ran.stderr
        assert versions(door, f"{home}/x{number}") == [300_000, 5]


def test_s8_reput_begins_at_the_old_size(door: Door, local: Path, home: str) -> None:
    begun = local.with_name("begun.bin")
    begun.write_bytes(local.read_bytes()[:100_000])
    back = local.with_name("back.bin")
    ran = door.sftp("anna", f'put {begun} "{home}/x"', f'reput {local} "{home}/x"', f'get "{home}/x" {back}')
    assert ran.returncode == 0, ran.stderr
    assert back.read_bytes() == local.read_bytes()
    assert versions(door, f"{home}/x") == [100_000, 300_000]


def test_s10_winscp_keeps_the_history(door: Door, home: str) -> None:
    path = f"{home}/brev.doc"
    with by_paramiko(door) as client:
        with client.open(path, "wb") as file:
            file.write(b"first")
        before = door.world.drive("anna").stat(parse(path)).id
        with client.open(f"{path}.filepart", "wb") as file:
            file.write(b"second, longer")
        client.remove(path)
        client.rename(f"{path}.filepart", path)
        client.utime(path, (1_500_000_000, 1_500_000_000))
    assert door.world.drive("anna").stat(parse(path)).id == before
    assert versions(door, path) == [5, 14]


def test_s13_a_batch_is_never_asked(door: Door) -> None:
    """Without a key that is let in, `sftp -b` and `psftp -batch` end at once: nothing waits for a person."""
    started = time.monotonic()
    nobody = [*door.options(), "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-i", "/dev/null"]
    ran = door.run(need("sftp"), *nobody, "-b", "-", f"anna@{door.host}", input="pwd\n")
    assert ran.returncode == 255 and "Permission denied" in ran.stderr
    ran = door.run(
        need("psftp"), "-batch", "-P", door.port, "-hostkey", _fingerprint(door), f"anna@{door.host}",
        env=os.environ | {"HOME": str(door.folder)},
    )  # fmt: skip
    assert ran.returncode != 0
    assert time.monotonic() - started < 60


def _fingerprint(door: Door) -> str:
    door.known_hosts()
    told = door.run(need("ssh-keygen"), "-lf", door.folder / "known_hosts").stdout
    return next(line.split()[1] for line in told.splitlines() if "ED25519" in line)


@pytest.mark.parametrize("kind", ["ssh-ed25519", "rsa-sha2-512", "rsa-sha2-256"])
def test_s14_an_rsa_host_key_stands_beside(door: Door, kind: str) -> None:
    ran = door.run(
        need("sftp"), "-o", f"HostKeyAlgorithms={kind}", *door.options("anna"), "-b", "-", f"anna@{door.host}",
        input="pwd\n",
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
