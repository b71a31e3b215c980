"""`mellanrum sshkey` and `mellanrum hostkey`: which keys are taken, what is shown of them, how they go."""

from __future__ import annotations

from pathlib import Path

import asyncssh
import pytest

from tests.cli.shop import ADMIN, Shop


def public(folder: Path, algorithm: str = "ssh-ed25519", comment: str = "agnes@laptop", **options: object) -> Path:
    key = asyncssh.generate_private_key(algorithm, comment=comment, **options)
    file = folder / f"{key.get_fingerprint()[7:14].replace('/', '_')}.pub"
    file.write_bytes(key.export_public_key())
    return file


@pytest.mark.parametrize("form", ["openssh", "pkcs8-pem", "pkcs1-pem"])
def test_a_private_key_was_said_to_lack_a_comment(shop: Shop, tmp_path: Path, form: str) -> None:
    file = tmp_path / "id"
    file.write_bytes(asyncssh.generate_private_key("ssh-rsa").export_private_key(form))
    ran = shop.run("sshkey", "add", ADMIN, file)
    assert ran.code == 65
    assert "private key" in ran.err
    assert ".pub" in ran.err
    assert shop.ok("sshkey", "list") == []


def test_a_key_comes_and_goes(shop: Shop, tmp_path: Path) -> None:
    file = public(tmp_path)
    made = shop.ok("sshkey", "add", ADMIN, file, "--read-only", "--with-code")
    assert (made["label"], made["read_only"], made["with_code"]) == ("agnes@laptop", True, True)
    assert made["fingerprint"].startswith("SHA256:")
    assert [each["id"] for each in shop.ok("sshkey", "list", ADMIN)] == [made["id"]]
    assert made["id"] not in [each["id"] for each in shop.ok("device", "list", ADMIN)]
    again = shop.run("sshkey", "add", ADMIN, file)
    assert again.code == 24 and again.err.count("\n") == 1
    assert shop.ok("sshkey", "remove", made["fingerprint"])["revoked"] == [made["id"]]
    assert shop.run("sshkey", "remove", made["id"]).code == 23
    assert "revoked" in shop.run("sshkey", "list").out
    second = shop.ok("sshkey", "add", ADMIN, file, "--label", "again")
    assert shop.ok("sshkey", "remove", second["id"])["revoked"] == [second["id"]]


@pytest.mark.parametrize("text", ["", "ssh-ed25519 AAAA", "-----BEGIN OPENSSH PRIVATE KEY-----\n", "hello"])
def test_what_is_no_public_key_is_refused_in_a_line(shop: Shop, tmp_path: Path, text: str) -> None:
    (tmp_path / "x.pub").write_text(text)
    ran = shop.run("sshkey", "add", ADMIN, tmp_path / "x.pub", "--label", "x")
    assert ran.code == 65 and ran.err.count("\n") == 1


def test_short_rsa_keys_are_refused(shop: Shop, tmp_path: Path) -> None:
    ran = shop.run("sshkey", "add", ADMIN, public(tmp_path, "ssh-rsa", key_size=1024))
    assert ran.code == 65 and "2048" in ran.err


def test_a_key_without_a_comment_needs_a_label(shop: Shop, tmp_path: Path) -> None:
    assert shop.run("sshkey", "add", ADMIN, public(tmp_path, comment="")).code == 64


def test_changing_host_keys_was_no_event(shop: Shop) -> None:
    announced = shop.ok("hostkey", "announce")
    shop.ok("hostkey", "rotate", "--yes")
    told = shop.ok("audit", "list", "--last", "2")
    assert [each["event"]["kind"] for each in told] == ["host_keys_announced", "host_keys_rotated"]
    expected = {each["kind"]: each["fingerprint"] for each in announced if each["next"]}
    assert [each["event"]["facts"] for each in told] == [expected, expected]


def test_nothing_named_a_damaged_host_key_and_nothing_helped(shop: Shop) -> None:
    rsa = shop.ok("hostkey", "show")[1]
    file = shop.data / "ssh" / "ed25519.sealed"
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    for command in ("hostkey show", "serve --http-port 0 --sftp-port 0", "doctor"):
        ran = shop.run(*command.split())
        assert ran.code and str(file) in ran.out + ran.err
    rotated = shop.ok("hostkey", "rotate", "--yes")
    assert [each["kind"] for each in rotated] == ["ed25519", "rsa"] and rsa not in rotated
    assert shop.run("doctor").code == 0


def test_an_announced_host_key_that_is_damaged_takes_no_place(shop: Shop) -> None:
    before = shop.ok("hostkey", "show")
    shop.ok("hostkey", "announce")
    file = shop.data / "ssh" / "rsa.next.sealed"
    file.write_bytes(b"?" * 2000)
    ran = shop.run("hostkey", "rotate", "--yes")
    assert ran.code == 30 and str(file) in ran.err
    file.unlink()
    assert shop.ok("hostkey", "show")[:2] == before


def test_a_kill_left_an_announced_host_key_without_its_public_half(shop: Shop) -> None:
    shop.ok("hostkey", "announce")
    (shop.data / "ssh" / "ed25519.next.pub").unlink()
    shop.ok("hostkey", "rotate", "--yes")
    assert sorted(path.name for path in (shop.data / "ssh").iterdir()) == [
        "ed25519.pub", "ed25519.sealed", "rsa.pub", "rsa.sealed",
    ]  # fmt: skip


def test_host_keys_are_made_shown_and_changed(shop: Shop) -> None:
    first = shop.ok("hostkey", "show")
    assert [(each["kind"], each["next"]) for each in first] == [("ed25519", False), ("rsa", False)]
    assert all(each["fingerprint"] in shop.run("doctor").out for each in first)
    announced = shop.ok("hostkey", "announce")
    assert announced[:2] == first and len(announced) == 4
    rotated = shop.ok("hostkey", "rotate", "--yes")
    assert [each["fingerprint"] for each in rotated] == [each["fingerprint"] for each in announced[2:]]
