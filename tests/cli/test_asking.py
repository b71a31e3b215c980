"""Passwords and passphrases: typed at the terminal, or from a file or standard input."""

from __future__ import annotations

import getpass
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyotp
import pytest

from tests.cli.shop import ADMIN, PROGRAM, Shop, process

PHRASE = "en helt annan trygg fras 9"
ASKING = {
    "a password": ("person", "password", ADMIN),
    "a password at the start": ("person", "add", "ny", "Ny", "--ask-password"),
    "a passphrase": ("key", "kit", "{}/new"),
    "a passphrase again": ("key", "recover", "{kit}", "--to", "{}/back"),
    "who signs in": ("erase", "request", "--org", "Kund", "--reason", "left", "--as", ADMIN),
}


def filled(words: tuple[str, ...], folder: Path, init: dict[str, Any]) -> tuple[str, ...]:
    """Return the words of a command, its files in a folder."""
    return tuple(word.replace("{}", str(folder)).replace("{kit}", init["recovery_kit"]) for word in words)


@pytest.mark.parametrize("words", ASKING.values(), ids=ASKING)
def test_the_end_of_what_is_typed_was_unforeseen(
    shop: Shop, tmp_path: Path, init: dict[str, Any], monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    def ended(question: str) -> str:
        raise EOFError

    shop.ok("org", "add", "Kund")
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(getpass, "getpass", ended)
    ran = shop.run(*filled(words, tmp_path, init))
    assert (ran.code, "Nothing was typed" in ran.err, "-file" in ran.err) == (64, True, True), ran.err


@pytest.mark.parametrize("words", ASKING.values(), ids=ASKING)
def test_without_a_terminal_the_option_is_named(
    shop: Shop, tmp_path: Path, init: dict[str, Any], words: tuple[str, ...]
) -> None:
    shop.ok("org", "add", "Kund")
    ran = shop.run(*filled(words, tmp_path, init))
    if "kit" in words:  # which makes one and shows it
        assert (ran.code, "Its passphrase" in ran.out) == (0, True)
    else:
        assert (ran.code, "no terminal" in ran.err, "-file" in ran.err) == (64, True, True), ran.err


def test_a_passphrase_from_standard_input_was_sought_in_a_file_of_that_name(shop: Shop, tmp_path: Path) -> None:
    for words in (("kit", tmp_path / "kit"), ("recover", tmp_path / "kit", "--to", tmp_path / "back")):
        ran = process("--data", shop.data, "key", *words, "--passphrase-file", "-", stdin=f"{PHRASE}\nnot of it\n")
        assert ran.code == 0, ran.err
    assert (tmp_path / "back").read_text() == shop.key.read_text()


def test_of_a_password_file_more_counted_than_of_standard_input(
    shop: Shop, tmp_path: Path, init: dict[str, Any]
) -> None:
    shop.ok("org", "add", "Kund")
    file = tmp_path / "password"
    file.write_text(f"{PHRASE}\r\nand a note\n")
    shop.ok("person", "password", ADMIN, "--password-file", file)
    signed = ("--as", ADMIN, "--password-file", "-", "--code", pyotp.TOTP(init["totp_secret"]).now())
    ran = process(
        *("--data", shop.data, "erase", "request", "--org", "Kund", "--reason", "left", *signed), stdin=f"{PHRASE}\n"
    )
    assert ran.code == 0, ran.err


def test_standard_input_that_is_no_text_was_unforeseen(shop: Shop) -> None:
    command = [str(PROGRAM), "--data", str(shop.data), "person", "password", ADMIN, "--password-file", "-"]
    ran = subprocess.run(command, input=b"\xff" * 20 + b"\n", capture_output=True, timeout=100)
    assert ran.returncode == 66, ran.stderr
