"""The ways in which programs save: `table.txt`, read into operations that any protocol can replay."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

TABLE = Path(__file__).with_name("table.txt")
ACTS = (
    "new", "save", "empty", "copy", "move", "over", "delete", "gone", "noise", "aux", "mkdir", "rmdir", "lock",
    "unlock",
)  # fmt: skip


class Step(NamedTuple):
    """One operation on a mount; `other` is where a rename leads."""

    act: str
    name: str
    other: str


class Dance(NamedTuple):
    """How one program saves. `stays` is the name under which the bytes from before are kept, if they are."""

    program: str
    document: str
    steps: tuple[Step, ...]
    stays: str

    def step_names(self, number: int) -> Iterator[Step]:
        """Yield the operations of one save, by the names they have in it."""
        for step in self.steps:
            yield Step(step.act, self.named(step.name, number), self.named(step.other, number))

    def named(self, text: str, number: int) -> str:
        """Return a name of the table as it stands in a save."""
        document = PurePosixPath(self.document)
        return text.format(x=self.document, stem=document.stem, ext=document.suffix, n=f"{4096 + number:04X}")


def _variants(steps: str) -> Iterator[tuple[str, str]]:
    """Yield the text of the steps with those that stand in brackets, and without; and what to call that."""
    yield re.sub(r"[\[\]]", "", steps), ""
    if "[" in steps:
        yield re.sub(r"\[.*?\];? ?", "", steps), ", no more than it must"


def _step(text: str) -> Step:
    act, _, names = text.strip().partition(" ")
    name, _, other = names.partition(" > ")
    assert act in ACTS and name and bool(other) == (act in ("move", "over")), text
    return Step(act, name, other)


def dances() -> list[Dance]:
    """Return all rows, those with steps in brackets once with each choice."""
    found = []
    for line in TABLE.read_text("utf-8").splitlines():
        if line.startswith("#"):
            continue
        program, document, steps, stays = (part.strip() for part in line.split("|"))
        for text, called in _variants(steps):
            made = tuple(_step(each) for each in text.split(";") if each.strip())
            found.append(Dance(program + called, document, made, stays))
    return found


ALL = dances()
