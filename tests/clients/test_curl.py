"""curl: uploads without a length, ranges, resumed uploads refused, and asking before sending."""

from __future__ import annotations

import os

from tests.clients.conftest import Desk
from tests.tools import need

CONTENT = os.urandom(300_000)


def curl(desk: Desk, *arguments: str, given: str = "", code: int = 0) -> str:
    """Run curl as `anna`."""
    return desk.run(need("curl"), "-sS", "-u", f"anna:{desk.password}", *arguments, given=given, code=code)


def test_a_file_goes_up_and_comes_down_whole_and_in_parts(desk: Desk) -> None:
    (desk.folder / "a").write_bytes(CONTENT)
    assert curl(desk, "-T", "a", desk.url, "-w", "%{http_code}") == "201"
    assert (desk.content("a"), desk.versions("a")) == (CONTENT, 1)
    curl(desk, "-o", "b", f"{desk.url}a")
    assert (desk.folder / "b").read_bytes() == CONTENT
    assert curl(desk, "-r", "1000-1999", "-o", "part", f"{desk.url}a", "-w", "%{http_code}") == "206"
    assert (desk.folder / "part").read_bytes() == CONTENT[1000:2000]
    (desk.folder / "half").write_bytes(CONTENT[:100_000])
    curl(desk, "-C", "-", "-o", "half", f"{desk.url}a")
    assert (desk.folder / "half").read_bytes() == CONTENT


def test_what_is_piped_comes_in_chunks(desk: Desk) -> None:
    assert curl(desk, "-T", "-", f"{desk.url}piped", "-w", "%{http_code}", given="piped " * 20_000) == "201"
    assert (desk.content("piped"), desk.versions("piped")) == (b"piped " * 20_000, 1)


def test_a_resumed_upload_is_refused_and_changes_nothing(desk: Desk) -> None:
    (desk.folder / "a").write_bytes(CONTENT)
    desk.second.put(f"{desk.place}/a", CONTENT[:100_000])
    assert curl(desk, "-C", "100000", "-T", "a", desk.url, "-o", "said", "-w", "%{http_code}") == "400"
    assert (desk.content("a"), desk.versions("a")) == (CONTENT[:100_000], 1)


def test_a_large_upload_asks_first_and_a_stranger_sends_nothing(desk: Desk) -> None:
    (desk.folder / "a").write_bytes(CONTENT * 10)
    shown = ("-T", "a", desk.url, "-H", "Expect: 100-continue", "--expect100-timeout", "30", "-w", "%{size_upload}")
    assert curl(desk, *shown) == str(len(CONTENT) * 10)
    assert desk.content("a") == CONTENT * 10
    refused = desk.run(need("curl"), "-sS", "-u", "anna:wrong", *shown, "-o", "said")
    assert refused == "0"
    assert desk.versions("a") == 1


def test_if_none_match_keeps_what_stands(desk: Desk) -> None:
    (desk.folder / "a").write_text("new")
    desk.second.put(f"{desk.place}/a", b"old")
    assert curl(desk, "-T", "a", "-H", "If-None-Match: *", desk.url, "-o", "said", "-w", "%{http_code}") == "412"
    assert desk.content("a") == b"old"
