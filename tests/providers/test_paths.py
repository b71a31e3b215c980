"""One parser turns text from outside into a path; one function says when two names are the same."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.errors import BadName, NameTooLong
from providers.paths import DEPTH_MAX, NAME_BYTES_MAX, Path, check_name, fold, parse, parse_bytes, presentable

NAMES = st.text(
    st.characters(exclude_categories=("Cc", "Cs", "Cn"), exclude_characters="/"), min_size=1, max_size=40
).filter(lambda name: name not in (".", "..") and len(name.encode()) <= NAME_BYTES_MAX)


@pytest.mark.parametrize(
    "text", ["/..", "/a/../b", "/.", "/a\0b", "/a\nb", "/\ud800", "/\x7f", "/\x85", "/\uffff", "/a\rb", "/\u0378"]
)
def test_what_no_name_may_hold(text: str) -> None:
    with pytest.raises(BadName):
        parse(text)


def test_bytes_must_be_utf8() -> None:
    with pytest.raises(BadName):
        parse_bytes(b"/\xe9")
    assert parse_bytes("/å".encode()) == Path(("å",))


def test_limits_hold_at_their_edge() -> None:
    assert check_name("x" * NAME_BYTES_MAX)
    with pytest.raises(NameTooLong):
        check_name("x" * (NAME_BYTES_MAX - 1) + "å")
    assert parse("/a" * DEPTH_MAX)
    with pytest.raises(BadName):
        parse("/a" * (DEPTH_MAX + 1))


@pytest.mark.parametrize("name", ["CON", "a:b", "a|b", "a ", "a.", "~$x", "%41", "a\\b", "#", "?", "😀", "\u202eexe"])
def test_what_only_windows_minds_is_kept(name: str) -> None:
    assert parse("/" + name).name == name


@pytest.mark.parametrize("sign", ["\U0001f600", "\U0001fae8", "\U0001fabf", "\U0001faff", "\U0001fffd"])
def test_a_pictograph_newer_than_this_python_is_kept(sign: str) -> None:
    name = f"Bild {sign}.jpg"
    assert parse(f"/{name}").name == name and fold(name) == name.lower() and presentable(name) == name


@pytest.mark.parametrize("sign", ["\U0001fffe", "\U0001ffff", "\U000e0fff"])
def test_what_will_never_be_a_pictograph_is_not(sign: str) -> None:
    with pytest.raises(BadName):
        parse(f"/{sign}")
    assert presentable(sign) == "\N{REPLACEMENT CHARACTER}"


@given(st.lists(NAMES, max_size=10))
def test_a_path_survives_its_own_text(names: list[str]) -> None:
    assert parse(str(Path(tuple(names)))) == Path(tuple(names))


@given(NAMES)
def test_normal_forms_and_case_are_one_name(name: str) -> None:
    assert fold(unicodedata.normalize("NFD", name)) == fold(unicodedata.normalize("NFC", name)) == fold(name)
    assert fold(name.casefold()) == fold(name)
