"""What stands in the logs, and what never may."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import pytest

from auth.roles import Via
from config.logging import Word, get_log, set_up

CANARY = "Offer/Läckt bud (2).pdf"


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """What this process logs."""
    root, ours = logging.getLogger(), logging.getLogger("mellanrum")
    before = (root.handlers[:], root.level, ours.level, logging.raiseExceptions)
    stream = io.StringIO()
    set_up("info", stream)
    yield stream
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    ours.setLevel(before[2])
    logging.raiseExceptions = before[3]


def test_an_event_is_one_line_with_its_facts(written: io.StringIO) -> None:
    get_log("vault").warning(
        "pack_torn", space=bytes(15) + b"\x07", pack=7, seconds=0.25, via=Via.SFTP, whole=False, codec=Word("zstd1")
    )
    line = written.getvalue()
    assert line.endswith(
        "log=vault event=pack_torn space=00000000000000000000000000000007 "
        "pack=7 seconds=0.25 via=SFTP whole=false codec=zstd1\n"
    )
    assert line.count("\n") == 1
    assert " warning pid=" in line


@pytest.mark.parametrize(
    "value",
    [
        CANARY,
        f"/dav/{CANARY}",
        "anna@example.org",
        "https://x/y",
        "mrd_" + "k" * 80,
        CANARY.encode() * 3,
        object(),
        {"path": CANARY},
        [CANARY],
        OSError(2, "gone", CANARY),
        ValueError(CANARY),
        "two words",
        "Solberg",
        b"Solberg",
        b"k" * 32,
        "a\nevent=forged",
    ],
)
def test_what_a_person_typed_never_shows(written: io.StringIO, value: object) -> None:
    log = get_log("drive")
    log.error("failed", value if isinstance(value, BaseException) else None, fact=value)
    log.error(f"{value} failed")
    text = written.getvalue()
    for secret in ("bud", "anna", "https", "kkk", "two words", "forged", "Solberg", CANARY.encode().hex()):
        assert secret not in text
    assert text.count("\n") == 2


def test_an_error_shows_its_class_and_place(written: io.StringIO) -> None:
    try:
        raise OSError(28, "No space left", CANARY)
    except OSError as error:
        get_log("drive").error("failed", error)
    assert "error=OSError@test_logging.py:" in written.getvalue()
    assert written.getvalue().endswith("#28\n")
    assert "bud" not in written.getvalue()


def test_libraries_are_heard_but_not_quoted(written: io.StringIO) -> None:
    logging.getLogger("library.app").warning("GET /dav/%s", CANARY)
    logging.getLogger("library.app").info("hello")
    assert "log=library.app event=library_message at=test_logging:" in written.getvalue()
    assert "bud" not in written.getvalue()
    assert written.getvalue().count("\n") == 1


@pytest.mark.parametrize("evil", ["\n", "\r", "\x1b[2J", "\x00", "\x85", "\u2028", "\u202e", "\ud800"])
def test_control_characters_are_escaped_even_in_our_own_words(
    written: io.StringIO, evil: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # pytest keeps a copy of what is logged, and cannot hand half a character from one of its processes to another.
    ours = [handler for handler in logging.getLogger().handlers if getattr(handler, "stream", None) is written]
    monkeypatch.setattr(logging.getLogger(), "handlers", ours)
    logging.getLogger("mellanrum.odd").warning("event=odd%s", evil)
    line = written.getvalue()
    assert line.count("\n") == 1
    assert line.rstrip("\n").isascii()
    assert line.rstrip("\n").isprintable()


def test_what_is_below_the_level_costs_no_line(written: io.StringIO) -> None:
    get_log("vault").debug("chunk_found", cid=b"1")
    assert written.getvalue() == ""
