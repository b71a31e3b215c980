"""A stamp is other after each change, for all who look at it, in whichever process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from config import stamps
from config.errors import StorageFailed
from config.stamps import Answers, Stamp

_RENEW = "import sys; from pathlib import Path; from config.stamps import Stamp; Stamp(Path(sys.argv[1])).renew()"


def test_all_processes_see_that_it_was_renewed(tmp_path: Path) -> None:
    mine, other = Stamp(tmp_path / "s"), Stamp(tmp_path / "s")
    before = mine.value()
    assert before is not None
    assert other.value() == before
    other.renew()
    between = mine.value()
    assert between == other.value() != before
    subprocess.run(
        [sys.executable, "-P", "-c", _RENEW, str(tmp_path / "s")],
        check=True,
        cwd=Path.cwd(),
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    )
    assert mine.value() == other.value() != between


def test_it_outlives_those_who_look_at_it(tmp_path: Path) -> None:
    stamp = Stamp(tmp_path / "s")
    stamp.renew()
    found = stamp.value()
    stamp.close()
    stamp.close()
    assert Stamp(tmp_path / "s").value() == found


def test_where_it_cannot_be_made_nothing_is_known(tmp_path: Path) -> None:
    stamp = Stamp(tmp_path / "missing" / "s")
    assert stamp.value() is None
    with pytest.raises(StorageFailed):
        stamp.prepare()


def test_while_a_change_is_under_way_nobody_knows_anything(tmp_path: Path) -> None:
    mine, other = Stamp(tmp_path / "s"), Stamp(tmp_path / "s")
    before = mine.value()
    other.unsettle()
    assert mine.value() is None
    other.close()
    assert Stamp(tmp_path / "s").value() is None  # who began it was killed: it is made good by the next
    mine.renew()
    assert mine.value() not in (None, before)


def test_who_has_a_file_that_was_removed_takes_the_one_that_others_have(tmp_path: Path) -> None:
    mine = Stamp(tmp_path / "s")
    before = mine.value()
    mine.check()
    assert mine.value() == before
    (tmp_path / "s").unlink()
    mine.check()
    assert mine.value() == before  # there is no other yet
    other = Stamp(tmp_path / "s")
    other.renew()
    assert mine.value() == before
    mine.check()
    assert mine.value() == other.value()
    other.renew()
    assert mine.value() == other.value()


def test_an_answer_stands_until_somebody_changes_something(tmp_path: Path) -> None:
    stamp, other = Stamp(tmp_path / "s"), Stamp(tmp_path / "s")
    answers: Answers[str, int] = Answers(stamp)
    asked: list[str] = []

    def get(key: str) -> int:
        return answers.get(key, lambda: (asked.append(key), len(asked))[1])

    assert [get("a"), get("b"), get("a"), get("b")] == [1, 2, 1, 2]
    other.unsettle()
    assert [get("a"), get("a")] == [3, 4]
    other.renew()
    assert [get("a"), get("a"), get("b")] == [5, 5, 6]
    other.renew()
    assert get("b") == 7


def test_what_was_asked_while_it_changed_is_not_kept(tmp_path: Path) -> None:
    stamp, other = Stamp(tmp_path / "s"), Stamp(tmp_path / "s")
    answers: Answers[None, str] = Answers(stamp)

    def overtaken() -> str:
        other.unsettle()
        other.renew()
        return "before"

    assert answers.get(None, overtaken) == "before"
    assert answers.get(None, lambda: "after") == "after"


def test_without_a_stamp_everything_is_asked() -> None:
    answers: Answers[None, int] = Answers(None)
    assert [answers.get(None, lambda: 1), answers.get(None, lambda: 2)] == [1, 2]


def test_answers_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stamps, "ANSWERS_MAX", 3)
    answers: Answers[int, int] = Answers(Stamp(tmp_path / "s"))
    assert [answers.get(key, lambda key=key: key) for key in range(10)] == list(range(10))  # type: ignore[misc]
    assert [answers.get(key, lambda: -1) for key in range(10)] == [0, 1, 2, *[-1] * 7]
