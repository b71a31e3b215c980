"""What is handed to people with Windows. No Windows is here: forms and references are checked, nothing is run."""

from __future__ import annotations

import re

import pytest

from tests.tools import ROOT

FOLDER = ROOT / "deploy" / "windows"
FILES = ("mellanrum.reg", "mellanrum-connect.cmd", "mellanrum-connect.ps1")
KEY = r"HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Services\WebClient\Parameters"


def lines_of(name: str) -> list[str]:
    return (FOLDER / name).read_bytes().decode("ascii").split("\r\n")


@pytest.mark.parametrize("name", FILES)
def test_lines_end_as_windows_wants_and_hold_ascii_alone(name: str) -> None:
    raw = (FOLDER / name).read_bytes()
    assert raw.isascii() and raw.endswith(b"\r\n")
    assert raw.count(b"\n") == raw.count(b"\r\n") == raw.count(b"\r")
    assert b"\t" not in raw
    assert {file.name for file in FOLDER.iterdir()} == set(FILES)


def test_git_leaves_their_line_ends_alone() -> None:
    assert "deploy/windows/* -text" in (ROOT / ".gitattributes").read_text().splitlines()


def registry(lines: list[str]) -> dict[str, dict[str, int]]:
    """Return what a file in the form of regedit 5.00 sets, by key and name. Fails at any other line."""
    assert lines[0] == "Windows Registry Editor Version 5.00" and lines[1] == ""
    found: dict[str, dict[str, int]] = {}
    key = None
    for line in lines[1:]:
        if not line or line.startswith(";"):
            continue
        if section := re.fullmatch(r"\[([^\[\]]+)\]", line):
            key = section[1]
            continue
        value = re.fullmatch(r'"([A-Za-z]+)"=dword:([0-9a-f]{8})', line)
        assert value and key, line
        found.setdefault(key, {})[value[1]] = int(value[2], 16)
    return found


def test_the_registry_file_lifts_the_limits_and_sends_passwords_over_tls_alone() -> None:
    wanted = {"FileSizeLimitInBytes": 4 * 1024**3 - 1, "FileAttributesLimitInBytes": 20_000_000, "BasicAuthLevel": 1}
    assert registry(lines_of("mellanrum.reg")) == {KEY: wanted}


def test_the_batch_file_goes_nowhere_that_is_not() -> None:
    lines = lines_of("mellanrum-connect.cmd")
    labels = {line[1:] for line in lines if line.startswith(":")}
    targets = {target for line in lines for target in re.findall(r"\bgoto (\w+)", line)}
    assert targets == labels
    # Each part ends by itself: what stands before a label but `connect` leaves.
    for number, line in enumerate(lines):
        if line.startswith(":") and line != ":connect":
            assert next(text for text in reversed(lines[:number]) if text).startswith("exit /b"), line
    assert all(line.count('"') % 2 == 0 for line in lines)
    assert all(line.count("%") % 2 == 0 for line in lines if "%~" not in line)


@pytest.mark.parametrize("name", FILES[1:])
def test_passwords_are_asked_for_and_stand_on_no_command_line(name: str) -> None:
    text = "\n".join(lines_of(name))
    assert not re.search(r"/pass|password=|%PASS", text, re.IGNORECASE)
    assert " * /user:" in text or "-AsSecureString" in text


def test_the_script_for_powershell_is_whole() -> None:
    text = "\n".join(lines_of("mellanrum-connect.ps1"))
    code = re.sub(r"<#.*?#>", "", text, flags=re.DOTALL)
    bare = re.sub(r"'[^'\n]*'|\"[^\"\n]*\"", "", code)
    assert "'" not in bare and '"' not in bare
    for opening, closing in ("{}", "()", "[]"):
        assert bare.count(opening) == bare.count(closing), opening
