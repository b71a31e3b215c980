"""Every way in which programs save, over WebDAV and over SFTP: the document, its history and rights stay one (H1)."""

from __future__ import annotations

import time

import pytest

from tests.saves.dances import ALL, Dance
from tests.saves.stage import Document, Stage, saves

#: How often each client saves a document that was made just before.
SAVES = {"explorer": 5, "sshfs": 5, "plain": 1, "winscp": 1, "finder": 1}
MAC = ("Mac", "TextEdit", "Preview", "Keynote", "Finder")
YOUNG = [(dance, hands) for hands in ("explorer", "sshfs") for dance in ALL]
#: The other clients in turn; Finder does what is done on a Mac.
YOUNG += [
    (dance, "finder" if any(each in dance.program for each in MAC) else ("plain", "winscp")[number % 2])
    for number, dance in enumerate(ALL)
]
#: Documents that are older than the window, saved by one client and the other in turn.
OLD = [(dance, ("explorer", "sshfs")[number % 2]) for number, dance in enumerate(ALL)]


def named(value: Dance | str) -> str:
    """Return how a parameter shows in the name of a test."""
    return value if isinstance(value, str) else value.program


@pytest.fixture(scope="module", autouse=True)
def old_documents(stage: Stage) -> dict[str, Document]:
    """Documents of somebody else's, made before all other tests, so that they are old when their turn comes."""
    return {dance.program: stage.document(dance.document, maker="olle") for dance in ALL}


@pytest.fixture(scope="module")
def danced() -> dict[str, str]:
    """What was saved by whom in which folder: each test adds its own."""
    return {}


@pytest.mark.parametrize(("dance", "hands"), YOUNG, ids=named)
def test_h1_a_young_document_stays_one(stage: Stage, danced: dict[str, str], dance: Dance, hands: str) -> None:
    document = stage.document(dance.document)
    danced[document.home] = f"{dance.program}, {hands}"
    assert saves(stage, hands, dance, document, SAVES[hands]) == []


@pytest.mark.parametrize(("dance", "hands"), OLD, ids=named)
def test_h1_an_old_document_stays_one(
    stage: Stage, old_documents: dict[str, Document], danced: dict[str, str], dance: Dance, hands: str
) -> None:
    document = old_documents[dance.program]
    danced[document.home] = f"{dance.program}, {hands}, old"
    time.sleep(max(0.0, stage.window_seconds + 1 - document.age_seconds()))
    assert saves(stage, hands, dance, document, 1) == []


def test_h1_nothing_is_left_in_the_trash(stage: Stage, danced: dict[str, str]) -> None:
    """Whatever the programs threw away on the way. It is asked once, after all of them."""
    found = {danced[home]: names for home, names in stage.in_trash().items() if home in danced}
    assert danced and found == {}
